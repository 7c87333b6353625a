//! From what a program wrote to what the library calls a request.

use std::ffi::c_char;

use ndarray::{Array3, Array4, ArrayD};

use super::super::boundary::Failure;
use super::super::error::Context;
use super::super::pointers::{array, text};
use super::super::status::FT_ERROR_LIMIT_EXCEEDED;
use super::super::{Model, Morph, Request, Role, Seamless, Variation, cancel_token, pixels};
use super::{FT_GUIDANCE_DEFAULT, FT_TILE_BOTH, FT_TILE_NONE, FT_TILE_X, FT_TILE_Y, ft_request};
use flowturbo_runtime::memory;

impl ft_request {
    /// What the library calls a request. Its memory, and the parsed schedule of the same text, are used again.
    ///
    /// # Safety
    /// What the fields point at is there.
    pub(in super::super) unsafe fn fill(
        &self,
        model: &Model,
        request: &mut Request,
        written: &mut String,
    ) -> Result<(), Failure> {
        let (images, most) = (self.image_count, model.bundle().limits().max_batch);
        if images > most {
            let message =
                format!("request.image_count: {images} images, above the limit of {most} (max_batch)");
            return Err(Failure::new(FT_ERROR_LIMIT_EXCEEDED, message));
        }
        // SAFETY: the caller's promise.
        let prompts = unsafe { array(self.prompts, self.prompt_count, "request.prompts")? };
        let unclassed = self.classes.is_null() && (!prompts.is_empty() || !self.context.is_null());
        let count = if unclassed { 0 } else { images as usize };
        // SAFETY: as above.
        let classes = unsafe { array(self.classes, count, "request.classes")? };
        // SAFETY: as above.
        let (schedule, preset) = unsafe { (self.schedule()?, self.preset()?) };
        match (preset, &mut request.preset) {
            (Some(preset), Some(known)) => preset.clone_into(known),
            (preset, known) => *known = preset.map(str::to_owned),
        }
        match schedule {
            None => {
                request.schedule = None;
                written.clear();
            }
            Some(schedule) if request.schedule.is_none() || schedule != written => {
                request.schedule = Some(schedule.parse()?);
                schedule.clone_into(written);
            }
            Some(_) => {}
        }
        request.classes.clear();
        request.classes.extend_from_slice(classes);
        if unclassed && prompts.is_empty() {
            // Contexts alone: there may be one for all.
            let none = model.manifest().classes.null;
            let takes_class = model.manifest().networks.predictor.inputs.y.is_some();
            if takes_class && none.is_none() {
                return Err(Failure::argument(
                    "request.classes is NULL, and the model knows no class that stands for none",
                ));
            }
            request.classes.resize(images as usize, none.unwrap_or_default());
        }
        request.seed = self.seed;
        request.guidance = (self.guidance != FT_GUIDANCE_DEFAULT).then_some(self.guidance);
        request.cancel = cancel_token::token(self.cancel)?;
        // SAFETY: as above.
        unsafe {
            self.fill_prompts(request, prompts)?;
            self.fill_contexts(request, model)?;
            self.fill_edit(request, model)?;
            self.fill_arrays(request, model)
        }
    }

    /// Copies of the prompts; where there are no classes, one for each image.
    ///
    /// # Safety
    /// `prompts` and `negative_prompt` are NULL or texts.
    unsafe fn fill_prompts(&self, request: &mut Request, prompts: &[*const c_char]) -> Result<(), Failure> {
        let (images, given) = (self.image_count as usize, prompts.len());
        if ![0, 1, images].contains(&given) {
            return Err(Failure::argument(format!(
                "request.prompt_count: {given} for {images} images; give one for all, or one for each"
            )));
        }
        let count = if given == 1 && request.classes.is_empty() { images } else { given };
        request.prompts.resize_with(count, String::new);
        for (i, known) in request.prompts.iter_mut().enumerate() {
            let prompt = prompts[i.min(given - 1)];
            // SAFETY: the caller's promise.
            let prompt = unsafe { text(prompt, "request.prompts")? };
            prompt.clone_into(known);
        }
        let negative = match self.negative_prompt.is_null() {
            true => None,
            // SAFETY: as above.
            false => Some(unsafe { text(self.negative_prompt, "request.negative_prompt")? }),
        };
        match (negative, &mut request.negative_prompt) {
            (Some(prompt), Some(known)) => prompt.clone_into(known),
            (prompt, known) => *known = prompt.map(str::to_owned),
        }
        Ok(())
    }

