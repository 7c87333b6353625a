//! The micro-kernels: a line for each kind of numbers and each kind of processor. A new line is a new kernel: chosen
//! where the processor has what it needs, tested, and measured by `cargo bench --bench kernels`.
//!
//! They are for products with packed weights. Attention has its own loops around the same [steps](super::dot); which
//! of them it runs is [`Attention::takes`](super::super::Attention::takes), and asks this table what the processor has.

#[cfg(target_arch = "aarch64")]
use super::super::simd::Neon;
use super::super::simd::Scalar;
#[cfg(target_arch = "x86_64")]
use super::super::simd::{Avx2, Avx512};
use super::super::{Isa, Kernel, Simd};
use super::dot::{self, Dot};
use super::format::Format;
use super::tile::{PanelSize, Tile, tile};

/// One line of the [table](MICROKERNELS).
pub struct Microkernel {
    pub isa: Isa,
    pub format: Format,
    /// What the processor has to have beside the instruction set; empty for nothing.
    pub needs: &'static str,
    has: fn() -> bool,
    /// Rows of the largest tile; its columns are [`PanelSize::of`] the instruction set.
    pub rows: usize,
    /// What bytes of the left side are lowered by before they are multiplied.
    pub(super) lowers: f32,
    run: unsafe fn(Tile<'_>, usize, usize),
}

impl Microkernel {
    /// The best for `format` on this processor, of those for `isa`; none if it has no such.
    pub fn of(isa: Isa, format: Format) -> Option<&'static Self> {
        // Words are put together with the smallest byte first.
        let ordered = cfg!(target_endian = "little") || format == Format::F32;
        let of_it = |line: &&Self| (line.isa, line.format) == (isa, format) && line.is_available();
        MICROKERNELS.iter().find(of_it).filter(|_| ordered)
    }

    /// That of floats as they are, which every instruction set has.
    pub fn exact(isa: Isa) -> &'static Self {
        Self::of(isa, Format::F32).expect("every instruction set has floats")
    }

    /// Whether this processor has all that it needs.
    pub fn is_available(&self) -> bool {
        self.isa.is_available() && (self.has)()
    }

    /// The widest panel.
    pub(super) fn panel(&self) -> PanelSize {
        PanelSize::of(self.isa)
    }

    /// Computes a tile of `rows` rows by `vectors` vectors.
    ///
    /// # Safety
    /// `rows` and `vectors` are at least 1 and within `self.rows` and the panel; each row has the words of the spans,
    /// the panel a row for each of them, `start` (if not null) and `c` have room for the tile, which nothing else uses
    /// meanwhile.
    pub(super) unsafe fn run(&self, tile: Tile<'_>, rows: usize, vectors: usize) {
        // SAFETY: the caller's promise; `Matmul::new` has seen that the processor has what it needs.
        unsafe { (self.run)(tile, rows, vectors) }
    }
}

impl std::fmt::Display for Microkernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.needs.is_empty() { self.isa.to_string() } else { self.needs.to_uppercase() };
        write!(f, "{}, {by}", self.format)
    }
}

/// Whether the processor has a feature; Miri knows few instructions, whatever the processor says.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! has {
    ($detected:ident, $feature:tt) => {
        || cfg!(not(miri)) && std::arch::$detected!($feature)
    };
}

/// A function that runs tiles by `$dot`, compiled for some features.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! entered {
    ($name:ident, $dot:ty, $features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(of: Tile<'_>, rows: usize, vectors: usize) {
            // SAFETY: the caller's promise.
            unsafe { tile::<$dot>(of, rows, vectors) }
        }
    };
}

/// Tiles of floats, in the form that every instruction set enters by itself.
struct Float<'a, const HALVES: bool>(Tile<'a>, usize, usize);

impl<const HALVES: bool> Kernel for Float<'_, HALVES> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            if HALVES {
                tile::<dot::Widened<S>>(self.0, self.1, self.2);
            } else {
                tile::<dot::Floats<S>>(self.0, self.1, self.2);
            }
        }
    }
}

