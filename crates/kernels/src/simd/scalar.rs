//! Plain Rust, 8 floats at a time as AVX2 and NEON have them: the reference that they are held to, bit for bit.

use half::{bf16, f16};

use super::{Kernel, Simd};

/// Every processor has it.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Scalar {
    /// Runs `kernel`: by itself, so that no room is made for what it keeps on the stack where another set is chosen.
    ///
    /// # Safety
    /// It is as the other sets have it; nothing is asked.
    #[inline(never)]
    pub(crate) unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Self)
    }
}

type V = [f32; 8];

#[inline(always)]
fn each(a: V, f: impl Fn(f32) -> f32) -> V {
    a.map(f)
}

#[inline(always)]
fn pairs(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

// SAFETY: arrays of as many numbers.
#[rustfmt::skip]
unsafe impl Simd for Scalar {
    type V = V;
    type Whole = [i32; 8];
    type Halves = [u16; 8];
    type Bytes = [u8; 8];
    type Square = [V; 8];
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    #[inline(always)] fn splat(self, x: f32) -> V { [x; 8] }
    #[inline(always)] fn square(self) -> [V; 8] { [[0.0; 8]; 8] }
    #[inline(always)] fn add(self, a: V, b: V) -> V { pairs(a, b, |a, b| a + b) }
    #[inline(always)] fn sub(self, a: V, b: V) -> V { pairs(a, b, |a, b| a - b) }
    #[inline(always)] fn mul(self, a: V, b: V) -> V { pairs(a, b, |a, b| a * b) }
    #[inline(always)] fn div(self, a: V, b: V) -> V { pairs(a, b, |a, b| a / b) }
    #[inline(always)] fn min(self, a: V, b: V) -> V { pairs(a, b, |a, b| if a < b { a } else { b }) }
    #[inline(always)] fn max(self, a: V, b: V) -> V { pairs(a, b, |a, b| if a > b { a } else { b }) }
    #[inline(always)] fn smaller(self, a: V, b: V) -> V {
        pairs(a, b, |a, b| if a < b || a.is_nan() { a } else { b })
    }
    #[inline(always)] fn larger(self, a: V, b: V) -> V {
        pairs(a, b, |a, b| if a > b || a.is_nan() { a } else { b })
    }
    #[inline(always)] fn fma(self, a: V, b: V, c: V) -> V { std::array::from_fn(|i| a[i].mul_add(b[i], c[i])) }
    #[inline(always)] fn round(self, a: V) -> V { each(a, f32::round_ties_even) }
    #[inline(always)] fn sqrt(self, a: V) -> V { each(a, f32::sqrt) }
    #[inline(always)] fn scale(self, v: V, n: V) -> V {
        // Exponents -127 and 128 come out as the bits of 0 and of infinity.
        self.mul(v, each(n, |n| f32::from_bits(((n as i32 + 127) as u32) << 23)))
    }
    #[inline(always)] fn turned(self, rows: [V; 8]) -> [V; 8] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
    #[inline(always)] fn sum(self, v: V) -> f32 {
        let [a, b, c, d]: [f32; 4] = std::array::from_fn(|i| v[i] + v[i + 4]);
        (a + c) + (b + d)
    }
    #[inline(always)] fn maximum(self, v: V) -> f32 { v.into_iter().fold(v[0], |a, b| if b > a { b } else { a }) }
    #[inline(always)] fn widened(self, halves: [u16; 8]) -> V { halves.map(|bits| f16::from_bits(bits).to_f32()) }
    #[inline(always)] fn bytes(self, v: V) -> [u8; 8] { v.map(|x| x as u8) }
    #[inline(always)] fn shorts(self, v: V) -> [u16; 8] { v.map(|x| x as u16) }
    #[inline(always)] fn bfloats(self, v: V) -> [u16; 8] { v.map(|x| bf16::from_f32(x).to_bits()) }
    #[inline(always)] fn lowered(self, whole: [i32; 8], zero: f32, sums: [i32; 8]) -> V {
        std::array::from_fn(|i| whole[i].wrapping_sub((zero as i32).wrapping_mul(sums[i])) as f32)
    }
    #[inline(always)] fn prefetch(self, _: *const f32) {}
}
