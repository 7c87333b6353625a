//! A network compiled to steps: plain data, the same for every processor.
//!
//! Steps read and write buffers, of which only the sizes are known: an [`Executable`](crate::executor::Executable)
//! packs the weights, gives each buffer a place in one arena and makes a kernel of each step. What depends on an
//! instruction set is decided there.

mod floats;
mod place;
mod target;

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::Result;
use crate::error::unsupported;
use crate::kernels::{
    Attention, BatchMatmul, Elementwise, Epilogue, Form, Group, GroupNorm, MaskedAttention, Norm, Reduce,
    Softmax, Stage,
};
pub use place::Place;
pub use target::Target;

/// A place in a buffer: floats from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub buffer: usize,
    pub offset: usize,
}

/// The steps of a network, and the buffers that they work on.
#[derive(Default, Serialize, Deserialize)]
pub struct Plan {
    /// Floats of each buffer.
    pub buffers: Vec<usize>,
    /// Buffers that hold the same floats in every run.
    pub constants: Vec<Constant>,
    /// The buffer of each input, for inputs of floats that the network looks at.
    pub inputs: Vec<Option<usize>>,
    /// The buffer of the rows of conditions, one for each image.
    pub given: Option<usize>,
    pub output: usize,
    pub steps: Vec<Step>,
}

/// A buffer that holds the same floats in every run.
#[derive(Serialize, Deserialize)]
pub struct Constant {
    pub buffer: usize,
    #[serde(with = "floats")]
    pub floats: Vec<f32>,
}

/// What conditions alone decide, of one of them.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub time: f32,
    pub class: i64,
    #[serde(with = "floats")]
    pub floats: Vec<f32>,
}

/// Where the tensors lie that conditions alone decide, in a row for each condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLayout {
    pub offsets: Vec<usize>,
    /// Floats of a row.
    pub row: usize,
    /// Rows in one call: the batch.
    pub images: usize,
}

/// One step: what is computed, and of which node of the ONNX graph.
#[derive(Serialize, Deserialize)]
pub struct Step {
    pub name: Arc<str>,
    pub operation: Operation,
}

/// What a step computes, with the addresses of all that it touches.
#[derive(Serialize, Deserialize)]
pub enum Operation {
    Matmul(Box<Matmul>),
    Norm(Norm<Address>),
    Attention(Attention<Address>),
    GroupNorm(GroupNorm<Address>),
    Stage(Stage<Address>),
    /// The elements of one place to another of the same shape.
    Copy {
        from: Place,
        to: Place,
    },
    /// A short program over places of one shape.
    Pointwise {
        inputs: Vec<Place>,
        out: Place,
        program: Vec<Elementwise>,
    },
    Reduce(Reduce<Address>),
    Softmax(Softmax<Address>),
    Gather(Gather<Address>),
    MaskedAttention(MaskedAttention<Address>),
    Lookup(Lookup<Address>),
    Integers(Integers<Address>),
    BatchMatmul(BatchMatmul<Address>),
    /// Never in a file, so it stays the last: files number what is above.
    #[serde(skip)]
    Foreign(Foreign<Address>),
}

/// Rows times a constant matrix, see [`kernels::Matmul`](crate::kernels::Matmul).
#[derive(Serialize, Deserialize)]
pub struct Matmul {
    pub weights: Matrix,
    pub a: Address,
    pub a_stride: usize,
    /// Where the segments of a row start, from where the row starts.
    pub segments: Vec<usize>,
    pub out: Address,
    pub out_stride: usize,
    /// The rows; `a` and `c` count from the two addresses.
    pub groups: Vec<Group>,
    pub epilogue: Vec<Epilogue<Address>>,
}

/// A constant matrix `[segments, k, cols]`.
#[derive(Serialize, Deserialize)]
pub struct Matrix {
    pub layout: Layout,
    pub numbers: Numbers,
}

/// How a matrix `[segments, k, cols]` lies among some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    pub offset: usize,
    pub sizes: [usize; 3],
    pub strides: [usize; 3],
}

