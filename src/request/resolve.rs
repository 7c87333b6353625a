//! A request held against its bundle, every default filled in.

use ndarray::ArrayBase;

use super::Request;
use crate::bundle::Extent;
use crate::bundle::manifest::NoPrompt;
use crate::error::{invalid_argument, limit_exceeded, non_finite, unsupported};
use crate::sampler::guidance::{parts, refiner_parts};
use crate::sampler::windows::Windows;
use crate::sampler::{Grid, Schedule};
use crate::text::check_prompt;
use crate::{Bundle, Limits, Manifest, Result, Role};

/// A request's choices with every default filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved<'a> {
    pub(crate) schedule: &'a Schedule,
    pub(crate) guidance: f32,
    /// Images, and the size of their latents.
    pub(crate) extent: Extent,
    /// `[N, C, H, W]` of the latent.
    pub(crate) shape: [usize; 4],
    pub(crate) windows: Windows,
    /// Whether each image follows one of the networks' own size, which is sampled beside it: where windows see the
    /// image in part, and none is given that it has to be like.
    pub(crate) follows: bool,
    /// Windows in one call of a network.
    pub(crate) per_call: usize,
    /// Conditions for each image in a call of the predictor.
    pub(crate) parts: usize,
    /// Likewise of the refiner.
    pub(crate) refiner_parts: usize,
    pub(crate) strength: f32,
    /// Whether some of its contexts are made of prompts.
    pub(crate) encodes: bool,
}

impl Resolved<'_> {
    /// Floats of the images' state, and of what is sampled beside them.
    pub(crate) fn floats(&self) -> (usize, usize) {
        let [images, channels, ..] = self.shape;
        let beside = if self.follows { images * channels * self.windows.area() } else { 0 };
        (self.shape.iter().product(), beside)
    }

    /// What the predictor is planned for.
    pub(crate) fn call(&self, manifest: &Manifest) -> Extent {
        manifest.extent(self.parts * self.per_call)
    }

    /// What the refiner is planned for.
    pub(crate) fn refiner_call(&self, manifest: &Manifest) -> Extent {
        manifest.extent(self.refiner_parts * self.per_call)
    }

    /// Whether one call of a network is asked for the state as it is.
    pub(crate) fn is_direct(&self) -> bool {
        self.windows.is_identity() && self.per_call == self.extent.batch
    }

    /// Whether the networks read the sampler's own `v`, and write to its own answer, instead of a copy.
    pub(crate) fn lends(&self, manifest: &Manifest) -> [bool; 2] {
        [self.is_direct() && manifest.time.velocity_sign > 0, self.is_direct()]
    }

    /// Whether the networks are asked for what guidance goes away from too.
    pub(crate) fn is_guided(&self) -> bool {
        self.guidance != 1.0
    }

    pub(crate) fn grid(&self) -> Grid {
        Grid::new(self.schedule.steps().len(), self.strength)
    }

    /// `[N, M, H, W]` of the images, all their maps.
    ///
    /// # Errors
    /// `InvalidArgument`: the bundle has no decoder, or none that wraps around as `windows` do.
    pub(crate) fn images(&self, manifest: &Manifest) -> Result<[usize; 4]> {
        let name = &manifest.name;
        let Some(shape) = manifest.maps_shape(self.extent) else {
            return Err(invalid_argument(format!("bundle '{name}' has no decoder; ask for its latents")));
        };
        let wraps = manifest.image.as_ref().is_some_and(|image| image.wraps);
        if self.windows.wraps() && !wraps {
            return Err(invalid_argument(format!(
                "seamless: the decoder of '{name}' does not wrap around (image.wraps in bundle.json); export it with \
                 circular padding"
            )));
        }
        Ok(shape)
    }
}

