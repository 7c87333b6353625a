//! WebAssembly's vectors of 128 bits, two as one of 8 floats, so that they add up in the order that the others do.
//!
//! There is no fused multiply-add, and the relaxed one may fuse or not: one seed would be two images. So there are two
//! sets: one that rounds twice, and one that gives the bits of every other set by way of 64-bit floats, more slowly.
//! Nor is relaxed SIMD asked of the compiler: it makes relaxed minima of exact ones then, which lose NaN.

use std::arch::wasm32::*;

use super::{Kernel, Simd};

/// `EXACT` is whether [`fma`](Simd::fma) rounds once. Whoever could not run it could not load the module.
#[derive(Clone, Copy)]
pub(crate) struct Simd128<const EXACT: bool>;

impl<const EXACT: bool> Simd128<EXACT> {
    /// Runs `kernel`: by itself, so that no room is made for what it keeps on the stack where another set is chosen.
    ///
    /// # Safety
    /// It is as the other sets have it; nothing is asked.
    #[inline(never)]
    pub(crate) unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Self)
    }
}

type V = [v128; 2];

#[expect(improper_ctypes, reason = "a vector is a value of WebAssembly's own")]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// `a * b + c`, rounded twice, by two instructions that `bindings/wasm/modules.mjs` writes in place of each call.
    ///
    /// The compiler keeps calls in order, so that a tile takes one step of the inner dimension after another, whose
    /// words fit the registers. Of instructions it makes one sum after another, and an engine keeps that order.
    safe fn multiply_add(a: v128, b: v128, c: v128) -> v128;
}

#[inline(always)]
fn each(a: V, f: impl Fn(v128) -> v128) -> V {
    [f(a[0]), f(a[1])]
}

