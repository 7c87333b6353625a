//! One generation from its noise to its pictures, a budget of time at a time.

use std::task::Poll;
use std::time::{Duration, Instant};

use ndarray::{Array4, ArrayView4};

use super::field::GuidedField;
use super::{Observer, Output, Session, Taken, images, picture, shape};
use crate::backend::{Input, Pace};
use crate::bundle::Role;
use crate::error::{Context, cancelled, non_finite, runtime};
use crate::image::{Pixels, fill_noise};
use crate::preview::{Outlook, PreviewKind};
use crate::sampler::Grid;
use crate::{CancelToken, Progress, Request, Result};

/// A generation under way, or done; the session holds its state.
pub(super) struct Run {
    /// The networks, while there are steps left.
    field: Option<GuidedField>,
    /// While there are pictures left: nobody else may use one that is half-way.
    decoder: Option<Taken>,
    /// `[N, C, H, W]`.
    shape: [usize; 4],
    steps: usize,
    /// Steps done.
    step: usize,
    output: Output,
    /// Pictures done.
    decoded: usize,
    cancel: CancelToken,
    /// Of the step at hand so far.
    step_took: Duration,
    sampling: Duration,
    decoding: Duration,
}

impl Run {
    pub(super) fn begin(session: &mut Session, request: &Request, output: Output) -> Result<Self> {
        request.cancel.check()?;
        let model = session.model.clone();
        let settled = request.settle(model.bundle())?;
        if output == Output::Pictures {
            let floats = picture(&model)?.iter().product::<usize>() * settled.shape[0];
            session.pictures.resize(floats, 0.0);
        }
        let field = GuidedField::new(session, request, settled)?;
        let decoder = match output {
            Output::Pictures => match session.take(Role::Decoder, 1) {
                Ok(decoder) => Some(decoder),
                Err(error) => {
                    field.give_back(session);
                    return Err(error);
                }
            },
            Output::Latents => None,
        };
        let [images, channels, height, width] = settled.shape;
        let image = channels * height * width;
        let start = session.state.start(images * image, field.answer_len());
        match &request.noise {
            Some(noise) => start.iter_mut().zip(noise).for_each(|(x, noise)| *x = *noise),
            None => fill_noise(request.seed, image, start),
        }
        Ok(Self {
            steps: field.kinds().len(),
            field: Some(field),
            decoder,
            shape: settled.shape,
            step: 0,
            output,
            decoded: 0,
            cancel: request.cancel.clone(),
            step_took: Duration::ZERO,
            sampling: Duration::ZERO,
            decoding: Duration::ZERO,
        })
    }

    /// Returns what it took from the session.
    pub(super) fn give_back(self, session: &mut Session) {
        if let Some(field) = self.field {
            field.give_back(session);
        }
        if let Some(mut decoder) = self.decoder {
            decoder.1.abandon();
            session.put(decoder);
        }
    }

    pub(super) fn images(&self) -> usize {
        self.shape[0]
    }

    pub(super) fn shape(&self) -> [usize; 4] {
        self.shape
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }

    /// The time spent on sampling and on decoding.
    pub(super) fn took(&self) -> [Duration; 2] {
        [self.sampling, self.decoding]
    }

    /// Steps done, and all of them.
    pub(super) fn steps(&self) -> (usize, usize) {
        (self.step, self.steps)
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.step == self.steps
    }

    fn is_done(&self) -> bool {
        self.is_sampled() && (self.output == Output::Latents || self.decoded == self.images())
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
            let paused = if self.is_sampled() {
                let started = Instant::now();
                let decoded = self.decode(session, until)?;
                self.decoding += started.elapsed();
                decoded.is_pending()
            } else {
                self.sample(session, until, observer)?.is_pending()
            };
            if paused || budget.is_none() || until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        Ok(self.is_done())
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
        let grid = Grid::new(steps);
        let stepped = session.state.step(kind, field, grid.t(i), grid.t(i + 1), grid.delta());
        let took = started.elapsed();
        self.sampling += took;
        self.step_took += took;
        match stepped {
            Poll::Ready(outcome) => outcome.at(place)?,
            Poll::Pending => return Ok(Poll::Pending),
        }
        if !session.state.is_finite() {
            return Err(non_finite("the state holds a number that is not finite")).at(place);
        }
        self.step += 1;
        let progress = Progress {
            step: self.step,
            steps,
            kind,
            took: std::mem::take(&mut self.step_took),
            latent: ArrayView4::from_shape(self.shape, session.state.x()).map_err(shape)?,
            outlook: self.outlook(session),
        };
        if observer(&progress).is_break() {
            return Err(cancelled("stopped by the observer")).at(place);
        }
        if self.is_sampled()
            && let Some(field) = self.field.take()
        {
            field.give_back(session);
        }
        Ok(Poll::Ready(()))
    }

    /// Goes on with the picture at hand.
    fn decode(&mut self, session: &mut Session, until: Option<Instant>) -> Result<Poll<()>> {
        let Some(decoder) = &mut self.decoder else { return Err(runtime("a picture without a decoder")) };
        let Session { model, state, input, pictures, .. } = session;
        let (to_decoder, images) = (images::to_decoder(model), self.shape[0]);
        let (latent, picture) = (state.x().len() / images, pictures.len() / images);
        input.clear();
        input.extend(state.x()[self.decoded * latent..][..latent].iter().copied().map(to_decoder));
        let answer = &mut pictures[self.decoded * picture..][..picture];
        match decoder.1.advance(&[Input::F32(input)], answer, Pace::new(&self.cancel, until)) {
            Poll::Ready(outcome) => outcome?,
            Poll::Pending => return Ok(Poll::Pending),
        }
        super::images::check(Role::Decoder, answer)?;
        self.decoded += 1;
        if self.decoded == images
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
            left: 1.0 - Grid::new(self.steps).t(self.step),
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
                let latents = Array4::from_shape_vec(self.shape, outlook.latents()).map_err(shape)?;
                session.decode_into(latents.view(), pixels)
            }
        }
    }
}
