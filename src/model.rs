//! A bundle planned for this machine: immutable, cheap to clone, shared by any number of sessions.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, Program, Reference};
use crate::bundle::manifest::Classes;
use crate::bundle::{Bundle, Manifest, Role};
use crate::error::invalid_argument;
use crate::graph::{Cost, Graph};
use crate::{ErrorKind, Result, Session};

/// How a model is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelOptions {
    /// Threads of the model's own pool; 0 takes one for each processor this process may use.
    pub threads: usize,
}

impl ModelOptions {
    /// These options with another thread count.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}

/// A bundle planned for this machine.
///
/// Clones share everything. Networks are planned for a batch size when a request first needs it, and
/// kept; each size keeps its own packed weights, so few sizes mean little memory. Loading plans for
/// one image with the bundle's own guidance, which also proves the graphs sound.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    bundle: Bundle,
    backend: Box<dyn Backend>,
    programs: Mutex<HashMap<(Role, usize), Arc<dyn Program>>>,
}

/// The most threads that a model may be given.
const MAX_THREADS: usize = 1024;

impl Model {
    /// Opens and loads the bundle at `path`, a folder or a zip file, with default options.
    ///
    /// # Errors
    /// See [`Bundle::open`] and [`load`](Self::load).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::load(Bundle::open(path)?, &ModelOptions::default())
    }

    /// Plans `bundle` for this machine.
    ///
    /// # Errors
    /// [`InvalidBundle`](ErrorKind::InvalidBundle) names the file and what is wrong: a wrong hash, a
    /// damaged graph, shapes that contradict the manifest, a default schedule that cannot run.
    /// [`NonFinite`](ErrorKind::NonFinite): NaN among the weights.
    /// [`Unsupported`](ErrorKind::Unsupported): an operator that tract lacks.
    pub fn load(bundle: Bundle, options: &ModelOptions) -> Result<Self> {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n if n > MAX_THREADS => {
                return Err(invalid_argument(format!(
                    "threads: {n} asked for, at most {MAX_THREADS} make sense"
                )));
            }
            n => n,
        };
        let backend = Box::new(Reference::new(threads)?);
        let model = Self(Arc::new(Inner { bundle, backend, programs: Mutex::default() }));
        let manifest = model.manifest();
        let doubled = if manifest.sampling.guidance == 1.0 { 1 } else { 2 };
        let eager = [(Role::Predictor, doubled), (Role::Refiner, doubled), (Role::Decoder, 1)];
        for (role, batch) in eager.into_iter().filter(|&(role, _)| manifest.has(role)) {
            model.program(role, batch)?;
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

    /// Threads that one network call uses.
    pub fn threads(&self) -> usize {
        self.0.backend.threads()
    }

    /// The number of the class called `name`: a label (any case), or the number itself.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) names the nearest label and lists the others.
    pub fn class(&self, name: &str) -> Result<i64> {
        self.manifest().classes.find(name)
    }

    /// Room for one generation at a time; make one for each thread that generates.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// Counts what one call of a network costs at a batch size. Imports the graph anew.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`InvalidArgument`](ErrorKind::InvalidArgument) if the bundle lacks `role`.
    pub fn cost(&self, role: Role, batch: usize) -> Result<Cost> {
        Ok(Graph::import(&self.0.bundle, role, batch)?.cost())
    }

    /// The program for `role` at `batch`, compiled on first use.
    pub(crate) fn program(&self, role: Role, batch: usize) -> Result<Arc<dyn Program>> {
        if let Some(program) = self.programs().get(&(role, batch)) {
            return Ok(Arc::clone(program));
        }
        // Compiled outside the lock: other sessions go on meanwhile, and a rare double is dropped.
        let started = std::time::Instant::now();
        let program = self.0.backend.compile(Graph::import(&self.0.bundle, role, batch)?)?;
        log::debug!("planned {role} for a batch of {batch} in {:.2?}", started.elapsed());
        Ok(Arc::clone(self.programs().entry((role, batch)).or_insert(program)))
    }

    /// A panic while the map is locked leaves it whole: entries only ever come in complete.
    fn programs(&self) -> MutexGuard<'_, HashMap<(Role, usize), Arc<dyn Program>>> {
        self.0.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("bundle", &self.0.bundle).field("threads", &self.threads()).finish()
    }
}

impl Classes {
    /// The number of the class called `name`: a label (any case), or the number itself.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) names the nearest label and lists the others.
    pub fn find(&self, name: &str) -> Result<i64> {
        let labels = self.labels.as_deref().unwrap_or_default();
        if let Some(found) = labels.iter().position(|label| label.eq_ignore_ascii_case(name)) {
            return Ok(found as i64);
        }
        if let Ok(number) = name.parse::<i64>()
            && ((0..i64::from(self.count)).contains(&number) || number == self.null)
        {
            return Ok(number);
        }
        let shown = name.escape_debug();
        let similar =
            |label: &&String| strsim::damerau_levenshtein(&label.to_lowercase(), &name.to_lowercase());
        let message = match labels.iter().min_by_key(similar) {
            Some(nearest) => {
                let known = labels.iter().take(32).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if labels.len() > 32 { ", ..." } else { "" };
                format!("no class '{shown}'; nearest is '{nearest}', known are {known}{more}")
            }
            None => {
                format!("no class '{shown}'; this bundle has numbers 0 to {} and no labels", self.count - 1)
            }
        };
        Err(crate::Error::new(ErrorKind::InvalidArgument, message))
    }
}
