//! What WebAssembly's threads want of a C library that knows of none: its heap by one at a time, and the number of an
//! error for each, which Rust's library looks for.
//!
//! The linker has all others call these in place of the C library's (`bindings/wasm/link`). An allocator of Rust's own
//! would not do: Rust's library goes by it where it keeps what belongs to threads.

use std::arch::global_asm;
use std::sync::atomic::{AtomicBool, Ordering};

global_asm!(
    ".section .tbss.errno,\"T\",@",
    ".globl errno",
    ".type errno,@object",
    ".p2align 2",
    "errno:",
    ".int32 0",
    ".size errno, 4",
);

static BUSY: AtomicBool = AtomicBool::new(false);

/// Calls `work` while nobody else is at the heap. It waits by looking: a page's own thread may do nothing else, and
/// whoever is at it will be through in no time.
fn alone<T>(work: impl FnOnce() -> T) -> T {
    while BUSY.swap(true, Ordering::Acquire) {
        std::hint::spin_loop();
    }
    let result = work();
    BUSY.store(false, Ordering::Release);
    result
}

/// A function of the C library's heap, and the one that is called in its place.
macro_rules! alone {
    ($($real:ident $wrap:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        unsafe extern "C" {
            fn $real($($argument: $type),*) -> $result;
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $wrap($($argument: $type),*) -> $result {
            // SAFETY: the C library's, with the caller's promises.
            alone(|| unsafe { $real($($argument),*) })
        }
    )*};
}

alone! {
    __real_malloc __wrap_malloc(size: usize) -> *mut u8;
    __real_calloc __wrap_calloc(count: usize, size: usize) -> *mut u8;
    __real_realloc __wrap_realloc(at: *mut u8, size: usize) -> *mut u8;
    __real_aligned_alloc __wrap_aligned_alloc(align: usize, size: usize) -> *mut u8;
    __real_posix_memalign __wrap_posix_memalign(place: *mut *mut u8, align: usize, size: usize) -> i32;
    __real_free __wrap_free(at: *mut u8) -> ();
}
