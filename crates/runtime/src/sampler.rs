//! The sampler: a page of equations over plain slices.
//!
//! [`Schedule`] says which step comes when, [`steps`] holds the equations, [`guidance`] turns the networks'
//! answers into one velocity, [`windows`] lets them see larger latents than their own, [`style`] keeps those
//! to one material, [`Grid`] gives the times. Nothing here knows tract or files: the networks come in through
//! the [`Field`] trait.

#![forbid(unsafe_code)]

pub mod guidance;
mod schedule;
pub mod steps;
pub mod style;
pub mod windows;

pub use schedule::{Schedule, StepKind};

use std::task::Poll;

use crate::Result;

/// The guided velocity field `g[·]` of one request, over a state `x` of shape `[N, C, H, W]`.
///
/// Answers have `B` images: the `N` of the class part, then those of other parts, see
/// [`guidance::parts`]. A field may pause half-way through an answer; asked the same again, it goes on.
pub trait Field {
    /// `out = g[F(x, t)]`, the predictor's velocity.
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>>;

    /// `out = g[R(x, v, t)]`, the refiner's offset; `v` has `B` images.
    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>>;

    /// Changes the velocity `v` at `x`, whichever network it is of; see [`style`].
    fn adjust(&mut self, _x: &[f32], _t: f32, _v: &mut [f32]) {}
}

/// The `steps + 1` times to 1 (data) from 0 (noise), as float32 `linspace` computes them, or from later on.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    steps: usize,
    /// The part of the way from noise to data that is gone: all of it at 1.
    strength: f32,
}

impl Grid {
    /// From `1 - strength`; strength is above 0 and at most 1.
    pub fn new(steps: usize, strength: f32) -> Self {
        Self { steps, strength }
    }

    /// The time of point `i`, at most `steps`. The second half counts down from 1, so that the grid ends at
    /// exactly 1 and is symmetric.
    pub fn t(self, i: usize) -> f32 {
        let (delta, halfway) = (1.0 / self.steps as f32, self.steps.div_ceil(2));
        let (up, down) = (delta * i as f32, delta * (self.steps - i) as f32);
        match self.strength {
            1.0 if i < halfway => up,
            1.0 => 1.0 - down,
            strength if i < halfway => (1.0 - strength) + strength * up,
            strength => 1.0 - strength * down,
        }
    }

    /// The step size Δ of every step: the first one, as in the official code.
    pub fn delta(self) -> f32 {
        self.strength * (1.0 / self.steps as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_runs_to_exactly_1_in_equal_steps() {
        for steps in [1, 2, 3, 8, 9, 22, 1000] {
            for strength in [1.0, 0.7, 0.1] {
                let grid = Grid::new(steps, strength);
                assert_eq!((grid.t(0), grid.t(steps)), (1.0 - strength, 1.0));
                for i in 0..steps {
                    let error = (grid.t(i + 1) - grid.t(i)) - strength / steps as f32;
                    assert!(error.abs() <= f32::EPSILON, "step {i} of {steps} from {strength}");
                    assert!((grid.delta() - strength / steps as f32).abs() <= f32::EPSILON);
                }
            }
        }
    }
}
