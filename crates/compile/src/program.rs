//! The fused engine: a network as a flat list of steps over one arena.
//!
//! ```text
//! Graph ──net──▶ Net ──split──▶ conditioning | body ──lower──▶ Plan ──load──▶ Executable: FusedProgram (shared)
//!                                                                                └──▶ FusedInstance (an arena)
//! ```
//!
//! A network that cannot be lowered as a whole is left to the reference backend.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, ready};

use crate::allowance::Allowance;
use crate::backend::{Backend, Fallback, Footprint, Input, Instance, Pace, Program};
use crate::bundle::{Bundle, Extent, Role};
use crate::error::{Context, runtime, unsupported};
use crate::executor::{Conditions, Executable, Memory, Packs, Ports, ROWS, Setting, ports};
use crate::graph::Graph;
use crate::kernels::{Inline, Isa, Parallel};
use crate::lock::lock;
use crate::lower::lower;
use crate::net::Net;
use crate::panics::in_flowturbo;
use crate::plan::RowLayout;
use crate::reference::Reference;
use crate::{CancelToken, Cost, ErrorKind, Result};

/// Compiles networks to fused steps for this processor.
pub struct Fused {
    isa: Isa,
    /// Holds programs to the same bits everywhere.
    deterministic: bool,
    parallel: Arc<dyn Parallel>,
    /// What one session computes for all runs on these: lent threads may come back with another session's work, which
    /// would wait for the first.
    for_all: Arc<dyn Parallel>,
    reference: Reference,
    packs: Packs,
    /// Of all networks that somebody holds.
    conditions: Mutex<Vec<Weak<Conditions>>>,
    /// Weights that only conditioning uses are not kept.
    release: AtomicBool,
}

impl Fused {
    /// Steps run on the threads of `parallel`; networks that cannot be lowered are left to `reference`.
    pub fn new(parallel: Arc<dyn Parallel>, reference: Reference) -> Self {
        Self {
            isa: Isa::available()[0],
            deterministic: false,
            for_all: Arc::clone(&parallel),
            parallel,
            reference,
            packs: Packs::default(),
            conditions: Mutex::default(),
            release: AtomicBool::new(false),
        }
    }

    /// The threads are an application's.
    pub fn lent(mut self) -> Self {
        self.for_all = Arc::new(Inline);
        self
    }

    /// The same bits on every processor, or none: what tract would compute is refused.
    pub fn deterministic(mut self) -> Self {
        (self.isa, self.deterministic) = (Isa::portable()[0], true);
        self
    }

    /// Names what a program would leave to tract's arithmetic, which is another one on each processor.
    fn check_deterministic(&self, graph: &Graph, program: &FusedProgram) -> Result<()> {
        let left = program.fallbacks().into_iter().map(|fallback| match fallback {
            Fallback::Operation { operation, node } => format!("node '{node}' ({operation})"),
            Fallback::Network { reason } => reason,
            other => format!("{other:?}"),
        });
        match graph.inexact.iter().cloned().chain(left).next() {
            Some(first) if self.deterministic => Err(unsupported(format!(
                "{first} is computed by tract, whose last bits differ between processors; a deterministic model \
                 cannot have it"
            ))),
            _ => Ok(()),
        }
    }

    fn setting<'a>(&'a self, graph: &'a Graph) -> Setting<'a> {
        Setting {
            isa: self.isa,
            parallel: &self.parallel,
            packs: &self.packs,
            file: &graph.file,
            weights: &graph.weights,
            allowance: &graph.allowance,
            hollow: false,
            ahead: true,
        }
    }

