//! The sampler: a page of equations over plain slices.
//!
//! [`Schedule`] says which step comes when, [`steps`] holds the equations, [`guidance`] turns two
//! network answers into one velocity, [`Grid`] gives the times. Nothing here knows tract or files:
//! the networks come in through the [`Field`] trait.

#![forbid(unsafe_code)]

pub(crate) mod guidance;
mod schedule;
pub(crate) mod steps;

pub use schedule::{Schedule, StepKind};

use std::task::Poll;

use crate::Result;

/// The guided velocity field `g[·]` of one request, over a state `x` of shape `[N, C, H, W]`.
///
/// Answers have `B` images: `2N` (class half, null half) under guidance, `N` without. A field may pause
/// half-way through an answer; asked the same again, it goes on.
pub(crate) trait Field {
    /// `out = g[F(x, t)]`, the predictor's velocity.
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>>;

    /// `out = g[R(x, v, t)]`, the refiner's offset; `v` has `B` images.
    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>>;
}

/// The `steps + 1` times from 0 (noise) to 1 (data), as float32 `linspace` computes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    steps: usize,
}

impl Grid {
    pub(crate) fn new(steps: usize) -> Self {
        Self { steps }
    }

    /// The time of point `i`, at most `steps`. The second half counts down from 1, so that the grid ends at
    /// exactly 1 and is symmetric.
    pub(crate) fn t(self, i: usize) -> f32 {
        let (delta, halfway) = (1.0 / self.steps as f32, self.steps.div_ceil(2));
        if i < halfway { delta * i as f32 } else { 1.0 - delta * (self.steps - i) as f32 }
    }

    /// The step size Δ of every step: the first one, as in the official code.
    pub(crate) fn delta(self) -> f32 {
        self.t(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_runs_from_exactly_0_to_exactly_1_in_equal_steps() {
        for steps in [1, 2, 3, 8, 9, 22, 1000] {
            let grid = Grid::new(steps);
            assert_eq!((grid.t(0), grid.t(steps)), (0.0, 1.0));
            for i in 0..steps {
                let error = (grid.t(i + 1) - grid.t(i)) - 1.0 / steps as f32;
                assert!(error.abs() <= f32::EPSILON, "step {i} of {steps}");
            }
        }
    }
}
