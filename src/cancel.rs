//! Stops a running generation from any thread.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Result;
use crate::error::cancelled;

/// A flag shared between the thread that generates and whoever may stop it.
///
/// Clones share the flag. Cancelling is one atomic store; the generation polls it between the nodes
/// of a network, ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and leaves the
/// session ready for the next request.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Flag);

#[derive(Clone, Debug)]
enum Flag {
    Shared(Arc<AtomicBool>),
    /// Somebody else's, asked for by a number.
    #[cfg(feature = "capi")]
    Polled(fn(usize) -> bool, usize),
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
            #[cfg(feature = "capi")]
            Flag::Polled(is_cancelled, of) => is_cancelled(*of),
        }
    }

    /// A token that is cancelled when `is_cancelled` says so of `of`, whatever is done with the token.
    #[cfg(feature = "capi")]
    pub(crate) fn polled(is_cancelled: fn(usize) -> bool, of: usize) -> Self {
        Self(Flag::Polled(is_cancelled, of))
    }

    fn set(&self, cancelled: bool) {
        match &self.0 {
            Flag::Shared(flag) => flag.store(cancelled, Ordering::Relaxed),
            #[cfg(feature = "capi")]
            Flag::Polled(..) => {}
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(cancelled("cancelled by its token")) } else { Ok(()) }
    }
}
