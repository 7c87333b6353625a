//! The large weights of a network, left in their files until they are wanted.

use std::sync::Arc;

use half::f16;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::bundle::Part;
use crate::error::{Context, invalid_bundle, non_finite};
use crate::kernels::{Floats, Format, MappedFloats, Microkernel, Packed, PackedFloats, Values};
use crate::{Error, Result};

/// Weights of more bytes than this stay in their files.
pub const LARGE: u64 = 64 << 10;

/// How a weight's elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    F32,
    F16,
    /// Whole numbers, which the graph makes weights by scales of its own.
    I8,
}

impl Encoding {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// The numbers that `bytes` are.
    pub fn values(self, bytes: &[u8]) -> Values<'_> {
        match self {
            Self::F16 => Values::F16Bytes(bytes),
            Self::I8 => Values::I8Bytes(bytes),
            Self::F32 => Values::F32Bytes(bytes),
        }
    }
}

/// What is known of a weight without reading it.
pub struct Weight {
    /// Its name inside the ONNX graph.
    pub name: String,
    pub encoding: Encoding,
    pub shape: Vec<usize>,
    part: Part,
    /// Packed already, one panel after another: then encoding and shape say nothing.
    packed: Option<Format>,
    /// Where its bytes lie in memory that others share.
    mapped: Option<(Arc<Mmap>, u64)>,
}

impl Weight {
    /// A weight of `dims`, as the file has them, which must be what `part` has room for.
    pub fn new(name: &str, encoding: Encoding, dims: &[i64], part: Part) -> Result<Self> {
        let shape: Option<Vec<usize>> = dims.iter().map(|&n| usize::try_from(n).ok()).collect();
        let bytes =
            |shape: &Vec<usize>| shape.iter().try_fold(encoding.size(), |bytes, &n| bytes.checked_mul(n));
        match shape {
            Some(shape) if bytes(&shape).map(|n| n as u64) == Some(part.length()) => {
                Ok(Self { name: name.to_owned(), encoding, shape, part, packed: None, mapped: None })
            }
            _ => Err(invalid_bundle(format!(
                "has {} bytes, which is not what the shape {dims:?} takes in {encoding:?}",
                part.length()
            ))
            .at(format!("weight '{name}'"))),
        }
    }
}

impl Weight {
    /// As [`new`](Self::new), of sizes that are known to be such.
    ///
    /// # Errors
    /// As there.
    pub fn of(name: &str, encoding: Encoding, shape: &[usize], part: Part) -> Result<Self> {
        let dims: Vec<i64> = shape.iter().map(|&n| i64::try_from(n).unwrap_or(-1)).collect();
        Self::new(name, encoding, &dims, part)
    }

    /// A weight that was packed beforehand, and where its bytes lie in a file that is mapped.
    pub fn packed(name: &str, format: Format, part: Part, mapped: Option<(&Arc<Mmap>, u64)>) -> Self {
        let mapped = mapped.map(|(map, at)| (Arc::clone(map), at));
        let (name, encoding, shape) = (name.to_owned(), Encoding::F32, Vec::new());
        Self { name, encoding, shape, part, packed: Some(format), mapped }
    }

    /// Its floats: those of the map, or read to memory of their own.
    fn floats(&self) -> Result<PackedFloats> {
        let outside = || invalid_bundle("does not lie on whole cache lines of the file");
        if let Some((map, start)) = &self.mapped {
            let end = start.checked_add(self.part.length()).and_then(|end| usize::try_from(end).ok());
            let start = usize::try_from(*start).ok();
            let (start, end) = start.zip(end).ok_or_else(outside)?;
            return MappedFloats::new(map, start..end).map(PackedFloats::Mapped).ok_or_else(outside);
        }
        let len = usize::try_from(self.part.length() / 4).map_err(|_| outside())?;
        let mut floats = Floats::zeros(len)?;
        let mut buffer = Vec::new();
        for (i, stretch) in floats.chunks_mut(STRETCH).enumerate() {
            self.part.read_piece((4 * STRETCH * i) as u64, 4 * stretch.len(), &mut buffer)?;
            stretch.iter_mut().zip(numbers(&buffer, f32::from_le_bytes)).for_each(|(to, from)| *to = from);
        }
        Ok(PackedFloats::Own(floats))
    }
}

