//! ONNX networks: read by tract, held to the standard and to the manifest, made plans that the runtime runs. Beside
//! that plain tract, the oracle. The one crate that knows either of them.

#![allow(rustdoc::private_intra_doc_links, reason = "for who works on it")]

#[cfg(test)]
#[allow(dead_code, reason = "the runtime's tests use the rest")]
#[path = "../../runtime/src/bundle/testing.rs"]
mod files;
mod graph;
mod lower;
mod net;
mod program;
mod quantise;
mod reference;

#[cfg(test)]
use flowturbo_runtime::{Bundle, Limits, Role, noise};
use flowturbo_runtime::{CancelToken, Cost, Error, ErrorKind, Result};
use flowturbo_runtime::{
    allowance, backend, bundle, contract, engine, error, executor, kernels, memory, panics, plan, precision,
    weights,
};

pub use program::{Compiled, Fused};
pub use quantise::quantised;
pub use reference::Reference;
/// What ONNX files are read by, for tests that write them and benches that have it beside us.
#[doc(hidden)]
pub use {prost, tract_onnx};
