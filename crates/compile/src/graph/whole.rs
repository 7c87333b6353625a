//! Whole numbers that stand for floats, and products of them, spelled out in floats.
//!
//! ```text
//! x ─QuantizeLinear─▶ numbers ─┬─DequantizeLinear─▶ floats
//!                              └─QLinearMatMul, QLinearConv, QLinearAdd ...─▶ numbers
//! x ─DynamicQuantizeLinear─▶ numbers, zero ─MatMulInteger, ConvInteger─▶ sums ─Cast─▶ floats
//!
//! becomes, of floats alone,
//!
//! x ─Rounded─▶ numbers less zero ─┬─Mul─▶ floats
//!                                 └─MatMul, Conv─▶ sums ─Mul, Rounded─▶ numbers less zero
//! ```
//!
//! The numbers are the same. So are sums of bytes' products, and a bias of 32 bits among them, as long as none passes
//! 2^24, which takes 259 products of the largest bytes; beyond that a sum of floats is rounded, and so is what ONNX
//! Runtime makes of the whole one. A convolution in Winograd's form rounds smaller ones too. Numbers of 16 bits are
//! rounded, but not multiplied. Weights stay bytes in their file (`dequantized.rs`). What a graph looks at otherwise
//! stays there beside the floats; what nothing needs any more is dropped.

mod constants;
mod contributed;
mod dynamic;
mod kinds;
mod linear;
mod made;

use std::collections::HashMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::dequantized::attribute;
use super::initializers::to_float;
use super::operators::rounded::Rounded;
use super::standard::{self, bounds};
use crate::Result;
use crate::allowance::Allowance;
use crate::bundle::{ExternalData, Part};
use crate::error::Context;
use constants::Constants;
use made::Made;

/// Writes whole numbers of `graph`, whose initializers lack the data of `cuts`, out as floats, as far as `allowance`
/// lets it.
pub(super) fn write_out(
    graph: &mut GraphProto,
    cuts: &[(usize, Part)],
    external: &ExternalData,
    allowance: &Allowance,
) -> Result<()> {
    let makes =
        |node: &NodeProto| ["QuantizeLinear", "DynamicQuantizeLinear"].contains(&node.op_type.as_str());
    if !graph.node.iter().any(makes) {
        return contributed::refuse_left(&graph.node);
    }
    let made = Made::new(graph);
    let (nodes, tensors) = (std::mem::take(&mut graph.node), std::mem::take(&mut graph.initializer));
    let constants = Constants::new(&tensors, &nodes, cuts, external);
    let mut writer = Writer {
        constants,
        made,
        allowance,
        wholes: HashMap::new(),
        sums: HashMap::new(),
        scales: HashMap::new(),
        ones: HashMap::new(),
        factors: HashMap::new(),
        bytes: 0,
    };
    for node in nodes {
        allowance.check()?;
        writer.node(node)?;
        allowance.nodes(u32::try_from(writer.made.nodes.len()).unwrap_or(u32::MAX))?;
    }
    let Made { nodes, constants, .. } = writer.made;
    (graph.node, graph.initializer) = (nodes, tensors);
    graph.initializer.extend(constants);
    standard::keep_needed(graph)?;
    contributed::refuse_left(&graph.node)
}

/// Whole numbers as floats.
#[derive(Clone)]
struct Whole {
    /// The name of the floats: the numbers less their zero.
    floats: String,
    zero: Zero,
    kind: DataType,
}

/// The number that stands for 0.
#[derive(Clone, PartialEq)]
enum Zero {
    Known(i32),
    /// Made by the graph, under this name.
    Made(String),
}

struct Writer<'a> {
    constants: Constants<'a>,
    made: Made,
    allowance: &'a Allowance,
    /// Whole numbers that are there as floats, by their own names.
    wholes: HashMap<String, Whole>,
    /// Sums of products of such.
    sums: HashMap<String, String>,
    /// Scales that the graph makes, which are there twice.
    scales: HashMap<String, String>,
    /// Scales that are 1, by their sizes.
    ones: HashMap<Vec<i64>, String>,
    /// Factors of sums, by what they are made of.
    factors: HashMap<linear::Scaling, String>,
    /// The bytes of both.
    bytes: u64,
}

