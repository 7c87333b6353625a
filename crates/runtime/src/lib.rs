//! What runs: bundles, plans of networks and their executor, the sampler, noise and pixels. It knows plans, and not
//! what they are made of.

#![allow(clippy::len_without_is_empty, reason = "only the crates beside it see these types")]
#![allow(rustdoc::private_intra_doc_links, reason = "for who works on it")]

pub mod allowance;
pub mod backend;
pub mod bundle;
pub mod cancel;
pub mod contract;
pub mod cost;
pub mod device;
pub mod engine;
pub mod executor;
pub mod ftplan;
pub mod image;
pub mod limits;
pub mod panics;
pub mod plan;
pub mod precision;
pub mod sampler;
pub mod weights;

pub use flowturbo_kernels::{self as kernels, error, lock, memory};

pub use backend::Fallback;
pub use bundle::{Bundle, Manifest, Map, Preset, Role, Source, manifest};
pub use cancel::CancelToken;
pub use contract::{Contract, ElementType, Port, PortRole};
pub use cost::Cost;
pub use device::{Device, DeviceInfo};
pub use error::{Error, ErrorKind, Result};
pub use image::{Image, NormalY, PixelFormat, Pixels, PixelsRef, draw_map, noise, to_pixels};
pub use kernels::{Parallel, Peaks};
pub use limits::Limits;
pub use plan::Target;
pub use precision::Precision;
pub use sampler::{Schedule, StepKind};
