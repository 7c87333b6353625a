//! Schedules tried on this device, by the networks that will run them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use flowturbo::{Request, Schedule, Session};
use ndarray::{ArrayView4, Axis};

use super::clock::{Clock, Pace};
use super::search::Lab;
use crate::failure::Failure;
use crate::times::{self, Spread, Times};

/// Rounds of timing: at least the first, then until they have taken this long, at most the last.
const ROUNDS: (u32, Duration, u32) = (3, Duration::from_secs(2), 15);

/// A session, and pictures that every schedule makes from the same noise.
pub struct Device<'a> {
    session: &'a mut Session,
    pictures: Vec<Picture>,
    latent: Vec<f32>,
    /// The schedule that every timing begins with, and its times.
    own: Schedule,
    clock: Clock,
}

struct Picture {
    /// One class, noise and guidance; the schedule is the one tried last.
    request: Request,
    reference: Vec<f32>,
}

impl<'a> Device<'a> {
    /// `samples` pictures of each class of the request. Picture i takes stream i of its seed, and the classes come in
    /// turn, so that any part of the pictures is one of all classes.
    pub fn new(
        session: &'a mut Session,
        request: &Request,
        samples: usize,
        own: &Schedule,
    ) -> Result<Self, Failure> {
        let latent = &session.model().manifest().latent;
        let [channels, height, width] = [latent.channels, latent.height, latent.width].map(|n| n as usize);
        let (floats, count) = (channels * height * width, samples * request.classes.len());
        let noise = flowturbo::noise(request.seed, [count, channels, height, width])?;
        let classes = request.classes.iter().cycle();
        let picture = |(noise, &class): (ArrayView4<f32>, &i64)| {
            let mut request = request.clone().with_noise(noise.to_owned());
            request.classes = vec![class];
            Picture { request, reference: Vec::new() }
        };
        let pictures = noise.axis_chunks_iter(Axis(0), 1).zip(classes).map(picture).collect();
        let (own, clock) = (own.clone(), Clock::default());
        Ok(Self { session, pictures, latent: vec![0.0; floats], own, clock })
    }

    /// How the bundle's own schedule fared whenever others were timed.
    pub fn pace(&self) -> Pace {
        self.clock.pace()
    }

    /// Distances are from what `schedule` makes.
    pub fn refer_to(&mut self, schedule: &Schedule) -> Result<(), Failure> {
        for i in 0..self.pictures.len() {
            self.sample(schedule, i)?;
            if let Some(picture) = self.pictures.get_mut(i) {
                picture.reference.clone_from(&self.latent);
            }
        }
        Ok(())
    }

    /// Leaves the latent of picture `i` in `latent`.
    fn sample(&mut self, schedule: &Schedule, i: usize) -> Result<(), Failure> {
        let Some(picture) = self.pictures.get_mut(i) else { return Ok(()) };
        picture.request.schedule = Some(schedule.clone());
        let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
        Ok(self.session.latents_into(&picture.request, &mut self.latent, observer)?)
    }
}

impl Lab for Device<'_> {
    fn pictures(&self) -> usize {
        self.pictures.len()
    }

    fn distance(&mut self, schedule: &Schedule, picture: usize) -> Result<f64, Failure> {
        self.sample(schedule, picture)?;
        let reference = self.pictures.get(picture).map(|picture| picture.reference.as_slice());
        let pairs = self.latent.iter().zip(reference.unwrap_or_default());
        let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        Ok(sum / self.latent.len().max(1) as f64)
    }

    fn time(&mut self, schedules: &[Schedule]) -> Result<Vec<Duration>, Failure> {
        let Some(picture) = self.pictures.first() else { return Ok(Vec::new()) };
        let request = |schedule: &Schedule| picture.request.clone().with_schedule(schedule.clone());
        let requests: Vec<Request> = schedules.iter().map(request).collect();
        let mut times: Vec<Times> = schedules.iter().map(|_| Times::default()).collect();
        let ((least, enough, most), started) = (ROUNDS, Instant::now());
        for round in 0..most {
            if round >= least && started.elapsed() >= enough {
                break;
            }
            for (request, times) in requests.iter().zip(&mut times) {
                // What times and classes decide is computed once for each and no part of a picture's time.
                self.session.prepare(request, times::output(self.session.model()))?;
                times.measure(self.session, request)?;
            }
        }
        if let Some((times, _)) = times.iter().zip(schedules).find(|(_, schedule)| **schedule == self.own) {
            self.clock.note(&times.whole);
        }
        let median = |times: &Times| Spread::of(&times.whole).map_or(Duration::ZERO, |spread| spread.median);
        Ok(times.iter().map(median).collect())
    }
}
