//! A bundle planned for this machine.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use super::boundary::{Failure, guard, guard_silently, without_nul};
use super::cancel_token::{self, ft_cancel_token};
use super::device::{self, FT_DEVICE_CPU, ft_device};
use super::limits::{self, ft_limits};
use super::pointers::{array, place, text};
use super::reader::{Bytes, Callbacks, Release, ft_reader, ft_release_callback};
use super::registry::{Kind, Registry};
use super::status::ft_status;
use super::threads::{Lent, ft_parallel_for};
use super::versioned::{self, Versioned};
use super::{BackendKind, Bundle, Limits, Model, ModelOptions, Precision, Role};

/// A bundle planned for this machine: networks, packed weights. Shared by any number of sessions and threads.
pub struct ft_model {
    _private: [u8; 0],
}

pub(super) struct Opened {
    pub(super) model: Model,
    name: CString,
    description: Option<CString>,
    license: Option<CString>,
    schedule: CString,
    hash: CString,
    labels: Vec<CString>,
    presets: Vec<CString>,
}

pub(super) static MODELS: Registry<Opened> = Registry::new(Kind::Model);

/// An option by its name, for experiments: names and values may change with any release.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_option {
    /// "backend": "fused" (the library's kernels) or "reference" (plain tract, slow, the oracle).
    pub key: *const c_char,
    /// A text, or a number as text.
    pub value: *const c_char,
}

/// In what numbers networks multiply: linear layers, convolutions, attention. All else is float32.
pub type ft_precision = u32;

/// float32, exact up to rounding.
pub const FT_PRECISION_F32: ft_precision = 0;
/// The same bits, by weights that stay float16 in memory where the files have them so.
pub const FT_PRECISION_F16_WEIGHTS: ft_precision = 1;
/// bfloat16, approximate; for processors with AVX512-BF16 or Arm's BF16 and GPUs of compute capability 8.0 and newer,
/// else `FT_ERROR_UNSUPPORTED`.
pub const FT_PRECISION_BF16: ft_precision = 2;
/// Linear layers of bytes, the others as FT_PRECISION_BF16 where the processor has it; approximate. Not for GPUs.
pub const FT_PRECISION_INT8: ft_precision = 3;
/// float16, approximate; for GPUs (`FT_DEVICE_CUDA`), else `FT_ERROR_UNSUPPORTED`.
pub const FT_PRECISION_F16: ft_precision = 4;
/// float32 rounded to 10 bits of mantissa where it is multiplied, but for attention; for GPUs of compute capability 8.0
/// and newer, else `FT_ERROR_UNSUPPORTED`.
pub const FT_PRECISION_TF32: ft_precision = 5;
/// What `flowturbo tune` stored in the bundle, as far as this processor has it, else float32; a packed plan's own.
pub const FT_PRECISION_AUTO: ft_precision = 6;

/// How a model is opened; filled by `ft_model_options_init`, then by hand.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_model_options {
    /// sizeof(ft_model_options).
    pub struct_size: u32,
    /// Threads of the model's own, the calling one among them; 0 for one per processor, or as many as the system gives.
    /// At most 1024; so many or `FT_ERROR_RUNTIME`.
    pub threads: u32,
    /// Images in a request that opening plans for; 0 is 1. Other numbers are planned when they are first wanted.
    pub batch: u32,
    /// With `parallel_for`: how many bodies may usefully run at the same time, at least 1. `threads` is not
    /// looked at then.
    pub lanes: u32,
    /// NULL, or the program's job system, used instead of threads of the model's own.
    pub parallel_for: ft_parallel_for,
    /// For `parallel_for`; both are needed as long as the model or a session of it lives.
    pub parallel_data: *mut c_void,
    /// `option_count` options, or NULL.
    pub options: *const ft_option,
    /// How many.
    pub option_count: usize,
    /// NULL, or other limits than the defaults.
    pub limits: *const ft_limits,
    /// Gives up the weights that only times and classes need, a third of a SiT; new ones read them again.
    /// 0 or 1.
    pub release_conditioning: u32,
    /// The same request gives the same bits on every processor and with any number of threads; a bundle that tract
    /// would have to compute in part is refused (`FT_ERROR_UNSUPPORTED`). Takes longer where vectors are wider than
    /// 8 floats (AVX-512). 0 or 1.
    pub deterministic: u32,
    /// NULL, or a token that stops the opening, which then ends with `FT_ERROR_CANCELLED`; it may be freed at any time.
    pub cancel: *const ft_cancel_token,
    /// In what numbers predictor, refiner and decoder multiply; others than `FT_PRECISION_F32` are for the library's
    /// own kernels. A plan whose weights are packed keeps its own when this is `FT_PRECISION_F32`, and refuses another
    /// one.
    pub precision: ft_precision,
    /// Where networks are computed. On another than `FT_DEVICE_CPU` nothing is left to tract: a node without a kernel
    /// is refused by its name.
    pub device: ft_device,
}

