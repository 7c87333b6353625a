//! One generation from its noise to its images, a budget of time at a time.

use std::task::Poll;
use std::time::{Duration, Instant};

use ndarray::{Array4, ArrayView4};

use super::field::GuidedField;
use super::prompts::Prompts;
use super::{Observer, Output, Session, Taken, coders, shape};
use crate::backend::{Input, Pace};
use crate::bundle::{Extent, Role};
use crate::error::{Context, cancelled, non_finite, runtime};
use crate::image::Pixels;
use crate::kernels::DefaultFloats;
use crate::preview::{Outlook, PreviewKind};
use crate::request::Resolved;
use crate::sampler::{Grid, StepKind};
use crate::{CancelToken, Progress, Request, Result, memory};

/// A generation under way, or done; the session holds its state.
pub(super) struct Job {
    /// The networks, while there are steps left.
    field: Option<GuidedField>,
    /// While there are prompts left.
    prompts: Option<Prompts>,
    /// While there are images to begin with left: nobody else may use one that is half-way.
    encoder: Option<Taken>,
    /// While there are images left.
    decoder: Option<Taken>,
    /// `[N, C, H, W]`.
    shape: [usize; 4],
    /// `[H, W]` of the images; 0 where none are made.
    size: [usize; 2],
    grid: Grid,
    steps: usize,
    /// Steps done.
    step: usize,
    output: Output,
    /// Images to begin with that are encoded.
    encoded: usize,
    /// Images done.
    decoded: usize,
    /// The step that was done last.
    kind: StepKind,
    cancel: CancelToken,
    /// Of the step, or the image, at hand so far.
    step_took: Duration,
    encoding: Duration,
    sampling: Duration,
    decoding: Duration,
}

impl Job {
    pub(super) fn begin(
        session: &mut Session,
        request: &Request,
        resolved: Resolved,
        output: Output,
    ) -> Result<Self> {
        request.cancel.check()?;
        let model = session.model.clone();
        let mut size = [0, 0];
        if output == Output::Images {
            let images = resolved.images(model.manifest())?;
            memory::resize(&mut session.images, images.iter().product(), 0.0)?;
            size = [images[2], images[3]];
        }
        session.edit.read(request, resolved, model.manifest())?;
        let mut field = GuidedField::new(session, request, resolved)?;
        let prompts = match Prompts::begin(session, request, field.contexts()) {
            Ok(prompts) => prompts,
            Err(error) => {
                field.give_back(session);
                return Err(error);
            }
        };
        let grid = resolved.grid();
        let (images, beside) = resolved.floats();
        let started = session.state.start(images, beside, field.answer_len());
        let start = match started {
            Ok(start) => start,
            Err(error) => {
                prompts.into_iter().for_each(|prompts| prompts.give_back(session));
                field.give_back(session);
                return Err(error);
            }
        };
        session.edit.start(grid.t(0), start);
        let mut job = Self {
            size,
            grid,
            steps: field.kinds().len(),
            kind: field.kinds().first().copied().unwrap_or(StepKind::Euler),
            field: Some(field),
            prompts,
            encoder: None,
            decoder: None,
            shape: resolved.shape,
            step: 0,
            output,
            encoded: 0,
            decoded: 0,
            cancel: request.cancel.clone(),
            step_took: Duration::ZERO,
            encoding: Duration::ZERO,
            sampling: Duration::ZERO,
            decoding: Duration::ZERO,
        };
        match job.take_coders(session, Extent { batch: 1, ..resolved.extent }) {
            Ok(()) => Ok(job),
            Err(error) => {
                job.give_back(session);
                Err(error)
            }
        }
    }

    /// The networks between pixels and latents, as far as they are needed.
    fn take_coders(&mut self, session: &mut Session, extent: Extent) -> Result<()> {
        if session.edit.image(0).is_some() {
            self.encoder = Some(session.take(Role::Encoder, extent, &self.cancel)?);
        }
        if self.output == Output::Images {
            self.decoder = Some(session.take(Role::Decoder, extent, &self.cancel)?);
        }
        Ok(())
    }

