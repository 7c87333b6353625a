//! What a micro-kernel is made of: one step of the inner dimension, for each kind of numbers and each processor.

use super::super::Simd;

/// A word of a row times a word of each of some columns, added to their sums. A value is a token: it is there only
/// where the processor has what the [table](super::table) says.
///
/// # Safety
/// `Stored` is as many words as the vectors of `Simd` have lanes, `Packed` is [`STEP`](Self::STEP) words, both without
/// padding; any bits are some.
pub(crate) unsafe trait Dot: Copy {
    /// Vectors of as many columns.
    type Simd: Simd;
    /// Sums of as many columns as there are lanes, and how they lie in memory.
    type Sum: Copy;
    type Stored: Copy;
    /// Words of these columns, and how they lie in a panel.
    type Row: Copy;
    type Packed: Copy;
    /// A word of the left side, for every column.
    type Word: Copy;
    /// Rows and vectors of the largest tile that the registers hold.
    const TILE: (usize, usize);
    /// What bytes of the left side are lowered by before they are multiplied.
    const LOWERS: f32 = 0.0;
    /// Bytes are numbers of 16 bits here, on both sides: two of them are a word.
    const WIDE: bool = false;
    /// Words of the panel from one [`Row`](Self::Row) to the next.
    const STEP: usize;

    fn simd(self) -> Self::Simd;
    fn zero(self) -> Self::Sum;
    fn begin(self, stored: Self::Stored) -> Self::Sum;
    fn end(self, sum: Self::Sum) -> Self::Stored;
    fn row(self, packed: Self::Packed) -> Self::Row;
    fn word(self, bits: u32) -> Self::Word;
    fn add(self, sum: Self::Sum, word: Self::Word, row: Self::Row) -> Self::Sum;

    /// # Safety
    /// Words of as many columns as there are lanes are there.
    #[inline(always)]
    unsafe fn load_row(self, from: *const f32) -> Self::Row {
        // SAFETY: the caller's promise; `Packed` is as many words.
        self.row(unsafe { from.cast::<Self::Packed>().read_unaligned() })
    }

    /// # Safety
    /// A word is there.
    #[inline(always)]
    unsafe fn load_word(self, from: *const f32) -> Self::Word {
        // SAFETY: the caller's promise.
        self.word(unsafe { from.cast::<u32>().read_unaligned() })
    }
}

/// A kind of small numbers that needs nothing of the processor but what the whole module needs.
macro_rules! everywhere {
    ($name:ident) => {
        impl $name {
            /// It is everywhere.
            pub(in super::super) fn new() -> Option<Self> {
                Some(Self)
            }

            /// Computes a tile.
            ///
            /// # Safety
            /// As [`Microkernel::run`](super::super::table::Microkernel::run).
            pub(in super::super) unsafe fn tile(of: super::super::Tile<'_>, rows: usize, vectors: usize) {
                // SAFETY: the caller's promise.
                unsafe { super::super::tile::tile(Self, of, rows, vectors) }
            }
        }
    };
}

/// A kind of small numbers: the token of an instruction set where the processor has more than that, and tiles compiled
/// for both.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! dot {
    ($(#[$about:meta])* $name:ident, $simd:ident, $features:literal, $has:expr) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name($simd);

        impl $name {
            /// The token, where the processor has all.
            #[inline(always)]
            pub(crate) fn new() -> Option<Self> {
                static HAS: $crate::simd::Known = $crate::simd::Known::new();
                $simd::new().filter(|_| HAS.or_ask(|| $has)).map(Self)
            }

            /// Computes a tile.
            ///
            /// # Safety
            /// As [`Microkernel::run`](super::super::table::Microkernel::run), and the processor has all.
            #[target_feature(enable = $features)]
            pub(in super::super) unsafe fn tile(of: super::super::Tile<'_>, rows: usize, vectors: usize) {
                // SAFETY: the caller's promise.
                unsafe { super::super::tile::tile(Self($simd::assume()), of, rows, vectors) }
            }
        }
    };
}

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "aarch64")]
mod mmla;
mod plain;
#[cfg(target_feature = "simd128")]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(super) use arm::*;
#[cfg(target_arch = "aarch64")]
pub(super) use mmla::Usmmla;
pub(super) use plain::*;
#[cfg(target_feature = "simd128")]
pub(super) use wasm::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::*;

/// Rows and vectors of the largest tile beside a panel row and a word. More columns than rows: nine row pointers fit
/// the general registers, and rows 4096 bytes apart fit the first cache's ways.
pub(super) const fn largest<S: Simd>() -> (usize, usize) {
    match S::REGISTERS {
        32.. => (9, 3),
        16.. => (6, 2),
        _ => (5, 1),
    }
}

/// Floats as they are.
#[derive(Clone, Copy)]
pub(crate) struct Floats<S>(pub(crate) S);

/// Floats by float16, which is widened.
#[derive(Clone, Copy)]
pub(super) struct Widened<S>(pub(super) S);

macro_rules! of_floats {
    ($name:ident, $packed:ident, $step:expr, |$simd:ident, $row:ident| $widened:expr) => {
        // SAFETY: sums and words of a panel are vectors, as the trait says that they lie in memory.
        #[rustfmt::skip]
        unsafe impl<S: Simd> Dot for $name<S> {
            type Simd = S;
            type Sum = S::V;
            type Stored = S::V;
            type Row = S::V;
            type Packed = S::$packed;
            type Word = S::V;
            const TILE: (usize, usize) = largest::<S>();
            const STEP: usize = $step;

            #[inline(always)] fn simd(self) -> S { self.0 }
            #[inline(always)] fn zero(self) -> S::V { self.0.splat(0.0) }
            #[inline(always)] fn begin(self, stored: S::V) -> S::V { stored }
            #[inline(always)] fn end(self, sum: S::V) -> S::V { sum }
            #[inline(always)] fn row(self, $row: S::$packed) -> S::V { let $simd = self.0; $widened }
            #[inline(always)] fn word(self, bits: u32) -> S::V { self.0.splat(f32::from_bits(bits)) }
            #[inline(always)] fn add(self, sum: S::V, word: S::V, row: S::V) -> S::V { self.0.fma(word, row, sum) }
        }
    };
}

of_floats!(Floats, V, S::LANES, |_simd, row| row);
of_floats!(Widened, Halves, S::LANES / 2, |simd, row| simd.widened(row));
