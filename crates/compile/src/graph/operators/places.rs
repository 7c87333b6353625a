//! Operators that take places in a tensor, counted from behind if they are below zero.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::array::{GatherNd, ScatterNd, ScatterReduction};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::logic::{Iff, comp_eq, comp_lt};
use tract_onnx::tract_core::ops::math::add;
use tract_onnx::tract_hir::internal::*;

use super::{Built, Wiring};
use crate::graph::standard::{Seen, axis};
use crate::memory;

pub(super) fn gather(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let batch = seen.node.int("batch_dims").unwrap_or(0) as usize;
    let places = from_front(to, to.inputs[1], &seen.shape(0)?[batch..])?;
    to.op(GatherNd::new(batch), &[to.inputs[0], places])
}

pub(super) fn scatter(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let reduction = ScatterReduction::parse(seen.node.word("reduction").unwrap_or("none"))?;
    let places = from_front(to, to.inputs[1], seen.shape(0)?)?;
    to.op(ScatterNd::new(reduction), &[to.inputs[0], places, to.inputs[2]])
}

/// Places `[.., axes]` that count from the front; their last axis runs along the first of `sizes`.
fn from_front(to: &mut Wiring, places: OutletId, sizes: &[usize]) -> TractResult<OutletId> {
    let shape = to.shape(places)?;
    let rank = shape.len();
    let width = shape.last().copied().unwrap_or(1);
    let sizes: Vec<i64> = sizes.iter().take(width).map(|&size| size as i64).collect();
    let mut along = vec![1; rank.saturating_sub(1)];
    along.push(sizes.len());
    let sizes = to.constant(Tensor::from_shape(&along, &sizes)?)?;
    let places = to.op(cast(DatumType::I64), &[places])?;
    wrapped(to, places, sizes, rank)
}

/// `places`, and `sizes` more where they are below zero.
fn wrapped(to: &mut Wiring, places: OutletId, sizes: OutletId, rank: usize) -> TractResult<OutletId> {
    let zero = to.constant(tensor0(0i64).broadcast_into_rank(rank)?)?;
    let behind = to.op(TypedBinOp(comp_lt(), None), &[places, zero])?;
    let moved = to.op(add(), &[places, sizes])?;
    to.op(Iff, &[behind, moved, places])
}

/// One of two numbers along a new axis: the one at the place that is asked for, the other elsewhere.
#[derive(Clone, Debug)]
struct OneHot {
    axis: i64,
}

pub(super) fn one_hot(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    Ok((expand(OneHot { axis: node.get_attr_opt("axis")?.unwrap_or(-1) }), Vec::new()))
}

impl Expansion for OneHot {
    fn name(&self) -> StaticName {
        "OneHot".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 3)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[2].datum_type, &outputs[0].datum_type)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let known = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
        let (depth, values) =
            (known(inputs[1])?.context("'depth' is open")?, known(inputs[2])?.context("'values' are open")?);
        let depth = depth.nth(0)?.cast_to_scalar::<i64>()?;
        let mut to = Wiring { prefix, model, inputs, steps: 0 };
        let rank = to.shape(inputs[0])?.len() + 1;
        let axis = axis("axis", self.axis, rank)?;
        let places = to.op(cast(DatumType::I64), &[inputs[0]])?;
        let places = to.op(AxisOp::Add(axis), &[places])?;
        let sizes = to.constant(tensor0(depth).broadcast_into_rank(rank)?)?;
        let places = wrapped(&mut to, places, sizes, rank)?;
        let mut along = vec![1; rank];
        along[axis] = depth as usize;
        let all = to.constant(Tensor::from_shape(&along, &memory::collected(depth as usize, 0..depth)?)?)?;
        let hot = to.op(TypedBinOp(comp_eq(), None), &[places, all])?;
        let value = |place: usize| values.nth(place)?.broadcast_into_rank(rank);
        let (off, on) = (to.constant(value(0)?)?, to.constant(value(1)?)?);
        let made = to.op(Iff, &[hot, on, off])?;
        to.finish(made)
    }
}
