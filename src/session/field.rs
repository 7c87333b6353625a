//! The sampler's velocity field, made of a bundle's networks.

use std::ops::Range;
use std::task::{Poll, ready};
use std::time::Instant;

use super::Session;
use super::contexts::Contexts;
use super::evaluator::{Evaluator, Question, Takes, Wanted};
use crate::backend::{Condition, Pace};
use crate::bundle::Role;
use crate::bundle::manifest::{Direction, Time};
use crate::error::runtime;
use crate::request::Resolved;
use crate::sampler::{
    Field, Grid, StepKind,
    guidance::{Layout, guide},
    style::{self, Heading},
    windows::Windows,
};
use crate::{CancelToken, Request, Result, memory};

/// `g[F(x, t)]` and `g[R(x, v, t)]` for one request: asks for each image under all its conditions, window by
/// window, and keeps the bundle's time convention.
pub(super) struct GuidedField {
    predictor: Evaluator,
    refiner: Option<Evaluator>,
    layout: Layout,
    guidance: f32,
    windows: Windows,
    /// The images of the networks' own size that larger ones follow.
    reference: Option<Reference>,
    /// Windows in one call of a network.
    per_call: usize,
    /// Whether a call is asked for the state as it is.
    direct: bool,
    grid: Grid,
    time: Time,
    cancel: CancelToken,
    /// When to pause.
    until: Option<Instant>,
    /// The call that is next, of those that make the answer at hand.
    call: usize,
    /// Answers given.
    evaluation: usize,
    buffers: Buffers,
}

/// Images of the networks' own size beside larger ones, one for each: behind them in the state, and in each part of an
/// answer.
#[derive(Clone, Copy)]
struct Reference {
    layout: Layout,
    /// One an image.
    windows: Windows,
}

/// Memory that one request leaves for the next.
#[derive(Default)]
pub(super) struct Buffers {
    kinds: Vec<StepKind>,
    /// The class of each image and the place of its context, then those of each image in the other parts.
    wanted: Vec<Wanted>,
    contexts: Contexts,
    /// Amounts of the second class, or empty.
    blend: Vec<f32>,
    /// What each cell of a window counts, down and across.
    weights: [Vec<f32>; 2],
    /// Likewise for what is sampled beside the images.
    reference_weights: [Vec<f32>; 2],
    /// Memory for changes of velocities: of an image's channel, and to work with.
    change: Vec<f32>,
    style: Vec<f32>,
    /// Memory for the conditions of the predictor and of the refiner.
    conditions: [Vec<Condition>; 2],
    call: CallBuffers,
}

/// The inputs and the answer of one network call: `per_call` windows in each part.
#[derive(Default)]
struct CallBuffers {
    x: Vec<f32>,
    /// In the network's own sign; empty where the sampler's can be lent.
    v: Vec<f32>,
    times: Vec<f32>,
    labels: Vec<i64>,
    contexts: Vec<f32>,
    /// Empty where the network can write to the sampler's.
    answer: Vec<f32>,
}

