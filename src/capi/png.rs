//! A picture as a PNG file, to be looked at.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use png::{BitDepth, ColorType, Encoder};

use super::boundary::Failure;
use super::status::FT_ERROR_IO;
use crate::Pixels;

/// Writes the first picture of `pixels`.
pub(super) fn save(pixels: &mut Pixels, width: usize, height: usize, path: &Path) -> Result<(), Failure> {
    if width == 0 || height == 0 {
        return Err(Failure::argument(format!("a picture of {width} x {height} pixels is none")));
    }
    let rgb = pixels.hold([1, height, width])?.rgb8(0);
    let rgb = rgb.ok_or_else(|| Failure::argument("pixels.format: PNG files take formats of 8 bits"))?;
    let write = || -> Result<(), png::EncodingError> {
        let edge = |pixels: usize| u32::try_from(pixels).map_err(std::io::Error::other);
        let mut encoder = Encoder::new(BufWriter::new(File::create(path)?), edge(width)?, edge(height)?);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&rgb)?;
        writer.finish()
    };
    write().map_err(|error| Failure::new(FT_ERROR_IO, format!("{}: {error}", path.display())))
}
