//! The schedules that are worth a try within a time.

use std::time::Duration;

use flowturbo::{Schedule, StepKind};

use super::parts::Parts;
use crate::failure::Failure;

/// `E…`, `H…` and `H…P…R…` whose images fill `budget` by what their parts take; at least `E1`.
///
/// Plain Euler and Heun schedules take as many steps as fit. With pseudo-corrector steps, the counts of H and R
/// run over 1, 2, 3, 4, 6, 8, 12, 16, ... (R from 0, up to twice the other steps), and P takes what is left:
/// between two schedules with the same H and R, the one with more P was the closer one wherever it was measured.
/// `H1P…` stands for `P…` too, whose first step is the same.
pub fn within(budget: Duration, parts: &Parts) -> Result<Vec<Schedule>, Failure> {
    let mut written = Vec::new();
    let mut add = |counts: &[(char, u32)]| {
        let letters = counts.iter().filter(|(_, count)| *count > 0);
        let schedule: String = letters.map(|(letter, count)| format!("{letter}{count}")).collect();
        if !schedule.is_empty() && !written.contains(&schedule) {
            written.push(schedule);
        }
    };
    let sampling = budget.saturating_sub(parts.rest);
    let calls = fitting(sampling, parts.predictor);
    add(&[('E', calls.max(1))]);
    add(&[('H', calls / 2)]);
    for h in counts().take_while(|&h| 2 * h <= calls) {
        let left = sampling.saturating_sub(parts.predictor * 2 * h);
        let most = parts.refiner.map_or(0, |call| fitting(left, call * 2));
        for r in std::iter::once(0).chain(counts()).take_while(|&r| r <= most) {
            let left = left.saturating_sub(parts.refiner.unwrap_or_default() * 2 * r);
            let p = fitting(left, parts.predictor);
            if r.div_ceil(2) <= h.saturating_add(p) {
                add(&[('H', h), ('P', p), ('R', r)]);
            }
        }
    }
    Ok(written.iter().map(|text| text.parse()).collect::<flowturbo::Result<_>>()?)
}

/// The next shorter schedule: without one of its last P steps, or R, H, E steps where there is no other; none of `E1`.
pub fn shorter(schedule: &Schedule) -> Result<Option<Schedule>, Failure> {
    use StepKind::{Euler, Heun, PseudoCorrector, Refiner};
    let steps = schedule.steps();
    if steps == [Euler] {
        return Ok(None);
    }
    let last = |kind: &StepKind| steps.iter().rposition(|step| step == kind);
    // The first step stays: it may be what R steps correct.
    let spare = [PseudoCorrector, Refiner, Heun, Euler].iter().filter_map(last).find(|&place| place > 0);
    let Some(spare) = spare else { return Ok(Some("E1".parse()?)) };
    let left = steps.iter().enumerate().filter(|(i, _)| *i != spare).map(|(_, kind)| kind.letter());
    Ok(Some(left.collect::<String>().parse()?))
}

/// 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: close where one step more matters.
fn counts() -> impl Iterator<Item = u32> {
    std::iter::once(1).chain((1..u32::BITS - 2).flat_map(|power| [1 << power, 3 << (power - 1)]))
}

/// How often `part` fits into `time`.
fn fitting(time: Duration, part: Duration) -> u32 {
    // A clock too coarse to see a part must not make it free.
    time.div_duration_f64(part.max(Duration::from_nanos(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Predictor calls of 10 ms, R steps of 4 ms if there are any, 20 ms for the rest.
    fn parts(refiner: bool) -> Parts {
        Parts { predictor: ms(10), refiner: refiner.then_some(ms(2)), rest: ms(20) }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn names(budget: u64, refiner: bool) -> Vec<String> {
        let schedules = within(ms(budget), &parts(refiner)).unwrap();
        schedules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn candidates_fill_the_budget_with_every_mixture() {
        let expected = ["E5", "H2", "H1P3", "H1P2R1", "H1P2R2", "H1P1R3", "H1P1R4", "H2P1", "H2R1", "H2R2"];
        assert_eq!(names(70, true), expected);
        assert_eq!(names(70, false), ["E5", "H2", "H1P3", "H2P1"]);
        for budget in 31..400 {
            for schedule in within(ms(budget), &parts(true)).unwrap() {
                let took = parts(true).whole(&schedule);
                assert!(took <= ms(budget), "{schedule} takes {took:?} of {budget} ms");
                let refiner = schedule.refiner_calls() / 2;
                assert!(refiner <= 2 * (schedule.steps().len() - refiner), "{schedule}");
            }
        }
    }

    #[test]
    fn where_nothing_fits_there_is_still_one_euler_step_to_try() {
        for budget in [0, 1, 20, 29, 30] {
            assert_eq!(names(budget, true), ["E1"], "{budget}");
        }
    }

    #[test]
    fn a_long_budget_has_no_more_than_some_hundred() {
        let many = names(10_000, true);
        assert!((100..400).contains(&many.len()), "{}", many.len());
    }

    #[test]
    fn schedules_become_shorter_until_one_euler_step_is_left() {
        let mut schedule: Schedule = "H2P2R1".parse().unwrap();
        let mut seen = Vec::new();
        while let Some(next) = shorter(&schedule).unwrap() {
            seen.push(next.to_string());
            schedule = next;
        }
        assert_eq!(seen, ["H2P1R1", "H2R1", "H2", "H1", "E1"]);
        let next = |text: &str| shorter(&text.parse().unwrap()).unwrap().map(|schedule| schedule.to_string());
        assert_eq!(next("P1R2").as_deref(), Some("P1R1"));
        assert_eq!(next("P1").as_deref(), Some("E1"));
        assert_eq!(next("E4").as_deref(), Some("E3"));
        assert_eq!(next("E1"), None);
    }
}