#[inline(always)]
fn pairs(a: V, b: V, f: impl Fn(v128, v128) -> v128) -> V {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// `b` unless `a` is less: as AVX2 orders zeros and NaN.
#[inline(always)]
fn less(a: v128, b: v128) -> v128 {
    f32x4_pmin(b, a)
}

#[inline(always)]
fn more(a: v128, b: v128) -> v128 {
    f32x4_pmax(b, a)
}

/// `a` where it is not a number, else `b`.
#[inline(always)]
fn unless_nan(a: v128, b: v128) -> v128 {
    v128_bitselect(b, a, f32x4_eq(a, a))
}

/// The transpose of four rows of 4 floats.
#[inline(always)]
fn square([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
    let (last_ab, last_cd) = (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
    [
        i64x2_shuffle::<0, 2>(ab, cd),
        i64x2_shuffle::<1, 3>(ab, cd),
        i64x2_shuffle::<0, 2>(last_ab, last_cd),
        i64x2_shuffle::<1, 3>(last_ab, last_cd),
    ]
}

/// Four halves, each in the lower bits of a word, as floats.
#[inline(always)]
fn widened(halves: v128) -> v128 {
    let number = v128_and(halves, i32x4_splat(0x7fff));
    // With the float's bias in place of the half's; what is too small for a normal half becomes a normal float.
    let scaled = f32x4_mul(i32x4_shl(number, 13), f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let beyond = v128_and(i32x4_gt(number, i32x4_splat(0x7bff)), i32x4_splat(0x7f80_0000));
    let sign = i32x4_shl(v128_and(halves, i32x4_splat(0x8000)), 16);
    v128_or(v128_or(scaled, beyond), sign)
}

/// bfloat16, in the lower bits of words.
#[inline(always)]
fn bfloats(bits: v128) -> v128 {
    let odd = v128_and(u32x4_shr(bits, 16), i32x4_splat(1));
    let near = i32x4_add(bits, i32x4_add(odd, i32x4_splat(0x7fff)));
    // What is not a number must not be carried over to infinity.
    let quiet = v128_or(bits, i32x4_splat(0x40_0000));
    u32x4_shr(v128_bitselect(near, quiet, f32x4_eq(bits, bits)), 16)
}

/// `a * b + c`, rounded once.
#[inline(always)]
fn fused(a: v128, b: v128, c: v128) -> v128 {
    let last = |v: v128| f64x2_promote_low_f32x4(i64x2_shuffle::<1, 1>(v, v));
    let first = |v: v128| f64x2_promote_low_f32x4(v);
    // The product of two floats is a 64-bit float, so the sum alone is rounded: to 53 bits.
    let low = f64x2_add(f64x2_mul(first(a), first(b)), first(c));
    let high = f64x2_add(f64x2_mul(last(a), last(b)), last(c));
    if v128_any_true(v128_or(between(low), between(high))) {
        return one_by_one(a, b, c);
    }
    i64x2_shuffle::<0, 2>(f32x4_demote_f64x2_zero(low), f32x4_demote_f64x2_zero(high))
}

/// Where rounding once more, to a float, could end on the wrong side: half-way between two floats, or among those that
/// are too small to be normal, whose half-way points lie elsewhere.
#[inline(always)]
fn between(sum: v128) -> v128 {
    let halfway = i64x2_eq(v128_and(sum, i64x2_splat(0x1fff_ffff)), i64x2_splat(0x1000_0000));
    let small = f64x2_lt(f64x2_abs(sum), f64x2_splat(f64::from(f32::MIN_POSITIVE)));
    v128_or(halfway, v128_and(small, f64x2_ne(sum, f64x2_splat(0.0))))
}

#[cold]
#[inline(never)]
fn one_by_one(a: v128, b: v128, c: v128) -> v128 {
    macro_rules! lanes {
        ($($lane:literal)*) => {
            f32x4($(
                f32x4_extract_lane::<$lane>(a)
                    .mul_add(f32x4_extract_lane::<$lane>(b), f32x4_extract_lane::<$lane>(c)),
            )*)
        };
    }
    lanes!(0 1 2 3)
}

// SAFETY: two vectors of 128 bits are 8 floats or whole numbers, one is 8 halves, 64 bits are 8 bytes.
#[rustfmt::skip]
unsafe impl<const EXACT: bool> Simd for Simd128<EXACT> {
    type V = V;
    type Whole = V;
    type Halves = v128;
    type Bytes = u64;
    type Square = [V; 8];
    const LANES: usize = 8;
    // An engine on x86-64 has sixteen, each half of a vector here; on Arm thirty-two.
    const REGISTERS: usize = 8;
    const EXPONENTS: (f32, f32) = (-127.0, 128.0);

    #[inline(always)] fn splat(self, x: f32) -> V { [f32x4_splat(x); 2] }
    #[inline(always)] fn square(self) -> [V; 8] { [[f32x4_splat(0.0); 2]; 8] }
    #[inline(always)] fn add(self, a: V, b: V) -> V { pairs(a, b, |a, b| f32x4_add(a, b)) }
    #[inline(always)] fn sub(self, a: V, b: V) -> V { pairs(a, b, |a, b| f32x4_sub(a, b)) }
    #[inline(always)] fn mul(self, a: V, b: V) -> V { pairs(a, b, |a, b| f32x4_mul(a, b)) }
    #[inline(always)] fn div(self, a: V, b: V) -> V { pairs(a, b, |a, b| f32x4_div(a, b)) }
    #[inline(always)] fn min(self, a: V, b: V) -> V { pairs(a, b, less) }
    #[inline(always)] fn max(self, a: V, b: V) -> V { pairs(a, b, more) }
    #[inline(always)] fn smaller(self, a: V, b: V) -> V { pairs(a, b, |a, b| unless_nan(a, less(a, b))) }
    #[inline(always)] fn larger(self, a: V, b: V) -> V { pairs(a, b, |a, b| unless_nan(a, more(a, b))) }
    #[inline(always)] fn fma(self, a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| match EXACT {
            true => fused(a[i], b[i], c[i]),
            false => multiply_add(a[i], b[i], c[i]),
        })
    }
    #[inline(always)] fn round(self, a: V) -> V { each(a, |a| f32x4_nearest(a)) }
    #[inline(always)] fn sqrt(self, a: V) -> V { each(a, |a| f32x4_sqrt(a)) }
    #[inline(always)] fn scale(self, v: V, n: V) -> V {
        // Exponents -127 and 128 come out as the bits of 0 and of infinity.
        pairs(v, n, |v, n| {
            let exponent = i32x4_add(i32x4_trunc_sat_f32x4(n), i32x4_splat(127));
            f32x4_mul(v, i32x4_shl(exponent, 23))
        })
    }
    #[inline(always)] fn turned(self, rows: [V; 8]) -> [V; 8] {
        // Quarters, each turned; those off the diagonal change places.
        let quarter = |row: usize, half: usize| square(std::array::from_fn(|i| rows[row + i][half]));
        let ([left, right], [below, last]) = ([quarter(0, 0), quarter(0, 1)], [quarter(4, 0), quarter(4, 1)]);
        let mut turned = rows;
        for i in 0..4 {
            turned[i] = [left[i], below[i]];
            turned[i + 4] = [right[i], last[i]];
        }
        turned
    }
    #[inline(always)] fn sum(self, v: V) -> f32 {
        let v = f32x4_add(v[0], v[1]);
        let v = f32x4_add(v, i64x2_shuffle::<1, 1>(v, v));
        f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
    }
    #[inline(always)] fn maximum(self, v: V) -> f32 {
        let v = more(v[0], v[1]);
        let v = more(v, i64x2_shuffle::<1, 1>(v, v));
        f32x4_extract_lane::<0>(more(v, i32x4_shuffle::<1, 1, 1, 1>(v, v)))
    }
    #[inline(always)] fn widened(self, halves: v128) -> V {
        [widened(u32x4_extend_low_u16x8(halves)), widened(u32x4_extend_high_u16x8(halves))]
    }
    #[inline(always)] fn bytes(self, v: V) -> u64 {
        let [low, high] = each(v, |v| i32x4_trunc_sat_f32x4(v));
        let pairs = i16x8_narrow_i32x4(low, high);
        u64x2_extract_lane::<0>(u8x16_narrow_i16x8(pairs, pairs))
    }
    #[inline(always)] fn shorts(self, v: V) -> v128 {
        let [low, high] = each(v, |v| i32x4_trunc_sat_f32x4(v));
        i16x8_narrow_i32x4(low, high)
    }
    #[inline(always)] fn bfloats(self, v: V) -> v128 { u16x8_narrow_i32x4(bfloats(v[0]), bfloats(v[1])) }
    #[inline(always)] fn lowered(self, whole: V, zero: f32, sums: V) -> V {
        let zero = i32x4_splat(zero as i32);
        pairs(whole, sums, |whole, sums| f32x4_convert_i32x4(i32x4_sub(whole, i32x4_mul(zero, sums))))
    }
    #[inline(always)] fn prefetch(self, _: *const f32) {}
}