/// Where the numbers of a matrix are.
#[derive(Serialize, Deserialize)]
pub enum Numbers {
    /// In a file: the place among the network's weights.
    Weight(usize),
    Here(#[serde(with = "floats")] Vec<f32>),
}

/// Rows of a table by the integers of a network input.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Gather<A = usize> {
    pub table: A,
    pub rows: usize,
    pub width: usize,
    /// Which of the network's inputs.
    pub input: usize,
    /// How many integers that has.
    pub count: usize,
    pub out: A,
}

/// Rows of a large table by the integers of a network input. The table is one of the network's weights, and stays in
/// memory as its file has it: nothing of it is in the arena.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lookup<A = usize> {
    /// Its place among the network's weights, row-major.
    pub weight: usize,
    pub rows: usize,
    pub width: usize,
    /// Which of the network's inputs.
    pub input: usize,
    /// How many integers that has.
    pub count: usize,
    pub out: A,
}

/// The integers of a network input as floats.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Integers<A = usize> {
    /// Which of the network's inputs.
    pub input: usize,
    /// How many integers that has.
    pub count: usize,
    pub out: A,
}

/// A call of an operation that has no kernel.
pub struct Foreign<A = usize> {
    pub operation: Arc<dyn ForeignOperation>,
    /// Row-major: where, and sizes.
    pub operands: Vec<(A, Vec<usize>)>,
    pub out: A,
    /// Floats of the answer.
    pub len: usize,
}

/// An operation that only whoever compiled the plan can run; a plan with one cannot be written down.
pub trait ForeignOperation: Send + Sync {
    /// What it is called where it comes from.
    fn name(&self) -> &str;

    /// Computes its one answer.
    ///
    /// # Errors
    /// `Runtime`: it fails, or gives another number of floats. `OutOfMemory`.
    fn run(&self, mem: &mut [f32], call: &Foreign) -> Result<()>;
}

impl RowLayout {
    /// Whether the tensors lie at the same places, in however many rows.
    pub fn has_same_places(&self, other: &Self) -> bool {
        (self.row, &self.offsets) == (other.row, &other.offsets)
    }
}

impl Layout {
    /// Whether all of it lies among so many numbers.
    pub fn is_within(&self, numbers: usize) -> bool {
        let reach = |(size, stride): (&usize, &usize)| size.saturating_sub(1).checked_mul(*stride);
        let mut reaches = self.sizes.iter().zip(&self.strides).map(reach);
        let last = reaches.try_fold(self.offset, |sum, reach| sum.checked_add(reach?));
        self.sizes.contains(&0) || last.is_some_and(|last| last < numbers)
    }
}

impl Plan {
    /// Holds that every step has a kernel: others are the compiler's own and cannot be written down.
    ///
    /// # Errors
    /// `Unsupported`: names the node.
    pub fn check_own(&self) -> Result<()> {
        self.refuse_foreign("so the plan cannot be written to a file")
    }

    /// Refuses the first step that has no kernel, for a reason.
    pub(crate) fn refuse_foreign(&self, why: &str) -> Result<()> {
        for Step { name, operation } in &self.steps {
            if let Operation::Foreign(foreign) = operation {
                let error = unsupported(format!("has no kernel ({}), {why}", foreign.operation.name()));
                return Err(error.at(format!("node '{name}'")));
            }
        }
        Ok(())
    }
}

impl Matmul {
    /// Multiplications and additions.
    fn flops(&self) -> usize {
        let rows: usize = self.groups.iter().map(|group| group.rows).sum();
        2 * rows * self.weights.layout.sizes.iter().product::<usize>()
    }

    /// What it is computed as, if not as a plain product.
    pub fn form(&self) -> Option<Form> {
        let [_, k, cols] = self.weights.layout.sizes;
        Form::of(&self.segments, self.a_stride, &self.groups, [k, cols])
    }
}

impl<A: Copy> Gather<A> {
    /// The same rows of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Gather<B> {
        let Self { table, rows, width, input, count, out } = self;
        Gather { table: to(table), rows, width, input, count, out: to(out) }
    }
}

impl<A: Copy> Lookup<A> {
    /// The same rows to where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Lookup<B> {
        let Self { weight, rows, width, input, count, out } = self;
        Lookup { weight, rows, width, input, count, out: to(out) }
    }
}

impl<A: Copy> Integers<A> {
    /// The same numbers to where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Integers<B> {
        Integers { input: self.input, count: self.count, out: to(self.out) }
    }
}

