//! The search on made-up devices, whose best schedule is known by trying all.

use flowturbo::StepKind::{self, Euler, Heun, PseudoCorrector, Refiner};

use super::super::candidates::within;
use super::super::parts::Parts;
use super::*;

const IMAGES: usize = 22;

/// How far a schedule ends from the reference: E, H, P and R steps to a distance.
type Landscape = fn([f64; 4]) -> f64;

/// A device by formulas.
struct Made {
    parts: Parts,
    landscape: Landscape,
    /// What images take, times what their parts took.
    slower: f64,
    /// Images sampled so far.
    sampled: usize,
}

impl Made {
    fn new(refiner: Duration, landscape: Landscape) -> Self {
        let parts = Parts { predictor: ms(10), refiner: Some(refiner / 2), rest: ms(15) };
        Self { parts, landscape, slower: 1.0, sampled: 0 }
    }

    fn exact(&self, schedule: &Schedule) -> f64 {
        let count = |kind: StepKind| schedule.steps().iter().filter(|step| **step == kind).count() as f64;
        (self.landscape)([Euler, Heun, PseudoCorrector, Refiner].map(count))
    }
}

impl Lab for Made {
    fn images(&self) -> usize {
        IMAGES
    }

    /// Images differ: some are harder for all schedules, and each schedule has its own luck, a few per cent.
    fn distance(&mut self, schedule: &Schedule, image: usize) -> Result<f64, Failure> {
        self.sampled += 1;
        let letters = schedule.to_string().bytes().fold(image as u64, |sum, byte| sum * 31 + u64::from(byte));
        let luck = 1.0 + 0.03 * (letters as f64 * 12.9898).sin();
        Ok((self.exact(schedule) * luck).powi(2) * (1.0 + image as f64 % 3.0))
    }

