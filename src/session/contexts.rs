//! The contexts that a request's images are asked for under, and those that guidance goes away from.

use std::sync::Arc;

use ndarray::ArrayD;

use crate::bundle::manifest::NoPrompt;
use crate::request::Resolved;
use crate::{Manifest, Request, Result, memory};

/// Contexts one after another: one for all images, or one for each, then likewise those that guidance goes away from.
#[derive(Default)]
pub(super) struct Contexts {
    floats: Vec<f32>,
    /// Floats of one; 0 for a model that takes none.
    len: usize,
    /// How many there are for the images, and to go away from.
    counts: [usize; 2],
    /// The places of those that are made of words.
    open: Vec<(usize, Words)>,
}

/// Which words of a request.
#[derive(Clone, Copy)]
enum Words {
    Prompt(usize),
    Negative,
    /// The empty prompt.
    None,
}

impl Words {
    fn of(self, request: &Request) -> &str {
        match self {
            Self::Prompt(i) => request.prompts.get(i).map_or("", String::as_str),
            Self::Negative => request.negative_prompt.as_deref().unwrap_or_default(),
            Self::None => "",
        }
    }
}

impl Contexts {
    /// Takes those of a request that was held against its bundle. What it leaves out is the context of no prompt; what
    /// has to be made of prompts is [open](Self::open).
    pub(super) fn read(&mut self, request: &Request, resolved: Resolved, manifest: &Manifest) -> Result<()> {
        self.floats.clear();
        self.open.clear();
        self.len = manifest.text.as_ref().map_or(0, |text| text.floats());
        self.counts = [0, 0];
        let Some(text) = manifest.text.as_ref().filter(|_| self.len > 0) else { return Ok(()) };
        let prompts = request.prompts.len();
        let of_no_prompt = (text.no_prompt == NoPrompt::Empty).then_some(Words::None);
        let away = request.negative_prompt.as_ref().map(|_| Words::Negative).or(of_no_prompt);
        self.counts[0] = match &request.context {
            Some(contexts) => self.give(contexts)?,
            None if prompts > 0 => {
                (0..prompts).try_for_each(|i| self.leave(Some(Words::Prompt(i))))?;
                prompts
            }
            None => self.leave(of_no_prompt).map(|()| 1)?,
        };
        if resolved.is_guided() {
            self.counts[1] = match &request.negative_context {
                Some(contexts) => self.give(contexts)?,
                None => self.leave(away).map(|()| 1)?,
            };
        }
        Ok(())
    }

    /// Adds contexts; gives how many.
    fn give(&mut self, contexts: &ArrayD<f32>) -> Result<usize> {
        let all = self.floats.len() + contexts.len();
        memory::reserve(&mut self.floats, all)?;
        self.floats.extend(contexts);
        Ok(contexts.len() / self.len)
    }

    /// Adds one of zeros, which is to be made of some words unless there are none.
    fn leave(&mut self, words: Option<Words>) -> Result<()> {
        let place = self.floats.len() / self.len;
        memory::resize(&mut self.floats, (place + 1) * self.len, 0.0)?;
        words.map_or(Ok(()), |words| memory::push(&mut self.open, (place, words)))
    }

    /// The places of those that are made of words, which `request` has.
    pub(super) fn open<'a>(&self, request: &'a Request) -> impl Iterator<Item = (usize, &'a str)> {
        self.open.iter().map(|&(place, words)| (place, words.of(request)))
    }

    /// The contexts of a request's prompts alone, all of them open.
    pub(super) fn of_prompts(request: &Request, manifest: &Manifest) -> Result<Self> {
        let len = manifest.text.as_ref().map_or(0, |text| text.floats());
        let mut contexts = Self { len, ..Self::default() };
        (0..request.prompts.len()).try_for_each(|i| contexts.leave(Some(Words::Prompt(i))))?;
        Ok(contexts)
    }

    /// Sets those of words that are `known`, which are no longer open.
    pub(super) fn settle(&mut self, request: &Request, known: impl Fn(&str) -> Option<Arc<[f32]>>) {
        let mut open = std::mem::take(&mut self.open);
        open.retain(|&(place, words)| {
            let context = known(words.of(request));
            context.iter().for_each(|context| self.set(place, context));
            context.is_none()
        });
        self.open = open;
    }

    /// Sets the one at a place, which has its length.
    pub(super) fn set(&mut self, place: usize, context: &[f32]) {
        self.floats[place * self.len..][..self.len].copy_from_slice(context);
    }

    /// The place of what an image is asked for under; `away` in the part that guidance goes away from.
    pub(super) fn place(&self, image: usize, away: bool) -> usize {
        let [images, others] = self.counts;
        let (start, count) = if away { (images, others) } else { (0, images) };
        start + image.min(count.saturating_sub(1))
    }

    /// Floats of one context; 0 for a model that takes none.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them.
    pub(super) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// The one at a place.
    pub(super) fn get(&self, place: usize) -> &[f32] {
        &self.floats[place * self.len..][..self.len]
    }
}
