//! NEON: 4 floats, 32 registers; every 64-bit Arm processor has it.

use std::arch::aarch64::*;

use super::Simd;

#[derive(Clone, Copy)]
pub(super) struct Neon;

// SAFETY of the bodies: NEON is part of the architecture; pointers are valid by the trait's promise.
#[rustfmt::skip]
impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const REGISTERS: usize = 32;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    #[inline(always)] unsafe fn splat(x: f32) -> float32x4_t { unsafe { vdupq_n_f32(x) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> float32x4_t { unsafe { vld1q_f32(from) } }
    #[inline(always)] unsafe fn store(to: *mut f32, v: float32x4_t) { unsafe { vst1q_f32(to, v) } }
    #[inline(always)] unsafe fn load_first(from: *const f32, n: usize) -> float32x4_t {
        let mut lanes = [0.0; 4];
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n); vld1q_f32(lanes.as_ptr()) }
    }
    #[inline(always)] unsafe fn store_first(to: *mut f32, v: float32x4_t, n: usize) {
        let mut lanes = [0.0; 4];
        unsafe { vst1q_f32(lanes.as_mut_ptr(), v); std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n) }
    }
    #[inline(always)] unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vaddq_f32(a, b) } }
    #[inline(always)] unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vsubq_f32(a, b) } }
    #[inline(always)] unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vmulq_f32(a, b) } }
    #[inline(always)] unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vdivq_f32(a, b) } }
    #[inline(always)] unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vminq_f32(a, b) } }
    #[inline(always)] unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vmaxq_f32(a, b) } }
    // Here minima and maxima are NaN anyway if either operand is.
    #[inline(always)] unsafe fn smaller(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vminq_f32(a, b) } }
    #[inline(always)] unsafe fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t { unsafe { vmaxq_f32(a, b) } }
    #[inline(always)] unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)] unsafe fn round(a: float32x4_t) -> float32x4_t { unsafe { vrndnq_f32(a) } }
    #[inline(always)] unsafe fn sqrt(a: float32x4_t) -> float32x4_t { unsafe { vsqrtq_f32(a) } }
    #[inline(always)] unsafe fn pow2(n: float32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)))) }
    }
    #[inline(always)] unsafe fn scale(v: float32x4_t, n: float32x4_t) -> float32x4_t {
        // Exponents -127 and 128 come out as the bits of 0 and of infinity.
        unsafe { Self::mul(v, Self::pow2(n)) }
    }
    #[inline(always)] unsafe fn transpose(
        from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, rows: usize, cols: usize,
    ) {
        unsafe {
            let mut a = [Self::splat(0.0); 4];
            for (i, a) in a.iter_mut().enumerate().take(rows) {
                *a = Self::load_first(from.add(i * from_stride), cols);
            }
            let (ab, cd) = (vtrnq_f32(a[0], a[1]), vtrnq_f32(a[2], a[3]));
            let b = [
                vcombine_f32(vget_low_f32(ab.0), vget_low_f32(cd.0)),
                vcombine_f32(vget_low_f32(ab.1), vget_low_f32(cd.1)),
                vcombine_f32(vget_high_f32(ab.0), vget_high_f32(cd.0)),
                vcombine_f32(vget_high_f32(ab.1), vget_high_f32(cd.1)),
            ];
            for (i, b) in b.into_iter().enumerate().take(cols) {
                Self::store_first(to.add(i * to_stride), b, rows);
            }
        }
    }
    #[inline(always)] unsafe fn sum(v: float32x4_t) -> f32 { unsafe { vaddvq_f32(v) } }
    #[inline(always)] unsafe fn maximum(v: float32x4_t) -> f32 { unsafe { vmaxvq_f32(v) } }
    #[inline(always)] unsafe fn prefetch(at: *const f32) {
        // The intrinsic is not stable yet.
        unsafe { std::arch::asm!("prfm pldl2keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
    }
}
