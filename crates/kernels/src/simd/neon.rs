//! NEON, two vectors as one of 8 floats: 16 pairs of registers. Every 64-bit Arm processor has it.
//!
//! As wide as AVX2, so that both add up in the same order and give the same bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::Simd;
use super::token::{methods, token};

token!(
    /// NEON.
    Neon,
    "neon",
    true
);

type V = float32x4x2_t;

/// What `f` makes of each half.
#[inline]
#[target_feature(enable = "neon")]
fn halves(a: V, b: V, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> V {
    float32x4x2_t(f(a.0, b.0), f(a.1, b.1))
}

/// The transpose of four rows of 4 floats.
#[inline]
#[target_feature(enable = "neon")]
fn square(a: [float32x4_t; 4]) -> [float32x4_t; 4] {
    let (ab, cd) = (vtrnq_f32(a[0], a[1]), vtrnq_f32(a[2], a[3]));
    [
        vcombine_f32(vget_low_f32(ab.0), vget_low_f32(cd.0)),
        vcombine_f32(vget_low_f32(ab.1), vget_low_f32(cd.1)),
        vcombine_f32(vget_high_f32(ab.0), vget_high_f32(cd.0)),
        vcombine_f32(vget_high_f32(ab.1), vget_high_f32(cd.1)),
    ]
}

// Not the instructions for these, which order zeros and NaN in another way than AVX2 does.

#[inline]
#[target_feature(enable = "neon")]
fn less(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(a, b), a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn more(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(a, b), a, b)
}

/// `a` where it is not a number, else `b`.
#[inline]
#[target_feature(enable = "neon")]
fn unless_nan(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vceqq_f32(a, a), b, a)
}

/// Whole numbers of 0 to 255.
#[inline]
#[target_feature(enable = "neon")]
fn shorts(v: V) -> uint16x8_t {
    vcombine_u16(vmovn_u32(vcvtnq_u32_f32(v.0)), vmovn_u32(vcvtnq_u32_f32(v.1)))
}

#[inline]
#[target_feature(enable = "neon")]
fn bfloats(v: float32x4_t) -> uint16x4_t {
    let bits = vreinterpretq_u32_f32(v);
    let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
    let near = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    // What is not a number must not be carried over to infinity.
    let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
    vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(v, v), near, quiet))
}

// SAFETY: two vectors of 128 bits are 8 floats or whole numbers, one is 8 halves, 64 bits are 8 bytes.
#[rustfmt::skip]
unsafe impl Simd for Neon {
    type V = V;
    type Whole = int32x4x2_t;
    type Halves = uint16x8_t;
    type Bytes = uint8x8_t;
    type Square = [V; 8];
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    methods! { "neon"
        fn splat(x: f32) -> V { float32x4x2_t(vdupq_n_f32(x), vdupq_n_f32(x)) }
        fn square() -> [V; 8] { [float32x4x2_t(vdupq_n_f32(0.0), vdupq_n_f32(0.0)); 8] }
        fn add(a: V, b: V) -> V { halves(a, b, |a, b| vaddq_f32(a, b)) }
        fn sub(a: V, b: V) -> V { halves(a, b, |a, b| vsubq_f32(a, b)) }
        fn mul(a: V, b: V) -> V { halves(a, b, |a, b| vmulq_f32(a, b)) }
        fn div(a: V, b: V) -> V { halves(a, b, |a, b| vdivq_f32(a, b)) }
        fn min(a: V, b: V) -> V { halves(a, b, |a, b| less(a, b)) }
        fn max(a: V, b: V) -> V { halves(a, b, |a, b| more(a, b)) }
        fn smaller(a: V, b: V) -> V { halves(a, b, |a, b| unless_nan(a, less(a, b))) }
        fn larger(a: V, b: V) -> V { halves(a, b, |a, b| unless_nan(a, more(a, b))) }
        fn fma(a: V, b: V, c: V) -> V { float32x4x2_t(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
        fn round(a: V) -> V { float32x4x2_t(vrndnq_f32(a.0), vrndnq_f32(a.1)) }
        fn sqrt(a: V) -> V { float32x4x2_t(vsqrtq_f32(a.0), vsqrtq_f32(a.1)) }
        fn scale(v: V, n: V) -> V {
            // Exponents -127 and 128 come out as the bits of 0 and of infinity.
            halves(v, n, |v, n| {
                let exponent = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)));
                vmulq_f32(v, vreinterpretq_f32_s32(exponent))
            })
        }
        fn turned(rows: [V; 8]) -> [V; 8] {
            // Quarters, each turned; those off the diagonal change places.
            let [a, b, c, d, e, f, g, h] = rows;
            let (left, right) = (square([a.0, b.0, c.0, d.0]), square([a.1, b.1, c.1, d.1]));
            let (below, last) = (square([e.0, f.0, g.0, h.0]), square([e.1, f.1, g.1, h.1]));
            let mut turned = rows;
            for i in 0..4 {
                turned[i] = float32x4x2_t(left[i], below[i]);
                turned[i + 4] = float32x4x2_t(right[i], last[i]);
            }
            turned
        }
        fn sum(v: V) -> f32 {
            let v = vaddq_f32(v.0, v.1);
            let v = vadd_f32(vget_low_f32(v), vget_high_f32(v));
            vget_lane_f32::<0>(v) + vget_lane_f32::<1>(v)
        }
        fn maximum(v: V) -> f32 { vmaxvq_f32(vmaxq_f32(v.0, v.1)) }
        fn widened(halves: uint16x8_t) -> V {
            let (low, high): (float32x4_t, float32x4_t);
            // SAFETY: two of NEON's instructions, for which the compiler has no stable name.
            unsafe {
                asm!("fcvtl {low:v}.4s, {halves:v}.4h", "fcvtl2 {high:v}.4s, {halves:v}.8h",
                    halves = in(vreg) halves, low = out(vreg) low, high = lateout(vreg) high,
                    options(pure, nomem, nostack, preserves_flags));
            }
            float32x4x2_t(low, high)
        }
        fn bytes(v: V) -> uint8x8_t { vmovn_u16(shorts(v)) }
        fn shorts(v: V) -> uint16x8_t { shorts(v) }
        fn bfloats(v: V) -> uint16x8_t { vcombine_u16(bfloats(v.0), bfloats(v.1)) }
        fn lowered(whole: int32x4x2_t, zero: f32, sums: int32x4x2_t) -> V {
            let zero = zero as i32;
            let (low, high) = (vmlsq_n_s32(whole.0, sums.0, zero), vmlsq_n_s32(whole.1, sums.1, zero));
            float32x4x2_t(vcvtq_f32_s32(low), vcvtq_f32_s32(high))
        }
    }

    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: no address is read. The intrinsic is not stable yet.
        unsafe { asm!("prfm pldl2keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
    }
}
