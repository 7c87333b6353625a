//! Which process this is. A forked child has a copy of its parent's memory, but of its threads only the one that
//! called `fork`: what the others had locked stays locked, what they were changing stays half changed.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::error::runtime;

/// A process, told from those that it was forked from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(usize);

/// How many forks lie between this process and the one that loaded the library.
static FORKS: AtomicUsize = AtomicUsize::new(0);

impl Process {
    /// This process; forks are counted from now on.
    pub fn this() -> Self {
        count_forks();
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// False in a child that was forked since.
    pub fn is_this(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }

    /// Refuses to go on with what a parent made.
    ///
    /// # Errors
    /// `Runtime` in a child that was forked since.
    pub fn check(self) -> Result<()> {
        if self.is_this() {
            return Ok(());
        }
        Err(runtime(
            "the model was loaded before this process was forked; load it in the child, after the fork",
        ))
    }
}

#[cfg(all(unix, not(miri)))]
fn count_forks() {
    use std::ffi::c_int;
    use std::sync::atomic::AtomicBool;

    type Handler = Option<extern "C" fn()>;
    unsafe extern "C" {
        fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
    }
    extern "C" fn in_the_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // No `Once`: a child could wait for ever for the thread that was in it. Counting twice does no harm.
    static COUNTED: AtomicBool = AtomicBool::new(false);
    if !COUNTED.load(Ordering::Acquire) {
        // SAFETY: the handler does nothing but add to a number, which a child may do. If the system refuses it for want
        // of memory, forks go unnoticed.
        unsafe { pthread_atfork(None, None, Some(in_the_child)) };
        COUNTED.store(true, Ordering::Release);
    }
}

/// Nothing forks here.
#[cfg(any(not(unix), miri))]
fn count_forks() {}
