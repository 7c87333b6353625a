//! How a model is opened.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{Failure, guard};
use super::cancel_token::{self, ft_cancel_token};
use super::device::{self, FT_DEVICE_CPU, ft_device};
use super::limits::{self, ft_limits};
use super::pointers::{array, text};
use super::precision::{self, FT_PRECISION_F32, ft_precision};
use super::status::ft_status;
use super::threads::{Lent, ft_parallel_for};
use super::versioned::{self, Versioned};
use super::{BackendKind, Limits, ModelOptions, Parallel};

/// An option by its name, for experiments: names and values may change with any release.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_option {
    /// "backend": "fused" (the library's kernels) or "reference" (plain tract, slow, the oracle).
    pub key: *const c_char,
    /// A text, or a number as text.
    pub value: *const c_char,
}

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

/// What a model is opened with.
///
/// # Safety
/// `options` is NULL or an `ft_model_options`.
pub(super) unsafe fn read(options: *const ft_model_options) -> Result<(ModelOptions, Limits), Failure> {
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
    settings.precision = precision::of(options.precision)?;
    settings.device = device::of(options.device)?;
    settings.cancel = cancel_token::token(options.cancel)?;
    settings.threads = options.threads as usize;
    settings.batch = options.batch as usize;
    settings.parallel = options.parallel_for.map(|run| {
        let (lanes, user_data) = (options.lanes, options.parallel_data);
        Arc::new(Lent { lanes, run, user_data }) as Arc<dyn Parallel>
    });
    Ok((settings, limits))
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