// SAFETY: `repr(C)`, begins with its size, integers and pointers.
unsafe impl Versioned for ft_model_options {
    const NAME: &'static str = "ft_model_options";
    const FIRST: usize = versioned::first(64, 44);

    fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            threads: 0,
            batch: 0,
            lanes: 0,
            parallel_for: None,
            parallel_data: std::ptr::null_mut(),
            options: std::ptr::null(),
            option_count: 0,
            limits: std::ptr::null(),
            release_conditioning: 0,
            deterministic: 0,
            cancel: std::ptr::null(),
            precision: FT_PRECISION_F32,
            device: FT_DEVICE_CPU,
        }
    }
}

/// The bundle has a refiner.
pub const FT_NETWORK_REFINER: u32 = 1;
/// The bundle has a decoder: it makes images.
pub const FT_NETWORK_DECODER: u32 = 2;
/// The bundle has an encoder.
pub const FT_NETWORK_ENCODER: u32 = 4;
/// From prompts to contexts: a request may have them.
pub const FT_NETWORK_TEXT: u32 = 8;

/// What a model says of itself. The texts are the model's, and go with it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_model_info {
    /// sizeof(ft_model_info), set by the caller.
    pub struct_size: u32,
    /// Columns of an image; 0 without a decoder.
    pub width: u32,
    /// Rows of an image; 0 without a decoder.
    pub height: u32,
    /// Channels of a latent.
    pub latent_channels: u32,
    /// Rows of a latent.
    pub latent_height: u32,
    /// Columns of a latent.
    pub latent_width: u32,
    /// Classes are 0 to `class_count` - 1.
    pub class_count: u32,
    /// Any of `FT_NETWORK_...`, besides the predictor, which is always there.
    pub networks: u32,
    /// The class that stands for none: an unconditional image. -1 if the model knows none: then its guidance is 1,
    /// unless it takes contexts and no class.
    pub null_class: i64,
    /// The bundle's own scale of guidance.
    pub guidance: f32,
    /// Threads that work on a request.
    pub threads: u32,
    /// Short name.
    pub name: *const c_char,
    /// One line for people, or NULL.
    pub description: *const c_char,
    /// SPDX expression for the weights, or NULL.
    pub license: *const c_char,
    /// The bundle's own schedule, such as "H1P5R3".
    pub schedule: *const c_char,
    /// SHA-256 of the bundle's manifest, which holds those of all its files: 64 hex digits.
    pub hash: *const c_char,
    /// Pixels that one cell of the latent stands for, across; 0 without images.
    pub cell_width: u32,
    /// And down.
    pub cell_height: u32,
    /// Presets, see `ft_model_preset_name`.
    pub preset_count: u32,
    /// 1 if images can be asked to tile, else 0.
    pub tiles: u32,
    /// 0. Fills the struct up on 32-bit machines.
    pub reserved_end: usize,
    /// Floats of a context, or of each of its tokens; 0 if the model takes none. See `ft_request.context`.
    pub context_width: u32,
    /// Tokens of a context; 0 if contexts are one row of `context_width` floats, or there are none.
    pub context_tokens: u32,
    /// Where networks are computed: what was asked for, or what `FT_DEVICE_AUTO` took.
    pub device: ft_device,
    /// 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, begins with its size, integers, a float and pointers.
unsafe impl Versioned for ft_model_info {
    const NAME: &'static str = "ft_model_info";
    const FIRST: usize = versioned::first(88, 68);

