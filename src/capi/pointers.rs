//! What callers point at: texts, arrays, places for results.

use std::ffi::{CStr, c_char};

use super::boundary::Failure;

/// A text of the caller's.
///
/// # Safety
/// `text` is NULL or ends with a NUL, and stays as it is for `'a`.
pub(super) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    // SAFETY: not NULL, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|error| Failure::argument(format!("{name} is not UTF-8: {error}")))
}

/// An array of the caller's; NULL is one of nothing.
///
/// # Safety
/// `data` is NULL or holds `count` values that stay as they are for `'a`.
pub(super) unsafe fn array<'a, T>(data: *const T, count: usize, name: &str) -> Result<&'a [T], Failure> {
    check(data, count, name)?;
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, aligned, of a size that fits, and the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// An array of the caller's to be written; NULL is one of nothing.
///
/// # Safety
/// `data` is NULL or has room for `count` values that nobody else looks at for `'a`.
pub(super) unsafe fn array_mut<'a, T>(
    data: *mut T,
    count: usize,
    name: &str,
) -> Result<&'a mut [T], Failure> {
    check(data, count, name)?;
    if count == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL, aligned, of a size that fits, and the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, count) })
}

fn check<T>(data: *const T, count: usize, name: &str) -> Result<(), Failure> {
    if count > 0 && data.is_null() {
        return Err(Failure::argument(format!("{name} is NULL, its size is {count}")));
    }
    if !data.is_aligned() {
        let bytes = align_of::<T>();
        return Err(Failure::argument(format!("{name} is not aligned to {bytes} bytes")));
    }
    if count > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::argument(format!("{name}: a size of {count} is more than memory holds")));
    }
    Ok(())
}

/// Refuses a place for a result that is NULL.
pub(super) fn place<T>(out: *mut T, name: &str) -> Result<(), Failure> {
    if out.is_null() { Err(Failure::argument(format!("{name} is NULL"))) } else { Ok(()) }
}
