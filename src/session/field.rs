//! The sampler's velocity field, made of a bundle's networks.

use std::task::{Poll, ready};
use std::time::Instant;

use super::{Session, Taken};
use crate::backend::{Input, Pace};
use crate::bundle::Role;
use crate::bundle::manifest::{Direction, Time};
use crate::error::runtime;
use crate::request::Settled;
use crate::sampler::{
    Field, Grid, StepKind,
    guidance::{Layout, guide},
    windows::Windows,
};
use crate::{CancelToken, Request, Result, memory};

/// `g[F(x, t)]` and `g[R(x, v, t)]` for one request: asks for each image under all its conditions, window by
/// window, and keeps the bundle's time convention.
pub(super) struct GuidedField {
    predictor: Taken,
    refiner: Option<Taken>,
    layout: Layout,
    guidance: f32,
    /// Conditions for each image in a call of the predictor, and of the refiner.
    parts: [usize; 2],
    windows: Windows,
    /// Windows in one call of a network.
    per_call: usize,
    grid: Grid,
    time: Time,
    cancel: CancelToken,
    /// When to pause.
    until: Option<Instant>,
    /// The call that is next, of those that make the answer at hand.
    call: usize,
    /// Answers given.
    evaluation: usize,
    /// Conditions of the predictor, and of the refiner, that are computed.
    conditioned: [usize; 2],
    /// Whether the predictor, and the refiner, take a class.
    classes: [bool; 2],
    buffers: Buffers,
}

/// Memory that one request leaves for the next.
#[derive(Default)]
pub(super) struct Buffers {
    kinds: Vec<StepKind>,
    /// The class of each image, then of each image in the other parts.
    labels: Vec<i64>,
    /// Amounts of the second class, or empty.
    blend: Vec<f32>,
    /// What each cell of a window counts, down and across.
    weights: [Vec<f32>; 2],
    /// Times and classes that the predictor and the refiner will be asked for, as far as they are computed beforehand.
    conditions: [Vec<(f32, i64)>; 2],
    call: Call,
}

/// The inputs and the answer of one network call: `per_call` windows in each part.
#[derive(Default)]
struct Call {
    x: Vec<f32>,
    /// In the network's own sign; empty where the sampler's can be lent.
    v: Vec<f32>,
    times: Vec<f32>,
    labels: Vec<i64>,
    /// Empty where the network can write to the sampler's.
    answer: Vec<f32>,
}

impl GuidedField {
    pub(super) fn new(session: &mut Session, request: &Request, settled: Settled) -> Result<Self> {
        let model = session.model.clone();
        let manifest = model.manifest();
        let extent = settled.call(manifest);
        let predictor = session.take(Role::Predictor, extent, &request.cancel)?;
        let refiner = match settled.schedule.needs_refiner() {
            true => Some(session.take(Role::Refiner, settled.refiner_call(manifest), &request.cancel)?),
            false => None,
        };
        let [images, channels, height, width] = settled.shape;
        let layout = Layout {
            batch: images,
            channels,
            area: height * width,
            guided: manifest.guided_channels() as usize,
        };
        let (windows, parts) = (settled.windows, [settled.parts, settled.refiner_parts]);
        // Without a null class nothing is guided, and there is no part for it.
        let (null, time) = (manifest.classes.null.unwrap_or_default(), manifest.time);
        let networks = &manifest.networks;
        let classes = [
            networks.predictor.inputs.y.is_some(),
            networks.refiner.as_ref().is_some_and(|refiner| refiner.inputs.y.is_some()),
        ];
        let mut buffers = std::mem::take(&mut session.buffers);
        buffers.kinds.clear();
        buffers.kinds.extend(settled.schedule.steps());
        buffers.labels.clear();
        buffers.labels.extend(request.classes.iter().chain(request.morphs.iter().map(|morph| &morph.class)));
        memory::resize(&mut buffers.labels, settled.parts * images, null)?;
        buffers.blend.clear();
        buffers.blend.extend(request.morphs.iter().map(|morph| morph.amount));
        let floats = extent.batch * channels * windows.area();
        let [lends_v, lends_answer] = settled.lends(manifest);
        let call = &mut buffers.call;
        memory::resize(&mut call.x, floats, 0.0)?;
        memory::resize(&mut call.v, if lends_v { 0 } else { floats }, 0.0)?;
        memory::resize(&mut call.answer, if lends_answer { 0 } else { floats }, 0.0)?;
        memory::resize(&mut call.times, extent.batch, 0.0)?;
        memory::resize(&mut call.labels, extent.batch, null)?;
        for (axis, weights) in buffers.weights.iter_mut().enumerate() {
            windows.weigh(axis, weights)?;
        }
        let mut field = Self {
            predictor,
            refiner,
            layout,
            guidance: settled.guidance,
            parts,
            windows,
            per_call: windows.calls(images).0,
            grid: settled.grid(),
            time,
            cancel: request.cancel.clone(),
            until: None,
            call: 0,
            evaluation: 0,
            conditioned: [0; 2],
            classes,
            buffers,
        };
        if let Err(error) = field.list_conditions() {
            field.give_back(session);
            return Err(error);
        }
        Ok(field)
    }

