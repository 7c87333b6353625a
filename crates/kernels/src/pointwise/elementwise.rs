//! The steps of a program, and how each is computed on registers.

use super::super::{Simd, math};
use serde::{Deserialize, Serialize};

/// One value of a program. Operands are the numbers of earlier steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Elementwise {
    /// An input, by its number.
    Load(usize),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    Neg,
    Abs,
    Square,
    Sqrt,
    /// `1 / √x`
    Rsqrt,
    Recip,
    Exp,
    Ln,
    Tanh,
    Sigmoid,
    Silu,
    Erf,
    GeluTanh,
    GeluErf,
    Cos,
    Sin,
    Add(f32),
    Mul(f32),
    Pow(f32),
    /// Not below the first and not above the second.
    Clamp(f32, f32),
    /// `x / step` to the nearest whole number, ties to even; `low` and `high`, whole themselves, bound it.
    Rounded {
        step: f32,
        low: f32,
        high: f32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

impl Elementwise {
    pub(super) fn operands(&self) -> [Option<usize>; 2] {
        match self {
            Self::Load(_) => [None, None],
            Self::Unary(_, a) => [Some(*a), None],
            Self::Binary(_, a, b) => [Some(*a), Some(*b)],
        }
    }

    /// The step with its operands replaced.
    pub(super) fn with(&self, place: impl Fn(usize) -> usize) -> Self {
        match *self {
            Self::Unary(op, a) => Self::Unary(op, place(a)),
            Self::Binary(op, a, b) => Self::Binary(op, place(a), place(b)),
            other => other,
        }
    }
}

/// `to[i] = op(a[i])` for `length` elements, whole vectors of them.
#[inline(always)]
pub(super) unsafe fn unary<S: Simd>(simd: S, op: Unary, a: *const f32, to: *mut f32, length: usize) {
    // SAFETY: the caller's promise that both hold `length` floats.
    unsafe {
        macro_rules! vectors {
            ($x:ident => $y:expr) => {
                for i in (0..length).step_by(S::LANES) {
                    let $x = simd.load(a.add(i));
                    simd.store(to.add(i), $y);
                }
            };
        }
        macro_rules! scalars {
            ($x:ident => $y:expr) => {
                for i in 0..length {
                    let $x = *a.add(i);
                    *to.add(i) = $y;
                }
            };
        }
        let one = simd.splat(1.0);
        match op {
            Unary::Neg => vectors!(x => simd.mul(x, simd.splat(-1.0))),
            Unary::Abs => vectors!(x => simd.max(simd.sub(simd.splat(0.0), x), x)),
            Unary::Square => vectors!(x => simd.mul(x, x)),
            Unary::Sqrt => vectors!(x => simd.sqrt(x)),
            Unary::Rsqrt => vectors!(x => simd.div(one, simd.sqrt(x))),
            Unary::Recip => vectors!(x => simd.div(one, x)),
            Unary::Exp => vectors!(x => math::exp(simd, x)),
            Unary::Tanh => vectors!(x => math::tanh(simd, x)),
            Unary::Sigmoid => vectors!(x => math::sigmoid(simd, x)),
            Unary::Silu => vectors!(x => math::silu(simd, x)),
            Unary::Erf => vectors!(x => math::erf(simd, x)),
            Unary::GeluTanh => vectors!(x => math::gelu_tanh(simd, x)),
            Unary::GeluErf => vectors!(x => math::gelu_erf(simd, x)),
            Unary::Add(c) => vectors!(x => simd.add(x, simd.splat(c))),
            Unary::Mul(c) => vectors!(x => simd.mul(x, simd.splat(c))),
            Unary::Pow(2.0) => vectors!(x => simd.mul(x, x)),
            Unary::Pow(3.0) => vectors!(x => simd.mul(simd.mul(x, x), x)),
            Unary::Clamp(low, high) => {
                vectors!(x => simd.min(simd.splat(high), simd.max(simd.splat(low), x)))
            }
            Unary::Rounded { step, low, high } => vectors!(x => {
                let steps = simd.div(x, simd.splat(step));
                let held = simd.min(simd.splat(high), simd.max(simd.splat(low), steps));
                // Whole numbers have one zero.
                simd.add(simd.round(held), simd.splat(0.0))
            }),
            // The platform's own differ in the last bit.
            Unary::Ln => scalars!(x => libm::logf(x)),
            Unary::Cos => scalars!(x => libm::cosf(x)),
            Unary::Sin => scalars!(x => libm::sinf(x)),
            Unary::Pow(c) => scalars!(x => libm::powf(x, c)),
        }
    }
}

/// `to[i] = op(a[i], b[i])` for `length` elements, whole vectors of them.
#[inline(always)]
pub(super) unsafe fn binary<S: Simd>(
    simd: S,
    op: Binary,
    a: *const f32,
    b: *const f32,
    to: *mut f32,
    length: usize,
) {
    // SAFETY: the caller's promise that all hold `length` floats.
    unsafe {
        macro_rules! vectors {
            ($op:ident) => {
                for i in (0..length).step_by(S::LANES) {
                    simd.store(to.add(i), simd.$op(simd.load(a.add(i)), simd.load(b.add(i))));
                }
            };
        }
        match op {
            Binary::Add => vectors!(add),
            Binary::Sub => vectors!(sub),
            Binary::Mul => vectors!(mul),
            Binary::Div => vectors!(div),
            Binary::Max => vectors!(larger),
            Binary::Min => vectors!(smaller),
        }
    }
}