    fn new() -> Self {
        let none = std::ptr::null();
        Self {
            struct_size: size_of::<Self>() as u32,
            width: 0,
            height: 0,
            latent_channels: 0,
            latent_height: 0,
            latent_width: 0,
            class_count: 0,
            networks: 0,
            null_class: 0,
            guidance: 0.0,
            threads: 0,
            name: none,
            description: none,
            license: none,
            schedule: none,
            hash: none,
            cell_width: 0,
            cell_height: 0,
            preset_count: 0,
            tiles: 0,
            reserved_end: 0,
            context_width: 0,
            context_tokens: 0,
            device: FT_DEVICE_CPU,
            reserved: 0,
        }
    }
}

/// Sets every field to its default.
///
/// `struct_size` is sizeof(ft_model_options). Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, a size too small),
/// `FT_ERROR_UNSUPPORTED` (this library is older than the header). Threads: any, one at a time per struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_options_init(
    options: *mut ft_model_options,
    struct_size: usize,
) -> ft_status {
    // SAFETY: the header asks the caller for that many bytes.
    guard(|| unsafe { versioned::init(options, struct_size, "options") })
}

/// Opens the bundle at `path`, a folder or an uncompressed zip file, checks it and plans its networks; or a plan of
/// one, which `flowturbo compile` made (docs/plan.md). libflowturbo_runtime opens plans alone.
///
/// `path` is UTF-8. `options` may be NULL. Ownership: `*out_model` is the caller's, to be freed by
/// `ft_model_free`. Errors: `FT_ERROR_IO` (nothing readable there), `FT_ERROR_INVALID_BUNDLE` (names file and
/// field), `FT_ERROR_UNSUPPORTED`, `FT_ERROR_LIMIT_EXCEEDED`, `FT_ERROR_NON_FINITE` (NaN among the weights),
/// `FT_ERROR_OUT_OF_MEMORY`, `FT_ERROR_CANCELLED` (by `options.cancel`), `FT_ERROR_RUNTIME`,
/// `FT_ERROR_INVALID_ARGUMENT`. Threads: any. Takes from milliseconds to seconds, and memory for all weights.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_open(
    path: *const c_char,
    options: *const ft_model_options,
    out_model: *mut *mut ft_model,
) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for a text, a struct and a place.
        unsafe {
            place(out_model, "out_model")?;
            let path = text(path, "path")?;
            open(options, out_model, |limits| Bundle::open_with(path, limits))
        }
    })
}

/// Opens a bundle whose zip file is in memory, or a plan.
///
/// Ownership: the `size` bytes at `data` are lent. They must stay as they are until `release`, if there is one, is
/// called with `user_data`: once, when model and sessions are freed, or before this call returns if it fails
/// (unless it fails for a NULL `data`). Without `release` they must outlive the model and its sessions. All else as
/// `ft_model_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_open_memory(
    data: *const c_void,
    size: usize,
    release: ft_release_callback,
    user_data: *mut c_void,
    options: *const ft_model_options,
    out_model: *mut *mut ft_model,
) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for bytes, a struct and a place.
        unsafe {
            if data.is_null() {
                return Err(Failure::argument("data is NULL"));
            }
            let release = Release { callback: release, user_data };
            let data = array(data.cast::<u8>(), size, "data")?.as_ptr();
            let bytes = Bytes { data, size, _release: release };
            place(out_model, "out_model")?;
            open(options, out_model, |limits| Bundle::from_bytes(bytes, limits))
        }
    })
}

/// Opens a bundle whose zip file is behind functions of the program's, or a plan.
///
/// Ownership: `reader` itself is only looked at during the call; what it names is lent until its `release` is
/// called, as for `ft_model_open_memory`; a struct that is refused itself (NULL, `struct_size`) is not looked into. All
/// else as `ft_model_open`; `FT_ERROR_IO` if `read` fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_open_reader(
    reader: *const ft_reader,
    options: *const ft_model_options,
    out_model: *mut *mut ft_model,
) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for structs and a place.
        unsafe {
            let reader = versioned::read(reader, "reader")?;
            let release = Release { callback: reader.release, user_data: reader.user_data };
            if reader.reserved != 0 || reader.reserved_end != 0 {
                return Err(Failure::argument("reader.reserved is not 0; call ft_reader_init first"));
            }
            let read = reader.read.ok_or_else(|| Failure::argument("reader.read is NULL"))?;
            let callbacks = Callbacks { read, size: reader.size, position: 0, release };
            place(out_model, "out_model")?;
            open(options, out_model, |limits| Bundle::from_reader(callbacks, limits))
        }
    })
}

