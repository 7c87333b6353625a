//! Predictors written down as text, for tests of what is recognised and what is not.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::port;
use crate::noise;

/// A predictor of `x [N, 4, 8, 16]`, a node a line: `d = Sub(x, mean)` or `s = Softmax(d) axis=-1 keepdims=1`.
/// Constants are `half = 0.5`, `shape = [0, -1, 16]`, `scales = [1.0, 0.5]`, `w = noise [16, 16]`, of other types
/// `zero = u8 128` and `bytes = i8 count [16, 16]`, which run from -3 to 3; the answer is `velocity`. A line
/// `opset 19` asks for another opset than 17.
pub fn written(text: &str) -> ModelProto {
    let (mut nodes, mut constants) = (Vec::new(), Vec::new());
    let mut version = 17;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(opset) = line.strip_prefix("opset ") {
            version = opset.parse().unwrap();
            continue;
        }
        let (name, meaning) = line.split_once(" = ").unwrap();
        match meaning.split_once('(') {
            Some((operator, rest)) => nodes.push(node(name, operator, rest)),
            None => constants.push(constant(name, meaning)),
        }
    }
    let graph = GraphProto {
        name: "written".into(),
        node: nodes,
        input: vec![
            port("x", DataType::Float, &[4, 8, 16]),
            port("t", DataType::Float, &[]),
            port("y", DataType::Int64, &[]),
        ],
        output: vec![port("velocity", DataType::Float, &[4, 8, 16])],
        initializer: constants,
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { version, ..Default::default() };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

fn node(name: &str, operator: &str, rest: &str) -> NodeProto {
    let (operands, attributes) = rest.split_once(')').unwrap();
    NodeProto {
        op_type: operator.into(),
        name: format!("makes {name}"),
        input: if operands.is_empty() {
            Vec::new()
        } else {
            operands.split(", ").map(String::from).collect()
        },
        output: name.split(", ").map(String::from).collect(),
        attribute: attributes.split_whitespace().map(attribute).collect(),
        ..NodeProto::default()
    }
}

fn attribute(text: &str) -> AttributeProto {
    let (name, value) = text.split_once('=').unwrap();
    let attribute = AttributeProto { name: name.into(), ..AttributeProto::default() };
    if value.starts_with('[') {
        let ints = integers(value);
        AttributeProto { r#type: AttributeType::Ints as i32, ints, ..attribute }
    } else if let Ok(i) = value.parse() {
        AttributeProto { r#type: AttributeType::Int as i32, i, ..attribute }
    } else if let Ok(f) = value.parse() {
        AttributeProto { r#type: AttributeType::Float as i32, f, ..attribute }
    } else {
        AttributeProto { r#type: AttributeType::String as i32, s: value.into(), ..attribute }
    }
}

fn integers(text: &str) -> Vec<i64> {
    let inner = text.trim_matches(['[', ']']);
    inner.split(',').filter(|part| !part.is_empty()).map(|part| part.trim().parse().unwrap()).collect()
}

fn constant(name: &str, meaning: &str) -> TensorProto {
    let tensor = TensorProto { name: name.into(), ..TensorProto::default() };
    let floats = DataType::Float as i32;
    if let Some((kind, numbers)) =
        meaning.split_once(' ').and_then(|(kind, rest)| Some((of_kind(kind)?, rest)))
    {
        let dims = numbers.strip_prefix("count ").map_or(Vec::new(), integers);
        let int32_data = match dims[..] {
            [] => vec![numbers.parse().unwrap()],
            _ => (0..dims.iter().product::<i64>() as i32).map(|i| i % 7 - 3).collect(),
        };
        return TensorProto { data_type: kind as i32, dims, int32_data, ..tensor };
    }
    if let Some(shape) = meaning.strip_prefix("noise ") {
        let dims = integers(shape);
        let len: i64 = dims.iter().product();
        let seed = name.bytes().map(u64::from).sum();
        let float_data = noise(seed, [1, 1, 1, len as usize]).unwrap().into_raw_vec_and_offset().0;
        TensorProto { data_type: floats, dims, float_data, ..tensor }
    } else if meaning.starts_with('[') && meaning.contains('.') {
        let parts = meaning.trim_matches(['[', ']']).split(',');
        let float_data: Vec<f32> = parts.map(|part| part.trim().parse().unwrap()).collect();
        TensorProto { data_type: floats, dims: vec![float_data.len() as i64], float_data, ..tensor }
    } else if meaning.starts_with('[') {
        let int64_data = integers(meaning);
        let dims = vec![int64_data.len() as i64];
        TensorProto { data_type: DataType::Int64 as i32, dims, int64_data, ..tensor }
    } else {
        TensorProto { data_type: floats, float_data: vec![meaning.parse().unwrap()], ..tensor }
    }
}

fn of_kind(name: &str) -> Option<DataType> {
    match name {
        "i8" => Some(DataType::Int8),
        "u8" => Some(DataType::Uint8),
        "i16" => Some(DataType::Int16),
        "u16" => Some(DataType::Uint16),
        "i32" => Some(DataType::Int32),
        _ => None,
    }
}
