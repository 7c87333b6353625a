//! What a micro-kernel is made of: one step of the inner dimension, for each kind of numbers and each processor.

#[cfg(target_arch = "aarch64")]
mod arm;
mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::marker::PhantomData;

use super::super::Simd;
#[cfg(target_arch = "aarch64")]
pub(super) use arm::*;
pub(super) use plain::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::*;

/// A word of a row times a word of each of some columns, added to their sums.
///
/// # Safety
/// Every method may be called only where the processor has what the [table](super::table) says. Pointers need no
/// alignment.
pub(crate) trait Dot {
    /// Sums of as many columns as there are lanes.
    type Sum: Copy;
    /// Their words.
    type Row: Copy;
    /// A word of the left side, for every column.
    type Word: Copy;
    /// Vectors of as many columns.
    type Simd: Simd;
    /// Rows and vectors of the largest tile that the registers hold.
    const TILE: (usize, usize);
    /// What bytes of the left side are lowered by before they are multiplied.
    const LOWERS: f32 = 0.0;
    /// Words of the panel from one [`Row`](Self::Row) to the next.
    const STEP: usize;

    unsafe fn zero() -> Self::Sum;
    unsafe fn load(from: *const f32) -> Self::Sum;
    unsafe fn store(to: *mut f32, sum: Self::Sum);
    unsafe fn row(from: *const f32) -> Self::Row;
    unsafe fn word(from: *const f32) -> Self::Word;
    unsafe fn add(sum: Self::Sum, word: Self::Word, row: Self::Row) -> Self::Sum;
}

/// Rows and vectors of the largest tile beside a panel row and a word. More columns than rows: nine row pointers fit
/// the general registers, and rows 4096 bytes apart fit the first cache's ways.
pub(super) const fn largest<S: Simd>() -> (usize, usize) {
    if S::REGISTERS >= 32 { (9, 3) } else { (6, 2) }
}

/// Floats as they are.
pub(crate) struct Floats<S>(PhantomData<S>);

/// Floats by float16, which is widened.
pub(super) struct Widened<S>(PhantomData<S>);

macro_rules! of_floats {
    ($name:ident, $step:expr, $row:expr) => {
        // SAFETY of the bodies: the trait's promise.
        #[rustfmt::skip]
        #[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
        impl<S: Simd> Dot for $name<S> {
            type Sum = S::V;
            type Row = S::V;
            type Word = S::V;
            type Simd = S;
            const TILE: (usize, usize) = largest::<S>();
            const STEP: usize = $step;

            #[inline(always)] unsafe fn zero() -> S::V { unsafe { S::splat(0.0) } }
            #[inline(always)] unsafe fn load(from: *const f32) -> S::V { unsafe { S::load(from) } }
            #[inline(always)] unsafe fn store(to: *mut f32, sum: S::V) { unsafe { S::store(to, sum) } }
            #[inline(always)] unsafe fn row(from: *const f32) -> S::V { unsafe { $row(from) } }
            #[inline(always)] unsafe fn word(from: *const f32) -> S::V { unsafe { S::splat(*from) } }
            #[inline(always)] unsafe fn add(sum: S::V, word: S::V, row: S::V) -> S::V {
                unsafe { S::fma(word, row, sum) }
            }
        }
    };
}

of_floats!(Floats, S::LANES, S::load);
of_floats!(Widened, S::LANES / 2, |from: *const f32| S::load_halves(from.cast()));