    /// Copies of the contexts.
    ///
    /// # Safety
    /// What the fields point at is there.
    unsafe fn fill_contexts(&self, request: &mut Request, model: &Model) -> Result<(), Failure> {
        for (name, given, count, rows, known) in [
            ("request.context", self.context, self.context_count, self.context_rows, &mut request.context),
            (
                "request.negative_context",
                self.negative_context,
                self.negative_context_count,
                self.negative_context_rows,
                &mut request.negative_context,
            ),
        ] {
            // SAFETY: the caller's promise.
            let floats = unsafe { array(given, count, name)? };
            if given.is_null() {
                *known = None;
                continue;
            }
            let Some(one) = model.manifest().context_shape() else {
                return Err(Failure::argument(format!("{name}: this model takes no contexts")));
            };
            let rows = rows.max(1);
            let wanted = one.iter().try_fold(rows, |floats, &n| floats.checked_mul(n));
            if wanted != Some(count) {
                let wanted = wanted.map_or("more than there can be".to_owned(), |floats| floats.to_string());
                return Err(Failure::argument(format!(
                    "{name}_count: {count} floats, {rows} of {one:?} take {wanted}"
                )));
            }
            let shape = [vec![rows], one].concat();
            if let Some(known) = known.as_mut().filter(|known| known.shape() == shape)
                && let Some(place) = known.as_slice_mut()
            {
                place.copy_from_slice(floats);
                continue;
            }
            let copied = ArrayD::from_shape_vec(shape, memory::collected(count, floats.iter().copied())?);
            *known = Some(copied.map_err(|error| Failure::argument(format!("{name}: {error}")))?);
        }
        Ok(())
    }

    /// # Safety
    /// `schedule` is NULL or a text.
    unsafe fn schedule(&self) -> Result<Option<&str>, Failure> {
        // SAFETY: the caller's promise.
        (!self.schedule.is_null()).then(|| unsafe { text(self.schedule, "request.schedule") }).transpose()
    }

    /// # Safety
    /// `preset` is NULL or a text.
    unsafe fn preset(&self) -> Result<Option<&str>, Failure> {
        // SAFETY: the caller's promise.
        (!self.preset.is_null()).then(|| unsafe { text(self.preset, "request.preset") }).transpose()
    }

    /// How the images lie, and what each of them is.
    ///
    /// # Safety
    /// What the fields point at is there.
    unsafe fn fill_edit(&self, request: &mut Request, model: &Model) -> Result<(), Failure> {
        let images = self.image_count as usize;
        request.seamless = match self.tile {
            FT_TILE_NONE => Seamless::None,
            FT_TILE_X => Seamless::X,
            FT_TILE_Y => Seamless::Y,
            FT_TILE_BOTH => Seamless::Both,
            other => {
                return Err(Failure::argument(format!("request.tile: {other} is none of FT_TILE_...")));
            }
        };
        request.size = (self.height != 0 || self.width != 0).then_some(self.size(model));
        let (seed, amount) = (self.variation_seed, self.variation);
        request.variation = (amount != 0.0).then_some(Variation { seed, amount });
        request.morphs.clear();
        if !self.morph_classes.is_null() {
            if self.morph_amounts.is_null() {
                return Err(Failure::argument("request.morph_amounts is NULL, morph_classes is not"));
            }
            // SAFETY: the caller's promise.
            let (classes, amounts) = unsafe {
                let classes = array(self.morph_classes, images, "request.morph_classes")?;
                (classes, array(self.morph_amounts, images, "request.morph_amounts")?)
            };
            let morphs = classes.iter().zip(amounts).map(|(&class, &amount)| Morph { class, amount });
            request.morphs.extend(morphs);
        }
        for (given, count, name, known) in [
            (self.seeds, self.seed_count, "request.seeds", &mut request.seeds),
            (self.streams, self.stream_count, "request.streams", &mut request.streams),
        ] {
            if !given.is_null() && count != images {
                return Err(Failure::argument(format!(
                    "{name}: {count} for {images} images; give one for each"
                )));
            }
            known.clear();
            // SAFETY: as above.
            known.extend_from_slice(unsafe { array(given, count, name)? });
        }
        Ok(())
    }