    fn lower(&self, graph: &Graph, again: &dyn Fn(usize) -> Result<Graph>) -> Result<FusedProgram> {
        let net = import(graph)?;
        let split = match ports(&graph.contract) {
            Some((state, ports)) => net.split(&state)?.map(|split| (split, state, ports)),
            None => None,
        };
        let conditions = match &split {
            Some((split, state, ports)) => self.conditions(graph, &split.layout, state, *ports, again)?,
            None => None,
        };
        let plan = match split.filter(|_| conditions.is_some()) {
            Some((split, ..)) => lower(&net.body(&split), graph, Some(&split.layout))?,
            None => lower(&net, graph, None)?,
        };
        Ok(FusedProgram {
            executable: Executable::load(plan, &self.setting(graph))?,
            conditions,
            file: graph.file.clone(),
        })
    }

    /// The conditioning part of `graph`, which is the same for each of its batch sizes; none if it is not.
    fn conditions(
        &self,
        graph: &Graph,
        layout: &RowLayout,
        state: &[usize],
        ports: Ports,
        again: &dyn Fn(usize) -> Result<Graph>,
    ) -> Result<Option<Arc<Conditions>>> {
        let same = |known: &Arc<Conditions>| {
            known.file == graph.file
                && (known.layout.row, &known.layout.offsets) == (layout.row, &layout.offsets)
        };
        if let Some(known) = lock(&self.conditions).iter().filter_map(Weak::upgrade).find(same) {
            return Ok(Some(known));
        }
        // The same network for more rows, if limits let it, so that a request's conditions are computed together.
        let (wide, rows) = match again(ROWS) {
            Ok(wide) => (wide, ROWS),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Cancelled | ErrorKind::OutOfMemory | ErrorKind::Io | ErrorKind::Runtime
                ) =>
            {
                return Err(error);
            }
            Err(_) => (again(layout.images)?, layout.images),
        };
        let net = import(&wide)?;
        let split = net.split(state)?.filter(|split| split.layout.offsets == layout.offsets);
        let Some(split) = split else { return Ok(None) };
        let layout = split.layout.clone();
        let release = self.release.load(Ordering::Relaxed);
        let plan = lower(&net.conditioning(split), &wide, Some(&layout))?;
        // It runs rarely, and its weights are not to be held by one another.
        let setting = Setting { hollow: release, ahead: false, ..self.setting(&wide) };
        let executable = Executable::load(plan, &setting)?.on(&self.for_all);
        let conditions = Arc::new(Conditions::new(&graph.file, executable, !release, ports, rows, layout));
        let mut known = lock(&self.conditions);
        known.retain(|conditions| conditions.strong_count() > 0);
        known.push(Arc::downgrade(&conditions));
        drop(known);
        // Asked for meanwhile.
        if !release && self.release.load(Ordering::Relaxed) {
            conditions.release();
        }
        Ok(Some(conditions))
    }

    /// Compiles `graph`, or leaves it to plain tract as a whole. `again` imports the same network for another batch.
    ///
    /// # Errors
    /// Name its file.
    fn compile(&self, graph: Graph, again: &dyn Fn(usize) -> Result<Graph>) -> Result<Arc<dyn Program>> {
        graph.check_output().at(|| graph.file.clone())?;
        // Only what is known to have no kernel goes to tract. A panic is a mistake of ours, and told as one.
        match in_flowturbo(|| self.lower(&graph, again)) {
            Ok(program) => {
                self.check_deterministic(&graph, &program).at(|| graph.file.clone())?;
                Ok(Arc::new(program))
            }
            Err(error) if error.kind() == ErrorKind::Unsupported && !self.deterministic => {
                log::info!("{}: left to plain tract: {error}", graph.file);
                let program = self.reference.compile(graph)?;
                Ok(Arc::new(LeftToTract { program, reason: error.to_string() }))
            }
            Err(error) => Err(error).at(|| graph.file),
        }
    }
}

impl Backend for Fused {
    fn program(
        &self,
        bundle: &Bundle,
        role: Role,
        extent: Extent,
        allowance: &Allowance,
    ) -> Result<Arc<dyn Program>> {
        let import = |batch| Graph::import_within(bundle, role, Extent { batch, ..extent }, allowance);
        self.compile(import(extent.batch)?, &import)
    }

