//! One generation, by value, and what is seen of it while it runs.

#![forbid(unsafe_code)]

mod resolve;

use std::time::Duration;

use ndarray::{Array, Array3, Array4, ArrayD, ArrayView4, Dimension};

pub(crate) use resolve::{Resolved, check_batch, per_call};

use crate::preview::Outlook;
use crate::{CancelToken, Manifest, Pixels, Result, Schedule, StepKind};

/// What to generate.
///
/// ```
/// let request = flowturbo::Request::new(vec![3, 6]).with_seed(7).with_guidance(4.0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The class of each image of the batch; the null class makes an unconditional image. Empty: no class, of as many
    /// images as there are prompts or else contexts, which are then at least one.
    pub classes: Vec<i64>,
    /// Another class for each image, to be blended with its own; or empty.
    pub morphs: Vec<Morph>,
    /// Seed of the noise, see [`noise`](crate::noise); unused when `noise` is given.
    pub seed: u64,
    /// A seed for each image instead of `seed`, or empty. An image is then the one that a request for it alone makes
    /// with its seed.
    pub seeds: Vec<u64>,
    /// The stream of its seed that each image's noise is taken from; if empty, image `i` takes stream `i` of `seed`, or
    /// stream 0 of its own seed. The third of four images alone is the one class with stream 2.
    pub streams: Vec<u64>,
    /// The starting noise `[N, C, H, W]`, instead of a seed. What larger images follow ([`size`](Self::size)) still
    /// begins with the seed's.
    pub noise: Option<Array4<f32>>,
    /// Turns the starting noise a part of the way to another one.
    pub variation: Option<Variation>,
    /// The name of one of the bundle's [presets](crate::Bundle::presets); its schedule and guidance stand in for
    /// those that are none here.
    pub preset: Option<String>,
    /// The steps; the preset's if none, or the bundle's own.
    pub schedule: Option<Schedule>,
    /// Scale of classifier-free guidance, finite and at least 0; the preset's if none, or the bundle's own. At
    /// exactly 1 the null part is not computed.
    pub guidance: Option<f32>,
    /// Height and width of the images in pixels; the bundle's own if none. Whole cells of the latent
    /// ([`Manifest::image`](crate::Manifest::image) over [`latent`](crate::Manifest::latent)), and not below the
    /// bundle's own, beyond which the networks see the image through windows that overlap, and it follows what the
    /// request makes at the bundle's own size, unless it begins with an image.
    pub size: Option<[usize; 2]>,
    /// The axes along which the images continue seamlessly on the other side.
    pub seamless: Seamless,
    /// Images `[N, 3, H, W]` in [-1, 1] to begin with, or `[1, 3, H, W]` for all: they are encoded, and mixed
    /// with noise as far as `strength` says.
    pub init: Option<Array4<f32>>,
    /// How much of the way from noise to image is done anew, above 0 and at most 1, with all steps of the
    /// schedule; at 1 nothing of `init` is left where there is no mask.
    pub strength: f32,
    /// What of `init` to make anew, `[N, H, W]` in 0 to 1 or `[1, H, W]` for all: all of it at 1; at 0 it stays
    /// to the bit; between, the pixels are mixed. Without a mask everything is made anew.
    pub mask: Option<Array3<f32>>,
    /// What the images show, in words: one prompt for all, one for each, or none. The bundle's text encoder makes their
    /// contexts, once for each: the model keeps those of the last few hundred prompts. What is beyond
    /// [`Text::max_tokens`](crate::manifest::Text::max_tokens) is left out, with a warning in the log.
    pub prompts: Vec<String>,
    /// What they do not: guidance goes away from it. If none, from no prompt. Not looked at at guidance 1.
    pub negative_prompt: Option<String>,
    /// The context of each image, instead of prompts: f32 `[N, D]` or, for a model whose contexts are tokens,
    /// `[N, L, D]`; or one for all, `[1, D]` or `[1, L, D]`. Finite. If none, that of no prompt. See
    /// [`Manifest::text`](crate::Manifest::text).
    pub context: Option<ArrayD<f32>>,
    /// Likewise what guidance goes away from; if none, the context of no prompt. Not looked at at guidance 1.
    pub negative_context: Option<ArrayD<f32>>,
    /// Stops this generation from another thread.
    pub cancel: CancelToken,
}

