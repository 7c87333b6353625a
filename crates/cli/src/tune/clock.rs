//! Whether the machine kept its pace while schedules were timed.

use std::time::Duration;

/// A steady clock's middle half of times lies this close together, ...
const CLOSE: f64 = 1.15;
/// ... and so do, a little less, the medians of its runs from the first to the last.
const DRIFT: f64 = 1.25;

/// The times of one schedule, run by run, from before the search to its end.
#[derive(Default)]
pub struct Clock(Vec<Vec<Duration>>);

/// From the quick times of one schedule to its slow ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub quick: Duration,
    pub slow: Duration,
    pub steady: bool,
}

impl Clock {
    pub fn note(&mut self, times: &[Duration]) {
        self.0.push(times.to_vec());
    }

    /// Single times that stand out do not count: an idle machine has some too.
    pub fn pace(&self) -> Pace {
        let at = |times: &[Duration], part: usize| {
            let mut sorted = times.to_vec();
            sorted.sort();
            sorted
                .get((sorted.len() * part / 4).min(sorted.len().saturating_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        let all = self.0.concat();
        let medians: Vec<Duration> = self.0.iter().map(|times| at(times, 2)).collect();
        let [inner, outer] = [
            (at(&all, 1), at(&all, 3)),
            (
                medians.iter().min().copied().unwrap_or_default(),
                medians.iter().max().copied().unwrap_or_default(),
            ),
        ];
        let within = |(quick, slow): (Duration, Duration), most: f64| slow <= quick.mul_f64(most);
        let steady = within(inner, CLOSE) && within(outer, DRIFT);
        Pace { quick: inner.0.min(outer.0), slow: inner.1.max(outer.1), steady }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(runs: &[&[u64]]) -> Pace {
        let mut clock = Clock::default();
        runs.iter().for_each(|run| {
            clock.note(&run.iter().map(|&millis| Duration::from_millis(millis)).collect::<Vec<_>>())
        });
        clock.pace()
    }

    #[test]
    fn a_machine_that_is_shared_or_changes_its_pace_is_noticed_and_a_hiccup_is_not() {
        assert!(pace(&[&[100, 101, 99], &[100, 400, 102], &[99, 100, 103]]).steady);
        let shared = pace(&[&[100, 180, 101], &[190, 102, 185], &[100, 200, 190]]);
        assert_eq!((shared.steady, shared.quick, shared.slow), (false, ms(101), ms(190)));
        let throttled = pace(&[&[100, 101, 102], &[100, 101, 102], &[140, 141, 142]]);
        assert_eq!((throttled.steady, throttled.slow), (false, ms(141)));
        assert!(pace(&[]).steady && pace(&[&[5]]).steady);
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
