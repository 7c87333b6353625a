//! How a model is loaded.

use std::sync::Arc;

use crate::kernels::Parallel;
use crate::precision::Precision;
use crate::{CancelToken, Device};

/// What computes the networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// This crate's fused kernels. What they cannot do is left to tract: an operation, or a whole network.
    #[default]
    Fused,
    /// Plain tract, several times slower: the oracle that the other is held to.
    Reference,
}

impl BackendKind {
    pub(super) fn is_reference(self) -> bool {
        self == Self::Reference
    }
}

/// How a model is loaded.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// Threads of the model's own pool; 0 takes one for each processor this process may use, or as many as the
    /// system gives.
    pub threads: usize,
    /// Threads that the application lends, instead of a pool of the model's own; `threads` is not looked at
    /// then. Networks that are left to tract run on the thread that asked for them.
    pub parallel: Option<Arc<dyn Parallel>>,
    /// Images in a request that loading plans for, so that the first such request finds its plan; 0 is 1.
    pub batch: usize,
    /// What computes the networks.
    pub backend: BackendKind,
    /// As if [`Model::release_conditioning`](crate::Model::release_conditioning) were called before anything is loaded.
    pub release_conditioning: bool,
    /// The same request gives the same bits, whatever the processor, the system and the number of threads:
    /// vectors are 8 floats wide everywhere (on processors with AVX-512, whose vectors are wider, that takes longer),
    /// and a network that tract would have to compute in part is refused. The default is the same up to rounding.
    pub deterministic: bool,
    /// In what numbers networks multiply. Another than [`F32`](Precision::F32) is for the fused backend. A plan whose
    /// weights are packed keeps its own when this is `F32` or [`Auto`](Precision::Auto), and refuses another one.
    /// [`Model::precision`](crate::Model::precision) tells what was taken.
    pub precision: Precision,
    /// Where networks are computed. Another than [`Cpu`](Device::Cpu) is for the fused backend and for builds with the
    /// feature `cuda`, and leaves nothing to tract: what has no kernel is refused.
    pub device: Device,
    /// Stops the loading from another thread; of no use later, see [`Request::cancel`](crate::Request::cancel).
    pub cancel: CancelToken,
}

impl std::fmt::Debug for ModelOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            threads,
            parallel,
            batch,
            backend,
            release_conditioning,
            deterministic,
            precision,
            device,
            cancel,
        } = self;
        let lanes = parallel.as_ref().map(|parallel| parallel.lanes());
        f.debug_struct("ModelOptions")
            .field("threads", threads)
            .field("parallel", &lanes)
            .field("batch", batch)
            .field("backend", backend)
            .field("release_conditioning", release_conditioning)
            .field("deterministic", deterministic)
            .field("precision", precision)
            .field("device", device)
            .field("cancel", cancel)
            .finish()
    }
}

impl ModelOptions {
    /// These options with the application's own threads.
    #[must_use]
    pub fn with_parallel(mut self, parallel: Arc<dyn Parallel>) -> Self {
        self.parallel = Some(parallel);
        self
    }

    /// These options with another backend.
    #[must_use]
    pub fn with_backend(mut self, backend: BackendKind) -> Self {
        self.backend = backend;
        self
    }

    /// These options with another thread count.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// These options with conditioning weights kept or not.
    #[must_use]
    pub fn with_release_conditioning(mut self, release: bool) -> Self {
        self.release_conditioning = release;
        self
    }

    /// These options with the same bits everywhere, or not.
    #[must_use]
    pub fn with_deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self
    }

    /// These options with products in other numbers.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// These options with another device.
    #[must_use]
    pub fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// These options with a token that stops the loading.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// These options with another batch.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }
}
