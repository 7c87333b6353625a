//! The compiler: a network as a flat list of steps over one arena, for an engine.
//!
//! ```text
//! Graph ──net──▶ Net ──split──▶ conditioning | body ──lower──▶ Plan ──▶ Engine
//! ```
//!
//! A network that cannot be lowered as a whole is left to the reference backend.

use std::sync::Arc;

use crate::allowance::Allowance;
use crate::backend::{Backend, Fallback, Footprint, Instance, Program};
use crate::bundle::{Bundle, Extent, Role};
use crate::engine::{Conditioning, Engine, Network};
use crate::error::{Context, unsupported};
use crate::executor::{Conditions, Ports, ROWS, ports};
use crate::graph::Graph;
use crate::lower::lower;
use crate::net::{Net, Split};
use crate::panics::in_flowturbo;
use crate::plan::Plan;
use crate::precision::Precision;
use crate::reference::Reference;
use crate::weights::Weights;
use crate::{CancelToken, Cost, ErrorKind, Result};

/// Compiles networks to fused steps for this processor.
pub struct Fused {
    engine: Engine,
    /// Holds programs to the same bits everywhere: what tract would compute is refused.
    deterministic: bool,
    reference: Reference,
}

impl Fused {
    /// Networks that cannot be lowered are left to `reference`.
    pub fn new(engine: Engine, deterministic: bool, reference: Reference) -> Self {
        Self { engine, deterministic, reference }
    }

    /// Names what a program would leave to tract's arithmetic, which is another one on each processor.
    fn check_deterministic(&self, graph: &Graph, program: &dyn Program) -> Result<()> {
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

    /// The network as the engine loads it, and its conditions.
    fn lower<'a>(
        &self,
        graph: &'a Graph,
        role: Role,
        again: &dyn Fn(usize) -> Result<Graph>,
    ) -> Result<(Network<'a>, Option<Arc<Conditions>>)> {
        let parted = Parted::new(graph)?;
        let conditions = match &parted.split {
            Some(cut) => self.engine.conditions(&graph.file, &cut.split.layout, || {
                let part = cut.conditioning(again)?;
                part.map(|part| self.engine.computed(&graph.file, part, &graph.allowance)).transpose()
            })?,
            None => None,
        };
        let plan = parted.body(graph, conditions.is_some())?;
        let Graph { file, weights, allowance, .. } = graph;
        let precision = self.engine.precision().of(role);
        Ok((Network { file, precision, plan, weights, allowance }, conditions))
    }

