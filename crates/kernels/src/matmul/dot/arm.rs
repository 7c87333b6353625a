//! 64-bit Arm: bytes and bfloat16 by its dot products.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Dot;
use crate::simd::Neon;

/// Bytes by `SDOT`, which takes signed ones on both sides: the left side's are lowered by 128.
pub(in super::super) struct Sdot;

/// bfloat16 by `BFDOT`, which adds two products with roundings of its own, and takes what is too small for a normal
/// number as 0.
pub(in super::super) struct Bfdot;

/// 8 columns: the first four and the others.
type Pair<T> = [T; 2];

// SAFETY of the bodies: the trait's promise.
#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Sdot {
    type Sum = Pair<int32x4_t>;
    type Row = Pair<int8x16_t>;
    type Word = int8x16_t;
    type Simd = Neon;
    const TILE: (usize, usize) = (6, 2);
    const LOWERS: f32 = 128.0;
    const STEP: usize = 8;

    #[inline(always)] unsafe fn zero() -> Pair<int32x4_t> { unsafe { [vdupq_n_s32(0); 2] } }
    #[inline(always)] unsafe fn load(from: *const f32) -> Pair<int32x4_t> {
        unsafe { [vld1q_s32(from.cast()), vld1q_s32(from.add(4).cast())] }
    }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: Pair<int32x4_t>) {
        unsafe { vst1q_s32(to.cast(), sum[0]); vst1q_s32(to.add(4).cast(), sum[1]) }
    }
    #[inline(always)] unsafe fn row(from: *const f32) -> Pair<int8x16_t> {
        unsafe { [vld1q_s8(from.cast()), vld1q_s8(from.add(4).cast())] }
    }
    #[inline(always)] unsafe fn word(from: *const f32) -> int8x16_t {
        unsafe {
            let four = vreinterpretq_u8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned()));
            vreinterpretq_s8_u8(veorq_u8(four, vdupq_n_u8(128)))
        }
    }
    #[inline(always)] unsafe fn add(sum: Pair<int32x4_t>, word: int8x16_t, row: Pair<int8x16_t>) -> Pair<int32x4_t> {
        let mut sum = sum;
        for (sum, row) in sum.iter_mut().zip(row) {
            // The compiler has no stable name for it.
            unsafe {
                asm!(".arch_extension dotprod", "sdot {sum:v}.4s, {word:v}.16b, {row:v}.16b",
                    sum = inout(vreg) *sum, word = in(vreg) word, row = in(vreg) row,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
        sum
    }
}

#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Dot for Bfdot {
    type Sum = Pair<float32x4_t>;
    type Row = Pair<uint16x8_t>;
    type Word = uint16x8_t;
    type Simd = Neon;
    const TILE: (usize, usize) = (6, 2);
    const STEP: usize = 8;

    #[inline(always)] unsafe fn zero() -> Pair<float32x4_t> { unsafe { [vdupq_n_f32(0.0); 2] } }
    #[inline(always)] unsafe fn load(from: *const f32) -> Pair<float32x4_t> {
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4))] }
    }
    #[inline(always)] unsafe fn store(to: *mut f32, sum: Pair<float32x4_t>) {
        unsafe { vst1q_f32(to, sum[0]); vst1q_f32(to.add(4), sum[1]) }
    }
    #[inline(always)] unsafe fn row(from: *const f32) -> Pair<uint16x8_t> {
        unsafe { [vld1q_u16(from.cast()), vld1q_u16(from.add(4).cast())] }
    }
    #[inline(always)] unsafe fn word(from: *const f32) -> uint16x8_t {
        unsafe { vreinterpretq_u16_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)] unsafe fn add(
        sum: Pair<float32x4_t>, word: uint16x8_t, row: Pair<uint16x8_t>,
    ) -> Pair<float32x4_t> {
        let mut sum = sum;
        for (sum, row) in sum.iter_mut().zip(row) {
            // The compiler has no stable name for it.
            unsafe {
                asm!(".arch_extension bf16", "bfdot {sum:v}.4s, {word:v}.8h, {row:v}.8h",
                    sum = inout(vreg) *sum, word = in(vreg) word, row = in(vreg) row,
                    options(pure, nomem, nostack, preserves_flags));
            }
        }
        sum
    }
}
