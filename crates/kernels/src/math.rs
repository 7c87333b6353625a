//! Elementary functions on vectors, a few units in the last place off.
//!
//! All are branch-free and without tables, so that they can stand at the end of any kernel.

use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

use super::Simd;

/// The polynomial with these coefficients, highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut y = simd.splat(coefficients[0]);
    for c in &coefficients[1..] {
        y = simd.fma(y, x, simd.splat(*c));
    }
    y
}

/// `e^x` within 2 units in the last place. Results below the smallest normal number may be 0; those above
/// 2.4e38 may be infinite.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    // The bound comes first and the value second: that way round a NaN passes.
    let x = simd.min(simd.splat(S::EXPONENTS.1 * LN_2), x);
    let x = simd.max(simd.splat(S::EXPONENTS.0 * LN_2), x);
    let n = simd.round(simd.mul(x, simd.splat(LOG2_E)));
    // x - n ln 2 with ln 2 in two parts: the first has few enough bits for an exact product.
    let r = simd.fma(n, simd.splat(-0.693_359_4), x);
    let r = simd.fma(n, simd.splat(2.121_944_4e-4), r);
    // Minimax on ±ln 2 / 2, relative error 2e-9.
    let y = polynomial::<S, 7>(
        simd,
        r,
        [1.383_819_6e-3, 8.374_964e-3, 4.166_820_6e-2, 0.166_664_18, 0.499_999_9, 1.0, 1.0],
    );
    simd.scale(y, n)
}

/// `2^x` for `x` not above 0, relative error 2.5e-7, for the weights of a softmax.
#[inline(always)]
pub fn exp2_weight<S: Simd>(simd: S, x: S::V) -> S::V {
    let x = simd.max(simd.splat(S::EXPONENTS.0), x);
    let n = simd.round(x);
    // Minimax on ±1/2, relative error 8e-8.
    let y = polynomial::<S, 6>(
        simd,
        simd.sub(x, n),
        [1.327_793_9e-3, 9.675_758e-3, 5.550_709_6e-2, 0.240_221_14, 0.693_146_97, 1.000_000_1],
    );
    simd.scale(y, n)
}

/// `1 + 2^x`, as good as [`exp2_weight`]; infinite from `x` = 129 on at the latest.
#[inline(always)]
fn one_and_exp2<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.add(simd.splat(1.0), exp2_weight(simd, simd.min(simd.splat(S::EXPONENTS.1), x)))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::V) -> S::V {
    let one = simd.splat(1.0);
    simd.div(one, simd.add(one, exp(simd, simd.sub(simd.splat(0.0), x))))
}

/// `x sigmoid(x)`.
#[inline(always)]
pub fn silu<S: Simd>(simd: S, x: S::V) -> S::V {
    simd.div(x, one_and_exp2(simd, simd.mul(simd.splat(-std::f32::consts::LOG2_E), x)))
}

/// `x P(x²) / Q(x²)`, with `x` first brought into ±`bound`.
#[inline(always)]
fn odd_rational<S: Simd>(simd: S, x: S::V, bound: f32, p: [f32; 7], q: [f32; 5]) -> S::V {
    let x = simd.max(simd.splat(-bound), simd.min(simd.splat(bound), x));
    let x2 = simd.mul(x, x);
    simd.div(simd.mul(x, polynomial::<S, 7>(simd, x2, p)), polynomial::<S, 5>(simd, x2, q))
}

/// The hyperbolic tangent, relative error 5e-7.
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    // The rational approximation that Eigen uses.
    let p = [
        -2.760_768_5e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297e-8,
        1.485_722_4e-5,
        6.372_619_3e-4,
        4.893_524_6e-3,
    ];
    let q = [0.0, 1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    odd_rational(simd, x, 7.905_311, p, q)
}

/// The error function, relative error 5e-7.
#[inline(always)]
pub fn erf<S: Simd>(simd: S, x: S::V) -> S::V {
    // The rational approximation that Eigen uses.
    let p = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let q = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_474e-2];
    odd_rational(simd, x, 4.0, p, q)
}

/// GELU by its tanh form, `x (1 + tanh u) / 2` with `u = √(2/π) (x + 0.044715 x³)`; that is
/// `x sigmoid(2u)`, which takes one exponential.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    const C: f32 = -2.302_208_2; // -2 √(2/π) log2(e)
    let minus_2u = simd.mul(x, simd.fma(simd.mul(x, x), simd.splat(0.044_715 * C), simd.splat(C)));
    simd.div(x, one_and_exp2(simd, minus_2u))
}

/// GELU by the error function, `x (1 + erf(x / √2)) / 2`.
#[inline(always)]
pub fn gelu_erf<S: Simd>(simd: S, x: S::V) -> S::V {
    // Where `erf` saturates, a rounding short of -1 on some processors: times a far lower `x` that would be no zero.
    const LOWEST: f32 = -5.656_854;
    let half = simd.mul(simd.max(simd.splat(LOWEST), x), simd.splat(0.5));
    simd.fma(half, erf(simd, simd.mul(x, simd.splat(FRAC_1_SQRT_2))), half)
}

