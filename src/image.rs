//! What stands at both ends of the sampler: noise, and pixels.

#![forbid(unsafe_code)]

mod noise;
mod pixels;

pub use noise::noise;
pub use pixels::{Image, to_pixels};
