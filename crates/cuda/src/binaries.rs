//! The kernels as they come with the library: a binary for each architecture, and text for those that come later.
//!
//! `kernels/compile.py` makes them; `make cubins` does that, `.ci/cubins` holds them to the sources.

use std::io::Read;

use flate2::read::ZlibDecoder;
use flowturbo_kernels::error::{runtime, unsupported};
use flowturbo_kernels::{Result, memory};

/// What an architecture loads.
#[derive(Clone, Copy)]
pub struct Binary {
    /// `sm_90`: machine code. `compute_80`: PTX, which the driver compiles.
    pub name: &'static str,
    /// The compute capability, ten times the major number and the minor one.
    capability: u32,
    is_text: bool,
    compressed: &'static [u8],
}

macro_rules! binaries {
    ($($name:literal, $capability:literal, $is_text:literal;)*) => {
        &[$(Binary {
            name: $name,
            capability: $capability,
            is_text: $is_text,
            compressed: include_bytes!(concat!("../kernels/binaries/", $name, ".z")),
        },)*]
    };
}

/// From the oldest architecture to the newest, then the text.
pub static BINARIES: &[Binary] = binaries! {
    "sm_75", 75, false;
    "sm_80", 80, false;
    "sm_86", 86, false;
    "sm_87", 87, false;
    "sm_89", 89, false;
    "sm_90", 90, false;
    "sm_100", 100, false;
    "sm_110", 110, false;
    "sm_120", 120, false;
    "compute_80", 80, true;
};

/// Compute capabilities of Jetson and its kin, which run no machine code but their own, and none of which others run.
const OF_BOARDS: [u32; 4] = [87, 88, 101, 110];

impl Binary {
    /// Those for a GPU of compute capability `major.minor`, the best first: machine code of the same major number and
    /// at most the same minor one, then the text.
    ///
    /// # Errors
    /// `Unsupported`: the GPU is older than all of them.
    pub fn of(major: u32, minor: u32) -> Result<Vec<&'static Self>> {
        let capability = 10 * major + minor;
        let alone =
            |binary: &Self| OF_BOARDS.iter().any(|&one| one == capability || one == binary.capability);
        let fits = |binary: &&Self| match binary.is_text {
            true => binary.capability <= capability,
            false if alone(binary) => binary.capability == capability,
            false => binary.capability / 10 == major && binary.capability <= capability,
        };
        let of_code = BINARIES.iter().rev().filter(|binary| !binary.is_text).find(fits);
        let text = BINARIES.iter().find(|binary| binary.is_text && fits(binary));
        let binaries: Vec<_> = of_code.into_iter().chain(text).collect();
        match binaries.is_empty() {
            true => Err(unsupported(format!(
                "a GPU of compute capability {major}.{minor}; the CUDA kernels take 7.5 or newer"
            ))),
            false => Ok(binaries),
        }
    }

    /// What the driver loads: text ends with a zero.
    ///
    /// # Errors
    /// `OutOfMemory`. `Runtime`: this library is damaged.
    pub fn unpack(&self) -> Result<Vec<u8>> {
        let damaged = |_| runtime(format!("the CUDA kernels for {} in this library are damaged", self.name));
        let mut decoder = ZlibDecoder::new(self.compressed);
        let (mut unpacked, mut piece) = (Vec::new(), [0; 1 << 14]);
        loop {
            let read = decoder.read(&mut piece).map_err(damaged)?;
            if read == 0 {
                return Ok(unpacked);
            }
            memory::grow(&mut unpacked, read)?;
            unpacked.extend_from_slice(&piece[..read]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::KERNELS;

    #[test]
    fn a_gpu_loads_the_newest_code_that_it_runs_else_the_text() {
        let names = |major, minor| -> Result<Vec<_>> {
            Ok(Binary::of(major, minor)?.iter().map(|binary| binary.name).collect())
        };
        for (major, minor, want) in [
            (8, 0, "sm_80"),
            (8, 6, "sm_86"),
            (8, 7, "sm_87"),
            (8, 9, "sm_89"),
            (9, 0, "sm_90"),
            (10, 0, "sm_100"),
            (10, 3, "sm_100"),
            (11, 0, "sm_110"),
            (12, 1, "sm_120"),
        ] {
            assert_eq!(names(major, minor).unwrap(), [want, "compute_80"]);
        }
        assert_eq!(names(7, 5).unwrap(), ["sm_75"]);
        // New ones, and boards without code of their own.
        for (major, minor) in [(8, 8), (10, 1), (11, 1), (13, 0)] {
            assert_eq!(names(major, minor).unwrap(), ["compute_80"]);
        }
        let error = names(7, 2).unwrap_err().to_string();
        assert_eq!(error, "a GPU of compute capability 7.2; the CUDA kernels take 7.5 or newer");
    }

    #[test]
    fn each_has_every_kernel_of_its_architecture() {
        let has =
            |bytes: &[u8], name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
        for binary in BINARIES {
            let bytes = binary.unpack().unwrap();
            let (start, before, after): (&[u8], _, _) = match binary.is_text {
                true => (b"//", ".entry ", "("),
                false => (b"\x7fELF", ".text.", "\0"),
            };
            assert!(
                bytes.starts_with(start) && (!binary.is_text || bytes.ends_with(b"\0")),
                "{}",
                binary.name
            );
            for kernel in KERNELS {
                let wanted = format!("{before}{}{after}", kernel.name);
                assert_eq!(
                    has(&bytes, &wanted),
                    kernel.since <= binary.capability,
                    "{} {wanted}",
                    binary.name
                );
            }
        }
    }

    /// The feature may add 3 MB to a library, and has code of its own.
    #[test]
    fn all_of_them_are_small() {
        let bytes: usize = BINARIES.iter().map(|binary| binary.compressed.len()).sum();
        assert!(bytes < 2_900_000, "{bytes} bytes");
    }
}