    /// Lists the times and classes that the networks will be asked for, each pair once, class by class, since a class
    /// that was asked for before is known at all its times. What there is no room for is computed when its turn comes.
    fn list_conditions(&mut self) -> Result<()> {
        let networks = [Some(&self.predictor), self.refiner.as_ref()];
        let mut conditions = self.buffers.conditions.each_mut().map(std::mem::take);
        let list = |(i, (listed, network)): (usize, (&mut Vec<_>, Option<&Taken>))| {
            listed.clear();
            let most = network.map_or(0, |network| network.1.conditions().1);
            let labels = &self.buffers.labels[..self.parts[i] * self.layout.batch];
            memory::reserve(listed, most.min(labels.len() * (self.kinds().len() + 1)))?;
            let each = labels.iter().enumerate().filter(|(k, label)| !labels[..*k].contains(label));
            let pairs = each.flat_map(|(_, &label)| self.times(i == 1).map(move |time| (time, label)));
            listed.extend(pairs.take(most));
            Ok(())
        };
        let outcome = conditions.iter_mut().zip(networks).enumerate().try_for_each(list);
        self.buffers.conditions = conditions;
        outcome
    }

    /// The times, in the networks' own convention, that the predictor or the refiner is asked for: each once.
    fn times(&self, refiner: bool) -> impl Iterator<Item = f32> {
        let steps = self.kinds().iter().enumerate();
        let steps = steps.filter(move |(_, kind)| (**kind == StepKind::Refiner) == refiner);
        let ends = steps.flat_map(|(i, kind)| match kind {
            StepKind::Euler => i..=i,
            StepKind::PseudoCorrector if i > 0 => i + 1..=i + 1,
            _ => i..=i + 1,
        });
        let mut last = None;
        ends.filter(move |&end| last.replace(end) != Some(end)).map(|end| self.network_time(self.grid.t(end)))
    }

