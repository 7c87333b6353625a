//! Watches a generation: the bar on the terminal, the time of each kind of step.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::time::Duration;

use flowturbo::{Progress, Schedule, StepKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use crate::units;

/// The times of the steps seen, by kind.
#[derive(Default)]
pub struct StepTimes(Vec<(StepKind, Duration)>);

impl StepTimes {
    /// Takes no notice of images.
    pub fn record(&mut self, progress: &Progress) {
        if progress.decoded == 0 {
            self.0.push((progress.kind, progress.took));
        }
    }

    /// The kinds that ran, with their times in order.
    pub fn by_kind(&self) -> Vec<(StepKind, Vec<Duration>)> {
        let of = |kind| self.0.iter().filter(|step| step.0 == kind).map(|step| step.1).collect::<Vec<_>>();
        let kinds = StepKind::ALL.iter().map(|&kind| (kind, of(kind)));
        kinds.filter(|(_, times)| !times.is_empty()).collect()
    }

    /// `H 1 x 80.1 ms, P 5 x 40.2 ms, R 3 x 4.1 ms`: counts and means.
    pub fn summary(&self) -> String {
        let kind = |(kind, times): (StepKind, Vec<Duration>)| {
            let mean = times.iter().sum::<Duration>() / times.len().max(1) as u32;
            format!("{} {} x {}", kind.letter(), times.len(), units::time(mean))
        };
        self.by_kind().into_iter().map(kind).collect::<Vec<_>>().join(", ")
    }
}

/// A progress bar over a schedule's steps, then over the images to decode; and the steps' times.
pub struct Watcher {
    bar: ProgressBar,
    pub times: StepTimes,
}

impl Watcher {
    /// The bar shows on stderr if that is a terminal, unless `quiet`.
    pub fn new(schedule: Option<&Schedule>, quiet: bool) -> Self {
        Self::on(if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }, schedule)
    }

    fn on(target: ProgressDrawTarget, schedule: Option<&Schedule>) -> Self {
        let bar = ProgressBar::with_draw_target(schedule.map(|s| s.steps().len() as u64), target)
            .with_finish(ProgressFinish::AndClear);
        // As wide as the terminal lets it be. A template that does not parse would leave the plain bar.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg} {elapsed}") {
            bar.set_style(style);
        }
        let watcher = Self { bar, times: StepTimes::default() };
        watcher.show("step", 0, schedule.map_or(0, |schedule| schedule.steps().len()));
        watcher
    }

    /// `step 3 of 12`, and so much of the bar.
    fn show(&self, what: &str, done: usize, of: usize) {
        self.bar.set_message(format!("{what} {done} of {of}"));
        self.bar.update(|state| {
            state.set_len(of as u64);
            state.set_pos(done as u64);
        });
    }

    /// To be called after each step and each image.
    pub fn step(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.times.record(progress);
        let sampled = progress.step == progress.steps;
        if sampled && progress.decoded == progress.images {
            self.bar.finish_and_clear();
        } else if sampled {
            self.show("decoding", progress.decoded, progress.images);
        } else {
            self.show("step", progress.step, progress.steps);
        }
        ControlFlow::Continue(())
    }
}

/// The schedule of `count` steps with the proportions of `schedule`.
///
/// Each run of equal steps gets its share by largest remainder, earlier runs first on a tie; the
/// first run keeps at least one step, so that refiner steps still find a velocity.
pub fn scale(schedule: &Schedule, count: u32) -> flowturbo::Result<Schedule> {
    let (all, count) = (schedule.steps().len() as u64, u64::from(count));
    let mut shares: Vec<Share> =
        schedule.steps().chunk_by(|a, b| a == b).map(|run| Share::new(run, count, all)).collect();
    let missing = count.saturating_sub(shares.iter().map(|share| share.steps).sum());
    let mut by_remainder: Vec<&mut Share> = shares.iter_mut().collect();
    by_remainder.sort_by_key(|share| Reverse(share.remainder));
    by_remainder.into_iter().take(missing as usize).for_each(|share| share.steps += 1);
    if shares.first().is_some_and(|first| first.steps == 0) {
        if let Some(largest) = shares.iter_mut().rev().max_by_key(|share| share.steps) {
            largest.steps -= 1;
        }
        shares.iter_mut().take(1).for_each(|first| first.steps = 1);
    }
    let written = |share: &Share| format!("{}{}", share.letter, share.steps);
    shares.iter().filter(|share| share.steps > 0).map(written).collect::<String>().parse()
}

/// A run of equal steps and what it gets of `count` in place of its part of `all`.
struct Share {
    letter: char,
    steps: u64,
    remainder: u64,
}

impl Share {
    fn new(run: &[StepKind], count: u64, all: u64) -> Self {
        let part = run.len() as u64 * count;
        let letter = run.first().map_or('E', |kind| kind.letter());
        Self { letter, steps: part / all, remainder: part % all }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal of 40 columns that remembers what is written.
    #[derive(Clone, Debug, Default)]
    struct Paper(Arc<Mutex<Vec<String>>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            40
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_never_mixes_steps_and_images() {
        let (paper, schedule) = (Paper::default(), "H1P2".parse().unwrap());
        // Drawn as often as it changes.
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(paper.clone()), 255);
        let watcher = Watcher::on(target, Some(&schedule));
        for (what, done, of) in [("step", 1, 3), ("step", 2, 3), ("decoding", 0, 2), ("decoding", 1, 2)] {
            std::thread::sleep(Duration::from_millis(20));
            watcher.show(what, done, of);
        }
        let written = paper.0.lock().unwrap();
        // Between the bar and the time.
        let words = |line: &'_ String| Some(line.trim().split_once(' ')?.1.rsplit_once(' ')?.0.to_owned());
        let mut told: Vec<String> = written.iter().filter_map(words).collect();
        told.dedup();
        assert_eq!(
            told,
            ["step 0 of 3", "step 1 of 3", "step 2 of 3", "decoding 0 of 2", "decoding 1 of 2"],
            "{written:?}"
        );
    }

    fn scaled(schedule: &str, count: u32) -> String {
        scale(&schedule.parse().unwrap(), count).unwrap().to_string()
    }

    #[test]
    fn scaling_keeps_proportions_and_the_first_step() {
        for (schedule, count, expected) in [
            ("H1P5R3", 9, "H1P5R3"),
            ("H1P5R3", 18, "H2P10R6"),
            ("H1P5R3", 5, "H1P2R2"),
            ("H1P5R3", 3, "H1P1R1"),
            ("H1P5R3", 1, "H1"),
            ("E25", 10, "E10"),
            ("H1R1H1", 6, "H2R2H2"),
        ] {
            assert_eq!(scaled(schedule, count), expected, "{schedule} to {count}");
        }
    }

    #[test]
    fn every_scaled_schedule_has_the_count_asked_for() {
        for schedule in ["H1P5R3", "P2R4", "E1R9", "H8P9R5", "H1R1H1R1"] {
            for count in 1..60 {
                let scaled = scale(&schedule.parse().unwrap(), count).unwrap();
                assert_eq!(scaled.steps().len(), count as usize, "{schedule} to {count}: {scaled}");
            }
        }
    }
}