#[cfg(test)]
mod tests {
    use super::super::{Isa, Kernel};
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        Exp2,
        Sigmoid,
        Silu,
        Tanh,
        Erf,
        GeluTanh,
        GeluErf,
    }
    use Function::*;

    struct Apply<'a>(Function, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for chunk in self.1.chunks_mut(S::LANES) {
                // SAFETY: chunks hold at most `LANES` floats.
                unsafe {
                    let x = simd.load_first(chunk.as_ptr(), chunk.len());
                    let y = match self.0 {
                        Exp => exp(simd, x),
                        Exp2 => exp2_weight(simd, x),
                        Sigmoid => sigmoid(simd, x),
                        Silu => silu(simd, x),
                        Tanh => tanh(simd, x),
                        Erf => erf(simd, x),
                        GeluTanh => gelu_tanh(simd, x),
                        GeluErf => gelu_erf(simd, x),
                    };
                    simd.store_first(chunk.as_mut_ptr(), y, chunk.len());
                }
            }
        }
    }

    fn apply(isa: Isa, function: Function, x: f32) -> f32 {
        let mut at = [x];
        isa.run(Apply(function, &mut at));
        at[0]
    }

    /// The error function by its series, and for large `x` by the continued fraction of 1 - erf.
    fn erf64(x: f64) -> f64 {
        if x.abs() > 3.0 {
            let fraction = (1..=60).rev().fold(0.0, |f, k| k as f64 / 2.0 / (x.abs() + f));
            let tail = (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + fraction);
            return (1.0 - tail) * x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for k in 1..100 {
            term *= -x * x / k as f64;
            sum += term / (2 * k + 1) as f64;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn exact(function: Function, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match function {
            Exp => x.exp(),
            Exp2 => x.exp2(),
            Sigmoid => sigmoid(x),
            Silu => x * sigmoid(x),
            Tanh => x.tanh(),
            Erf => erf64(x),
            GeluTanh => {
                x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()) / 2.0
            }
            GeluErf => x * (1.0 + erf64(x / 2f64.sqrt())) / 2.0,
        }
    }

    #[test]
    fn functions_agree_with_f64_over_their_ranges() {
        // Function, range, bounds on the relative and on the absolute error (either is enough).
        for (function, from, to, relative, absolute) in [
            (Exp, -87.3, 88.3, 1.5e-7, 0.0),
            (Exp2, -126.0, 0.0, 2.5e-7, 0.0),
            (Sigmoid, -80.0, 80.0, 4e-7, 0.0),
            (Silu, -9.0, 80.0, 8e-7, 0.0),
            (Silu, -80.0, -9.0, 0.0, 1e-8),
            (Tanh, -20.0, 20.0, 6e-7, 0.0),
            (Tanh, -1e-3, 1e-3, 6e-7, 0.0),
            (Erf, -6.0, 6.0, 6e-7, 0.0),
            (GeluTanh, -3.0, 9.0, 1.5e-6, 0.0),
            (GeluTanh, -9.0, -3.0, 1.0, 1e-7),
            (GeluErf, -1.0, 9.0, 1.5e-6, 0.0),
            (GeluErf, -9.0, -1.0, 0.0, 1.2e-6),
        ] {
            // Products that are rounded before they are added.
            let absolute = if cfg!(target_family = "wasm") { 1.25 * absolute } else { absolute };
            let n = 200_003;
            let inputs: Vec<f32> =
                (0..n).map(|i| (from + (to - from) * i as f64 / (n - 1) as f64) as f32).collect();
            for isa in Isa::available() {
                let mut outputs = inputs.clone();
                isa.run(Apply(function, &mut outputs));
                let (mut worst, mut at) = (0.0, 0.0);
                for (x, y) in inputs.iter().zip(&outputs) {
                    let want = exact(function, *x as f64);
                    let error = (*y as f64 - want).abs();
                    if error > absolute && error > worst * want.abs() {
                        (worst, at) = (error / want.abs(), *x);
                    }
                }
                assert!(worst <= relative, "{function:?} with {isa}: {worst:e} at {at}");
            }
        }
    }

    #[test]
    fn functions_saturate_far_out() {
        for isa in Isa::available() {
            for x in [-105.0, -1e4, f32::MIN, f32::NEG_INFINITY] {
                assert_eq!(apply(isa, Exp, x), 0.0, "{isa} {x}");
                assert_eq!(apply(isa, Sigmoid, x), 0.0, "{isa} {x}");
                assert_eq!(apply(isa, Exp2, 2.0 * x), 0.0, "{isa} {x}");
            }
            for x in [89.0, 1e4, f32::MAX, f32::INFINITY] {
                assert_eq!(apply(isa, Exp, x), f32::INFINITY, "{isa} {x}");
                assert_eq!(apply(isa, Sigmoid, x), 1.0, "{isa} {x}");
                assert_eq!(apply(isa, Silu, x), x, "{isa} {x}");
                assert_eq!(apply(isa, GeluTanh, x), x, "{isa} {x}");
                assert!(apply(isa, GeluErf, x) >= x * (1.0 - 2e-7), "{isa} {x}");
                assert_eq!(apply(isa, GeluTanh, -x.min(1e9)), 0.0, "{isa} {x}");
                assert!(apply(isa, GeluErf, -x).abs() <= 1.2e-6, "{isa} {x}");
                for odd in [Tanh, Erf] {
                    assert!((apply(isa, odd, x) - 1.0).abs() < 2e-7, "{isa} {odd:?} {x}");
                    assert_eq!(apply(isa, odd, -x), -apply(isa, odd, x), "{isa} {odd:?} {x}");
                }
            }
            assert_eq!((apply(isa, Exp, 0.0), apply(isa, Exp2, 0.0)), (1.0, 1.0000001), "{isa}");
        }
    }

    #[test]
    fn not_a_number_stays_so() {
        for isa in Isa::available() {
            for function in [Exp, Sigmoid, Silu, Tanh, Erf, GeluTanh, GeluErf] {
                assert!(apply(isa, function, f32::NAN).is_nan(), "{isa} {function:?}");
            }
        }
    }
}
