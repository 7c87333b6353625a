//! What the parts of one image take on this machine, and so what a schedule will take.

use std::time::{Duration, Instant};

use flowturbo::{Request, Schedule, Session, StepKind};

use crate::failure::Failure;
use crate::times::{Spread, Times};
use crate::units;

/// Runs are measured until they are this many and have taken this long.
const RUNS: u32 = 5;
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// Medians over runs in which the kinds of steps take turns.
#[derive(Clone, Debug)]
pub struct Parts {
    /// One call of the predictor; what a step computes besides is nothing to it. E, P and half H steps alike.
    pub predictor: Duration,
    /// One call of the refiner, half an R step; none without a refiner.
    pub refiner: Option<Duration>,
    /// What is not sampling: the decoder above all.
    pub rest: Duration,
}

impl Parts {
    pub fn measure(session: &mut Session, request: &Request) -> Result<Self, Failure> {
        let refiner = session.model().manifest().networks.refiner.is_some();
        let all: Schedule = if refiner { "H1E1P1R1" } else { "H1E1P1" }.parse()?;
        let request = request.clone().with_schedule(all);
        Times::default().measure(session, &request)?;
        let (mut times, started, mut runs) = (Times::default(), Instant::now(), 0);
        while runs < RUNS || started.elapsed() < LONG_ENOUGH {
            times.measure(session, &request)?;
            runs += 1;
        }
        let (mut predictor, mut refiner) = (Vec::new(), Vec::new());
        for (kind, steps) in times.steps.by_kind() {
            match kind {
                StepKind::Refiner => refiner.extend(steps.iter().map(|step| *step / 2)),
                StepKind::Heun => predictor.extend(steps.iter().map(|step| *step / 2)),
                _ => predictor.extend(steps),
            }
        }
        let median = |times: &[Duration]| Spread::of(times).map(|spread| spread.median);
        let rest = median(&times.whole).zip(median(&times.sampling));
        Ok(Self {
            predictor: median(&predictor).unwrap_or_default(),
            refiner: median(&refiner),
            rest: rest.map_or(Duration::ZERO, |(whole, sampling)| whole.saturating_sub(sampling)),
        })
    }

    /// These times, all of them so much longer that `schedule` takes `time`.
    pub fn corrected(&self, schedule: &Schedule, time: Duration) -> Self {
        let [measured, predicted] =
            [time, self.whole(schedule)].map(|time| time.max(Duration::from_nanos(1)));
        let factor = measured.div_duration_f64(predicted);
        let [predictor, rest] = [self.predictor, self.rest].map(|part| part.mul_f64(factor));
        Self { predictor, refiner: self.refiner.map(|part| part.mul_f64(factor)), rest }
    }

    /// A line for people.
    pub fn text(&self) -> String {
        let [predictor, rest] = [self.predictor, self.rest].map(units::time);
        let refiner = self.refiner.map(|call| format!(", of the refiner {}", units::time(call)));
        format!(
            "parts       a call of the predictor {predictor}{}, the rest {rest}\n",
            refiner.unwrap_or_default()
        )
    }

    /// What `schedule`'s steps will take together.
    pub fn sampling(&self, schedule: &Schedule) -> Duration {
        let refiner = self.refiner.unwrap_or_default() * schedule.refiner_calls() as u32;
        self.predictor * schedule.predictor_calls() as u32 + refiner
    }

    /// What an image will take.
    pub fn whole(&self, schedule: &Schedule) -> Duration {
        self.sampling(schedule) + self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_takes_its_calls_and_the_rest() {
        let ms = Duration::from_millis;
        let parts = Parts { predictor: ms(10), refiner: Some(ms(2)), rest: ms(20) };
        let schedule: Schedule = "P2R3E1".parse().unwrap();
        assert_eq!((parts.sampling(&schedule), parts.whole(&schedule)), (ms(52), ms(72)));
        let corrected = parts.corrected(&schedule, ms(36));
        assert_eq!(corrected.whole(&schedule), ms(36));
        assert_eq!(corrected.whole(&"E1".parse().unwrap()), ms(15));
        let nothing = Parts { predictor: Duration::ZERO, refiner: None, rest: Duration::ZERO };
        assert_eq!(nothing.corrected(&schedule, Duration::ZERO).whole(&schedule), Duration::ZERO);
    }
}
