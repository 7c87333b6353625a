//! A network as a graph of whole operations: products, attention, normalisations, convolutions.
//!
//! ```text
//! typed tract graph ──import──▶ Net: every node goes through a constructor that folds constants, drops
//!                               identities and recognises what earlier nodes already mean together
//! ```
//!
//! Recognition is by structure and by value, never by a node's name: [`normal`] sees a normalisation in its
//! mean, square and root, [`functions`] tells GELU and SiLU by what a chain of operations computes,
//! [`attention`] joins softmax and its two products. What is not recognised stays as it was, and an operation
//! that nobody here knows becomes a [`Op::Fallback`], which tract evaluates.

#![forbid(unsafe_code)]

mod attention;
mod constructors;
mod functions;
mod import;
mod normal;
mod pads;
mod shapes;
mod split;

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::{DatumType, Tensor, TypedOp};

use crate::kernels::{Binary, Unary};
use crate::{Result, memory};
use functions::Sampled;
pub use split::Split;

/// Index of a node; a node's operands have smaller ones.
pub type Id = usize;

/// What a node computes; all on `f32` but for inputs and fallbacks.
#[derive(Clone, Debug)]
pub enum Op {
    /// An input of the network, by its place in the contract.
    Input(usize),
    /// Computed beforehand: where it starts in a row of the table of conditions.
    Given(usize),
    /// A small constant.
    Constant(Constant),
    /// A large weight, by its place in the graph's list; read when it is packed.
    Weight(usize),
    /// The same elements in the same row-major order.
    Reshape,
    /// Axis `i` of the result is axis `axes[i]` of the operand.
    Permute(Vec<usize>),
    Slice {
        axis: usize,
        start: usize,
    },
    /// Axes of size 1 repeated.
    Broadcast,
    Unary(Unary),
    /// Equal rank, axes of size 1 repeated.
    Binary(Binary),
    Reduce(Reducer, Vec<usize>),
    Softmax(usize),
    /// `(x - mean) / sqrt(variance + eps)` over the trailing axes from `axis` on; without `centred`, the mean is
    /// taken as 0.
    Normal {
        axis: usize,
        eps: f32,
        centred: bool,
    },
    /// The same over groups of channels of `[N, C, H, W]`. Further operands: scale and shift, `C` floats each.
    GroupNormal {
        groups: usize,
        eps: f32,
    },
    /// Sums of products; one letter an axis.
    Einsum(Einsum),
    /// `softmax(scale q kᵀ) v`; operands and result are `[outer, heads, tokens, width]`. Perhaps a fourth operand
    /// `[outer, keys]`: `softmax(scale (q kᵀ + bias)) v`.
    Attention {
        scale: f32,
    },
    /// Operands: `x [N, C, H, W]`, kernel `[O, C, h, w]`, and perhaps a bias of `O` floats.
    Convolution(Window),
    /// Rows and columns added around `[N, C, H, W]`.
    Pad(Margins),
    /// Each pixel of `[N, C, H, W]` repeated in a square.
    Upsample(usize),
    Concat(usize),
    /// Rows of a table `[rows, width]` by integer index.
    Gather,
    /// The integers of an input as floats.
    Integers,
    /// Whatever else tract can compute; the number says which of its outputs.
    Fallback(Foreign, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reducer {
    Sum,
    Mean,
    Max,
}

/// Letters of the operands' and the result's axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Einsum {
    pub a: Vec<char>,
    pub b: Vec<char>,
    pub out: Vec<char>,
}

/// A convolution's window: zero padding before and after, and stride, for rows and for columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub size: [usize; 2],
    pub stride: [usize; 2],
    pub before: [usize; 2],
    pub after: [usize; 2],
}

/// Rows and columns around an image: copies from the other side, or zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins {
    pub before: [usize; 2],
    pub after: [usize; 2],
    pub circular: bool,
}

/// A constant tensor; two are the same if they are one allocation.
#[derive(Clone)]
pub struct Constant(pub Arc<Tensor>);

impl std::fmt::Debug for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:p}", Arc::as_ptr(&self.0))
    }
}

/// One of tract's operations, and the node it stood in.
#[derive(Clone)]
pub struct Foreign {
    pub node: usize,
    pub op: Box<dyn TypedOp>,
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.op.name(), self.node)
    }
}

#[derive(Debug)]
pub struct Node {
    pub op: Op,
    pub inputs: Vec<Id>,
    pub dims: Vec<usize>,
    pub element: DatumType,
    /// The node of the ONNX graph that this came from, for messages and plans.
    pub name: Arc<str>,
    /// What it computes of a single tensor, element by element, if that is all it does.
    function: Option<Sampled>,
}

/// What makes two nodes equal: operation and type, operands, shape.
type Key = (String, Vec<Id>, Vec<usize>);

/// A network; nodes in an order of evaluation.
#[derive(Debug)]
pub struct Net {
    pub nodes: Vec<Node>,
    pub outputs: Vec<Id>,
    /// The name that new nodes take.
    origin: Arc<str>,
    /// Equal nodes are one node; empty once all are there.
    known: HashMap<Key, Id>,
    /// What was found wrong with the node at hand.
    fault: Option<String>,
}

impl Net {
    fn new() -> Self {
        Self { nodes: Vec::new(), outputs: Vec::new(), origin: "".into(), known: HashMap::new(), fault: None }
    }

    pub fn dims(&self, id: Id) -> &[usize] {
        &self.nodes[id].dims
    }

    pub fn op(&self, id: Id) -> &Op {
        &self.nodes[id].op
    }

    pub fn inputs(&self, id: Id) -> &[Id] {
        &self.nodes[id].inputs
    }

    /// For each node, whether an output needs it.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn live(&self) -> Result<Vec<bool>> {
        let mut live = memory::filled(self.nodes.len(), false)?;
        self.outputs.iter().for_each(|&id| live[id] = true);
        for id in (0..self.nodes.len()).rev() {
            if live[id] {
                self.inputs(id).iter().for_each(|&input| live[input] = true);
            }
        }
        Ok(live)
    }

    /// For each node, how often live nodes take it, and once more for an output.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn uses(&self) -> Result<Vec<usize>> {
        let live = self.live()?;
        let mut uses = memory::filled(self.nodes.len(), 0)?;
        for (node, _) in self.nodes.iter().zip(live).filter(|&(_, live)| live) {
            node.inputs.iter().for_each(|&input| uses[input] += 1);
        }
        self.outputs.iter().for_each(|&output| uses[output] += 1);
        Ok(uses)
    }

    /// True for what never changes: constants, weights, and what is made of them alone.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn constant(&self) -> Result<Vec<bool>> {
        let mut constant: Vec<bool> = Vec::new();
        memory::reserve(&mut constant, self.nodes.len())?;
        for node in &self.nodes {
            let of_constants = !node.inputs.is_empty() && node.inputs.iter().all(|&i| constant[i]);
            constant.push(matches!(node.op, Op::Constant(_) | Op::Weight(_)) || of_constants);
        }
        Ok(constant)
    }
}
