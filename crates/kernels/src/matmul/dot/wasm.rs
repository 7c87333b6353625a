//! WebAssembly: bytes by products of 16 bits. Not by the relaxed dot product of bytes, which engines differ in.

use std::arch::wasm32::*;

use super::Dot;
use crate::simd::Simd128;

/// Bytes as products of 16 bits: two sums a column, which meet when they are stored.
#[derive(Clone, Copy)]
pub(in super::super) struct Wide128;

everywhere!(Wide128);

// SAFETY: pairs of vectors of four words.
#[rustfmt::skip]
unsafe impl Dot for Wide128 {
    type Simd = Simd128<true>;
    type Sum = [v128; 4];
    type Stored = [v128; 2];
    type Row = [v128; 4];
    type Packed = [v128; 2];
    type Word = v128;
    const TILE: (usize, usize) = (2, 1);
    const STEP: usize = 8;

    #[inline(always)] fn simd(self) -> Simd128<true> { Simd128 }
    #[inline(always)] fn zero(self) -> [v128; 4] { [i32x4_splat(0); 4] }
    #[inline(always)] fn begin(self, [low, high]: [v128; 2]) -> [v128; 4] {
        [
            u64x2_extend_low_u32x4(low), u64x2_extend_high_u32x4(low),
            u64x2_extend_low_u32x4(high), u64x2_extend_high_u32x4(high),
        ]
    }
    #[inline(always)] fn end(self, [a, b, c, d]: [v128; 4]) -> [v128; 2] {
        let both = |a, b| i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b));
        [both(a, b), both(c, d)]
    }
    #[inline(always)] fn row(self, [low, high]: [v128; 2]) -> [v128; 4] {
        [
            i16x8_extend_low_i8x16(low), i16x8_extend_high_i8x16(low),
            i16x8_extend_low_i8x16(high), i16x8_extend_high_i8x16(high),
        ]
    }
    #[inline(always)] fn word(self, bits: u32) -> v128 { u16x8_extend_low_u8x16(u32x4_splat(bits)) }
    #[inline(always)] fn add(self, sum: [v128; 4], word: v128, row: [v128; 4]) -> [v128; 4] {
        std::array::from_fn(|i| i32x4_add(sum[i], i32x4_dot_i16x8(word, row[i])))
    }
}
