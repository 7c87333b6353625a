//! What reading a graph may take. tract asks nobody while it reads, so its operations, which are wrapped, ask here.

use std::cell::RefCell;

use crate::Result;
use crate::allowance::Allowance;

thread_local! {
    /// The reading that is under way on this thread.
    static READING: RefCell<Option<Reading>> = const { RefCell::new(None) };
}

struct Reading {
    allowance: Allowance,
    /// Bytes of what tract has computed of constants.
    constants: u64,
}

/// While it lives, this thread reads a graph under an allowance.
pub(in super::super) struct Budget(Option<Reading>);

impl Budget {
    pub(in super::super) fn new(allowance: &Allowance) -> Self {
        let reading = Reading { allowance: allowance.clone(), constants: 0 };
        Self(READING.replace(Some(reading)))
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        READING.set(self.0.take());
    }
}

/// # Errors
/// As [`Allowance::check`].
pub(super) fn check() -> Result<()> {
    READING.with_borrow(|reading| reading.as_ref().map_or(Ok(()), |reading| reading.allowance.check()))
}

/// Counts a constant that tract has computed.
///
/// # Errors
/// As [`Allowance::weights`].
pub(super) fn constant(bytes: u64) -> Result<()> {
    READING.with_borrow_mut(|reading| {
        let Some(Reading { allowance, constants }) = reading else { return Ok(()) };
        *constants = constants.saturating_add(bytes);
        allowance.weights(*constants)
    })
}
