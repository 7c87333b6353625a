//! Runs requests: noise, the schedule's steps over the networks, the decoder.

#![forbid(unsafe_code)]

mod field;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::{Array4, ArrayView3, ArrayView4, Axis};

use crate::backend::{Input, Instance};
use crate::bundle::Role;
use crate::error::{Context, Error, cancelled, invalid_argument, non_finite};
use crate::image::{Image, fill_noise, fill_rgb};
use crate::recent::Recent;
use crate::request::Settled;
use crate::sampler::{Grid, steps::State};
use crate::{CancelToken, Model, Progress, Request, Result, Schedule};
use field::{Buffers, GuidedField};

/// Called after each step; `Break` stops the generation with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
pub type Observer<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// The scratch memory to run one generation at a time.
///
/// A failed or cancelled generation leaves the session ready for the next one. From the second request of a
/// kind (batch, guided or not, schedule, class) on, [`generate_into`](Self::generate_into) and
/// [`latents_into`](Self::latents_into) allocate nothing, as long as every operation has a kernel
/// ([`Model::fallbacks`](crate::Model::fallbacks)); what was made for the last two batch sizes is kept.
pub struct Session {
    model: Model,
    instances: Recent<Box<dyn Instance>>,
    state: State,
    buffers: Buffers,
    /// One image on its way into an image network, and out of it.
    input: Vec<f32>,
    answer: Vec<f32>,
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
        Self {
            model,
            instances: Recent::default(),
            state: State::default(),
            buffers: Buffers::default(),
            input: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// The model this session belongs to.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Plans everything that `request` needs, and computes what depends on its times and classes alone, so that
    /// the next call spends no time on it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), for everything that can be told beforehand.
    pub fn prepare(&mut self, request: &Request) -> Result<()> {
        let model = self.model.clone();
        let settled = request.settle(model.bundle())?;
        GuidedField::new(self, request, settled)?.give_back(self);
        if model.manifest().has(Role::Decoder) {
            let decoder = self.take(Role::Decoder, 1)?;
            self.put(decoder);
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
        let model = self.model.clone();
        let settled = request.settle(model.bundle())?;
        let [_, height, width] = picture(&model)?;
        let sampling = self.sample(request, settled, observer)?;
        let sampled = Instant::now();
        let mut images = Vec::new();
        self.decode_state(settled.shape, &request.cancel, |picture| {
            let mut rgb = vec![0; 3 * height * width];
            fill_rgb(picture, &mut rgb);
            images.push(Image { width, height, rgb });
        })?;
        let decoding = sampled.elapsed();
        let latents = self.latents_of(settled)?;
        let Settled { schedule, guidance, .. } = settled;
        Ok(Generation { images, latents, schedule: schedule.clone(), guidance, sampling, decoding })
    }

    /// As [`generate_with`](Self::generate_with), into the caller's `[N, H, W, 3]` bytes of RGB. After a
    /// failure they may hold some of the pictures.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for another
    /// number of bytes.
    pub fn generate_into(
        &mut self,
        request: &Request,
        rgb: &mut [u8],
        observer: &mut Observer,
    ) -> Result<()> {
        let model = self.model.clone();
        let settled = request.settle(model.bundle())?;
        let bytes = picture(&model)?.iter().product();
        let ([images, ..], found) = (settled.shape, rgb.len());
        if Some(found) != images.checked_mul(bytes) {
            return Err(invalid_argument(format!(
                "pixels: {found} bytes; {images} pictures take {bytes} bytes each"
            )));
        }
        self.sample(request, settled, observer)?;
        let mut rgb = rgb.chunks_exact_mut(bytes);
        self.decode_state(settled.shape, &request.cancel, |picture| {
            rgb.next().into_iter().for_each(|rgb| fill_rgb(picture, rgb));
        })
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
        let model = self.model.clone();
        let settled = request.settle(model.bundle())?;
        self.sample(request, settled, observer)?;
        self.latents_of(settled)
    }

    /// As [`latents_with`](Self::latents_with), into the caller's memory, `[N, C, H, W]`; nothing is written
    /// after a failure.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for another
    /// number of floats.
    pub fn latents_into(
        &mut self,
        request: &Request,
        latents: &mut [f32],
        observer: &mut Observer,
    ) -> Result<()> {
        let model = self.model.clone();
        let settled = request.settle(model.bundle())?;
        let (wanted, found) = (settled.shape.iter().product::<usize>(), latents.len());
        if found != wanted {
            let shape = settled.shape;
            return Err(invalid_argument(format!("latents: {found} floats, {shape:?} takes {wanted}")));
        }
        self.sample(request, settled, observer)?;
        latents.copy_from_slice(self.state.x());
        Ok(())
    }

    /// Decodes latents `[N, C, H, W]` to images `[N, 3, H, W]`, nominally in [-1, 1].
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no decoder in the bundle, or another shape.
    pub fn decode(&mut self, latents: ArrayView4<f32>) -> Result<Array4<f32>> {
        let to_decoder = to_decoder(&self.model);
        self.converted(Role::Decoder, latents, to_decoder)
    }

    /// Encodes images `[N, 3, H, W]` in [-1, 1] to latents `[N, C, H, W]`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no encoder in the bundle, or another shape.
    pub fn encode(&mut self, images: ArrayView4<f32>) -> Result<Array4<f32>> {
        let latent = &self.model.manifest().latent;
        let (scale, shift) = (latent.scale, latent.shift);
        let mut latents = self.converted(Role::Encoder, images, |v| v)?;
        latents.mapv_inplace(|value| (value - shift) * scale);
        Ok(latents)
    }

    /// Leaves the final latents in the state; gives the time of the steps, planning left out.
    fn sample(&mut self, request: &Request, settled: Settled, observer: &mut Observer) -> Result<Duration> {
        request.cancel.check()?;
        let mut field = GuidedField::new(self, request, settled)?;
        let [images, channels, height, width] = settled.shape;
        let image = channels * height * width;
        let start = self.state.start(images * image, field.answer_len());
        match &request.noise {
            Some(noise) => start.iter_mut().zip(noise).for_each(|(x, noise)| *x = *noise),
            None => fill_noise(request.seed, image, start),
        }
        let started = Instant::now();
        let outcome = run(&mut field, &mut self.state, settled, observer);
        let took = started.elapsed();
        field.give_back(self);
        outcome.map(|()| took)
    }

    /// The state's latents, as the caller takes them.
    fn latents_of(&self, settled: Settled) -> Result<Array4<f32>> {
        Array4::from_shape_vec(settled.shape, self.state.x().to_vec()).map_err(shape)
    }

    /// Decodes the state's latents; `each` is given one `[3, H, W]` after another.
    fn decode_state(
        &mut self,
        of: [usize; 4],
        cancel: &CancelToken,
        each: impl FnMut(ArrayView3<f32>),
    ) -> Result<()> {
        let state = std::mem::take(&mut self.state);
        let to_decoder = to_decoder(&self.model);
        let outcome = ArrayView4::from_shape(of, state.x())
            .map_err(shape)
            .and_then(|latents| self.convert(Role::Decoder, latents, to_decoder, cancel, each));
        self.state = state;
        outcome
    }

    /// The answers of an image network as one array.
    fn converted(
        &mut self,
        role: Role,
        values: ArrayView4<f32>,
        prepare: impl Fn(f32) -> f32,
    ) -> Result<Array4<f32>> {
        let (_, [channels, height, width]) = self.model.manifest().shapes(role)?;
        let mut results = Array4::zeros((values.len_of(Axis(0)), channels, height, width));
        let mut rest = results.outer_iter_mut();
        self.convert(role, values, prepare, &CancelToken::new(), |answer| {
            rest.next().into_iter().for_each(|mut result| result.assign(&answer));
        })?;
        Ok(results)
    }

    /// Runs an image network over each image on its own, so that one program serves every batch.
    fn convert(
        &mut self,
        role: Role,
        values: ArrayView4<f32>,
        prepare: impl Fn(f32) -> f32,
        cancel: &CancelToken,
        mut each: impl FnMut(ArrayView3<f32>),
    ) -> Result<()> {
        let (wanted, made) = self.model.manifest().shapes(role)?;
        if values.shape().get(1..) != Some(&wanted) {
            let ([c, h, w], found) = (wanted, values.shape());
            return Err(invalid_argument(format!(
                "the {role} takes [N, {c}, {h}, {w}], was given {found:?}"
            )));
        }
        let mut instance = self.take(role, 1)?;
        self.answer.resize(made.iter().product(), 0.0);
        let mut outcome = Ok(());
        for image in values.outer_iter() {
            self.input.clear();
            self.input.extend(image.iter().copied().map(&prepare));
            outcome = instance.1.run(&[Input::F32(&self.input)], &mut self.answer, cancel);
            if outcome.is_ok() && !self.answer.iter().all(|value| value.is_finite()) {
                outcome = Err(non_finite(format!("the {role}'s answer holds a number that is not finite")));
            }
            let answer = ArrayView3::from_shape(made, &self.answer).map_err(shape);
            outcome = outcome.and(answer).map(&mut each);
            if outcome.is_err() {
                break;
            }
        }
        self.put(instance);
        outcome
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

/// `[3, H, W]` of the decoder's pictures.
fn picture(model: &Model) -> Result<[usize; 3]> {
    let manifest = model.manifest();
    if !manifest.has(Role::Decoder) {
        let name = &manifest.name;
        return Err(invalid_argument(format!("bundle '{name}' has no decoder; ask for its latents")));
    }
    Ok(manifest.shapes(Role::Decoder)?.1)
}

/// From a latent of the sampler to one of the decoder.
fn to_decoder(model: &Model) -> impl Fn(f32) -> f32 + use<> {
    let latent = &model.manifest().latent;
    let (scale, shift) = (latent.scale, latent.shift);
    move |value| value / scale + shift
}

fn run(field: &mut GuidedField, state: &mut State, settled: Settled, observer: &mut Observer) -> Result<()> {
    let kinds = settled.schedule.steps();
    let grid = Grid::new(kinds.len());
    for (i, &kind) in kinds.iter().enumerate() {
        let (step, steps) = (i + 1, kinds.len());
        let place = || format!("step {step} of {steps} ({})", kind.letter());
        let started = Instant::now();
        state.step(kind, field, grid.t(i), grid.t(i + 1), grid.delta()).at(place)?;
        if !state.is_finite() {
            return Err(non_finite("the state holds a number that is not finite")).at(place);
        }
        let latent = ArrayView4::from_shape(settled.shape, state.x()).map_err(shape)?;
        let progress = Progress { step, steps, kind, took: started.elapsed(), latent };
        if observer(&progress).is_break() {
            return Err(cancelled("stopped by the observer")).at(place);
        }
    }
    Ok(())
}

fn shape(error: ndarray::ShapeError) -> Error {
    invalid_argument(format!("latent shape: {error}"))
}
