//! Locks that a panic does not spoil: what they guard here is whole at every moment, or made anew each time.

#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long one that waits does not look up.
const NAP: Duration = Duration::from_millis(1);

/// As [`lock`], unless `stop` fails meanwhile.
pub fn lock_unless<'a, T, E>(
    mutex: &'a Mutex<T>,
    stop: impl Fn() -> Result<(), E>,
) -> Result<MutexGuard<'a, T>, E> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(guard)) => return Ok(guard.into_inner()),
            Err(TryLockError::WouldBlock) => stop()?,
        }
        std::thread::sleep(NAP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_lock_may_be_stopped() {
        let mutex = Mutex::new(1);
        let held = lock(&mutex);
        let looks = std::cell::Cell::new(0);
        let stop = || {
            looks.set(looks.get() + 1);
            if looks.get() == 3 { Err("stopped") } else { Ok(()) }
        };
        assert_eq!(lock_unless(&mutex, stop).map(|value| *value), Err("stopped"));
        drop(held);
        assert_eq!(lock_unless(&mutex, || Err("not asked")).map(|value| *value), Ok(1));
    }
}
