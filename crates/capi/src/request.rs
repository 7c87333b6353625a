//! One generation, by value.

use std::ffi::{c_char, c_void};

use ndarray::{Array3, Array4, ArrayD};

use super::boundary::{Failure, guard};
use super::cancel_token::{self, ft_cancel_token};
use super::error::Context;
use super::pixels::{self, ft_pixels};
use super::pointers::{array, text};
use super::status::{FT_ERROR_LIMIT_EXCEEDED, ft_status};
use super::versioned::{self, Versioned};
use super::{Model, Morph, Output, Request, Role, Seamless, Variation};
use flowturbo_runtime::memory;

/// What a generation makes.
pub type ft_output = u32;

/// Latents, and images decoded from them.
pub const FT_OUTPUT_IMAGES: ft_output = 0;
/// The older name of `FT_OUTPUT_IMAGES`.
pub const FT_OUTPUT_PICTURES: ft_output = 0;
/// Latents alone: the decoder does not run.
pub const FT_OUTPUT_LATENTS: ft_output = 1;

/// How a preview is made.
pub type ft_preview = u32;

/// No preview.
pub const FT_PREVIEW_NONE: ft_preview = 0;
/// Rough, of the latent's own size, in microseconds; for bundles that have its colours (`image.preview`).
pub const FT_PREVIEW_LINEAR: ft_preview = 1;
/// By the decoder, of an image's size.
pub const FT_PREVIEW_DECODED: ft_preview = 2;

/// Axes along which an image continues seamlessly on its other side.
pub type ft_tile = u32;

/// None is asked for.
pub const FT_TILE_NONE: ft_tile = 0;
/// From the right edge to the left one.
pub const FT_TILE_X: ft_tile = 1;
/// From the lower edge to the upper one.
pub const FT_TILE_Y: ft_tile = 2;
/// Both.
pub const FT_TILE_BOTH: ft_tile = 3;

/// The bundle's own scale of guidance.
pub const FT_GUIDANCE_DEFAULT: f32 = -1.0;

/// What a generation reports after each step of its schedule, and after each image that is decoded.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_progress {
    /// sizeof(ft_progress) as the library knows it: what lies behind it, in a newer header than the library's, is not
    /// there.
    pub struct_size: u32,
    /// Steps done, from 1.
    pub step: u32,
    /// Steps in all.
    pub steps: u32,
    /// The step just done, as its letter in the schedule: 'E', 'H', 'P' or 'R'; the last one while images are
    /// decoded.
    pub kind: u32,
    /// The time that the step took, or the image.
    pub microseconds: u64,
    /// The state after the step: `latent_count` floats `[image_count, channels, height, width]`.
    pub latents: *const f32,
    /// How many.
    pub latent_count: usize,
    /// With `FT_PREVIEW_LINEAR`: what the images look like so far, `[image_count, preview_height,
    /// preview_width]` pixels of RGB8 without gaps; otherwise, or if none could be made, NULL.
    pub preview: *const u8,
    /// Bytes of it.
    pub preview_size: usize,
    /// Columns of a preview.
    pub preview_width: u32,
    /// Rows of a preview.
    pub preview_height: u32,
    /// Images decoded; 0 as long as there are steps left.
    pub decoded: u32,
    /// Images that will be decoded; 0 for a request of `FT_OUTPUT_LATENTS`.
    pub pictures: u32,
}

/// Called after each step of the schedule and after each decoded image, on the thread that called the library.
/// `progress` and all it points at are the library's, for the time of the call. Another answer than 0 stops the
/// generation with `FT_ERROR_CANCELLED`. Calls for the same session from inside are refused with `FT_ERROR_BUSY`.
pub type ft_progress_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, progress: *const ft_progress) -> i32>;

