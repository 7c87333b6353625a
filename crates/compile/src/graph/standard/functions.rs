//! Functions that a file brings along, written out: a node that calls one becomes the function's own nodes.

use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

use super::{domain, inner_graphs, place};
use crate::Result;
use crate::allowance::Allowance;
use crate::error::{Context, invalid_bundle, unsupported};

/// Functions that call functions, at most.
const DEEPEST: usize = 32;
/// Letters of a call's name that the names of what it calls begin with.
const LONGEST: usize = 100;

/// Writes all calls of the file's own functions out.
pub(super) fn write_out(model: &mut ModelProto, allowance: &Allowance) -> Result<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions = std::mem::take(&mut model.functions);
    let opset = |imports: &[tract_onnx::pb::OperatorSetIdProto]| {
        imports.iter().find(|import| domain(&import.domain) == super::STANDARD).map(|import| import.version)
    };
    let own = opset(&model.opset_import);
    let mut known = HashMap::new();
    for function in &functions {
        let key = (domain(function.domain()).to_owned(), function.name().to_owned());
        let fits = opset(&function.opset_import).is_none_or(|opset| Some(opset) == own);
        if known.insert(key, (function, fits)).is_some() {
            let (domain, name) = (function.domain(), function.name());
            let message = format!(
                "two functions '{name}' of the domain '{domain}'; export the model with them inlined"
            );
            return Err(unsupported(message));
        }
    }
    let mut writer = Writer { known, nodes: 0, bytes: 0, allowance };
    match &mut model.graph {
        Some(graph) => writer.graph(graph),
        None => Ok(()),
    }
}

struct Writer<'a> {
    /// By domain and name; whether the function is written for the file's own opset.
    known: HashMap<(String, String), (&'a FunctionProto, bool)>,
    /// Nodes so far, calls among them; numbers the calls, for names that nobody else has.
    nodes: u32,
    /// What calls were written out to: a constant is there as often as its function is called.
    bytes: u64,
    allowance: &'a Allowance,
}

impl<'a> Writer<'a> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<()> {
        let mut written = Vec::new();
        for node in std::mem::take(&mut graph.node) {
            self.node(node, &mut written, 0)?;
        }
        graph.node = written;
        Ok(())
    }

    fn function(&self, node: &NodeProto) -> Option<(&'a FunctionProto, bool)> {
        self.known.get(&(domain(&node.domain).to_owned(), node.op_type.clone())).copied()
    }

    /// Appends `node`, or what it calls.
    fn node(&mut self, mut node: NodeProto, to: &mut Vec<NodeProto>, depth: usize) -> Result<()> {
        self.nodes += 1;
        self.allowance.nodes(self.nodes)?;
        let Some((function, fits)) = self.function(&node) else {
            for graph in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
                self.graph(graph)?;
            }
            to.push(node);
            return Ok(());
        };
        if depth >= DEEPEST {
            return Err(invalid_bundle(format!("functions call functions more than {DEEPEST} deep")));
        }
        if !fits {
            return Err(unsupported(
                "a function for another opset than the file's; export the model with it inlined",
            ))
            .at(|| place(&node));
        }
        for (what, given, known) in
            [("inputs", &node.input, &function.input), ("outputs", &node.output, &function.output)]
        {
            if given.iter().skip(known.len()).any(|name| !name.is_empty()) {
                let message = format!("has {} {what}, the function has {}", given.len(), known.len());
                return Err(invalid_bundle(message)).at(|| place(&node));
            }
        }
        let names = Names::new(function, &node, self.nodes);
        for inner in &function.node {
            let written = names.node(inner).at(|| place(&node))?;
            self.bytes += written.encoded_len() as u64;
            self.allowance.weights(self.bytes).at(|| place(&node))?;
            self.node(written, to, depth + 1)?;
        }
        Ok(())
    }
}

/// What the names in a function stand for in one call of it.
struct Names<'a> {
    values: HashMap<&'a str, &'a str>,
    call: &'a NodeProto,
    optional: &'a [String],
    prefix: String,
}

impl<'a> Names<'a> {
    fn new(function: &'a FunctionProto, call: &'a NodeProto, number: u32) -> Self {
        let pairs = |names: &'a [String], given: &'a [String]| {
            // What a call leaves out is left out inside.
            let given = given.iter().map(String::as_str).chain(std::iter::repeat(""));
            names.iter().map(String::as_str).zip(given)
        };
        let inputs = pairs(&function.input, &call.input);
        let outputs = pairs(&function.output, &call.output).filter(|(_, given)| !given.is_empty());
        let caller = if call.name.is_empty() { &call.op_type } else { &call.name };
        let start = caller.char_indices().rev().nth(LONGEST - 1).map_or(0, |(at, _)| at);
        let prefix = format!("{}/{number}/", &caller[start..]);
        Self { values: inputs.chain(outputs).collect(), call, optional: &function.attribute, prefix }
    }

    fn value(&self, name: &str) -> String {
        match self.values.get(name) {
            _ if name.is_empty() => String::new(),
            Some(&outside) => outside.to_owned(),
            None => format!("{}{name}", self.prefix),
        }
    }

    fn node(&self, node: &NodeProto) -> Result<NodeProto> {
        if inner_graphs(node).next().is_some() {
            return Err(unsupported(
                "a function with a graph inside is not supported; export the model with it inlined",
            ));
        }
        let inside = if node.name.is_empty() { &node.op_type } else { &node.name };
        Ok(NodeProto {
            name: format!("{}{inside}", self.prefix),
            input: node.input.iter().map(|name| self.value(name)).collect(),
            output: node.output.iter().map(|name| self.value(name)).collect(),
            attribute: node
                .attribute
                .iter()
                .filter_map(|a| self.attribute(a).transpose())
                .collect::<Result<_>>()?,
            ..node.clone()
        })
    }

    fn attribute(&self, attribute: &AttributeProto) -> Result<Option<AttributeProto>> {
        let reference = &attribute.ref_attr_name;
        if reference.is_empty() {
            return Ok(Some(attribute.clone()));
        }
        match self.call.attribute.iter().find(|given| given.name == *reference) {
            Some(given) => Ok(Some(AttributeProto { name: attribute.name.clone(), ..given.clone() })),
            // Those without a default may be left out; defaults came to ONNX later than tract's reader.
            None if self.optional.contains(reference) => Ok(None),
            None => Err(unsupported(format!("calls a function without its attribute '{reference}'"))),
        }
    }
}
