//! What a model needs of whatever computes its networks.
//!
//! A [`Backend`] makes a [`Program`] of a network at fixed shapes, which is immutable and shared by every session of
//! a model; a session [instantiates](Program::instantiate) it once and keeps the [`Instance`], which holds whatever
//! scratch memory one run at a time needs.

#![forbid(unsafe_code)]

mod pace;

use std::sync::Arc;
use std::task::Poll;

pub use pace::Pace;

use crate::allowance::Allowance;
use crate::bundle::{Bundle, Extent, Role};
use crate::error::runtime;
use crate::executor::Conditions;
use crate::precision::Precision;
use crate::{CancelToken, Cost, Result};

/// A way to run networks on a device.
pub trait Backend: Send + Sync {
    /// Plans the network that plays `role` at `extent`, as far as `allowance` lets it; whatever its files' hashes are.
    ///
    /// # Errors
    /// Name the network's file; see `Model::load`.
    fn program(
        &self,
        bundle: &Bundle,
        role: Role,
        extent: Extent,
        allowance: &Allowance,
    ) -> Result<Arc<dyn Program>>;

    /// Counts what one call of a network costs.
    ///
    /// # Errors
    /// As [`program`](Self::program).
    fn cost(&self, bundle: &Bundle, role: Role, extent: Extent, allowance: &Allowance) -> Result<Cost>;

    /// Threads that one run uses.
    fn threads(&self) -> usize;

    /// What networks that somebody holds know of times and classes.
    fn conditions(&self) -> Vec<Arc<Conditions>> {
        Vec::new()
    }

    /// What predictor, refiner and decoder are computed in.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// Gives up the weights that only conditioning uses, and keeps none from now on.
    fn release_conditioning(&self) {}
}

/// A network planned for fixed shapes.
pub trait Program: Send + Sync {
    /// Holds its weights against their hashes first if that has not been done, as long as `cancel` lets it.
    ///
    /// # Errors
    /// `OutOfMemory`. `InvalidBundle`: a damaged weight. `Io`. `Cancelled`.
    fn instantiate(self: Arc<Self>, cancel: &CancelToken) -> Result<Box<dyn Instance>>;

    /// What it holds, and what an instance of it will hold.
    fn memory(&self) -> Footprint;

    /// The fewest rows of the tables that are looked up by the integers of input `input`; none where that is not known.
    fn rows(&self, _input: usize) -> Option<usize> {
        None
    }

    /// What it does, step by step, for people.
    fn describe(&self) -> String;

    /// What a faster backend left to plain tract.
    fn fallbacks(&self) -> Vec<Fallback> {
        Vec::new()
    }
}

/// What the fused engine has no kernel for and leaves to plain tract: slower, the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// One operation.
    Operation {
        /// What tract calls it; behind the names of what it needs of truth values or integers: `GT + Iff`.
        operation: String,
        /// The ONNX node that it came from.
        node: String,
    },
    /// The whole network.
    Network {
        /// The node and the operation that the engine could not work around.
        reason: String,
    },
}

/// What a network is asked under, besides the state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    pub time: f32,
    /// Not looked at by networks that take no class.
    pub class: i64,
    /// Which of the contexts that are given beside; not looked at by networks that take none, or one of tokens.
    pub context: usize,
}

/// A program with the scratch memory to run it, one run at a time.
pub trait Instance: Send {
    /// Conditions of which what depends on them alone is computed at once, and those that it is kept of; none where
    /// nothing does.
    fn conditions(&self) -> (usize, usize) {
        (0, 0)
    }

    /// Computes what depends on some conditions alone, beforehand. `contexts` are those that they name by their
    /// places, one after another.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    fn prepare(&mut self, _conditions: &[Condition], _contexts: &[f32], _cancel: &CancelToken) -> Result<()> {
        Ok(())
    }

    /// Runs once, or as far as `pace` allows: then the next call, with the same inputs, goes on from there.
    /// Inputs come in the contract's order and have its lengths; `output` takes the answer. A cancelled run ends
    /// early with `ErrorKind::Cancelled`; after a failure the next call starts anew.
    fn advance(&mut self, inputs: &[Input], output: &mut [f32], pace: Pace) -> Poll<Result<()>>;

    /// Forgets a run that is under way.
    fn abandon(&mut self) {}

    /// Runs once, to the end.
    fn run(&mut self, inputs: &[Input], output: &mut [f32], cancel: &CancelToken) -> Result<()> {
        self.abandon();
        match self.advance(inputs, output, Pace::to_the_end(cancel)) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(runtime("a network stopped half-way without being asked to")),
        }
    }
}

/// Bytes of a planned network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Weights, shared by the programs of all batch sizes.
    pub weights: usize,
    /// What one instance holds.
    pub instance: usize,
    /// What conditions take for a moment when new ones are computed.
    pub passing: usize,
}

/// One input tensor, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    F32(&'a [f32]),
    I64(&'a [i64]),
}
