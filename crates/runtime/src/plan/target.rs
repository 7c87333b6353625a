//! The processors that a plan's weights can be packed for.

use std::fmt;
use std::str::FromStr;

use crate::error::invalid_argument;
use crate::kernels::{Isa, PanelSize};
use crate::{Error, Result};

/// How the weights of a plan file are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// As the bundle has them, for every processor: packed while loading.
    #[default]
    Generic,
    /// Packed for x86-64 with AVX2, FMA and F16C, and used from the file as they are.
    X86_64V3,
    /// Packed for x86-64 with AVX-512F and BW.
    X86_64V4,
    /// Packed for 64-bit Arm.
    Aarch64,
}

impl Target {
    /// Every target.
    pub const ALL: &[Self] = &[Self::Generic, Self::X86_64V3, Self::X86_64V4, Self::Aarch64];

    /// How weights are packed for it; none for those that are not.
    #[doc(hidden)]
    pub fn panels(self) -> Option<PanelSize> {
        match self {
            Self::Generic => None,
            Self::X86_64V3 | Self::Aarch64 => Some(PanelSize { vectors: 2, lanes: 8 }),
            Self::X86_64V4 => Some(PanelSize { vectors: 3, lanes: 16 }),
        }
    }

    /// The one that this processor is fastest with, of those that it can use as they are.
    pub fn of_this_processor() -> Self {
        Isa::available().into_iter().find_map(Self::of).unwrap_or_default()
    }

    fn of(isa: Isa) -> Option<Self> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(Self::X86_64V3),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(Self::X86_64V4),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(Self::Aarch64),
            #[cfg(target_feature = "simd128")]
            Isa::Simd128 | Isa::Simd128Exact => None,
            Isa::Scalar => None,
        }
    }

    /// The first of these instruction sets that a plan for this target runs on.
    #[doc(hidden)]
    pub fn isa(self, of: &[Isa]) -> Option<Isa> {
        of.iter().copied().find(|&isa| self == Self::Generic || Self::of(isa) == Some(self))
    }

    /// The number that stands for it in a file.
    #[doc(hidden)]
    pub fn code(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generic => "generic",
            Self::X86_64V3 => "x86-64-v3",
            Self::X86_64V4 => "x86-64-v4",
            Self::Aarch64 => "aarch64",
        })
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|target| target.to_string() == name).ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            invalid_argument(format!("no target '{}'; there are {}", name.escape_debug(), known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_packed_for_a_target_as_its_kernels_read_them() {
        for isa in Isa::available() {
            if let Some(target) = Target::of(isa) {
                assert_eq!(target.panels(), Some(PanelSize::of(isa)), "{target}");
                assert_eq!(target.isa(&Isa::available()), Some(isa));
            }
        }
        assert_eq!(Target::Generic.isa(&[Isa::Scalar]), Some(Isa::Scalar));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (code, &target) in Target::ALL.iter().enumerate() {
            assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
            assert_eq!(target.code() as usize, code);
        }
        let error = "avx2".parse::<Target>().unwrap_err().to_string();
        assert_eq!(error, "no target 'avx2'; there are generic, x86-64-v3, x86-64-v4, aarch64");
    }
}
