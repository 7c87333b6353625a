//! What stands at both ends of the sampler: noise, and pixels.

#![forbid(unsafe_code)]

mod noise;
mod pixels;

pub(crate) use noise::fill_noise;
pub use noise::noise;
pub(crate) use pixels::fill_rgb;
pub use pixels::{Image, to_pixels};
