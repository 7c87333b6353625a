//! What is refused before memory is taken for it.

use std::time::Duration;

use super::Limits;
use super::boundary::guard;
use super::status::ft_status;
use super::versioned::{self, Versioned};

/// Upper bounds on what comes from outside; filled by `ft_limits_init`, then by hand. The defaults admit SiT-XL/2 at
/// 512 x 512 pixels.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_limits {
    /// sizeof(ft_limits).
    pub struct_size: u32,
    /// Edge of an image or a latent, in pixels.
    pub max_edge: u32,
    /// Channels of a latent.
    pub max_channels: u32,
    /// Classes of a bundle.
    pub max_classes: u32,
    /// Images of a request.
    pub max_batch: u32,
    /// Steps of a schedule.
    pub max_steps: u32,
    /// The bundle's manifest, in bytes.
    pub max_manifest_bytes: u64,
    /// Another file of the bundle, in bytes.
    pub max_file_bytes: u64,
    /// The latents or images of a request as floats, in bytes.
    pub max_tensor_bytes: u64,
    /// Nodes of one ONNX graph, those of its subgraphs and functions among them.
    pub max_nodes: u32,
    /// The time that planning one network may take, in milliseconds, from reading its file to its packed weights.
    pub max_planning_ms: u32,
    /// All weights of one network as they are stored, in bytes.
    pub max_weight_bytes: u64,
    /// The scratch memory that one network computes in, in bytes.
    pub max_arena_bytes: u64,
    /// One prompt, in bytes of UTF-8.
    pub max_prompt_bytes: u32,
    /// A bundle's tokenizer, in bytes.
    pub max_tokenizer_bytes: u32,
}

// SAFETY: `repr(C)`, begins with its size, integers.
unsafe impl Versioned for ft_limits {
    const NAME: &'static str = "ft_limits";
    const FIRST: usize = versioned::first(48, 48);

    fn new() -> Self {
        let limits = Limits::default();
        Self {
            struct_size: size_of::<Self>() as u32,
            max_edge: limits.max_edge,
            max_channels: limits.max_channels,
            max_classes: limits.max_classes,
            max_batch: limits.max_batch,
            max_steps: limits.max_steps,
            max_manifest_bytes: limits.max_manifest_bytes,
            max_file_bytes: limits.max_file_bytes,
            max_tensor_bytes: limits.max_tensor_bytes,
            max_nodes: limits.max_nodes,
            max_planning_ms: u32::try_from(limits.max_planning.as_millis()).unwrap_or(u32::MAX),
            max_weight_bytes: limits.max_weight_bytes,
            max_arena_bytes: limits.max_arena_bytes,
            max_prompt_bytes: limits.max_prompt_bytes,
            max_tokenizer_bytes: limits.max_tokenizer_bytes,
        }
    }
}

/// What the library calls limits; NULL for the defaults.
///
/// # Safety
/// `limits` is NULL or an `ft_limits`.
pub(super) unsafe fn read(limits: *const ft_limits) -> Result<Limits, super::boundary::Failure> {
    if limits.is_null() {
        return Ok(Limits::default());
    }
    // SAFETY: the caller's promise.
    let raw = unsafe { versioned::read(limits, "options.limits")? };
    let mut limits = Limits::default();
    limits.max_edge = raw.max_edge;
    limits.max_channels = raw.max_channels;
    limits.max_classes = raw.max_classes;
    limits.max_batch = raw.max_batch;
    limits.max_steps = raw.max_steps;
    limits.max_manifest_bytes = raw.max_manifest_bytes;
    limits.max_file_bytes = raw.max_file_bytes;
    limits.max_tensor_bytes = raw.max_tensor_bytes;
    limits.max_nodes = raw.max_nodes;
    limits.max_weight_bytes = raw.max_weight_bytes;
    limits.max_arena_bytes = raw.max_arena_bytes;
    limits.max_prompt_bytes = raw.max_prompt_bytes;
    limits.max_tokenizer_bytes = raw.max_tokenizer_bytes;
    limits.max_planning = Duration::from_millis(raw.max_planning_ms.into());
    Ok(limits)
}

/// Sets every field to its default.
///
/// `struct_size` is sizeof(ft_limits). Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, a size too small),
/// `FT_ERROR_UNSUPPORTED` (this library is older than the header). Threads: any, one at a time per struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_limits_init(limits: *mut ft_limits, struct_size: usize) -> ft_status {
    // SAFETY: the header asks the caller for that many bytes.
    guard(|| unsafe { versioned::init(limits, struct_size, "limits") })
}
