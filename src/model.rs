//! A bundle planned for this machine: immutable, cheap to clone, shared by any number of sessions.

#![forbid(unsafe_code)]

mod backend;
mod device;
mod options;
mod programs;
mod prompts;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::allowance::Allowance;
use crate::backend::{Backend, Program};
use crate::bundle::{Bundle, Extent, Manifest, Role};
use crate::contract::Contract;
use crate::error::invalid_argument;
#[cfg(feature = "compile")]
use crate::executor::Conditions;
use crate::kernels::{DefaultFloats, Process};
use crate::lock::lock;
use crate::precision::Precision;
use crate::request::{check_batch, per_call};
use crate::sampler::guidance::{parts, refiner_parts};
use crate::sampler::style;
use crate::text::Texts;
use crate::{
    CancelToken, Cost, Device, Error, ErrorKind, Fallback, Output, Request, Result, Session, memory,
};
pub use device::devices;
pub use options::{BackendKind, ModelOptions};
use programs::Programs;

/// A bundle planned for this machine.
///
/// Clones share everything. Networks are planned for a batch size when a request first needs it, and
/// the last two sizes of each are kept, with those that sessions hold; they share their packed weights. Loading plans
/// the predictor, the refiner and the decoder for [`ModelOptions::batch`] images with the bundle's own guidance, which
/// also proves them sound.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    bundle: Bundle,
    backend: Arc<dyn Backend>,
    device: Device,
    programs: Mutex<Programs>,
    /// The networks whose files were found right.
    checked: Mutex<Vec<Role>>,
    texts: Texts,
    /// That has the threads, and whoever holds a lock.
    process: Process,
}

impl Drop for Inner {
    /// Nothing of the networks is freed in a forked child: another thread of the parent may have been changing it.
    fn drop(&mut self) {
        if !self.process.is_this() {
            std::mem::forget(std::mem::take(&mut self.programs));
            std::mem::forget(Arc::clone(&self.backend));
        }
    }
}

/// Bytes that a request takes, see [`Model::prepare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// What the model holds: packed weights, and the conditions computed so far. Shared by all its sessions.
    pub model: usize,
    /// What a session will hold once it has run the request.
    pub session: usize,
    /// What is taken for a moment besides, when times, classes or contexts are new.
    pub passing: usize,
}

