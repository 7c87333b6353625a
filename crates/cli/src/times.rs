//! How long generations take, and their parts.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use flowturbo::{Model, Output, Progress, Request, Role, Session};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::steps::StepTimes;

/// What is timed: images, of a bundle that has a decoder.
pub fn output(model: &Model) -> Output {
    if model.manifest().has(Role::Decoder) { Output::Images } else { Output::Latents }
}

/// The measured times, one of each for each run.
#[derive(Default)]
pub struct Times {
    pub steps: StepTimes,
    pub sampling: Vec<Duration>,
    /// Empty if the bundle has no decoder.
    pub decoding: Vec<Duration>,
    pub whole: Vec<Duration>,
}

impl Times {
    /// Generates once.
    pub fn measure(&mut self, session: &mut Session, request: &Request) -> Result<(), Failure> {
        let steps = &mut self.steps;
        let mut observer = |progress: &Progress| {
            steps.record(progress);
            ControlFlow::Continue(())
        };
        let started = Instant::now();
        if output(session.model()) == Output::Images {
            let generation = session.generate_with(request, &mut observer)?;
            self.sampling.push(generation.sampling);
            self.decoding.push(generation.decoding);
        } else {
            session.latents_with(request, &mut observer)?;
            self.sampling.push(started.elapsed());
        }
        self.whole.push(started.elapsed());
        Ok(())
    }
}

/// Median, smallest and largest of some times.
pub struct Spread {
    pub median: Duration,
    pub min: Duration,
    pub max: Duration,
    pub count: usize,
}

impl Spread {
    /// None of no times.
    pub fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort();
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = |i: usize| sorted.get(i).copied().unwrap_or(min);
        let median = (middle((sorted.len() - 1) / 2) + middle(sorted.len() / 2)) / 2;
        Some(Self { median, min, max, count: sorted.len() })
    }

    pub fn json(&self) -> Value {
        let [median, min, max] = [self.median, self.min, self.max].map(|time| time.as_secs_f64());
        json!({ "median": median, "min": min, "max": max, "count": self.count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        let times = [9, 1, 3, 2].map(Duration::from_secs);
        let spread = Spread::of(&times).unwrap();
        assert_eq!(spread.median, Duration::from_millis(2500));
        assert_eq!((spread.min.as_secs(), spread.max.as_secs(), spread.count), (1, 9, 4));
        assert!(Spread::of(&[]).is_none());
    }
}
