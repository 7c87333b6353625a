//! Which backend computes a bundle's networks, on which device and threads.

use std::sync::Arc;

use super::{ModelOptions, device};
use crate::backend::Backend;
use crate::bundle::Bundle;
use crate::engine::{Engine, Runner};
use crate::error::{invalid_argument, runtime, unsupported};
use crate::ftplan::Planned;
use crate::kernels::{Isa, Parallel, Pool};
use crate::plan::Target;
use crate::precision::Precision;
use crate::{Device, Result};

/// The most threads that a model may be given.
const MAX_THREADS: usize = 1024;

/// The backend of a bundle, or of a plan, with its threads, and the device that it computes on.
///
/// # Errors
/// See [`Model::load`](crate::Model::load).
pub(super) fn of(bundle: &Bundle, options: &ModelOptions) -> Result<(Box<dyn Backend>, Device)> {
    let threads = threads(options)?;
    let packed = bundle.plan().map(|plan| plan.target()).filter(|&target| target != Target::Generic);
    let (device, runner) = device::runner(options, packed)?;
    Ok((chosen(bundle, options, threads, runner)?, device))
}

fn chosen(
    bundle: &Bundle,
    options: &ModelOptions,
    threads: usize,
    runner: Option<Arc<dyn Runner>>,
) -> Result<Box<dyn Backend>> {
    let Some(plan) = bundle.plan() else { return onnx(bundle, options, threads, runner) };
    if options.backend.is_reference() {
        bundle.check_onnx()?;
    }
    let isa = plan.isa(&sets(options))?;
    let (target, asked, packed) = (plan.target(), options.precision, plan.precision());
    let precision = match (target, asked) {
        (Target::Generic, _) => taken(bundle, options, isa, runner.is_some()),
        (_, Precision::F32 | Precision::Auto) => packed,
        (_, asked) if asked == packed => packed,
        _ => {
            let other =
                if asked.packs(target) { format!("--precision {asked}, or with ") } else { String::new() };
            let error = unsupported(format!(
                "precision: {asked} asked for, but the plan's weights are packed as {packed} for {target}; compile it \
                 with {other}--target generic"
            ));
            return Err(error.at(plan.describe().to_owned()));
        }
    };
    let engine = engine(isa, options, threads, runner, precision)?;
    Ok(Box::new(Planned::new(plan, engine, options.deterministic)))
}

/// The backend of an ONNX bundle.
#[cfg(feature = "compile")]
fn onnx(
    bundle: &Bundle,
    options: &ModelOptions,
    threads: usize,
    runner: Option<Arc<dyn Runner>>,
) -> Result<Box<dyn Backend>> {
    use flowturbo_compile::{Fused, Reference};

    let reference = match (&options.parallel, options.threads) {
        (Some(_), _) => Reference::new(1),
        (None, 0) => Reference::up_to(threads),
        (None, threads) => Reference::new(threads),
    };
    if options.backend.is_reference() {
        return match (options.deterministic, options.precision) {
            (true, _) => Err(invalid_argument("deterministic: plain tract is not; take the fused backend")),
            (_, Precision::F32 | Precision::Auto) => Ok(Box::new(reference)),
            (_, other) => Err(invalid_argument(format!(
                "precision: {other} asked for, plain tract computes in f32; take the fused backend"
            ))),
        };
    }
    let isa = sets(options)[0];
    let precision = taken(bundle, options, isa, runner.is_some());
    let engine = engine(isa, options, threads, runner, precision)?;
    Ok(Box::new(Fused::new(engine, options.deterministic, reference)))
}

#[cfg(not(feature = "compile"))]
fn onnx(bundle: &Bundle, _: &ModelOptions, _: usize, _: Option<Arc<dyn Runner>>) -> Result<Box<dyn Backend>> {
    let error = crate::error::unsupported(
        "is a bundle of ONNX networks, which this build has no compiler for; a build that has one makes a plan of it: \
         flowturbo compile -m BUNDLE -o x.ftplan",
    );
    Err(error.at(bundle.describe()))
}

/// What is computed in: `auto` is what was measured for processors.
fn taken(bundle: &Bundle, options: &ModelOptions, isa: Isa, on_device: bool) -> Precision {
    if on_device && options.precision == Precision::Auto {
        log::info!("precision: auto is f32 on a GPU, flowturbo tune measures processors alone");
        return Precision::F32;
    }
    options.precision.taken(bundle.measured(), isa, options.deterministic)
}

/// The instruction sets to choose from, best first.
fn sets(options: &ModelOptions) -> Vec<Isa> {
    if options.deterministic { Isa::portable() } else { Isa::available() }
}

/// Threads of one run.
fn threads(options: &ModelOptions) -> Result<usize> {
    let threads = match (&options.parallel, options.threads) {
        (Some(parallel), _) => parallel.lanes(),
        (None, 0) => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
        (None, threads) => threads,
    };
    if (1..=MAX_THREADS).contains(&threads) {
        return Ok(threads);
    }
    let name = if options.parallel.is_some() { "lanes" } else { "threads" };
    Err(invalid_argument(format!("{name}: {threads} asked for, 1 to {MAX_THREADS} make sense")))
}

/// What loads plans: for `runner` if there is one, else for `isa`.
fn engine(
    isa: Isa,
    options: &ModelOptions,
    threads: usize,
    runner: Option<Arc<dyn Runner>>,
    precision: Precision,
) -> Result<Engine> {
    let engine = on_threads(isa, options, threads)?;
    match runner {
        Some(runner) => Ok(engine.with_runner(runner, precision)),
        None => engine.with_precision(precision, options.deterministic),
    }
}

fn on_threads(isa: Isa, options: &ModelOptions, threads: usize) -> Result<Engine> {
    if let Some(parallel) = &options.parallel {
        return Ok(Engine::new(isa, Arc::clone(parallel)).lent());
    }
    let pool = if options.threads == 0 {
        let (pool, refused) = Pool::up_to(threads);
        if let Some(refused) = refused {
            let lanes = pool.lanes();
            log::warn!("{lanes} threads instead of {threads}: the system refuses another one: {refused}");
        }
        pool
    } else {
        Pool::new(threads).map_err(|refused| {
            runtime(format!(
                "threads: {threads} asked for, the system refuses one: {refused}; ask for fewer, or for 0, which takes \
                 what there is"
            ))
        })?
    };
    Ok(Engine::new(isa, Arc::new(pool)))
}
