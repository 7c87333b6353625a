//! `Attention` (opset 23), which tract knows in its `transformers` feature only: that brings an engine for language
//! models along.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::AxisOp;
use tract_onnx::tract_core::ops::array::MultiBroadcastTo;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::math::{add, mul, tanh};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind};
use tract_onnx::tract_hir::internal::*;

use super::{Built, Wiring, broken, refused};
use crate::error::limit_exceeded;
use crate::graph::standard::MOST_CONSTANT;
use crate::memory;

/// What is added to the score of a key that a query must not see: two of them are a number still.
const UNSEEN: f32 = f32::MIN / 2.0;

/// `softmax(softcap(scale Q Kᵀ) + mask) V`.
#[derive(Clone, Debug)]
struct Attention {
    /// Heads of queries, and of keys and values, that come as `[N, tokens, heads * width]`.
    heads: Option<[usize; 2]>,
    /// One over the root of the width if not said.
    scale: Option<f32>,
    softcap: Option<f32>,
    /// How many keys before and behind its own place a query sees.
    window: [Option<i64>; 2],
    masked: bool,
}

pub(super) fn attention(_: &ParsingContext, node: &NodeProto) -> TractResult<Built> {
    let given = |names: &[String], from: usize| names.iter().skip(from).any(|name| !name.is_empty());
    if given(&node.input, 4) {
        return Err(refused(
            "a cache of keys and values (past_key, past_value, nonpad_kv_seqlen) is not supported",
        ));
    }
    if given(&node.output, 1) {
        return Err(refused(
            "outputs besides Y (present_key, present_value, qk_matmul_output) are not supported",
        ));
    }
    let heads = |name: &str| -> TractResult<Option<usize>> {
        let Some(count) = node.get_attr_opt::<i64>(name)? else { return Ok(None) };
        let usable = usize::try_from(count).ok().filter(|&n| n > 0);
        Ok(Some(usable.with_context(|| broken(format!("attribute '{name}' is {count}")))?))
    };
    let heads = match (heads("q_num_heads")?, heads("kv_num_heads")?) {
        (Some(q), Some(kv)) => Some([q, kv]),
        (None, None) => None,
        _ => {
            return Err(broken("has one of the attributes 'q_num_heads' and 'kv_num_heads', must have both"));
        }
    };
    let softcap = node.get_attr_opt::<f32>("softcap")?.filter(|&softcap| softcap != 0.0);
    if softcap.is_some_and(|softcap| softcap.is_nan() || softcap < 0.0) {
        return Err(broken("attribute 'softcap' is below 0"));
    }
    let scale = node.get_attr_opt::<f32>("scale")?;
    // The standard gives either side its root.
    if scale.is_some_and(|scale| scale <= 0.0 || !scale.is_finite()) {
        return Err(broken("attribute 'scale' must be a number above 0"));
    }
    let side = |name: &str| -> TractResult<Option<i64>> {
        match node.get_attr_opt::<i64>(name)?.unwrap_or(-1) {
            -1 => Ok(None),
            size if size >= 0 => Ok(Some(size)),
            size => Err(broken(format!("attribute '{name}' is {size}"))),
        }
    };
    let mut window = [side("left_window_size")?, side("right_window_size")?];
    match node.get_attr_opt::<i64>("is_causal")?.unwrap_or(0) {
        0 => {}
        1 => window[1] = Some(0),
        other => return Err(broken(format!("attribute 'is_causal' is {other}, must be 0 or 1"))),
    }
    let masked = node.input.get(3).is_some_and(|name| !name.is_empty());
    let attention = Attention { heads, scale, softcap, window, masked };
    Ok((expand(attention), Vec::new()))
}

