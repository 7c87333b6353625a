//! Holds a graph to the ONNX standard before tract sees it.
//!
//! tract reads what it needs and takes the rest on trust: an attribute that it does not know, a flag that is 7 or an
//! axis that no tensor has may then stand for other numbers, a plan without end or a panic. So [`check`] refuses
//! whatever breaks the standard and can be told without shapes; [`facts`] refuses the rest as soon as tract has found
//! the shapes. What the standard has is data: [`table`] and [`attributes`].

mod attributes;
mod budget;
mod facts;
mod functions;
mod laws;
mod names;
mod order;
mod seen;
mod sequences;
mod table;
mod tensors;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto};

pub(super) use budget::Budget;
pub(super) use facts::{Placed, register};
pub(super) use laws::{LONGEST, MOST_CONSTANT, scales_along, shapes, zero_point};
pub(super) use order::keep_needed;
pub(super) use seen::{Node, Operand, Seen, axes, axis};
use table::{Count, Operators, kind_name};
pub(super) use tensors::{bounds, check as check_tensor, within};

use crate::Result;
use crate::allowance::Allowance;
use crate::error::{Context, invalid_bundle, limit_exceeded, unsupported};

/// The standard's own domain, in the table's words.
pub(super) const STANDARD: &str = "ai.onnx";

/// Graphs inside of graphs, at most.
const DEEPEST: usize = 16;

/// Refuses what breaks the standard, writes functions out, drops nodes that no output needs and orders the others.
pub(super) fn check(model: &mut ModelProto, allowance: &Allowance) -> Result<()> {
    let opsets = Opsets::read(model)?;
    functions::write_out(model, allowance)?;
    let graph = model.graph.as_mut().ok_or_else(|| invalid_bundle("the ONNX file holds no graph"))?;
    sequences::write_out(graph, opsets.0[STANDARD]);
    keep_needed(graph)?;
    names::tell_apart(graph);
    Checker { opsets, nodes: 0, allowance }.graph(graph, &mut Vec::new())?;
    write_defaults(graph);
    Ok(())
}

/// Which version of each domain's operators the file uses.
struct Opsets(HashMap<String, i64>);

impl Opsets {
    fn read(model: &ModelProto) -> Result<Self> {
        let table = Operators::get();
        let mut opsets = HashMap::new();
        for import in &model.opset_import {
            let domain = domain(&import.domain);
            let known = opsets.insert(domain.to_owned(), import.version);
            if known.is_some_and(|known| known != import.version) {
                return Err(invalid_bundle(format!("the file says twice which opset of '{domain}' it uses")));
            }
        }
        let Some(&opset) = opsets.get(STANDARD) else {
            return Err(invalid_bundle("the file does not say which opset of ONNX it uses"));
        };
        if !(table.oldest..=table.newest).contains(&opset) {
            let (oldest, newest) = (table.oldest, table.newest);
            return Err(unsupported(format!(
                "the file uses opset {opset} of ONNX, this build reads {oldest} to {newest}; export it for another"
            )));
        }
        Ok(Self(opsets))
    }
}

pub(super) fn domain(written: &str) -> &str {
    if written.is_empty() { STANDARD } else { written }
}

/// Where a node is, for messages; a node without a name goes by its first output's.
pub(super) fn place(node: &NodeProto) -> String {
    let first = || node.output.first().map_or("", String::as_str);
    let name = if node.name.is_empty() { first() } else { &node.name };
    format!("node '{name}' ({})", node.op_type)
}

/// Writes defaults down that tract takes for others.
fn write_defaults(graph: &mut GraphProto) {
    for node in &mut graph.node {
        // Zeros of `f32`, where tract makes them of `f64`.
        if node.op_type == "ConstantOfShape" && node.attribute.is_empty() {
            let zero = TensorProto {
                data_type: tensor_proto::DataType::Float as i32,
                dims: vec![1],
                float_data: vec![0.0],
                ..TensorProto::default()
            };
            node.attribute.push(AttributeProto {
                name: "value".into(),
                r#type: AttributeType::Tensor as i32,
                t: Some(zero),
                ..AttributeProto::default()
            });
        }
        node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)).for_each(write_defaults);
    }
}

fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

struct Checker<'a> {
    opsets: Opsets,
    nodes: u32,
    allowance: &'a Allowance,
}

