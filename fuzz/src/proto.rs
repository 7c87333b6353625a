//! Parts of an ONNX file: attributes, and tensors of any number of images.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{AttributeProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

/// What a node says besides its inputs.
pub(crate) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

impl Attribute {
    pub(crate) fn proto(&self, name: &str) -> AttributeProto {
        let proto = AttributeProto { name: name.into(), ..AttributeProto::default() };
        match self {
            Self::Int(i) => AttributeProto { r#type: AttributeType::Int as i32, i: *i, ..proto },
            Self::Ints(ints) => {
                AttributeProto { r#type: AttributeType::Ints as i32, ints: ints.clone(), ..proto }
            }
            Self::Text(text) => {
                AttributeProto { r#type: AttributeType::String as i32, s: (*text).into(), ..proto }
            }
        }
    }
}

/// A tensor of any number of images.
pub(crate) fn port(name: &str, kind: DataType, image: &[i64]) -> ValueInfoProto {
    let dimension = |value| Dimension { value: Some(value), ..Default::default() };
    let batch = std::iter::once(Dim::DimParam("N".into()));
    let dim = batch.chain(image.iter().map(|&n| Dim::DimValue(n))).map(dimension).collect();
    let tensor = type_proto::Tensor { elem_type: kind as i32, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}
