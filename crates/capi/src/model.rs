//! A bundle planned for this machine.

use std::ffi::{CString, c_char, c_void};

use super::boundary::{Failure, guard, guard_silently, without_nul};
use super::device::{self, FT_DEVICE_CPU, ft_device};
use super::model_options::{self, ft_model_options};
use super::pointers::{array, place, text};
use super::reader::{Bytes, Callbacks, Release, ft_reader, ft_release_callback};
use super::registry::{Kind, Registry};
use super::status::ft_status;
use super::versioned::{self, Versioned};
use super::{Bundle, Limits, Model, Role};

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
    // SAFETY: the caller's promise.
    let (settings, limits) = unsafe { model_options::read(options)? };
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
