//! ONNX operators that this build of tract lacks, spelled out in operations that it has.
//!
//! tract knows `Attention` (opset 23) in its `transformers` feature only, which brings an engine for language
//! models along.

mod recurrent;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::AxisOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::math::{add, mul};
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_hir::internal::*;

use crate::error::{invalid_bundle, unsupported};

/// Teaches `onnx` what it lacks.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Attention", attention);
    for name in ["GRU", "LSTM", "RNN"] {
        onnx.op_register.insert(name, recurrent::recurrent);
    }
}

/// `softmax(scale Q Kᵀ + mask) V`.
#[derive(Clone, Debug)]
struct Attention {
    /// Heads of queries that come as `[N, tokens, heads * width]`; none for `[N, heads, tokens, width]`.
    heads: Option<usize>,
    /// One over the root of the width if not said.
    scale: Option<f32>,
    masked: bool,
}

fn attention(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let refused = |what: &str| -> TractError { unsupported(format!("{what} is not supported")).into() };
    if node.get_attr_opt::<i64>("is_causal")?.unwrap_or(0) != 0 {
        return Err(refused("is_causal"));
    }
    if node.get_attr_opt::<f32>("softcap")?.unwrap_or(0.0) != 0.0 {
        return Err(refused("softcap"));
    }
    let given = |names: &[String], from: usize| names.iter().skip(from).any(|name| !name.is_empty());
    if given(&node.input, 4) || given(&node.output, 1) {
        return Err(refused("a cache of keys and values"));
    }
    let heads = |name: &str| -> TractResult<Option<usize>> {
        let count = node.get_attr_opt::<i64>(name)?;
        count
            .map(|n| usize::try_from(n).ok().filter(|&n| n > 0).with_context(|| format!("{name} is {n}")))
            .transpose()
    };
    let (of_queries, of_keys) = (heads("q_num_heads")?, heads("kv_num_heads")?);
    if of_queries != of_keys {
        return Err(refused("sharing keys between heads"));
    }
    let masked = node.input.get(3).is_some_and(|name| !name.is_empty());
    let attention = Attention { heads: of_queries, scale: node.get_attr_opt("scale")?, masked };
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
        // All but the width are the queries'; the width is the values', whose heads are as many.
        solver.given(&inputs[0].rank, move |solver, rank| {
            let last = (rank.max(1) - 1) as usize;
            for axis in 0..last {
                solver.equals(&inputs[0].shape[axis], &outputs[0].shape[axis])?;
            }
            solver.equals(&inputs[2].shape[last], &outputs[0].shape[last])
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let mut heads = tvec!();
        for (&x, name) in inputs.iter().zip(["q", "k", "v"]) {
            heads.push(self.split(&format!("{prefix}.{name}"), model, x)?);
        }
        let shapes: Vec<Vec<TDim>> = heads
            .iter()
            .map(|&x| Ok(model.outlet_fact(x)?.shape.to_tvec().to_vec()))
            .collect::<TractResult<_>>()?;
        let [q, k, v] = shapes.as_slice() else { bail!("needs queries, keys and values") };
        if q[..2] != k[..2] || k[..3] != v[..3] || q[3] != k[3] {
            let shown = |dims: &[TDim]| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let (q, k, v) = (shown(q), shown(k), shown(v));
            let message = format!("queries [{q}], keys [{k}] and values [{v}] do not fit together");
            return Err(invalid_bundle(message).into());
        }
        let scale = self.scale.map_or_else(|| Ok(1.0 / (q[3].to_i64()? as f32).sqrt()), TractResult::Ok)?;
        let product = |axes: &str| TractResult::Ok(EinSum::new(axes.parse()?, DatumType::F32));
        let scores = model.wire_node(format!("{prefix}.qk"), product("bhqd,bhkd->bhqk")?, &heads[..2])?[0];
        let scale = model.add_const(format!("{prefix}.scale"), tensor0(scale).broadcast_into_rank(4)?)?;
        let mut scores = model.wire_node(format!("{prefix}.scaled"), mul(), &[scores, scale])?[0];
        if let Some(&mask) = inputs.get(3) {
            let mask = self.spread(&format!("{prefix}.mask"), model, mask)?;
            scores = model.wire_node(format!("{prefix}.masked"), add(), &[scores, mask])?[0];
        }
        let softmax = Softmax::new(tvec!(3), None, SoftmaxKind::Softmax);
        let weights = model.wire_node(format!("{prefix}.softmax"), softmax, &[scores])?[0];
        let name = if rank == 4 { prefix.to_owned() } else { format!("{prefix}.attended") };
        let attended = model.wire_node(name, product("bhqk,bhkd->bhqd")?, &[weights, heads[2]])?;
        if rank == 4 {
            return Ok(attended);
        }
        let tokens = model.wire_node(format!("{prefix}.tokens"), AxisOp::Move(1, 2), &attended)?;
        let joined =
            AxisOp::Reshape(2, tvec!(q[1].clone(), v[3].clone()), tvec!(q[1].clone() * v[3].clone()));
        model.wire_node(prefix, joined, &tokens)
    }
}

impl Attention {
    /// `[N, heads, tokens, width]` of `x`.
    fn split(&self, prefix: &str, model: &mut TypedModel, x: OutletId) -> TractResult<OutletId> {
        let fact = model.outlet_fact(x)?.clone();
        ensure!(fact.datum_type == DatumType::F32, "takes {:?}, must be F32", fact.datum_type);
        match (fact.rank(), self.heads) {
            (4, _) => Ok(x),
            (3, Some(heads)) => {
                let all = fact.shape[2].to_usize()?;
                ensure!(all % heads == 0, "{all} channels do not part into {heads} heads");
                let parts = tvec!(heads.to_dim(), (all / heads).to_dim());
                let reshape = AxisOp::Reshape(2, tvec!(all.to_dim()), parts);
                let split = model.wire_node(format!("{prefix}.heads"), reshape, &[x])?;
                Ok(model.wire_node(format!("{prefix}.first"), AxisOp::Move(2, 1), &split)?[0])
            }
            (3, None) => bail!("lacks the attribute q_num_heads"),
            (rank, _) => bail!("takes tensors of 3 or 4 axes, not {rank}"),
        }
    }

    /// An additive mask with as many axes as the scores have.
    fn spread(&self, prefix: &str, model: &mut TypedModel, mask: OutletId) -> TractResult<OutletId> {
        let fact = model.outlet_fact(mask)?.clone();
        if fact.datum_type != DatumType::F32 {
            return Err(unsupported(format!("a mask of {:?} is not supported", fact.datum_type)).into());
        }
        let mut mask = mask;
        for axis in fact.rank()..4 {
            mask = model.wire_node(format!("{prefix}.{axis}"), AxisOp::Add(0), &[mask])?[0];
        }
        Ok(mask)
    }
}
