//! PNG files that say how they were made. Written row by row: no more memory is taken than some rows need.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use png::{BitDepth, ColorType, Encoder};

use crate::{Error, PixelFormat, memory};

/// A note in the file: keyword and text.
pub type Note = (&'static str, String);

/// Bytes of compressed rows in a chunk of the file.
const CHUNK: usize = 1 << 15;

/// Bytes that the encoder takes besides some rows; where they are refused it, it ends the process.
const ENCODER: usize = 1 << 19;

/// What PNG files call a format; none where they have nothing like it.
pub fn kind(format: PixelFormat) -> Option<(ColorType, BitDepth)> {
    match format {
        PixelFormat::Rgb8 => Some((ColorType::Rgb, BitDepth::Eight)),
        PixelFormat::Rgba8 => Some((ColorType::Rgba, BitDepth::Eight)),
        PixelFormat::Grey8 => Some((ColorType::Grayscale, BitDepth::Eight)),
        PixelFormat::Grey16 => Some((ColorType::Grayscale, BitDepth::Sixteen)),
        _ => None,
    }
}

/// Writes an image with `notes`; `fill` is asked for each row in turn, as many bytes as its pixels take in `format`.
///
/// Nothing in the file depends on when or where it is written, so equal images are equal bytes.
///
/// # Errors
/// Those of `out`; a width, a height or a format that PNG files do not have.
pub fn write(
    out: &mut dyn Write,
    format: PixelFormat,
    (width, height): (usize, usize),
    notes: &[Note],
    mut fill: impl FnMut(usize, &mut [u8]),
) -> io::Result<()> {
    let row = width.saturating_mul(format.bytes());
    memory::room(ENCODER.saturating_add(row.saturating_mul(4))).map_err(refused)?;
    let (color, depth) =
        kind(format).ok_or_else(|| io::Error::other(format!("PNG files have no {format}")))?;
    let edge = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let mut encoder = Encoder::new(out, edge(width)?, edge(height)?);
    encoder.set_color(color);
    encoder.set_depth(depth);
    for (keyword, text) in notes {
        // The older chunk is read by more programs, but holds no more than Latin-1.
        if text.is_ascii() {
            encoder.add_text_chunk((*keyword).to_owned(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*keyword).to_owned(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    let mut row = memory::filled(row, 0).map_err(refused)?;
    let mut rows = writer.stream_writer_with_size(CHUNK)?;
    for y in 0..height {
        fill(y, &mut row);
        if depth == BitDepth::Sixteen {
            // The most significant byte first, whatever the processor's order.
            let (levels, _) = row.as_chunks_mut();
            levels.iter_mut().for_each(|level| *level = u16::from_ne_bytes(*level).to_be_bytes());
        }
        rows.write_all(&row)?;
    }
    rows.finish()?;
    Ok(writer.finish()?)
}

fn refused(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_notes_come_back() {
        let (rgb, mut file) = ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], Vec::new());
        let notes = [("Software", "x".to_owned()), ("flowturbo:class", "mörtel".to_owned())];
        let fill = |y: usize, row: &mut [u8]| row.copy_from_slice(&rgb[y * 6..][..6]);
        write(&mut file, PixelFormat::Rgb8, (2, 2), &notes, fill).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = [0; 12];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, rgb);
        let info = reader.info();
        assert_eq!(info.uncompressed_latin1_text[0].text, "x");
        assert_eq!(info.utf8_text[0].get_text().unwrap(), "mörtel");
    }
    #[test]
    fn every_kind_comes_back_and_others_are_refused() {
        let levels = [0x0102_u16, 0xfffe];
        for (format, given, wanted) in [
            (PixelFormat::Rgba8, vec![1, 2, 3, 4, 5, 6, 7, 8], vec![1, 2, 3, 4, 5, 6, 7, 8]),
            (PixelFormat::Grey8, vec![9, 200], vec![9, 200]),
            (PixelFormat::Grey16, levels.map(u16::to_ne_bytes).concat(), vec![1, 2, 0xff, 0xfe]),
        ] {
            let mut file = Vec::new();
            write(&mut file, format, (2, 1), &[], |_, row| row.copy_from_slice(&given)).unwrap();
            let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, wanted, "{format}");
            let info = reader.info();
            assert_eq!(Some((info.color_type, info.bit_depth)), kind(format));
        }
        let error = write(&mut Vec::new(), PixelFormat::GreyF32, (1, 1), &[], |_, _| {}).unwrap_err();
        assert_eq!(error.to_string(), "PNG files have no GREY_F32");
    }
}
