//! A tensor as it is, which tract's optimiser does not look through.

use tract_onnx::tract_hir::internal::*;

/// Stands where the optimiser would go wrong: it gives products the single elements that were to be repeated for them,
/// and loses the repeats that the other operand does not have; and it takes axes away that a convolution pads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held;

impl Op for Held {
    fn name(&self) -> StaticName {
        "Held".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Held {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(inputs)
    }
}

impl TypedOp for Held {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    as_op!();
}
