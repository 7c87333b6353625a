//! Integers as integers: tract makes symbols of sizes and of what is cast to `i64`, which many of its operations do not
//! take; here every size is known.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cast::cast as cast_to;
use tract_onnx::tract_core::tract_data::TooEarly;
use tract_onnx::tract_hir::internal::*;

use super::{Built, Wiring};
use crate::error::unsupported;
use crate::graph::standard::Seen;
use crate::memory;

/// A tensor's numbers as others.
#[derive(Clone, Debug)]
struct Cast {
    to: DatumType,
}

pub(super) fn cast(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    Ok((expand(Cast { to: node.get_attr("to")? }), Vec::new()))
}

impl Expansion for Cast {
    fn name(&self) -> StaticName {
        "Cast".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, self.to)?;
        solver.equals(&outputs[0].shape, &inputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let from = model.outlet_fact(inputs[0])?.datum_type;
        if from == String::datum_type() || self.to == String::datum_type() {
            return Err(unsupported("text is not supported").into());
        }
        model.wire_node(prefix, cast_to(self.to), inputs)
    }
}

/// The sizes of some axes, or of the whole tensor.
#[derive(Clone, Debug)]
struct Shape {
    whole: bool,
    start: i64,
    end: Option<i64>,
}

pub(super) fn shape(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let start = node.get_attr_opt("start")?.unwrap_or(0);
    let shape = Shape { whole: node.op_type == "Size", start, end: node.get_attr_opt("end")? };
    Ok((expand(shape), Vec::new()))
}

impl Shape {
    fn of(&self, dims: &[TDim]) -> TractResult<Tensor> {
        let sizes = dims.iter().map(TDim::to_i64).collect::<Result<Vec<_>, TooEarly>>()?;
        if self.whole {
            return Ok(tensor0(sizes.iter().product::<i64>()));
        }
        let rank = sizes.len() as i64;
        let bound =
            |axis: i64| (if axis < 0 { axis.saturating_add(rank) } else { axis }).clamp(0, rank) as usize;
        let start = bound(self.start);
        Ok(tensor1(&sizes[start..bound(self.end.unwrap_or(rank)).max(start)]))
    }
}

impl Expansion for Shape {
    fn name(&self) -> StaticName {
        "Shape".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, i64::datum_type())?;
        solver.equals(&outputs[0].rank, i64::from(!self.whole))?;
        solver.given(&inputs[0].shape, move |solver, dims| match self.of(&dims) {
            Ok(sizes) => solver.equals(&outputs[0].value, sizes.into_arc_tensor()),
            Err(_) => Ok(()),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let sizes = self.of(&model.outlet_fact(inputs[0])?.shape.to_tvec())?;
        Ok(tvec!(model.add_const(prefix, sizes)?))
    }
}

/// `start + i * delta`, in steps as ONNX Runtime takes them.
pub(super) fn range(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    fn numbers<T: Datum + Copy + std::ops::Add<Output = T>>(seen: &Seen, len: usize) -> TractResult<Tensor> {
        let number = |place: usize| -> TractResult<T> {
            let value = seen.operand(place).and_then(|operand| operand.value.as_ref());
            value.context("must be known while loading")?.cast_to_scalar::<T>()
        };
        let (mut next, delta) = (number(0)?, number(2)?);
        let mut list = Vec::new();
        memory::reserve(&mut list, len)?;
        for i in 0..len {
            list.push(next);
            if i + 1 < len {
                next = next + delta;
            }
        }
        Ok(tensor1(&list))
    }
    let len = crate::graph::standard::shapes(seen)?.into_iter().flatten().next().context("has no length")?[0];
    let list = match to.kind(to.inputs[0])? {
        DatumType::F32 => numbers::<f32>(seen, len)?,
        DatumType::F64 => numbers::<f64>(seen, len)?,
        DatumType::I64 => numbers::<i64>(seen, len)?,
        DatumType::I32 => numbers::<i32>(seen, len)?,
        DatumType::I16 => numbers::<i16>(seen, len)?,
        kind => return Err(unsupported(format!("makes numbers of type {kind:?}")).into()),
    };
    to.constant(list)
}
