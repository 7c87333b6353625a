//! Upper bounds on everything whose size comes from input.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::Result;
use crate::error::limit_exceeded;

/// Sizes above which loading or generating is refused before anything is allocated.
///
/// The defaults admit SiT-XL/2 at 512x512 pixels with room to spare.
///
/// ```
/// # use flowturbo_runtime as flowturbo;
/// let limits = flowturbo::Limits::default().with_max_batch(4);
/// assert_eq!(limits.max_batch, 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `bundle.json`, in bytes.
    pub max_manifest_bytes: u64,
    /// One ONNX graph or external data file, in bytes.
    pub max_file_bytes: u64,
    /// Edge of the image, in pixels; the latent's edge is held to the same number.
    pub max_edge: u32,
    /// Channels of the latent.
    pub max_channels: u32,
    /// Entries of the class table.
    pub max_classes: u32,
    /// Images made in one request.
    pub max_batch: u32,
    /// Steps of one schedule.
    pub max_steps: u32,
    /// One latent or image tensor of a whole batch, in bytes.
    pub max_tensor_bytes: u64,
    /// Nodes of one ONNX graph, those of its subgraphs and functions among them.
    pub max_nodes: u32,
    /// All weights of one network as they are stored, in bytes. What is computed of constants while loading, and what
    /// functions of the file are written out to, is held to the same number.
    pub max_weight_bytes: u64,
    /// The scratch memory that one network computes in, in bytes.
    pub max_arena_bytes: u64,
    /// The time that planning one network may take, from reading its file to its packed weights.
    pub max_planning: Duration,
    /// One prompt, in bytes of UTF-8.
    pub max_prompt_bytes: u32,
    /// A bundle's tokenizer, in bytes.
    pub max_tokenizer_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_manifest_bytes: 1 << 20,
            max_file_bytes: 16 << 30,
            max_edge: 8192,
            max_channels: 256,
            max_classes: 1 << 20,
            max_batch: 256,
            max_steps: 1000,
            max_tensor_bytes: 1 << 30,
            max_nodes: 1 << 16,
            max_weight_bytes: 16 << 30,
            max_arena_bytes: 64 << 30,
            max_planning: Duration::from_secs(600),
            max_prompt_bytes: 64 << 10,
            max_tokenizer_bytes: 64 << 20,
        }
    }
}

macro_rules! with {
    ($($name:ident => $field:ident: $type:ty;)*) => {
        impl Limits {
            $(
                #[doc = concat!(
                    "These limits with another [`", stringify!($field), "`](Self::", stringify!($field), ").",
                )]
                #[must_use]
                pub fn $name(mut self, value: $type) -> Self {
                    self.$field = value;
                    self
                }
            )*
        }
    };
}

with! {
    with_max_manifest_bytes => max_manifest_bytes: u64;
    with_max_file_bytes => max_file_bytes: u64;
    with_max_edge => max_edge: u32;
    with_max_channels => max_channels: u32;
    with_max_classes => max_classes: u32;
    with_max_batch => max_batch: u32;
    with_max_steps => max_steps: u32;
    with_max_tensor_bytes => max_tensor_bytes: u64;
    with_max_nodes => max_nodes: u32;
    with_max_weight_bytes => max_weight_bytes: u64;
    with_max_arena_bytes => max_arena_bytes: u64;
    with_max_planning => max_planning: Duration;
    with_max_prompt_bytes => max_prompt_bytes: u32;
    with_max_tokenizer_bytes => max_tokenizer_bytes: u32;
}

impl Limits {
    /// Refuses a float32 tensor of `shape` that is larger than `max_tensor_bytes`, or empty.
    #[doc(hidden)]
    pub fn check_tensor(&self, shape: [usize; 4]) -> Result<()> {
        let bytes = shape.iter().try_fold(4u64, |product, &n| product.checked_mul(n as u64));
        match bytes {
            Some(bytes) if (1..=self.max_tensor_bytes).contains(&bytes) && usize::try_from(bytes).is_ok() => {
                Ok(())
            }
            _ => Err(limit_exceeded(format!(
                "a tensor of shape {shape:?} is empty or above the limit of {} bytes (max_tensor_bytes)",
                self.max_tensor_bytes
            ))),
        }
    }
}
