//! `ReduceSum` and its like: tract takes an empty list of axes for none where the standard has all, and exponentials
//! of large numbers for infinite.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::math::{add, exp, ln, max, min, sub};
use tract_onnx::tract_core::ops::nn::{Reduce as Fold, Reducer as Folder};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::nn::{Reduce, Reducer};

use super::{Built, broken, refused};

pub(super) const NAMES: [&str; 10] = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

#[derive(Clone, Debug)]
struct Reduction {
    reducer: Reducer,
    /// The attribute, or what the input will say.
    axes: Axes,
    keep: bool,
    /// Whether no axes are none, and not all.
    none: bool,
}

#[derive(Clone, Debug)]
enum Axes {
    Stated(Vec<i64>),
    Input,
}

pub(super) fn reduction(context: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let reducer = match node.op_type.as_str() {
        "ReduceL1" => Reducer::L1,
        "ReduceL2" => Reducer::L2,
        "ReduceLogSum" => Reducer::LogSum,
        "ReduceLogSumExp" => Reducer::LogSumExp,
        "ReduceMax" => Reducer::Max,
        "ReduceMean" => Reducer::Mean,
        "ReduceMin" => Reducer::Min,
        "ReduceProd" => Reducer::Prod,
        "ReduceSum" => Reducer::Sum,
        _ => Reducer::SumSquare,
    };
    let as_input = context.onnx_operator_set_version >= if node.op_type == "ReduceSum" { 13 } else { 18 };
    let given = node.input.get(1).is_some_and(|name| !name.is_empty());
    let stated = node.get_attr_opt_vec::<i64>("axes")?;
    let axes = match (as_input, given, stated) {
        (false, false, stated) => Axes::Stated(stated.unwrap_or_default()),
        (true, true, None) => Axes::Input,
        (true, false, None) => Axes::Stated(Vec::new()),
        (true, _, Some(_)) => {
            return Err(broken("has the attribute 'axes', which is an input at this opset"));
        }
        (false, true, _) => return Err(broken("has the input axes, which is an attribute at this opset")),
    };
    let keep = node.get_attr_opt::<i64>("keepdims")?.unwrap_or(1) != 0;
    let none = as_input && node.get_attr_opt::<i64>("noop_with_empty_axes")?.unwrap_or(0) != 0;
    Ok((expand(Reduction { reducer, axes, keep, none }), Vec::new()))
}

impl Reduction {
    /// The axes of a tensor with `rank` of them, in order.
    fn axes(&self, axes: &[i64], rank: usize) -> TractResult<Vec<i64>> {
        if axes.is_empty() {
            return Ok(if self.none { Vec::new() } else { (0..rank as i64).collect() });
        }
        let whole = |&axis: &i64| {
            let from_start = if axis < 0 { axis + rank as i64 } else { axis };
            let inside = (0..rank as i64).contains(&from_start).then_some(from_start);
            inside.with_context(|| broken(format!("axes holds {axis}, the tensor has {rank} axes")))
        };
        let mut axes = axes.iter().map(whole).collect::<TractResult<Vec<i64>>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(broken(format!("axes {axes:?} holds one twice")));
        }
        Ok(axes)
    }

    fn shape(&self, axes: &[i64], shape: &[TDim]) -> TractResult<TVec<TDim>> {
        let axes = self.axes(axes, shape.len())?;
        let kept = shape.iter().enumerate().filter_map(|(i, n)| match axes.contains(&(i as i64)) {
            true => self.keep.then(|| 1.to_dim()),
            false => Some(n.clone()),
        });
        Ok(kept.collect())
    }
}

impl Expansion for Reduction {
    fn name(&self) -> StaticName {
        format!("Reduce{:?}", self.reducer).into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1 + usize::from(matches!(self.axes, Axes::Input)))?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        match &self.axes {
            Axes::Stated(axes) => solver.given(&inputs[0].shape, move |solver, shape| {
                solver.equals(&outputs[0].shape, self.shape(axes, &shape)?)
            }),
            Axes::Input => solver.given_2(&inputs[0].shape, &inputs[1].value, move |solver, shape, axes| {
                let axes = axes.cast_to::<i64>()?;
                let axes = axes.try_as_plain_ram()?.as_slice::<i64>()?;
                solver.equals(&outputs[0].shape, self.shape(axes, &shape)?)
            }),
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?.clone();
        let of_floats = matches!(
            self.reducer,
            Reducer::L2 | Reducer::LogSum | Reducer::LogSumExp | Reducer::SumSquare | Reducer::Mean
        );
        if of_floats && !fact.datum_type.is_float() || fact.datum_type == DatumType::Bool {
            return Err(refused(format!("input data of {:?} is not supported", fact.datum_type)));
        }
        let axes = match &self.axes {
            Axes::Stated(axes) => axes.clone(),
            Axes::Input => {
                let value = model.outlet_fact(inputs[1])?.konst.clone();
                let value = value.with_context(|| refused("input axes must be known while loading"))?;
                value.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?.to_vec()
            }
        };
        let axes = self.axes(&axes, fact.rank())?;
        if matches!(self.reducer, Reducer::LogSumExp) && !axes.is_empty() {
            return self.log_sum_exp(prefix, model, inputs[0], axes);
        }
        Reduce::new(Some(axes), self.keep, self.reducer).wire(prefix, model, &inputs[..1])
    }
}

impl Reduction {
    /// `m + ln Σ exp(x - m)`, where `m` is the largest, or the number next to it that is finite.
    fn log_sum_exp(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        x: OutletId,
        axes: Vec<i64>,
    ) -> TractResult<TVec<OutletId>> {
        let along: TVec<usize> = axes.iter().map(|&axis| axis as usize).collect();
        let name = |step: &str| format!("{prefix}.{step}");
        let most = model.wire_node(name("max"), Fold::new(along.clone(), Folder::Max), &[x])?[0];
        let kind = model.outlet_fact(x)?.datum_type;
        let rank = model.outlet_fact(x)?.rank();
        let greatest = match kind {
            DatumType::F16 => 65504.0,
            DatumType::F32 => f64::from(f32::MAX),
            _ => f64::MAX,
        };
        let mut bound = |step: &str, value: f64| {
            let value = tensor0(value).cast_to_dt(kind)?.into_owned().broadcast_into_rank(rank)?;
            model.add_const(name(step), value)
        };
        let (least, greatest) = (bound("least", -greatest)?, bound("greatest", greatest)?);
        let most = model.wire_node(name("above"), max(), &[most, least])?[0];
        let most = model.wire_node(name("below"), min(), &[most, greatest])?[0];
        let less = model.wire_node(name("less"), sub(), &[x, most])?;
        let powers = model.wire_node(name("exp"), exp(), &less)?;
        let sum = model.wire_node(name("sum"), Fold::new(along.clone(), Folder::Sum), &powers)?;
        let log = model.wire_node(name("ln"), ln(), &sum)?[0];
        if self.keep {
            return model.wire_node(prefix, add(), &[log, most]);
        }
        let mut answer = model.wire_node(name("whole"), add(), &[log, most])?;
        // The last first, so that the places of the others stay.
        for &axis in along[1..].iter().rev() {
            answer = model.wire_node(name(&format!("less-{axis}")), AxisOp::Rm(axis), &answer)?;
        }
        model.wire_node(prefix, AxisOp::Rm(along[0]), &answer)
    }
}