impl Checker<'_> {
    /// Checks a graph whose nodes may also take the names `around`, those of each graph that it lies in.
    fn graph<'g>(&mut self, graph: &'g GraphProto, around: &mut Vec<HashSet<&'g str>>) -> Result<()> {
        let depth = around.len();
        if depth > DEEPEST {
            return Err(limit_exceeded(format!("graphs lie more than {DEEPEST} deep inside of graphs")));
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(unsupported("sparse weights are not supported; export them as dense ones"));
        }
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        let weights = graph.initializer.iter().map(|tensor| tensor.name.as_str());
        let mut own: HashSet<&str> = inputs.chain(weights).collect();
        for node in &graph.node {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                if depth > 0 && (known(around, name) || own.contains(name.as_str())) {
                    let message = format!("makes '{name}', which is made elsewhere too");
                    return Err(invalid_bundle(message)).at(|| place(node));
                }
                own.insert(name);
            }
        }
        around.push(own);
        // The outermost graph's are held to their files when these are read.
        for tensor in graph.initializer.iter().filter(|_| depth > 0) {
            tensors::check(tensor).at(|| format!("weight '{}'", tensor.name))?;
        }
        for node in &graph.node {
            self.node(node, around).at(|| place(node))?;
        }
        if let Some(output) = graph.output.iter().find(|output| !known(around, &output.name)) {
            return Err(invalid_bundle(format!("nothing makes the output '{}'", output.name)));
        }
        around.pop();
        Ok(())
    }

    fn node<'g>(&mut self, node: &'g NodeProto, around: &mut Vec<HashSet<&'g str>>) -> Result<()> {
        self.nodes += 1;
        self.allowance.nodes(self.nodes)?;
        if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !known(around, name)) {
            return Err(invalid_bundle(format!("takes '{name}', which nothing makes")));
        }
        let (domain, name) = (domain(&node.domain), node.op_type.as_str());
        let table = Operators::get();
        let Some(first) = table.first(domain, name) else {
            return Err(match domain {
                STANDARD => unsupported("ONNX has no such operator; export the model without it"),
                _ => unsupported(format!(
                    "operators of the domain '{domain}' are not supported; export without them"
                )),
            });
        };
        let opset = self.opsets.0.get(domain).copied();
        let opset =
            opset.ok_or_else(|| invalid_bundle(format!("the file imports no opset of '{domain}'")))?;
        let operator = table
            .operator(domain, name, opset)
            .ok_or_else(|| invalid_bundle(format!("came with opset {first}, the file uses {opset}")))?;
        let Some([inputs, outputs]) = operator.counts else {
            return Err(unsupported(format!("opset {opset} has it no more; export the model again")));
        };
        counted("inputs", &node.input, inputs)?;
        counted("outputs", &node.output, outputs)?;
        // Of a list of any length, each but the last may be left out.
        let needed = if outputs.most == usize::MAX { 0 } else { outputs.least };
        if let Some(place) = node.output.iter().take(needed).position(String::is_empty) {
            return Err(invalid_bundle(format!("leaves out output {place}, which it must have")));
        }
        for (i, attribute) in node.attribute.iter().enumerate() {
            let row = operator.attributes.iter().find(|row| row.name == attribute.name);
            let kind = row.map(|row| row.kind);
            self.attribute(node, attribute, kind, opset)?;
            if node.attribute[..i].iter().any(|other| other.name == attribute.name) {
                return Err(invalid_bundle(format!("attribute '{}' is there twice", attribute.name)));
            }
        }
        let missing = |row: &&table::Attribute| {
            row.required && node.attribute.iter().all(|given| given.name != row.name)
        };
        if let Some(row) = operator.attributes.iter().find(missing) {
            return Err(invalid_bundle(format!("lacks the attribute '{}'", row.name)));
        }
        for graph in inner_graphs(node) {
            self.graph(graph, around)?;
        }
        Ok(())
    }

    fn attribute(
        &self,
        node: &NodeProto,
        attribute: &AttributeProto,
        kind: Option<AttributeType>,
        opset: i64,
    ) -> Result<()> {
        let Some(kind) = kind else {
            return Err(invalid_bundle(format!("has no attribute '{}' at opset {opset}", attribute.name)));
        };
        let found = AttributeType::try_from(attribute.r#type).unwrap_or(AttributeType::Undefined);
        let whole = match kind {
            AttributeType::Tensor => attribute.t.is_some(),
            AttributeType::Graph => attribute.g.is_some(),
            _ => true,
        };
        if found != kind || !whole || !attribute.ref_attr_name.is_empty() {
            let kind = kind_name(kind);
            return Err(invalid_bundle(format!("attribute '{}' must be of type {kind}", attribute.name)));
        }
        if let Some(tensor) = &attribute.t {
            tensors::check(tensor).at(|| format!("attribute '{}'", attribute.name))?;
        }
        attributes::check(&node.op_type, opset, attribute)
    }
}

fn known(graphs: &[HashSet<&str>], name: &str) -> bool {
    graphs.iter().any(|names| names.contains(name))
}

fn counted(what: &str, names: &[String], Count { least, most }: Count) -> Result<()> {
    // What is left out at the end is not there.
    let given = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    if given < least || given > most {
        let wanted = match (least, most) {
            (least, most) if least == most => format!("{least}"),
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(invalid_bundle(format!("has {given} {what}, must have {wanted}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
