//! Locks that a panic does not spoil: what they guard here is whole at every moment, or made anew each time.

#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
