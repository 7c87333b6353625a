//! Weights in their packed form: made from a file's numbers, shared between programs, and, where nothing is
//! to be kept, read again when they are wanted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::Result;
use crate::kernels::{Form, Format, Microkernel, Packed, Source, Values, Workers};
use crate::lock::lock;
use crate::plan::Layout;
use crate::weights::Weights;

impl Layout {
    /// The matrix without its numbers.
    pub fn hollow(&self, kernel: &'static Microkernel) -> Packed {
        let [segments, k, cols] = self.sizes;
        Packed::hollow(kernel, segments, k, cols)
    }

    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(
        &self,
        kernel: &'static Microkernel,
        values: Values,
        workers: &mut Workers,
    ) -> Result<Packed> {
        let ([segments, k, cols], [segment_stride, row_stride, col_stride]) = (self.sizes, self.strides);
        let values = values.from(self.offset);
        let source = Source { values, cols, segment_stride, row_stride, col_stride };
        Packed::new(workers, kernel, segments, k, &source)
    }
}

/// A matrix that stays in its file.
#[derive(Clone)]
pub struct Stored {
    pub weights: Arc<Weights>,
    pub index: usize,
    pub layout: Layout,
    /// What it is packed for.
    pub kernel: &'static Microkernel,
}

impl Stored {
    /// Reads it by way of `buffer`.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn pack(&self, buffer: &mut Vec<u8>, workers: &mut Workers) -> Result<Packed> {
        if let Some(packed) = self.weights.packed(self.index, self.layout.sizes, self.kernel)? {
            return Ok(packed);
        }
        self.layout.pack(self.kernel, read(&self.weights, self.index, buffer)?, workers)
    }
}

/// The numbers of a weight, read to `buffer`.
pub fn read<'a>(weights: &'a Weights, index: usize, buffer: &'a mut Vec<u8>) -> Result<Values<'a>> {
    Ok(weights.read(index, buffer)?.values(buffer))
}

/// What is packed at the moment: programs of several batch sizes hold the same.
#[derive(Default)]
pub struct Packs(Mutex<HashMap<Key, Weak<Packed>>>);

/// A weight of a file as somebody holds it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub file: String,
    pub index: usize,
    pub layout: Layout,
    pub kept: Kept,
}

/// As a plain product has it, or in a convolution's form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    Plain(Format),
    Formed(Form),
}

impl Packs {
    /// The matrix from `file`, packed by `make` if nobody holds it yet.
    pub fn get(
        &self,
        file: &str,
        stored: &Stored,
        make: impl FnOnce() -> Result<Packed>,
    ) -> Result<Arc<Packed>> {
        let key = Key {
            file: file.to_owned(),
            index: stored.index,
            layout: stored.layout,
            kept: Kept::Plain(stored.kernel.format),
        };
        if let Some(packed) = self.held(&key) {
            return Ok(packed);
        }
        // Not locked meanwhile; of a rare double one goes with its program.
        let packed = Arc::new(make()?);
        self.hold(key, &packed);
        Ok(packed)
    }

    /// A weight, if somebody holds it.
    pub fn held(&self, key: &Key) -> Option<Arc<Packed>> {
        lock(&self.0).get(key).and_then(Weak::upgrade)
    }

    /// Lets others have it.
    pub fn hold(&self, key: Key, packed: &Arc<Packed>) {
        let mut known = lock(&self.0);
        known.retain(|_, packed| packed.strong_count() > 0);
        known.insert(key, Arc::downgrade(packed));
    }
}
