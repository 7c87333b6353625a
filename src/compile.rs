//! A bundle compiled beforehand: every network that some requests need, in one plan file.

#![forbid(unsafe_code)]

use std::io::Write;

use flowturbo_compile::Compiled;
use ndarray::ArrayD;

use crate::allowance::Allowance;
use crate::bundle::{Bundle, Extent, Role};
use crate::error::{Context, invalid_argument, runtime, unsupported};
use crate::ftplan::{self, Body, Conditions, Network, Stored};
use crate::plan::{Row, RowLayout};
use crate::precision::Precision;
use crate::request::check_batch;
use crate::{CancelToken, Model, ModelOptions, Output, Request, Result, Schedule, Seamless, Target, memory};

/// What a plan is compiled for; the default serves single images of the bundle's own size, of any class and schedule,
/// on any processor.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// How weights are stored.
    pub target: Target,
    /// What weights are packed in, for a target: any but bfloat16. [`Auto`](Precision::Auto) is what was measured, if
    /// that can be packed. A plan of the generic target has none: how it is computed is said when it is opened.
    pub precision: Precision,
    /// Images that are computed in one call of a network, each at least 1; none is 1. Requests of more are computed
    /// by several calls.
    pub batches: Vec<usize>,
    /// Height and width of images, as [`Request::with_size`] takes them; none is the bundle's own.
    pub sizes: Vec<[usize; 2]>,
    /// Classes whose conditioning is computed now, with that of no class: the plan serves these alone, by
    /// [`schedules`](Self::schedules), and is without the weights that compute it, a third of a SiT. Of pooled contexts
    /// it then knows that of no prompt alone. None: any class.
    pub classes: Vec<i64>,
    /// Schedules for [`classes`](Self::classes). None: the bundle's own and those of its presets.
    pub schedules: Vec<Schedule>,
    /// Stops the compiling from another thread.
    pub cancel: CancelToken,
}

impl PlanOptions {
    /// These options with another target.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// These options with weights packed in other numbers.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// These options with other numbers of images.
    #[must_use]
    pub fn with_batches(mut self, batches: Vec<usize>) -> Self {
        self.batches = batches;
        self
    }

    /// These options with other sizes.
    #[must_use]
    pub fn with_sizes(mut self, sizes: Vec<[usize; 2]>) -> Self {
        self.sizes = sizes;
        self
    }

    /// These options with the conditioning of some classes computed beforehand.
    #[must_use]
    pub fn with_classes(mut self, classes: Vec<i64>) -> Self {
        self.classes = classes;
        self
    }

    /// These options with the schedules that classes are computed beforehand for.
    #[must_use]
    pub fn with_schedules(mut self, schedules: Vec<Schedule>) -> Self {
        self.schedules = schedules;
        self
    }

    /// These options with a token that stops the compiling.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Requests that between them ask for every network at every extent.
    fn requests(&self, bundle: &Bundle) -> Vec<Request> {
        let guidances: &[f32] = if bundle.manifest().can_be_guided() { &[1.0, 2.0] } else { &[1.0] };
        let contexts = || {
            let shape = bundle.manifest().context_shape()?;
            Some(ArrayD::zeros([vec![1], shape].concat()))
        };
        let batches = if self.batches.is_empty() { &[1][..] } else { &self.batches };
        let sizes = self.sizes.iter().copied().map(Some);
        let sizes: Vec<_> = if self.sizes.is_empty() { vec![None] } else { sizes.collect() };
        let mut requests = Vec::new();
        for &batch in batches {
            for &size in &sizes {
                for seamless in [Seamless::None, Seamless::X, Seamless::Y, Seamless::Both] {
                    for &guidance in guidances {
                        let plain =
                            Request::new(vec![0; batch]).with_guidance(guidance).with_seamless(seamless);
                        let plain = match size {
                            Some([height, width]) => plain.with_size(height, width),
                            None => plain,
                        };
                        let plain = Request { context: contexts(), negative_context: contexts(), ..plain };
                        let morphed = (0..batch).fold(plain.clone(), |request, _| request.with_morph(0, 0.5));
                        requests.extend([plain, morphed]);
                    }
                }
            }
        }
        requests
    }

    /// What the networks are asked for by such requests, in order, each extent once.
    fn extents(&self, bundle: &Bundle) -> Result<Vec<(Role, Vec<Extent>)>> {
        let manifest = bundle.manifest();
        let mut extents: Vec<(Role, Vec<Extent>)> = Vec::new();
        let has = |role: &&Role| manifest.has(**role);
        extents.extend(Role::ALL.iter().filter(has).map(|&role| (role, Vec::new())));
        for request in self.requests(bundle) {
            let resolved = request.resolve(bundle)?;
            for (role, known) in &mut extents {
                let extent = match role {
                    Role::Predictor => resolved.call(manifest),
                    Role::Refiner => resolved.refiner_call(manifest),
                    Role::Text => manifest.extent(1),
                    _ => Extent { batch: 1, ..resolved.extent },
                };
                if !known.contains(&extent) {
                    known.push(extent);
                }
            }
        }
        Ok(extents)
    }

    /// The schedules that classes are computed beforehand for.
    fn baked_schedules(&self, bundle: &Bundle) -> Vec<Schedule> {
        if !self.schedules.is_empty() {
            return self.schedules.clone();
        }
        let presets = bundle.presets().values().map(|preset| preset.schedule.clone());
        std::iter::once(bundle.schedule().clone()).chain(presets).collect()
    }
}

