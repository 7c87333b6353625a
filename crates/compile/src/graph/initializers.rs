//! Decides which initializers stay in their files, and makes the others part of the graph.
//!
//! A weight that stays becomes an input of the graph. tract types a graph without the values of most
//! weights, but not of all: some operators, and everything computed from weights alone, need them
//! while importing. So a weight stays only if each of its uses is known to do without, with a `Cast`,
//! an `Identity`, a `Transpose` or a `Reshape` between them at most.

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto};
use tract_onnx::pb::{tensor_proto, tensor_shape_proto, type_proto};

use super::dequantized::{self, Dequantized};
use super::standard::check_tensor;
use crate::allowance::Allowance;
use crate::bundle::{ExternalData, Part};
use crate::error::{Context, invalid_bundle};
use crate::weights::{Encoding, LARGE, Weight, Weights};
use crate::{Result, memory};

/// Takes out of `graph`, whose initializers lack the data of `cuts`, the weights that stay in their
/// files, and gives the other initializers theirs, as far as `allowance` lets it: many may lie in one place.
pub(super) fn take_out(
    graph: &mut GraphProto,
    cuts: Vec<(usize, Part)>,
    external: &ExternalData,
    allowance: &Allowance,
) -> Result<Weights> {
    let tensors = std::mem::take(&mut graph.initializer);
    let mut cuts: HashMap<usize, Part> = cuts.into_iter().collect();
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for (i, tensor) in tensors.iter().enumerate() {
        allowance.check()?;
        let cut = cuts.remove(&i);
        let part = external_part(tensor, external).at(|| place(tensor))?.or(cut);
        bytes += part.as_ref().map_or(tensor.encoded_len() as u64, Part::length);
        allowance.weights(bytes)?;
        memory::push(&mut parts, part)?;
    }
    let (dequantized, spent) = dequantized::take_out(graph, (&tensors, &parts), &mut bytes, allowance)?;
    let names = tensors.iter().map(|tensor| tensor.name.as_str());
    let names: Vec<String> =
        names.chain(dequantized.iter().map(Dequantized::name)).map(str::to_owned).collect();
    let uses = Uses::new(graph, &names);
    let (mut weights, mut inputs, mut kept) = (Weights::default(), Vec::new(), Vec::new());
    let mut gone = HashSet::new();
    for weight in dequantized {
        allowance.check()?;
        // Of the small ones only those that are multiplied by: of others tract may want to know the value.
        let how = if weight.length() > LARGE { Use::Float } else { Use::Factor };
        match uses.against_staying(weight.name(), how) {
            None => {
                inputs.push(declare(weight.tensor()));
                weights.push(weight.weight()?);
            }
            Some(reason) => {
                log::debug!("weight '{}' is read while importing: {reason}", weight.name());
                bytes = bytes.saturating_add(weight.widened());
                allowance.weights(bytes)?;
                kept.push(weight.floats()?);
            }
        }
    }
    for (mut tensor, part) in tensors.into_iter().zip(parts) {
        allowance.check()?;
        if spent.contains(&tensor.name) && uses.none_of(&tensor.name) {
            gone.insert(tensor.name);
            continue;
        }
        let Some(part) = part else {
            check_tensor(&tensor).at(|| place(&tensor))?;
            kept.push(tensor);
            continue;
        };
        if let Some(encoding) = encoding(&tensor).filter(|_| part.length() > LARGE) {
            let how = if encoding == Encoding::I8 { Use::Whole } else { Use::Float };
            let Some(reason) = uses.against_staying(&tensor.name, how) else {
                weights.push(Weight::new(&tensor.name, encoding, &tensor.dims, part)?);
                inputs.push(declare(tensor));
                continue;
            };
            log::debug!("weight '{}' is read while importing: {reason}", tensor.name);
        }
        part.read(&mut tensor.raw_data).at(|| place(&tensor))?;
        tensor.external_data.clear();
        tensor.data_location = Some(tensor_proto::DataLocation::Default as i32);
        check_tensor(&tensor).at(|| place(&tensor))?;
        kept.push(tensor);
    }
    // Older files list initializers among the inputs, too.
    let taken: HashSet<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    graph.input.retain(|input| !taken.contains(input.name.as_str()) && !gone.contains(&input.name));
    graph.input.extend(inputs);
    graph.initializer = kept;
    Ok(weights)
}

/// Where a tensor's external data is, if it has any.
pub(super) fn external_part(tensor: &TensorProto, external: &ExternalData) -> Result<Option<Part>> {
    if tensor.data_location != Some(tensor_proto::DataLocation::External as i32) {
        return Ok(None);
    }
    let value = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| -> Result<Option<u64>> {
        let wrong = |text| invalid_bundle(format!("external {key} '{text}' is no number"));
        value(key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    };
    let name = value("location").unwrap_or_default();
    external.part(name, number("offset")?.unwrap_or(0), number("length")?).map(Some)
}

fn place(tensor: &TensorProto) -> String {
    format!("weight '{}'", tensor.name)
}

pub(super) fn encoding(tensor: &TensorProto) -> Option<Encoding> {
    match tensor_proto::DataType::try_from(tensor.data_type) {
        Ok(tensor_proto::DataType::Float) => Some(Encoding::F32),
        Ok(tensor_proto::DataType::Float16) => Some(Encoding::F16),
        Ok(tensor_proto::DataType::Int8) => Some(Encoding::I8),
        _ => None,
    }
}

/// The input that stands for a weight.
fn declare(tensor: TensorProto) -> ValueInfoProto {
    let dimension = |n| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(n)),
        ..Default::default()
    };
    let tensor_type = type_proto::Tensor {
        elem_type: tensor.data_type,
        shape: Some(TensorShapeProto { dim: tensor.dims.into_iter().map(dimension).collect() }),
    };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor_type)), ..Default::default() };
    ValueInfoProto { name: tensor.name, r#type: Some(kind), ..Default::default() }
}

