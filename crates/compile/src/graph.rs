//! An ONNX file to a typed tract graph of fixed shapes, its large weights left in their files.
//!
//! ```text
//! file ──skeleton──▶ small ModelProto ──initializers──▶ weights as inputs ──tract, contract──▶ Graph
//!   └──▶ parts of it ──────────────────────┴──▶ Weights ───────────────────────────────────────┘
//! Graph ──materialise──▶ decluttered graph with constants ──▶ cost, the reference backend
//! ```
//!
//! [`import`] holds the graph against its [`Contract`] and fixes the batch.

#![forbid(unsafe_code)]

mod cost;
mod dequantized;
mod folded;
mod held;
mod import;
mod initializers;
mod materialise;
mod names;
mod operators;
mod probe;
mod refusal;
mod rewritten;
mod skeleton;
mod standard;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod whole;

pub use operators::{Resample, Rounded};
pub use rewritten::with_bytes;

use std::sync::Arc;

use tract_onnx::prelude::TypedModel;

use crate::Result;
use crate::allowance::Allowance;
use crate::contract::Contract;
use crate::weights::Weights;

/// One network at one batch, typed but not simplified, ready for a backend.
pub struct Graph {
    /// The file it came from, for messages.
    pub file: String,
    pub contract: Contract,
    /// Inputs: the contract's in its order, then one for each of `weights`. One output.
    pub model: TypedModel,
    /// The large weights, unread.
    pub weights: Arc<Weights>,
    /// What planning it may take.
    pub allowance: Allowance,
    /// All weights in the file as written: element type and number of elements.
    pub counts: Vec<(String, u64)>,
    /// Nodes whose results tract has computed beforehand, in its own way on each processor.
    pub inexact: Vec<String>,
}

impl Graph {
    /// Holds the output against the contract, for a backend that takes the graph as it is.
    ///
    /// # Errors
    /// `InvalidBundle`: another shape or type.
    pub fn check_output(&self) -> Result<()> {
        materialise::check_output(&self.model, &self.contract.output)
    }
}
