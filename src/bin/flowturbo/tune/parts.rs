//! What the parts of one picture take on this machine, and so what a schedule will take.

use std::time::{Duration, Instant};

use flowturbo::{Request, Schedule, Session, StepKind};

use crate::failure::Failure;
use crate::times::{Spread, Times};
use crate::units;

/// Runs are measured until they are this many and have taken this long.
const RUNS: u32 = 5;
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// Medians over runs in which the kinds of steps take turns.
#[derive(Clone, Debug)]
pub struct Parts {
    steps: Vec<(StepKind, Duration)>,
    /// What is not sampling: the decoder above all.
    pub rest: Duration,
}

impl Parts {
    /// Measures all kinds of steps that the bundle has networks for.
    pub fn measure(session: &mut Session, request: &Request) -> Result<Self, Failure> {
        let refiner = session.model().manifest().networks.refiner.is_some();
        // No kind comes first but H, whose cost does not depend on its place.
        let all: Schedule = if refiner { "H1E1P1R1" } else { "H1E1P1" }.parse()?;
        let request = request.clone().with_schedule(all);
        Times::default().measure(session, &request)?;
        let (mut times, started, mut runs) = (Times::default(), Instant::now(), 0);
        while runs < RUNS || started.elapsed() < LONG_ENOUGH {
            times.measure(session, &request)?;
            runs += 1;
        }
        let median = |times: &[Duration]| Spread::of(times).map_or(Duration::ZERO, |spread| spread.median);
        let steps = times.steps.by_kind().into_iter().map(|(kind, times)| (kind, median(&times))).collect();
        Ok(Self { steps, rest: median(&times.whole).saturating_sub(median(&times.sampling)) })
    }

    /// Parts that are known.
    #[cfg(test)]
    pub fn new(steps: &[(StepKind, Duration)], rest: Duration) -> Self {
        Self { steps: steps.to_vec(), rest }
    }

    /// The kinds that were measured.
    pub fn steps(&self) -> &[(StepKind, Duration)] {
        &self.steps
    }

    /// A step's time; none for R steps of a bundle without a refiner.
    pub fn step(&self, kind: StepKind) -> Option<Duration> {
        self.steps.iter().find(|step| step.0 == kind).map(|step| step.1)
    }

    /// A line for people.
    pub fn text(&self) -> String {
        let step = |(kind, took): &(StepKind, Duration)| format!("{} {}", kind.letter(), units::time(*took));
        let steps = self.steps.iter().map(step).collect::<Vec<_>>().join(", ");
        format!("steps       {steps}; the rest of a picture {}\n", units::time(self.rest))
    }

    /// What the steps of `schedule` will take together.
    pub fn sampling(&self, schedule: &Schedule) -> Duration {
        let took = |(i, &kind): (usize, &StepKind)| match kind {
            // It finds no cached velocity and computes its own, as Heun does.
            StepKind::PseudoCorrector if i == 0 => self.step(StepKind::Heun),
            kind => self.step(kind),
        };
        schedule.steps().iter().enumerate().filter_map(took).sum()
    }

    /// What a picture will take.
    pub fn whole(&self, schedule: &Schedule) -> Duration {
        self.sampling(schedule) + self.rest
    }
}