    /// Height and width of the images, in pixels.
    fn size(&self, model: &Model) -> [usize; 2] {
        let own = model.manifest().image.as_ref().map_or([0, 0], |image| [image.height, image.width]);
        let edge = |asked: u32, own: u32| if asked == 0 { own as usize } else { asked as usize };
        [edge(self.height, own[0]), edge(self.width, own[1])]
    }

    /// Copies of what the program's arrays hold, once all else makes sense: their sizes follow from it.
    ///
    /// # Safety
    /// What the fields point at is there.
    unsafe fn fill_arrays(&self, request: &mut Request, model: &Model) -> Result<(), Failure> {
        (request.noise, request.init, request.mask, request.strength) = (None, None, None, 1.0);
        // SAFETY: the caller's promise.
        let noise = unsafe { array(self.noise, self.noise_count, "request.noise")? };
        if !self.noise.is_null() {
            let shape = request.noise_shape(model.bundle())?;
            let (wanted, found) = (shape.iter().product::<usize>(), noise.len());
            if found != wanted {
                return Err(Failure::argument(format!(
                    "request.noise_count: {found} floats, {shape:?} takes {wanted}"
                )));
            }
            let floats = memory::collected(found, noise.iter().copied())?;
            let noise = Array4::from_shape_vec(shape, floats);
            request.noise =
                Some(noise.map_err(|error| Failure::argument(format!("request.noise: {error}")))?);
        }
        let [height, width] = self.size(model);
        if !self.init.is_null() {
            if !model.manifest().has(Role::Encoder) {
                return Err(Failure::argument("request.init: this bundle has no encoder"));
            }
            request.check(model.bundle())?;
            // SAFETY: as above.
            let pixels = unsafe { pixels::read_only(self.init, "request.init")? };
            let shape = [self.init_count.max(1) as usize, height, width];
            model.bundle().limits().check_tensor([shape[0], 3, height, width])?;
            request.init = Some(pixels.to_array(shape).at(|| "request.init".to_owned())?);
        }
        request.strength = self.strength;
        if !self.mask.is_null() {
            let images = self.image_count as usize;
            // SAFETY: as above.
            let bytes = unsafe { array(self.mask, self.mask_size, "request.mask")? };
            let (one, found) = (height.saturating_mul(width), bytes.len());
            let Some(count) = [1, images].into_iter().find(|&n| one.checked_mul(n) == Some(found)) else {
                return Err(Failure::argument(format!(
                    "request.mask_size: {found} bytes, a mask of {width} x {height} takes {one}, one for each \
                     image {}",
                    one.saturating_mul(images)
                )));
            };
            let values = memory::collected(found, bytes.iter().map(|&byte| f32::from(byte) / 255.0))?;
            let mask = Array3::from_shape_vec([count, height, width], values);
            request.mask = Some(mask.map_err(|error| Failure::argument(format!("request.mask: {error}")))?);
        }
        Ok(())
    }
}