    /// Goes on with what depends on times and classes alone, until it is done or it is time to pause.
    pub(super) fn condition(&mut self, until: Option<Instant>) -> Result<Poll<()>> {
        let Self { predictor, refiner, conditioned, buffers, cancel, .. } = self;
        let networks = [Some(predictor), refiner.as_mut()].into_iter().flatten();
        for ((network, listed), done) in networks.zip(&buffers.conditions).zip(conditioned) {
            while *done < listed.len() {
                let some = network.1.conditions().0.clamp(1, listed.len() - *done);
                network.1.prepare(&listed[*done..][..some], cancel)?;
                *done += some;
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(Poll::Pending);
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn network_time(&self, t: f32) -> f32 {
        self.time.scale
            * match self.time.direction {
                Direction::NoiseToData => t,
                Direction::DataToNoise => 1.0 - t,
            }
    }

    /// Floats of one answer, all parts.
    pub(super) fn answer_len(&self) -> usize {
        self.parts[0] * self.layout.batch * self.layout.image()
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

    /// A network's answer, guided: the predictor's without `v`, the refiner's with it.
    fn ask(&mut self, x: &[f32], v: Option<&[f32]>, t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        let (direct, calls) = (self.windows.is_identity(), self.windows.calls(self.layout.batch).1);
        let (time, parts) = (self.network_time(t), self.parts[usize::from(v.is_some())]);
        let (out, unasked) = out.split_at_mut(parts * self.layout.batch * self.layout.image());
        self.buffers.call.times.fill(time);
        while self.call < calls {
            self.set(x, v, parts);
            let Self { predictor, refiner, classes, buffers, cancel, until, .. } = self;
            let Call { x, v: windows_of_v, times, labels, answer } = &mut buffers.call;
            let (slots, floats) = (parts * self.per_call, x.len() / self.parts[0] * parts);
            let answer = if direct { &mut *out } else { &mut answer[..floats] };
            let pace = Pace::new(cancel, *until);
            let [times, labels] = [Input::F32(&times[..slots]), Input::I64(&labels[..slots])];
            let x = Input::F32(&x[..floats]);
            // The class comes last, so that a network without one takes all the others.
            let spare = |network: usize| usize::from(!classes[network]);
            ready!(match v {
                None => {
                    let inputs = [x, times, labels];
                    predictor.1.advance(&inputs[..inputs.len() - spare(0)], answer, pace)
                }
                Some(v) => {
                    let Some(refiner) = refiner else {
                        return Poll::Ready(Err(runtime("no refiner was planned")));
                    };
                    let v = if windows_of_v.is_empty() { v } else { windows_of_v };
                    let inputs = [x, Input::F32(&v[..floats]), times, labels];
                    refiner.1.advance(&inputs[..inputs.len() - spare(1)], answer, pace)
                }
            })?;
            self.collect(out, parts);
            self.call += 1;
            if self.call < calls && self.until.is_some_and(|until| Instant::now() >= until) {
                return Poll::Pending;
            }
        }
        self.call = 0;
        self.evaluation += 1;
        if self.time.velocity_sign < 0 {
            out.iter_mut().for_each(|value| *value = -*value);
        }
        guide(out, self.layout, &self.buffers.blend, self.guidance);
        // Guided already, as all of the answer is then: no class has the same velocity.
        unasked.copy_from_slice(&out[..unasked.len()]);
        Poll::Ready(Ok(()))
    }

    /// The image, and the window, in a slot of the call at hand. Slots beyond the last window see it again.
    fn slot(&self, slot: usize) -> (usize, usize) {
        let count = self.windows.count();
        let window = (self.call * self.per_call + slot).min(self.layout.batch * count - 1);
        (window / count, window % count)
    }

    /// Lays the inputs of the call at hand out, part by part.
    fn set(&mut self, x: &[f32], v: Option<&[f32]>, parts: usize) {
        let (image, sign) = (self.layout.image(), self.time.velocity_sign < 0);
        let mut call = std::mem::take(&mut self.buffers.call);
        let window = call.x.len() / (self.parts[0] * self.per_call);
        for slot in 0..self.per_call {
            let (of, index) = self.slot(slot);
            for part in 0..parts {
                let (place, from) = (part * self.per_call + slot, part * self.layout.batch + of);
                call.labels[place] = self.buffers.labels[from];
                let place = place * window..(place + 1) * window;
                let x = &x[of * image..][..image];
                self.windows.gather(x, index, self.evaluation, &mut call.x[place.clone()]);
                if let (Some(v), false) = (v, call.v.is_empty()) {
                    let (v, into) = (&v[from * image..][..image], &mut call.v[place]);
                    self.windows.gather(v, index, self.evaluation, into);
                    into.iter_mut().filter(|_| sign).for_each(|v| *v = -*v);
                }
            }
        }
        self.buffers.call = call;
    }

    /// Puts the answer of the call at hand where it belongs.
    fn collect(&self, out: &mut [f32], parts: usize) {
        let (image, Buffers { weights, call, .. }) = (self.layout.image(), &self.buffers);
        if call.answer.is_empty() {
            return;
        }
        if self.call == 0 {
            out.fill(0.0);
        }
        let all = self.layout.batch * self.windows.count();
        let windows = call.answer.len() / (self.parts[0] * self.per_call);
        for slot in 0..self.per_call.min(all - self.call * self.per_call) {
            let (of, index) = self.slot(slot);
            for part in 0..parts {
                let answer = &call.answer[(part * self.per_call + slot) * windows..][..windows];
                let out = &mut out[(part * self.layout.batch + of) * image..][..image];
                let weights = weights.each_ref().map(Vec::as_slice);
                self.windows.scatter(answer, index, self.evaluation, weights, out);
            }
        }
    }
}

impl Field for GuidedField {
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        self.ask(x, None, t, out)
    }

    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        self.ask(x, Some(v), t, out)
    }
}