impl Expansion for Attention {
    fn name(&self) -> StaticName {
        "Attention".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 3 + usize::from(self.masked))?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].rank, &outputs[0].rank)?;
        // All but the width are the queries'; the width is the values', as often as queries have heads.
        solver.given(&inputs[0].rank, move |solver, rank| {
            let last = (rank.max(1) - 1) as usize;
            for axis in 0..last {
                solver.equals(&inputs[0].shape[axis], &outputs[0].shape[axis])?;
            }
            let [q, kv] = self.heads.unwrap_or([1, 1]);
            solver.given(&inputs[2].shape[last], move |solver, width| {
                solver.equals(&outputs[0].shape[last], width * q / kv)
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?;
        let (rank, kind) = (fact.rank(), fact.datum_type);
        let mut wiring = Wiring { prefix, model, inputs, steps: 0 };
        let [q, kv] = self.heads.map_or([None; 2], |heads| heads.map(Some));
        let mut heads = tvec!();
        for (&x, count) in inputs.iter().zip([q, kv, kv]) {
            heads.push(wiring.split(x, count)?);
        }
        let [q, k, v] = [0, 1, 2].map(|i| wiring.four(heads[i]));
        let ([n, hq, l, d], [nk, hk, s, dk], [nv, hv, sv, dv]) = (q?, k?, v?);
        if (n, hk, s, d) != (nk, hv, sv, dk) || n != nv || hk == 0 || hq % hk != 0 {
            let shown = |[n, h, s, d]: [usize; 4]| format!("[{n},{h},{s},{d}]");
            let (q, k, v) = (shown([n, hq, l, d]), shown([nk, hk, s, dk]), shown([nv, hv, sv, dv]));
            return Err(broken(format!("queries {q}, keys {k} and values {v} do not fit together")));
        }
        for x in &mut heads[1..] {
            *x = wiring.shared(*x, hq / hk)?;
        }
        let mut scores = wiring.op(product("bhqd,bhkd->bhqk")?, &heads[..2])?;
        scores = wiring.times(scores, self.scale.unwrap_or(1.0 / (d as f32).sqrt()))?;
        if let Some(softcap) = self.softcap {
            scores = wiring.times(scores, 1.0 / softcap)?;
            scores = wiring.op(tanh(), &[scores])?;
            scores = wiring.times(scores, softcap)?;
        }
        // Which keys a query sees, as far as that is known while loading.
        let seen = self.seen(l, s)?;
        let mut blind = None;
        if let Some(&mask) = inputs.get(3) {
            let mask = wiring.spread(mask, [n, hq, l, s])?;
            let (mask, some) = wiring.added(mask)?;
            scores = wiring.op(add(), &[scores, mask])?;
            blind = some;
        }
        if seen.iter().any(|seen| !seen) {
            let mask = seen.iter().map(|&seen| if seen { 0.0 } else { UNSEEN });
            let mask = memory::collected(seen.len(), mask)?;
            let mask = wiring.constant(Tensor::from_shape(&[1, 1, l, s], &mask)?)?;
            scores = wiring.op(add(), &[scores, mask])?;
        }
        let weights = wiring.op(Softmax::new(tvec!(3), None, SoftmaxKind::Softmax), &[scores])?;
        let mut answer = wiring.op(product("bhqk,bhkd->bhqd")?, &[weights, heads[2]])?;
        // A query that sees nothing gets zeros.
        if let Some(some) = blind {
            answer = wiring.op(mul(), &[answer, some])?;
        }
        if s > 0 && seen.chunks_exact(s).any(|row| row.iter().all(|seen| !seen)) {
            let some = seen.chunks_exact(s).map(|row| if row.contains(&true) { 1.0f32 } else { 0.0 });
            let some = wiring.constant(Tensor::from_shape(&[1, 1, l, 1], &memory::collected(l, some)?)?)?;
            answer = wiring.op(mul(), &[answer, some])?;
        }
        if rank == 3 {
            answer = wiring.op(AxisOp::Move(1, 2), &[answer])?;
            let [h, w] = [hq, dv].map(|n| n.to_dim());
            answer = wiring.op(AxisOp::Reshape(2, tvec!(h.clone(), w.clone()), tvec!(h * w)), &[answer])?;
        }
        if kind != DatumType::F32 {
            answer = wiring.op(cast(kind), &[answer])?;
        }
        wiring.finish(answer)
    }
}

fn product(axes: &str) -> TractResult<EinSum> {
    Ok(EinSum::new(axes.parse()?, DatumType::F32))
}

impl Attention {
    /// Whether each of `l` queries sees each of `s` keys, but for the mask; nothing where all see all.
    fn seen(&self, l: usize, s: usize) -> crate::Result<Vec<bool>> {
        let [left, right] = self.window;
        if left.is_none() && right.is_none() {
            return Ok(Vec::new());
        }
        if l.saturating_mul(s) > MOST_CONSTANT {
            let message = format!("a window over {l} queries and {s} keys, which are too many");
            return Err(limit_exceeded(message));
        }
        let sees = |i: usize, j: usize| {
            let ahead = j as i64 - i as i64;
            left.is_none_or(|left| ahead >= -left) && right.is_none_or(|right| ahead <= right)
        };
        memory::collected(l * s, (0..l).flat_map(|i| (0..s).map(move |j| sees(i, j))))
    }
}

impl Wiring<'_> {
    fn times(&mut self, x: OutletId, factor: f32) -> TractResult<OutletId> {
        let factor = self.constant(tensor0(factor).broadcast_into_rank(4)?)?;
        self.op(mul(), &[x, factor])
    }

    fn four(&self, x: OutletId) -> TractResult<[usize; 4]> {
        let shape = self.shape(x)?;
        shape.as_slice().try_into().map_err(|_| broken(format!("takes {shape:?}, must have 4 axes")))
    }

    /// `[N, heads, tokens, width]` of `x`, in single precision.
    fn split(&mut self, x: OutletId, heads: Option<usize>) -> TractResult<OutletId> {
        let fact = self.model.outlet_fact(x)?.clone();
        let x = match fact.datum_type {
            DatumType::F32 => x,
            DatumType::F16 => self.op(cast(DatumType::F32), &[x])?,
            other => {
                return Err(refused(format!("inputs of {other:?} are not supported, only of F32 and F16")));
            }
        };
        match (fact.rank(), heads) {
            (4, None) => Ok(x),
            (3, Some(heads)) => {
                let all = fact.shape[2].to_usize()?;
                if all % heads != 0 {
                    return Err(broken(format!("{all} channels do not part into {heads} heads")));
                }
                let parts = tvec!(heads.to_dim(), (all / heads).to_dim());
                let split = self.op(AxisOp::Reshape(2, tvec!(all.to_dim()), parts), &[x])?;
                self.op(AxisOp::Move(2, 1), &[split])
            }
            (3, None) => {
                Err(broken("lacks the attributes 'q_num_heads' and 'kv_num_heads', for inputs of 3 axes"))
            }
            (4, Some(_)) => Err(broken("has the attribute 'q_num_heads', for inputs of 4 axes")),
            (rank, _) => Err(broken(format!("takes inputs of {rank} axes, must be 3 or 4"))),
        }
    }

    /// Each head as often as queries share it, one after the other.
    fn shared(&mut self, x: OutletId, times: usize) -> TractResult<OutletId> {
        if times == 1 {
            return Ok(x);
        }
        let [n, heads, tokens, width] = self.four(x)?;
        let apart = self.op(AxisOp::Add(2), &[x])?;
        let shape = tvec!(n, heads, times, tokens, width).into_iter().map(|n| n.to_dim());
        let repeated = self.op(MultiBroadcastTo { shape: shape.collect() }, &[apart])?;
        let (from, to) = (tvec!(heads.to_dim(), times.to_dim()), tvec!((heads * times).to_dim()));
        self.op(AxisOp::Reshape(1, from, to), &[repeated])
    }

    /// The mask with as many axes as the scores, which it has to fit.
    fn spread(&mut self, mut mask: OutletId, scores: [usize; 4]) -> TractResult<OutletId> {
        let fact = self.model.outlet_fact(mask)?.clone();
        let shape = fact.shape.as_concrete().context("takes a tensor of open sizes")?;
        let fits = (2..=4).contains(&shape.len())
            && shape.last() == Some(&scores[3])
            && shape.iter().rev().zip(scores.iter().rev()).all(|(&n, &whole)| n == whole || n == 1);
        if !fits {
            return Err(broken(format!("input attn_mask is {shape:?}, must fit the scores {scores:?}")));
        }
        for _ in shape.len()..4 {
            mask = self.op(AxisOp::Add(0), &[mask])?;
        }
        Ok(mask)
    }

    /// What is added to the scores, and for a mask of truths, 1 for each query that sees anything and 0 for others.
    fn added(&mut self, mask: OutletId) -> TractResult<(OutletId, Option<OutletId>)> {
        match self.model.outlet_fact(mask)?.datum_type {
            DatumType::F32 => Ok((mask, None)),
            DatumType::F16 => Ok((self.op(cast(DatumType::F32), &[mask])?, None)),
            DatumType::Bool => {
                let ones = self.op(cast(DatumType::F32), &[mask])?;
                let some = self.op(Reduce::new(tvec!(3), Reducer::Max), &[ones])?;
                let [zero, unseen] = [0.0, UNSEEN].map(|x| tensor0(x).broadcast_into_rank(4));
                let (zero, unseen) = (self.constant(zero?)?, self.constant(unseen?)?);
                Ok((self.op(Iff, &[mask, zero, unseen])?, Some(some)))
            }
            other => Err(refused(format!("input attn_mask of {other:?} is not supported"))),
        }
    }
}
