//! Threads that a C program lends.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use super::Parallel;

/// A piece of the library's work, given to an `ft_parallel_for` with its `body_data`. It may be called from any
/// thread and by several at a time, each index at most once, and not after the `ft_parallel_for` has returned.
pub type ft_parallel_body = Option<unsafe extern "C" fn(body_data: *mut c_void, index: u32)>;

/// A job system of the program's: calls `body(body_data, index)` for each index below `lanes`, on any threads and
/// in any order, and returns when all those calls have returned. No body waits for another one. An index may be left
/// out when no thread is free: its work is done by the calling thread. Called about a hundred times for each
/// evaluation of a network, also by several sessions at the same time.
pub type ft_parallel_for = Option<
    unsafe extern "C" fn(user_data: *mut c_void, lanes: u32, body: ft_parallel_body, body_data: *mut c_void),
>;

/// The program's job system.
pub(super) struct Lent {
    pub(super) lanes: u32,
    pub(super) run: unsafe extern "C" fn(*mut c_void, u32, ft_parallel_body, *mut c_void),
    pub(super) user_data: *mut c_void,
}

// SAFETY: the header asks for a function that several sessions may call at the same time.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

/// What the lent threads are to do, and the first panic among them.
struct Work<'a> {
    body: &'a (dyn Fn(usize) + Sync),
    lanes: u32,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// # Safety
/// `work` is a [`Work`] that is still there.
unsafe extern "C" fn call(work: *mut c_void, index: u32) {
    // SAFETY: the caller's promise.
    let work = unsafe { &*work.cast_const().cast::<Work>() };
    // No panic may go through the program's own frames.
    let body = AssertUnwindSafe(|| {
        if index < work.lanes {
            (work.body)(index as usize);
        }
    });
    if let Err(panic) = catch_unwind(body) {
        work.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
    }
}

impl Parallel for Lent {
    fn lanes(&self) -> usize {
        self.lanes as usize
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        let work = Work { body, lanes: self.lanes, panic: Mutex::new(None) };
        let data = std::ptr::from_ref(&work).cast_mut().cast::<c_void>();
        // SAFETY: the header asks for a function that takes these and lets go of `data` before it returns.
        unsafe { (self.run)(self.user_data, self.lanes, Some(call), data) };
        if let Some(panic) = work.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}