    /// Returns what it took from the session.
    pub(super) fn give_back(self, session: &mut Session) {
        if let Some(field) = self.field {
            field.give_back(session);
        }
        if let Some(prompts) = self.prompts {
            prompts.give_back(session);
        }
        for mut coder in [self.encoder, self.decoder].into_iter().flatten() {
            coder.1.abandon();
            session.put(coder);
        }
    }

    pub(super) fn batch(&self) -> usize {
        self.shape[0]
    }

    pub(super) fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// `[N, H, W]` of the images.
    pub(super) fn images(&self) -> [usize; 3] {
        let [height, width] = self.size;
        [self.batch(), height, width]
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }

    /// The time spent on encoding, on sampling and on decoding.
    pub(super) fn took(&self) -> [Duration; 3] {
        [self.encoding, self.sampling, self.decoding]
    }

    /// Steps done, and all of them.
    pub(super) fn steps(&self) -> (usize, usize) {
        (self.step, self.steps)
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.step == self.steps
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_sampled() && (self.output == Output::Latents || self.decoded == self.batch())
    }

    /// See [`Session::step`].
    pub(super) fn step(
        &mut self,
        session: &mut Session,
        budget: Option<Duration>,
        observer: &mut Observer,
    ) -> Result<bool> {
        // None for a budget without end.
        let until = budget.and_then(|budget| Instant::now().checked_add(budget));
        while !self.is_done() {
            let started = Instant::now();
            let paused = if self.encode_prompts(session, until)?.is_pending() {
                self.encoding += started.elapsed();
                true
            } else if self.condition(until)?.is_pending() {
                true
            } else if self.encoder.is_some() {
                let encoded = self.encode(session, until)?;
                self.encoding += started.elapsed();
                encoded.is_pending()
            } else if self.is_sampled() {
                self.decode(session, until, observer)?.is_pending()
            } else {
                self.sample(session, until, observer)?.is_pending()
            };
            if paused || budget.is_none() || until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        Ok(self.is_done())
    }

    /// Goes on with the prompts, which come first.
    pub(super) fn encode_prompts(
        &mut self,
        session: &mut Session,
        until: Option<Instant>,
    ) -> Result<Poll<()>> {
        let (Some(prompts), Some(field)) = (&mut self.prompts, &mut self.field) else {
            return Ok(Poll::Ready(()));
        };
        match prompts.advance(&session.model, field.contexts(), until, &self.cancel) {
            Poll::Ready(outcome) => outcome?,
            Poll::Pending => return Ok(Poll::Pending),
        }
        if let Some(prompts) = self.prompts.take() {
            prompts.give_back(session);
        }
        Ok(Poll::Ready(()))
    }

    /// Goes on with what depends on conditions alone, which comes next.
    pub(super) fn condition(&mut self, until: Option<Instant>) -> Result<Poll<()>> {
        self.field.as_mut().map_or(Ok(Poll::Ready(())), |field| field.condition(until))
    }

    /// Goes on with the image at hand; behind the last one sampling starts on the way to the images.
    fn encode(&mut self, session: &mut Session, until: Option<Instant>) -> Result<Poll<()>> {
        let Some(encoder) = &mut self.encoder else { return Err(runtime("an image without an encoder")) };
        let Session { model, state, edit, input, .. } = session;
        let latent = state.x().len() / self.shape[0];
        memory::resize(input, latent, 0.0)?;
        if let Some(image) = edit.image(self.encoded) {
            match encoder.1.advance(&[Input::F32(image)], input, Pace::new(&self.cancel, until)) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => return Ok(Poll::Pending),
            }
            coders::check(Role::Encoder, input)?;
            edit.encoded(self.encoded, input.iter().copied().map(coders::from_encoder(model)), latent);
            self.encoded += 1;
        }
        if edit.image(self.encoded).is_none() {
            edit.start(self.grid.t(0), state.x_mut());
            if let Some(encoder) = self.encoder.take() {
                session.put(encoder);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Goes on with the step at hand.
    fn sample(
        &mut self,
        session: &mut Session,
        until: Option<Instant>,
        observer: &mut Observer,
    ) -> Result<Poll<()>> {
        let (i, steps, started) = (self.step, self.steps, Instant::now());
        let Some((field, kind)) =
            self.field.as_mut().and_then(|field| field.kinds().get(i).copied().map(|kind| (field, kind)))
        else {
            return Err(runtime("a step without its networks"));
        };
        let place = || format!("step {} of {steps} ({})", i + 1, kind.letter());
        field.pause_at(until);
        let grid = self.grid;
        let stepped = session.state.step(kind, field, grid.t(i), grid.t(i + 1), grid.delta());
        let took = started.elapsed();
        self.sampling += took;
        self.step_took += took;
        match stepped {
            Poll::Ready(outcome) => outcome.at(place)?,
            Poll::Pending => return Ok(Poll::Pending),
        }
        if let Some(known) = session.edit.known(self.batch()) {
            session.state.keep(&known, grid.t(i + 1));
        }
        if !session.state.is_finite() {
            return Err(non_finite("the state holds a number that is not finite")).at(place);
        }
        (self.step, self.kind) = (self.step + 1, kind);
        self.tell(session, observer).at(place)?;
        if self.is_sampled()
            && let Some(field) = self.field.take()
        {
            field.give_back(session);
        }
        Ok(Poll::Ready(()))
    }

    /// Tells what was done last.
    fn tell(&mut self, session: &Session, observer: &mut Observer) -> Result<()> {
        let progress = Progress {
            step: self.step,
            steps: self.steps,
            kind: self.kind,
            decoded: self.decoded,
            images: if self.output == Output::Images { self.batch() } else { 0 },
            took: std::mem::take(&mut self.step_took),
            latent: ArrayView4::from_shape(self.shape, session.state.x()).map_err(shape)?,
            outlook: self.outlook(session),
        };
        let told = {
            // Whatever the observer does to it.
            let _default = DefaultFloats::enter();
            observer(&progress)
        };
        // It may have forked.
        session.model.check_process()?;
        if told.is_break() { Err(cancelled("stopped by the observer")) } else { Ok(()) }
    }

    /// Goes on with the image at hand.
    fn decode(
        &mut self,
        session: &mut Session,
        until: Option<Instant>,
        observer: &mut Observer,
    ) -> Result<Poll<()>> {
        let started = Instant::now();
        let Some(decoder) = &mut self.decoder else { return Err(runtime("an image without a decoder")) };
        let Session { model, state, input, images, edit, .. } = session;
        let (to_decoder, batch) = (coders::to_decoder(model), self.shape[0]);
        let (latent, image) = (state.x().len() / batch, images.len() / batch);
        input.clear();
        memory::reserve(input, latent)?;
        input.extend(state.x()[self.decoded * latent..][..latent].iter().copied().map(to_decoder));
        let answer = &mut images[self.decoded * image..][..image];
        let advanced = decoder.1.advance(&[Input::F32(input)], answer, Pace::new(&self.cancel, until));
        if matches!(advanced, Poll::Ready(Ok(()))) {
            coders::check(Role::Decoder, answer)?;
            let [height, width] = self.size;
            edit.restore(self.decoded, &mut answer[..3 * height * width]);
        }
        let took = started.elapsed();
        self.decoding += took;
        self.step_took += took;
        match advanced {
            Poll::Ready(outcome) => outcome?,
            Poll::Pending => return Ok(Poll::Pending),
        }
        self.decoded += 1;
        let decoded = self.decoded;
        self.tell(session, observer).at(|| format!("image {decoded} of {batch}"))?;
        if self.decoded == batch
            && let Some(decoder) = self.decoder.take()
        {
            session.put(decoder);
        }
        Ok(Poll::Ready(()))
    }

    fn outlook<'a>(&self, session: &'a Session) -> Outlook<'a> {
        Outlook {
            model: &session.model,
            shape: self.shape,
            x: session.state.x(),
            velocity: session.state.velocity(),
            left: 1.0 - self.grid.t(self.step),
        }
    }

    /// See [`Session::preview_into`].
    pub(super) fn preview(
        &self,
        session: &mut Session,
        kind: PreviewKind,
        pixels: &mut Pixels,
    ) -> Result<()> {
        let outlook = self.outlook(session);
        match kind {
            PreviewKind::Linear => outlook.draw(pixels),
            PreviewKind::Decoded => {
                let latents = Array4::from_shape_vec(self.shape, outlook.latents()?).map_err(shape)?;
                session.decode_into(latents.view(), pixels)
            }
        }
    }
}
