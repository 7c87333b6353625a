//! Networks as ONNX files, node by node.

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};

use crate::proto::{Attribute, port};

/// A tensor of the graph, and its shape without the batch.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dims: Vec<usize>,
}

#[derive(Default)]
pub(crate) struct Writer {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Writer {
    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Takes the last nodes back.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.nodes.truncate(len);
    }

    pub(crate) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        dims: Vec<usize>,
    ) -> Tensor {
        let name = format!("v{}", self.nodes.len());
        self.nodes.push(NodeProto {
            op_type: operator.into(),
            name: format!("n{}", self.nodes.len()),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.clone()],
            attribute: attributes.iter().map(|(name, value)| value.proto(name)).collect(),
            ..NodeProto::default()
        });
        Tensor { name, dims }
    }

    /// Another output of the last node.
    pub(crate) fn beside(&mut self, dims: Vec<usize>) -> Tensor {
        let outputs = &mut self.nodes.last_mut().unwrap().output;
        let name = format!("{}_{}", outputs[0], outputs.len());
        outputs.push(name.clone());
        Tensor { name, dims }
    }

    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) {
        self.constants.push(TensorProto {
            name: name.into(),
            data_type: DataType::Int64 as i32,
            dims: vec![values.len() as i64],
            int64_data: values.to_vec(),
            ..TensorProto::default()
        });
    }

    /// Repeatable numbers in ±`size`.
    pub(crate) fn floats(&mut self, dims: &[usize], size: f32) -> String {
        let name = format!("c{}", self.constants.len());
        let mut state = 0x9E37_79B9_u32.wrapping_mul(self.constants.len() as u32 + 1) | 1;
        let float_data = (0..dims.iter().product())
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state as f32 / u32::MAX as f32 * 2.0 - 1.0) * size
            })
            .collect();
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims: dims.iter().map(|&n| n as i64).collect(),
            float_data,
            ..TensorProto::default()
        });
        name
    }

    pub(crate) fn shape(&mut self, values: &[i64]) -> String {
        let name = format!("i{}", self.constants.len());
        self.integers(&name, values);
        name
    }

    /// So many times the same.
    pub(crate) fn filled(&mut self, count: usize, value: f32) -> String {
        let name = format!("c{}", self.constants.len());
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims: vec![count as i64],
            float_data: vec![value; count],
            ..TensorProto::default()
        });
        name
    }

    pub(crate) fn scalar(&mut self, value: f32) -> String {
        let name = format!("c{}", self.constants.len());
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            float_data: vec![value],
            ..TensorProto::default()
        });
        name
    }

    /// The ONNX file; the last node makes the output.
    pub(crate) fn file(mut self, inputs: &[ValueInfoProto], output: (&str, &[i64])) -> Vec<u8> {
        self.nodes.last_mut().unwrap().output = vec![output.0.into()];
        let graph = GraphProto {
            name: "fuzzed".into(),
            node: self.nodes,
            input: inputs.to_vec(),
            output: vec![port(output.0, DataType::Float, output.1)],
            initializer: self.constants,
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { version: 19, ..Default::default() };
        ModelProto { ir_version: 9, opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
            .encode_to_vec()
    }

    /// Columns and rows, so many times.
    pub(crate) fn enlarge(&mut self, of: &str, times: f32, dims: Vec<usize>) -> Tensor {
        let scales = format!("c{}", self.constants.len());
        self.constants.push(TensorProto {
            name: scales.clone(),
            data_type: DataType::Float as i32,
            dims: vec![4],
            float_data: vec![1.0, 1.0, times, times],
            ..TensorProto::default()
        });
        let attributes = [
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        self.node("Resize", &[of, "", &scales], &attributes, dims)
    }
}
