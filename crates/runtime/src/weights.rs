//! The large weights of a network, left in their files until they are wanted.

use std::fmt;
use std::sync::Arc;

use half::f16;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::bundle::Part;
use crate::error::{Context, invalid_bundle, non_finite};
use crate::kernels::{
    Floats, Format, MappedFloats, Microkernel, Packed, PackedFloats, Scaled, Scales, Values,
};
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
    fn values(self, bytes: &[u8]) -> Values<'_> {
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
    pub contents: Contents,
    pub shape: Vec<usize>,
    part: Part,
    /// Where its bytes lie in memory that others share.
    mapped: Option<(Arc<Mmap>, u64)>,
}

/// What a weight's bytes are.
#[derive(Clone)]
pub enum Contents {
    /// Numbers, row-major.
    Plain(Encoding),
    /// Whole numbers, row-major, and what makes floats of them.
    Scaled(Arc<Scales>),
    /// Panels, one after another: then the shape says nothing.
    Packed(Format),
}

impl Contents {
    /// Bytes of so many numbers.
    fn bytes(&self, numbers: usize) -> Option<usize> {
        match self {
            Self::Plain(encoding) => numbers.checked_mul(encoding.size()),
            Self::Scaled(scales) => Some(scales.whole.bytes(numbers)),
            Self::Packed(_) => None,
        }
    }

    /// The numbers that `bytes` are; of panels, those that lie there.
    fn values<'a>(&'a self, bytes: &'a [u8]) -> Values<'a> {
        match self {
            Self::Plain(encoding) => encoding.values(bytes),
            Self::Scaled(scales) => Values::Scaled(Scaled::new(bytes, scales)),
            Self::Packed(_) => Values::F32Bytes(bytes),
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(encoding) => write!(f, "{encoding:?}"),
            Self::Scaled(scales) => write!(f, "{:?}", scales.whole),
            Self::Packed(format) => write!(f, "panels of {format}"),
        }
    }
}

impl Weight {
    /// A weight of `dims`, as the file has them, which must be what `part` has room for.
    pub fn new(name: &str, encoding: Encoding, dims: &[i64], part: Part) -> Result<Self> {
        let shape: Option<Vec<usize>> = dims.iter().map(|&n| usize::try_from(n).ok()).collect();
        let contents = Contents::Plain(encoding);
        match shape {
            Some(shape) => Self::shaped(name, contents, shape, part),
            None => Err(other_size(name, &contents, &dims, &part)),
        }
    }

    /// A weight of whole numbers with `scales`.
    ///
    /// # Errors
    /// `NonFinite`: a scale that is infinite or NaN. `InvalidBundle`: another size than `part` has room for.
    pub fn scaled(name: &str, scales: Arc<Scales>, shape: &[usize], part: Part) -> Result<Self> {
        let weight = Self::shaped(name, Contents::Scaled(Arc::clone(&scales)), shape.to_vec(), part)?;
        scales.serve(weight.shape.iter().product()).at(|| format!("weight '{name}'"))?;
        Ok(weight)
    }

    fn shaped(name: &str, contents: Contents, shape: Vec<usize>, part: Part) -> Result<Self> {
        let numbers = shape.iter().try_fold(1usize, |numbers, &n| numbers.checked_mul(n));
        match numbers.and_then(|numbers| contents.bytes(numbers)).map(|n| n as u64) == Some(part.length()) {
            true => Ok(Self { name: name.to_owned(), contents, shape, part, mapped: None }),
            false => Err(other_size(name, &contents, &shape, &part)),
        }
    }

    /// As [`new`](Self::new), of sizes that are known to be such.
    ///
    /// # Errors
    /// As there.
    pub fn of(name: &str, encoding: Encoding, shape: &[usize], part: Part) -> Result<Self> {
        Self::shaped(name, Contents::Plain(encoding), shape.to_vec(), part)
    }

    /// A weight that was packed beforehand, and where its bytes lie in a file that is mapped.
    pub fn packed(name: &str, format: Format, part: Part, mapped: Option<(&Arc<Mmap>, u64)>) -> Self {
        let mapped = mapped.map(|(map, at)| (Arc::clone(map), at));
        Self { name: name.to_owned(), contents: Contents::Packed(format), shape: Vec::new(), part, mapped }
    }

    /// Replaces what `buffer` holds with its elements.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn read(&self, buffer: &mut Vec<u8>) -> Result<()> {
        self.part.read(buffer).at(|| format!("weight '{}'", self.name))?;
        // Whole stretches without a branch in them are many numbers at a time.
        let nan = buffer.chunks(1 << 12).any(|stretch| match self.contents {
            Contents::Plain(Encoding::F32) => {
                numbers(stretch, f32::from_le_bytes).fold(false, |nan, x| nan | x.is_nan())
            }
            Contents::Plain(Encoding::F16) => {
                numbers(stretch, f16::from_le_bytes).fold(false, |nan, x| nan | x.is_nan())
            }
            _ => false,
        });
        if nan { Err(holds_nan(&self.name)) } else { Ok(()) }
    }

    /// Bytes in its file.
    pub fn length(&self) -> u64 {
        self.part.length()
    }

    /// The numbers that its `bytes` are.
    pub fn values<'a>(&'a self, bytes: &'a [u8]) -> Values<'a> {
        self.contents.values(bytes)
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

fn other_size(name: &str, contents: &Contents, dims: &dyn fmt::Debug, part: &Part) -> Error {
    let bytes = part.length();
    invalid_bundle(format!("has {bytes} bytes, which is not what the shape {dims:?} takes in {contents}"))
        .at(format!("weight '{name}'"))
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

    /// How weight `index` is stored; none if it has scales, is packed, or not there.
    pub fn encoding(&self, index: usize) -> Option<Encoding> {
        match self.0.get(index)?.contents {
            Contents::Plain(encoding) => Some(encoding),
            _ => None,
        }
    }

    /// The format that weight `index` was packed in beforehand; none if it was not.
    pub fn packed_as(&self, index: usize) -> Option<Format> {
        match self.0.get(index)?.contents {
            Contents::Packed(format) => Some(format),
            _ => None,
        }
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
        let Some(weight) = self.0.get(index).filter(|_| self.packed_as(index).is_some()) else {
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
        let Weight { name, contents, .. } = self.read(index, &mut bytes)?;
        match contents.bytes(numbers) == Some(bytes.len()) {
            true => Ok(Table { contents: contents.clone(), bytes }),
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
        weight.read(buffer)?;
        Ok(weight)
    }
}

/// A weight whose rows are looked up, as its file has it.
pub struct Table {
    contents: Contents,
    bytes: Vec<u8>,
}

impl Table {
    pub fn values(&self) -> Values<'_> {
        self.contents.values(&self.bytes)
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
