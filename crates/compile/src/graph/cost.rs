//! Counts what one call of a network costs, on its decluttered graph.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Cost as OpCost;
use tract_onnx::tract_core::ops::konst::Const;

use super::Graph;
use crate::{Cost, Result};

impl Graph {
    /// Counts; operators that tract has no cost for count nothing.
    ///
    /// # Errors
    /// As [`materialise`](Self::materialise).
    pub fn cost(mut self) -> Result<Cost> {
        let weights = std::mem::take(&mut self.counts);
        let model = self.materialise()?;
        let mut cost = Cost::default();
        cost.weights = weights;
        cost.nodes = model.nodes().len();
        for node in model.nodes() {
            if let Some(constant) = node.op_as::<Const>() {
                let tensor = constant.val();
                cost.constant_bytes += (tensor.len() * tensor.datum_type().size_of()) as u64;
                continue;
            }
            let activation = node.outputs.iter().filter_map(|outlet| bytes(&outlet.fact)).max().unwrap_or(0);
            cost.largest_activation_bytes = cost.largest_activation_bytes.max(activation);
            let Ok(facts) = model.node_input_facts(node.id) else { continue };
            // tract's counting may panic on shapes that it has let pass.
            let counted = catch_unwind(AssertUnwindSafe(|| node.op.cost(&facts).unwrap_or_default()));
            for (kind, count) in counted.unwrap_or_default() {
                let count = count.to_i64().unwrap_or(0).unsigned_abs();
                let flops = match kind {
                    OpCost::FMA(_) => count.saturating_mul(2),
                    OpCost::Div(_) => count,
                    _ => 0,
                };
                cost.flops = cost.flops.saturating_add(flops);
            }
        }
        Ok(cost)
    }
}

fn bytes(fact: &TypedFact) -> Option<u64> {
    let bytes = fact.datum_type.size_of() as u64;
    Some(fact.shape.as_concrete()?.iter().fold(bytes, |product, &n| product.saturating_mul(n as u64)))
}
