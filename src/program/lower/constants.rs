//! What never changes: where its numbers come from, and weights packed for the product.

use std::sync::Arc;

use tract_onnx::prelude::Tensor;

use super::{Lowering, Place};
use crate::Result;
use crate::error::unsupported;
use crate::graph::Precision;
use crate::kernels::{Packed, Source, Values, Workers};
use crate::net::{Constant, Id, Op};

/// Numbers of a constant or a weight file, seen through changes of shape. The place's buffer means nothing.
pub(super) struct Origin {
    from: From,
    pub(super) place: Place,
}

enum From {
    Constant(Arc<Tensor>),
    Weight(usize),
}

impl Lowering<'_> {
    /// Where a constant node's numbers come from; none for what has to be computed.
    pub(super) fn source(&self, id: Id) -> Option<Origin> {
        let node = &self.net.nodes[id];
        let (from, place) = match &node.op {
            Op::Constant(Constant(tensor)) => {
                (From::Constant(Arc::clone(tensor)), Place::dense(0, &node.dims))
            }
            Op::Weight(index) => (From::Weight(*index), Place::dense(0, &node.dims)),
            Op::Reshape | Op::Permute(_) | Op::Slice { .. } | Op::Broadcast => {
                let Origin { from, place } = self.source(node.inputs[0])?;
                let place = match &node.op {
                    Op::Permute(axes) => place.permute(axes),
                    Op::Slice { axis, start } => place.slice(*axis, *start, node.dims[*axis]),
                    Op::Broadcast => place.broadcast(&node.dims),
                    _ => place.reshape(&node.dims)?,
                };
                (from, place)
            }
            _ => return None,
        };
        Some(Origin { from, place })
    }

    /// The numbers, row-major.
    pub(super) fn read(&mut self, origin: &Origin) -> Result<Vec<f32>> {
        self.with_values(origin, |_, values| {
            let place = &origin.place;
            let mut floats = Vec::with_capacity(place.len());
            let mut index = vec![0; place.dims.len()];
            for _ in 0..place.len() {
                let at: usize = index.iter().zip(&place.strides).map(|(i, stride)| i * stride).sum();
                floats.push(values.get(place.offset + at));
                for axis in (0..index.len()).rev() {
                    index[axis] += 1;
                    if index[axis] < place.dims[axis] {
                        break;
                    }
                    index[axis] = 0;
                }
            }
            floats
        })
    }

    /// Packs `[segments, k, cols]` of a source whose strides are those three.
    pub(super) fn pack(
        &mut self,
        origin: &Origin,
        sizes: [usize; 3],
        strides: [usize; 3],
    ) -> Result<Arc<Packed>> {
        let [segments, k, cols] = sizes;
        let offset = origin.place.offset;
        let packed = self.with_values(origin, |lowering, values| {
            let source = Source {
                values: values.from(offset),
                cols,
                segment_stride: strides[0],
                row_stride: strides[1],
                col_stride: strides[2],
            };
            Packed::new(&mut Workers::new(lowering.isa, lowering.parallel, &mut []), segments, k, &[source])
        })?;
        let packed = Arc::new(packed);
        self.packed.push(Arc::clone(&packed));
        Ok(packed)
    }

    fn with_values<T>(&mut self, origin: &Origin, work: impl FnOnce(&mut Self, Values) -> T) -> Result<T> {
        match &origin.from {
            From::Constant(tensor) => {
                let tensor = tensor.cast_to::<f32>();
                let tensor = tensor.map_err(|_| unsupported("a constant that is not of numbers"))?;
                let view = tensor.as_plain_ram();
                let floats = view.as_ref().and_then(|view| view.as_slice::<f32>().ok());
                let floats = floats.ok_or_else(|| unsupported("a constant that is not in memory"))?;
                Ok(work(self, Values::F32(floats)))
            }
            From::Weight(index) => {
                let mut bytes = std::mem::take(&mut self.bytes);
                let values = match self.weights.read(*index, &mut bytes)?.precision {
                    Precision::F16 => Values::F16Bytes(&bytes),
                    Precision::F32 => Values::F32Bytes(&bytes),
                };
                let done = work(self, values);
                self.bytes = bytes;
                Ok(done)
            }
        }
    }
}
