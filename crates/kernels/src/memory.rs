//! Memory whose size comes from input: what the system refuses is an error, and the process goes on.

#![forbid(unsafe_code)]

use crate::error::out_of_memory;
use crate::{Error, Result};

/// The error of asking for `bytes` in vain.
pub fn refused(bytes: u64) -> Error {
    out_of_memory(format!("the system refused {bytes} bytes of memory"))
}

/// Bytes from which on a piece is a large one.
const LARGE: usize = 64 << 10;

/// Asks for `bytes` and gives them back: what is asked for next by others, who end the process where it is refused, is
/// likely to be there.
///
/// # Errors
/// `OutOfMemory`.
pub fn room(bytes: usize) -> Result<()> {
    let mut all: Vec<u8> = Vec::new();
    all.try_reserve_exact(bytes).map_err(|_| refused(bytes as u64))?;
    // Or the compiler might do without.
    std::hint::black_box(&mut all);
    Ok(())
}

/// Room for the small pieces that go with a large one.
///
/// # Errors
/// `OutOfMemory`.
pub fn spare() -> Result<()> {
    room(LARGE)
}

/// Makes room in `vec` for `len` elements in all. A large piece is only taken if there is a little beside it.
///
/// # Errors
/// `OutOfMemory`.
pub fn reserve<T>(vec: &mut Vec<T>, len: usize) -> Result<()> {
    if len <= vec.capacity() {
        return Ok(());
    }
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    vec.try_reserve_exact(len.saturating_sub(vec.len())).map_err(|_| refused(bytes))?;
    if bytes < LARGE as u64 {
        return Ok(());
    }
    spare().map_err(|_| {
        vec.shrink_to_fit();
        refused(bytes)
    })
}

/// As [`Vec::resize`].
///
/// # Errors
/// `OutOfMemory`; `vec` is as it was.
pub fn resize<T: Clone>(vec: &mut Vec<T>, len: usize, value: T) -> Result<()> {
    reserve(vec, len)?;
    vec.resize(len, value);
    Ok(())
}

/// Makes room in `vec` for `more` elements and, as it grows, for about as many again as there are.
///
/// # Errors
/// `OutOfMemory`.
pub fn grow<T>(vec: &mut Vec<T>, more: usize) -> Result<()> {
    let bytes = || ((vec.len() + more) as u64).saturating_mul(size_of::<T>() as u64);
    let bytes = bytes();
    vec.try_reserve(more).map_err(|_| refused(bytes))
}

/// As [`Vec::push`].
///
/// # Errors
/// `OutOfMemory`; `vec` is as it was.
pub fn push<T>(vec: &mut Vec<T>, value: T) -> Result<()> {
    grow(vec, 1)?;
    vec.push(value);
    Ok(())
}

/// `len` times `value`.
///
/// # Errors
/// `OutOfMemory`.
pub fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    resize(&mut vec, len, value)?;
    Ok(vec)
}

/// All that `values` gives, of which there are `len`.
///
/// # Errors
/// `OutOfMemory`.
pub fn collected<T>(len: usize, values: impl Iterator<Item = T>) -> Result<Vec<T>> {
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
