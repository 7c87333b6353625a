//! Memory whose size comes from input: what the system refuses is an error, and the process goes on.

#![forbid(unsafe_code)]

use crate::error::out_of_memory;
use crate::{Error, Result};

/// The error of asking for `bytes` in vain.
pub(crate) fn refused(bytes: u64) -> Error {
    out_of_memory(format!("the system refused {bytes} bytes of memory"))
}

/// Makes room in `vec` for `len` elements in all.
///
/// # Errors
/// `OutOfMemory`.
pub(crate) fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<()> {
    let room = vec.try_reserve_exact(len.saturating_sub(vec.len()));
    room.map_err(|_| refused((len as u64).saturating_mul(size_of::<T>() as u64)))
}

/// As [`Vec::resize`].
///
/// # Errors
/// `OutOfMemory`; `vec` is as it was.
pub(crate) fn resize<T: Clone>(vec: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    reserve(vec, len)?;
    vec.resize(len, value);
    Ok(())
}

/// `len` times `value`.
///
/// # Errors
/// `OutOfMemory`.
pub(crate) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    resize(&mut vec, len, value)?;
    Ok(vec)
}

/// All that `values` gives, of which there are `len`.
///
/// # Errors
/// `OutOfMemory`.
pub(crate) fn collected<T>(len: usize, values: impl Iterator<Item = T>) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    reserve(&mut vec, len)?;
    vec.extend(values.take(len));
    Ok(vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[cfg_attr(miri, ignore = "Miri ends when memory is refused")]
    #[test]
    fn refused_memory_is_an_error_that_says_how_much_was_asked_for() {
        let mut vec = vec![1.0f32; 3];
        let most = isize::MAX as usize / 4;
        for len in [most, usize::MAX] {
            let error = resize(&mut vec, len, 0.0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
            let bytes = (len as u64).saturating_mul(4);
            assert_eq!(error.to_string(), format!("the system refused {bytes} bytes of memory"));
            assert_eq!(vec, [1.0; 3]);
        }
        resize(&mut vec, 4, 2.0).unwrap();
        assert_eq!(vec, [1.0, 1.0, 1.0, 2.0]);
        assert_eq!(collected(2, 0..9).unwrap(), [0, 1]);
        assert!(filled(usize::MAX, 0u8).is_err());
    }
}