/// What to generate; filled by `ft_request_init`, then by hand. Looked at during the call that takes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_request {
    /// sizeof(ft_request).
    pub struct_size: u32,
    /// Images to make, at least 1.
    pub image_count: u32,
    /// The class of each image: `image_count` numbers from 0 to the model's `class_count` - 1, or its `null_class` if
    /// that is not -1. They are looked at, and must be there, in each call that takes the request.
    pub classes: *const i64,
    /// Seed of the noise: the same bits on every machine.
    pub seed: u64,
    /// The steps, such as "H1P5R3": E Euler, H Heun, P pseudo-corrector, R refiner, each with a count. NULL for the
    /// bundle's own.
    pub schedule: *const c_char,
    /// Scale of classifier-free guidance, 0 or more; 1 is none, takes half the time, and is all that a model without a
    /// null class allows, unless it takes contexts and no class. `FT_GUIDANCE_DEFAULT` for the bundle's own.
    pub guidance: f32,
    /// `FT_OUTPUT_IMAGES` unless set.
    pub output: ft_output,
    /// NULL, or the noise to start from instead of the seed's: `noise_count` floats
    /// `[image_count, channels, height, width]` of the latent.
    pub noise: *const f32,
    /// How many.
    pub noise_count: usize,
    /// NULL, or the token that stops the generation; it may be freed at any time.
    pub cancel: *const ft_cancel_token,
    /// NULL, or called after each step and each decoded image.
    pub progress: ft_progress_callback,
    /// For `progress`; both are needed until the generation ends, or the session is reset, asked for another one, or
    /// freed.
    pub progress_data: *mut c_void,
    /// The preview that `progress` is shown: `FT_PREVIEW_NONE` unless set, or `FT_PREVIEW_LINEAR`.
    pub preview: ft_preview,
    /// 0.
    pub reserved: u32,
    /// NULL, or a name from the bundle for a schedule and a guidance, where those above are not set.
    pub preset: *const c_char,
    /// The axes along which the images continue seamlessly on their other side: `FT_TILE_NONE` unless set.
    pub tile: ft_tile,
    /// Columns of the images; 0 for the model's own. Not below those, in steps of the pixels that one cell of the
    /// latent stands for (8 in the bundled model); time and memory grow with the area. Larger images are of the
    /// material that the request makes at the model's own size, unless they begin with an image (docs/editing.md).
    pub width: u32,
    /// Rows, likewise.
    pub height: u32,
    /// With `init`: how much of the way from noise to image is done anew, above 0 and at most 1, which is the
    /// default and leaves nothing of `init` where there is no mask.
    pub strength: f32,
    /// NULL, or the images to begin with, of `width` x `height`. Only read, during the call that takes the request,
    /// before anything is written: they may lie where the new ones go.
    pub init: *const ft_pixels,
    /// How many there are: one for each image, or 1 for all; 0 is 1.
    pub init_count: u32,
    /// How far the noise is turned towards that of `variation_seed`, from 0, the default, to 1.
    pub variation: f32,
    /// The seed of another noise.
    pub variation_seed: u64,
    /// NULL, or what of `init` is to be made anew: a byte for each pixel, `[image_count, height, width]` or
    /// `[height, width]` for all. Where it is 0, 8-bit colours stay to the bit; 255 is new; between they are mixed.
    pub mask: *const u8,
    /// Bytes of it.
    pub mask_size: usize,
    /// NULL, or a second class for each image: its velocity is mixed into the first one's.
    pub morph_classes: *const i64,
    /// How much of it, from 0 to 1, for each image; needed with `morph_classes`.
    pub morph_amounts: *const f32,
    /// NULL, or a seed for each image instead of `seed`: each image is the one that a request for it alone makes
    /// with its seed.
    pub seeds: *const u64,
    /// `image_count`.
    pub seed_count: usize,
    /// NULL, or the stream of its seed that each image's noise is taken from. Otherwise image i takes stream i of
    /// `seed`, or with `seeds` stream 0 of its own: the third of four images alone is one image with stream 2.
    pub streams: *const u64,
    /// `image_count`.
    pub stream_count: usize,
    /// NULL, or the contexts of the images, for models that take them (`ft_model_info.context_width`): finite floats
    /// `[context_rows, context_width]`, or `[context_rows, context_tokens, context_width]` where contexts are of
    /// tokens. NULL is the context of no prompt. With contexts `classes` may be NULL: no class. Looked at during the
    /// call that takes the request.
    pub context: *const f32,
    /// How many floats.
    pub context_count: usize,
    /// How many contexts: one for each image, or 1 for all; 0 is 1.
    pub context_rows: usize,
    /// NULL, or likewise what guidance goes away from, instead of the context of no prompt.
    pub negative_context: *const f32,
    /// How many floats.
    pub negative_context_count: usize,
    /// How many contexts, as `context_rows`.
    pub negative_context_rows: usize,
    /// NULL, or what the images show, in words, for models with a text encoder (`FT_NETWORK_TEXT`): `prompt_count`
    /// texts of UTF-8, instead of contexts. With them `classes` may be NULL: no class. Looked at during the call that
    /// takes the request. The model keeps what it makes of the last few hundred; what is beyond the encoder's most
    /// tokens is left out, with a warning in the log.
    pub prompts: *const *const c_char,
    /// How many: one for each image, or 1 for all.
    pub prompt_count: usize,
    /// NULL, or what the images do not show: guidance goes away from it, instead of no prompt.
    pub negative_prompt: *const c_char,
    /// 0.
    pub reserved_end: usize,
}

