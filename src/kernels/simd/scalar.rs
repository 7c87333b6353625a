//! One float at a time: the reference that the vector sets are tested against.

use super::Simd;

#[derive(Clone, Copy)]
pub(super) struct Scalar;

// SAFETY of the bodies: pointers are valid by the trait's promise.
#[rustfmt::skip]
impl Simd for Scalar {
    type V = f32;
    const LANES: usize = 1;
    const REGISTERS: usize = 16;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    #[inline(always)] unsafe fn splat(x: f32) -> f32 { x }
    #[inline(always)] unsafe fn load(from: *const f32) -> f32 { unsafe { from.read_unaligned() } }
    #[inline(always)] unsafe fn store(to: *mut f32, v: f32) { unsafe { to.write_unaligned(v) } }
    #[inline(always)] unsafe fn load_first(from: *const f32, n: usize) -> f32 {
        if n == 0 { 0.0 } else { unsafe { from.read_unaligned() } }
    }
    #[inline(always)] unsafe fn store_first(to: *mut f32, v: f32, n: usize) {
        if n > 0 { unsafe { to.write_unaligned(v) } }
    }
    #[inline(always)] unsafe fn add(a: f32, b: f32) -> f32 { a + b }
    #[inline(always)] unsafe fn sub(a: f32, b: f32) -> f32 { a - b }
    #[inline(always)] unsafe fn mul(a: f32, b: f32) -> f32 { a * b }
    #[inline(always)] unsafe fn div(a: f32, b: f32) -> f32 { a / b }
    #[inline(always)] unsafe fn min(a: f32, b: f32) -> f32 { if a < b { a } else { b } }
    #[inline(always)] unsafe fn max(a: f32, b: f32) -> f32 { if a > b { a } else { b } }
    #[inline(always)] unsafe fn smaller(a: f32, b: f32) -> f32 { if a < b || a.is_nan() { a } else { b } }
    #[inline(always)] unsafe fn larger(a: f32, b: f32) -> f32 { if a > b || a.is_nan() { a } else { b } }
    #[inline(always)] unsafe fn fma(a: f32, b: f32, c: f32) -> f32 { a.mul_add(b, c) }
    #[inline(always)] unsafe fn round(a: f32) -> f32 { a.round_ties_even() }
    #[inline(always)] unsafe fn sqrt(a: f32) -> f32 { a.sqrt() }
    #[inline(always)] unsafe fn pow2(n: f32) -> f32 { f32::from_bits(((n as i32 + 127) as u32) << 23) }
    // Exponents -127 and 128 come out as the bits of 0 and of infinity.
    #[inline(always)] unsafe fn scale(v: f32, n: f32) -> f32 { unsafe { v * Self::pow2(n) } }
    #[inline(always)] unsafe fn transpose(
        from: *const f32, _: usize, to: *mut f32, _: usize, rows: usize, cols: usize,
    ) {
        if rows > 0 && cols > 0 {
            unsafe { to.write_unaligned(from.read_unaligned()) }
        }
    }
    #[inline(always)] unsafe fn sum(v: f32) -> f32 { v }
    #[inline(always)] unsafe fn maximum(v: f32) -> f32 { v }
    #[inline(always)] unsafe fn prefetch(_: *const f32) {}
}
