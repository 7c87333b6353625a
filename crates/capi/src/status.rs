//! How a call ended, and what is known of a failure.

use std::ffi::c_char;

use super::ErrorKind;
use super::boundary;

/// How a call ended. The numbers never change; a newer library may return ones that are not listed here.
pub type ft_status = i32;

/// The call did what it was asked to.
pub const FT_OK: ft_status = 0;
/// The caller asked for something that makes no sense: NULL, a class out of range, a schedule with a typo.
pub const FT_ERROR_INVALID_ARGUMENT: ft_status = 1;
/// The bundle is broken or contradicts itself: bad JSON, a wrong hash, shapes that disagree.
pub const FT_ERROR_INVALID_BUNDLE: ft_status = 2;
/// This library cannot do it: a newer bundle format, a struct of a newer header, an unknown operator.
pub const FT_ERROR_UNSUPPORTED: ft_status = 3;
/// A size above the limits in force.
pub const FT_ERROR_LIMIT_EXCEEDED: ft_status = 4;
/// A file or a reader could not be read or written.
pub const FT_ERROR_IO: ft_status = 5;
/// A number that is not finite, in weights or while sampling.
pub const FT_ERROR_NON_FINITE: ft_status = 6;
/// The generation was stopped by its token or by a callback.
pub const FT_ERROR_CANCELLED: ft_status = 7;
/// A network failed while it ran, a mistake inside the library stopped its planning, or the system refuses threads.
pub const FT_ERROR_RUNTIME: ft_status = 8;
/// A mistake inside the library. The session that it happened in can only be freed; all else goes on working.
pub const FT_ERROR_PANIC: ft_status = 9;
/// The session is at work on another thread, or further up on this one (a callback that calls back).
pub const FT_ERROR_BUSY: ft_status = 10;
/// A handle that was freed already, is of another kind, or never was one.
pub const FT_ERROR_INVALID_HANDLE: ft_status = 11;
/// The system refused memory; the message says how much was asked for. The next call works.
pub const FT_ERROR_OUT_OF_MEMORY: ft_status = 12;

/// The status of a failure of the library.
pub(super) fn of(kind: ErrorKind) -> ft_status {
    match kind {
        ErrorKind::InvalidArgument => FT_ERROR_INVALID_ARGUMENT,
        ErrorKind::InvalidBundle => FT_ERROR_INVALID_BUNDLE,
        ErrorKind::Unsupported => FT_ERROR_UNSUPPORTED,
        ErrorKind::LimitExceeded => FT_ERROR_LIMIT_EXCEEDED,
        ErrorKind::Io => FT_ERROR_IO,
        ErrorKind::NonFinite => FT_ERROR_NON_FINITE,
        ErrorKind::Cancelled => FT_ERROR_CANCELLED,
        ErrorKind::OutOfMemory => FT_ERROR_OUT_OF_MEMORY,
        // `Runtime`, and what a later library has no status for yet.
        _ => FT_ERROR_RUNTIME,
    }
}

/// The name of a status, such as "FT_ERROR_IO"; "unknown status" for a number that is none.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ft_status_name(status: ft_status) -> *const c_char {
    match status {
        FT_OK => c"FT_OK",
        FT_ERROR_INVALID_ARGUMENT => c"FT_ERROR_INVALID_ARGUMENT",
        FT_ERROR_INVALID_BUNDLE => c"FT_ERROR_INVALID_BUNDLE",
        FT_ERROR_UNSUPPORTED => c"FT_ERROR_UNSUPPORTED",
        FT_ERROR_LIMIT_EXCEEDED => c"FT_ERROR_LIMIT_EXCEEDED",
        FT_ERROR_IO => c"FT_ERROR_IO",
        FT_ERROR_NON_FINITE => c"FT_ERROR_NON_FINITE",
        FT_ERROR_CANCELLED => c"FT_ERROR_CANCELLED",
        FT_ERROR_RUNTIME => c"FT_ERROR_RUNTIME",
        FT_ERROR_PANIC => c"FT_ERROR_PANIC",
        FT_ERROR_BUSY => c"FT_ERROR_BUSY",
        FT_ERROR_INVALID_HANDLE => c"FT_ERROR_INVALID_HANDLE",
        FT_ERROR_OUT_OF_MEMORY => c"FT_ERROR_OUT_OF_MEMORY",
        _ => c"unknown status",
    }
    .as_ptr()
}

/// What the last call that failed on this thread had to say: one line of UTF-8 that names what failed, where,
/// and, where it helps, what to do. "" if none failed. A call that succeeds leaves it alone, and so do the
/// functions that free.
///
/// Ownership: the library's, until the next call of this library on the same thread. Threads: any, each with its own.
#[unsafe(no_mangle)]
pub extern "C" fn ft_last_error_message() -> *const c_char {
    boundary::last_message()
}
