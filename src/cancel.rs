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
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every generation that holds this token to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Makes the token usable again.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// True after [`cancel`](Self::cancel).
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(cancelled("cancelled by its token")) } else { Ok(()) }
    }
}