/// A second class of an image: its velocity is a mix of both classes' before guidance, `(1 - amount)` of the
/// first. Takes half as long again under guidance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Morph {
    /// The second class.
    pub class: i64,
    /// 0 is the image's own class, 1 the second.
    pub amount: f32,
}

/// Another seed's noise, approached along the great circle between both (so that a mix is as strong as either).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    /// Seed of the other noise.
    pub seed: u64,
    /// 0 is the request's own noise, 1 the other; small amounts make images that resemble each other.
    pub amount: f32,
}

/// Axes along which an image continues seamlessly on its other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seamless {
    /// None is asked for.
    #[default]
    None,
    /// From the right edge to the left one.
    X,
    /// From the lower edge to the upper one.
    Y,
    /// Both.
    Both,
}

impl Seamless {
    /// Down and across.
    pub(crate) fn wraps(self) -> [bool; 2] {
        [matches!(self, Self::Y | Self::Both), matches!(self, Self::X | Self::Both)]
    }
}

impl Request {
    /// One image for each entry of `classes`, seed 0, the bundle's schedule and guidance.
    pub fn new(classes: Vec<i64>) -> Self {
        Self {
            classes,
            morphs: Vec::new(),
            seed: 0,
            seeds: Vec::new(),
            streams: Vec::new(),
            noise: None,
            variation: None,
            preset: None,
            schedule: None,
            guidance: None,
            size: None,
            seamless: Seamless::None,
            init: None,
            strength: 1.0,
            mask: None,
            prompts: Vec::new(),
            negative_prompt: None,
            context: None,
            negative_context: None,
            cancel: CancelToken::new(),
        }
    }