    /// Compiles `graph`, which plays `role`, or leaves it to plain tract as a whole. `again` imports the same network
    /// for another batch.
    ///
    /// # Errors
    /// Name its file.
    fn compile(
        &self,
        graph: Graph,
        role: Role,
        again: &dyn Fn(usize) -> Result<Graph>,
    ) -> Result<Arc<dyn Program>> {
        graph.check_output().at(|| graph.file.clone())?;
        // Only what is known to have no kernel goes to tract. A panic is a mistake of ours, and told as one.
        let load = || {
            let (network, conditions) = self.lower(&graph, role, again)?;
            self.engine.program(network, conditions)
        };
        match in_flowturbo(load) {
            Ok(program) => {
                self.check_deterministic(&graph, program.as_ref()).at(|| graph.file.clone())?;
                Ok(program)
            }
            // Nor what somebody wants in small numbers, or on a device: tract would compute it in floats, here.
            Err(error)
                if error.kind() == ErrorKind::Unsupported
                    && !self.deterministic
                    && !self.engine.has_runner()
                    && self.engine.precision().of(role).is_exact() =>
            {
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
        self.compile(import(extent.batch)?, role, &import)
    }

    fn cost(&self, bundle: &Bundle, role: Role, extent: Extent, allowance: &Allowance) -> Result<Cost> {
        self.reference.cost(bundle, role, extent, allowance)
    }

    fn threads(&self) -> usize {
        self.engine.threads()
    }

    fn conditions(&self) -> Vec<Arc<Conditions>> {
        self.engine.all_conditions().collect()
    }

    fn precision(&self) -> Precision {
        self.engine.precision()
    }

    fn release_conditioning(&self) {
        self.engine.release_conditioning();
    }
}

/// A network's plan by itself, and the part of it that computes what times and classes alone decide, if it has one.
pub struct Compiled {
    pub plan: Plan,
    pub conditioning: Option<Conditioning>,
    pub weights: Arc<Weights>,
    pub cost: Cost,
    /// Nodes that tract computed while the graph was read, in its own way on each processor.
    pub inexact: Vec<String>,
}

impl Compiled {
    /// Compiles the network that plays `role` at `extent`.
    ///
    /// # Errors
    /// Name the network's file. `Unsupported`: it cannot be lowered, or names the node that has no kernel; else as
    /// [`Backend::program`].
    pub fn new(bundle: &Bundle, role: Role, extent: Extent, allowance: &Allowance) -> Result<Self> {
        let import = |batch| Graph::import_within(bundle, role, Extent { batch, ..extent }, allowance);
        let graph = import(extent.batch)?;
        let compile = || {
            graph.check_output()?;
            let parted = Parted::new(&graph)?;
            let conditioning =
                parted.split.as_ref().map(|cut| cut.conditioning(&import)).transpose()?.flatten();
            let plan = parted.body(&graph, conditioning.is_some())?;
            for plan in [Some(&plan), conditioning.as_ref().map(|part| &part.plan)].into_iter().flatten() {
                plan.check_own()?;
            }
            Ok((plan, conditioning))
        };
        let (plan, conditioning) = in_flowturbo(compile).at(|| graph.file.clone())?;
        let (weights, inexact) = (Arc::clone(&graph.weights), graph.inexact.clone());
        Ok(Self { plan, conditioning, weights, inexact, cost: graph.cost()? })
    }
}

/// A graph as a net, and where it parts.
struct Parted {
    net: Net,
    split: Option<Cut>,
}

/// Where a net parts, and its inputs on either side.
struct Cut {
    split: Split,
    /// The inputs that times and classes say nothing of.
    state: Vec<usize>,
    ports: Ports,
}

impl Parted {
    fn new(graph: &Graph) -> Result<Self> {
        let net = import(graph)?;
        let split = match ports(&graph.contract) {
            Some((state, ports)) => net.split(&state)?.map(|split| Cut { split, state, ports }),
            None => None,
        };
        Ok(Self { net, split })
    }

    /// The plan of all that is not `conditioned` beforehand.
    fn body(self, graph: &Graph, conditioned: bool) -> Result<Plan> {
        match self.split.filter(|_| conditioned) {
            Some(Cut { split, .. }) => lower(&self.net.body(&split), graph, Some(&split.layout)),
            None => lower(&self.net, graph, None),
        }
    }
}

impl Cut {
    /// The conditioning part, which is the same for each batch size of a network; none if it is not.
    fn conditioning(&self, again: &dyn Fn(usize) -> Result<Graph>) -> Result<Option<Conditioning>> {
        // The same network for more rows, if limits let it, so that a request's conditions are computed together.
        let wide = match again(ROWS) {
            Ok(wide) => wide,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Cancelled | ErrorKind::OutOfMemory | ErrorKind::Io | ErrorKind::Runtime
                ) =>
            {
                return Err(error);
            }
            Err(_) => again(self.split.layout.images)?,
        };
        let net = import(&wide)?;
        let Some(split) =
            net.split(&self.state)?.filter(|split| split.layout.has_same_places(&self.split.layout))
        else {
            return Ok(None);
        };
        let layout = split.layout.clone();
        let plan = lower(&net.conditioning(split), &wide, Some(&layout))?;
        Ok(Some(Conditioning { plan, layout, ports: self.ports, weights: Arc::clone(&wide.weights) }))
    }
}

/// tract's typed graph as a net.
fn import(graph: &Graph) -> Result<Net> {
    Net::import(&graph.model, graph.contract.inputs.len(), &graph.allowance)
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

    fn rows(&self, input: usize) -> Option<usize> {
        self.program.rows(input)
    }

    fn instantiate(self: Arc<Self>, cancel: &CancelToken) -> Result<Box<dyn Instance>> {
        Arc::clone(&self.program).instantiate(cancel)
    }
}

#[cfg(test)]
mod tests;