#[cfg(test)]
mod tests {
    use super::super::Scalar;
    use super::*;

    #[test]
    fn fma_rounds_once_where_rounding_twice_would_end_elsewhere() {
        let tiny = f32::from_bits(1);
        let cases = [
            // Half-way between two floats, and a little beside it.
            (1.0 + f32::EPSILON, 1.0 + f32::EPSILON / 2.0 * 2.0, 0.0),
            (f32::EPSILON / 2.0, 1.0 + f32::EPSILON, 1.0),
            (f32::EPSILON / 2.0, 1.0, 1.0 + f32::EPSILON),
            (1.000_000_1, 2f32.powi(-24) * (1.0 - f32::EPSILON), 1.0),
            (2f32.powi(-60), 2f32.powi(-60), 1.0 + f32::EPSILON),
            // Too small to be normal: k, k and a half, and what lies beside that.
            (tiny, 0.5, tiny),
            (tiny, 0.5 + 2f32.powi(-24), tiny),
            (2f32.powi(-75), 2f32.powi(-75) * (1.0 + f32::EPSILON), f32::MIN_POSITIVE / 2.0 + tiny),
            (2f32.powi(-75), -2f32.powi(-75) * (1.0 - f32::EPSILON), f32::MIN_POSITIVE / 2.0 + tiny),
            // Too large, not a number, zeros.
            (f32::MAX, 1.0, f32::MAX),
            (f32::MAX, 1.0 + f32::EPSILON, -f32::MAX),
            (f32::INFINITY, 1.0, 1.0),
            (-0.0, 1.0, -0.0),
            (f32::NAN, 1.0, 1.0),
        ];
        for (a, b, c) in cases {
            let ([low, high], exact) = (
                Simd128::<true>.fma([f32x4_splat(a); 2], [f32x4_splat(b); 2], [f32x4_splat(c); 2]),
                Scalar.fma([a; 8], [b; 8], [c; 8])[0],
            );
            for found in [f32x4_extract_lane::<0>(low), f32x4_extract_lane::<3>(high)] {
                assert!(
                    found.to_bits() == exact.to_bits() || found.is_nan() && exact.is_nan(),
                    "{a:e} * {b:e} + {c:e} = {found:e}, {exact:e}"
                );
            }
        }
    }
}