/// # Safety
/// `options` is NULL or an `ft_model_options`; `out_model` may be written.
unsafe fn open(
    options: *const ft_model_options,
    out_model: *mut *mut ft_model,
    bundle: impl FnOnce(&Limits) -> super::Result<Bundle>,
) -> Result<(), Failure> {
    let options = match options.is_null() {
        true => ft_model_options::new(),
        // SAFETY: the caller's promise.
        false => unsafe { versioned::read(options, "options")? },
    };
    // SAFETY: as above.
    let named = unsafe { array(options.options, options.option_count, "options.options")? };
    let mut settings = ModelOptions::default();
    for option in named {
        // SAFETY: as above.
        let (key, value) = unsafe { (text(option.key, "option.key")?, text(option.value, "option.value")?) };
        set(&mut settings, key, value)?;
    }
    // SAFETY: as above.
    let limits = unsafe { limits::read(options.limits)? };
    let switch = |name, value| match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::argument(format!(
            "options.{name} is neither 0 nor 1; call ft_model_options_init first"
        ))),
    };
    settings.release_conditioning = switch("release_conditioning", options.release_conditioning)?;
    settings.deterministic = switch("deterministic", options.deterministic)?;
    settings.precision = match options.precision {
        FT_PRECISION_F32 => Precision::F32,
        FT_PRECISION_F16_WEIGHTS => Precision::F16Weights,
        FT_PRECISION_BF16 => Precision::Bf16,
        FT_PRECISION_INT8 => Precision::Int8,
        FT_PRECISION_F16 => Precision::F16,
        FT_PRECISION_TF32 => Precision::Tf32,
        FT_PRECISION_AUTO => Precision::Auto,
        other => {
            return Err(Failure::argument(format!(
                "options.precision is {other}, which is none of FT_PRECISION_...; call ft_model_options_init first"
            )));
        }
    };
    settings.device = device::of(options.device)?;
    settings.cancel = cancel_token::token(options.cancel)?;
    settings.threads = options.threads as usize;
    settings.batch = options.batch as usize;
    settings.parallel = options.parallel_for.map(|run| {
        let (lanes, user_data) = (options.lanes, options.parallel_data);
        Arc::new(Lent { lanes, run, user_data }) as Arc<dyn super::Parallel>
    });
    let model = Model::load(bundle(&limits)?, &settings)?;
    let manifest = model.manifest();
    let labels = manifest.classes.labels.as_deref().unwrap_or_default();
    let opened = Opened {
        name: without_nul(&manifest.name),
        description: manifest.description.as_deref().map(without_nul),
        license: manifest.license.as_deref().map(without_nul),
        schedule: without_nul(&manifest.sampling.schedule),
        hash: without_nul(model.bundle().hash()),
        labels: labels.iter().map(|label| without_nul(label)).collect(),
        presets: manifest.sampling.presets.keys().map(|name| without_nul(name)).collect(),
        model,
    };
    // SAFETY: the caller's promise.
    unsafe { out_model.write(MODELS.insert(opened)) };
    Ok(())
}

/// Sets an option by its name.
fn set(settings: &mut ModelOptions, key: &str, value: &str) -> Result<(), Failure> {
    settings.backend = match (key, value) {
        ("backend", "fused") => BackendKind::Fused,
        ("backend", "reference") => BackendKind::Reference,
        ("backend", other) => {
            let other = other.escape_debug();
            return Err(Failure::argument(format!(
                "option backend: '{other}' is neither fused nor reference"
            )));
        }
        (other, _) => {
            let other = other.escape_debug();
            return Err(Failure::argument(format!("option '{other}' is not known; there is backend")));
        }
    };
    Ok(())
}

/// Frees a model; NULL is fine. Sessions of it go on working: what they share is freed with the last of them.
///
/// Threads: any; not while another thread uses texts of its `ft_model_info`.
#[unsafe(no_mangle)]
pub extern "C" fn ft_model_free(model: *mut ft_model) {
    guard_silently(|| MODELS.remove(model));
}