    fn cost(&self, bundle: &Bundle, role: Role, extent: Extent, allowance: &Allowance) -> Result<Cost> {
        self.reference.cost(bundle, role, extent, allowance)
    }

    fn threads(&self) -> usize {
        self.parallel.lanes()
    }

    fn release_conditioning(&self) {
        self.release.store(true, Ordering::Relaxed);
        lock(&self.conditions).iter().filter_map(Weak::upgrade).for_each(|conditions| conditions.release());
    }
}

/// tract's typed graph as a net.
fn import(graph: &Graph) -> Result<Net> {
    Net::import(&graph.model, graph.contract.inputs.len(), &graph.allowance)
}

struct FusedProgram {
    executable: Executable,
    /// What is computed once for each time and class, if the network has such a part.
    conditions: Option<Arc<Conditions>>,
    file: String,
}

impl Program for FusedProgram {
    fn describe(&self) -> String {
        let mut text = self.executable.describe();
        if let Some(conditions) = &self.conditions {
            let _ = write!(text, "once for each time and class, {}", conditions.describe());
        }
        text
    }

    fn fallbacks(&self) -> Vec<Fallback> {
        let conditions = self.conditions.iter().flat_map(|conditions| conditions.fallbacks.iter().cloned());
        self.executable.fallbacks().chain(conditions).collect()
    }

    fn memory(&self) -> Footprint {
        let Footprint { weights, instance, .. } = self.executable.footprint();
        let of_conditions = |conditions: &Arc<Conditions>| conditions.footprint();
        let conditions = self.conditions.as_ref().map_or(Footprint::default(), of_conditions);
        Footprint { weights: weights + conditions.weights, instance, passing: conditions.passing }
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>> {
        let memory = self.executable.memory().at(|| self.file.clone())?;
        Ok(Box::new(FusedInstance { program: self, memory }))
    }
}

/// A network that could not be lowered.
struct LeftToTract {
    program: Arc<dyn Program>,
    reason: String,
}

impl Program for LeftToTract {
    fn describe(&self) -> String {
        format!("left to plain tract: {}\n{}", self.reason, self.program.describe())
    }

    fn fallbacks(&self) -> Vec<Fallback> {
        vec![Fallback::Network { reason: self.reason.clone() }]
    }

    fn memory(&self) -> Footprint {
        self.program.memory()
    }

    fn instantiate(self: Arc<Self>) -> Result<Box<dyn Instance>> {
        Arc::clone(&self.program).instantiate()
    }
}

struct FusedInstance {
    program: Arc<FusedProgram>,
    memory: Memory,
}

impl Instance for FusedInstance {
    fn conditions(&self) -> (usize, usize) {
        self.program.conditions.as_ref().map_or((0, 0), |conditions| conditions.room())
    }

    fn prepare(&mut self, wanted: &[(f32, i64)], cancel: &CancelToken) -> Result<()> {
        match &self.program.conditions {
            Some(conditions) => conditions.prepare(wanted, cancel).at(|| self.program.file.clone()),
            None => Ok(()),
        }
    }

    fn advance(&mut self, inputs: &[Input], output: &mut [f32], pace: Pace) -> Poll<Result<()>> {
        let FusedProgram { executable, conditions, file } = &*self.program;
        let memory = &mut self.memory;
        if let (true, Some(conditions)) = (memory.is_fresh(), conditions) {
            conditions.fill(inputs, executable.given(memory), pace.cancel()).at(|| file.clone())?;
        }
        let answer = ready!(executable.run(memory, inputs, pace)).at(|| file.clone())?;
        if answer.len() != output.len() {
            Err(runtime("the network's answer has another shape than planned")).at(|| file.clone())?;
        }
        output.copy_from_slice(answer);
        Poll::Ready(Ok(()))
    }

    fn abandon(&mut self) {
        self.memory.abandon();
    }
}

#[cfg(test)]
mod tests;
