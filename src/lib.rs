//! On-device image generation with FlowTurbo (NeurIPS 2024, [arXiv 2409.18128]).
//!
//! A flow-matching model carries noise at `t = 0` to an image at `t = 1` along a velocity field. A heavy
//! network, the *velocity predictor*, knows that field; FlowTurbo asks it only in the first steps, and
//! lets a light *velocity refiner* estimate the velocity's small change in the last ones. This crate
//! loads both from a [`Bundle`], plans them for fixed shapes and runs the schedule on the CPU.
//!
//! # An image in four lines
//!
//! ```no_run
//! # fn main() -> flowturbo::Result<()> {
//! use flowturbo::{Model, Request};
//!
//! let model = Model::open("models/textures")?;
//! let request = Request::new(vec![model.class("brick")?]).with_seed(7);
//! let generation = model.session().generate(&request)?;
//! let image = &generation.images[0];
//! println!("{} x {} pixels, {} bytes of RGB", image.width, image.height, image.rgb.len());
//! # Ok(())
//! # }
//! ```
//!
//! # The nouns
//!
//! | type | what it is | threads |
//! |---|---|---|
//! | [`Bundle`] | a model package: a folder, a zip file, a plan, bytes, a reader or a [`Source`] | `Send + Sync` |
//! | [`Model`] | a bundle planned for this machine | clones share everything |
//! | [`Session`] | scratch memory for one generation at a time | one thread at a time |
//! | [`Request`] | classes, seed or noise, preset, schedule, guidance, edits, cancel token | by value |
//! | [`Schedule`] | the steps, written `H1P5R3` | by value |
//! | [`CancelToken`] | stops a generation from any thread | clones share the flag |
//!
//! # Schedules
//!
//! `E` is an Euler step, `H` a Heun step (two predictor calls), `P` a pseudo-corrector step (Heun with
//! the cached velocity first: one call), `R` a refiner step (two calls of the light network). The more
//! predictor calls, the closer to the exact flow; the bundle's own schedule is a good start. Schedules that
//! `flowturbo tune` found for a device are in the bundle's [presets](Bundle::presets), asked for by
//! [`Request::with_preset`].
//!
//! # Tiles, edits, larger images
//!
//! A request may ask for an image that [is seamless](Request::with_seamless) or is [larger](Request::with_size) than
//! trained, begin with [one that is there](Request::with_init), keep [a part](Request::with_mask) of it to the pixel,
//! be a [variation](Request::with_variation) of another seed, or [blend](Request::with_morph) two classes.
//!
//! # Maps
//!
//! A model of materials makes normals, heights, roughness and more beside the colour ([`Manifest::maps`]), all in one
//! call of its decoder. [`Session::map_into`] draws any of them when the images are done.
//!
//! # Threads and repeatability
//!
//! A model has its own pool ([`ModelOptions::threads`]), or computes on threads that the application lends
//! it ([`ModelOptions::parallel`]), a rayon pool among them (`RayonPool`). The starting noise is the same
//! bits on every machine ([`noise`]); what the networks make of it differs between processors and thread counts by
//! rounding only, below 1e-5 in a latent on the networks that the tests run.
//!
//! # Devices
//!
//! With the feature `cuda` networks may be computed on a GPU of NVIDIA's ([`ModelOptions::device`]): the noise, the
//! sampler and the conditions stay the processor's. Nothing of CUDA is linked; docs/cuda.md says what it takes.
//!
//! # Memory
//!
//! A model holds its large weights once, packed for this processor, whatever the batch sizes; a [`Session`]
//! holds what one generation needs. After a first request of a kind nothing is allocated while sampling, and
//! [`Session::generate_into`] and [`Session::latents_into`] allocate nothing at all.
//! [`Model::release_conditioning`] gives up the third of a SiT's weights that only times and classes need.
//!
//! # Bad input
//!
//! Bundles may come from anywhere: sizes are held to [`Limits`] before memory is allocated, files to their SHA-256,
//! graphs to the manifest, weights to being numbers. Every failure is an [`Error`] whose one line names the file and
//! the field, and whose [`ErrorKind`] says whose fault it was. Refused memory is [`ErrorKind::OutOfMemory`], but for
//! small pieces; docs/security.md says which. A bundle chooses its networks: how many nodes, weights and scratch
//! memory they have, and how long planning them takes, is held to [`Limits`] too. What is *not* promised: that its
//! images are any good, and that one which keeps to the limits is quick.
//!
//! [arXiv 2409.18128]: https://arxiv.org/abs/2409.18128

#![warn(missing_docs)]

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "compile")]
mod compile;
#[cfg(feature = "files")]
#[doc(hidden)]
pub mod file;
mod model;
#[cfg(feature = "files")]
#[doc(hidden)]
pub mod png_file;
mod preview;
#[cfg(feature = "compile")]
mod quantize;
#[cfg(feature = "rayon")]
mod rayon_pool;
mod recent;
mod request;
mod session;
mod text;

#[cfg(feature = "compile")]
use flowturbo_runtime::executor;
use flowturbo_runtime::{
    allowance, backend, bundle, contract, engine, error, ftplan, image, kernels, lock, memory, plan,
    precision, sampler,
};

#[cfg(feature = "compile")]
pub use compile::{PlanOptions, compile};
#[doc(inline)]
pub use flowturbo_runtime::{
    Bundle, CancelToken, Contract, Cost, Device, DeviceInfo, ElementType, Error, ErrorKind, Fallback, Image,
    Limits, Manifest, Map, NormalY, Parallel, Peaks, PixelFormat, Pixels, PixelsRef, Port, PortRole,
    Precision, Preset, Result, Role, Schedule, Source, StepKind, Target, draw_map, manifest, noise,
    to_pixels,
};
pub use model::{BackendKind, Memory, Model, ModelOptions, devices};
/// The arrays of this crate's interface; its version is part of it.
pub use ndarray;
pub use preview::PreviewKind;
#[cfg(feature = "compile")]
pub use quantize::quantize;
#[cfg(feature = "rayon")]
pub use rayon_pool::RayonPool;
pub use request::{Morph, Progress, Request, Seamless, Variation};
pub use session::{Generation, Observer, Output, Session};

/// The Rust program of that page compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/bindings.md")]
struct Bindings;
