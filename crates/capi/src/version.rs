//! The version of the header and of the library.

use std::ffi::{CStr, c_char};

/// Version of this header: raised when the ABI breaks.
pub const FT_VERSION_MAJOR: u32 = 0;
/// Version of this header: raised when something is added.
pub const FT_VERSION_MINOR: u32 = 1;
/// Version of this header: raised when something is mended.
pub const FT_VERSION_PATCH: u32 = 0;
/// Version of this header as one number that grows: 0x00MMmmpp.
pub const FT_VERSION: u32 = (FT_VERSION_MAJOR << 16) | (FT_VERSION_MINOR << 8) | FT_VERSION_PATCH;
const LIBRARY: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// The version of the library that runs, in the form of `FT_VERSION`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ft_version() -> u32 {
    FT_VERSION
}

/// The version of the library that runs, such as "0.1.0".
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ft_version_string() -> *const c_char {
    LIBRARY.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_packages_version() {
        let parts = [FT_VERSION_MAJOR, FT_VERSION_MINOR, FT_VERSION_PATCH].map(|part| part.to_string());
        assert_eq!(parts.join("."), env!("CARGO_PKG_VERSION"));
        assert_eq!(LIBRARY.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}