/// Compiles `bundle` to a plan file, which [`Bundle::open`] opens: a model of it gives the same images, without ONNX
/// and without a compiler.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) and [`LimitExceeded`](crate::ErrorKind::LimitExceeded): as
/// [`Request::check`] of a request with such a batch, size, class or schedule.
/// [`Unsupported`](crate::ErrorKind::Unsupported): names a node that has no kernel, which only the compiler could run;
/// `bundle` is a plan already. [`Io`](crate::ErrorKind::Io): `out` cannot be written. Else as [`Model::load`]. What is
/// written after an error is of no use.
pub fn compile(bundle: Bundle, options: &PlanOptions, out: impl Write) -> Result<()> {
    bundle.check_onnx()?;
    let (mut precision, target) = (options.precision, options.target);
    if precision == Precision::Auto {
        // What nothing is packed in is for whoever opens the plan: its manifest still says what was measured.
        precision = bundle.measured().filter(|measured| measured.packs(target)).unwrap_or_default();
        match bundle.measured().filter(|&measured| measured != precision && target != Target::Generic) {
            Some(measured) => log::warn!(
                "precision: auto is {precision} for {target}: {measured}, which was measured, is not packed for it, \
                 not all of its processors have it"
            ),
            None => log::info!("precision: auto is {precision} for {target}"),
        }
    }
    if !precision.packs(target) {
        return Err(invalid_argument(match target {
            Target::Generic => format!(
                "precision: a plan for {target} packs nothing, and is computed in what whoever opens it asks for; \
                 leave {precision} out, or name a target"
            ),
            _ => format!(
                "precision: {precision} is not packed for {target}, not all of its processors have it"
            ),
        }));
    }
    options.batches.iter().try_for_each(|&batch| check_batch(batch, bundle.limits()))?;
    let extents = options.extents(&bundle)?;
    for class in &options.classes {
        Request::new(vec![*class]).check(&bundle)?;
    }
    let model = Model::load(bundle, &ModelOptions::default().with_cancel(options.cancel.clone()))?;
    if !options.classes.is_empty() {
        bake(&model, options)?;
    }
    let networks = extents.into_iter().map(|(role, extents)| network(&model, role, &extents, options));
    let networks = networks.collect::<Result<Vec<_>>>()?;
    let bundle = model.bundle();
    let tokenizer = bundle.manifest().has(Role::Text).then(|| bundle.tokenizer()).transpose()?;
    ftplan::write(out, bundle.json(), tokenizer.as_deref(), networks, target, precision)
}

/// Computes what depends on the classes and on the schedules' times, as requests do.
fn bake(model: &Model, options: &PlanOptions) -> Result<()> {
    let guided = if model.manifest().can_be_guided() { 2.0 } else { 1.0 };
    model.conditions().iter().for_each(|conditions| conditions.limit(usize::MAX));
    let mut session = model.session();
    for schedule in options.baked_schedules(model.bundle()) {
        for &class in &options.classes {
            let request = Request::new(vec![class]).with_schedule(schedule.clone()).with_guidance(guided);
            session.prepare(&request.with_cancel(options.cancel.clone()), Output::Latents)?;
        }
    }
    Ok(())
}

/// Compiles one network for all its extents.
fn network(model: &Model, role: Role, extents: &[Extent], options: &PlanOptions) -> Result<Network> {
    let bundle = model.bundle();
    let file = bundle.manifest().file(role);
    let (mut stored, mut weights) =
        (Stored { weights: Vec::new(), conditions: None, bodies: Vec::new() }, None);
    let mut layout = None;
    for extent in extents {
        let allowance = Allowance::new(bundle.limits(), &options.cancel);
        let compiled = Compiled::new(bundle, role, *extent, &allowance)?;
        if let Some(part) = compiled.conditioning {
            let known = layout.get_or_insert_with(|| part.layout.clone());
            if !known.has_same_places(&part.layout) {
                return Err(unsupported("its conditioning is another one at another batch size"))
                    .at(|| file.into());
            }
            if stored.conditions.is_none() {
                let baked = baked(model, file, &part.layout, options)?;
                let (layout, ports) = (part.layout, part.ports);
                stored.conditions = Some(match baked {
                    Some(rows) => Conditions::Baked { rows, layout, ports },
                    None => Conditions::Computed { plan: part.plan, layout, ports },
                });
            }
        }
        let Compiled { plan, cost, inexact, .. } = compiled;
        let body = Body { batch: extent.batch, cells: extent.cells, plan, cost, inexact };
        memory::push(&mut stored.bodies, body)?;
        weights.get_or_insert(compiled.weights);
    }
    let weights = weights.ok_or_else(|| runtime("a network without a size to compile it for"))?;
    Ok(Network { role, stored, weights })
}

/// The rows that were computed beforehand, in the order of their classes and times; none if there are to be none.
fn baked(model: &Model, file: &str, layout: &RowLayout, options: &PlanOptions) -> Result<Option<Vec<Row>>> {
    if options.classes.is_empty() {
        return Ok(None);
    }
    let conditions = model.conditions();
    let mut conditions = conditions.iter();
    let of_it =
        conditions.find(|conditions| conditions.file == file && conditions.layout.has_same_places(layout));
    let known = of_it.map(|conditions| conditions.known()).transpose()?;
    let mut rows = known.filter(|rows| !rows.is_empty()).ok_or_else(|| {
        unsupported("none of the schedules asks for it, so there is nothing to compute beforehand").at(file)
    })?;
    rows.sort_by(|a, b| a.class.cmp(&b.class).then(a.time.total_cmp(&b.time)));
    Ok(Some(rows))
}
