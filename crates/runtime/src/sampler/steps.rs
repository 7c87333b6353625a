//! The step equations, in the paper's symbols (FlowTurbo, arXiv 2409.18128, section 3).
//!
//! `x` is the state at `t`, `Δ` the grid step, `d` and `d′` the velocities at the two ends, `x̃` the
//! Euler prediction that `d′` is taken at, and `v` the velocity that a step leaves for the next.

use std::task::{Poll, ready};

use super::{Field, StepKind};
use crate::{Result, memory};

/// The state of one request between steps, with all the memory its steps need.
///
/// `x` holds `N` images, and perhaps others that are sampled beside them. Velocities hold `B`: under
/// guidance the null part keeps its own value in the channels that are not guided, and the refiner is shown
/// it. Only the class part moves `x`.
#[derive(Default)]
pub struct State {
    x: Vec<f32>,
    /// Floats of the images in `x`.
    images: usize,
    x_tilde: Vec<f32>,
    d: Vec<f32>,
    d_prime: Vec<f32>,
    v: Vec<f32>,
    has_v: bool,
    /// The step at hand knows its `d` and its `x̃`.
    halfway: bool,
}

impl State {
    /// Starts anew, with `images` floats (`N` images) of `x`, then `beside` floats of what is sampled beside them, and
    /// velocities of `velocity_len`. Gives `x` to be filled with noise. Memory that is there is used again.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn start(&mut self, images: usize, beside: usize, velocity_len: usize) -> Result<&mut [f32]> {
        let len = images + beside;
        self.images = images;
        (self.has_v, self.halfway) = (false, false);
        memory::resize(&mut self.x_tilde, len, 0.0)?;
        for velocity in [&mut self.d, &mut self.d_prime, &mut self.v] {
            memory::resize(velocity, velocity_len, 0.0)?;
        }
        memory::resize(&mut self.x, len, 0.0)?;
        Ok(&mut self.x)
    }

    /// The images.
    pub fn x(&self) -> &[f32] {
        &self.x[..self.images]
    }

    /// The latest velocity, all parts; none before the first.
    pub fn velocity(&self) -> Option<&[f32]> {
        if self.halfway { Some(&self.d) } else { self.has_v.then_some(self.v.as_slice()) }
    }

    /// False once a number of the state, or of the velocity kept for the next step, is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.x.iter().chain(&self.v).all(|value| value.is_finite())
    }

    /// After a step to time `t`: where data is known, the state and its velocity become those of its straight path.
    pub fn keep(&mut self, known: &Known, t: f32) {
        let Known { data, noise, .. } = known;
        for (i, x) in self.x.iter_mut().enumerate().filter(|(i, _)| known.keeps(*i)) {
            *x = (1.0 - t) * noise[i] + t * data[i];
        }
        for v in self.v.chunks_exact_mut(data.len()) {
            for (i, v) in v.iter_mut().enumerate().filter(|(i, _)| known.keeps(*i)) {
                *v = data[i] - noise[i];
            }
        }
    }

    /// The state, to be begun with.
    pub fn x_mut(&mut self) -> &mut [f32] {
        &mut self.x
    }

    /// Advances `x` from `t` to `t + delta`, whose grid time is `t_next`. When the field pauses, so does the
    /// step, and goes on in the next call.
    pub fn step(
        &mut self,
        kind: StepKind,
        field: &mut dyn Field,
        t: f32,
        t_next: f32,
        delta: f32,
    ) -> Poll<Result<()>> {
        match kind {
            StepKind::Euler => {
                ready!(field.predict(&self.x, t, &mut self.d))?;
                field.adjust(&self.x, t, &mut self.d);
                euler(&mut self.x_tilde, &self.x, &self.d, delta);
                std::mem::swap(&mut self.x, &mut self.x_tilde);
                std::mem::swap(&mut self.v, &mut self.d);
            }
            StepKind::Heun | StepKind::PseudoCorrector => {
                if !self.halfway {
                    if kind == StepKind::PseudoCorrector && self.has_v {
                        std::mem::swap(&mut self.d, &mut self.v);
                    } else {
                        ready!(field.predict(&self.x, t, &mut self.d))?;
                        field.adjust(&self.x, t, &mut self.d);
                    }
                    euler(&mut self.x_tilde, &self.x, &self.d, delta);
                    self.halfway = true;
                }
                ready!(field.predict(&self.x_tilde, t_next, &mut self.d_prime))?;
                field.adjust(&self.x_tilde, t_next, &mut self.d_prime);
                trapezoid(&mut self.x, &self.d, &self.d_prime, delta);
                std::mem::swap(&mut self.v, &mut self.d_prime);
            }
            StepKind::Refiner => {
                if !self.halfway {
                    // d = g[R(x, v, t)] + v
                    ready!(field.refine(&self.x, &self.v, t, &mut self.d))?;
                    add(&mut self.d, &self.v);
                    field.adjust(&self.x, t, &mut self.d);
                    euler(&mut self.x_tilde, &self.x, &self.d, delta);
                    self.halfway = true;
                }
                // d′ = g[R(x̃, v, t′)] + d
                ready!(field.refine(&self.x_tilde, &self.v, t_next, &mut self.d_prime))?;
                add(&mut self.d_prime, &self.d);
                field.adjust(&self.x_tilde, t_next, &mut self.d_prime);
                trapezoid(&mut self.x, &self.d, &self.d_prime, delta);
                std::mem::swap(&mut self.v, &mut self.d);
            }
        }
        (self.has_v, self.halfway) = (true, false);
        Poll::Ready(Ok(()))
    }
}

