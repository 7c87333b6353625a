//! How far a network may run before it returns to its caller.

use std::time::Instant;

use crate::{CancelToken, Result};

/// A cancel token, and a moment from which on a run pauses after the operation at hand.
#[derive(Clone, Copy)]
pub struct Pace<'a> {
    cancel: &'a CancelToken,
    until: Option<Instant>,
}

impl<'a> Pace<'a> {
    pub fn new(cancel: &'a CancelToken, until: Option<Instant>) -> Self {
        Self { cancel, until }
    }

    /// Without a pause.
    pub fn to_the_end(cancel: &'a CancelToken) -> Self {
        Self::new(cancel, None)
    }

    /// The token, for what does not pause.
    pub fn cancel(self) -> &'a CancelToken {
        self.cancel
    }

    /// Fails once the run is cancelled.
    pub fn check(self) -> Result<()> {
        self.cancel.check()
    }

    /// Whether it is time to return.
    pub fn is_over(self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}
