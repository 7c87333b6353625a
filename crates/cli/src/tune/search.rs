//! Which of many schedules comes closest within a time.

use std::time::Duration;

use flowturbo::Schedule;

use super::candidates::shorter;
use crate::failure::Failure;

/// Distances this much apart count as equal; the quicker schedule is better then.
const EQUAL: f64 = 1.02;

/// One candidate in so many goes on to more images, ...
const GO_ON: usize = 3;
/// ... but at least this many do.
const FEWEST: usize = 4;

/// What can be found out about schedules.
pub trait Lab {
    /// Images that schedules are compared on.
    fn images(&self) -> usize;

    /// How far the latent of an image ends from the reference's: the mean square over its numbers.
    fn distance(&mut self, schedule: &Schedule, image: usize) -> Result<f64, Failure>;

    /// What a whole image takes with each schedule: medians, measured in turns.
    fn time(&mut self, schedules: &[Schedule]) -> Result<Vec<Duration>, Failure>;
}

/// A schedule that was measured on all images.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub schedule: Schedule,
    /// Of a whole image.
    pub time: Duration,
    /// From the reference, root mean square.
    pub distance: f64,
}

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    /// None if nothing fits.
    pub best: Option<Measured>,
    /// All that were measured to the end, as good as they are; at least one.
    pub tried: Vec<Measured>,
}

impl Outcome {
    /// The quickest schedule that was measured, and what its image takes.
    pub fn quickest(&self) -> Option<(&Schedule, Duration)> {
        self.tried.iter().min_by_key(|tried| tried.time).map(|tried| (&tried.schedule, tried.time))
    }
}

/// The closest of `candidates` whose image takes at most `budget`; or `own`, the bundle's schedule.
///
/// All candidates are compared on a quarter of the images, the better third on half of them, the better third of
/// those on all, and timed, beside the schedule that the preset has `today`. If the clock says that none of these fits,
/// the best is shortened until it does.
pub fn search(
    lab: &mut impl Lab,
    own: &Measured,
    candidates: Vec<Schedule>,
    today: Option<&Schedule>,
    budget: Duration,
) -> Result<Outcome, Failure> {
    let mut finalists = race(lab, candidates)?;
    let known = |schedule: &Schedule| finalists.iter().any(|runner| runner.schedule == *schedule);
    if let Some(today) = today.filter(|&today| *today != own.schedule && !known(today)) {
        let mut runner = Runner::new(today.clone());
        runner.see(lab, lab.images())?;
        finalists.push(runner);
    }
    let mut tried = timed_beside(lab, own, finalists)?;
    let mut next = tried.first().map(|closest| closest.schedule.clone());
    while tried.iter().all(|measured| measured.time > budget)
        && let Some(long) = &next
    {
        next = shorter(long)?;
        let mut runners: Vec<Runner> = next.iter().cloned().map(Runner::new).collect();
        runners.iter_mut().try_for_each(|runner| runner.see(lab, lab.images()))?;
        tried.extend(timed_beside(lab, own, runners)?);
    }
    tried.push(own.clone());
    tried.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    Ok(Outcome { best: choose(&tried, budget), tried })
}

impl Outcome {
    /// What becomes of a preset that there is `today`: the best, or why today's stays. A closer schedule takes its
    /// place. One further away does only if today's is too slow for the budget that was `asked` for, on a clock that is
    /// `steady`: a machine that is busy makes everything look too slow.
    pub fn instead_of(&self, today: &Schedule, asked: bool, steady: bool) -> Result<&Measured, &'static str> {
        let Some(best) = &self.best else { return Err("nothing fits") };
        let now = self.tried.iter().find(|tried| tried.schedule == *today);
        match now {
            Some(now) if best.distance > now.distance * EQUAL && !steady => {
                Err("it comes closer, and the clock was not steady")
            }
            Some(now) if best.distance > now.distance * EQUAL && !asked => {
                Err("it comes closer; --budget says what an image may take")
            }
            _ => Ok(best),
        }
    }
}