/// A line of floats.
macro_rules! floats {
    ($isa:ident, $simd:ty, $format:ident, $halves:literal) => {
        Microkernel {
            isa: Isa::$isa,
            format: Format::$format,
            needs: "",
            has: || true,
            rows: dot::largest::<$simd>().0,
            lowers: 0.0,
            run: |of, rows, vectors| Isa::$isa.run(Float::<$halves>(of, rows, vectors)),
        }
    };
}

/// A line of small numbers.
macro_rules! small {
    ($isa:ident, $format:ident, $dot:ty, $run:ident, $needs:literal, $has:expr) => {
        Microkernel {
            isa: Isa::$isa,
            format: Format::$format,
            needs: $needs,
            has: $has,
            rows: <$dot>::TILE.0,
            lowers: <$dot>::LOWERS,
            run: $run,
        }
    };
}

#[cfg(target_arch = "x86_64")]
entered!(vnni512, dot::Vnni512, "avx512f,avx512vnni");
#[cfg(target_arch = "x86_64")]
entered!(wide512, dot::Wide512, "avx512f,avx512bw");
#[cfg(target_arch = "x86_64")]
entered!(bfloats512, dot::Bfloats512, "avx512f,avx512bf16");
#[cfg(target_arch = "x86_64")]
entered!(vnni256, dot::Vnni256, "avx2,avxvnni");
#[cfg(target_arch = "x86_64")]
entered!(wide256, dot::Wide256, "avx2");
#[cfg(target_arch = "aarch64")]
entered!(sdot, dot::Sdot, "dotprod");
#[cfg(target_arch = "aarch64")]
entered!(bfdot, dot::Bfdot, "bf16");

/// # Safety
/// As [`Microkernel::run`].
unsafe fn plain_bytes(of: Tile<'_>, rows: usize, vectors: usize) {
    // SAFETY: the caller's promise.
    unsafe { tile::<dot::PlainBytes>(of, rows, vectors) }
}

/// The kernels, the better ones of a kind first.
#[rustfmt::skip]
pub static MICROKERNELS: &[Microkernel] = &[
    #[cfg(target_arch = "x86_64")]
    floats!(Avx512, Avx512, F32, false),
    #[cfg(target_arch = "x86_64")]
    floats!(Avx512, Avx512, F16, true),
    #[cfg(target_arch = "x86_64")]
    small!(Avx512, Bf16, dot::Bfloats512, bfloats512, "avx512bf16", has!(is_x86_feature_detected, "avx512bf16")),
    #[cfg(target_arch = "x86_64")]
    small!(Avx512, I8, dot::Vnni512, vnni512, "avx512vnni", has!(is_x86_feature_detected, "avx512vnni")),
    #[cfg(target_arch = "x86_64")]
    small!(Avx512, I8, dot::Wide512, wide512, "avx512bw", has!(is_x86_feature_detected, "avx512bw")),
    #[cfg(target_arch = "x86_64")]
    floats!(Avx2, Avx2, F32, false),
    #[cfg(target_arch = "x86_64")]
    floats!(Avx2, Avx2, F16, true),
    #[cfg(target_arch = "x86_64")]
    small!(Avx2, I8, dot::Vnni256, vnni256, "avxvnni", has!(is_x86_feature_detected, "avxvnni")),
    #[cfg(target_arch = "x86_64")]
    small!(Avx2, I8, dot::Wide256, wide256, "", || true),
    #[cfg(target_arch = "aarch64")]
    floats!(Neon, Neon, F32, false),
    #[cfg(target_arch = "aarch64")]
    floats!(Neon, Neon, F16, true),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, Bf16, dot::Bfdot, bfdot, "bf16", has!(is_aarch64_feature_detected, "bf16")),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, I8, dot::Sdot, sdot, "dotprod", has!(is_aarch64_feature_detected, "dotprod")),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, I8, dot::PlainBytes, plain_bytes, "", || true),
    floats!(Scalar, Scalar, F32, false),
    floats!(Scalar, Scalar, F16, true),
    small!(Scalar, I8, dot::PlainBytes, plain_bytes, "", || true),
];
