//! On-device image generation with FlowTurbo (NeurIPS 2024, arXiv 2409.18128).

mod backend;
mod bundle;
mod cancel;
mod error;
mod graph;
mod image;
mod limits;
mod model;
mod request;
mod sampler;
mod session;

pub use bundle::{Bundle, Manifest, Role, Source, manifest};
pub use cancel::CancelToken;
pub use error::{Error, ErrorKind, Result};
pub use graph::Cost;
pub use image::{Image, noise, to_pixels};
pub use limits::Limits;
pub use model::{Model, ModelOptions};
pub use request::{Progress, Request};
pub use sampler::{Schedule, StepKind};
pub use session::{Generation, Observer, Session};
