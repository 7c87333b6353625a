//! 64-bit Arm: bytes and bfloat16 by its dot products.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::Dot;
use crate::simd::{Neon, methods};

dot!(
    /// Bytes by `SDOT`, which takes signed ones on both sides: the left side's are lowered by 128.
    Sdot, Neon, "dotprod", is_aarch64_feature_detected!("dotprod")
);
dot!(
    /// bfloat16 by `BFDOT`, which adds two products with roundings of its own, and takes what is too small for a normal
    /// number as 0.
    Bfdot, Neon, "neon,bf16", is_aarch64_feature_detected!("bf16")
);

/// 8 columns: the first four and the others.
type Pair<T> = [T; 2];

/// Words of four columns by an instruction that the compiler has no stable name for.
macro_rules! by_fours {
    ($name:ident, $features:literal, $sum:ty, $zero:expr, $row:ty, $extension:literal, $instruction:literal,
     $shape:literal, $lowers:literal, |$bits:ident| $word:expr) => {
        // SAFETY: pairs of vectors of four words.
        #[rustfmt::skip]
        unsafe impl Dot for $name {
            type Simd = Neon;
            type Sum = Pair<$sum>;
            type Stored = Pair<$sum>;
            type Row = Pair<$row>;
            type Packed = Pair<$row>;
            type Word = $row;
            const TILE: (usize, usize) = (6, 2);
            const LOWERS: f32 = $lowers;
            const STEP: usize = 8;

            #[inline(always)] fn simd(self) -> Neon { self.0 }
            methods! { $features
                fn zero() -> Pair<$sum> { [$zero; 2] }
                fn begin(stored: Pair<$sum>) -> Pair<$sum> { stored }
                fn end(sum: Pair<$sum>) -> Pair<$sum> { sum }
                fn row(packed: Pair<$row>) -> Pair<$row> { packed }
                fn word($bits: u32) -> $row { $word }
                fn add(sum: Pair<$sum>, word: $row, row: Pair<$row>) -> Pair<$sum> {
                    let mut sum = sum;
                    for (sum, row) in sum.iter_mut().zip(row) {
                        // SAFETY: the processor has the instruction, by the token; it touches registers alone.
                        unsafe {
                            asm!(concat!(".arch_extension ", $extension),
                                concat!($instruction, " {sum:v}.4s, {word:v}.", $shape, ", {row:v}.", $shape),
                                sum = inout(vreg) *sum, word = in(vreg) word, row = in(vreg) row,
                                options(pure, nomem, nostack, preserves_flags));
                        }
                    }
                    sum
                }
            }
        }
    };
}

#[rustfmt::skip]
by_fours!(Sdot, "dotprod", int32x4_t, vdupq_n_s32(0), int8x16_t, "dotprod", "sdot", "16b", 128.0, |bits| {
    vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(bits)), vdupq_n_u8(128)))
});
#[rustfmt::skip]
by_fours!(Bfdot, "neon,bf16", float32x4_t, vdupq_n_f32(0.0), uint16x8_t, "bf16", "bfdot", "8h", 0.0, |bits| {
    vreinterpretq_u16_u32(vdupq_n_u32(bits))
});
