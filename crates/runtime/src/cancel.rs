//! Stops a running generation from any thread.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;
use crate::error::{cancelled, panic_text, runtime};
use crate::kernels::DefaultFloats;

/// A flag shared between the thread that generates and whoever may stop it.
///
/// Clones share the flag. Cancelling is one atomic store; the generation polls it between the nodes
/// of a network, ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and leaves the
/// session ready for the next request.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Flag);

#[derive(Clone)]
enum Flag {
    Shared(Arc<AtomicBool>),
    Asked(Arc<dyn Fn() -> bool + Send + Sync>),
    /// Somebody else's, asked for by a number.
    Polled(fn(usize) -> bool, usize),
}

impl std::fmt::Debug for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared(flag) => f.debug_tuple("Shared").field(flag).finish(),
            _ => f.write_str("Asked"),
        }
    }
}

impl Default for Flag {
    fn default() -> Self {
        Self::Shared(Arc::default())
    }
}

/// A token that is cancelled while `flag` is true: a flag that a signal handler sets, say.
impl From<Arc<AtomicBool>> for CancelToken {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(Flag::Shared(flag))
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled while `is_cancelled` says so, whatever else is done with it: a deadline, a flag of the
    /// application's own. It is asked often, from several threads at a time, and must be quick; a panic in it ends the
    /// work with [`ErrorKind::Runtime`](crate::ErrorKind::Runtime).
    ///
    /// ```
    /// # use flowturbo_runtime as flowturbo;
    /// use std::time::{Duration, Instant};
    /// let deadline = Instant::now() + Duration::from_millis(50);
    /// let token = flowturbo::CancelToken::from_fn(move || Instant::now() >= deadline);
    /// ```
    pub fn from_fn(is_cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Flag::Asked(Arc::new(is_cancelled)))
    }

    /// Asks every generation that holds this token to stop.
    pub fn cancel(&self) {
        self.set(true);
    }

    /// Makes the token usable again.
    pub fn reset(&self) {
        self.set(false);
    }

    /// True after [`cancel`](Self::cancel).
    pub fn is_cancelled(&self) -> bool {
        match &self.0 {
            Flag::Shared(flag) => flag.load(Ordering::Relaxed),
            Flag::Asked(is_cancelled) => {
                // Whatever the function does to it.
                let _default = DefaultFloats::enter();
                is_cancelled()
            }
            Flag::Polled(is_cancelled, of) => is_cancelled(*of),
        }
    }

    /// A token that is cancelled when `is_cancelled` says so of `of`, whatever is done with the token.
    #[doc(hidden)]
    pub fn polled(is_cancelled: fn(usize) -> bool, of: usize) -> Self {
        Self(Flag::Polled(is_cancelled, of))
    }

    fn set(&self, cancelled: bool) {
        if let Flag::Shared(flag) = &self.0 {
            flag.store(cancelled, Ordering::Relaxed);
        }
    }

    /// Fails once it is cancelled.
    #[doc(hidden)]
    pub fn check(&self) -> Result<()> {
        match catch_unwind(AssertUnwindSafe(|| self.is_cancelled())) {
            Ok(false) => Ok(()),
            Ok(true) => Err(cancelled("cancelled by its token")),
            Err(panic) => Err(runtime(format!("the cancel token panicked: {}", panic_text(panic.as_ref())))),
        }
    }
}
