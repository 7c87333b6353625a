//! One generation, by value, and what is seen of it while it runs.

#![forbid(unsafe_code)]

use std::time::Duration;

use ndarray::{Array4, ArrayView4};

use crate::error::{invalid_argument, limit_exceeded, non_finite};
use crate::preview::Outlook;
use crate::{Bundle, CancelToken, Pixels, Result, Schedule, StepKind};

/// What to generate.
///
/// ```
/// let request = flowturbo::Request::new(vec![3, 6]).with_seed(7).with_guidance(4.0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The class of each image of the batch, at least one; the null class makes an unconditional image.
    pub classes: Vec<i64>,
    /// Seed of the noise, see [`noise`](crate::noise); unused when `noise` is given.
    pub seed: u64,
    /// The starting noise `[N, C, H, W]`, instead of a seed.
    pub noise: Option<Array4<f32>>,
    /// The name of one of the bundle's [presets](Bundle::presets); its schedule and guidance stand in for those
    /// that are none here.
    pub preset: Option<String>,
    /// The steps; the preset's if none, or the bundle's own.
    pub schedule: Option<Schedule>,
    /// Scale of classifier-free guidance, finite and at least 0; the preset's if none, or the bundle's own. At
    /// exactly 1 the null half is not computed.
    pub guidance: Option<f32>,
    /// Stops this generation from another thread.
    pub cancel: CancelToken,
}

impl Request {
    /// One image for each entry of `classes`, seed 0, the bundle's schedule and guidance.
    pub fn new(classes: Vec<i64>) -> Self {
        let cancel = CancelToken::new();
        Self { classes, seed: 0, noise: None, preset: None, schedule: None, guidance: None, cancel }
    }

    /// This request with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// This request starting at the caller's own noise `[N, C, H, W]`.
    #[must_use]
    pub fn with_noise(mut self, noise: Array4<f32>) -> Self {
        self.noise = Some(noise);
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

    /// This request stopping when `cancel` is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Refuses what `bundle` cannot serve, before anything is loaded or planned for it.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a class out of range, a guidance that is
    /// no number from 0 on, refiner steps without a refiner, a preset that the bundle lacks, noise of another shape.
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded): more images or steps than the bundle's limits
    /// allow. [`NonFinite`](crate::ErrorKind::NonFinite): in the noise.
    pub fn check(&self, bundle: &Bundle) -> Result<()> {
        self.settle(bundle).map(drop)
    }

    /// Fills in the bundle's defaults and refuses what makes no sense for it.
    pub(crate) fn settle<'a>(&'a self, bundle: &'a Bundle) -> Result<Settled<'a>> {
        let (manifest, limits) = (bundle.manifest(), bundle.limits());
        let batch = self.classes.len();
        if batch == 0 {
            return Err(invalid_argument("classes: empty; give one class for each image"));
        }
        if batch > limits.max_batch as usize {
            let most = limits.max_batch;
            return Err(limit_exceeded(format!("batch of {batch} images, Limits::max_batch allows {most}")));
        }
        let classes = &manifest.classes;
        for &class in &self.classes {
            if !(0..i64::from(classes.count)).contains(&class) && class != classes.null {
                let (last, null) = (classes.count - 1, classes.null);
                return Err(invalid_argument(format!(
                    "class {class} is out of range; this bundle has 0 to {last}, and {null} for no class"
                )));
            }
        }
        let preset = self.preset.as_deref().map(|name| bundle.preset(name)).transpose()?;
        let guidance = self.guidance.or(preset.map(|preset| preset.guidance));
        let guidance = guidance.unwrap_or(manifest.sampling.guidance);
        if !(guidance.is_finite() && guidance >= 0.0) {
            return Err(invalid_argument(format!("guidance {guidance}: must be a finite number from 0 on")));
        }
        let schedule = self.schedule.as_ref().or(preset.map(|preset| &preset.schedule));
        let schedule = schedule.unwrap_or(bundle.schedule());
        schedule.check(limits)?;
        if schedule.needs_refiner() && manifest.networks.refiner.is_none() {
            return Err(invalid_argument(format!(
                "schedule {schedule} has R steps, but this bundle has no refiner (networks.refiner in bundle.json)"
            )));
        }
        let latent = &manifest.latent;
        let shape = [batch, latent.channels as usize, latent.height as usize, latent.width as usize];
        limits.check_tensor(shape)?;
        if let Some(noise) = &self.noise {
            if noise.shape() != shape {
                return Err(invalid_argument(format!("noise: shape {:?}, must be {shape:?}", noise.shape())));
            }
            if !noise.iter().all(|value| value.is_finite()) {
                return Err(non_finite("noise: holds a number that is not finite"));
            }
        }
        Ok(Settled { schedule, guidance, shape })
    }
}

/// A request's choices with every default filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) guidance: f32,
    /// `[N, C, H, W]` of the latent.
    pub(crate) shape: [usize; 4],
}

/// What a generation reports after each step.
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Steps done, from 1 to `steps`.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// The step just done.
    pub kind: StepKind,
    /// The time it took.
    pub took: Duration,
    /// The state after it, `[N, C, H, W]`.
    pub latent: ArrayView4<'a, f32>,
    pub(crate) outlook: Outlook<'a>,
}

impl Progress<'_> {
    /// What the pictures look like so far, as
    /// [`Session::preview_into`](crate::Session::preview_into) with [`PreviewKind::Linear`](crate::PreviewKind::Linear).
    ///
    /// # Errors
    /// As there.
    pub fn preview_into(&self, pixels: &mut Pixels) -> Result<()> {
        self.outlook.draw(pixels)
    }
}
