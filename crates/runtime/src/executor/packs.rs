//! Weights in their packed form: made from a file's numbers, shared between programs, and, where nothing is
//! to be kept, read again when they are wanted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::Result;
use crate::kernels::{Form, Isa, Packed, Source, Values, Workers};
use crate::lock::lock;
use crate::plan::Layout;
use crate::weights::Weights;

impl Layout {
    /// The matrix without its numbers.
    pub fn hollow(&self, isa: Isa) -> Packed {
        let [segments, k, cols] = self.sizes;
        Packed::hollow(isa, segments, k, cols)
    }

    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(&self, values: Values, workers: &mut Workers) -> Result<Packed> {
        let ([segments, k, cols], [segment_stride, row_stride, col_stride]) = (self.sizes, self.strides);
        let values = values.from(self.offset);
        Packed::new(workers, segments, k, &Source { values, cols, segment_stride, row_stride, col_stride })
    }
}

/// A matrix that stays in its file.
#[derive(Clone)]
pub struct Stored {
    pub weights: Arc<Weights>,
    pub index: usize,
    pub layout: Layout,
}

impl Stored {
    /// Reads it by way of `buffer`.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn pack(&self, buffer: &mut Vec<u8>, workers: &mut Workers) -> Result<Packed> {
        if let Some(packed) = self.weights.packed(self.index, self.layout.sizes, workers.isa)? {
            return Ok(packed);
        }
        self.layout.pack(read(&self.weights, self.index, buffer)?, workers)
    }
}

/// The numbers of a weight, read to `buffer`.
pub fn read<'a>(weights: &Weights, index: usize, buffer: &'a mut Vec<u8>) -> Result<Values<'a>> {
    Ok(weights.read(index, buffer)?.precision.values(buffer))
}

/// What is packed at the moment, by file, weight, layout and form: programs of several batch sizes hold the same.
#[derive(Default)]
pub struct Packs(Mutex<HashMap<Key, Weak<Packed>>>);

type Key = (String, usize, Layout, Option<Form>);

impl Packs {
    /// The matrix from `file`, packed by `make` if nobody holds it yet.
    pub fn get(
        &self,
        file: &str,
        stored: &Stored,
        make: impl FnOnce() -> Result<Packed>,
    ) -> Result<Arc<Packed>> {
        if let Some(packed) = self.held(file, stored.index, stored.layout, None) {
            return Ok(packed);
        }
        // Not locked meanwhile; of a rare double one goes with its program.
        let packed = Arc::new(make()?);
        self.hold(file, stored.index, stored.layout, None, &packed);
        Ok(packed)
    }

    /// Weight `index` of `file`, if somebody holds it: in a convolution's form, or as a plain product has it.
    pub fn held(&self, file: &str, index: usize, layout: Layout, form: Option<Form>) -> Option<Arc<Packed>> {
        lock(&self.0).get(&(file.to_owned(), index, layout, form)).and_then(Weak::upgrade)
    }

    /// Lets others have it.
    pub fn hold(&self, file: &str, index: usize, layout: Layout, form: Option<Form>, packed: &Arc<Packed>) {
        let mut known = lock(&self.0);
        known.retain(|_, packed| packed.strong_count() > 0);
        known.insert((file.to_owned(), index, layout, form), Arc::downgrade(packed));
    }
}
