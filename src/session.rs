//! Runs requests: noise, the schedule's steps over the networks, the decoder.

#![forbid(unsafe_code)]

mod field;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::{Array4, ArrayView4, Axis};

use crate::backend::{Input, Instance};
use crate::bundle::Role;
use crate::error::{Context, Error, cancelled, invalid_argument, non_finite};
use crate::image::{Image, noise, to_pixels};
use crate::recent::Recent;
use crate::request::Settled;
use crate::sampler::{grid, guidance::network_batch, steps::State};
use crate::{CancelToken, Model, Progress, Request, Result, Schedule};
use field::GuidedField;

/// Called after each step; `Break` stops the generation with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
pub type Observer<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// The scratch memory to run one generation at a time.
///
/// A failed or cancelled generation leaves the session ready for the next one.
pub struct Session {
    model: Model,
    instances: Recent<Box<dyn Instance>>,
}

/// A finished generation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generation {
    /// One picture for each class of the request.
    pub images: Vec<Image>,
    /// The final latents `[N, C, H, W]`.
    pub latents: Array4<f32>,
    /// The schedule that ran.
    pub schedule: Schedule,
    /// The guidance scale that was used.
    pub guidance: f32,
    /// Time spent in the sampler's steps; planning is not counted.
    pub sampling: Duration,
    /// Time spent in the decoder.
    pub decoding: Duration,
}

impl Session {
    pub(crate) fn new(model: Model) -> Self {
        Self { model, instances: Recent::new() }
    }

    /// The model this session belongs to.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Plans and allocates everything `request` needs, so that the next call spends no time on it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), for everything that can be told beforehand.
    pub fn prepare(&mut self, request: &Request) -> Result<()> {
        let settled = request.settle(self.model.manifest(), self.model.bundle().limits())?;
        let batch = network_batch(settled.shape[0], settled.guidance);
        let refiner = settled.schedule.needs_refiner();
        let decoder = self.model.manifest().has(Role::Decoder);
        let needed =
            [(Role::Predictor, batch, true), (Role::Refiner, batch, refiner), (Role::Decoder, 1, decoder)];
        for (role, batch, _) in needed.into_iter().filter(|&(_, _, needed)| needed) {
            let instance = self.take(role, batch)?;
            self.put(instance);
        }
        Ok(())
    }

