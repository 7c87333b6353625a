//! PNG files that say how they were made. Written row by row: no more memory is taken than some rows need.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use png::{BitDepth, ColorType, Encoder};

use crate::{Error, memory};

/// A note in the file: keyword and text.
pub type Note = (&'static str, String);

/// Bytes of compressed rows in a chunk of the file.
const CHUNK: usize = 1 << 15;

/// Bytes that the encoder takes besides some rows; where they are refused it, it ends the process.
const ENCODER: usize = 1 << 19;

/// Writes an image of 8-bit RGB with `notes`; `fill` is asked for each row in turn, `width * 3` bytes.
///
/// Nothing in the file depends on when or where it is written, so equal images are equal bytes.
///
/// # Errors
/// Those of `out`; a width or height that PNG files do not have.
pub fn write(
    out: &mut dyn Write,
    (width, height): (usize, usize),
    notes: &[Note],
    mut fill: impl FnMut(usize, &mut [u8]),
) -> io::Result<()> {
    memory::room(ENCODER.saturating_add(width.saturating_mul(12))).map_err(refused)?;
    let edge = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let mut encoder = Encoder::new(out, edge(width)?, edge(height)?);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    for (keyword, text) in notes {
        // The older chunk is read by more programs, but holds no more than Latin-1.
        if text.is_ascii() {
            encoder.add_text_chunk((*keyword).to_owned(), text.clone())?;
        } else {
            encoder.add_itxt_chunk((*keyword).to_owned(), text.clone())?;
        }
    }
    let mut writer = encoder.write_header()?;
    let mut row = memory::filled(width * 3, 0).map_err(refused)?;
    let mut rows = writer.stream_writer_with_size(CHUNK)?;
    for y in 0..height {
        fill(y, &mut row);
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
        write(&mut file, (2, 2), &notes, fill).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = [0; 12];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, rgb);
        let info = reader.info();
        assert_eq!(info.uncompressed_latin1_text[0].text, "x");
        assert_eq!(info.utf8_text[0].get_text().unwrap(), "mörtel");
    }
}
