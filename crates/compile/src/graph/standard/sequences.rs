//! Parts of a tensor by way of a sequence, as PyTorch writes `chunk` and `split` without optimising: equal parts become
//! a `Slice` each, listed ones a `Split`, which is held to the axis. Nothing has to know of sequences then.

use std::collections::HashMap;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor_proto};

/// One `SplitToSequence`.
struct Split<'a> {
    node: &'a NodeProto,
    axis: i64,
    /// One size for all parts, or that of each.
    sizes: &'a [i64],
}

impl Split<'_> {
    /// What a part is called where all have a size of their own. No name in a file begins like this by chance.
    fn part(&self, place: usize) -> String {
        format!("#{place} of {}", self.node.output[0])
    }

    /// All parts as one node, for a graph of this opset.
    fn node(&self, opset: i64) -> (NodeProto, Option<TensorProto>) {
        let ints = |name: &str, ints: &[i64]| AttributeProto {
            name: name.into(),
            r#type: AttributeType::Ints as i32,
            ints: ints.to_vec(),
            ..AttributeProto::default()
        };
        let axis = AttributeProto { i: self.axis, r#type: AttributeType::Int as i32, ..ints("axis", &[]) };
        let mut node = NodeProto {
            name: self.node.name.clone(),
            op_type: "Split".into(),
            input: vec![self.node.input[0].clone()],
            output: (0..self.sizes.len()).map(|place| self.part(place)).collect(),
            attribute: vec![axis],
            ..NodeProto::default()
        };
        if opset < SIZES_AS_INPUT {
            node.attribute.push(ints("split", self.sizes));
            return (node, None);
        }
        let sizes = list(format!("#sizes of {}", self.node.output[0]), self.sizes);
        node.input.push(sizes.name.clone());
        (node, Some(sizes))
    }

    /// Part `place` of those of one size, as the further operands of a slice.
    fn bounds(&self, place: usize, of: &str) -> Option<[TensorProto; 3]> {
        let start = self.sizes[0].checked_mul(i64::try_from(place).ok()?)?;
        let bounds = [("start", start), ("end", start.saturating_add(self.sizes[0])), ("axis", self.axis)];
        Some(bounds.map(|(what, number)| list(format!("#{what} of {of}"), &[number])))
    }
}

/// The opset from which on `Split` takes its sizes as an input.
const SIZES_AS_INPUT: i64 = 13;

/// Writes `SequenceAt` of a `SplitToSequence` as what it takes of the tensor, where sizes and place are constants.
pub(super) fn write_out(graph: &mut GraphProto, opset: i64) {
    if graph.node.iter().all(|node| node.op_type != "SplitToSequence") {
        return;
    }
    let constants = constants(graph);
    let nodes = graph.node.clone();
    let splits: HashMap<&str, Split> = nodes.iter().filter_map(|node| split(node, &constants)).collect();
    for node in graph.node.iter_mut().filter(|node| node.op_type == "SequenceAt") {
        let ([sequence, place], [output]) = (node.input.as_slice(), node.output.as_slice()) else { continue };
        let place = constants.get(place).and_then(|list| match list.as_slice() {
            &[place] => usize::try_from(place).ok(),
            _ => None,
        });
        let (Some(split), Some(place)) = (splits.get(sequence.as_str()), place) else { continue };
        (node.op_type, node.input) = match split.sizes {
            [_] => {
                let Some(bounds) = split.bounds(place, output) else { continue };
                let names = bounds.each_ref().map(|tensor| tensor.name.clone());
                graph.initializer.extend(bounds);
                ("Slice".into(), [&[split.node.input[0].clone()][..], &names].concat())
            }
            sizes if place < sizes.len() => ("Identity".into(), vec![split.part(place)]),
            _ => continue,
        };
        node.attribute.clear();
    }
    for split in splits.values().filter(|split| split.sizes.len() > 1) {
        let (node, sizes) = split.node(opset);
        graph.node.push(node);
        graph.initializer.extend(sizes);
    }
}

fn list(name: String, numbers: &[i64]) -> TensorProto {
    TensorProto {
        name,
        dims: vec![numbers.len() as i64],
        data_type: tensor_proto::DataType::Int64 as i32,
        int64_data: numbers.to_vec(),
        ..TensorProto::default()
    }
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

fn split<'a>(node: &'a NodeProto, constants: &'a HashMap<String, Vec<i64>>) -> Option<(&'a str, Split<'a>)> {
    let ([_, sizes], [sequence]) = (node.input.as_slice(), node.output.as_slice()) else { return None };
    let sizes = constants.get(sizes)?.as_slice();
    if node.op_type != "SplitToSequence" || sizes.is_empty() || sizes.iter().any(|&size| size <= 0) {
        return None;
    }
    let axis = node.attribute.iter().find(|a| a.name == "axis").map_or(0, |a| a.i);
    Some((sequence, Split { node, axis, sizes }))
}
