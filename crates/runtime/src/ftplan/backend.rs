//! Networks out of a plan file: the backend that needs no compiler.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::PlanFile;
use super::format::Kind;
use super::network::{Body, Conditions as StoredConditions, Form, Stored};
use crate::allowance::Allowance;
use crate::backend::{Backend, Fallback, Footprint, Instance, Program};
use crate::bundle::{Bundle, Extent, ListedFile, Role};
use crate::contract::Contract;
use crate::engine::{Conditioning, Engine, Network};
use crate::error::{Context, invalid_bundle, unsupported};
use crate::executor::Conditions;
use crate::panics::in_flowturbo;
use crate::plan::{Step, Target};
use crate::precision::Precision;
use crate::weights::{Weight, Weights};
use crate::{CancelToken, Cost, ErrorKind, Result};

/// Loads networks from a plan file.
pub struct Planned {
    file: Arc<PlanFile>,
    engine: Arc<Engine>,
    /// Holds programs to the same bits everywhere: what tract computed while they were compiled is refused.
    deterministic: bool,
}

impl Planned {
    pub fn new(file: &Arc<PlanFile>, engine: Engine, deterministic: bool) -> Self {
        Self { file: Arc::clone(file), engine: Arc::new(engine), deterministic }
    }

    /// The plans of `role`, and among them the body for `extent`.
    fn body(&self, bundle: &Bundle, role: Role, extent: Extent) -> Result<(Stored, Body)> {
        let contract = Contract::new(bundle.manifest(), role, extent, bundle.limits())?;
        let mut stored = self.file.network(role)?;
        self.file.note_extents(role, &stored);
        match stored.take(extent, &contract)? {
            Ok(body) => Ok((stored, body)),
            Err(planned) => {
                let shown = |extent: Extent| {
                    let Extent { batch, cells: [height, width] } = extent;
                    format!("{batch} of {height} x {width} cells")
                };
                let planned: Vec<String> = planned.into_iter().map(shown).collect();
                Err(unsupported(format!(
                    "{} in one call were not planned; planned are {} (flowturbo compile --batch --size)",
                    shown(extent),
                    planned.join(", ")
                )))
            }
        }
    }

    fn load(
        &self,
        bundle: &Bundle,
        role: Role,
        extent: Extent,
        allowance: &Allowance,
    ) -> Result<PlannedProgram> {
        let (stored, body) = self.body(bundle, role, extent)?;
        if let (Some(first), true) = (body.inexact.first(), self.deterministic) {
            return Err(unsupported(format!(
                "{first} was computed by tract, whose last bits differ between processors; a deterministic model \
                 cannot have it"
            )));
        }
        allowance.check()?;
        // Where weights are packed while loading, they are read now, and so are tables and the kernels of most
        // convolutions; else when a session first uses them.
        let reads = |step: &Step| step.operation.reads_weights();
        if self.file.target() == Target::Generic || body.plan.steps.iter().any(reads) {
            self.file.check_weights(role, self.engine.parallel(), &|| allowance.check())?;
        }
        let weights = Arc::new(self.weights(&stored, role, allowance)?);
        let file = bundle.manifest().file(role);
        let conditions = match (stored.conditions, body.plan.given) {
            (Some(conditions), Some(_)) => {
                let contract = Contract::new(bundle.manifest(), role, extent, bundle.limits())?;
                Some(self.conditions(file, conditions, &contract, &weights, allowance)?)
            }
            _ => None,
        };
        let network = Network {
            file,
            precision: self.engine.precision().of(role),
            plan: body.plan,
            weights: &weights,
            allowance,
        };
        let program = self.engine.program(network, conditions)?;
        Ok(PlannedProgram { program, file: Arc::clone(&self.file), engine: Arc::clone(&self.engine), role })
    }

