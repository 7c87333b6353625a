//! PNG files that say how they were made.

use std::io::{self, Write};

use png::{BitDepth, ColorType, Encoder};

/// A note in the file: keyword and text.
pub type Note = (&'static str, String);

/// Writes `height * width * 3` bytes of RGB with `notes`.
///
/// Nothing in the file depends on when or where it is written, so equal pictures are equal bytes.
pub fn write(
    out: &mut dyn Write,
    (width, height): (usize, usize),
    rgb: &[u8],
    notes: &[Note],
) -> io::Result<()> {
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
    writer.write_image_data(rgb)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_notes_come_back() {
        let (rgb, mut file) = ([1, 2, 3, 4, 5, 6], Vec::new());
        let notes = [("Software", "x".to_owned()), ("flowturbo:class", "mörtel".to_owned())];
        write(&mut file, (2, 1), &rgb, &notes).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = [0; 6];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, rgb);
        let info = reader.info();
        assert_eq!(info.uncompressed_latin1_text[0].text, "x");
        assert_eq!(info.utf8_text[0].get_text().unwrap(), "mörtel");
    }
}
