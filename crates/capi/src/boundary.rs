//! Where C ends and Rust begins: failures become statuses, panics too, and the message waits for its reader.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Error;
use super::error::{one_line, panic_text};
use super::kernels::DefaultFloats;
use super::status::{self, FT_ERROR_INVALID_ARGUMENT, FT_ERROR_PANIC, FT_OK, ft_status};

/// Why a call fails.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: ft_status,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: ft_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The caller's mistake.
    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(FT_ERROR_INVALID_ARGUMENT, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(status::of(error.kind()), error.to_string())
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs the body of an exported function, under the default floating-point environment. No panic leaves it, and a
/// failure's message is kept.
pub(super) fn guard(work: impl FnOnce() -> Result<(), Failure>) -> ft_status {
    let _default = DefaultFloats::enter();
    let panicked = |panic: Box<dyn Any + Send>| {
        let text = panic_text(panic.as_ref());
        Err(Failure::new(FT_ERROR_PANIC, format!("a mistake inside flowturbo, please report it: {text}")))
    };
    match catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked) {
        Ok(()) => FT_OK,
        Err(Failure { status, message }) => {
            let message = without_nul(&one_line(&message));
            // At the very end of a thread there is no reader left.
            let _ = LAST.try_with(|last| *last.borrow_mut() = message);
            status
        }
    }
}

/// As [`guard`], for functions without a status: the last failure's message stays as it is.
pub(super) fn guard_silently(work: impl FnOnce() -> Result<(), Failure>) {
    let _default = DefaultFloats::enter();
    // A failure is a stale handle; a panic was told by its own hook.
    let _ = catch_unwind(AssertUnwindSafe(work));
}

/// The message of the last failure on this thread.
pub(super) fn last_message() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Text for C; a NUL inside, which only odd bundles have, ends it.
pub(super) fn without_nul(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::super::status::FT_ERROR_IO;
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_failed() {
        let told = |work: fn() -> Result<(), Failure>| {
            let status = guard(work);
            // SAFETY: a text, until the next call.
            (status, unsafe { CStr::from_ptr(last_message()) }.to_str().unwrap())
        };
        let (status, message) = told(|| Err(Failure::new(FT_ERROR_IO, "a\nb\0c: cannot be written")));
        assert_eq!((status, message), (FT_ERROR_IO, "a\\nb\\u{0}c: cannot be written"));
        let (status, message) = told(|| {
            assert_eq!(1, 2, "on purpose");
            Ok(())
        });
        assert_eq!(status, FT_ERROR_PANIC);
        assert!(message.contains("on purpose") && !message.contains('\n'), "{message}");
    }
}
