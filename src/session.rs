//! Runs requests: noise, the schedule's steps over the networks, the decoder.

#![forbid(unsafe_code)]

mod coders;
mod contexts;
mod edit;
mod evaluator;
mod field;
mod job;
mod maps;
mod prompts;

use std::ops::ControlFlow;
use std::time::Duration;

use ndarray::{Array4, ArrayView4, Axis, Slice};

use crate::backend::Instance;
use crate::bundle::{Extent, Role};
use crate::error::{Error, invalid_argument};
use crate::image::{Image, Pixels, rgb8};
use crate::kernels::DefaultFloats;
use crate::preview::PreviewKind;
use crate::recent::Recent;
use crate::request::Resolved;
use crate::sampler::steps::State;
use crate::{CancelToken, Model, Progress, Request, Result, Schedule, memory};
use edit::Edit;
use field::Buffers;
use job::Job;

/// Called after each step of the schedule and after each decoded image; `Break` stops the generation with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
pub type Observer<'a> = dyn FnMut(&Progress) -> ControlFlow<()> + 'a;

/// The scratch memory to run one generation at a time.
///
/// A failed or cancelled generation leaves the session ready for the next one. From the second request of a
/// kind (batch, size, guided or not, schedule, class, context) on, [`generate_into`](Self::generate_into) and
/// [`latents_into`](Self::latents_into) allocate nothing, as long as every operation has a kernel
/// ([`Model::fallbacks`](crate::Model::fallbacks)) and the request neither varies nor begins with an image; what was
/// made for the last two sizes is kept.
///
/// # A little at a time
///
/// A program with a frame to show begins a request and spends a few milliseconds on it now and then:
///
/// ```no_run
/// # use std::{ops::ControlFlow, time::Duration};
/// # use flowturbo::{Model, Output, Pixels, Request};
/// # fn main() -> flowturbo::Result<()> {
/// # let mut rgb = vec![0; 128 * 128 * 3];
/// let mut session = Model::open("models/textures")?.session();
/// let observer = &mut |_: &flowturbo::Progress| ControlFlow::Continue(());
/// session.begin(&Request::new(vec![4]), Output::Images)?;
/// while !session.step(Some(Duration::from_millis(4)), observer)? {
///     // Draw a frame.
/// }
/// session.finish_into(&mut Pixels::rgb8(&mut rgb), observer)?;
/// # Ok(())
/// # }
/// ```
pub struct Session {
    model: Model,
    instances: Recent<Box<dyn Instance>>,
    state: State,
    buffers: Buffers,
    edit: Edit,
    /// The generation that was begun last, unless it failed.
    job: Option<Job>,
    /// One image on its way into an image network.
    input: Vec<f32>,
    /// Decoded images `[N, M, H, W]`: colour, and behind it the other maps of the model.
    images: Vec<f32>,
}

/// What a generation makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Latents, and images decoded from them.
    #[default]
    Images,
    /// Latents alone.
    Latents,
}