    fn conditions(
        &self,
        file: &str,
        stored: StoredConditions,
        contract: &Contract,
        weights: &Arc<Weights>,
        allowance: &Allowance,
    ) -> Result<Arc<Conditions>> {
        let (StoredConditions::Computed { layout, .. } | StoredConditions::Baked { layout, .. }) = &stored;
        let known = self.engine.conditions(file, &layout.clone(), || {
            let made = match stored {
                StoredConditions::Computed { plan, layout, ports } => {
                    let ports = ports.completed(contract)?;
                    let part = Conditioning { plan, layout, ports, weights: Arc::clone(weights) };
                    self.engine.computed(file, part, allowance)
                }
                StoredConditions::Baked { rows, layout, ports } => {
                    Conditions::baked(file, &rows, ports.completed(contract)?, layout)
                }
            };
            made.map(Some)
        });
        known?.ok_or_else(|| invalid_bundle("has no conditions"))
    }

    /// What the plans' numbers of weights mean.
    fn weights(&self, stored: &Stored, role: Role, allowance: &Allowance) -> Result<Weights> {
        let section = self.file.section(Kind::Weights(role))?;
        allowance.weights(section.len())?;
        let source = Arc::clone(&self.file) as Arc<dyn crate::bundle::Source>;
        let file = ListedFile::of(source, &section.kind.to_string(), section.len());
        let mut weights = Weights::default();
        for weight in &stored.weights {
            let part =
                file.part(weight.offset, Some(weight.length)).at(|| format!("weight '{}'", weight.name))?;
            let place = self.file.map.as_ref().map(|map| (map, section.bytes.start + weight.offset));
            weights.push(match &weight.form {
                Form::Numbers(encoding) => Weight::of(&weight.name, *encoding, &weight.shape, part)?,
                Form::Scaled(scales) => {
                    Weight::scaled(&weight.name, Arc::clone(scales), &weight.shape, part)?
                }
                Form::Panels(format) => Weight::packed(&weight.name, *format, part, place),
            });
        }
        Ok(weights)
    }
}

impl Backend for Planned {
    fn program(
        &self,
        bundle: &Bundle,
        role: Role,
        extent: Extent,
        allowance: &Allowance,
    ) -> Result<Arc<dyn Program>> {
        let load = || self.load(bundle, role, extent, allowance);
        let program = in_flowturbo(load).map_err(|error| match error.kind() {
            // The plan is not ours to answer for: it may say anything. A device's failures are its own.
            ErrorKind::Runtime if error.is_bug() || !self.engine.has_runner() => {
                error.of_what_was_read(ErrorKind::InvalidBundle, "the plan makes no sense")
            }
            _ => error,
        });
        Ok(Arc::new(program.at(|| role.to_string()).at(|| self.file.describe().to_owned())?))
    }

    fn cost(&self, bundle: &Bundle, role: Role, extent: Extent, _: &Allowance) -> Result<Cost> {
        let body = self.body(bundle, role, extent).at(|| role.to_string());
        Ok(body.at(|| self.file.describe().to_owned())?.1.cost)
    }

    fn threads(&self) -> usize {
        self.engine.threads()
    }

    fn precision(&self) -> Precision {
        self.engine.precision()
    }

    fn release_conditioning(&self) {
        self.engine.release_conditioning();
    }
}

/// A network whose weights may not have been held against their hash yet.
struct PlannedProgram {
    program: Arc<dyn Program>,
    file: Arc<PlanFile>,
    engine: Arc<Engine>,
    role: Role,
}

impl Program for PlannedProgram {
    fn instantiate(self: Arc<Self>, cancel: &CancelToken) -> Result<Box<dyn Instance>> {
        let checked = self.file.check_weights(self.role, self.engine.parallel(), &|| cancel.check());
        checked.at(|| self.file.describe().to_owned())?;
        Arc::clone(&self.program).instantiate(cancel)
    }

    fn rows(&self, input: usize) -> Option<usize> {
        self.program.rows(input)
    }

    fn memory(&self) -> Footprint {
        self.program.memory()
    }

    fn describe(&self) -> String {
        self.program.describe()
    }

    fn fallbacks(&self) -> Vec<Fallback> {
        self.program.fallbacks()
    }
}
