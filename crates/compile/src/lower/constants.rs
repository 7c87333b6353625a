//! What never changes: where its numbers come from.

use std::sync::Arc;

use tract_onnx::prelude::Tensor;

use super::{Lowering, Place};
use crate::error::unsupported;
use crate::executor::read;
use crate::kernels::Values;
use crate::net::{Constant, Net, Op};
use crate::plan::{Layout, Matrix, Numbers};
use crate::{Result, memory};

/// Numbers of a constant or a weight file, seen through changes of shape. The place's buffer means nothing.
#[derive(Clone)]
pub(super) struct Origin {
    from: From,
    pub(super) place: Place,
}

#[derive(Clone)]
enum From {
    Constant(Arc<Tensor>),
    Weight(usize),
}

/// Where the numbers of each node come from; none for what has to be computed.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn origins(net: &Net) -> Result<Vec<Option<Origin>>> {
    let mut origins: Vec<Option<Origin>> = Vec::new();
    memory::reserve(&mut origins, net.nodes.len())?;
    for node in &net.nodes {
        let below = || origins[node.inputs[0]].as_ref();
        let origin = match &node.op {
            Op::Constant(Constant(tensor)) => {
                Some(Origin { from: From::Constant(Arc::clone(tensor)), place: Place::dense(0, &node.dims) })
            }
            Op::Weight(index) => {
                Some(Origin { from: From::Weight(*index), place: Place::dense(0, &node.dims) })
            }
            Op::Permute(axes) => below().map(|origin| origin.at(origin.place.permute(axes))),
            Op::Slice { axis, start } => {
                below().map(|origin| origin.at(origin.place.slice(*axis, *start, node.dims[*axis])))
            }
            Op::Broadcast => below().map(|origin| origin.at(origin.place.broadcast(&node.dims))),
            Op::Reshape => below().and_then(|origin| Some(origin.at(origin.place.reshape(&node.dims)?))),
            _ => None,
        };
        origins.push(origin);
    }
    Ok(origins)
}

impl Origin {
    /// The same numbers, seen at another place.
    fn at(&self, place: Place) -> Self {
        Self { from: self.from.clone(), place }
    }
}

impl Lowering<'_> {
    /// The numbers, row-major.
    pub(super) fn read(&self, origin: &Origin) -> Result<Vec<f32>> {
        self.with_values(origin, |values| {
            let place = &origin.place;
            let mut floats = Vec::new();
            memory::reserve(&mut floats, place.len())?;
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
            Ok(floats)
        })?
    }

    /// The matrix `[segments, k, cols]` of a source whose strides are those three.
    pub(super) fn matrix(&self, origin: &Origin, sizes: [usize; 3], strides: [usize; 3]) -> Result<Matrix> {
        if let From::Weight(index) = origin.from {
            let layout = Layout { offset: origin.place.offset, sizes, strides };
            return Ok(Matrix { layout, numbers: Numbers::Weight(index) });
        }
        let place = Place { dims: sizes.to_vec(), strides: strides.to_vec(), ..origin.place };
        let numbers = Numbers::Here(self.read(&origin.at(place))?);
        let layout = Layout { offset: 0, sizes, strides: [sizes[1] * sizes[2], sizes[2], 1] };
        Ok(Matrix { layout, numbers })
    }

    fn with_values<T>(&self, origin: &Origin, work: impl FnOnce(Values) -> T) -> Result<T> {
        match &origin.from {
            From::Constant(tensor) => {
                let tensor = tensor.cast_to::<f32>();
                let tensor = tensor.map_err(|_| unsupported("a constant that is not of numbers"))?;
                let view = tensor.as_plain_ram();
                let floats = view.as_ref().and_then(|view| view.as_slice::<f32>().ok());
                Ok(work(Values::F32(floats.ok_or_else(|| unsupported("a constant that is not in memory"))?)))
            }
            From::Weight(index) => {
                let mut bytes = Vec::new();
                Ok(work(read(&self.graph.weights, *index, &mut bytes)?))
            }
        }
    }
}
