//! The micro-kernels: a line for each kind of numbers and each kind of processor. A new line is a new kernel: chosen
//! where the processor has what it needs, tested, and measured by `cargo bench --bench kernels`.
//!
//! They are for products with packed weights. Attention has its own loops around the same [steps](super::dot); which
//! of them it runs is [`Attention::takes`](super::super::Attention::takes), and asks this table what the processor has.

#[cfg(target_arch = "aarch64")]
use super::super::simd::Neon;
use super::super::simd::Scalar;
#[cfg(target_feature = "simd128")]
use super::super::simd::Simd128;
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
    /// Bytes are widened to 16 bits before they are multiplied.
    pub(super) wide: bool,
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

    /// Columns of the widest panel.
    pub(super) fn width(&self) -> usize {
        let PanelSize { vectors, lanes } = self.panel();
        vectors * lanes
    }

    /// Words of a packed panel of `width` columns that belong to so many words of the left side.
    pub(super) fn of_panel(&self, words: usize, width: usize) -> usize {
        if self.wide { words * width / 2 } else { self.format.of_panel(words, width) }
    }

    /// Computes a tile of `rows` rows by `vectors` vectors.
    ///
    /// # Safety
    /// It is [available](Self::is_available). `rows` and `vectors` are at least 1 and within `self.rows` and the panel;
    /// each row has the words of the spans, the panel a row for each of them, `start` (if not null) and `c` have room
    /// for the tile, which nothing else uses meanwhile.
    pub(super) unsafe fn run(&self, tile: Tile<'_>, rows: usize, vectors: usize) {
        // SAFETY: the caller's promise.
        unsafe { (self.run)(tile, rows, vectors) }
    }
}

impl std::fmt::Display for Microkernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if self.needs.is_empty() { self.isa.to_string() } else { self.needs.to_uppercase() };
        write!(f, "{}, {by}", self.format)
    }
}

/// Tiles of floats, in the form that every instruction set enters by itself.
struct Float<'a, const HALVES: bool>(Tile<'a>, usize, usize);

impl<const HALVES: bool> Kernel for Float<'_, HALVES> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: whoever makes one promises what `Microkernel::run` asks for.
        unsafe {
            if HALVES {
                tile(dot::Widened(simd), self.0, self.1, self.2);
            } else {
                tile(dot::Floats(simd), self.0, self.1, self.2);
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
            wide: false,
            // SAFETY: as `Microkernel::run`, which asks for what the processor has.
            run: |of, rows, vectors| unsafe { <$simd>::enter(Float::<$halves>(of, rows, vectors)) },
        }
    };
}

/// A line of small numbers.
macro_rules! small {
    ($isa:ident, $format:ident, $dot:ident, $needs:literal) => {
        Microkernel {
            isa: Isa::$isa,
            format: Format::$format,
            needs: $needs,
            has: || dot::$dot::new().is_some(),
            rows: dot::$dot::TILE.0,
            lowers: dot::$dot::LOWERS,
            wide: dot::$dot::WIDE,
            run: dot::$dot::tile,
        }
    };
}

/// The kernels, the better ones of a kind first.
#[rustfmt::skip]
pub static MICROKERNELS: &[Microkernel] = &[
    #[cfg(target_arch = "x86_64")]
    floats!(Avx512, Avx512, F32, false),
    #[cfg(target_arch = "x86_64")]
    floats!(Avx512, Avx512, F16, true),
    #[cfg(target_arch = "x86_64")]
    small!(Avx512, Bf16, Bfloats512, "avx512bf16"),
    #[cfg(target_arch = "x86_64")]
    small!(Avx512, I8, Vnni512, "avx512vnni"),
    #[cfg(target_arch = "x86_64")]
    small!(Avx512, I8, Wide512, "avx512bw"),
    #[cfg(target_arch = "x86_64")]
    floats!(Avx2, Avx2, F32, false),
    #[cfg(target_arch = "x86_64")]
    floats!(Avx2, Avx2, F16, true),
    #[cfg(target_arch = "x86_64")]
    small!(Avx2, I8, Vnni256, "avxvnni"),
    #[cfg(target_arch = "x86_64")]
    small!(Avx2, I8, Wide256, ""),
    #[cfg(target_arch = "aarch64")]
    floats!(Neon, Neon, F32, false),
    #[cfg(target_arch = "aarch64")]
    floats!(Neon, Neon, F16, true),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, Bf16, Bfdot, "bf16"),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, I8, Usmmla, "i8mm"),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, I8, Sdot, "dotprod"),
    #[cfg(target_arch = "aarch64")]
    small!(Neon, I8, PlainBytes, ""),
    #[cfg(target_feature = "simd128")]
    floats!(Simd128, Simd128<false>, F32, false),
    #[cfg(target_feature = "simd128")]
    floats!(Simd128, Simd128<false>, F16, true),
    #[cfg(target_feature = "simd128")]
    small!(Simd128, I8, Wide128, ""),
    #[cfg(target_feature = "simd128")]
    floats!(Simd128Exact, Simd128<true>, F32, false),
    #[cfg(target_feature = "simd128")]
    floats!(Simd128Exact, Simd128<true>, F16, true),
    #[cfg(target_feature = "simd128")]
    small!(Simd128Exact, I8, Wide128, ""),
    floats!(Scalar, Scalar, F32, false),
    floats!(Scalar, Scalar, F16, true),
    small!(Scalar, I8, PlainBytes, ""),
];
