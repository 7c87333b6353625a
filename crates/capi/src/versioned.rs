//! Structs that grow: each begins with its size as the program that fills it knows it.

use super::boundary::Failure;
use super::status::FT_ERROR_UNSUPPORTED;

/// A struct of the header that begins with `uint32_t struct_size` and only ever grows at its end.
///
/// # Safety
/// `repr(C)`, begins with a `u32` that holds its size, and any bytes make a value of it.
pub(super) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// Its size in the first release that had it. It never changes, or old programs would be refused.
    const FIRST: usize;

    /// Every field as it is when nobody sets it.
    fn new() -> Self;
}

/// A first size by the width of pointers; of 32-bit machines the smallest, which differ in padding.
pub(super) const fn first(on_64_bits: usize, on_32_bits: usize) -> usize {
    if size_of::<usize>() == 8 { on_64_bits } else { on_32_bits }
}

/// Bytes of the caller's struct.
///
/// # Safety
/// `from` is NULL or points at a size.
unsafe fn size<T: Versioned>(from: *const T, name: &str) -> Result<usize, Failure> {
    if from.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    // SAFETY: not NULL; the struct begins with its size.
    known::<T>(unsafe { from.cast::<u32>().read_unaligned() } as usize)
}

/// Refuses sizes that no release of this library's past had.
fn known<T: Versioned>(size: usize) -> Result<usize, Failure> {
    let (name, first, now) = (T::NAME, T::FIRST, size_of::<T>());
    if size < first {
        return Err(Failure::argument(format!(
            "{name}.struct_size is {size}, the smallest is {first}: set it to sizeof({name}), or call the \
             struct's init function"
        )));
    }
    if size > now {
        return Err(Failure::new(
            FT_ERROR_UNSUPPORTED,
            format!(
                "{name}.struct_size is {size}, this library ({}) knows {now} bytes: the program was built with a \
                 newer flowturbo.h; update the library",
                env!("CARGO_PKG_VERSION")
            ),
        ));
    }
    // No release's: a pointer of which half is the program's points anywhere.
    if !size.is_multiple_of(align_of::<T>()) {
        return Err(Failure::argument(format!(
            "{name}.struct_size is {size}, which is in the middle of a field: set it to sizeof({name}), or call \
             the struct's init function"
        )));
    }
    Ok(size)
}

/// The caller's struct; what an older program does not know is as `new` has it.
///
/// # Safety
/// `from` is NULL or points at as many bytes as its size says.
pub(super) unsafe fn read<T: Versioned>(from: *const T, name: &str) -> Result<T, Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size(from, name)? };
    let mut value = T::new();
    // SAFETY: `size` is at most that of `T`, and both hold as many bytes.
    unsafe { from.cast::<u8>().copy_to_nonoverlapping((&raw mut value).cast(), size) };
    Ok(value)
}

/// Checks a struct that [`write`] will fill.
///
/// # Safety
/// As [`read`].
pub(super) unsafe fn writable<T: Versioned>(to: *const T, name: &str) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe { size(to, name) }.map(drop)
}

/// Fills the caller's struct, as far as the caller knows it.
///
/// # Safety
/// As [`read`], and the bytes may be written.
pub(super) unsafe fn write<T: Versioned>(to: *mut T, name: &str, value: &T) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size(to, name)? };
    // SAFETY: the size is the caller's own. Behind it, `size` is at most that of `T`, and both hold as many bytes.
    unsafe {
        let after = size_of::<u32>();
        let from = std::ptr::from_ref(value).cast::<u8>().add(after);
        from.copy_to_nonoverlapping(to.cast::<u8>().add(after), size - after);
    }
    Ok(())
}

/// Sets every field that the caller knows, its size among them, to what it is when nobody sets it.
///
/// # Safety
/// `to` is NULL or points at `size` bytes that may be written.
pub(super) unsafe fn init<T: Versioned>(to: *mut T, size: usize, name: &str) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    let size = known::<T>(size)?;
    // SAFETY: not NULL, and the caller's promise: a size, then everything else.
    unsafe {
        to.cast::<u32>().write_unaligned(size as u32);
        write(to, name, &T::new())
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::{ft_limits, ft_limits_init};
    use super::super::status::{FT_ERROR_INVALID_ARGUMENT, FT_OK};
    use super::*;

    /// A struct of an older program: no more memory than it knows, of a size, in place of one of this release.
    fn older(size: usize) -> Vec<u64> {
        vec![u64::MAX; size / size_of::<u64>()]
    }

    #[test]
    fn an_older_programs_struct_is_read_and_written_as_far_as_it_goes() {
        for size in (ft_limits::FIRST..=size_of::<ft_limits>()).step_by(8) {
            let mut memory = older(size);
            let limits = memory.as_mut_ptr().cast::<ft_limits>();
            // SAFETY: as many bytes as said.
            assert_eq!(unsafe { ft_limits_init(limits, size) }, FT_OK);
            // SAFETY: as above.
            let mut value = unsafe { read(limits, "limits") }.unwrap();
            assert_eq!(value.struct_size as usize, size);
            assert_eq!(value.max_arena_bytes, ft_limits::new().max_arena_bytes);
            value.max_edge = 77;
            // SAFETY: as above.
            unsafe { write(limits, "limits", &value) }.unwrap();
            // SAFETY: as above.
            let again = unsafe { read(limits, "limits") }.unwrap();
            assert_eq!((again.struct_size as usize, again.max_edge), (size, 77));
        }
    }

    #[test]
    fn a_struct_that_no_release_had_is_refused_before_more_than_its_size_is_read() {
        for (size, status) in [
            (0, FT_ERROR_INVALID_ARGUMENT),
            (ft_limits::FIRST - 1, FT_ERROR_INVALID_ARGUMENT),
            (size_of::<ft_limits>() + 1, FT_ERROR_UNSUPPORTED),
            (u32::MAX as usize, FT_ERROR_UNSUPPORTED),
        ] {
            let said = Box::new(size as u32);
            let limits = std::ptr::from_ref(&*said).cast::<ft_limits>();
            // SAFETY: there is a size, and no more is looked at.
            let (read, writable) = unsafe { (read(limits, "limits"), writable(limits, "limits")) };
            assert_eq!(
                (read.err().unwrap().status, writable.unwrap_err().status),
                (status, status),
                "{size}"
            );
        }
        // SAFETY: NULL is allowed.
        assert!(unsafe { read(std::ptr::null::<ft_limits>(), "limits") }.is_err());
    }
}