    fn time(&mut self, schedules: &[Schedule]) -> Result<Vec<Duration>, Failure> {
        Ok(schedules.iter().map(|schedule| self.parts.whole(schedule).mul_f64(self.slower)).collect())
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn find(made: &mut Made, budget: Duration) -> Outcome {
    let candidates = within(budget, &made.parts).unwrap();
    // Far off, so that it is chosen only where nothing else fits.
    let schedule: Schedule = "E99".parse().unwrap();
    let own =
        Measured { time: made.time(std::slice::from_ref(&schedule)).unwrap()[0], schedule, distance: 99.0 };
    search(made, &own, candidates, None, budget).unwrap()
}

/// The least distance of all schedules that fit, in every mixture and length.
fn least_of_all(made: &Made, budget: Duration) -> f64 {
    let [call, refiner] = [made.parts.predictor, made.parts.refiner.unwrap()].map(|call| call.as_secs_f64());
    let costs = [call, 2.0 * call, call, 2.0 * refiner];
    let sampling = (budget - made.parts.rest).as_secs_f64() + 1e-9;
    let alone = (1..40).flat_map(|n| [[n, 0, 0, 0], [0, n, 0, 0]]);
    let mixed = (1..20).flat_map(|h| (0..40).flat_map(move |p| (0..=2 * (h + p)).map(move |r| [0, h, p, r])));
    let counts = alone.chain(mixed).map(|counts| counts.map(f64::from));
    let fitting =
        counts.filter(|counts| counts.iter().zip(costs).map(|(n, cost)| n * cost).sum::<f64>() <= sampling);
    fitting.map(made.landscape).fold(f64::INFINITY, f64::min)
}

/// Much as the bundled model's: more steps of every kind help, Heun steps most, refiner steps up to some share.
fn flow([e, h, p, r]: [f64; 4]) -> f64 {
    let steps = e + h + p + r;
    3.0 / (steps + 0.7 * h + 1.0).powf(1.4) + 0.3 * (r / steps).powi(2) + e / steps / (steps + 1.0)
}

/// Nothing but predictor calls counts.
fn calls([e, h, p, _]: [f64; 4]) -> f64 {
    1.0 / (e + 2.0 * h + p)
}

/// Refiner steps harm, Heun steps are worth their price.
fn heun([e, h, p, r]: [f64; 4]) -> f64 {
    1.0 / (0.3 * e + 3.0 * h + p) + 0.1 * r
}

/// Refiner steps are as good as others.
fn refiner([e, h, p, r]: [f64; 4]) -> f64 {
    1.0 / (e + 2.0 * h + p + r)
}

/// Every landscape, price of an R step and budget.
fn each(mut check: impl FnMut(&mut Made, Duration)) {
    for landscape in [flow as Landscape, calls, heun, refiner] {
        for price in [2, 4, 9] {
            for budget in (35..=280).step_by(7) {
                check(&mut Made::new(ms(price), landscape), ms(budget));
            }
        }
    }
}

#[test]
fn the_search_finds_the_best_of_its_candidates() {
    each(|made, budget| {
        let candidates = within(budget, &made.parts).unwrap();
        let true_distance = |schedule: &Schedule| {
            let images = 0..IMAGES;
            let sum: f64 = images.map(|i| made.distance(schedule, i).unwrap()).sum();
            (sum / IMAGES as f64).sqrt()
        };
        let least = candidates.iter().map(true_distance).fold(f64::INFINITY, f64::min);
        let best = find(made, budget).best.unwrap();
        assert!(best.time <= budget);
        assert!(best.distance <= least * EQUAL, "{budget:?}: {} {} {least}", best.schedule, best.distance);
    });
}

#[test]
fn the_candidates_miss_little_of_what_every_schedule_could_do() {
    each(|made, budget| {
        let best = find(made, budget).best.unwrap();
        let (found, least) = (made.exact(&best.schedule), least_of_all(made, budget));
        assert!(found <= least * 1.2, "{budget:?}: {} {found} {least}", best.schedule);
    });
}

#[test]
fn most_candidates_are_dropped_after_a_quarter_of_the_images() {
    for budget in [30, 50, 90, 280].map(ms) {
        let mut made = Made::new(ms(4), flow);
        let candidates = within(budget, &made.parts).unwrap().len();
        find(&mut made, budget);
        assert_eq!(made.sampled, work(candidates, IMAGES), "{candidates} candidates");
    }
    assert_eq!((work(1, 22), work(4, 22), work(60, 22)), (22, 88, 60 * 6 + 20 * 5 + 7 * 11));
}

#[test]
fn the_same_measurements_make_the_same_choice() {
    let schedules = || find(&mut Made::new(ms(4), flow), ms(150)).tried;
    assert_eq!(schedules(), schedules());
}

#[test]
fn the_bundles_own_schedule_wins_where_the_candidates_are_worse() {
    // Five calls.
    let own = Measured { schedule: "E2P1H1".parse().unwrap(), time: ms(65), distance: 1e-3 };
    let best = |budget| {
        let mut made = Made::new(ms(4), flow);
        let candidates = within(budget, &made.parts).unwrap();
        search(&mut made, &own, candidates, None, budget).unwrap().best.unwrap()
    };
    assert_eq!(best(ms(65)), own);
    assert_ne!(best(ms(64)), own);
}

#[test]
fn a_machine_that_has_become_slower_for_all_changes_nothing() {
    let best = |slower| {
        let mut made = Made::new(ms(4), flow);
        let own: Schedule = "H1P5R3".parse().unwrap();
        let own = Measured { time: made.parts.whole(&own), schedule: own, distance: 1.0 };
        let candidates = within(ms(150), &made.parts).unwrap();
        made.slower = slower;
        search(&mut made, &own, candidates, None, ms(150)).unwrap().best.unwrap()
    };
    let (quiet, busy) = (best(1.0), best(1.7));
    assert_eq!(quiet.schedule, busy.schedule);
    assert!(quiet.time.abs_diff(busy.time) < Duration::from_micros(1));
}

/// The same, with a preset that is there, on a machine that has become slower for all but the bundle's own schedule.
fn beside(today: &str, slower: f64, budget: u64) -> (Outcome, Schedule) {
    let mut made = Made::new(ms(4), flow);
    let own: Schedule = "H1P5R3".parse().unwrap();
    let own = Measured { time: made.parts.whole(&own), distance: made.exact(&own), schedule: own };
    let candidates = within(ms(budget), &made.parts).unwrap();
    made.slower = slower;
    let mut uneven = Uneven(made);
    let today: Schedule = today.parse().unwrap();
    (search(&mut uneven, &own, candidates, Some(&today), ms(budget)).unwrap(), today)
}

/// A device that is in the bundle's own schedule's way only.
struct Uneven(Made);

impl Lab for Uneven {
    fn images(&self) -> usize {
        self.0.images()
    }

    fn distance(&mut self, schedule: &Schedule, image: usize) -> Result<f64, Failure> {
        self.0.distance(schedule, image)
    }

    fn time(&mut self, schedules: &[Schedule]) -> Result<Vec<Duration>, Failure> {
        let mut times = self.0.time(schedules)?;
        let own = times.iter_mut().zip(schedules).filter(|(_, schedule)| schedule.to_string() == "H1P5R3");
        own.for_each(|(time, _)| *time = time.div_f64(self.0.slower));
        Ok(times)
    }
}

#[test]
fn a_preset_gives_way_to_a_closer_schedule_and_to_no_other_for_a_noisy_clock() {
    // Far from the reference: whatever fits is better.
    let (outcome, today) = beside("E1", 1.0, 150);
    for (asked, steady) in [(false, false), (true, true)] {
        assert!(
            outcome.instead_of(&today, asked, steady).unwrap().distance < outcome.tried[0].distance * 1.1
        );
    }
    // It fits, and nothing better does: it is found again.
    let (outcome, today) = beside("E12", 1.0, 140);
    let kept = outcome.instead_of(&today, false, true).unwrap();
    assert!(kept.distance <= outcome.tried.iter().find(|tried| tried.schedule == today).unwrap().distance);
    // All looks three times as slow, so that nothing but an Euler step is left.
    let (outcome, today) = beside("H1P3R2", 3.0, 90);
    assert_eq!(outcome.best.as_ref().unwrap().schedule.to_string(), "E1");
    for (asked, steady, why) in [
        (true, false, "the clock was not steady"),
        (false, false, "the clock was not steady"),
        (false, true, "--budget says"),
    ] {
        assert!(outcome.instead_of(&today, asked, steady).unwrap_err().contains(why), "{asked} {steady}");
    }
    assert_eq!(outcome.instead_of(&today, true, true).unwrap().schedule.to_string(), "E1");
    let nothing = Outcome { best: None, tried: outcome.tried };
    assert_eq!(nothing.instead_of(&today, true, true).unwrap_err(), "nothing fits");
}

#[test]
fn of_schedules_about_as_close_the_quicker_is_chosen() {
    let measured = |schedule: &str, millis, distance| Measured {
        schedule: schedule.parse().unwrap(),
        time: ms(millis),
        distance,
    };
    let tried = [
        measured("H5", 100, 0.100),
        measured("H4", 80, 0.1019),
        measured("H3", 60, 0.1021),
        measured("H9", 120, 0.05),
    ];
    let chosen = |budget| choose(&tried, ms(budget)).map(|measured| measured.schedule.to_string());
    assert_eq!(chosen(110).as_deref(), Some("H4"));
    assert_eq!(chosen(99).as_deref(), Some("H3"));
    assert_eq!(chosen(120).as_deref(), Some("H9"));
    assert_eq!(chosen(60).as_deref(), Some("H3"));
    assert_eq!(chosen(59), None);
}

#[test]
fn a_clock_that_contradicts_the_parts_is_believed() {
    for slower in [1.05, 1.4, 3.0] {
        for budget in [60, 100, 200].map(ms) {
            let mut made = Made::new(ms(4), flow);
            made.slower = slower;
            let Outcome { best, tried } = find(&mut made, budget);
            let least = made.parts.whole(&"E1".parse().unwrap()).mul_f64(slower);
            match best {
                Some(best) => assert!(best.time <= budget, "{} {:?} of {budget:?}", best.schedule, best.time),
                None => assert!(least > budget, "{tried:?}"),
            }
        }
    }
}

#[test]
fn a_budget_that_nothing_fits_tells_the_quickest() {
    for budget in [0, 10, 24].map(ms) {
        let outcome = find(&mut Made::new(ms(4), flow), budget);
        assert_eq!(outcome.best, None);
        assert_eq!(
            outcome.quickest().map(|(schedule, time)| (schedule.to_string(), time)),
            Some(("E1".into(), ms(25)))
        );
    }
    let outcome = find(&mut Made::new(ms(4), flow), ms(25));
    assert_eq!(outcome.best.map(|best| best.schedule.to_string()).as_deref(), Some("E1"));
}
