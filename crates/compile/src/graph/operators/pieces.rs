//! Elements of an axis by their places, as slices that are joined: both backends know these.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::array::{Gather, Slice, TypedConcat};
use tract_onnx::tract_hir::internal::*;

use super::{Built, Wiring};
use crate::graph::standard::axis;
use crate::{Result, memory};

/// More pieces than this are gathered one by one.
const MOST: usize = 32;

impl Wiring<'_> {
    /// `x` with the elements of `axis` at `places`, in this order; there is at least one.
    pub(super) fn pick(&mut self, x: OutletId, axis: usize, places: &[usize]) -> TractResult<OutletId> {
        let size = self.shape(x)?[axis];
        if places.iter().copied().eq(0..size) {
            return Ok(x);
        }
        let runs = runs(places)?;
        if runs.len() > MOST {
            let places = memory::collected(places.len(), places.iter().map(|&place| place as i64))?;
            let places = self.constant(tensor1(&places))?;
            return self.op(Gather::new(axis), &[x, places]);
        }
        let mut pieces = TVec::new();
        for (start, end) in runs {
            let whole = start == 0 && end == size;
            pieces.push(if whole { x } else { self.op(Slice::new(axis, start, end), &[x])? });
        }
        if let &[piece] = pieces.as_slice() { Ok(piece) } else { self.op(TypedConcat::new(axis), &pieces) }
    }
}

/// Tensors joined along an axis; those without elements add nothing.
#[derive(Clone, Debug)]
struct Concat {
    axis: i64,
}

pub(super) fn concat(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    Ok((expand(Concat { axis: node.get_attr("axis")? }), Vec::new()))
}

impl Expansion for Concat {
    fn name(&self) -> StaticName {
        "Concat".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        for input in inputs {
            solver.equals(&input.datum_type, &outputs[0].datum_type)?;
            solver.equals(&input.rank, &outputs[0].rank)?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut to = Wiring { prefix, model, inputs, steps: 0 };
        let mut parts = TVec::new();
        for &part in inputs {
            if !to.shape(part)?.contains(&0) {
                parts.push(part);
            }
        }
        let rank = to.shape(inputs[0])?.len();
        let joined = match parts.as_slice() {
            [] => inputs[0],
            &[part] => part,
            parts => to.op(TypedConcat::new(axis("axis", self.axis, rank)?), parts)?,
        };
        to.finish(joined)
    }
}

/// Stretches of ascending places, each from its first to behind its last.
fn runs(places: &[usize]) -> Result<Vec<(usize, usize)>> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &place in places {
        match runs.last_mut() {
            Some((_, end)) if *end == place => *end += 1,
            _ => memory::push(&mut runs, (place, place + 1))?,
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_stretches() {
        assert_eq!(runs(&[6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0]).unwrap(), [(6, 8), (0, 8), (0, 1)]);
        assert_eq!(runs(&[2, 1, 0]).unwrap(), [(2, 3), (1, 2), (0, 1)]);
        assert_eq!(runs(&[0, 0, 1]).unwrap(), [(0, 1), (0, 2)]);
    }
}
