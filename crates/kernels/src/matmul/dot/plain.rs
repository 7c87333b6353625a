//! Plain Rust: what the others are held to.

use super::Dot;
use crate::simd::Scalar;

/// Bytes, 8 columns at a time.
pub(in super::super) struct PlainBytes;

#[expect(clippy::undocumented_unsafe_blocks, reason = "pointers are valid by the trait's promise")]
impl Dot for PlainBytes {
    type Sum = [i32; 8];
    type Row = [[i8; 4]; 8];
    type Word = [u8; 4];
    type Simd = Scalar;
    const TILE: (usize, usize) = (6, 2);
    const STEP: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self::Sum {
        [0; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Sum {
        unsafe { from.cast::<Self::Sum>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, sum: Self::Sum) {
        unsafe { to.cast::<Self::Sum>().write_unaligned(sum) }
    }

    #[inline(always)]
    unsafe fn row(from: *const f32) -> Self::Row {
        unsafe { from.cast::<Self::Row>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn word(from: *const f32) -> Self::Word {
        unsafe { from.cast::<Self::Word>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn add(mut sum: Self::Sum, word: Self::Word, row: Self::Row) -> Self::Sum {
        for (sum, column) in sum.iter_mut().zip(row) {
            for (weight, number) in column.into_iter().zip(word) {
                *sum += i32::from(weight) * i32::from(number);
            }
        }
        sum
    }
}