/// What is known of `N` images: data, and the noise at the other end of its straight path.
pub struct Known<'a> {
    pub data: &'a [f32],
    pub noise: &'a [f32],
    /// `[N, area]`: whether a cell stays.
    pub kept: &'a [bool],
    pub channels: usize,
    pub area: usize,
}

impl Known<'_> {
    fn keeps(&self, i: usize) -> bool {
        self.kept[i / (self.channels * self.area) * self.area + i % self.area]
    }
}

/// `x̃ = x + Δ d`, over the class part of `d`.
fn euler(x_tilde: &mut [f32], x: &[f32], d: &[f32], delta: f32) {
    for ((out, x), d) in x_tilde.iter_mut().zip(x).zip(d) {
        *out = x + delta * d;
    }
}

/// `x ← x + Δ/2 (d + d′)`, over the class parts.
fn trapezoid(x: &mut [f32], d: &[f32], d_prime: &[f32], delta: f32) {
    for ((x, d), d_prime) in x.iter_mut().zip(d).zip(d_prime) {
        *x += 0.5 * delta * (d + d_prime);
    }
}

fn add(d: &mut [f32], other: &[f32]) {
    for (d, other) in d.iter_mut().zip(other) {
        *d += other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Grid, Schedule};

    /// `dx/dt = a·x + t`, and a refiner that knows it exactly. Each answer takes some pauses.
    #[derive(Default)]
    struct Linear {
        predicted: usize,
        refined: usize,
        pauses: usize,
        paused: usize,
    }

    impl Linear {
        fn pause(&mut self, out: &mut [f32]) -> Poll<()> {
            if self.paused < self.pauses {
                self.paused += 1;
                out.fill(f32::NAN);
                return Poll::Pending;
            }
            self.paused = 0;
            Poll::Ready(())
        }
    }

    impl Field for Linear {
        fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
            ready!(self.pause(out));
            self.predicted += 1;
            out.iter_mut().zip(x).for_each(|(out, x)| *out = -0.5 * x + t);
            Poll::Ready(Ok(()))
        }

        fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
            ready!(self.pause(out));
            self.refined += 1;
            for ((out, x), v) in out.iter_mut().zip(x).zip(v) {
                *out = -0.5 * x + t - v;
            }
            Poll::Ready(Ok(()))
        }
    }

    fn sample_with(text: &str, mut field: Linear) -> (f32, Linear) {
        let schedule: Schedule = text.parse().unwrap();
        let grid = Grid::new(schedule.steps().len(), 1.0);
        let mut state = State::default();
        state.start(1, 0, 1).unwrap().fill(1.0);
        for (i, &kind) in schedule.steps().iter().enumerate() {
            let mut step = || state.step(kind, &mut field, grid.t(i), grid.t(i + 1), grid.delta());
            let outcome = (0..10).find_map(|_| match step() {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            });
            outcome.unwrap().unwrap();
        }
        (state.x()[0], field)
    }

    fn sample(text: &str) -> (f32, Linear) {
        sample_with(text, Linear::default())
    }

    #[test]
    fn pauses_change_nothing() {
        for text in ["E4", "H2", "P3", "H1P5R3", "H2R1P2R2E1"] {
            let paused = sample_with(text, Linear { pauses: 3, ..Linear::default() });
            let whole = sample(text);
            assert_eq!(paused.0.to_bits(), whole.0.to_bits(), "{text}");
            assert_eq!((paused.1.predicted, paused.1.refined), (whole.1.predicted, whole.1.refined));
        }
    }

    /// x(1) of `x' = -x/2 + t`, `x(0) = 1`: 5 e^(-1/2) - 2.
    const EXACT: f32 = 1.032_653_3;

    #[test]
    fn the_orders_of_convergence_are_one_for_euler_and_two_for_heun_and_pseudo_corrector() {
        for (kind, order) in [("E", 1.0), ("H", 2.0), ("P", 2.0)] {
            let error = |n: usize| (sample(&format!("{kind}{n}")).0 - EXACT).abs();
            let measured = (error(8) / error(16)).log2();
            assert!((measured - order).abs() < 0.35, "{kind}: order {measured}");
        }
    }

    #[test]
    fn each_schedule_makes_the_calls_it_announces() {
        for text in ["E4", "H4", "P4", "H1P5R3", "H2R1P2R2", "P3R1"] {
            let schedule: Schedule = text.parse().unwrap();
            let field = sample(text).1;
            assert_eq!(field.predicted, schedule.predictor_calls(), "{text}");
            assert_eq!(field.refined, schedule.refiner_calls(), "{text}");
        }
    }

    #[test]
    fn a_refiner_step_averages_d_and_d_plus_its_second_offset() {
        // One H step to t = 1/2 by hand, then R by its equations.
        let delta = 0.5;
        let (x0, d) = (1.0f32, -0.5);
        let v = -0.5 * (x0 + delta * d) + 0.5;
        let x = x0 + delta / 2.0 * (d + v);
        let first = (-0.5 * x + 0.5 - v) + v;
        let x_tilde = x + delta * first;
        let second = (-0.5 * x_tilde + 1.0 - v) + first;
        let expected = x + delta / 2.0 * (first + second);
        assert!((sample("H1R1").0 - expected).abs() < 1e-6);
    }

    #[test]
    fn what_is_known_stays_on_its_straight_path() {
        // Two images of two channels and two cells; in the first only the first cell is known.
        let data: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let noise = [1.0, -1.0, 0.5, 2.0, 0.0, 1.0, 3.0, -2.0];
        let kept = [true, false, true, true];
        let known = Known { data: &data, noise: &noise, kept: &kept, channels: 2, area: 2 };
        let mut state = State::default();
        state.start(8, 0, 16).unwrap().fill(9.0);
        state.v.fill(5.0);
        state.keep(&known, 0.75);
        let path = |i: usize| 0.25 * noise[i] + 0.75 * data[i];
        let expected = [path(0), 9.0, path(2), 9.0, path(4), path(5), path(6), path(7)];
        assert_eq!(state.x(), expected);
        for half in state.v.chunks_exact(8) {
            assert_eq!((half[0], half[1], half[7]), (data[0] - noise[0], 5.0, data[7] - noise[7]));
        }
    }
}
