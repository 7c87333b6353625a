//! What runs plans, whoever made them: an instruction set, threads, and what networks share.
//!
//! ```text
//! Plan, Weights ──▶ Engine ──load──▶ Executable, Conditions: FusedProgram (shared)
//!                     │                                  └──▶ FusedInstance (an arena)
//!                     └──▶ Runner, if there is one, makes the program; conditions stay the processor's
//! ```

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, ready};

use crate::allowance::Allowance;
use crate::backend::{Condition, Fallback, Footprint, Input, Instance, Pace, Program};
use crate::error::{Context, runtime};
use crate::executor::{Conditions, Executable, Memory, Packs, Ports, Setting};
use crate::kernels::{Inline, Isa, Parallel};
use crate::lock::lock;
use crate::plan::{Plan, RowLayout};
use crate::precision::Precision;
use crate::weights::Weights;
use crate::{CancelToken, Result};

/// Loads plans for one instruction set and some threads.
pub struct Engine {
    isa: Isa,
    parallel: Arc<dyn Parallel>,
    /// What one session computes for all runs on these: lent threads may come back with another session's work, which
    /// would wait for the first.
    for_all: Arc<dyn Parallel>,
    packs: Packs,
    /// Of all networks that somebody holds.
    conditions: Mutex<Vec<Weak<Conditions>>>,
    precision: Precision,
    deterministic: bool,
    /// Weights that only conditioning uses are not kept.
    release: AtomicBool,
    runner: Option<Arc<dyn Runner>>,
}

/// What runs plans in the processor's place. Conditions are computed on the processor even so.
pub trait Runner: Send + Sync {
    /// Loads a network, with the conditions that its plan is given; what there is to do on the processor is done on
    /// the threads of `parallel`.
    ///
    /// # Errors
    /// `Unsupported`: names the node that the device has no kernel for. `OutOfMemory`: of the device too. `Runtime`:
    /// the device fails. Else as [`Executable::load`].
    fn program(
        &self,
        network: Network,
        conditions: Option<Arc<Conditions>>,
        parallel: &dyn Parallel,
    ) -> Result<Arc<dyn Program>>;
}

/// A network's plan, and what it is loaded with.
pub struct Network<'a> {
    /// Its file: for messages, and by its name packed weights are shared.
    pub file: &'a str,
    /// What its products are computed in.
    pub precision: Precision,
    pub plan: Plan,
    pub weights: &'a Arc<Weights>,
    pub allowance: &'a Allowance,
}

/// The part of a network that computes what times, classes and pooled contexts alone decide.
pub struct Conditioning {
    /// Its answers are rows as `layout` has them.
    pub plan: Plan,
    pub layout: RowLayout,
    pub ports: Ports,
    pub weights: Arc<Weights>,
}

impl Engine {
    /// Steps run on the threads of `parallel`.
    pub fn new(isa: Isa, parallel: Arc<dyn Parallel>) -> Self {
        Self {
            isa,
            for_all: Arc::clone(&parallel),
            parallel,
            packs: Packs::default(),
            conditions: Mutex::default(),
            precision: Precision::F32,
            deterministic: false,
            release: AtomicBool::new(false),
            runner: None,
        }
    }

    /// Networks are run by `runner`, which has kernels for `precision`.
    #[must_use]
    pub fn with_runner(self, runner: Arc<dyn Runner>, precision: Precision) -> Self {
        Self { runner: Some(runner), precision, ..self }
    }

    /// Whether something else than the processor runs networks.
    pub fn has_runner(&self) -> bool {
        self.runner.is_some()
    }

    /// The threads are an application's.
    #[must_use]
    pub fn lent(mut self) -> Self {
        self.for_all = Arc::new(Inline);
        self
    }

    /// Products of weights are computed in `precision`, and to the same bits on every processor if `deterministic`.
    ///
    /// # Errors
    /// `Unsupported`: this processor cannot, or none can.
    pub fn with_precision(self, precision: Precision, deterministic: bool) -> Result<Self> {
        precision.check(self.isa, deterministic)?;
        Ok(Self { precision, deterministic, ..self })
    }

    /// What predictor, refiner and decoder are computed in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Threads that one run uses.
    pub fn threads(&self) -> usize {
        self.parallel.lanes()
    }

    pub fn parallel(&self) -> &dyn Parallel {
        self.parallel.as_ref()
    }

    /// Gives up the weights that only conditioning uses, and keeps none from now on.
    pub fn release_conditioning(&self) {
        self.release.store(true, Ordering::Relaxed);
        self.all_conditions().for_each(|conditions| conditions.release());
    }

    /// Those of all networks that somebody holds.
    pub fn all_conditions(&self) -> impl Iterator<Item = Arc<Conditions>> {
        lock(&self.conditions).iter().filter_map(Weak::upgrade).collect::<Vec<_>>().into_iter()
    }

