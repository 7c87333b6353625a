//! Nodes and constants that are added to a graph.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::super::names::Names;
use super::super::operators::rounded::Rounded;

pub(super) struct Made {
    names: Names,
    /// All nodes, those of the file too.
    pub(super) nodes: Vec<NodeProto>,
    pub(super) constants: Vec<TensorProto>,
}

impl Made {
    pub(super) fn new(graph: &GraphProto) -> Self {
        Self { names: Names::of(graph), nodes: Vec::new(), constants: Vec::new() }
    }

    /// A name that nothing else has.
    pub(super) fn unused(&mut self, place: &str, what: &str) -> String {
        self.names.unused(format!("{place}.{what}"))
    }

    pub(super) fn constant(&mut self, place: &str, dims: Vec<i64>, float_data: Vec<f32>) -> String {
        let name = self.unused(place, "constant");
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: DataType::Float as i32,
            dims,
            float_data,
            ..TensorProto::default()
        });
        name
    }

    pub(super) fn scalar(&mut self, place: &str, number: f32) -> String {
        self.constant(place, Vec::new(), vec![number])
    }

    /// Adds a node; gives the name of what it makes.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&String], place: &str) -> String {
        let output = self.unused(place, operator);
        self.named(operator, inputs, place, output.clone());
        output
    }

    /// Adds a node whose output has this name.
    pub(super) fn named(&mut self, operator: &str, inputs: &[&String], place: &str, output: String) {
        let node = NodeProto { op_type: operator.to_owned(), ..NodeProto::default() };
        self.add(node, inputs, place, output);
    }

    pub(super) fn rounded(&mut self, rounded: &Rounded, x: &String, place: &str) -> String {
        let output = self.unused(place, "rounded");
        self.add(rounded.node(), &[x], place, output.clone());
        output
    }

    fn add(&mut self, node: NodeProto, inputs: &[&String], place: &str, output: String) {
        let name = self.unused(place, "node");
        let input = inputs.iter().map(|&name| name.clone()).collect();
        self.nodes.push(NodeProto { name, input, output: vec![output], ..node });
    }

    /// Gives the node that was added last an attribute.
    pub(super) fn attribute(&mut self, name: &str, i: i64) {
        let attribute = AttributeProto {
            name: name.into(),
            r#type: AttributeType::Int as i32,
            i,
            ..AttributeProto::default()
        };
        self.attributes(vec![attribute]);
    }

    pub(super) fn attributes(&mut self, attributes: Vec<AttributeProto>) {
        self.nodes.last_mut().into_iter().for_each(|node| node.attribute.extend(attributes.iter().cloned()));
    }
}
