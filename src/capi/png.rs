//! A picture as a PNG file, to be looked at.

use std::io::{self, Write};
use std::path::Path;

use png::{BitDepth, ColorType, Encoder};

use super::boundary::Failure;
use super::status::FT_ERROR_IO;
use crate::file::Destination;
use crate::{PixelFormat, memory};

/// A picture in the caller's memory, which is only read.
pub(super) struct Stored<'a> {
    pub(super) format: PixelFormat,
    pub(super) data: &'a [u8],
    /// 0 for rows without gaps.
    pub(super) row_stride: usize,
}

impl Stored<'_> {
    /// Where red, green and blue are in a pixel, and the bytes between rows.
    fn layout(&self, width: usize, height: usize) -> Result<([usize; 3], usize), Failure> {
        let order = match self.format {
            PixelFormat::Rgb8 | PixelFormat::Rgba8 => [0, 1, 2],
            PixelFormat::Bgra8 => [2, 1, 0],
            PixelFormat::RgbF16 | PixelFormat::RgbF32 => {
                return Err(Failure::argument("pixels.format: PNG files take formats of 8 bits"));
            }
        };
        let found = self.data.len();
        let row = width.saturating_mul(self.format.bytes());
        let stride = if self.row_stride == 0 { row } else { self.row_stride };
        let wanted = height.saturating_sub(1).saturating_mul(stride).saturating_add(row);
        if width == 0 || height == 0 || stride < row || found < wanted {
            return Err(Failure::argument(format!(
                "pixels: {found} bytes in rows of {stride}; a picture of {width} x {height} {} takes {wanted} in rows of {row} or more",
                self.format
            )));
        }
        Ok((order, stride))
    }
}

/// Bytes that the encoder takes besides some rows.
const ENCODER: usize = 1 << 19;

/// Writes a picture; a file that is there stays as it is until the new one is whole.
pub(super) fn save(picture: &Stored, width: usize, height: usize, path: &Path) -> Result<(), Failure> {
    let (order, stride) = picture.layout(width, height)?;
    let mut rgb = memory::filled(3 * width, 0)?;
    memory::room(ENCODER + 4 * rgb.len())?;
    let mut write = || {
        let edge = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
        let (wide, high) = (edge(width)?, edge(height)?);
        Destination::new(path)?.write(|out| {
            let mut encoder = Encoder::new(out, wide, high);
            encoder.set_color(ColorType::Rgb);
            encoder.set_depth(BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            // Row by row: nothing that grows with the picture is held besides it.
            let mut rows = writer.stream_writer_with_size(1 << 16)?;
            let each = picture.format.bytes();
            for y in 0..height {
                let row = picture.data[y * stride..][..width * each].chunks_exact(each);
                rgb.iter_mut()
                    .zip(row.flat_map(|pixel| order.map(|i| pixel[i])))
                    .for_each(|(to, from)| *to = from);
                rows.write_all(&rgb)?;
            }
            rows.finish()?;
            Ok(writer.finish()?)
        })
    };
    write()
        .map_err(|error| Failure::new(FT_ERROR_IO, format!("{}: cannot be written: {error}", path.display())))
}
