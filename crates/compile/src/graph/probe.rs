//! Finds operations that tract types and then cannot run, while loading and not in the first step.
//!
//! tract's operations know their element types by what they do when they run; on floats of single precision they all
//! run. So each operation that takes anything else is run once on tensors of zeros, or of ones: some divide.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::einsum::EinSum;

use super::refusal::Nodes;
use crate::Result;
use crate::error::{panic_text, unsupported};
use crate::panics::refused_to_tract;

/// Operations that take and make more elements are not tried: it would take long.
const MOST: usize = 1 << 16;

/// Types that products have kernels for.
const MULTIPLIED: [DatumType; 5] =
    [DatumType::F32, DatumType::F16, DatumType::F64, DatumType::I32, DatumType::I8];

/// Refuses a graph with such an operation, which `nodes` knows by name.
pub(super) fn check(model: &TypedModel, nodes: &Nodes) -> Result<()> {
    for node in model.nodes() {
        let Ok(facts) = model.node_input_facts(node.id) else { continue };
        let plain = facts.iter().all(|fact| fact.datum_type == DatumType::F32);
        if facts.is_empty() || plain || node.op.is::<Cast>() {
            continue;
        }
        let refused = |why: &str| {
            let kinds: Vec<String> = facts.iter().map(|fact| format!("{:?}", fact.datum_type)).collect();
            let why: String = why.replace(['\n', '\r'], " ").chars().take(300).collect();
            unsupported(format!("tract cannot run it on {}: {why}", kinds.join(" and ")))
                .at(nodes.place(&node.name))
        };
        if let Some(product) = node.op.downcast_ref::<EinSum>()
            && !MULTIPLIED.contains(&product.operating_dt)
            && product.q_params.is_none()
        {
            return Err(refused(&format!("there are no products of {:?}", product.operating_dt)));
        }
        if tried(node, &facts, 0)?.is_some()
            && let Some(why) = tried(node, &facts, 1)?
        {
            return Err(refused(&why));
        }
    }
    Ok(())
}

/// Runs an operation on tensors whose elements are all `value`, but for constants; why it cannot be run, if so.
///
/// # Errors
/// `OutOfMemory`.
fn tried(node: &TypedNode, facts: &[&TypedFact], value: i64) -> Result<Option<String>> {
    let mut inputs = tvec!();
    let mut elements = 0usize;
    for fact in facts.iter().copied().chain(node.outputs.iter().map(|output| &output.fact)) {
        let Some(shape) = fact.shape.as_concrete() else { return Ok(None) };
        elements =
            elements.saturating_add(shape.iter().fold(1, |product: usize, &n| product.saturating_mul(n)));
    }
    if elements > MOST {
        return Ok(None);
    }
    for fact in facts {
        let Some(shape) = fact.shape.as_concrete() else { return Ok(None) };
        let tensor = match &fact.konst {
            Some(constant) => Ok(constant.clone().into_tvalue()),
            None => tensor0(value)
                .cast_to_dt(fact.datum_type)
                .and_then(|value| value.broadcast_scalar_to_shape(shape))
                .map(IntoTValue::into_tvalue),
        };
        // A type that has no such number.
        let Ok(tensor) = tensor else { return Ok(None) };
        inputs.push(tensor);
    }
    match catch_unwind(AssertUnwindSafe(|| node.op.eval_out_of_plan(inputs))) {
        Ok(Ok(_)) => Ok(None),
        Ok(Err(error)) => Ok(Some(format!("{error:#}"))),
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            refused_to_tract(text).map_or_else(|| Ok(Some(text.to_owned())), Err)
        }
    }
}