    /// One image for each prompt, of no class.
    ///
    /// ```
    /// let request = flowturbo::Request::of_prompts(["mossy stone wall", "red brick"]).with_seed(7);
    /// assert_eq!(request.images(), 2);
    /// ```
    pub fn of_prompts(prompts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Vec::new()).with_prompts(prompts)
    }

    /// Images that it makes.
    pub fn images(&self) -> usize {
        let contexts = || self.context.as_ref().and_then(|contexts| contexts.shape().first().copied());
        match (self.classes.len(), self.prompts.len()) {
            (0, 0) => contexts().unwrap_or(0),
            (0, prompts) => prompts,
            (classes, _) => classes,
        }
    }

    /// The class of an image, or the one that stands for none.
    pub(crate) fn class(&self, image: usize, manifest: &Manifest) -> i64 {
        let class = self.classes.get(image).copied();
        class.or(manifest.classes.null).unwrap_or_default()
    }

    /// This request with one prompt for all images.
    #[must_use]
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompts = vec![prompt.into()];
        self
    }

    /// This request with a prompt for each image.
    #[must_use]
    pub fn with_prompts(mut self, prompts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.prompts = prompts.into_iter().map(Into::into).collect();
        self
    }

    /// This request guided away from a prompt instead of from none.
    #[must_use]
    pub fn with_negative_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.negative_prompt = Some(prompt.into());
        self
    }

    /// This request with every image's class blended with `class`.
    #[must_use]
    pub fn with_morph(mut self, class: i64, amount: f32) -> Self {
        self.morphs = vec![Morph { class, amount }; self.images()];
        self
    }

    /// This request with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// This request with a seed for each image: each is the one that a request for it alone makes with that seed.
    #[must_use]
    pub fn with_seeds(mut self, seeds: Vec<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// This request with other images of its seed, by their places in a batch: 2 is the third of them.
    ///
    /// ```
    /// # let bundle = flowturbo::Bundle::open("tests/data/tiny-sit/bundle")?;
    /// use flowturbo::{Model, ModelOptions, Request};
    /// # let model = Model::load(bundle, &ModelOptions::default())?;
    /// let four = model.session().latents(&Request::new(vec![3; 4]).with_seed(7))?;
    /// let third = model.session().latents(&Request::new(vec![3]).with_seed(7).with_streams(vec![2]))?;
    /// let difference = &third - &four.slice(ndarray::s![2..3, .., .., ..]);
    /// assert!(difference.iter().all(|difference| difference.abs() < 1e-5));
    /// # Ok::<(), flowturbo::Error>(())
    /// ```
    #[must_use]
    pub fn with_streams(mut self, streams: Vec<u64>) -> Self {
        self.streams = streams;
        self
    }

    /// This request starting at the caller's own noise `[N, C, H, W]`.
    #[must_use]
    pub fn with_noise(mut self, noise: Array4<f32>) -> Self {
        self.noise = Some(noise);
        self
    }

    /// This request with its noise turned towards that of another seed.
    #[must_use]
    pub fn with_variation(mut self, seed: u64, amount: f32) -> Self {
        self.variation = Some(Variation { seed, amount });
        self
    }

    /// This request with the schedule and the guidance of one of the bundle's presets, such as `fast`, unless
    /// [`with_schedule`](Self::with_schedule) or [`with_guidance`](Self::with_guidance) say otherwise.
    #[must_use]
    pub fn with_preset(mut self, name: impl Into<String>) -> Self {
        self.preset = Some(name.into());
        self
    }

    /// This request with another schedule.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// This request with another guidance scale.
    #[must_use]
    pub fn with_guidance(mut self, guidance: f32) -> Self {
        self.guidance = Some(guidance);
        self
    }

    /// This request for images of other sizes, in pixels.
    #[must_use]
    pub fn with_size(mut self, height: usize, width: usize) -> Self {
        self.size = Some([height, width]);
        self
    }

    /// This request for seamless images.
    #[must_use]
    pub fn with_seamless(mut self, seamless: Seamless) -> Self {
        self.seamless = seamless;
        self
    }

    /// This request beginning with images `[N, 3, H, W]` or `[1, 3, H, W]` in [-1, 1].
    #[must_use]
    pub fn with_init(mut self, images: Array4<f32>, strength: f32) -> Self {
        (self.init, self.strength) = (Some(images), strength);
        self
    }

    /// This request with only a part of `init` made anew, `[N, H, W]` or `[1, H, W]` in 0 to 1.
    #[must_use]
    pub fn with_mask(mut self, mask: Array3<f32>) -> Self {
        self.mask = Some(mask);
        self
    }

    /// This request under a context `[1, D]` or `[1, L, D]` for all images, or one for each of them.
    ///
    /// ```
    /// use flowturbo::{Model, Request};
    /// # let zeros = ndarray::Array2::<f32>::zeros((1, 8));
    /// let request = Request::new(vec![0, 0]).with_context(zeros);
    /// assert_eq!(request.context.unwrap().shape(), [1, 8]);
    /// ```
    #[must_use]
    pub fn with_context<D: Dimension>(mut self, context: Array<f32, D>) -> Self {
        self.context = Some(context.into_dyn());
        self
    }

    /// This request guided away from a context, of the shapes of [`with_context`](Self::with_context), instead of that
    /// of no prompt.
    #[must_use]
    pub fn with_negative_context<D: Dimension>(mut self, context: Array<f32, D>) -> Self {
        self.negative_context = Some(context.into_dyn());
        self
    }

    /// This request stopping when `cancel` is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The seed and the stream of each image's noise.
    pub(crate) fn draws(&self) -> impl Iterator<Item = (u64, u64)> {
        let seed = |i: usize| self.seeds.get(i).copied().unwrap_or(self.seed);
        (0..self.images()).map(move |i| (seed(i), self.stream(i)))
    }

    /// The stream of image `i`.
    pub(crate) fn stream(&self, i: usize) -> u64 {
        let default = if self.seeds.is_empty() { i as u64 } else { 0 };
        self.streams.get(i).copied().unwrap_or(default)
    }
}

/// What a generation reports after each step, and after each image that is decoded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Steps done, from 1 to `steps`.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// The step just done, the last one while images are decoded.
    pub kind: StepKind,
    /// Images decoded; 0 as long as there are steps left.
    pub decoded: usize,
    /// Images that will be decoded; none if only latents were asked for.
    pub images: usize,
    /// The time that the step took, or the image.
    pub took: Duration,
    /// The state after the step, `[N, C, H, W]`.
    pub latent: ArrayView4<'a, f32>,
    pub(crate) outlook: Outlook<'a>,
}

impl Progress<'_> {
    /// What the images look like so far, as
    /// [`Session::preview_into`](crate::Session::preview_into) with
    /// [`PreviewKind::Linear`](crate::PreviewKind::Linear).
    ///
    /// # Errors
    /// As there.
    pub fn preview_into(&self, pixels: &mut Pixels) -> Result<()> {
        self.outlook.draw(pixels)
    }
}
