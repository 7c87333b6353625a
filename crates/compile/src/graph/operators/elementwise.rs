//! Functions of one number, and powers.

use tract_onnx::tract_core::internal::wire_rank_broadcast;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::math::{add, exp, ln, max, min, mul, pow};
use tract_onnx::tract_core::ops::nn::sigmoid;
use tract_onnx::tract_hir::internal::*;

use super::Wiring;
use crate::error::{invalid_bundle, unsupported};
use crate::graph::standard::Seen;

/// `ln(1 + exp(x))`, which is `x` where the exponential would be too large.
pub(super) fn softplus(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let x = to.inputs[0];
    let (kind, rank) = (to.kind(x)?, seen.rank(0)?);
    let number = |to: &mut Wiring, value: f32| {
        to.constant(tensor0(value).cast_to_dt(kind)?.into_owned().broadcast_into_rank(rank)?)
    };
    let most = number(to, if kind == DatumType::F16 { 10.0 } else { 80.0 })?;
    let one = number(to, 1.0)?;
    let held = to.op(min(), &[x, most])?;
    let grown = to.op(exp(), &[held])?;
    let sum = to.op(add(), &[grown, one])?;
    let logarithm = to.op(ln(), &[sum])?;
    to.op(max(), &[logarithm, x])
}

/// `x sigmoid(alpha x)`.
pub(super) fn swish(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let alpha = seen.node.float("alpha").unwrap_or(1.0);
    let x = to.inputs[0];
    let scale = tensor0(alpha).cast_to_dt(to.kind(x)?)?.into_owned().broadcast_into_rank(seen.rank(0)?)?;
    let scale = to.constant(scale)?;
    let scaled = to.op(mul(), &[x, scale])?;
    let gate = to.op(sigmoid(), &[scaled])?;
    to.op(mul(), &[x, gate])
}

/// `x ^ y`, of the type of `x`. Of integers by 64-bit floats, as ONNX Runtime has it: tract takes the bits of a
/// negative power for those of a large positive one.
pub(super) fn power(_: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let kind = to.kind(to.inputs[0])?;
    let through = if kind.is_integer() { DatumType::F64 } else { kind };
    let mut sides = to.inputs.to_vec();
    for side in &mut sides {
        if to.kind(*side)? != through {
            *side = to.op(cast(through), &[*side])?;
        }
    }
    let name = to.name();
    let sides = wire_rank_broadcast(name, to.model, &sides)?;
    let made = to.op(pow(), &sides)?;
    if through == kind { Ok(made) } else { to.op(cast(kind), &[made]) }
}

/// `max(0, x) + min(0, alpha (exp(x / alpha) - 1))`.
pub(super) fn celu(seen: &Seen, to: &mut Wiring) -> TractResult<OutletId> {
    let alpha = seen.node.float("alpha").unwrap_or(1.0);
    if alpha == 0.0 {
        return Err(invalid_bundle("attribute 'alpha' is 0").into());
    }
    let x = to.inputs[0];
    let (kind, rank) = (to.kind(x)?, seen.rank(0)?);
    if kind != DatumType::F32 {
        return Err(unsupported(format!("takes numbers of type {kind:?}, must be F32")).into());
    }
    let number = |to: &mut Wiring, value: f32| to.constant(tensor0(value).broadcast_into_rank(rank)?);
    let (zero, minus_one) = (number(to, 0.0)?, number(to, -1.0)?);
    let (alpha, by_alpha) = (number(to, alpha)?, number(to, alpha.recip())?);
    let above = to.op(max(), &[x, zero])?;
    let scaled = to.op(mul(), &[x, by_alpha])?;
    let grown = to.op(exp(), &[scaled])?;
    let below = to.op(add(), &[grown, minus_one])?;
    let below = to.op(mul(), &[below, alpha])?;
    let below = to.op(min(), &[below, zero])?;
    to.op(add(), &[above, below])
}
