//! A plan with a place for each buffer and nothing else: what a device makes its own executable of.

use crate::allowance::Allowance;
use crate::error::Context;
use crate::executor::arena;
use crate::executor::load::{Placed, lives};
use crate::kernels::{Epilogue, Group, Isa, View};
use crate::panics::in_flowturbo;
use crate::plan::{Address, Constant, Matmul, Place, Plan, Step};
use crate::precision::Precision;
use crate::{Result, memory};

/// A plan whose buffers have places in one arena, each step held to the buffers that it names.
pub struct PlacedPlan {
    pub steps: Vec<Step>,
    /// Floats of the arena.
    pub arena: usize,
    /// What the arena holds from the start: offset and floats.
    pub constants: Vec<(usize, Vec<f32>)>,
    /// For each input: its offset in the arena and its floats, if it is one of floats.
    pub inputs: Vec<Option<(usize, usize)>>,
    pub output: (usize, usize),
    /// Where the row of conditions goes, for each image: its offset and all floats.
    pub given: Option<(usize, usize)>,
    buffers: Vec<usize>,
    offsets: Vec<usize>,
}

impl PlacedPlan {
    /// Places the buffers of `plan`.
    ///
    /// # Errors
    /// `Unsupported`: names the first node that has no kernel. `Runtime`: a step that reaches beyond its buffers.
    /// `LimitExceeded`, `Cancelled`: by the allowance. `OutOfMemory`.
    pub fn new(plan: Plan, allowance: &Allowance) -> Result<Self> {
        plan.refuse_foreign("and only the processor runs it without one: --device cpu")?;
        let (offsets, arena) = arena::place(&lives(&plan)?, allowance)?;
        let Plan { buffers, constants, inputs, given, output, steps } = plan;
        let whole = |buffer: usize| (offsets[buffer], buffers[buffer]);
        let constant = |Constant { buffer, floats }| (offsets[buffer], floats);
        let plan = Self {
            arena,
            constants: memory::collected(constants.len(), constants.into_iter().map(constant))?,
            inputs: inputs.into_iter().map(|buffer| buffer.map(whole)).collect(),
            output: whole(output),
            given: given.map(whole),
            steps,
            buffers,
            offsets,
        };
        for step in &plan.steps {
            allowance.check()?;
            let hold = || plan.placed().hold(&step.operation);
            in_flowturbo(hold).at(|| format!("node '{}'", step.name))?;
        }
        Ok(plan)
    }

    /// As kernels of a processor are given them: those of any set are held to the same places.
    fn placed(&self) -> Placed<'_> {
        let Self { buffers, offsets, arena, .. } = self;
        Placed { buffers, offsets, arena: *arena, isa: Isa::available()[0], precision: Precision::F32 }
    }

    /// Where in the arena an address is.
    pub fn at(&self, address: Address) -> usize {
        self.placed().at(address)
    }

    /// Where in the arena the elements of a place are.
    pub fn view(&self, place: &Place) -> View {
        self.placed().view(place)
    }

    /// The rows of a product and its epilogue, with their places in the arena.
    pub fn rows(&self, product: &Matmul) -> (Vec<Group>, Vec<Epilogue>) {
        self.placed().rows(product)
    }
}
