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

/// A session, and images that every schedule makes from the same noise.
pub struct Device<'a> {
    session: &'a mut Session,
    images: Vec<Image>,
    latent: Vec<f32>,
    /// The schedule that every timing begins with, and its times.
    own: Schedule,
    clock: Clock,
}

struct Image {
    /// One class, noise and guidance; the schedule is the one tried last.
    request: Request,
    reference: Vec<f32>,
}

impl<'a> Device<'a> {
    /// `samples` images of each class of the request. Image i takes stream i of its seed, and the classes come in
    /// turn, so that any part of the images is one of all classes.
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
        let image = |(noise, &class): (ArrayView4<f32>, &i64)| {
            let mut request = request.clone().with_noise(noise.to_owned());
            request.classes = vec![class];
            Image { request, reference: Vec::new() }
        };
        let images = noise.axis_chunks_iter(Axis(0), 1).zip(classes).map(image).collect();
        let (own, clock) = (own.clone(), Clock::default());
        Ok(Self { session, images, latent: vec![0.0; floats], own, clock })
    }

    /// How the bundle's own schedule fared whenever others were timed.
    pub fn pace(&self) -> Pace {
        self.clock.pace()
    }

    /// Distances are from what `schedule` makes.
    pub fn refer_to(&mut self, schedule: &Schedule) -> Result<(), Failure> {
        for i in 0..self.images.len() {
            self.sample(schedule, i)?;
            if let Some(image) = self.images.get_mut(i) {
                image.reference.clone_from(&self.latent);
            }
        }
        Ok(())
    }

    /// Leaves the latent of image `i` in `latent`.
    fn sample(&mut self, schedule: &Schedule, i: usize) -> Result<(), Failure> {
        let Some(image) = self.images.get_mut(i) else { return Ok(()) };
        image.request.schedule = Some(schedule.clone());
        let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
        Ok(self.session.latents_into(&image.request, &mut self.latent, observer)?)
    }
}

impl Lab for Device<'_> {
    fn images(&self) -> usize {
        self.images.len()
    }

    fn distance(&mut self, schedule: &Schedule, image: usize) -> Result<f64, Failure> {
        self.sample(schedule, image)?;
        let reference = self.images.get(image).map(|image| image.reference.as_slice());
        let pairs = self.latent.iter().zip(reference.unwrap_or_default());
        let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        Ok(sum / self.latent.len().max(1) as f64)
    }

    fn time(&mut self, schedules: &[Schedule]) -> Result<Vec<Duration>, Failure> {
        let Some(image) = self.images.first() else { return Ok(Vec::new()) };
        let request = |schedule: &Schedule| image.request.clone().with_schedule(schedule.clone());
        let requests: Vec<Request> = schedules.iter().map(request).collect();
        let mut times: Vec<Times> = schedules.iter().map(|_| Times::default()).collect();
        let ((least, enough, most), started) = (ROUNDS, Instant::now());
        for round in 0..most {
            if round >= least && started.elapsed() >= enough {
                break;
            }
            for (request, times) in requests.iter().zip(&mut times) {
                // What times and classes decide is computed once for each and no part of an image's time.
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
