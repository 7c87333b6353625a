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

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn what_cannot_be_there_is_refused_by_name() {
        let floats = [0.5f32, 1.5, 2.5];
        // SAFETY: three floats that outlive the array, none of which is NULL's.
        unsafe {
            assert_eq!(array(floats.as_ptr(), 3, "x").unwrap(), floats);
            assert!(array::<f32>(ptr::null(), 0, "x").unwrap().is_empty());
            let odd = floats.as_ptr().cast::<u8>().add(1).cast::<f32>();
            for (data, count, why) in [
                (ptr::null(), 1, "x is NULL, its size is 1"),
                (odd, 2, "x is not aligned to 4 bytes"),
                (floats.as_ptr(), usize::MAX / 4, "more than memory holds"),
            ] {
                let failed = array(data, count, "x").unwrap_err().message;
                assert!(failed.contains(why), "{failed}");
                assert!(array_mut(data.cast_mut(), count, "x").is_err());
            }
            assert_eq!(text(c"name".as_ptr(), "x").unwrap(), "name");
            assert_eq!(text(ptr::null(), "x").unwrap_err().message, "x is NULL");
            assert!(text(c"\xff".as_ptr(), "x").unwrap_err().message.contains("not UTF-8"));
        }
    }

    #[test]
    fn what_is_written_is_the_callers() {
        let mut floats = vec![0.0f32; 3];
        // SAFETY: three floats that nobody else looks at.
        unsafe { array_mut(floats.as_mut_ptr(), 3, "x") }.unwrap().copy_from_slice(&[1.0, 2.0, 3.0]);
        assert_eq!(floats, [1.0, 2.0, 3.0]);
        // SAFETY: nothing is looked at.
        unsafe { array_mut::<f32>(ptr::null_mut(), 0, "x") }.unwrap().fill(1.0);
    }
}