impl<A: Copy> Foreign<A> {
    /// The same call with what lies where `to` says.
    pub fn relocate<B>(&self, to: &mut impl FnMut(A) -> B) -> Foreign<B> {
        let operands = self.operands.iter().map(|(at, sizes)| (to(*at), sizes.clone())).collect();
        Foreign { operation: Arc::clone(&self.operation), operands, out: to(self.out), len: self.len }
    }
}

impl Operation {
    /// What it is called in descriptions of plans.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Matmul(_) => "matmul",
            Self::Norm(_) => "norm",
            Self::Attention(_) => "attention",
            Self::GroupNorm(_) => "group-norm",
            Self::Stage(_) => "stage",
            Self::Copy { .. } => "copy",
            Self::Pointwise { .. } => "pointwise",
            Self::Reduce(_) | Self::Softmax(_) => "reduce",
            Self::Gather(_) | Self::Lookup(_) => "gather",
            Self::MaskedAttention(_) => "attention",
            Self::Integers(_) => "integers",
            Self::BatchMatmul(_) => "batch-matmul",
            Self::Foreign(_) => "fallback",
        }
    }

    /// Whether its weights are read while the plan is loaded, even where they are packed for the processor.
    pub fn reads_weights(&self) -> bool {
        match self {
            Self::Matmul(product) => product.form().is_some(),
            Self::Lookup(_) => true,
            _ => false,
        }
    }

    /// Multiplications and additions of products and attention, which are nearly all.
    pub fn flops(&self) -> u64 {
        (match self {
            Self::Matmul(product) => product.flops(),
            Self::Attention(a) | Self::MaskedAttention(MaskedAttention { attention: a, .. }) => {
                4 * a.images * a.heads * a.queries * a.keys * a.dim
            }
            Self::BatchMatmul(BatchMatmul { batch: [images, heads], rows, inner, cols, .. }) => {
                [images, heads, rows, inner, cols].iter().fold(2usize, |flops, &&n| flops.saturating_mul(n))
            }
            _ => 0,
        }) as u64
    }

    /// Where the answer goes.
    pub fn out(&self) -> Address {
        match self {
            Self::Matmul(product) => product.out,
            Self::Norm(norm) => norm.out.offset,
            Self::Attention(attention) => attention.out.offset,
            Self::GroupNorm(norm) => norm.out,
            Self::Stage(stage) => stage.out,
            Self::Copy { to, .. } => to.address(),
            Self::Pointwise { out, .. } => out.address(),
            Self::Reduce(reduce) => reduce.out,
            Self::Softmax(softmax) => softmax.out.offset,
            Self::Gather(gather) => gather.out,
            Self::MaskedAttention(masked) => masked.attention.out.offset,
            Self::Lookup(lookup) => lookup.out,
            Self::Integers(integers) => integers.out,
            Self::BatchMatmul(products) => products.out.offset,
            Self::Foreign(foreign) => foreign.out,
        }
    }

    /// Shows the address of each thing that it reads or writes.
    pub fn addresses(&self, see: &mut impl FnMut(Address)) {
        match self {
            Self::Matmul(product) => {
                see(product.a);
                see(product.out);
                product.epilogue.iter().for_each(|step| _ = step.relocate(see));
            }
            Self::Norm(norm) => _ = norm.relocate(see),
            Self::Attention(attention) => _ = attention.relocate(see),
            Self::GroupNorm(norm) => _ = norm.relocate(see),
            Self::Stage(stage) => _ = stage.relocate(see),
            Self::Copy { from, to } => [from, to].into_iter().for_each(|place| see(place.address())),
            Self::Pointwise { inputs, out, .. } => {
                inputs.iter().chain([out]).for_each(|place| see(place.address()));
            }
            Self::Reduce(reduce) => _ = reduce.relocate(see),
            Self::Softmax(softmax) => _ = softmax.relocate(see),
            Self::Gather(gather) => _ = gather.relocate(see),
            Self::MaskedAttention(masked) => _ = masked.relocate(see),
            Self::Lookup(lookup) => _ = lookup.relocate(see),
            Self::Integers(integers) => _ = integers.relocate(see),
            Self::BatchMatmul(products) => _ = products.relocate(see),
            Self::Foreign(foreign) => _ = foreign.relocate(see),
        }
    }
}
