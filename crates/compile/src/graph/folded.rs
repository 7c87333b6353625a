//! Constants that tract computes while it reads a graph.

use std::collections::HashSet;

use tract_onnx::pb::GraphProto;

use super::operators::rounded;

/// Operators whose results are the same bits on every processor: they move numbers, count, compare, or round once.
const EXACT: [&str; 48] = [
    "Abs",
    "Add",
    "And",
    "Cast",
    "Ceil",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Equal",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "Pad",
    "Range",
    "Reciprocal",
    "Reshape",
    rounded::NAME,
    "ScatterND",
    "Shape",
    "Size",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// The nodes of constants alone whose results depend on how tract, on this processor, computes them.
pub(super) fn inexact(graph: &GraphProto) -> Vec<String> {
    let mut constant: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut found = Vec::new();
    for node in &graph.node {
        let mut inputs = node.input.iter().filter(|name| !name.is_empty());
        if inputs.all(|name| constant.contains(name.as_str())) {
            constant.extend(node.output.iter().map(String::as_str));
            if !EXACT.contains(&node.op_type.as_str()) {
                found.push(format!("node '{}' ({})", node.name, node.op_type));
            }
        }
    }
    found
}