/// Tells what the model is.
///
/// The caller sets `out_info->struct_size`. Ownership: texts are the model's until it is freed. Errors:
/// `FT_ERROR_INVALID_ARGUMENT`, `FT_ERROR_INVALID_HANDLE`, `FT_ERROR_UNSUPPORTED` (a struct of a newer header).
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_get_info(
    model: *const ft_model,
    out_info: *mut ft_model_info,
) -> ft_status {
    guard(|| {
        let opened = MODELS.get(model)?;
        let manifest = opened.model.manifest();
        let (width, height) = manifest.image.as_ref().map_or((0, 0), |image| (image.width, image.height));
        let network = |role: Role, bit: u32| if manifest.has(role) { bit } else { 0 };
        let or_null = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        let images = manifest.has(Role::Decoder);
        let cell = manifest.cell().unwrap_or([0, 0]);
        let info = ft_model_info {
            width: if images { width } else { 0 },
            height: if images { height } else { 0 },
            latent_channels: manifest.latent.channels,
            latent_height: manifest.latent.height,
            latent_width: manifest.latent.width,
            class_count: manifest.classes.count,
            networks: network(Role::Refiner, FT_NETWORK_REFINER)
                | network(Role::Decoder, FT_NETWORK_DECODER)
                | network(Role::Encoder, FT_NETWORK_ENCODER)
                | network(Role::Text, FT_NETWORK_TEXT),
            null_class: manifest.classes.null.unwrap_or(-1),
            guidance: manifest.sampling.guidance,
            threads: opened.model.threads() as u32,
            name: opened.name.as_ptr(),
            description: or_null(&opened.description),
            license: or_null(&opened.license),
            schedule: opened.schedule.as_ptr(),
            hash: opened.hash.as_ptr(),
            cell_width: cell[1] as u32,
            cell_height: cell[0] as u32,
            preset_count: opened.presets.len() as u32,
            tiles: u32::from(manifest.image.as_ref().is_some_and(|image| image.wraps)),
            context_width: manifest.text.as_ref().map_or(0, |text| text.width),
            context_tokens: manifest.text.as_ref().and_then(|text| text.tokens).unwrap_or(0),
            device: device::number(opened.model.device()),
            ..ft_model_info::new()
        };
        // SAFETY: the header asks the caller for a struct.
        unsafe { versioned::write(out_info, "out_info", &info) }
    })
}

/// The label of a class, 0 to `class_count` - 1.
///
/// Ownership: the model's until it is freed. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such class, a bundle
/// without labels), `FT_ERROR_INVALID_HANDLE`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_class_label(
    model: *const ft_model,
    class_number: i64,
    out_label: *mut *const c_char,
) -> ft_status {
    guard(|| {
        place(out_label, "out_label")?;
        let opened = MODELS.get(model)?;
        let label =
            usize::try_from(class_number).ok().and_then(|i| opened.labels.get(i)).ok_or_else(|| {
                Failure::argument(format!(
                    "class {class_number} has no label; the bundle has {}",
                    opened.labels.len()
                ))
            })?;
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_label.write(label.as_ptr()) };
        Ok(())
    })
}

/// The name of a preset, 0 to `preset_count` - 1: what `ft_request.preset` may be, in the order of the alphabet.
///
/// Ownership: the model's until it is freed. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such preset),
/// `FT_ERROR_INVALID_HANDLE`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_preset_name(
    model: *const ft_model,
    index: u32,
    out_name: *mut *const c_char,
) -> ft_status {
    guard(|| {
        place(out_name, "out_name")?;
        let opened = MODELS.get(model)?;
        let name = opened.presets.get(index as usize).ok_or_else(|| {
            Failure::argument(format!("preset {index}: the bundle has {} of them", opened.presets.len()))
        })?;
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_name.write(name.as_ptr()) };
        Ok(())
    })
}

/// The class called `name`: a label or one of the synonyms between its commas, in any case and with accents composed or
/// not, or a number as text. An exact spelling is meant before one that differs in case, a whole label before a
/// synonym.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such class: the message names the nearest; several: it lists their
/// numbers), `FT_ERROR_INVALID_HANDLE`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_model_find_class(
    model: *const ft_model,
    name: *const c_char,
    out_class: *mut i64,
) -> ft_status {
    guard(|| {
        place(out_class, "out_class")?;
        let opened = MODELS.get(model)?;
        // SAFETY: the header asks the caller for a text.
        let class = opened.model.class(unsafe { text(name, "name")? })?;
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_class.write(class) };
        Ok(())
    })
}
