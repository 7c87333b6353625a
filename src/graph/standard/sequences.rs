//! Parts of a tensor by way of a sequence, as PyTorch writes `chunk` and `split` without optimising: each part becomes
//! a `Slice`, for which nothing has to know of sequences.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto};

/// One `SplitToSequence`.
struct Split {
    x: String,
    axis: i64,
    sizes: Sizes,
}

enum Sizes {
    Equal(i64),
    /// Where each part starts, and the last one ends.
    Listed(Vec<i64>),
}

/// Writes `SequenceAt` of a `SplitToSequence` as a slice, where size and place are constants.
pub(super) fn write_out(graph: &mut GraphProto) {
    if graph.node.iter().all(|node| node.op_type != "SplitToSequence") {
        return;
    }
    let constants = constants(graph);
    let splits: HashMap<String, Split> =
        graph.node.iter().filter_map(|node| split(node, &constants)).collect();
    let mut added = Vec::new();
    for node in graph.node.iter_mut().filter(|node| node.op_type == "SequenceAt") {
        let [sequence, place] = node.input.as_slice() else { continue };
        let place = constants.get(place).and_then(|list| match list.as_slice() {
            &[place] => usize::try_from(place).ok(),
            _ => None,
        });
        let (Some(split), Some(place)) = (splits.get(sequence), place) else { continue };
        let bounds = match &split.sizes {
            Sizes::Equal(size) => {
                size.checked_mul(place as i64).map(|start| (start, start.saturating_add(*size)))
            }
            Sizes::Listed(bounds) => {
                bounds.get(place..).and_then(|rest| Some((*rest.first()?, *rest.get(1)?)))
            }
        };
        let Some((start, end)) = bounds else { continue };
        let mut input = vec![split.x.clone()];
        for (what, number) in [("start", start), ("end", end), ("axis", split.axis)] {
            // No name in a file begins like this by chance.
            let name = format!("#{what} of {}", node.output.first().map_or("", String::as_str));
            input.push(name.clone());
            added.push(TensorProto {
                name,
                dims: vec![1],
                data_type: tensor_proto::DataType::Int64 as i32,
                int64_data: vec![number],
                ..TensorProto::default()
            });
        }
        (node.op_type, node.input) = ("Slice".into(), input);
        node.attribute.clear();
    }
    graph.initializer.extend(added);
}

/// The integers that the graph holds as constants.
fn constants(graph: &GraphProto) -> HashMap<String, Vec<i64>> {
    let mut constants = HashMap::new();
    for tensor in &graph.initializer {
        constants.extend(integers(tensor).map(|list| (tensor.name.clone(), list)));
    }
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        let value = node.attribute.first().and_then(|attribute| attribute.t.as_ref());
        if let (Some(name), Some(list)) = (node.output.first(), value.and_then(integers)) {
            constants.insert(name.clone(), list);
        }
    }
    constants
}

fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != tensor_proto::DataType::Int64 as i32 {
        return None;
    }
    let raw = tensor.raw_data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
    Some(if tensor.raw_data.is_empty() { tensor.int64_data.clone() } else { raw.collect() })
}

fn split(node: &NodeProto, constants: &HashMap<String, Vec<i64>>) -> Option<(String, Split)> {
    if node.op_type != "SplitToSequence" {
        return None;
    }
    let [x, size] = node.input.as_slice() else { return None };
    let sizes = match constants.get(size)?.as_slice() {
        &[size] if size > 0 => Sizes::Equal(size),
        list if list.len() > 1 && list.iter().all(|&size| size > 0) => {
            let mut bounds = vec![0i64];
            for size in list {
                bounds.push(bounds.last()?.checked_add(*size)?);
            }
            Sizes::Listed(bounds)
        }
        _ => return None,
    };
    let axis = node.attribute.iter().find(|a| a.name == "axis").map_or(0, |a| a.i);
    Some((node.output.first()?.clone(), Split { x: x.clone(), axis, sizes }))
}
