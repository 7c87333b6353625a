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
mod conditions;
mod lower;
mod place;
mod runner;

use std::fmt::Write;
use std::sync::Arc;

use crate::backend::{Backend, Input, Instance, Program, Reference};
use crate::error::{Context, runtime, unsupported};
use crate::graph::Graph;
use crate::kernels::{Isa, Parallel};
use crate::net::{Net, Split};
use crate::{CancelToken, ErrorKind, Result};
use conditions::{Conditions, ROWS};
use lower::{Lowered, Setting};
use runner::{Memory, Runner};

/// Compiles networks to fused steps for this processor.
pub(crate) struct Fused {
    isa: Isa,
    parallel: Arc<dyn Parallel>,
    reference: Reference,
}

impl Fused {
    /// Steps run on the threads of `parallel`; networks that cannot be lowered are left to `reference`.
    pub(crate) fn new(parallel: Arc<dyn Parallel>, reference: Reference) -> Self {
        Self { isa: Isa::available()[0], parallel, reference }
    }
}

impl Fused {
    fn setting<'a>(&'a self, graph: &'a Graph) -> Setting<'a> {
        Setting { weights: &graph.weights, isa: self.isa, parallel: self.parallel.as_ref() }
    }

    fn lower(&self, graph: &Graph, again: &dyn Fn(usize) -> Result<Graph>) -> Result<FusedProgram> {
        let net = import(graph)?;
        let program = |lowered: Lowered, conditions: Option<Conditions>| FusedProgram {
            runner: Runner { lowered, isa: self.isa, parallel: Arc::clone(&self.parallel) },
            conditions,
            file: graph.file.clone(),
        };
        let Some((state, ports)) = conditions::ports(&graph.contract) else {
            return Ok(program(lower::lower(&net, self.setting(graph), None)?, None));
        };
        let Some(Split { body, table, .. }) = net.split(&state) else {
            return Ok(program(lower::lower(&net, self.setting(graph), None)?, None));
        };
        // The same network for more rows, if limits let it, so that a request's conditions are computed together.
        let (wide, rows) = match again(ROWS) {
            Ok(wide) => (wide, ROWS),
            Err(_) => (again(table.images)?, table.images),
        };
        let split = import(&wide)?.split(&state).filter(|split| split.table.offsets == table.offsets);
        let split = split.ok_or_else(|| unsupported("changes its conditioning with the batch"))?;
        let lowered = lower::lower(&split.conditioning, self.setting(&wide), Some(&split.table))?;
        let runner = Runner { lowered, isa: self.isa, parallel: Arc::clone(&self.parallel) };
        let conditions = Conditions::new(runner, ports, rows, table.row);
        Ok(program(lower::lower(&body, self.setting(graph), Some(&table))?, Some(conditions)))
    }
}

impl Backend for Fused {
    fn compile(&self, graph: Graph, again: &dyn Fn(usize) -> Result<Graph>) -> Result<Arc<dyn Program>> {
        graph.check_output().at(|| graph.file.clone())?;
        match self.lower(&graph, again) {
            Ok(program) => Ok(Arc::new(program)),
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                log::info!("{}: left to plain tract: {error}", graph.file);
                self.reference.compile(graph, again)
            }
            Err(error) => Err(error).at(|| graph.file),
        }
    }

    fn threads(&self) -> usize {
        self.parallel.lanes()
    }
}

/// tract's typed graph as a net.
fn import(graph: &Graph) -> Result<Net> {
    Net::import(&graph.model, graph.contract.inputs.len())
        .map_err(|error| unsupported(format!("{error:#}").replace('\n', " ")))
}

struct FusedProgram {
    runner: Runner,
    /// What is computed once for each time and class, if the network has such a part.
    conditions: Option<Conditions>,
    file: String,
}

impl Program for FusedProgram {
    fn describe(&self) -> String {
        let mut text = self.runner.describe();
        if let Some(conditions) = &self.conditions {
            let _ =
                write!(text, "once for each time and class, {} at a time: {}", ROWS, conditions.describe());
        }
        text
    }

    fn instantiate(self: Arc<Self>) -> Box<dyn Instance> {
        let memory = self.runner.memory();
        Box::new(FusedInstance { program: self, memory })
    }
}

struct FusedInstance {
    program: Arc<FusedProgram>,
    memory: Memory,
}

impl Instance for FusedInstance {
    fn prepare(&mut self, wanted: &[(f32, i64)]) -> Result<()> {
        match &self.program.conditions {
            Some(conditions) => conditions.prepare(wanted).at(|| self.program.file.clone()),
            None => Ok(()),
        }
    }

    fn run(&mut self, inputs: &[Input], output: &mut [f32], cancel: &CancelToken) -> Result<()> {
        let FusedProgram { runner, conditions, file } = &*self.program;
        let memory = &mut self.memory;
        let outcome = match conditions {
            Some(conditions) => conditions.fill(inputs, runner.given(memory)),
            None => Ok(()),
        };
        let answer = outcome.and_then(|()| runner.run(memory, inputs, cancel)).at(|| file.clone())?;
        if answer.len() != output.len() {
            return Err(runtime("the network's answer has another shape than planned")).at(|| file.clone());
        }
        output.copy_from_slice(answer);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
