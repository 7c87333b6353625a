//! Which step comes when: `H1P5R3`, or letter by letter `HPPPPPRRR`.

use std::fmt;
use std::str::FromStr;

use crate::error::{invalid_argument, limit_exceeded};
use crate::{Error, Limits, Result};

/// One kind of sample block (FlowTurbo, arXiv 2409.18128, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// `E`: the plain first-order baseline, one predictor call.
    Euler,
    /// `H`: second order, two predictor calls.
    Heun,
    /// `P`: Heun whose first velocity is the cached one; one predictor call after the first step.
    PseudoCorrector,
    /// `R`: the refiner estimates the change of the cached velocity, two refiner calls.
    Refiner,
}

impl StepKind {
    /// Every kind, in the order of the letters `E`, `H`, `P`, `R`.
    pub const ALL: &[Self] = &[Self::Euler, Self::Heun, Self::PseudoCorrector, Self::Refiner];

    /// The kind's letter in a schedule.
    pub fn letter(self) -> char {
        match self {
            Self::Euler => 'E',
            Self::Heun => 'H',
            Self::PseudoCorrector => 'P',
            Self::Refiner => 'R',
        }
    }

    fn from_letter(letter: char) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.letter() == letter.to_ascii_uppercase())
    }
}

/// The most steps that a written schedule may have; requests are held to [`Limits::max_steps`] too.
const MAX_STEPS: usize = 100_000;

/// A sequence of steps, at least one.
///
/// Written as letters, each with an optional count from 1 on; `Display` gives the shortest form.
///
/// ```
/// # use flowturbo_runtime as flowturbo;
/// # fn main() -> flowturbo::Result<()> {
/// let schedule: flowturbo::Schedule = "HPPPPPRRR".parse()?;
/// assert_eq!(schedule.to_string(), "H1P5R3");
/// assert_eq!(schedule.predictor_calls(), 7);
/// assert_eq!(schedule.refiner_calls(), 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule(Vec<StepKind>);

impl Schedule {
    /// The steps in order.
    pub fn steps(&self) -> &[StepKind] {
        &self.0
    }

    /// True if any step needs the refiner network.
    pub fn needs_refiner(&self) -> bool {
        self.0.contains(&StepKind::Refiner)
    }

    /// Predictor evaluations of one generation.
    pub fn predictor_calls(&self) -> usize {
        let calls = |(i, kind): (usize, &StepKind)| match kind {
            StepKind::Heun => 2,
            // The first step finds no cached velocity and computes its own, as Heun does.
            StepKind::PseudoCorrector if i == 0 => 2,
            StepKind::PseudoCorrector | StepKind::Euler => 1,
            StepKind::Refiner => 0,
        };
        self.0.iter().enumerate().map(calls).sum()
    }

    /// Refiner evaluations of one generation.
    pub fn refiner_calls(&self) -> usize {
        2 * self.0.iter().filter(|&&kind| kind == StepKind::Refiner).count()
    }

    /// Refuses more steps than `limits` allow.
    #[doc(hidden)]
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let (steps, most) = (self.0.len(), limits.max_steps);
        if steps > most as usize {
            return Err(limit_exceeded(format!(
                "schedule has {steps} steps, above the limit of {most} (max_steps)"
            )));
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |why: String| {
            invalid_argument(format!(
                "schedule '{}': {why}",
                text.escape_debug().take(64).collect::<String>()
            ))
        };
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while let Some(letter) = rest.chars().next() {
            let kind = StepKind::from_letter(letter).ok_or_else(|| {
                fail(format!(
                    "'{}' is no step; write E, H, P or R with counts, such as H1P5R3",
                    letter.escape_debug()
                ))
            })?;
            rest = &rest[letter.len_utf8()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let count = match &rest[..digits] {
                "" => 1,
                number => number.parse().unwrap_or(usize::MAX),
            };
            rest = &rest[digits..];
            if count == 0 {
                return Err(fail(format!("{letter}0 is no step; leave the letter out")));
            }
            if count > MAX_STEPS - steps.len() {
                return Err(fail(format!("more than {MAX_STEPS} steps")));
            }
            if kind == StepKind::Refiner && steps.is_empty() {
                return Err(fail("an R step needs a velocity before it; begin with H, P or E".into()));
            }
            steps.extend(std::iter::repeat_n(kind, count));
        }
        if steps.is_empty() {
            return Err(fail("no steps; write for example H1P5R3".into()));
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in self.0.chunk_by(|a, b| a == b) {
            write!(f, "{}{}", run[0].letter(), run.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same_and_print_short() {
        for (text, shown, predictor, refiner) in [
            ("H1P5R3", "H1P5R3", 7, 6),
            ("HPPPPPRRR", "H1P5R3", 7, 6),
            (" h2p1 ", "H2P1", 5, 0),
            ("E25", "E25", 25, 0),
            ("P3", "P3", 4, 0),
            ("EP", "E1P1", 2, 0),
            ("H1R1H1", "H1R1H1", 4, 2),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), shown);
            assert_eq!(
                (schedule.predictor_calls(), schedule.refiner_calls()),
                (predictor, refiner),
                "{text}"
            );
            assert_eq!(shown.parse::<Schedule>().unwrap(), schedule);
        }
    }

    #[test]
    fn a_typo_is_named() {
        for (text, part) in [
            ("", "no steps"),
            ("H1Q5", "'Q' is no step"),
            ("5H", "'5' is no step"),
            ("H0", "H0 is no step"),
            ("R3", "an R step needs a velocity before it"),
            ("R1H1", "an R step needs a velocity before it"),
            ("H1 P5", "' ' is no step"),
            ("H99999999999999999999999", "more than 100000 steps"),
            ("H100000P1", "more than 100000 steps"),
            ("Hé", "'é' is no step"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
