//! The sampler's velocity field, made of a bundle's networks.

use super::{Session, Taken};
use crate::backend::Input;
use crate::bundle::Role;
use crate::bundle::manifest::{Direction, Time};
use crate::request::Settled;
use crate::sampler::{
    Field, StepKind, grid,
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
    /// Class half, then null half; without guidance the class half alone.
    labels: Vec<i64>,
    /// `x` in both halves.
    doubled: Vec<f32>,
    /// `v` in the network's own sign, where that is the opposite of the sampler's.
    flipped: Vec<f32>,
    times: Vec<f32>,
}

impl GuidedField {
    pub(super) fn new(session: &mut Session, request: &Request, settled: &Settled) -> Result<Self> {
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
        let mut labels = request.classes.clone();
        labels.resize(batch, manifest.classes.null);
        let doubled = vec![0.0; batch * layout.image()];
        let flipped = if manifest.time.velocity_sign < 0 { doubled.clone() } else { Vec::new() };
        let mut field = Self {
            predictor,
            refiner,
            layout,
            guidance: settled.guidance,
            time: manifest.time.clone(),
            cancel: request.cancel.clone(),
            labels,
            doubled,
            flipped,
            times: vec![0.0; batch],
        };
        if let Err(error) = field.prepare(settled) {
            field.give_back(session);
            return Err(error);
        }
        Ok(field)
    }

    /// Tells the networks the times and classes that they will be asked for.
    fn prepare(&mut self, settled: &Settled) -> Result<()> {
        let kinds = settled.schedule.steps();
        let grid = grid(kinds.len());
        let mut conditions = [Vec::new(), Vec::new()];
        for (i, kind) in kinds.iter().enumerate() {
            let times = match kind {
                StepKind::Euler => &grid[i..=i],
                StepKind::PseudoCorrector if i > 0 => &grid[i + 1..=i + 1],
                _ => &grid[i..=i + 1],
            };
            let asked = &mut conditions[usize::from(*kind == StepKind::Refiner)];
            for &t in times {
                let time = self.network_time(t);
                asked.extend(self.labels.iter().map(|&label| (time, label)));
            }
        }
        let [predictor, refiner] = &conditions;
        self.predictor.1.prepare(predictor)?;
        self.refiner.as_mut().map_or(Ok(()), |network| network.1.prepare(refiner))
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
        self.labels.len() * self.layout.image()
    }

    /// Returns the instances to the session for the next request.
    pub(super) fn give_back(self, session: &mut Session) {
        session.put(self.predictor);
        if let Some(refiner) = self.refiner {
            session.put(refiner);
        }
    }

    fn set(&mut self, x: &[f32], t: f32) {
        for half in self.doubled.chunks_exact_mut(x.len()) {
            half.copy_from_slice(x);
        }
        let time = self.network_time(t);
        self.times.fill(time);
    }

    /// Brings a network's answer into the sampler's sign and guides it.
    fn finish(&self, out: &mut [f32]) {
        if self.time.velocity_sign < 0 {
            out.iter_mut().for_each(|value| *value = -*value);
        }
        if self.labels.len() > self.layout.batch {
            guide(out, self.layout, self.guidance);
        }
    }
}

impl Field for GuidedField {
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Result<()> {
        self.set(x, t);
        let inputs = [Input::F32(&self.doubled), Input::F32(&self.times), Input::I64(&self.labels)];
        self.predictor.1.run(&inputs, out, &self.cancel)?;
        self.finish(out);
        Ok(())
    }

    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Result<()> {
        self.set(x, t);
        let v = if self.flipped.is_empty() {
            v
        } else {
            self.flipped.iter_mut().zip(v).for_each(|(flipped, v)| *flipped = -v);
            &self.flipped
        };
        let inputs =
            [Input::F32(&self.doubled), Input::F32(v), Input::F32(&self.times), Input::I64(&self.labels)];
        let refiner =
            self.refiner.as_mut().ok_or_else(|| crate::error::invalid_argument("no refiner was planned"))?;
        refiner.1.run(&inputs, out, &self.cancel)?;
        self.finish(out);
        Ok(())
    }
}