impl Model {
    /// Opens and loads the bundle at `path`, a folder, a zip file or a plan, with default options.
    ///
    /// # Errors
    /// See [`Bundle::open`] and [`load`](Self::load).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::load(Bundle::open(path)?, &ModelOptions::default())
    }

    /// Plans `bundle` for this machine.
    ///
    /// # Errors
    /// [`InvalidBundle`](crate::ErrorKind::InvalidBundle) names the file and what is wrong: a wrong hash, a
    /// damaged graph, shapes that contradict the manifest, a default schedule that cannot run.
    /// [`NonFinite`](crate::ErrorKind::NonFinite): NaN among the weights.
    /// [`Unsupported`](crate::ErrorKind::Unsupported): an operator that tract lacks.
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded): a network above the bundle's limits.
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory): the system refuses memory.
    /// [`Cancelled`](crate::ErrorKind::Cancelled): by [`ModelOptions::cancel`].
    /// [`Runtime`](crate::ErrorKind::Runtime): the system refuses threads that were asked for by their number.
    pub fn load(bundle: Bundle, options: &ModelOptions) -> Result<Self> {
        let _default = DefaultFloats::enter();
        memory::spare()?;
        check_batch(options.batch, bundle.limits())?;
        let (backend, device) = backend::of(&bundle, options)?;
        if options.release_conditioning {
            backend.release_conditioning();
        }
        let model = Self(Arc::new(Inner {
            bundle,
            backend: backend.into(),
            device,
            programs: Mutex::default(),
            checked: Mutex::default(),
            texts: Texts::default(),
            process: Process::this(),
        }));
        let (manifest, guidance) = (model.manifest(), model.manifest().sampling.guidance);
        let (parts, of_refiner) = (parts(guidance, false), refiner_parts(manifest, guidance, false));
        let refiner = manifest.has(Role::Refiner).then_some(of_refiner);
        let images = per_call(model.bundle(), options.batch.max(1), parts, refiner)?;
        let eager =
            [(Role::Predictor, images * parts), (Role::Refiner, images * of_refiner), (Role::Decoder, 1)];
        for (role, batch) in eager.into_iter().filter(|&(role, _)| manifest.has(role)) {
            model.program(role, manifest.extent(batch), &options.cancel)?;
        }
        if cfg!(feature = "text") && manifest.has(Role::Text) {
            model.tokenizer(&options.cancel)?;
        }
        Ok(model)
    }

    /// What the bundle says of itself.
    pub fn manifest(&self) -> &Manifest {
        self.0.bundle.manifest()
    }

    /// The bundle that this model was loaded from.
    pub fn bundle(&self) -> &Bundle {
        &self.0.bundle
    }

    /// In what numbers predictor, refiner and decoder multiply: what was asked for, what a plan was packed in, or what
    /// [`Precision::Auto`] came to.
    pub fn precision(&self) -> Precision {
        self.0.backend.precision()
    }

    /// Where networks are computed: what was asked for, or what [`Device::Auto`] took.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// Threads that one network call uses; on another device than the processor only what times, classes and pooled
    /// contexts alone decide.
    pub fn threads(&self) -> usize {
        self.0.backend.threads()
    }

    /// The number of the class called `name`: its label or one of the synonyms between its commas, in any case, or the
    /// number itself; see [`Classes::find`](crate::manifest::Classes::find).
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) lists the numbers of several classes that it may mean;
    /// names the nearest label and lists the others if it means none.
    pub fn class(&self, name: &str) -> Result<i64> {
        self.manifest().classes.find(name)
    }

    /// Gives up the memory of the weights that only a network's conditioning uses: the embeddings of time and
    /// class, and the projections from them, a third of a SiT.
    ///
    /// Times, classes and pooled contexts that were asked for (or [prepared](Session::prepare)) before stay computed.
    /// New ones read those weights again, a layer at a time, and keep none of them: the first request with another
    /// class, context or schedule takes as long as loading a third of the network, and the files must be as they
    /// were: their hashes are not checked again. Nothing else changes.
    pub fn release_conditioning(&self) {
        if self.0.process.is_this() {
            self.0.backend.release_conditioning();
        }
    }

    /// Room for one generation at a time; make one for each thread that generates.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// The tensors of a network at a batch size: names, types and shapes.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the bundle lacks `role`;
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) for a batch of 0 or beyond the bundle's limits.
    pub fn contract(&self, role: Role, batch: usize) -> Result<Contract> {
        Contract::new(self.manifest(), role, self.manifest().extent(batch), self.0.bundle.limits())
    }

    /// Counts what one call of a network costs at a batch size. Imports the graph anew.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the bundle lacks `role`.
    pub fn cost(&self, role: Role, batch: usize) -> Result<Cost> {
        let _default = DefaultFloats::enter();
        self.check_process()?;
        let extent = self.manifest().extent(batch);
        let allowance = self.allowance(&CancelToken::new());
        let count = || self.0.backend.cost(&self.0.bundle, role, extent, &allowance);
        self.checked(role, &allowance, count)
    }

    /// Plans the networks that `request` needs, and tells what memory it will take before any is taken for it.
    ///
    /// Networks that are left to plain tract ([`fallbacks`](Self::fallbacks)) take more while they run.
    ///
    /// # Errors
    /// As [`Session::generate`], for everything that can be told beforehand.
    pub fn prepare(&self, request: &Request, output: Output) -> Result<Memory> {
        let (resolved, manifest) = (request.resolve(self.bundle())?, self.manifest());
        let call = resolved.call(manifest);
        // Sums of what fits in memory each, but hardly together on a machine of 32 bits.
        let floats_of = |shape: [usize; 4]| shape.iter().map(|&n| n as u64).product::<u64>();
        let (latents, windows) = (floats_of(resolved.shape), floats_of(manifest.latent_shape(call)));
        let mut roles = vec![(Role::Predictor, call)];
        if resolved.schedule.needs_refiner() {
            roles.push((Role::Refiner, resolved.refiner_call(manifest)));
        }
        let one = Extent { batch: 1, ..resolved.extent };
        // The noise, x and x̃, three velocities; the inputs and the answer of a call, as far as they are not lent.
        let beside = resolved.floats().1 as u64;
        let mut floats = latents * 3 + beside * 3 + (latents + beside) * 3 * resolved.parts as u64;
        if resolved.follows {
            let [_, _, height, width] = resolved.shape;
            floats += (height * width + style::scratch(height * width, resolved.windows.area())) as u64;
        }
        let [lends_v, lends_answer] = resolved.lends(manifest);
        floats += windows * (1 + u64::from(!lends_v) + u64::from(!lends_answer));
        if output == Output::Images {
            floats += latents / resolved.extent.batch as u64 + floats_of(resolved.images(manifest)?);
            roles.push((Role::Decoder, one));
        }
        if let Some(text) = &manifest.text {
            // One or one for each image, to go to and to go away from; those of a call.
            let each = [(&request.context, request.prompts.len()), (&request.negative_context, 1)];
            let each = each.map(|(given, prompts)| match given {
                Some(contexts) => contexts.shape().first().map_or(1, |&count| count as u64),
                None => prompts.max(1) as u64,
            });
            floats += (each.iter().sum::<u64>() + call.batch as u64) * text.floats() as u64;
        }
        if resolved.encodes {
            roles.push((Role::Text, manifest.extent(1)));
        }
        if let (Some(init), Some(images)) = (&request.init, manifest.image_shape(resolved.extent)) {
            floats += init.len() as u64 + latents;
            if request.mask.is_some() {
                // One of each pixel, and for each cell whether it stays.
                floats += floats_of(images) / 3 + latents;
            }
            roles.push((Role::Encoder, one));
        }
        let bytes = usize::try_from(floats.saturating_mul(size_of::<f32>() as u64)).unwrap_or(usize::MAX);
        let mut memory = Memory { model: 0, session: bytes, passing: 0 };
        for (role, extent) in roles {
            let of = self.program(role, extent, &request.cancel)?.memory();
            memory.model = memory.model.saturating_add(of.weights);
            memory.session = memory.session.saturating_add(of.instance);
            memory.passing = memory.passing.max(of.passing);
        }
        Ok(memory)
    }

    /// What the networks know of times and classes so far.
    #[cfg(feature = "compile")]
    pub(crate) fn conditions(&self) -> Vec<Arc<Conditions>> {
        self.0.backend.conditions()
    }

    /// Refuses to work in a child that was forked after loading.
    pub(crate) fn check_process(&self) -> Result<()> {
        self.0.process.check()
    }

    /// What red, green and blue of a linear preview are made of.
    ///
    /// # Errors
    /// `InvalidArgument`: the bundle does not say.
    #[doc(hidden)]
    pub fn colours(&self) -> Result<&[Vec<f32>; 3]> {
        let manifest = self.manifest();
        manifest.image.as_ref().and_then(|image| image.preview.as_ref()).ok_or_else(|| {
            invalid_argument(format!(
                "bundle '{}' has no colours for linear previews (image.preview in bundle.json)",
                manifest.name
            ))
        })
    }

    /// What the engine does for one call of a network at a batch size, step by step: the kernel, its
    /// floating-point operations, the memory it reads and writes, the floats of the arena that it writes, and
    /// the ONNX node it came from.
    /// For people; the form may change.
    ///
    /// # Errors
    /// As [`cost`](Self::cost).
    pub fn plan(&self, role: Role, batch: usize) -> Result<String> {
        Ok(self.program(role, self.manifest().extent(batch), &CancelToken::new())?.describe())
    }

    /// What in a network the fused engine has no kernel for, so that plain tract runs it: right, but slower.
    /// Empty for a network that is recognised as a whole.
    ///
    /// # Errors
    /// As [`cost`](Self::cost).
    pub fn fallbacks(&self, role: Role, batch: usize) -> Result<Vec<Fallback>> {
        Ok(self.program(role, self.manifest().extent(batch), &CancelToken::new())?.fallbacks())
    }

    /// What one network may take to plan, from now on.
    fn allowance(&self, cancel: &CancelToken) -> Allowance {
        Allowance::new(self.0.bundle.limits(), cancel)
    }

    /// The program for `role` at `extent`, compiled on first use unless `cancel` ends it.
    pub(crate) fn program(
        &self,
        role: Role,
        extent: Extent,
        cancel: &CancelToken,
    ) -> Result<Arc<dyn Program>> {
        let _default = DefaultFloats::enter();
        self.check_process()?;
        if let Some(program) = self.programs().get(role, extent) {
            return Ok(program);
        }
        // Compiled outside the lock: other sessions go on meanwhile, and of a rare double one is dropped.
        let started = std::time::Instant::now();
        let allowance = self.allowance(cancel);
        let plan = || self.0.backend.program(&self.0.bundle, role, extent, &allowance);
        let plan = || plan().map_err(|error| self.at_its_own_size(role, extent, error));
        let program = self.checked(role, &allowance, plan)?;
        let Extent { batch, cells: [height, width] } = extent;
        log::debug!("planned {role} for {batch} of {height} x {width} cells in {:.2?}", started.elapsed());
        self.programs().put(role, extent, &program);
        Ok(program)
    }

    /// At the size that an ONNX network was made for it may be sound: then the fault is with who asked for another one.
    fn at_its_own_size(&self, role: Role, extent: Extent, error: Error) -> Error {
        let of_the_graph = self.bundle().plan().is_none()
            && matches!(error.kind(), ErrorKind::InvalidBundle | ErrorKind::Unsupported);
        if extent.cells == self.manifest().extent(1).cells || !of_the_graph {
            return error;
        }
        let [rows, columns] = extent.cells;
        invalid_argument(format!(
            "the {role} cannot be planned for {rows} x {columns} cells; it needs to be exported with dynamic height \
             and width: {error}"
        ))
    }

    /// Does `work` on a network's files; when it is the first, their hashes are checked, meanwhile if there
    /// are threads for both. A wrong hash is what is told, whatever a damaged file led to.
    fn checked<T>(&self, role: Role, allowance: &Allowance, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if lock(&self.0.checked).contains(&role) {
            return work();
        }
        let check = || self.0.bundle.check_while(role, || allowance.check());
        let done = if self.threads() == 1 {
            check()?;
            work()?
        } else {
            std::thread::scope(|scope| {
                let thread = std::thread::Builder::new().name("flowturbo-hash".to_owned());
                match thread.spawn_scoped(scope, check) {
                    Ok(check) => {
                        let done = catch_unwind(AssertUnwindSafe(work));
                        check.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                        done.unwrap_or_else(|panic| resume_unwind(panic))
                    }
                    Err(_) => check().and_then(|()| work()),
                }
            })?
        };
        lock(&self.0.checked).push(role);
        Ok(done)
    }

    fn programs(&self) -> MutexGuard<'_, Programs> {
        lock(&self.0.programs)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("bundle", &self.0.bundle).field("threads", &self.threads()).finish()
    }
}
