//! Another Rust library in a C program: threads, panics, a standard library of its own.

use std::panic::{catch_unwind, panic_any};
use std::sync::atomic::{AtomicU32, Ordering};

static PANICS: AtomicU32 = AtomicU32::new(0);

/// Panics on a thread and on this one, and gives how many times it was called.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> u32 {
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    assert!(std::thread::spawn(|| panic_any(1)).join().is_err());
    assert!(catch_unwind(|| panic_any(2)).is_err());
    PANICS.load(Ordering::Relaxed) / 2
}
