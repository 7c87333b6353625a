//! Pools: tract drops the root of `GlobalLpPool`, and with `auto_pad` and `dilations` together it pads nothing.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::math::{abs, pow};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::internal::*;

use super::{Built, broken, refused, tracts};

/// tract's reading of a pool, but for what it reads wrongly.
pub(super) fn window(context: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let dilated = node.get_attr_opt_vec::<i64>("dilations")?.is_some_and(|all| all.iter().any(|&n| n != 1));
    let automatic = node.get_attr_opt::<&str>("auto_pad")?.is_some_and(|pad| pad.starts_with("SAME"));
    if dilated && automatic {
        return Err(refused("attributes 'auto_pad' and 'dilations' together are not supported"));
    }
    tracts(context, node)
}

/// `(Σ |x|^p)^(1/p)` over all of a plane.
#[derive(Clone, Debug)]
struct GlobalLpPool {
    p: i64,
}

pub(super) fn global_lp_pool(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    match node.get_attr_opt::<i64>("p")?.unwrap_or(2) {
        p if p > 0 => Ok((expand(GlobalLpPool { p }), Vec::new())),
        p => Err(broken(format!("attribute 'p' is {p}, must be above 0"))),
    }
}

impl Expansion for GlobalLpPool {
    fn name(&self) -> StaticName {
        "GlobalLpPool".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.given(&inputs[0].shape, move |solver, shape| {
            let shape: TVec<TDim> =
                shape.iter().enumerate().map(|(i, n)| if i < 2 { n.clone() } else { 1.to_dim() }).collect();
            solver.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?.clone();
        if fact.datum_type != DatumType::F32 {
            return Err(refused(format!("input X of {:?} is not supported, only of F32", fact.datum_type)));
        }
        let number = |x: f32| tensor0(x).broadcast_into_rank(fact.rank());
        let name = |step: &str| format!("{prefix}.{step}");
        let x = model.wire_node(name("abs"), abs(), inputs)?[0];
        let p = model.add_const(name("p"), number(self.p as f32)?)?;
        let powers = model.wire_node(name("pow"), pow(), &[x, p])?;
        let sum =
            model.wire_node(name("sum"), Reduce::new((2..fact.rank()).collect(), Reducer::Sum), &powers)?[0];
        let root = model.add_const(name("1/p"), number(1.0 / self.p as f32)?)?;
        model.wire_node(prefix, pow(), &[sum, root])
    }
}
