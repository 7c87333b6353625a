//! One generation, by value.

use std::ffi::{c_char, c_void};

use super::Output;
use super::boundary::{Failure, guard};
use super::cancel_token::ft_cancel_token;
use super::pixels::ft_pixels;
use super::status::ft_status;
use super::versioned::{self, Versioned};

mod fill;

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
