//! ONNX bytes to a typed, decluttered tract graph of fixed shapes.
//!
//! [`contract`] says which tensors a role has; [`import`] reads the graph, holds it against the
//! contract, fixes the batch and declutters. What comes out is what a backend compiles, and what
//! [`cost`] counts.

#![forbid(unsafe_code)]

mod contract;
mod cost;
mod import;

pub use contract::{Contract, ElementType, Port};
pub use cost::Cost;

use tract_onnx::prelude::TypedModel;

/// One network at one batch, ready for a backend.
pub(crate) struct Graph {
    /// The file it came from, for messages.
    pub(crate) file: String,
    pub(crate) contract: Contract,
    /// Inputs in the contract's order, one output.
    pub(crate) model: TypedModel,
    /// Weights in the file as written: element type and number of elements.
    pub(crate) weights: Vec<(String, u64)>,
}