// SAFETY: `repr(C)`, begins with its size, integers, floats and pointers.
unsafe impl Versioned for ft_request {
    const NAME: &'static str = "ft_request";
    const FIRST: usize = versioned::first(88, 60);

    fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            image_count: 1,
            classes: std::ptr::null(),
            seed: 0,
            schedule: std::ptr::null(),
            guidance: FT_GUIDANCE_DEFAULT,
            output: FT_OUTPUT_IMAGES,
            noise: std::ptr::null(),
            noise_count: 0,
            cancel: std::ptr::null(),
            progress: None,
            progress_data: std::ptr::null_mut(),
            preview: FT_PREVIEW_NONE,
            reserved: 0,
            preset: std::ptr::null(),
            tile: FT_TILE_NONE,
            width: 0,
            height: 0,
            strength: 1.0,
            init: std::ptr::null(),
            init_count: 0,
            variation: 0.0,
            variation_seed: 0,
            mask: std::ptr::null(),
            mask_size: 0,
            morph_classes: std::ptr::null(),
            morph_amounts: std::ptr::null(),
            seeds: std::ptr::null(),
            seed_count: 0,
            streams: std::ptr::null(),
            stream_count: 0,
            context: std::ptr::null(),
            context_count: 0,
            context_rows: 0,
            negative_context: std::ptr::null(),
            negative_context_count: 0,
            negative_context_rows: 0,
            prompts: std::ptr::null(),
            prompt_count: 0,
            negative_prompt: std::ptr::null(),
            reserved_end: 0,
        }
    }
}

/// As the library of the tests knows a request: one field longer, as a later release's would be.
#[cfg(feature = "testing")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Known {
    request: ft_request,
    /// The step after which to panic; 0 for none.
    pub(super) panic_after: u64,
}

// SAFETY: `repr(C)`, begins with a request, and an integer.
#[cfg(feature = "testing")]
unsafe impl Versioned for Known {
    const NAME: &'static str = ft_request::NAME;
    const FIRST: usize = ft_request::FIRST;

    fn new() -> Self {
        Self { request: ft_request::new(), panic_after: 0 }
    }
}

#[cfg(feature = "testing")]
impl std::ops::Deref for Known {
    type Target = ft_request;

    fn deref(&self) -> &ft_request {
        &self.request
    }
}

#[cfg(not(feature = "testing"))]
pub(super) type Known = ft_request;

/// Reads a struct of the caller's.
///
/// # Safety
/// `request` is NULL or an `ft_request`.
pub(super) unsafe fn read(request: *const ft_request) -> Result<Known, Failure> {
    // SAFETY: the caller's promise; a size beyond what the program has is not read.
    let request = unsafe { versioned::read(request.cast::<Known>(), "request")? };
    if request.reserved != 0 || request.reserved_end != 0 {
        return Err(Failure::argument("request.reserved is not 0; call ft_request_init first"));
    }
    Ok(request)
}

impl ft_request {
    pub(super) fn output(&self) -> Result<Output, Failure> {
        match self.output {
            FT_OUTPUT_IMAGES => Ok(Output::Images),
            FT_OUTPUT_LATENTS => Ok(Output::Latents),
            other => Err(Failure::argument(format!("request.output: {other} is none of FT_OUTPUT_..."))),
        }
    }

    /// Whether the callback is shown previews.
    pub(super) fn preview(&self) -> Result<bool, Failure> {
        match self.preview {
            FT_PREVIEW_NONE => Ok(false),
            FT_PREVIEW_LINEAR => Ok(true),
            other => Err(Failure::argument(format!(
                "request.preview: {other} is neither FT_PREVIEW_NONE nor FT_PREVIEW_LINEAR"
            ))),
        }
    }

    /// What the library calls a request. Its memory, and the parsed schedule of the same text, are used again.
    ///
    /// # Safety
    /// What the fields point at is there.
    pub(super) unsafe fn fill(
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

/// Sets every field to its default: one image, seed 0, the bundle's own schedule and guidance. `classes` is left
/// to be set.
///
/// `struct_size` is sizeof(ft_request). Errors: as `ft_model_options_init`. Threads: any, one at a time per struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_request_init(request: *mut ft_request, struct_size: usize) -> ft_status {
    // SAFETY: the header asks the caller for that many bytes.
    guard(|| unsafe { versioned::init(request.cast::<Known>(), struct_size, "request") })
}