/// Who uses which value.
pub(super) struct Uses<'a> {
    /// The uses of a value: a node and the place among its inputs.
    of: HashMap<&'a str, Vec<(&'a NodeProto, usize)>>,
    /// Values that depend on no input of the network: these are computed while importing.
    constant: HashSet<&'a str>,
    /// Values that are used in other ways than by the graph's own nodes, and names that are not unique.
    opaque: HashSet<&'a str>,
}

impl<'a> Uses<'a> {
    pub(super) fn new(graph: &'a GraphProto, initializers: &'a [String]) -> Self {
        let mut uses = Self { of: HashMap::new(), constant: HashSet::new(), opaque: HashSet::new() };
        for name in initializers {
            if !uses.constant.insert(name) {
                uses.opaque.insert(name);
            }
        }
        uses.opaque.extend(graph.output.iter().map(|output| output.name.as_str()));
        for node in &graph.node {
            for (slot, name) in node.input.iter().enumerate() {
                uses.of.entry(name).or_default().push((node, slot));
            }
            // The standard has a value made before it is used.
            let mut inputs = node.input.iter().filter(|name| !name.is_empty()).peekable();
            let from_nothing = inputs.peek().is_none() && node.op_type != "Constant";
            if !from_nothing && inputs.all(|name| uses.constant.contains(name.as_str())) {
                uses.constant.extend(node.output.iter().map(String::as_str));
            }
            subgraphs(node).for_each(|inner| uses.see_through(inner));
        }
        uses
    }

    /// What a subgraph takes from around it cannot be told from its own names at a glance.
    fn see_through(&mut self, graph: &'a GraphProto) {
        self.opaque.extend(graph.output.iter().map(|output| output.name.as_str()));
        for node in &graph.node {
            self.opaque.extend(node.input.iter().map(String::as_str));
            subgraphs(node).for_each(|inner| self.see_through(inner));
        }
    }

    /// Why the weight `name`, which is used in such a way, has to be part of the graph, if it has to.
    pub(super) fn against_staying(&self, name: &'a str, first: Use) -> Option<String> {
        let (mut names, mut seen) = (vec![(name, first)], HashSet::from([name]));
        while let Some((name, how)) = names.pop() {
            if self.opaque.contains(name) {
                return Some("it is an output, used in a subgraph or there twice".to_owned());
            }
            for &(node, slot) in self.of.get(name).into_iter().flatten() {
                let output = node.output.first().map_or("", String::as_str);
                let passed_on = match node.op_type.as_str() {
                    "Identity" => Some(how),
                    "Cast" if how == Use::Whole => to_float(node).then_some(Use::Float),
                    "Cast" => Some(how),
                    "Transpose" | "Reshape" if how != Use::Whole && slot == 0 => Some(how),
                    _ => None,
                };
                if let Some(how) = passed_on {
                    names.extend(seen.insert(output).then_some((output, how)));
                } else if !does_without(&node.op_type, slot, how) || self.constant.contains(output) {
                    return Some(format!("{} '{}' needs its value", node.op_type, node.name));
                }
            }
        }
        None
    }

    /// Whether nodes of `operator` alone use the value `name`.
    pub(super) fn all_are(&self, name: &str, operator: &str) -> bool {
        self.of.get(name).is_none_or(|uses| uses.iter().all(|(node, _)| node.op_type == operator))
    }

    /// Whether nothing uses the value `name`.
    fn none_of(&self, name: &str) -> bool {
        !self.of.contains_key(name) && !self.opaque.contains(name)
    }
}

/// What a value is used as.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Use {
    /// Whole numbers, which have to become floats before anything else is done with them.
    Whole,
    Float,
    /// A factor of products and nothing else.
    Factor,
}

/// Whether a `Cast` makes 32-bit floats.
pub(super) fn to_float(node: &NodeProto) -> bool {
    let to = node.attribute.iter().find(|attribute| attribute.name == "to");
    to.is_some_and(|to| to.i == tensor_proto::DataType::Float as i64)
}

/// True if tract types `operator` without knowing the value of its input `slot`, which is used in such a way.
fn does_without(operator: &str, slot: usize, how: Use) -> bool {
    match operator {
        _ if how == Use::Whole => false,
        "MatMul" => true,
        "Gemm" | "Conv" => slot > 0 && (how == Use::Float || slot == 1),
        "Add" | "Sub" | "Mul" | "Div" => how == Use::Float,
        "Gather" => how == Use::Float && slot == 0,
        _ => false,
    }
}

pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}