    fn setting<'a>(&'a self, network: &Network<'a>) -> Setting<'a> {
        Setting {
            isa: self.isa,
            parallel: &self.parallel,
            packs: &self.packs,
            file: network.file,
            weights: network.weights,
            allowance: network.allowance,
            precision: network.precision,
            deterministic: self.deterministic,
            hollow: false,
            ahead: true,
        }
    }

    /// Loads a network, with the conditions that its plan is given.
    ///
    /// # Errors
    /// As [`Executable::load`], or [`Runner::program`].
    pub fn program(&self, network: Network, conditions: Option<Arc<Conditions>>) -> Result<Arc<dyn Program>> {
        if let Some(runner) = &self.runner {
            return runner.program(network, conditions, self.parallel());
        }
        Ok(Arc::new(self.fused(network, conditions)?))
    }

    /// As [`program`](Self::program), for the processor.
    ///
    /// # Errors
    /// As [`Executable::load`].
    pub fn fused(&self, network: Network, conditions: Option<Arc<Conditions>>) -> Result<FusedProgram> {
        let (setting, file) = (self.setting(&network), network.file.to_owned());
        Ok(FusedProgram { executable: Executable::load(network.plan, &setting)?, conditions, file })
    }

    /// The conditions of the network in `file`, which are the same for each of its batch sizes: those that somebody
    /// holds, or else what `make` gives.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn conditions(
        &self,
        file: &str,
        layout: &RowLayout,
        make: impl FnOnce() -> Result<Option<Conditions>>,
    ) -> Result<Option<Arc<Conditions>>> {
        if let Some(known) =
            self.all_conditions().find(|known| known.file == file && known.layout.has_same_places(layout))
        {
            return Ok(Some(known));
        }
        let Some(made) = make()? else { return Ok(None) };
        let conditions = Arc::new(made);
        let mut known = lock(&self.conditions);
        known.retain(|conditions| conditions.strong_count() > 0);
        known.push(Arc::downgrade(&conditions));
        drop(known);
        // Perhaps asked for meanwhile.
        if self.release.load(Ordering::Relaxed) {
            conditions.release();
        }
        Ok(Some(conditions))
    }

    /// Loads the part of the network in `file` that computes conditions.
    ///
    /// # Errors
    /// As [`Executable::load`].
    pub fn computed(&self, file: &str, part: Conditioning, allowance: &Allowance) -> Result<Conditions> {
        let Conditioning { plan, layout, ports, weights } = part;
        let release = self.release.load(Ordering::Relaxed);
        let network = Network { file, precision: self.precision.exact(), plan, weights: &weights, allowance };
        // It runs rarely, and its weights are not to be held by one another.
        let setting = Setting { hollow: release, ahead: false, ..self.setting(&network) };
        let executable = Executable::load(network.plan, &setting)?.on(&self.for_all);
        Ok(Conditions::new(file, executable, !release, ports, layout))
    }
}

/// A network, loaded.
pub struct FusedProgram {
    pub executable: Executable,
    /// What is computed once for each time, class and pooled context, if the network has such a part.
    pub conditions: Option<Arc<Conditions>>,
    pub file: String,
}

impl Program for FusedProgram {
    fn describe(&self) -> String {
        let mut text = self.executable.describe();
        if let Some(conditions) = &self.conditions {
            let _ = write!(text, "once for each time, class and pooled context, {}", conditions.describe());
        }
        text
    }

    fn fallbacks(&self) -> Vec<Fallback> {
        let conditions = self.conditions.iter().flat_map(|conditions| conditions.fallbacks.iter().cloned());
        self.executable.fallbacks().chain(conditions).collect()
    }

    fn rows(&self, input: usize) -> Option<usize> {
        self.executable.rows(input)
    }

    fn memory(&self) -> Footprint {
        let Footprint { weights, instance, .. } = self.executable.footprint();
        let of_conditions = |conditions: &Arc<Conditions>| conditions.footprint();
        let conditions = self.conditions.as_ref().map_or(Footprint::default(), of_conditions);
        Footprint { weights: weights + conditions.weights, instance, passing: conditions.passing }
    }

    fn instantiate(self: Arc<Self>, _: &CancelToken) -> Result<Box<dyn Instance>> {
        let memory = self.executable.memory().at(|| self.file.clone())?;
        Ok(Box::new(FusedInstance { program: self, memory }))
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

    fn prepare(&mut self, wanted: &[Condition], contexts: &[f32], cancel: &CancelToken) -> Result<()> {
        match &self.program.conditions {
            Some(conditions) => conditions.prepare(wanted, contexts, cancel).at(|| self.program.file.clone()),
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
