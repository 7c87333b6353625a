//! The system's allocator, which counts, and refuses when it is told to.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing is refused there"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

#[cfg(target_os = "linux")]
use crate::split::here;

/// Without forks nothing is refused.
#[cfg(not(target_os = "linux"))]
fn here(_: usize) -> bool {
    false
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in use.
static LIVE: AtomicIsize = AtomicIsize::new(0);
static COUNTS: AtomicBool = AtomicBool::new(true);
/// The smallest request that may be refused; none while it is the largest number.
static FROM: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Bytes that may be in use, and those that were.
static BUDGET: AtomicIsize = AtomicIsize::new(isize::MAX);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// Whether this request is the one.
fn refuses(size: usize) -> bool {
    let more = live().saturating_add(size as isize);
    more > BUDGET.load(Ordering::Relaxed) || size >= FROM.load(Ordering::Relaxed) && here(size)
}

fn count(bytes: isize) {
    if COUNTS.load(Ordering::Relaxed) {
        let before = LIVE.fetch_add(bytes, Ordering::Relaxed);
        PEAK.fetch_max(before + bytes, Ordering::Relaxed);
    }
}

// SAFETY: all is the system's allocator's; a refusal is a null pointer, as it may be.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && refuses(size) {
            return std::ptr::null_mut();
        }
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Bytes that are in use.
pub fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

/// Does `work` while each request for at least `from` bytes is a place where memory may be refused.
pub fn refusing<T>(from: usize, work: impl FnOnce() -> T) -> T {
    FROM.store(from, Ordering::Relaxed);
    let done = work();
    FROM.store(usize::MAX, Ordering::Relaxed);
    done
}

/// Does `work` with no more than `bytes` beside those in use.
pub fn within<T>(bytes: isize, work: impl FnOnce() -> T) -> T {
    BUDGET.store(live() + bytes, Ordering::Relaxed);
    let done = work();
    BUDGET.store(isize::MAX, Ordering::Relaxed);
    done
}

/// The most bytes that `work` uses beside those in use.
pub fn peak(work: impl FnOnce()) -> isize {
    let before = live();
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

/// Does what is not part of the work that is looked at, and frees all that it takes but for what it keeps for good.
pub fn uncounted(work: impl FnOnce()) {
    COUNTS.store(false, Ordering::Relaxed);
    work();
    COUNTS.store(true, Ordering::Relaxed);
}

/// Does `work` several times, the first ones to fill what is filled once, and holds the last one to leaving nothing.
pub fn leaves_nothing(what: &str, mut work: impl FnMut()) {
    work();
    let mut left = 0;
    // A thread that has just ended may not have freed its own yet.
    for _ in 0..5 {
        let before = live();
        work();
        std::thread::sleep(std::time::Duration::from_millis(5));
        left = live() - before;
        if left <= 0 {
            return;
        }
    }
    panic!("{what}: {left} bytes stay each time");
}
