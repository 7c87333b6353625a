//! Statics that a forked child begins anew: in its parent's, another thread may have been in the middle of a change,
//! with a lock that nobody will ever let go.

use std::sync::atomic::{AtomicPtr, Ordering};

use super::kernels::Process;

/// A value for each process, made when it is first asked for.
pub(super) struct OfProcess<T: 'static>(AtomicPtr<Made<T>>);

struct Made<T> {
    process: Process,
    value: T,
    /// That of the process before, which is never freed.
    _before: *mut Made<T>,
}

impl<T: Send + Sync> OfProcess<T> {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The value of this process, made by `make` if there is none yet. No lock is taken.
    pub(super) fn get(&self, make: impl FnOnce() -> T) -> &'static T {
        let newest = self.0.load(Ordering::Acquire);
        // SAFETY: NULL, or made by this function and never freed.
        match unsafe { newest.as_ref() } {
            Some(made) if made.process.is_this() => &made.value,
            _ => self.begin(newest, make()),
        }
    }

    fn begin(&self, before: *mut Made<T>, value: T) -> &'static T {
        let ours = Box::into_raw(Box::new(Made { process: Process::this(), value, _before: before }));
        let swapped = self.0.compare_exchange(before, ours, Ordering::AcqRel, Ordering::Acquire);
        if swapped.is_err() {
            // SAFETY: made above, and nobody has seen it.
            drop(unsafe { Box::from_raw(ours) });
        }
        // Another thread was quicker, in this process: nobody else is left of the one before.
        let newest = swapped.map_or_else(|quicker| quicker, |_| ours);
        // SAFETY: made by this function, never freed, and not NULL.
        &unsafe { &*newest }.value
    }
}