    /// Samples and decodes: one picture for each class of the request.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a request that this bundle cannot
    /// serve. [`NonFinite`](crate::ErrorKind::NonFinite): names the step after which a number was not
    /// finite. [`Cancelled`](crate::ErrorKind::Cancelled): by its token.
    pub fn generate(&mut self, request: &Request) -> Result<Generation> {
        self.generate_with(request, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`generate`](Self::generate), and calls `observer` after every step.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_with(&mut self, request: &Request, observer: &mut Observer) -> Result<Generation> {
        let manifest = self.model.manifest();
        if !manifest.has(Role::Decoder) {
            let name = &manifest.name;
            return Err(invalid_argument(format!("bundle '{name}' has no decoder; ask for its latents")));
        }
        let settled = request.settle(manifest, self.model.bundle().limits())?;
        let (latents, sampling) = self.sample(request, &settled, observer)?;
        let sampled = Instant::now();
        let images = to_pixels(self.decode_until(latents.view(), &request.cancel)?.view())?;
        let Settled { schedule, guidance, .. } = settled;
        let decoding = sampled.elapsed();
        Ok(Generation { images, latents, schedule, guidance, sampling, decoding })
    }

    /// Samples without decoding: the final latents `[N, C, H, W]`.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn latents(&mut self, request: &Request) -> Result<Array4<f32>> {
        self.latents_with(request, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`latents`](Self::latents), and calls `observer` after every step.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn latents_with(&mut self, request: &Request, observer: &mut Observer) -> Result<Array4<f32>> {
        let settled = request.settle(self.model.manifest(), self.model.bundle().limits())?;
        Ok(self.sample(request, &settled, observer)?.0)
    }

    /// Decodes latents `[N, C, H, W]` to images `[N, 3, H, W]`, nominally in [-1, 1].
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no decoder in the bundle, or another shape.
    pub fn decode(&mut self, latents: ArrayView4<f32>) -> Result<Array4<f32>> {
        self.decode_until(latents, &CancelToken::new())
    }

    /// Encodes images `[N, 3, H, W]` in [-1, 1] to latents `[N, C, H, W]`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no encoder in the bundle, or another shape.
    pub fn encode(&mut self, images: ArrayView4<f32>) -> Result<Array4<f32>> {
        let latent = self.model.manifest().latent.clone();
        let mut latents = self.convert(Role::Encoder, images, |v| v, &CancelToken::new())?;
        latents.mapv_inplace(|value| (value - latent.shift) * latent.scale);
        Ok(latents)
    }

    fn decode_until(&mut self, latents: ArrayView4<f32>, cancel: &CancelToken) -> Result<Array4<f32>> {
        let latent = self.model.manifest().latent.clone();
        self.convert(Role::Decoder, latents, |value| value / latent.scale + latent.shift, cancel)
    }

    /// Returns the time of the steps too, planning left out.
    fn sample(
        &mut self,
        request: &Request,
        settled: &Settled,
        observer: &mut Observer,
    ) -> Result<(Array4<f32>, Duration)> {
        request.cancel.check()?;
        let start = match &request.noise {
            Some(noise) => noise.iter().copied().collect(),
            None => noise(request.seed, settled.shape)?.into_raw_vec_and_offset().0,
        };
        let mut field = GuidedField::new(self, request, settled)?;
        let started = Instant::now();
        let outcome = run(&mut field, start, settled, observer);
        let took = started.elapsed();
        field.give_back(self);
        Ok((outcome?, took))
    }

    /// Runs an image network over each image on its own, so that one program serves every batch.
    fn convert(
        &mut self,
        role: Role,
        values: ArrayView4<f32>,
        prepare: impl Fn(f32) -> f32,
        cancel: &CancelToken,
    ) -> Result<Array4<f32>> {
        let (wanted, made) = self.model.manifest().shapes(role)?;
        if values.shape().get(1..) != Some(&wanted) {
            let ([c, h, w], found) = (wanted, values.shape());
            return Err(invalid_argument(format!(
                "the {role} takes [N, {c}, {h}, {w}], was given {found:?}"
            )));
        }
        let mut results = Array4::zeros((values.len_of(Axis(0)), made[0], made[1], made[2]));
        let mut instance = self.take(role, 1)?;
        let mut outcome = Ok(());
        let mut answer = vec![0.0; made.iter().product()];
        for (image, mut result) in values.outer_iter().zip(results.outer_iter_mut()) {
            let input: Vec<f32> = image.iter().copied().map(&prepare).collect();
            outcome = instance.1.run(&[Input::F32(&input)], &mut answer, cancel);
            if outcome.is_err() {
                break;
            }
            result.iter_mut().zip(&answer).for_each(|(result, value)| *result = *value);
        }
        self.put(instance);
        outcome?;
        if !results.iter().all(|value| value.is_finite()) {
            return Err(non_finite(format!("the {role}'s answer holds a number that is not finite")));
        }
        Ok(results)
    }

    /// Takes the instance for `role` at `batch` out of the session, made on first use.
    fn take(&mut self, role: Role, batch: usize) -> Result<Taken> {
        match self.instances.take(role, batch) {
            Some(instance) => Ok(((role, batch), instance)),
            None => Ok(((role, batch), self.model.program(role, batch)?.instantiate())),
        }
    }

    fn put(&mut self, ((role, batch), instance): Taken) {
        self.instances.put(role, batch, instance);
    }
}

type Taken = ((Role, usize), Box<dyn Instance>);

fn run(
    field: &mut GuidedField,
    start: Vec<f32>,
    settled: &Settled,
    observer: &mut Observer,
) -> Result<Array4<f32>> {
    let kinds = settled.schedule.steps();
    let grid = grid(kinds.len());
    let delta = grid[1];
    let mut state = State::new(start, field.answer_len());
    for (i, &kind) in kinds.iter().enumerate() {
        let (step, steps) = (i + 1, kinds.len());
        let place = || format!("step {step} of {steps} ({})", kind.letter());
        let started = Instant::now();
        state.step(kind, field, grid[i], grid[i + 1], delta).at(place)?;
        if !state.x().iter().all(|value| value.is_finite()) {
            return Err(non_finite("the state holds a number that is not finite")).at(place);
        }
        let latent = ArrayView4::from_shape(settled.shape, state.x()).map_err(shape)?;
        let progress = Progress { step, steps, kind, took: started.elapsed(), latent };
        if observer(&progress).is_break() {
            return Err(cancelled("stopped by the observer")).at(place);
        }
    }
    Array4::from_shape_vec(settled.shape, state.into_x()).map_err(shape)
}

fn shape(error: ndarray::ShapeError) -> Error {
    invalid_argument(format!("latent shape: {error}"))
}
