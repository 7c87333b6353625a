//! What one call of a network costs.

use serde::{Deserialize, Serialize};

/// The size of one network at one batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Elements of all weights in the ONNX file, by stored type (`FLOAT`, `FLOAT16`, ...).
    pub weights: Vec<(String, u64)>,
    /// Floating-point operations of one call; a fused multiply-add counts two, a division one.
    pub flops: u64,
    /// Bytes of weights and constants once decluttered (before packing).
    pub constant_bytes: u64,
    /// Bytes of the largest intermediate tensor of one call.
    pub largest_activation_bytes: u64,
    /// Nodes of the decluttered graph.
    pub nodes: usize,
}

impl Cost {
    /// Weights of floating-point type, and int8 ones, which are made such.
    pub fn parameters(&self) -> u64 {
        self.weights
            .iter()
            .filter(|(kind, _)| kind.contains("FLOAT") || kind == "INT8")
            .map(|(_, count)| count)
            .sum()
    }
}
