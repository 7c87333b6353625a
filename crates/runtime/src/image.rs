//! What stands at both ends of the sampler: noise, and pixels.

#![forbid(unsafe_code)]

mod maps;
mod noise;
mod pixels;

pub use maps::{NormalY, draw_map};
pub use noise::fill_noise;
pub use noise::noise;
pub use pixels::rgb8;
pub use pixels::{Image, PixelFormat, Pixels, PixelsRef, to_pixels};
