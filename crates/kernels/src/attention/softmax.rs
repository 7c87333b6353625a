//! The softmax over keys that come block by block.

use super::super::Simd;
use super::super::math::exp2_weight;

/// The running softmax: scores that become weights, and four rows of one float for each query: the largest
/// score so far; the one that earlier weights are relative to; the weights' sum; and the correction of
/// earlier weights and sums to the present largest score.
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    pub(super) weights: *mut f32,
    pub(super) max: *mut f32,
    pub(super) scale: f32,
    /// Some scores are far below all others, and may be the largest of a block: differences are taken before they are
    /// scaled, or rounding would make infinities of them.
    pub(super) masked: bool,
}

impl Softmax {
    pub(super) unsafe fn correction(&self, width: usize) -> *const f32 {
        // SAFETY: the fourth of the rows, which the caller promises to exist.
        unsafe { self.max.add(3 * width) }
    }

    #[inline(always)]
    pub(super) unsafe fn begin<S: Simd, const N: usize>(&self, simd: S) {
        // SAFETY: rows of `N` vectors, by the caller's promise.
        unsafe {
            for j in 0..N {
                simd.store(self.max.add(j * S::LANES), simd.splat(f32::NEG_INFINITY));
                simd.store(self.max.add((N + j) * S::LANES), simd.splat(f32::NEG_INFINITY));
                simd.store(self.max.add((2 * N + j) * S::LANES), simd.splat(0.0));
            }
        }
    }

    /// Takes the largest scores so far as what weights are relative to: gives what is added to scaled scores, and the
    /// sums of earlier weights.
    #[inline(always)]
    pub(super) unsafe fn offsets<S: Simd, const N: usize>(&self, simd: S) -> ([S::V; N], [S::V; N]) {
        // SAFETY: rows of `N` vectors, by the caller's promise.
        unsafe {
            let scale = simd.splat(self.binary_scale());
            let (mut offsets, mut totals) = ([simd.splat(0.0); N], [simd.splat(0.0); N]);
            for (j, offset) in offsets.iter_mut().enumerate() {
                let state = self.max.add(j * S::LANES);
                let (max, before) = (simd.load(state), simd.load(state.add(N * S::LANES)));
                simd.store(state.add(N * S::LANES), max);
                let correction = exp2_weight(simd, simd.mul(simd.sub(before, max), scale));
                simd.store(state.add(3 * N * S::LANES), correction);
                totals[j] = simd.mul(simd.load(state.add(2 * N * S::LANES)), correction);
                *offset = simd.sub(simd.splat(0.0), simd.mul(max, scale));
            }
            (offsets, totals)
        }
    }

    /// Weights are powers of 2, which takes log2 e into the scale.
    pub(super) fn binary_scale(&self) -> f32 {
        self.scale * std::f32::consts::LOG2_E
    }

    /// Keeps the sums of weights.
    #[inline(always)]
    pub(super) unsafe fn keep<S: Simd, const N: usize>(&self, simd: S, totals: [S::V; N]) {
        // SAFETY: rows of `N` vectors, by the caller's promise.
        unsafe {
            for (j, total) in totals.into_iter().enumerate() {
                simd.store(self.max.add((2 * N + j) * S::LANES), total);
            }
        }
    }

    /// Turns `keys` rows of scores into weights relative to the largest score.
    #[inline(always)]
    pub(super) unsafe fn weigh<S: Simd, const N: usize>(&self, simd: S, keys: usize) {
        // SAFETY: rows of `N` vectors, by the caller's promise.
        unsafe {
            let scale = simd.splat(self.binary_scale());
            let (offsets, mut totals) = self.offsets::<S, N>(simd);
            for key in 0..keys {
                for j in 0..N {
                    let at = self.weights.add((key * N + j) * S::LANES);
                    let score = simd.load(at);
                    let scaled = if self.masked {
                        simd.mul(simd.sub(score, simd.load(self.max.add(j * S::LANES))), scale)
                    } else {
                        simd.fma(score, scale, offsets[j])
                    };
                    let weight = exp2_weight(simd, scaled);
                    totals[j] = simd.add(totals[j], weight);
                    simd.store(at, weight);
                }
            }
            self.keep::<S, N>(simd, totals);
        }
    }

    /// Divides the sums by those of the weights.
    #[inline(always)]
    pub(super) unsafe fn divide<S: Simd, const N: usize>(&self, simd: S, sums: *mut f32, dim: usize) {
        // SAFETY: rows of `N` vectors, `dim` of them in `sums`, by the caller's promise.
        unsafe {
            for j in 0..N {
                let factor = simd.div(simd.splat(1.0), simd.load(self.max.add((2 * N + j) * S::LANES)));
                for d in 0..dim {
                    let at = sums.add((d * N + j) * S::LANES);
                    simd.store(at, simd.mul(simd.load(at), factor));
                }
            }
        }
    }
}