/// One schedule's time and distance.
pub fn measure(lab: &mut impl Lab, schedule: &Schedule) -> Result<Measured, Failure> {
    let mut runner = Runner::new(schedule.clone());
    runner.see(lab, lab.images())?;
    let time = lab.time(std::slice::from_ref(schedule))?.first().copied().unwrap_or_default();
    Ok(runner.measured(time))
}

/// Times runners in turns with `own`. A machine that is slower or faster than when `own` was measured is so for all,
/// and is not held against them.
fn timed_beside(lab: &mut impl Lab, own: &Measured, runners: Vec<Runner>) -> Result<Vec<Measured>, Failure> {
    let schedules = std::iter::once(&own.schedule).chain(runners.iter().map(|runner| &runner.schedule));
    let mut times = lab.time(&schedules.cloned().collect::<Vec<_>>())?.into_iter();
    let now = times.next().filter(|now| !now.is_zero()).unwrap_or(own.time);
    let then = own.time.div_duration_f64(now);
    Ok(runners.into_iter().zip(times).map(|(runner, time)| runner.measured(time.mul_f64(then))).collect())
}

/// Those of `candidates` that were compared on all images, the closest first.
fn race(lab: &mut impl Lab, candidates: Vec<Schedule>) -> Result<Vec<Runner>, Failure> {
    let mut runners: Vec<Runner> = candidates.into_iter().map(Runner::new).collect();
    for (starters, images) in rounds(runners.len(), lab.images()) {
        runners.truncate(starters);
        runners.iter_mut().try_for_each(|runner| runner.see(lab, images))?;
        // All have seen the same images. The sort is stable: of equals, the first candidate stays the first.
        runners.sort_by(|a, b| a.sum.total_cmp(&b.sum));
    }
    Ok(runners)
}

/// How many of `candidates` start in each round, and how many images they have seen after it.
fn rounds(candidates: usize, images: usize) -> [(usize, usize); 3] {
    let fewer = |starters: usize| starters.div_ceil(GO_ON).max(FEWEST).min(starters);
    let (half, all) = (fewer(candidates), fewer(fewer(candidates)));
    [(candidates, images.div_ceil(4)), (half, images.div_ceil(2)), (all, images)]
}

/// Images that the race among `candidates` makes of them all together.
pub fn work(candidates: usize, images: usize) -> usize {
    let mut seen = 0;
    let round =
        |(starters, images): (usize, usize)| starters * (images - std::mem::replace(&mut seen, images));
    rounds(candidates, images).into_iter().map(round).sum()
}

/// A candidate and the images it has seen.
struct Runner {
    schedule: Schedule,
    sum: f64,
    seen: usize,
}

impl Runner {
    fn new(schedule: Schedule) -> Self {
        Self { schedule, sum: 0.0, seen: 0 }
    }

    fn see(&mut self, lab: &mut impl Lab, images: usize) -> Result<(), Failure> {
        for image in self.seen..images {
            self.sum += lab.distance(&self.schedule, image)?;
        }
        self.seen = self.seen.max(images);
        Ok(())
    }

    fn measured(self, time: Duration) -> Measured {
        Measured { schedule: self.schedule, time, distance: (self.sum / self.seen.max(1) as f64).sqrt() }
    }
}

/// The closest within `budget`, or one about as close that is quicker.
fn choose(tried: &[Measured], budget: Duration) -> Option<Measured> {
    let fitting = || tried.iter().filter(|measured| measured.time <= budget);
    let closest = fitting().map(|measured| measured.distance).min_by(f64::total_cmp)?;
    fitting()
        .filter(|measured| measured.distance <= closest * EQUAL)
        .min_by_key(|measured| measured.time)
        .cloned()
}

#[cfg(test)]
mod tests;
