//! The fused engine: a network as a flat list of steps over one arena.
//!
//! ```text
//! Graph ──net──▶ Net ──lower──▶ steps, arena map, constants ──▶ FusedProgram (shared)
//!                                                                    └──▶ FusedInstance (an arena of its own)
//! ```
//!
//! A network that cannot be lowered as a whole is left to the reference backend.

mod action;
mod arena;
mod lower;
mod place;

use std::fmt::Write;
use std::sync::Arc;

use crate::backend::{Backend, Input, Instance, Program, Reference};
use crate::error::{Context, invalid_argument, runtime, unsupported};
use crate::graph::Graph;
use crate::kernels::{Isa, Parallel, Pool, Workers};
use crate::net::Net;
use crate::{CancelToken, ErrorKind, Result};
use lower::Lowered;

/// Compiles networks to fused steps for this processor.
pub(crate) struct Fused {
    isa: Isa,
    parallel: Arc<dyn Parallel>,
    reference: Reference,
}

impl Fused {
    /// One lane runs on the caller's thread; more get a pool of the model's own.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let pool = Pool::new(threads)
            .map_err(|e| invalid_argument(format!("cannot start a pool of {threads} threads: {e}")))?;
        let isa = Isa::available()[0];
        Ok(Self { isa, parallel: Arc::new(pool), reference: Reference::new(threads)? })
    }
}

impl Fused {
    fn lower(&self, graph: &Graph) -> Result<Lowered> {
        let net = Net::import(&graph.model, graph.contract.inputs.len())
            .map_err(|error| unsupported(format!("{error:#}").replace('\n', " ")))?;
        lower::lower(&net, &graph.weights, self.isa, self.parallel.as_ref())
    }
}

impl Backend for Fused {
    fn compile(&self, graph: Graph) -> Result<Arc<dyn Program>> {
        graph.check_output().at(|| graph.file.clone())?;
        match self.lower(&graph) {
            Ok(lowered) => {
                let file = graph.file;
                Ok(Arc::new(FusedProgram {
                    lowered,
                    file,
                    isa: self.isa,
                    parallel: Arc::clone(&self.parallel),
                }))
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                log::info!("{}: left to plain tract: {error}", graph.file);
                self.reference.compile(graph)
            }
            Err(error) => Err(error).at(|| graph.file),
        }
    }

    fn threads(&self) -> usize {
        self.parallel.lanes()
    }
}

struct FusedProgram {
    lowered: Lowered,
    file: String,
    isa: Isa,
    parallel: Arc<dyn Parallel>,
}

impl Program for FusedProgram {
    fn describe(&self) -> String {
        let lowered = &self.lowered;
        let mut text = format!(
            "{} steps for {}, {} of packed weights, {} of arena, {} of it constant\n",
            lowered.steps.len(),
            self.isa,
            mebibytes(lowered.weights),
            mebibytes(4 * lowered.arena),
            mebibytes(4 * lowered.constants.iter().map(|(_, floats)| floats.len()).sum::<usize>()),
        );
        for (i, step) in lowered.steps.iter().enumerate() {
            let (offset, len) = step.writes;
            let (mega, end) = (step.flops as f64 / 1e6, offset + len);
            let _ = writeln!(
                text,
                "{i:4} {:10} {mega:10.2} MFLOP  {offset:>9}..{end:<9} {}",
                step.kind, step.name
            );
        }
        text
    }

    fn instantiate(self: Arc<Self>) -> Box<dyn Instance> {
        let lowered = &self.lowered;
        let mut arena = vec![0.0; lowered.arena];
        for (offset, floats) in &lowered.constants {
            arena[*offset..*offset + floats.len()].copy_from_slice(floats);
        }
        let scratch = lowered.steps.iter().map(|step| step.action.scratch()).max().unwrap_or(0);
        let scratch = vec![0.0; scratch.next_multiple_of(16) * self.parallel.lanes()];
        Box::new(FusedInstance { program: self, arena, scratch })
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

struct FusedInstance {
    program: Arc<FusedProgram>,
    arena: Vec<f32>,
    scratch: Vec<f32>,
}

/// The most inputs that a network has.
const INPUTS: usize = 4;

impl Instance for FusedInstance {
    fn run(&mut self, inputs: &[Input], output: &mut [f32], cancel: &CancelToken) -> Result<()> {
        let FusedProgram { lowered, file, isa, parallel } = &*self.program;
        let mut integers: [&[i64]; INPUTS] = [&[]; INPUTS];
        for (i, (input, place)) in inputs.iter().zip(&lowered.inputs).enumerate() {
            match (input, place) {
                (Input::F32(values), Some((offset, len))) if values.len() == *len => {
                    self.arena[*offset..*offset + *len].copy_from_slice(values);
                }
                (Input::I64(values), None) if i < INPUTS => integers[i] = values,
                // An input that the network never looks at.
                (Input::F32(_), None) => {}
                _ => return Err(runtime("an input has another shape than planned")).at(|| file.clone()),
            }
        }
        let mut workers = Workers::new(*isa, parallel.as_ref(), &mut self.scratch);
        for step in &lowered.steps {
            cancel.check()?;
            let outcome = step.action.run(&mut workers, &mut self.arena, &integers);
            outcome.at(|| step.name.to_string()).at(|| file.clone())?;
        }
        let (offset, len) = lowered.output;
        if len != output.len() {
            return Err(runtime("the network's answer has another shape than planned")).at(|| file.clone());
        }
        output.copy_from_slice(&self.arena[offset..offset + len]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