impl Request {
    /// Refuses what `bundle` cannot serve, before anything is loaded or planned for it.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a class out of range, a guidance that is
    /// no number from 0 on, guidance other than 1 of a model without a null class, a preset that the bundle lacks,
    /// refiner steps without a refiner, noise, images or masks of another shape, a size that is no multiple of the
    /// latent's cells or below the bundle's own, amounts and strengths out of range, an init without an encoder, a mask
    /// without an init, contexts of another shape or for a model that takes none, prompts without a text encoder or
    /// beside contexts. [`Unsupported`](crate::ErrorKind::Unsupported): prompts in a build without the feature `text`.
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded): more images, pixels, steps or longer prompts than the
    /// bundle's limits allow. [`NonFinite`](crate::ErrorKind::NonFinite): in the noise, the images or the contexts.
    pub fn check(&self, bundle: &Bundle) -> Result<()> {
        self.resolve(bundle).map(drop)
    }

    /// The shape of the noise that it begins with, as the C API says it.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    #[doc(hidden)]
    pub fn noise_shape(&self, bundle: &Bundle) -> Result<[usize; 4]> {
        Ok(self.resolve(bundle)?.shape)
    }

    /// Fills in the bundle's defaults and refuses what makes no sense for it.
    pub(crate) fn resolve<'a>(&'a self, bundle: &'a Bundle) -> Result<Resolved<'a>> {
        let (manifest, limits) = (bundle.manifest(), bundle.limits());
        self.check_classes(bundle)?;
        let preset = self.preset.as_deref().map(|name| bundle.preset(name)).transpose()?;
        let guidance = self.guidance.or(preset.map(|preset| preset.guidance));
        let guidance = guidance.unwrap_or(manifest.sampling.guidance);
        if !(guidance.is_finite() && guidance >= 0.0) {
            return Err(invalid_argument(format!("guidance {guidance}: must be a finite number from 0 on")));
        }
        if guidance != 1.0 && !manifest.can_be_guided() {
            return Err(invalid_argument(format!(
                "guidance {guidance}: must be 1, since this model knows no \"no class\" to guide away from \
                 (classes.null in bundle.json)"
            )));
        }
        self.check_prompts(bundle)?;
        self.check_contexts(manifest, guidance != 1.0)?;
        let schedule = self.schedule.as_ref().or(preset.map(|preset| &preset.schedule));
        let schedule = schedule.unwrap_or(bundle.schedule());
        schedule.check(limits)?;
        if schedule.needs_refiner() && manifest.networks.refiner.is_none() {
            return Err(invalid_argument(format!(
                "schedule {schedule} has R steps, but this bundle has no refiner (networks.refiner in bundle.json)"
            )));
        }
        let own = manifest.extent(self.images());
        let extent = Extent { cells: self.cells(bundle)?, ..own };
        let shape = manifest.latent_shape(extent);
        let (image, maps) = (manifest.image_shape(extent), manifest.maps_shape(extent));
        for tensor in [Some(shape), image, maps].into_iter().flatten() {
            limits.check_tensor(tensor)?;
        }
        if let Some(noise) = &self.noise {
            held("noise", noise, &shape, false)?;
        }
        let batch = self.images();
        for (name, given) in [("seeds", &self.seeds), ("streams", &self.streams)] {
            if !given.is_empty() && given.len() != batch {
                let found = given.len();
                return Err(invalid_argument(format!(
                    "{name}: {found} for {batch} images; give one for each"
                )));
            }
        }
        self.check_variation()?;
        self.check_edit(manifest, extent)?;
        let windows = Windows::new(extent.cells, own.cells, self.seamless.wraps());
        let follows = windows.count() > 1 && self.init.is_none();
        let (parts, refiner_parts) = (
            parts(guidance, !self.morphs.is_empty()),
            refiner_parts(manifest, guidance, !self.morphs.is_empty()),
        );
        let wanted = windows.per_call(batch, usize::from(follows));
        let needed = schedule.needs_refiner().then_some(refiner_parts);
        Ok(Resolved {
            schedule,
            guidance,
            extent,
            shape,
            windows,
            follows,
            per_call: per_call(bundle, wanted, parts, needed)?,
            parts,
            refiner_parts,
            strength: self.strength,
            encodes: self.encodes(manifest, guidance != 1.0),
        })
    }

    fn check_classes(&self, bundle: &Bundle) -> Result<()> {
        let (manifest, limits, batch) = (bundle.manifest(), bundle.limits(), self.images());
        let classes = &manifest.classes;
        if batch == 0 {
            return Err(invalid_argument("classes: empty; give one class for each image"));
        }
        let classed = manifest.networks.predictor.inputs.y.is_some();
        if self.classes.is_empty() && classed && classes.null.is_none() {
            return Err(invalid_argument(
                "classes: empty; give one class for each image, since this model knows no \"no class\" \
                 (classes.null in bundle.json)",
            ));
        }
        check_batch(batch, limits)?;
        for &class in self.classes.iter().chain(self.morphs.iter().map(|morph| &morph.class)) {
            if !classes.has(class) {
                let known = classes.numbers();
                return Err(invalid_argument(format!("class {class} is out of range; {known}")));
            }
        }
        if !self.morphs.is_empty() && self.morphs.len() != batch {
            let found = self.morphs.len();
            return Err(invalid_argument(format!("morphs: {found} for {batch} images; give one for each")));
        }
        self.morphs.iter().try_for_each(|morph| amount("morph", morph.amount))
    }

    /// Whether some of its contexts are made of prompts, the empty one of no prompt among them.
    fn encodes(&self, manifest: &Manifest, guided: bool) -> bool {
        let empty = manifest.text.as_ref().is_some_and(|text| text.no_prompt == NoPrompt::Empty);
        let to = self.context.is_none() && (empty || !self.prompts.is_empty());
        let away = self.negative_context.is_none() && (empty || self.negative_prompt.is_some());
        to || (guided && away)
    }

    /// Holds the prompts against what there is to encode them.
    pub(crate) fn check_prompts(&self, bundle: &Bundle) -> Result<()> {
        let (prompts, batch) = (self.prompts.len(), self.images());
        for (name, there, given) in [
            ("prompt", prompts > 0, &self.context),
            ("negative prompt", self.negative_prompt.is_some(), &self.negative_context),
        ] {
            if !there {
                continue;
            }
            if given.is_some() {
                return Err(invalid_argument(format!(
                    "{name}: beside a context, which says the same; give one"
                )));
            }
            if !bundle.manifest().has(Role::Text) {
                let instead = match (bundle.manifest().text.is_some(), self.classes.is_empty()) {
                    (true, _) => "give a context",
                    (false, true) => "give a class",
                    (false, false) => "leave it out",
                };
                return Err(invalid_argument(format!(
                    "{name}: this bundle has no text encoder (networks.text in bundle.json); {instead}"
                )));
            }
            if cfg!(not(feature = "text")) {
                return Err(unsupported(format!(
                    "{name}: this build has no tokenizer (the feature `text`); give a context"
                )));
            }
        }
        if prompts > 1 && prompts != batch {
            return Err(invalid_argument(format!(
                "prompts: {prompts} for {batch} images; give one for all, or one for each"
            )));
        }
        let limits = bundle.limits();
        self.prompts.iter().try_for_each(|prompt| check_prompt("prompt", prompt, limits))?;
        self.negative_prompt.iter().try_for_each(|prompt| check_prompt("negative prompt", prompt, limits))
    }

    /// Holds the contexts against the model's, and that there are some where there is none of no prompt.
    fn check_contexts(&self, manifest: &Manifest, guided: bool) -> Result<()> {
        let contexts = [("context", &self.context), ("negative context", &self.negative_context)];
        let Some(text) = &manifest.text else {
            return match contexts.iter().find(|(_, context)| context.is_some()) {
                Some((name, _)) => Err(invalid_argument(format!(
                    "{name}: this model takes no contexts (text in bundle.json)"
                ))),
                None => Ok(()),
            };
        };
        // Nothing is allocated for a request that is as the one before.
        let (images, width) = (self.images(), text.width as usize);
        let (pooled, of_tokens) =
            ([images, width], text.tokens.map(|tokens| [images, tokens as usize, width]));
        let shape = of_tokens.as_ref().map_or(&pooled[..], |shape| shape);
        for ((name, context), needed) in contexts.into_iter().zip([true, guided]) {
            match context {
                Some(context) => held(name, context, shape, true)?,
                None if needed && text.no_prompt != NoPrompt::Zeros && cfg!(not(feature = "text")) => {
                    return Err(unsupported(format!(
                        "{name}: missing; give one, since this model's context of no prompt comes from its text \
                         encoder (text.no_prompt in bundle.json), and this build has no tokenizer (the feature `text`)"
                    )));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn check_variation(&self) -> Result<()> {
        self.variation.map_or(Ok(()), |variation| amount("variation", variation.amount))
    }

    /// Rows and columns of the latent.
    fn cells(&self, bundle: &Bundle) -> Result<[usize; 2]> {
        let (manifest, most) = (bundle.manifest(), bundle.limits().max_edge);
        let own = manifest.extent(1);
        let Some(size) = self.size else { return Ok(own.cells) };
        let (Some(cell), Some([_, _, height, width])) = (manifest.cell(), manifest.image_shape(own)) else {
            return Err(invalid_argument("size: this bundle has no images (image in bundle.json)"));
        };
        let [rows, columns] = size;
        if rows.max(columns) > most as usize {
            return Err(limit_exceeded(format!(
                "size: {columns} x {rows} (width x height), above the limit of {most} pixels (max_edge)"
            )));
        }
        let whole = rows.is_multiple_of(cell[0]) && columns.is_multiple_of(cell[1]);
        if !whole || rows < height || columns < width {
            let [down, across] = cell;
            return Err(invalid_argument(format!(
                "size: {columns} x {rows} (width x height), must be at least {width} x {height}, in steps of \
                 {across} x {down} pixels"
            )));
        }
        Ok([rows / cell[0], columns / cell[1]])
    }

    fn check_edit(&self, manifest: &Manifest, extent: Extent) -> Result<()> {
        let strength = self.strength;
        if !(strength > 0.0 && strength <= 1.0) {
            return Err(invalid_argument(format!("strength {strength}: must be above 0 and at most 1")));
        }
        let Some(init) = &self.init else {
            return match (&self.mask, strength < 1.0) {
                (Some(_), _) => Err(invalid_argument("mask: without init, there is nothing to keep")),
                (None, true) => Err(invalid_argument(format!("strength {strength}: without init"))),
                (None, false) => Ok(()),
            };
        };
        let Some(images) = manifest.image_shape(extent).filter(|_| manifest.has(Role::Encoder)) else {
            return Err(invalid_argument(
                "init: this bundle has no encoder (networks.encoder in bundle.json)",
            ));
        };
        held("init", init, &images, true)?;
        let Some(mask) = &self.mask else { return Ok(()) };
        held("mask", mask, &[images[0], images[2], images[3]], true)?;
        match mask.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            Some(value) => Err(invalid_argument(format!("mask: holds {value}, must be 0 to 1"))),
            None => Ok(()),
        }
    }
}

/// How many windows are taken in one call: as many as are wanted, or what the bundle's networks were compiled for, if
/// they were: the most that are fewer, else the fewest that are more. Each takes `parts` images of a call of the
/// predictor, and of the refiner's as many as it is said to, if it is needed.
pub(crate) fn per_call(
    bundle: &Bundle,
    wanted: usize,
    parts: usize,
    refiner: Option<usize>,
) -> Result<usize> {
    let Some(plan) = bundle.plan() else { return Ok(wanted) };
    let own = bundle.manifest().extent(1).cells;
    let predictor = plan.extents(Role::Predictor)?;
    let refiner = refiner.map(|parts| Ok((parts, plan.extents(Role::Refiner)?))).transpose()?;
    let of_refiner = |&size: &usize| {
        refiner
            .as_ref()
            .is_none_or(|(parts, known)| known.contains(&Extent { batch: parts * size, cells: own }))
    };
    let whole = |extent: &&Extent| extent.cells == own && extent.batch.is_multiple_of(parts);
    let sizes = predictor.iter().filter(whole).map(|extent| extent.batch / parts).filter(of_refiner);
    let fewer = sizes.clone().filter(|&size| size <= wanted).max();
    // Where there are none the plan is asked for what is wanted, and says what it has.
    Ok(fewer.or(sizes.min()).unwrap_or(wanted))
}

/// Refuses more images than the limits allow.
pub(crate) fn check_batch(images: usize, limits: &Limits) -> Result<()> {
    let most = limits.max_batch;
    if images <= most as usize {
        return Ok(());
    }
    Err(limit_exceeded(format!("batch of {images} images, above the limit of {most} (max_batch)")))
}

/// Refuses an array of another shape, or with numbers that are none; with `one_for_all`, the first dimension may
/// be 1.
fn held<S, D>(name: &str, array: &ArrayBase<S, D>, shape: &[usize], one_for_all: bool) -> Result<()>
where
    S: ndarray::Data<Elem = f32>,
    D: ndarray::Dimension,
{
    let found = array.shape();
    if found != shape && !(one_for_all && found.split_first() == Some((&1, &shape[1..]))) {
        let mut shared = shape.to_vec();
        shared[0] = 1;
        let or =
            if one_for_all && shared != shape { format!(", or {shared:?} for all") } else { String::new() };
        return Err(invalid_argument(format!("{name}: shape {found:?}, must be {shape:?}{or}")));
    }
    match array.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(non_finite(format!("{name}: holds a number that is not finite"))),
    }
}

fn amount(name: &str, amount: f32) -> Result<()> {
    if (0.0..=1.0).contains(&amount) {
        return Ok(());
    }
    Err(invalid_argument(format!("{name}: an amount of {amount}, must be 0 to 1")))
}
