//! Predictors for tests: one large matrix that reverses what it is given, and [`written`] ones.

mod written;

use half::f16;
use prost::Message;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_proto, tensor_shape_proto,
    type_proto,
};

use crate::Bundle;
use crate::files::Files;
use crate::weights::Encoding;
pub use written::written;

/// Elements of one latent of [`Files::complete`].
pub(super) const LATENT: usize = 4 * 8 * 16;

/// Ones on the antidiagonal, little-endian.
pub(super) fn reversal(encoding: Encoding) -> Vec<u8> {
    let ones = (0..LATENT * LATENT).map(|i| i / LATENT + i % LATENT + 1 == LATENT);
    match encoding {
        Encoding::F32 => ones.flat_map(|one| f32::from(u8::from(one)).to_le_bytes()).collect(),
        Encoding::F16 => ones.flat_map(|one| f16::from(u8::from(one)).to_le_bytes()).collect(),
        Encoding::I8 => ones.map(u8::from).collect(),
    }
}

/// The matrix `w`, its data inside.
pub(super) fn matrix(encoding: Encoding) -> TensorProto {
    let kind = match encoding {
        Encoding::F32 => tensor_proto::DataType::Float,
        Encoding::F16 => tensor_proto::DataType::Float16,
        Encoding::I8 => tensor_proto::DataType::Int8,
    };
    TensorProto {
        name: "w".into(),
        data_type: kind as i32,
        dims: vec![LATENT as i64; 2],
        raw_data: reversal(encoding),
        ..TensorProto::default()
    }
}

/// The same at the end of the predictor's external data, behind `offset` other bytes.
pub(super) fn outside(tensor: TensorProto, offset: usize) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
    TensorProto {
        external_data: vec![
            entry("location", "predictor.onnx.data".into()),
            entry("offset", offset.to_string()),
            entry("length", tensor.raw_data.len().to_string()),
        ],
        data_location: Some(tensor_proto::DataLocation::External as i32),
        raw_data: Vec::new(),
        ..tensor
    }
}

pub(super) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        name: format!("makes {output}"),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// A cast to `f32`.
pub(super) fn cast(input: &str, output: &str) -> NodeProto {
    let to = tract_onnx::pb::AttributeProto {
        name: "to".into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i: tensor_proto::DataType::Float as i64,
        ..Default::default()
    };
    NodeProto { attribute: vec![to], ..node("Cast", &[input], output) }
}

/// `velocity = reversed x`, with `between` to make `matrix` of `w`.
pub(super) fn model(weight: TensorProto, between: Vec<NodeProto>) -> ModelProto {
    let shape = |name: &str, dims: &[i64]| TensorProto {
        name: name.into(),
        data_type: tensor_proto::DataType::Int64 as i32,
        dims: vec![dims.len() as i64],
        int64_data: dims.to_vec(),
        ..TensorProto::default()
    };
    let mut nodes = vec![node("Reshape", &["x", "flat"], "rows")];
    nodes.extend(between);
    nodes.push(node("MatMul", &["rows", "matrix"], "reversed"));
    nodes.push(node("Reshape", &["reversed", "latent"], "velocity"));
    let graph = GraphProto {
        name: "test".into(),
        node: nodes,
        input: vec![
            port("x", tensor_proto::DataType::Float, &[4, 8, 16]),
            port("t", tensor_proto::DataType::Float, &[]),
            port("y", tensor_proto::DataType::Int64, &[]),
        ],
        output: vec![port("velocity", tensor_proto::DataType::Float, &[4, 8, 16])],
        // The large one last: what encloses it ends with it.
        initializer: vec![shape("flat", &[-1, LATENT as i64]), shape("latent", &[-1, 4, 8, 16]), weight],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

/// A tensor of any number of images.
fn port(name: &str, kind: tensor_proto::DataType, image: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dimension = |value| Dimension { value: Some(value), ..Default::default() };
    let batch = std::iter::once(Value::DimParam("N".into()));
    let dim = batch.chain(image.iter().map(|&n| Value::DimValue(n))).map(dimension).collect();
    let kind = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(kind)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

/// The files of a bundle with this predictor.
pub fn files(model: &ModelProto) -> Files {
    let mut files = Files::complete();
    files.replace("networks.predictor", model.encode_to_vec());
    files
}

/// A bundle with these bytes for a predictor.
pub(super) fn bundle_of(predictor: Vec<u8>) -> Bundle {
    Files::complete().replace("networks.predictor", predictor).open().unwrap()
}