impl GuidedField {
    pub(super) fn new(session: &mut Session, request: &Request, resolved: Resolved) -> Result<Self> {
        let model = session.model.clone();
        let manifest = model.manifest();
        let networks = &manifest.networks;
        let mut buffers = std::mem::take(&mut session.buffers);
        let (extent, inputs) = (resolved.call(manifest), &networks.predictor.inputs);
        let takes = Takes { class: inputs.y.is_some(), context: inputs.context.is_some() };
        let network = session.take(Role::Predictor, extent, &request.cancel)?;
        let listed = std::mem::take(&mut buffers.conditions[0]);
        let predictor = Evaluator::new(network, resolved.parts, takes, listed);
        let refiner = match networks.refiner.as_ref().filter(|_| resolved.schedule.needs_refiner()) {
            Some(refiner) => {
                let extent = resolved.refiner_call(manifest);
                let network = session.take(Role::Refiner, extent, &request.cancel)?;
                let inputs = &refiner.inputs;
                let takes = Takes { class: inputs.y.is_some(), context: inputs.context.is_some() };
                let listed = std::mem::take(&mut buffers.conditions[1]);
                Some(Evaluator::new(network, resolved.refiner_parts, takes, listed))
            }
            None => None,
        };
        let [images, channels, height, width] = resolved.shape;
        let layout = Layout {
            batch: images,
            channels,
            area: height * width,
            guided: manifest.guided_channels() as usize,
        };
        let windows = resolved.windows;
        // Without a null class nothing is guided, and there is no part for it.
        let (null, time) = (manifest.classes.null.unwrap_or_default(), manifest.time);
        buffers.kinds.clear();
        buffers.kinds.extend(resolved.schedule.steps());
        let Buffers { wanted, contexts, .. } = &mut buffers;
        contexts.read(request, resolved, manifest)?;
        let classes = (0..images).map(|image| request.class(image, manifest));
        let classes = classes.chain(request.morphs.iter().map(|morph| morph.class));
        wanted.clear();
        memory::reserve(wanted, resolved.parts * images)?;
        wanted.extend(classes.enumerate().map(|(i, class)| (class, contexts.place(i % images, false))));
        if resolved.is_guided() {
            wanted.extend((0..images).map(|image| (null, contexts.place(image, true))));
        }
        buffers.blend.clear();
        buffers.blend.extend(request.morphs.iter().map(|morph| morph.amount));
        let floats = extent.batch * channels * windows.area();
        let [lends_v, lends_answer] = resolved.lends(manifest);
        let call = &mut buffers.call;
        memory::resize(&mut call.x, floats, 0.0)?;
        memory::resize(&mut call.v, if lends_v { 0 } else { floats }, 0.0)?;
        memory::resize(&mut call.answer, if lends_answer { 0 } else { floats }, 0.0)?;
        memory::resize(&mut call.times, extent.batch, 0.0)?;
        memory::resize(&mut call.labels, extent.batch, null)?;
        memory::resize(&mut call.contexts, extent.batch * buffers.contexts.len(), 0.0)?;
        for (axis, weights) in buffers.weights.iter_mut().enumerate() {
            windows.weigh(axis, weights)?;
        }
        let reference = resolved.follows.then(|| Reference {
            layout: Layout { area: windows.area(), ..layout },
            windows: windows.of_own_size(),
        });
        if let Some(Reference { windows, .. }) = reference {
            for (axis, weights) in buffers.reference_weights.iter_mut().enumerate() {
                windows.weigh(axis, weights)?;
            }
            memory::resize(&mut buffers.change, layout.area, 0.0)?;
            memory::resize(&mut buffers.style, style::scratch(layout.area, windows.area()), 0.0)?;
        }
        let mut field = Self {
            predictor,
            refiner,
            layout,
            guidance: resolved.guidance,
            windows,
            reference,
            per_call: resolved.per_call,
            direct: resolved.is_direct(),
            grid: resolved.grid(),
            time,
            cancel: request.cancel.clone(),
            until: None,
            call: 0,
            evaluation: 0,
            buffers,
        };
        if let Err(error) = field.list_conditions() {
            field.give_back(session);
            return Err(error);
        }
        Ok(field)
    }

    /// The contexts, of which some may still be made of prompts.
    pub(super) fn contexts(&mut self) -> &mut Contexts {
        &mut self.buffers.contexts
    }

    /// Lists the conditions that the networks will be asked under.
    fn list_conditions(&mut self) -> Result<()> {
        let Self { predictor, refiner, layout, buffers: Buffers { kinds, wanted, .. }, grid, time, .. } =
            self;
        let (grid, time) = (*grid, *time);
        let times = |refiner| ends(kinds, refiner).map(move |end| network_time(time, grid.t(end)));
        let most = kinds.len() + 1;
        predictor.list(wanted, layout.batch, most, times(false))?;
        refiner.as_mut().map_or(Ok(()), |refiner| refiner.list(wanted, layout.batch, most, times(true)))
    }

    /// Goes on with what depends on conditions alone, until it is done or it is time to pause.
    pub(super) fn condition(&mut self, until: Option<Instant>) -> Result<Poll<()>> {
        let Self { predictor, refiner, buffers, cancel, .. } = self;
        let contexts = buffers.contexts.floats();
        if predictor.condition(contexts, until, cancel)?.is_pending() {
            return Ok(Poll::Pending);
        }
        refiner.as_mut().map_or(Ok(Poll::Ready(())), |refiner| refiner.condition(contexts, until, cancel))
    }

