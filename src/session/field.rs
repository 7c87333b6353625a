//! The sampler's velocity field, made of a bundle's networks.

use std::task::{Poll, ready};
use std::time::Instant;

use super::{Session, Taken};
use crate::backend::{Input, Pace};
use crate::bundle::Role;
use crate::bundle::manifest::{Direction, Time};
use crate::request::Settled;
use crate::sampler::{
    Field, Grid, StepKind,
    guidance::{Layout, guide, network_batch},
};
use crate::{CancelToken, Request, Result};

/// `g[F(x, t)]` and `g[R(x, v, t)]` for one request: doubles the batch for guidance and keeps the
/// bundle's time convention.
pub(super) struct GuidedField {
    predictor: Taken,
    refiner: Option<Taken>,
    layout: Layout,
    guidance: f32,
    time: Time,
    cancel: CancelToken,
    /// When to pause.
    until: Option<Instant>,
    buffers: Buffers,
}

/// Memory that one request leaves for the next.
#[derive(Default)]
pub(super) struct Buffers {
    kinds: Vec<StepKind>,
    /// Class half, then null half; without guidance the class half alone.
    labels: Vec<i64>,
    /// `x` in both halves.
    doubled: Vec<f32>,
    /// `v` in the network's own sign, where that is the opposite of the sampler's.
    flipped: Vec<f32>,
    times: Vec<f32>,
    /// Times and classes that the predictor and the refiner will be asked for.
    conditions: [Vec<(f32, i64)>; 2],
}

impl GuidedField {
    pub(super) fn new(session: &mut Session, request: &Request, settled: Settled) -> Result<Self> {
        let batch = network_batch(settled.shape[0], settled.guidance);
        let predictor = session.take(Role::Predictor, batch)?;
        let refiner = match settled.schedule.needs_refiner() {
            true => Some(session.take(Role::Refiner, batch)?),
            false => None,
        };
        let manifest = session.model.manifest();
        let [images, channels, height, width] = settled.shape;
        let layout = Layout {
            batch: images,
            channels,
            area: height * width,
            guided: manifest.guided_channels() as usize,
        };
        let (null, time) = (manifest.classes.null, manifest.time);
        let mut buffers = std::mem::take(&mut session.buffers);
        buffers.kinds.clear();
        buffers.kinds.extend(settled.schedule.steps());
        buffers.labels.clear();
        buffers.labels.extend(&request.classes);
        buffers.labels.resize(batch, null);
        buffers.doubled.resize(batch * layout.image(), 0.0);
        buffers.flipped.resize(if time.velocity_sign < 0 { buffers.doubled.len() } else { 0 }, 0.0);
        buffers.times.resize(batch, 0.0);
        let (guidance, cancel) = (settled.guidance, request.cancel.clone());
        let mut field = Self { predictor, refiner, layout, guidance, time, cancel, until: None, buffers };
        if let Err(error) = field.prepare() {
            field.give_back(session);
            return Err(error);
        }
        Ok(field)
    }

    /// Tells the networks the times and classes that they will be asked for.
    fn prepare(&mut self) -> Result<()> {
        let kinds = &self.buffers.kinds;
        let grid = Grid::new(kinds.len());
        let mut conditions = self.buffers.conditions.each_mut().map(std::mem::take);
        conditions.iter_mut().for_each(Vec::clear);
        for (i, kind) in kinds.iter().enumerate() {
            let ends = match kind {
                StepKind::Euler => i..=i,
                StepKind::PseudoCorrector if i > 0 => i + 1..=i + 1,
                _ => i..=i + 1,
            };
            let asked = &mut conditions[usize::from(*kind == StepKind::Refiner)];
            for end in ends {
                let time = self.network_time(grid.t(end));
                asked.extend(self.buffers.labels.iter().map(|&label| (time, label)));
            }
        }
        let [predictor, refiner] = &conditions;
        let (cancel, network) = (&self.cancel, self.refiner.as_mut());
        let outcome = self.predictor.1.prepare(predictor, cancel);
        let outcome =
            outcome.and_then(|()| network.map_or(Ok(()), |network| network.1.prepare(refiner, cancel)));
        self.buffers.conditions = conditions;
        outcome
    }

    fn network_time(&self, t: f32) -> f32 {
        self.time.scale
            * match self.time.direction {
                Direction::NoiseToData => t,
                Direction::DataToNoise => 1.0 - t,
            }
    }

    /// Floats of one answer, both halves.
    pub(super) fn answer_len(&self) -> usize {
        self.buffers.labels.len() * self.layout.image()
    }

    /// The schedule.
    pub(super) fn kinds(&self) -> &[StepKind] {
        &self.buffers.kinds
    }

    /// From `until` on, answers pause.
    pub(super) fn pause_at(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Returns the instances and the memory to the session for the next request; an answer under way is lost.
    pub(super) fn give_back(self, session: &mut Session) {
        session.buffers = self.buffers;
        for mut network in [Some(self.predictor), self.refiner].into_iter().flatten() {
            network.1.abandon();
            session.put(network);
        }
    }

    fn set(&mut self, x: &[f32], t: f32) {
        for half in self.buffers.doubled.chunks_exact_mut(x.len()) {
            half.copy_from_slice(x);
        }
        let time = self.network_time(t);
        self.buffers.times.fill(time);
    }

    /// Brings a network's answer into the sampler's sign and guides it.
    fn finish(&self, out: &mut [f32]) {
        if self.time.velocity_sign < 0 {
            out.iter_mut().for_each(|value| *value = -*value);
        }
        if self.buffers.labels.len() > self.layout.batch {
            guide(out, self.layout, self.guidance);
        }
    }
}

impl Field for GuidedField {
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        self.set(x, t);
        let Buffers { doubled, times, labels, .. } = &self.buffers;
        let inputs = [Input::F32(doubled), Input::F32(times), Input::I64(labels)];
        ready!(self.predictor.1.advance(&inputs, out, Pace::new(&self.cancel, self.until)))?;
        self.finish(out);
        Poll::Ready(Ok(()))
    }

    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        self.set(x, t);
        let Buffers { doubled, flipped, times, labels, .. } = &mut self.buffers;
        let v = if flipped.is_empty() {
            v
        } else {
            flipped.iter_mut().zip(v).for_each(|(flipped, v)| *flipped = -v);
            flipped
        };
        let inputs = [Input::F32(doubled), Input::F32(v), Input::F32(times), Input::I64(labels)];
        let refiner =
            self.refiner.as_mut().ok_or_else(|| crate::error::invalid_argument("no refiner was planned"))?;
        ready!(refiner.1.advance(&inputs, out, Pace::new(&self.cancel, self.until)))?;
        self.finish(out);
        Poll::Ready(Ok(()))
    }
}
