//! Plain Rust, 8 floats at a time as AVX2 and NEON have them: the reference that they are held to, bit for bit.

use half::{bf16, f16};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Scalar;

type V = [f32; 8];

#[inline(always)]
fn each(a: V, f: impl Fn(f32) -> f32) -> V {
    a.map(f)
}

#[inline(always)]
fn pairs(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY of the bodies: pointers are valid by the trait's promise.
#[rustfmt::skip]
#[expect(clippy::undocumented_unsafe_blocks, reason = "the bodies share the line above")]
impl Simd for Scalar {
    type V = V;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    #[inline(always)] unsafe fn splat(x: f32) -> V { [x; 8] }
    #[inline(always)] unsafe fn load(from: *const f32) -> V { unsafe { from.cast::<V>().read_unaligned() } }
    #[inline(always)] unsafe fn store(to: *mut f32, v: V) { unsafe { to.cast::<V>().write_unaligned(v) } }
    #[inline(always)] unsafe fn load_first(from: *const f32, n: usize) -> V {
        let mut v = [0.0; 8];
        unsafe { std::ptr::copy_nonoverlapping(from, v.as_mut_ptr(), n) };
        v
    }
    #[inline(always)] unsafe fn store_first(to: *mut f32, v: V, n: usize) {
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), to, n) }
    }
    #[inline(always)] unsafe fn add(a: V, b: V) -> V { pairs(a, b, |a, b| a + b) }
    #[inline(always)] unsafe fn sub(a: V, b: V) -> V { pairs(a, b, |a, b| a - b) }
    #[inline(always)] unsafe fn mul(a: V, b: V) -> V { pairs(a, b, |a, b| a * b) }
    #[inline(always)] unsafe fn div(a: V, b: V) -> V { pairs(a, b, |a, b| a / b) }
    #[inline(always)] unsafe fn min(a: V, b: V) -> V { pairs(a, b, |a, b| if a < b { a } else { b }) }
    #[inline(always)] unsafe fn max(a: V, b: V) -> V { pairs(a, b, |a, b| if a > b { a } else { b }) }
    #[inline(always)] unsafe fn smaller(a: V, b: V) -> V {
        pairs(a, b, |a, b| if a < b || a.is_nan() { a } else { b })
    }
    #[inline(always)] unsafe fn larger(a: V, b: V) -> V {
        pairs(a, b, |a, b| if a > b || a.is_nan() { a } else { b })
    }
    #[inline(always)] unsafe fn fma(a: V, b: V, c: V) -> V { std::array::from_fn(|i| a[i].mul_add(b[i], c[i])) }
    #[inline(always)] unsafe fn round(a: V) -> V { each(a, f32::round_ties_even) }
    #[inline(always)] unsafe fn sqrt(a: V) -> V { each(a, f32::sqrt) }
    #[inline(always)] unsafe fn pow2(n: V) -> V { each(n, |n| f32::from_bits(((n as i32 + 127) as u32) << 23)) }
    // Exponents -127 and 128 come out as the bits of 0 and of infinity.
    #[inline(always)] unsafe fn scale(v: V, n: V) -> V { unsafe { Self::mul(v, Self::pow2(n)) } }
    #[inline(always)] unsafe fn transpose(
        from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, rows: usize, cols: usize,
    ) {
        for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
            unsafe { *to.add(col * to_stride + row) = *from.add(row * from_stride + col) };
        }
    }
    #[inline(always)] unsafe fn sum(v: V) -> f32 {
        let [a, b, c, d]: [f32; 4] = std::array::from_fn(|i| v[i] + v[i + 4]);
        (a + c) + (b + d)
    }
    #[inline(always)] unsafe fn maximum(v: V) -> f32 { v.into_iter().fold(v[0], |a, b| if b > a { b } else { a }) }
    #[inline(always)] unsafe fn load_halves(from: *const u16) -> V {
        std::array::from_fn(|i| f16::from_bits(unsafe { from.add(i).read_unaligned() }).to_f32())
    }
    #[inline(always)] unsafe fn store_bytes(to: *mut u8, v: V) {
        unsafe { to.cast::<[u8; 8]>().write_unaligned(v.map(|x| x as u8)) }
    }
    #[inline(always)] unsafe fn store_bfloats(to: *mut u16, v: V) {
        unsafe { to.cast::<[u16; 8]>().write_unaligned(v.map(|x| bf16::from_f32(x).to_bits())) }
    }
    #[inline(always)] unsafe fn lowered(whole: *const f32, zero: f32, sums: *const f32) -> V {
        let [whole, sums] = [whole, sums].map(|at| unsafe { at.cast::<[i32; 8]>().read_unaligned() });
        std::array::from_fn(|i| whole[i].wrapping_sub((zero as i32).wrapping_mul(sums[i])) as f32)
    }
    #[inline(always)] unsafe fn prefetch(_: *const f32) {}
}
