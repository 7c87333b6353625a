//! The sampler: a page of equations over plain slices.
//!
//! [`Schedule`] says which step comes when, [`steps`] holds the equations, [`guidance`] turns two
//! network answers into one velocity, [`grid`] gives the times. Nothing here knows tract or files:
//! the networks come in through the [`Field`] trait.

#![forbid(unsafe_code)]

pub(crate) mod guidance;
mod schedule;
pub(crate) mod steps;

pub use schedule::{Schedule, StepKind};

use crate::Result;

/// The guided velocity field `g[·]` of one request, over a state `x` of shape `[N, C, H, W]`.
///
/// Answers have `B` images: `2N` (class half, null half) under guidance, `N` without.
pub(crate) trait Field {
    /// `out = g[F(x, t)]`, the predictor's velocity.
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Result<()>;

    /// `out = g[R(x, v, t)]`, the refiner's offset; `v` has `B` images.
    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Result<()>;
}

/// The `steps + 1` times from 0 (noise) to 1 (data), as float32 `linspace` computes them.
///
/// The second half counts down from 1, so that the grid ends at exactly 1 and is symmetric.
pub(crate) fn grid(steps: usize) -> Vec<f32> {
    let delta = 1.0 / steps as f32;
    let halfway = steps.div_ceil(2);
    let time = |i: usize| if i < halfway { delta * i as f32 } else { 1.0 - delta * (steps - i) as f32 };
    (0..=steps).map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_runs_from_exactly_0_to_exactly_1_in_equal_steps() {
        for steps in [1, 2, 3, 8, 9, 22, 1000] {
            let grid = grid(steps);
            assert_eq!(grid.len(), steps + 1);
            assert_eq!((grid[0], grid[steps]), (0.0, 1.0));
            for pair in grid.windows(2) {
                let error = (pair[1] - pair[0]) - 1.0 / steps as f32;
                assert!(error.abs() <= f32::EPSILON, "{steps} steps: {pair:?}");
            }
        }
    }
}