/// Floats that are read at a time.
const STRETCH: usize = 1 << 18;

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

    /// How weight `index` is stored; none if it is packed, or not there.
    pub fn encoding(&self, index: usize) -> Option<Encoding> {
        self.0.get(index).filter(|weight| weight.packed.is_none()).map(|weight| weight.encoding)
    }

    /// The format that weight `index` was packed in beforehand; none if it was not.
    pub fn packed_as(&self, index: usize) -> Option<Format> {
        self.0.get(index)?.packed
    }

    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        self.0.iter()
    }

    /// Weight `index` as it was packed beforehand for `kernel`, a matrix `[segments, k, cols]`; none if it was not.
    ///
    /// # Errors
    /// `InvalidBundle`: it is of another size. `Io`, `OutOfMemory`.
    pub fn packed(
        &self,
        index: usize,
        [segments, k, cols]: [usize; 3],
        kernel: &'static Microkernel,
    ) -> Result<Option<Packed>> {
        let Some(weight) = self.0.get(index).filter(|weight| weight.packed.is_some()) else {
            return Ok(None);
        };
        let place = || format!("weight '{}'", weight.name);
        let packed = Packed::of(kernel, segments, k, cols, weight.floats().at(place)?);
        let other = || invalid_bundle("has another size than its panels take").at(place());
        packed.map(Some).ok_or_else(other)
    }

    /// Weight `index` as a table of so many numbers.
    ///
    /// # Errors
    /// `InvalidBundle`: it is of another size, or packed. Else as [`read`](Self::read).
    pub fn table(&self, index: usize, numbers: usize) -> Result<Table> {
        let mut bytes = Vec::new();
        let Weight { name, encoding, packed, .. } = self.read(index, &mut bytes)?;
        match packed.is_none() && numbers.checked_mul(encoding.size()) == Some(bytes.len()) {
            true => Ok(Table { encoding: *encoding, bytes }),
            false => {
                Err(invalid_bundle("has another size than its table takes").at(format!("weight '{name}'")))
            }
        }
    }

    /// Replaces what `buffer` holds with the elements of weight `index`, little-endian and row-major, and
    /// says what they are.
    ///
    /// # Errors
    /// `NonFinite`: NaN in it, which would spoil every image; infinities stay, masks are made of them.
    /// `Io`: its file cannot be read. `OutOfMemory`.
    pub fn read(&self, index: usize, buffer: &mut Vec<u8>) -> Result<&Weight> {
        let weight = self.0.get(index).ok_or_else(|| invalid_bundle(format!("has no weight {index}")))?;
        weight.part.read(buffer).at(|| format!("weight '{}'", weight.name))?;
        // Whole stretches without a branch in them are many numbers at a time.
        let nan = buffer.chunks(1 << 12).any(|stretch| match weight.encoding {
            Encoding::F32 => numbers(stretch, f32::from_le_bytes).fold(false, |nan, x| nan | x.is_nan()),
            Encoding::F16 => numbers(stretch, f16::from_le_bytes).fold(false, |nan, x| nan | x.is_nan()),
            Encoding::I8 => false,
        });
        if nan { Err(holds_nan(&weight.name)) } else { Ok(weight) }
    }
}

/// A weight whose rows are looked up, as its file has it.
pub struct Table {
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Table {
    pub fn values(&self) -> Values<'_> {
        self.encoding.values(&self.bytes)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The elements in `bytes`, decoded by `decode`.
pub fn numbers<T, const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |&bytes| decode(bytes))
}

pub fn holds_nan(name: &str) -> Error {
    non_finite(format!("weight '{name}' holds NaN; export the model again"))
}