/// A finished generation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generation {
    /// One image for each class of the request.
    pub images: Vec<Image>,
    /// The final latents `[N, C, H, W]`.
    pub latents: Array4<f32>,
    /// The schedule that ran.
    pub schedule: Schedule,
    /// The guidance scale that was used.
    pub guidance: f32,
    /// Time spent in the encoders, on images to begin with and on prompts.
    pub encoding: Duration,
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
            edit: Edit::default(),
            job: None,
            input: Vec::new(),
            images: Vec::new(),
        }
    }

    /// The model this session belongs to.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Plans everything that `request` needs, and computes what depends on its times, classes and pooled contexts
    /// alone, so that the next call spends no time on it. A generation under way is given up, one that is done is
    /// forgotten.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), for everything that can be told beforehand.
    pub fn prepare(&mut self, request: &Request, output: Output) -> Result<()> {
        let _default = DefaultFloats::enter();
        self.begin(request, output)?;
        let Some(mut job) = self.job.take() else { return Ok(()) };
        let computed = job.encode_prompts(self, None).and_then(|_| job.condition(None));
        self.job = Some(job);
        self.reset();
        computed.map(drop)
    }

    /// Samples and decodes: one image for each class of the request.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a request that this bundle cannot
    /// serve. [`NonFinite`](crate::ErrorKind::NonFinite): names the step after which a number was not
    /// finite. [`Cancelled`](crate::ErrorKind::Cancelled): by its token.
    pub fn generate(&mut self, request: &Request) -> Result<Generation> {
        self.generate_with(request, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`generate`](Self::generate), and calls `observer` after every step and every image.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_with(&mut self, request: &Request, observer: &mut Observer) -> Result<Generation> {
        let _default = DefaultFloats::enter();
        let model = self.cleared()?;
        let resolved = request.resolve(model.bundle())?;
        self.begin_resolved(request, resolved, Output::Images)?;
        self.run_to_the_end(observer)?;
        let [_, _, height, width] = resolved.images(model.manifest())?;
        let images = self.colours().map(|image| rgb8(image, height, width)).collect::<Result<_>>()?;
        let [encoding, sampling, decoding] = self.job.as_ref().map(Job::took).unwrap_or_default();
        let x = self.state.x();
        let x = memory::collected(x.len(), x.iter().copied())?;
        let latents = Array4::from_shape_vec(resolved.shape, x).map_err(shape)?;
        let (schedule, guidance) = (resolved.schedule.clone(), resolved.guidance);
        Ok(Generation { images, latents, schedule, guidance, encoding, sampling, decoding })
    }

    /// As [`generate_with`](Self::generate_with), into the caller's memory; nothing is written after a failure.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for memory that
    /// cannot hold the images, before anything is sampled.
    pub fn generate_into(
        &mut self,
        request: &Request,
        pixels: &mut Pixels,
        observer: &mut Observer,
    ) -> Result<()> {
        let _default = DefaultFloats::enter();
        self.begin_into(request, pixels)?;
        self.finish_into(pixels, observer)
    }

    /// Begins a generation of images if `pixels` can hold them.
    #[doc(hidden)]
    pub fn begin_into(&mut self, request: &Request, pixels: &mut Pixels) -> Result<()> {
        let model = self.model.clone();
        let resolved = request.resolve(model.bundle())?;
        let [images, _, height, width] = resolved.images(model.manifest())?;
        pixels.hold([images, height, width])?;
        self.begin_resolved(request, resolved, Output::Images)
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
        self.begin(request, Output::Latents)?;
        self.run_to_the_end(observer)?;
        let latents = self.last_latents()?;
        let values = memory::collected(latents.len(), latents.iter().copied())?;
        Array4::from_shape_vec(latents.raw_dim(), values).map_err(shape)
    }

    /// As [`latents_with`](Self::latents_with), into the caller's memory, `[N, C, H, W]`; nothing is written
    /// after a failure.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for another
    /// number of floats, before anything is sampled.
    pub fn latents_into(
        &mut self,
        request: &Request,
        latents: &mut [f32],
        observer: &mut Observer,
    ) -> Result<()> {
        let model = self.model.clone();
        let resolved = request.resolve(model.bundle())?;
        let (shape, found) = (resolved.shape, latents.len());
        let wanted = shape.iter().product::<usize>();
        if found != wanted {
            return Err(invalid_argument(format!("latents: {found} floats, {shape:?} takes {wanted}")));
        }
        self.begin_resolved(request, resolved, Output::Latents)?;
        self.run_to_the_end(observer)?;
        latents.copy_from_slice(self.state.x());
        Ok(())
    }

    /// Begins a generation that [`step`](Self::step) carries out; plans what is not planned yet, and takes its memory:
    /// [`prepare`](Self::prepare) beforehand leaves next to nothing to do. One that was under way is given up, also if
    /// this fails. One that nobody steps costs nothing: to stop, just leave it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), for everything that can be told beforehand.
    pub fn begin(&mut self, request: &Request, output: Output) -> Result<()> {
        let model = self.cleared()?;
        self.begin_resolved(request, request.resolve(model.bundle())?, output)
    }

    /// The model, after the generation under way is given up.
    fn cleared(&mut self) -> Result<Model> {
        self.model.check_process()?;
        self.reset();
        Ok(self.model.clone())
    }

    /// As [`begin`](Self::begin), of a request that was held against this model's bundle.
    fn begin_resolved(&mut self, request: &Request, resolved: Resolved, output: Output) -> Result<()> {
        let _default = DefaultFloats::enter();
        self.model.check_process()?;
        self.reset();
        let job = Job::begin(self, request, resolved, output)?;
        self.job = Some(job);
        Ok(())
    }

    /// Works on the generation for about `budget`, or, without one, to the end of a step of the schedule or of
    /// a decoded image. True once everything is done. What depends on times, classes and pooled contexts alone, and is
    /// not known yet, comes first, in the first such steps' time.
    ///
    /// The clock is looked at between the operations of a network, so a call takes longer than its budget by at most
    /// one of them: 1 to 2 ms for the bundled model and one thread. Networks that are left to tract run to their end.
    /// After an error the generation is over.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if nothing was begun.
    pub fn step(&mut self, budget: Option<Duration>, observer: &mut Observer) -> Result<bool> {
        let _default = DefaultFloats::enter();
        self.model.check_process()?;
        let mut job = self.job.take().ok_or_else(nothing_begun)?;
        let outcome = job.step(self, budget, observer);
        match outcome {
            Ok(_) => self.job = Some(job),
            Err(_) => job.give_back(self),
        }
        outcome
    }

    /// Does what is left of the generation, and writes its images; nothing is written after a failure. May be
    /// called again, until the next generation begins.
    ///
    /// # Errors
    /// As [`step`](Self::step); [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for memory that cannot hold
    /// the images (the generation goes on), and if only latents were asked for.
    pub fn finish_into(&mut self, pixels: &mut Pixels, observer: &mut Observer) -> Result<()> {
        let _default = DefaultFloats::enter();
        let mut canvas = pixels.hold(self.job_of_images()?.images())?;
        self.run_to_the_end(observer)?;
        for (i, image) in self.colours().enumerate() {
            canvas.draw(i, image);
        }
        Ok(())
    }

    /// What the generation under way, or the last one, looks like so far: the state carried to the end along
    /// its latest velocity.
    ///
    /// [`PreviewKind::Linear`] makes images of the latent's own size, `[N, latent height, latent width]`, and
    /// takes microseconds, of the colours that the bundle has for it (`image.preview`); [`PreviewKind::Decoded`] runs
    /// the decoder each time.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): nothing was begun, no such colours or no decoder in the
    /// bundle, or memory that cannot hold the images.
    pub fn preview_into(&mut self, kind: PreviewKind, pixels: &mut Pixels) -> Result<()> {
        let _default = DefaultFloats::enter();
        self.model.check_process()?;
        let job = self.job.take().ok_or_else(nothing_begun)?;
        let outcome = job.preview(self, kind, pixels);
        self.job = Some(job);
        outcome
    }

    /// Steps of the schedule that are done, and all of them, of the generation under way or the last one.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if nothing was begun.
    pub fn steps(&self) -> Result<(usize, usize)> {
        self.job.as_ref().map(Job::steps).ok_or_else(nothing_begun)
    }

    /// The latents `[N, C, H, W]` of the last generation.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if there is none that was sampled to the end.
    pub fn last_latents(&self) -> Result<ArrayView4<'_, f32>> {
        let job = self.job.as_ref().ok_or_else(nothing_begun)?;
        if !job.is_sampled() {
            return Err(invalid_argument("the generation has steps left, its latents are not final"));
        }
        ArrayView4::from_shape(job.shape(), self.state.x()).map_err(shape)
    }

    /// Decodes latents `[N, C, H, W]` to images `[N, 3, H, W]`, nominally in [-1, 1].
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no decoder in the bundle, or another shape.
    pub fn decode(&mut self, latents: ArrayView4<f32>) -> Result<Array4<f32>> {
        let maps = self.decode_maps(latents)?;
        if maps.len_of(Axis(1)) == 3 {
            return Ok(maps);
        }
        let colours = maps.slice_axis(Axis(1), Slice::from(..3));
        let values = memory::collected(colours.len(), colours.iter().copied())?;
        Array4::from_shape_vec(colours.raw_dim(), values).map_err(shape)
    }

    /// As [`decode`](Self::decode), into the caller's memory as pixels.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and for memory that cannot hold the images.
    pub fn decode_into(&mut self, latents: ArrayView4<f32>, pixels: &mut Pixels) -> Result<()> {
        let _default = DefaultFloats::enter();
        let [_, height, width] = self.converts(Role::Decoder, latents.shape())?.1;
        let mut canvas = pixels.hold([latents.shape()[0], height, width])?;
        let decoded = self.decode_maps(latents)?;
        for (i, image) in decoded.outer_iter().enumerate() {
            image.as_slice().into_iter().for_each(|image| canvas.draw(i, image));
        }
        Ok(())
    }

    /// Encodes images `[N, 3, H, W]` in [-1, 1] to latents `[N, C, H, W]`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): no encoder in the bundle, or another shape.
    pub fn encode(&mut self, images: ArrayView4<f32>) -> Result<Array4<f32>> {
        let _default = DefaultFloats::enter();
        let from_encoder = coders::from_encoder(&self.model);
        Ok(self.converted(Role::Encoder, images, |value| value)?.mapv_into(from_encoder))
    }

    /// Gives the generation under way up, or forgets the last one.
    pub fn reset(&mut self) {
        if let Some(job) = self.job.take() {
            job.give_back(self);
        }
    }

    /// Steps until everything is done.
    #[doc(hidden)]
    pub fn run_to_the_end(&mut self, observer: &mut Observer) -> Result<()> {
        while !self.step(Some(Duration::MAX), observer)? {}
        Ok(())
    }

    /// Takes the instance for `role` at `extent` out of the session, made on first use.
    fn take(&mut self, role: Role, extent: Extent, cancel: &CancelToken) -> Result<Taken> {
        match self.instances.take(role, extent) {
            Some(instance) => Ok(((role, extent), instance)),
            None => Ok(((role, extent), self.model.program(role, extent, cancel)?.instantiate(cancel)?)),
        }
    }

    fn put(&mut self, ((role, extent), instance): Taken) {
        self.instances.put(role, extent, instance);
    }
}

type Taken = ((Role, Extent), Box<dyn Instance>);

fn nothing_begun() -> Error {
    invalid_argument("no generation was begun, or the last one failed")
}

fn shape(error: ndarray::ShapeError) -> Error {
    invalid_argument(format!("latent shape: {error}"))
}
