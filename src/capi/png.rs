//! A picture as a PNG file, to be looked at.

use std::io;
use std::path::Path;

use png::{BitDepth, ColorType, Encoder};

use super::boundary::Failure;
use super::status::FT_ERROR_IO;
use crate::PixelFormat;
use crate::file::Destination;

/// A picture in the caller's memory, which is only read.
pub(super) struct Stored<'a> {
    pub(super) format: PixelFormat,
    pub(super) data: &'a [u8],
    /// 0 for rows without gaps.
    pub(super) row_stride: usize,
}

impl Stored<'_> {
    /// `[height, width, 3]` bytes of RGB.
    fn rgb8(&self, width: usize, height: usize) -> Result<Vec<u8>, Failure> {
        let order = match self.format {
            PixelFormat::Rgb8 | PixelFormat::Rgba8 => [0, 1, 2],
            PixelFormat::Bgra8 => [2, 1, 0],
            PixelFormat::RgbF16 | PixelFormat::RgbF32 => {
                return Err(Failure::argument("pixels.format: PNG files take formats of 8 bits"));
            }
        };
        let (each, found) = (self.format.bytes(), self.data.len());
        let row = width.saturating_mul(each);
        let stride = if self.row_stride == 0 { row } else { self.row_stride };
        let wanted = height.saturating_sub(1).saturating_mul(stride).saturating_add(row);
        if width == 0 || height == 0 || stride < row || found < wanted {
            return Err(Failure::argument(format!(
                "pixels: {found} bytes in rows of {stride}; a picture of {width} x {height} {} takes {wanted} in \
                 rows of {row} or more",
                self.format
            )));
        }
        let rows = (0..height).map(|y| &self.data[y * stride..][..row]);
        Ok(rows.flat_map(|row| row.chunks_exact(each)).flat_map(|pixel| order.map(|i| pixel[i])).collect())
    }
}

/// Writes a picture; a file that is there stays as it is until the new one is whole.
pub(super) fn save(picture: &Stored, width: usize, height: usize, path: &Path) -> Result<(), Failure> {
    let rgb = picture.rgb8(width, height)?;
    let write = || {
        let edge = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
        let (width, height) = (edge(width)?, edge(height)?);
        Destination::new(path)?.write(|out| {
            let mut encoder = Encoder::new(out, width, height);
            encoder.set_color(ColorType::Rgb);
            encoder.set_depth(BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&rgb)?;
            Ok(writer.finish()?)
        })
    };
    write()
        .map_err(|error| Failure::new(FT_ERROR_IO, format!("{}: cannot be written: {error}", path.display())))
}
