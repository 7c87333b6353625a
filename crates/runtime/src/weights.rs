//! The large weights of a network, left in their files until they are wanted.

use half::f16;

use crate::bundle::Part;
use crate::error::{Context, invalid_bundle, non_finite};
use crate::{Error, Result};

/// Weights of more bytes than this stay in their files.
pub const LARGE: u64 = 64 << 10;

/// How a weight's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    F16,
}

impl Precision {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// What is known of a weight without reading it.
pub struct Weight {
    /// Its name inside the ONNX graph.
    pub name: String,
    pub precision: Precision,
    pub shape: Vec<usize>,
    part: Part,
}

impl Weight {
    /// A weight of `dims`, as the file has them, which must be what `part` has room for.
    pub fn new(name: &str, precision: Precision, dims: &[i64], part: Part) -> Result<Self> {
        let shape: Option<Vec<usize>> = dims.iter().map(|&n| usize::try_from(n).ok()).collect();
        let bytes =
            |shape: &Vec<usize>| shape.iter().try_fold(precision.size(), |bytes, &n| bytes.checked_mul(n));
        match shape {
            Some(shape) if bytes(&shape).map(|n| n as u64) == Some(part.length()) => {
                Ok(Self { name: name.to_owned(), precision, shape, part })
            }
            _ => Err(invalid_bundle(format!(
                "has {} bytes, which is not what the shape {dims:?} takes in {precision:?}",
                part.length()
            ))
            .at(format!("weight '{name}'"))),
        }
    }
}

/// The large weights of one network; any number of threads may read them at once.
#[derive(Default)]
pub struct Weights(Vec<Weight>);

impl Weights {
    pub fn push(&mut self, weight: Weight) {
        self.0.push(weight);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        self.0.iter()
    }

    /// Replaces what `buffer` holds with the elements of weight `index`, little-endian and row-major, and
    /// says what they are.
    ///
    /// # Errors
    /// `NonFinite`: NaN in it, which would spoil every picture; infinities stay, masks are made of them.
    /// `Io`: its file cannot be read. `OutOfMemory`.
    pub fn read(&self, index: usize, buffer: &mut Vec<u8>) -> Result<&Weight> {
        let weight = self.0.get(index).ok_or_else(|| invalid_bundle(format!("has no weight {index}")))?;
        weight.part.read(buffer).at(|| format!("weight '{}'", weight.name))?;
        // Whole stretches without a branch in them are many numbers at a time.
        let nan = buffer.chunks(1 << 12).any(|stretch| match weight.precision {
            Precision::F32 => numbers(stretch, f32::from_le_bytes).fold(false, |nan, x| nan | x.is_nan()),
            Precision::F16 => numbers(stretch, f16::from_le_bytes).fold(false, |nan, x| nan | x.is_nan()),
        });
        if nan { Err(holds_nan(&weight.name)) } else { Ok(weight) }
    }
}

/// The elements in `bytes`, decoded by `decode`.
pub fn numbers<T, const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |&bytes| decode(bytes))
}

pub fn holds_nan(name: &str) -> Error {
    non_finite(format!("weight '{name}' holds NaN; export the model again"))
}