    /// Floats of one answer, all parts.
    pub(super) fn answer_len(&self) -> usize {
        self.predictor.parts * self.part()
    }

    /// Floats of one part: of the images, and of what is sampled beside them.
    fn part(&self) -> usize {
        self.images()
            + self.reference.map_or(0, |reference| reference.layout.batch * reference.layout.image())
    }

    /// Floats of the images in each part.
    fn images(&self) -> usize {
        self.layout.batch * self.layout.image()
    }

    /// Windows of all images, and of what is sampled beside them.
    fn all_windows(&self) -> usize {
        self.layout.batch * (self.windows.count() + usize::from(self.reference.is_some()))
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
        let Self { predictor, refiner, mut buffers, .. } = self;
        for (network, memory) in [Some(predictor), refiner].into_iter().zip(&mut buffers.conditions) {
            if let Some(network) = network {
                let (network, conditions) = network.end();
                session.put(network);
                *memory = conditions;
            }
        }
        session.buffers = buffers;
    }

    /// A network's answer, guided: the predictor's without `v`, the refiner's with it.
    fn ask(&mut self, x: &[f32], v: Option<&[f32]>, t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        let (direct, calls) = (self.direct, self.all_windows().div_ceil(self.per_call));
        let parts = if v.is_some() { self.refiner.as_ref() } else { Some(&self.predictor) };
        let Some(parts) = parts.map(|network| network.parts) else {
            return Poll::Ready(Err(runtime("no refiner was planned")));
        };
        let (out, unasked) = out.split_at_mut(parts * self.part());
        self.buffers.call.times.fill(network_time(self.time, t));
        while self.call < calls {
            self.set(x, v, parts);
            let Self { predictor, refiner, buffers, cancel, until, per_call, .. } = self;
            let context = buffers.contexts.len();
            let CallBuffers { x, v: windows_of_v, times, labels, contexts, answer } = &mut buffers.call;
            let (slots, floats) = (parts * *per_call, x.len() / predictor.parts * parts);
            let network = if v.is_some() { refiner.as_mut().unwrap_or(predictor) } else { predictor };
            let answer = if direct { &mut *out } else { &mut answer[..floats] };
            let v = v.map(|v| if windows_of_v.is_empty() { v } else { windows_of_v });
            let question = Question {
                x: &x[..floats],
                v: v.map(|v| &v[..floats]),
                times: &times[..slots],
                classes: &labels[..slots],
                contexts: &contexts[..slots * context],
            };
            ready!(network.evaluate(question, answer, Pace::new(cancel, *until)))?;
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
        let (images, part) = (self.images(), self.part());
        guide(out, part, self.layout, &self.buffers.blend, self.guidance);
        if let Some(Reference { layout, .. }) = self.reference {
            guide(&mut out[images..], part, layout, &self.buffers.blend, self.guidance);
        }
        // Guided already, as all of the answer is then: no class has the same velocity.
        unasked.copy_from_slice(&out[..unasked.len()]);
        Poll::Ready(Ok(()))
    }

    /// What a slot of the call at hand sees. Slots beyond the last window see it again.
    fn slot(&self, slot: usize) -> Slot {
        let (count, each) = (self.windows.count(), self.all_windows() / self.layout.batch);
        let window = (self.call * self.per_call + slot).min(self.all_windows() - 1);
        let (image, index) = (window / each, window % each);
        match self.reference.filter(|_| index == count) {
            None => {
                let len = self.layout.image();
                Slot {
                    image,
                    index,
                    windows: self.windows,
                    place: image * len..(image + 1) * len,
                    beside: false,
                }
            }
            Some(Reference { layout, windows }) => {
                let (start, len) = (self.images(), layout.image());
                let place = start + image * len..start + (image + 1) * len;
                Slot { image, index: 0, windows, place, beside: true }
            }
        }
    }

    /// Lays the inputs of the call at hand out, part by part.
    fn set(&mut self, x: &[f32], v: Option<&[f32]>, parts: usize) {
        let (in_part, sign) = (self.part(), self.time.velocity_sign < 0);
        let mut call = std::mem::take(&mut self.buffers.call);
        let window = call.x.len() / (self.predictor.parts * self.per_call);
        for slot in 0..self.per_call {
            let Slot { image, index, windows, place: from, .. } = self.slot(slot);
            for part in 0..parts {
                let place = part * self.per_call + slot;
                let Buffers { wanted, contexts, .. } = &self.buffers;
                let (class, context) = wanted[part * self.layout.batch + image];
                call.labels[place] = class;
                let len = contexts.len();
                call.contexts[place * len..][..len].copy_from_slice(contexts.get(context));
                let place = place * window..(place + 1) * window;
                windows.gather(&x[from.clone()], index, self.evaluation, &mut call.x[place.clone()]);
                if let (Some(v), false) = (v, call.v.is_empty()) {
                    let (v, into) = (&v[part * in_part..][from.clone()], &mut call.v[place]);
                    windows.gather(v, index, self.evaluation, into);
                    into.iter_mut().filter(|_| sign).for_each(|v| *v = -*v);
                }
            }
        }
        self.buffers.call = call;
    }

    /// Puts the answer of the call at hand where it belongs.
    fn collect(&self, out: &mut [f32], parts: usize) {
        let (in_part, Buffers { weights, reference_weights, call, .. }) = (self.part(), &self.buffers);
        if call.answer.is_empty() {
            return;
        }
        if self.call == 0 {
            out.fill(0.0);
        }
        let window = call.answer.len() / (self.predictor.parts * self.per_call);
        for slot in 0..self.per_call.min(self.all_windows() - self.call * self.per_call) {
            let Slot { index, windows, place, beside, .. } = self.slot(slot);
            let weights = if beside { reference_weights } else { weights };
            for part in 0..parts {
                let answer = &call.answer[(part * self.per_call + slot) * window..][..window];
                let out = &mut out[part * in_part..][place.clone()];
                windows.scatter(answer, index, self.evaluation, weights.each_ref().map(Vec::as_slice), out);
            }
        }
    }
}

/// What one slot of a call sees: a window of an image, or what is sampled beside one.
struct Slot {
    image: usize,
    index: usize,
    windows: Windows,
    /// Where its latent lies in the state, and in each part of an answer.
    place: Range<usize>,
    beside: bool,
}

/// The points of the grid where the predictor, or the refiner, is asked, each once.
fn ends(kinds: &[StepKind], refiner: bool) -> impl Iterator<Item = usize> + Clone {
    let steps = kinds.iter().enumerate();
    let steps = steps.filter(move |(_, kind)| (**kind == StepKind::Refiner) == refiner);
    let ends = steps.flat_map(|(i, kind)| match kind {
        StepKind::Euler => i..=i,
        StepKind::PseudoCorrector if i > 0 => i + 1..=i + 1,
        _ => i..=i + 1,
    });
    let mut last = None;
    ends.filter(move |&end| last.replace(end) != Some(end))
}

/// A time of the sampler in the networks' convention.
fn network_time(time: Time, t: f32) -> f32 {
    time.scale
        * match time.direction {
            Direction::NoiseToData => t,
            Direction::DataToNoise => 1.0 - t,
        }
}

impl Field for GuidedField {
    fn predict(&mut self, x: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        self.ask(x, None, t, out)
    }

    fn refine(&mut self, x: &[f32], v: &[f32], t: f32, out: &mut [f32]) -> Poll<Result<()>> {
        self.ask(x, Some(v), t, out)
    }

    /// Images that follow others take their means and deviations; all parts are changed alike.
    fn adjust(&mut self, x: &[f32], t: f32, v: &mut [f32]) {
        let (images, part, area) = (self.images(), self.part(), self.layout.area);
        let Some(Reference { layout, .. }) = self.reference else { return };
        let windows = (&self.windows, self.evaluation);
        let Buffers { weights, change, style, .. } = &mut self.buffers;
        for channel in 0..self.layout.batch * self.layout.channels {
            let place = channel * area..(channel + 1) * area;
            let beside = images + channel * layout.area..images + (channel + 1) * layout.area;
            let image = Heading { x: &x[place.clone()], v: &v[place.clone()] };
            let reference = Heading { x: &x[beside.clone()], v: &v[beside] };
            let weights = weights.each_ref().map(Vec::as_slice);
            style::change(&image, &reference, t, windows, weights, style, change);
            for v in v.chunks_exact_mut(part) {
                v[place.clone()].iter_mut().zip(change.iter()).for_each(|(v, change)| *v += change);
            }
        }
    }
}
