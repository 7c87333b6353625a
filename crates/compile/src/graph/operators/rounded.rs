//! Floats rounded to whole numbers: what `QuantizeLinear` means, as far as floats go.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

use super::Wiring;
use crate::error::unsupported;
use crate::graph::standard::Seen;
use crate::kernels::Unary;

/// What a graph calls it once [`whole`](crate::graph::whole) has written it; no file can: ONNX has no such operator.
pub(in super::super) const NAME: &str = "Rounded";

/// Whole numbers of steps of this size, between two of them. Floats are kept by their bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rounded {
    step: u32,
    low: u32,
    high: u32,
}

impl Rounded {
    pub(in super::super) fn new(step: f32, low: i32, high: i32) -> Self {
        Self { step: step.to_bits(), low: (low as f32).to_bits(), high: (high as f32).to_bits() }
    }

    fn bounds(&self) -> [f32; 3] {
        [self.step, self.low, self.high].map(f32::from_bits)
    }

    pub fn unary(&self) -> Unary {
        let [step, low, high] = self.bounds();
        Unary::Rounded { step, low, high }
    }

    /// A node of a graph that says so.
    pub(in super::super) fn node(&self) -> NodeProto {
        let float = |(name, f): (&str, f32)| AttributeProto {
            name: name.into(),
            r#type: AttributeType::Float as i32,
            f,
            ..AttributeProto::default()
        };
        let attribute = ATTRIBUTES.into_iter().zip(self.bounds()).map(float).collect();
        NodeProto { op_type: NAME.into(), attribute, ..NodeProto::default() }
    }
}

const ATTRIBUTES: [&str; 3] = ["step", "low", "high"];

pub(super) fn wire(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let [step, low, high] = ATTRIBUTES.map(|name| seen.node.float(name).map(f32::to_bits));
    let rounded = step.zip(low).zip(high).map(|((step, low), high)| Rounded { step, low, high });
    let inputs = to.inputs;
    if to.kind(inputs[0])? != DatumType::F32 {
        return Err(unsupported("rounds float16 by a scale of float32; export both as float32").into());
    }
    to.op(rounded.context("lacks an attribute")?, inputs)
}

impl Op for Rounded {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Rounded {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [step, low, high] = self.bounds();
        let mut x = args_1!(inputs).into_tensor();
        // Comparisons leave what is not a number as it is; whole numbers have one zero.
        let round = |x: f32| (x / step).clamp(low, high).round_ties_even() + 0.0;
        x.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?.iter_mut().for_each(|x| *x = round(*x));
        Ok(tvec!(x.into_tvalue()))
    }
}

impl TypedOp for Rounded {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 1 && inputs[0].datum_type == f32::datum_type(), "takes one tensor of F32");
        Ok(tvec!(inputs[0].without_value()))
    }

    as_op!();
}
