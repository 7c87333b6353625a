//! NEON, two vectors as one of 8 floats: 16 pairs of registers. Every 64-bit Arm processor has it.
//!
//! As wide as AVX2, so that both add up in the same order and give the same bits.

use std::arch::aarch64::*;

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Neon;

type V = float32x4x2_t;

#[inline(always)]
fn halves(a: V, b: V, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> V {
    float32x4x2_t(f(a.0, b.0), f(a.1, b.1))
}

/// The transpose of four rows of 4 floats.
#[inline(always)]
unsafe fn square(a: [float32x4_t; 4]) -> [float32x4_t; 4] {
    // SAFETY: NEON is part of the architecture.
    unsafe {
        let (ab, cd) = (vtrnq_f32(a[0], a[1]), vtrnq_f32(a[2], a[3]));
        [
            vcombine_f32(vget_low_f32(ab.0), vget_low_f32(cd.0)),
            vcombine_f32(vget_low_f32(ab.1), vget_low_f32(cd.1)),
            vcombine_f32(vget_high_f32(ab.0), vget_high_f32(cd.0)),
            vcombine_f32(vget_high_f32(ab.1), vget_high_f32(cd.1)),
        ]
    }
}

// SAFETY of the bodies: NEON is part of the architecture; pointers are valid by the trait's promise.
#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Simd for Neon {
    type V = V;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    #[inline(always)] unsafe fn splat(x: f32) -> V { unsafe { float32x4x2_t(vdupq_n_f32(x), vdupq_n_f32(x)) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> V {
        unsafe { float32x4x2_t(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)] unsafe fn store(to: *mut f32, v: V) {
        unsafe { vst1q_f32(to, v.0); vst1q_f32(to.add(4), v.1) }
    }
    #[inline(always)] unsafe fn load_first(from: *const f32, n: usize) -> V {
        let mut lanes = [0.0; 8];
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n); Self::load(lanes.as_ptr()) }
    }
    #[inline(always)] unsafe fn store_first(to: *mut f32, v: V, n: usize) {
        let mut lanes = [0.0; 8];
        unsafe { Self::store(lanes.as_mut_ptr(), v); std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n) }
    }
    #[inline(always)] unsafe fn add(a: V, b: V) -> V { halves(a, b, |a, b| unsafe { vaddq_f32(a, b) }) }
    #[inline(always)] unsafe fn sub(a: V, b: V) -> V { halves(a, b, |a, b| unsafe { vsubq_f32(a, b) }) }
    #[inline(always)] unsafe fn mul(a: V, b: V) -> V { halves(a, b, |a, b| unsafe { vmulq_f32(a, b) }) }
    #[inline(always)] unsafe fn div(a: V, b: V) -> V { halves(a, b, |a, b| unsafe { vdivq_f32(a, b) }) }
    // Not the instructions for these, which order zeros and NaN in another way than AVX2 does.
    #[inline(always)] unsafe fn min(a: V, b: V) -> V {
        halves(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)] unsafe fn max(a: V, b: V) -> V {
        halves(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)] unsafe fn smaller(a: V, b: V) -> V {
        unsafe { halves(a, Self::min(a, b), |a, least| vbslq_f32(vceqq_f32(a, a), least, a)) }
    }
    #[inline(always)] unsafe fn larger(a: V, b: V) -> V {
        unsafe { halves(a, Self::max(a, b), |a, most| vbslq_f32(vceqq_f32(a, a), most, a)) }
    }
    #[inline(always)] unsafe fn fma(a: V, b: V, c: V) -> V {
        unsafe { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }
    #[inline(always)] unsafe fn round(a: V) -> V { unsafe { float32x4x2_t(vrndnq_f32(a.0), vrndnq_f32(a.1)) } }
    #[inline(always)] unsafe fn sqrt(a: V) -> V { unsafe { float32x4x2_t(vsqrtq_f32(a.0), vsqrtq_f32(a.1)) } }
    #[inline(always)] unsafe fn pow2(n: V) -> V {
        halves(n, n, |n, _| unsafe {
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127))))
        })
    }
    #[inline(always)] unsafe fn scale(v: V, n: V) -> V {
        // Exponents -127 and 128 come out as the bits of 0 and of infinity.
        unsafe { Self::mul(v, Self::pow2(n)) }
    }
    #[inline(always)] unsafe fn transpose(
        from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, rows: usize, cols: usize,
    ) {
        unsafe {
            let mut a = [Self::splat(0.0); 8];
            for (i, a) in a.iter_mut().enumerate().take(rows) {
                *a = Self::load_first(from.add(i * from_stride), cols);
            }
            // Quarters, each turned; those off the diagonal change places.
            let [left, right] = [square([a[0].0, a[1].0, a[2].0, a[3].0]), square([a[0].1, a[1].1, a[2].1, a[3].1])];
            let [below, last] = [square([a[4].0, a[5].0, a[6].0, a[7].0]), square([a[4].1, a[5].1, a[6].1, a[7].1])];
            for i in 0..cols {
                let (first, second) = if i < 4 { (left[i], below[i]) } else { (right[i - 4], last[i - 4]) };
                Self::store_first(to.add(i * to_stride), float32x4x2_t(first, second), rows);
            }
        }
    }
    #[inline(always)] unsafe fn sum(v: V) -> f32 {
        unsafe {
            let v = vaddq_f32(v.0, v.1);
            let v = vadd_f32(vget_low_f32(v), vget_high_f32(v));
            vget_lane_f32::<0>(v) + vget_lane_f32::<1>(v)
        }
    }
    #[inline(always)] unsafe fn maximum(v: V) -> f32 { unsafe { vmaxvq_f32(vmaxq_f32(v.0, v.1)) } }
    #[inline(always)] unsafe fn load_halves(from: *const u16) -> V {
        unsafe {
            let halves = vld1q_u16(from);
            let (low, high): (float32x4_t, float32x4_t);
            // The compiler has no stable name for these two.
            std::arch::asm!(
                "fcvtl {low:v}.4s, {halves:v}.4h", "fcvtl2 {high:v}.4s, {halves:v}.8h",
                halves = in(vreg) halves, low = out(vreg) low, high = lateout(vreg) high,
                options(pure, nomem, nostack, preserves_flags)
            );
            float32x4x2_t(low, high)
        }
    }
    #[inline(always)] unsafe fn store_bytes(to: *mut u8, v: V) {
        unsafe {
            let pairs = vcombine_u16(vmovn_u32(vcvtnq_u32_f32(v.0)), vmovn_u32(vcvtnq_u32_f32(v.1)));
            vst1_u8(to, vmovn_u16(pairs));
        }
    }
    #[inline(always)] unsafe fn store_bfloats(to: *mut u16, v: V) {
        let near = |v: float32x4_t| unsafe {
            let bits = vreinterpretq_u32_f32(v);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let near = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
            // What is not a number must not be carried over to infinity.
            let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
            vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(v, v), near, quiet))
        };
        unsafe { vst1q_u16(to, vcombine_u16(near(v.0), near(v.1))) }
    }
    #[inline(always)] unsafe fn lowered(whole: *const f32, zero: f32, sums: *const f32) -> V {
        let four = |at: usize| unsafe {
            let (whole, sums) = (vld1q_s32(whole.add(at).cast()), vld1q_s32(sums.add(at).cast()));
            vcvtq_f32_s32(vmlsq_n_s32(whole, sums, zero as i32))
        };
        float32x4x2_t(four(0), four(4))
    }
    #[inline(always)] unsafe fn prefetch(at: *const f32) {
        // The intrinsic is not stable yet.
        unsafe { std::arch::asm!("prfm pldl2keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
    }
}
