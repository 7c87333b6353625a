//! Plain Rust: what the others are held to.

use super::Dot;
use crate::simd::Scalar;

/// Bytes, 8 columns at a time.
#[derive(Clone, Copy)]
pub(in super::super) struct PlainBytes;

everywhere!(PlainBytes);

// SAFETY: arrays of 8 words.
#[rustfmt::skip]
unsafe impl Dot for PlainBytes {
    type Simd = Scalar;
    type Sum = [i32; 8];
    type Stored = [i32; 8];
    type Row = [[i8; 4]; 8];
    type Packed = [[i8; 4]; 8];
    type Word = [u8; 4];
    const TILE: (usize, usize) = (6, 2);
    const STEP: usize = 8;

    #[inline(always)] fn simd(self) -> Scalar { Scalar }
    #[inline(always)] fn zero(self) -> [i32; 8] { [0; 8] }
    #[inline(always)] fn begin(self, stored: [i32; 8]) -> [i32; 8] { stored }
    #[inline(always)] fn end(self, sum: [i32; 8]) -> [i32; 8] { sum }
    #[inline(always)] fn row(self, packed: [[i8; 4]; 8]) -> [[i8; 4]; 8] { packed }
    #[inline(always)] fn word(self, bits: u32) -> [u8; 4] { bits.to_ne_bytes() }
    #[inline(always)] fn add(self, mut sum: [i32; 8], word: [u8; 4], row: [[i8; 4]; 8]) -> [i32; 8] {
        for (sum, column) in sum.iter_mut().zip(row) {
            for (weight, number) in column.into_iter().zip(word) {
                *sum += i32::from(weight) * i32::from(number);
            }
        }
        sum
    }
}
