//! The system's allocator, which counts, and refuses when it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in use.
static LIVE: AtomicIsize = AtomicIsize::new(0);
/// The smallest request that counts down [`LEFT`]; none while it is the largest number.
static FROM: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Such requests until one is refused.
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Whether this request is the one.
fn refuses(size: usize) -> bool {
    size >= FROM.load(Ordering::Relaxed) && LEFT.fetch_sub(1, Ordering::Relaxed) == 0
}

fn count(bytes: isize) {
    LIVE.fetch_add(bytes, Ordering::Relaxed);
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

/// Does `work` while the request for memory number `n`, of those for at least `from` bytes, is refused; also tells
/// whether it came to that.
pub fn refusing<T>(n: usize, from: usize, work: impl FnOnce() -> T) -> (T, bool) {
    LEFT.store(n, Ordering::Relaxed);
    FROM.store(from, Ordering::Relaxed);
    let done = work();
    FROM.store(usize::MAX, Ordering::Relaxed);
    // Below 0 it begins at the other end.
    (done, LEFT.load(Ordering::Relaxed) > usize::MAX / 2)
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