impl Writer<'_> {
    /// Adds a node, and what it makes as floats.
    fn node(&mut self, node: NodeProto) -> Result<()> {
        self.check_kinds(&node).at(|| standard::place(&node))?;
        let node = self.renamed(node);
        let replaced = match node.op_type.as_str() {
            "QuantizeLinear" => self.rounded(&node),
            "DequantizeLinear" => self.floats(&node),
            "Cast" if to_float(&node) => self.sum(&node),
            "DynamicQuantizeLinear" => {
                self.dynamic(&node);
                None
            }
            "MatMulInteger" | "ConvInteger" => {
                self.integer_product(&node).at(|| standard::place(&node))?;
                None
            }
            "QLinearMatMul" | "QLinearConv" => {
                self.linear_product(&node).at(|| standard::place(&node))?;
                None
            }
            "QLinearAdd" | "QLinearMul" => {
                self.linear_elements(&node);
                None
            }
            "QGemm" => self.linear_gemm(&node).at(|| standard::place(&node))?,
            _ => {
                self.moved(&node);
                None
            }
        };
        if replaced.is_none() {
            self.made.nodes.push(node);
        }
        Ok(())
    }

    /// The node, with the scales that are floats made by us.
    fn renamed(&self, mut node: NodeProto) -> NodeProto {
        for name in &mut node.input {
            if let Some(other) = self.scales.get(name) {
                name.clone_from(other);
            }
        }
        node
    }

    /// Makes floats of what a `QuantizeLinear` takes, and the whole numbers of these.
    fn rounded(&mut self, node: &NodeProto) -> Option<()> {
        let [x, scale, ..] = node.input.as_slice() else { return None };
        let step = self.constants.step(scale)?;
        let given = node.input.get(2).filter(|name| !name.is_empty());
        let (zero, kind) = match given {
            Some(name) => self.constants.zero(name)?,
            None => match attribute(node, "output_dtype").unwrap_or(0) {
                0 => (0, DataType::Uint8),
                kind => (0, kind_of(kind)?),
            },
        };
        let (least, most) = bounds(kind)?;
        if attribute(node, "block_size").unwrap_or(0) != 0 || attribute(node, "precision").unwrap_or(0) != 0 {
            return None;
        }
        let floats = self.made.rounded(&Rounded::new(step, least - zero, most - zero), x, &node.name);
        let mut whole = floats.clone();
        if zero != 0 {
            let zero = self.made.scalar(&node.name, zero as f32);
            whole = self.made.node("Add", &[&floats, &zero], &node.name);
        }
        let output = node.output.first()?;
        self.made.named("Cast", &[&whole], &node.name, output.clone());
        self.made.attribute("to", kind as i64);
        self.wholes.insert(output.clone(), Whole { floats, zero: Zero::Known(zero), kind });
        Some(())
    }

    /// Makes what a `DequantizeLinear` does of the floats that stand for its whole numbers.
    fn floats(&mut self, node: &NodeProto) -> Option<()> {
        let [x, scale, ..] = node.input.as_slice() else { return None };
        let output_type = attribute(node, "output_dtype").unwrap_or(0);
        if attribute(node, "block_size").unwrap_or(0) != 0
            || ![0, DataType::Float as i64].contains(&output_type)
        {
            return None;
        }
        let scale = self.constants.step(scale)?;
        let floats = self.less_zero(x, node.input.get(2), &node.name)?;
        let scale = self.made.scalar(&node.name, scale);
        self.made.named("Mul", &[&floats, &scale], &node.name, node.output.first()?.clone());
        Some(())
    }

    /// Makes floats of sums that are there as such.
    fn sum(&mut self, node: &NodeProto) -> Option<()> {
        let floats = self.sums.get(node.input.first()?)?;
        self.made.named("Identity", &[floats], &node.name, node.output.first()?.clone());
        Some(())
    }

    /// The floats of whole numbers, less a zero that may be another one than theirs.
    fn less_zero(&mut self, x: &str, zero: Option<&String>, place: &str) -> Option<String> {
        let zero = match zero.filter(|name| !name.is_empty()) {
            Some(name) => {
                self.constants.zero(name).map_or(Zero::Made(name.clone()), |(zero, _)| Zero::Known(zero))
            }
            None => Zero::Known(0),
        };
        let Whole { floats, zero: own, .. } = self.wholes.get(x)?.clone();
        match (own, zero) {
            (own, zero) if own == zero => Some(floats),
            (Zero::Known(own), Zero::Known(zero)) => {
                let other = self.made.scalar(place, (own - zero) as f32);
                Some(self.made.node("Add", &[&floats, &other], place))
            }
            _ => None,
        }
    }

    /// Moves the floats as a node moves whole numbers, if that is all it does.
    fn moved(&mut self, node: &NodeProto) {
        let operands = match node.op_type.as_str() {
            "Concat" => node.input.len(),
            "DepthToSpace" | "Expand" | "Flatten" | "Gather" | "Identity" | "Reshape" | "Slice"
            | "SpaceToDepth" | "Split" | "Squeeze" | "Transpose" | "Unsqueeze" => 1,
            _ => return,
        };
        let of = |name: &String| self.wholes.get(name).cloned();
        let Some(wholes) = node.input.iter().take(operands).map(of).collect::<Option<Vec<Whole>>>() else {
            return;
        };
        let Some(Whole { zero, kind, .. }) = wholes.first().cloned() else { return };
        if wholes.iter().any(|whole| whole.zero != zero || whole.kind != kind) {
            return;
        }
        let mut floats = node.clone();
        floats.input.iter_mut().zip(wholes).for_each(|(name, whole)| *name = whole.floats);
        floats.name = self.made.unused(&node.name, "node");
        for output in floats.output.iter_mut().filter(|name| !name.is_empty()) {
            let moved = self.made.unused(output, "floats");
            let whole = std::mem::replace(output, moved);
            self.wholes.insert(whole, Whole { floats: output.clone(), zero: zero.clone(), kind });
        }
        self.made.nodes.push(floats);
    }
}

fn kind_of(number: i64) -> Option<DataType> {
    DataType::try_from(i32::try_from(number).ok()?).ok()
}
