//! PNG and JPEG of any kind, as their makers see them.
//!
//! They come out in 8 bits and upright, whatever way up the camera stored them. An image is laid on white where it is
//! transparent; in a mask, what is transparent is black.

use std::error::Error;
use std::io::{self, Cursor};

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::imageops::{FilterType, resize};
use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GrayImage, ImageBuffer, ImageDecoder, ImageError, Limits, Pixel, RgbImage,
};

/// Width and height.
pub type Size = [u32; 2];

/// The most memory of the PNG decoder's own: a row, and texts.
const MOST_BESIDE: u64 = 1 << 30;

const CUT_SHORT: &str = "is cut short; its end is missing";

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// What else people take for images: bytes at a place, and their name.
const OTHERS: [(usize, &[u8], &str); 21] = [
    (8, b"WEBP", "a WebP"),
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (4, b"ftypavi", "an AVIF"),
    (4, b"ftyphe", "a HEIC"),
    (4, b"ftypmif1", "a HEIF"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"8BPS", "a Photoshop"),
    (0, b"gimp xcf", "a GIMP"),
    (0, b"%PDF", "a PDF"),
    (0, b"<svg", "an SVG"),
    (0, b"<?xml", "an XML"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"DDS ", "a DDS"),
    (0, b"qoif", "a QOI"),
    (0, b"\x93NUMPY", "a NumPy"),
];

/// An image as it is stored.
pub struct Stored {
    /// As stored.
    size: Size,
    colour: ColorType,
    bytes: Vec<u8>,
    /// What makes it upright.
    turn: Orientation,
}

impl Stored {
    /// Errors follow the name of the file.
    pub fn decode(file: &[u8], most_pixels: u64) -> Result<Self, String> {
        if file.starts_with(PNG) {
            let turn = png_turn(file)?;
            let mut limits = Limits::no_limits();
            limits.max_alloc = Some(MOST_BESIDE);
            return Self::pixels(most_pixels, turn, PngDecoder::with_limits(Cursor::new(file), limits));
        }
        if file.starts_with(JPEG) {
            if !jpeg_is_whole(file) {
                return Err(CUT_SHORT.into());
            }
            let mut decoder = JpegDecoder::new(Cursor::new(file)).map_err(said)?;
            let turn = decoder.orientation().map_err(said)?;
            return Self::pixels(most_pixels, turn, Ok(decoder));
        }
        let other =
            OTHERS.iter().find(|(at, bytes, _)| file.get(*at..).is_some_and(|f| f.starts_with(bytes)));
        Err(other.map_or("is not an image; PNG and JPEG are read".into(), |(_, _, kind)| {
            format!("is {kind} file; PNG and JPEG are read")
        }))
    }

    fn pixels<D: ImageDecoder>(
        most_pixels: u64,
        turn: Orientation,
        decoder: Result<D, ImageError>,
    ) -> Result<Self, String> {
        let decoder = decoder.map_err(said)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > most_pixels {
            let edge = most_pixels.isqrt();
            return Err(format!(
                "is {width} x {height} pixels; at most {most_pixels} are read, such as {edge} x {edge}: make it \
                 smaller first"
            ));
        }
        let (colour, bytes) = (decoder.color_type(), decoder.total_bytes());
        let mut bytes = room(bytes, [width, height])?;
        decoder.read_image(&mut bytes).map_err(said)?;
        Ok(Self { size: [width, height], colour, bytes, turn })
    }

    /// Upright.
    pub fn size(&self) -> Size {
        let [width, height] = self.size;
        if self.lies() { [height, width] } else { [width, height] }
    }

    /// Whether anything shines through.
    pub fn is_transparent(&self) -> bool {
        self.colour.has_alpha() && self.levels().any(|[.., opacity]| opacity < u8::MAX)
    }

    /// Colours on white, in another size.
    pub fn image(self, size: Size) -> Result<RgbImage, String> {
        let on_white = |level: u8, opacity: u8| mixed(level, u8::MAX, opacity);
        let pixels = match self.colour {
            ColorType::Rgb8 => self.bytes,
            _ => {
                let mut pixels = self.room(3)?;
                let colours = self.levels().map(|[r, g, b, opacity]| [r, g, b].map(|c| on_white(c, opacity)));
                pixels.iter_mut().zip(colours.flatten()).for_each(|(to, from)| *to = from);
                pixels
            }
        };
        let rest = Self { bytes: Vec::new(), ..self };
        let stored = RgbImage::from_raw(rest.size[0], rest.size[1], pixels).unwrap_or_default();
        let scaled = scaled(stored, rest.as_stored(size));
        Ok(rest.upright(DynamicImage::ImageRgb8(scaled)).into_rgb8())
    }

    /// How bright, in another size; what is transparent is black.
    pub fn mask(self, size: Size) -> Result<GrayImage, String> {
        let mut pixels = self.room(1)?;
        let brightness = self.levels().map(|[r, g, b, opacity]| mixed(luma([r, g, b]), 0, opacity));
        pixels.iter_mut().zip(brightness).for_each(|(to, from)| *to = from);
        let rest = Self { bytes: Vec::new(), ..self };
        let stored = GrayImage::from_raw(rest.size[0], rest.size[1], pixels).unwrap_or_default();
        let scaled = scaled(stored, rest.as_stored(size));
        Ok(rest.upright(DynamicImage::ImageLuma8(scaled)).into_luma8())
    }

    /// Red, green, blue and opacity of each pixel.
    fn levels(&self) -> impl Iterator<Item = [u8; 4]> + '_ {
        let channels = usize::from(self.colour.channel_count());
        let wide = usize::from(self.colour.bytes_per_pixel()) == 2 * channels;
        self.bytes.chunks_exact(usize::from(self.colour.bytes_per_pixel())).map(move |pixel| {
            let level = |i: usize| match wide {
                true => narrow(u16::from_ne_bytes([pixel[2 * i], pixel[2 * i + 1]])),
                false => pixel[i],
            };
            match channels {
                1 => [level(0), level(0), level(0), u8::MAX],
                2 => [level(0), level(0), level(0), level(1)],
                3 => [level(0), level(1), level(2), u8::MAX],
                _ => [level(0), level(1), level(2), level(3)],
            }
        })
    }

    /// Whether the image is stored on its side.
    fn lies(&self) -> bool {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        matches!(self.turn, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
    }

    /// An upright size as stored.
    fn as_stored(&self, [width, height]: Size) -> Size {
        if self.lies() { [height, width] } else { [width, height] }
    }

    fn upright(&self, mut image: DynamicImage) -> DynamicImage {
        image.apply_orientation(self.turn);
        image
    }

    fn room(&self, channels: u64) -> Result<Vec<u8>, String> {
        let [width, height] = self.size;
        room(u64::from(width) * u64::from(height) * channels, self.size)
    }
}

/// An image in another size; the same one in its own.
fn scaled<P: Pixel<Subpixel = u8> + 'static>(
    image: ImageBuffer<P, Vec<u8>>,
    [width, height]: Size,
) -> ImageBuffer<P, Vec<u8>> {
    match image.dimensions() == (width, height) {
        true => image,
        false => resize(&image, width, height, FilterType::Triangle),
    }
}

/// `512 x 256 pixels`
pub fn by([width, height]: Size) -> String {
    format!("{width} x {height} pixels")
}

/// Zeros for what an image holds.
fn room(bytes: u64, size: Size) -> Result<Vec<u8>, String> {
    let mut memory = Vec::new();
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    let found = memory.try_reserve_exact(length);
    found.map_err(|_| format!("is {}; there is no memory for {bytes} bytes", by(size)))?;
    memory.resize(length, 0);
    Ok(memory)
}

/// From 16 bits to 8.
fn narrow(level: u16) -> u8 {
    ((u32::from(level) * 255 + 32767) / 65535) as u8
}

/// `opacity` of 255 of one level, the rest of another.
fn mixed(above: u8, below: u8, opacity: u8) -> u8 {
    let [above, below, opacity] = [above, below, opacity].map(u32::from);
    ((above * opacity + below * (255 - opacity) + 127) / 255) as u8
}

/// The brightness of sRGB's primaries (ITU-R BT.709).
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((red * 2126 + green * 7152 + blue * 722 + 5000) / 10000) as u8
}

/// How a PNG file's eXIf chunk says to turn it, if all chunks are there; it may be behind the pixels.
fn png_turn(file: &[u8]) -> Result<Orientation, String> {
    let (mut turn, mut rest) = (Orientation::NoTransforms, &file[PNG.len()..]);
    loop {
        let (Some(length), Some(kind)) = (rest.first_chunk(), rest.get(4..8)) else {
            return Err(CUT_SHORT.into());
        };
        let length = u32::from_be_bytes(*length) as usize;
        // Behind the data there is a checksum.
        let Some((chunk, after)) = rest[8..].split_at_checked(length.saturating_add(4)) else {
            return Err(CUT_SHORT.into());
        };
        match kind {
            b"IEND" => return Ok(turn),
            b"eXIf" => turn = Orientation::from_exif_chunk(&chunk[..length]).unwrap_or(turn),
            _ => {}
        }
        rest = after;
    }
}

/// Whether a JPEG file reaches its end marker. Decoders make grey of what is missing, and do not say so.
fn jpeg_is_whole(file: &[u8]) -> bool {
    let mut rest = &file[2..];
    loop {
        // Stuffed zeros, fill bytes, restart markers and markers without a length are no segments.
        let marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 1 | 0xd0..=0xd8 | 0xff);
        let Some(at) = rest.windows(2).position(marker) else { return false };
        if rest[at + 1] == 0xd9 {
            return true;
        }
        let Some(&[high, low]) = rest.get(at + 2..).and_then(<[u8]>::first_chunk) else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(after) = rest.get(at + 2 + length..) else { return false };
        rest = after;
    }
}

/// A decoder's error as one clause.
fn said(error: ImageError) -> String {
    match error {
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => CUT_SHORT.into(),
        ImageError::Decoding(error) => {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            format!("is damaged: {}", why.lines().next().unwrap_or_default())
        }
        error => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::MOST_PIXELS;

    use png::chunk::eXIf;
    use png::{BitDepth, ColorType as Kind};

    /// A PNG file of 3 x 2 pixels, `more` chunks around their data.
    fn png(
        kind: Kind,
        depth: BitDepth,
        data: &[u8],
        set: impl FnOnce(&mut png::Info),
        exif: &[u8],
    ) -> Vec<u8> {
        let (mut file, mut info) = (Vec::new(), png::Info::with_size(3, 2));
        (info.color_type, info.bit_depth) = (kind, depth);
        set(&mut info);
        let mut writer = png::Encoder::with_info(&mut file, info).unwrap().write_header().unwrap();
        writer.write_image_data(data).unwrap();
        if !exif.is_empty() {
            writer.write_chunk(eXIf, exif).unwrap();
        }
        writer.finish().unwrap();
        file
    }

    fn decoded(file: &[u8]) -> Stored {
        Stored::decode(file, MOST_PIXELS).unwrap()
    }

    /// The upright image in its own size.
    fn image(file: &[u8]) -> RgbImage {
        let stored = decoded(file);
        let size = stored.size();
        stored.image(size).unwrap()
    }

    fn mask(file: &[u8]) -> Vec<u8> {
        let stored = decoded(file);
        let size = stored.size();
        stored.mask(size).unwrap().into_raw()
    }

    /// An Exif block that holds nothing but the orientation.
    fn exif(tag: u8) -> Vec<u8> {
        let entry = [0x12, 1, 3, 0, 1, 0, 0, 0, tag, 0, 0, 0];
        [&b"II*\0\x08\0\0\0\x01\0"[..], &entry, &[0; 4]].concat()
    }

    /// `stored[y][x]` of an image whose upright rows are 1 2 3 and 4 5 6, by the Exif standard's table of what row 0
    /// and column 0 are.
    const STORED: [&[&[u8]]; 8] = [
        &[&[1, 2, 3], &[4, 5, 6]],
        &[&[3, 2, 1], &[6, 5, 4]],
        &[&[6, 5, 4], &[3, 2, 1]],
        &[&[4, 5, 6], &[1, 2, 3]],
        &[&[1, 4], &[2, 5], &[3, 6]],
        &[&[3, 6], &[2, 5], &[1, 4]],
        &[&[6, 3], &[5, 2], &[4, 1]],
        &[&[4, 1], &[5, 2], &[6, 3]],
    ];

    #[test]
    fn every_orientation_comes_out_upright_in_png_and_jpeg() {
        for (tag, stored) in (1..).zip(STORED) {
            let (width, height) = (stored[0].len() as u32, stored.len() as u32);
            let data: Vec<u8> = stored.concat().iter().map(|level| level * 40).collect();
            let size = |info: &mut png::Info| (info.width, info.height) = (width, height);
            // Behind the pixels, where some programs put it; the standard allows both.
            let file = png(Kind::Grayscale, BitDepth::Eight, &data, size, &exif(tag));
            assert_eq!(decoded(&file).size(), [3, 2], "{tag}");
            assert_eq!(mask(&file), [40, 80, 120, 160, 200, 240], "{tag}");
            // Blocks of 16 x 16, so that a JPEG's losses are small.
            let (mut jpeg, mut encoded) = (b"\xff\xd8\xff\xe1".to_vec(), Vec::new());
            let large = GrayImage::from_fn(width * 16, height * 16, |x, y| {
                image::Luma([stored[y as usize / 16][x as usize / 16] * 40])
            });
            let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut encoded, 95);
            encoder.encode_image(&large).unwrap();
            let block = [b"Exif\0\0", &exif(tag)[..]].concat();
            jpeg.extend(u16::try_from(block.len() + 2).unwrap().to_be_bytes());
            jpeg.extend(block.iter().chain(&encoded[2..]));
            let upright = image(&jpeg);
            for (i, level) in (1..=6).map(|level| level * 40).enumerate() {
                let [red, ..] = upright.get_pixel(i as u32 % 3 * 16 + 8, i as u32 / 3 * 16 + 8).0;
                assert!(red.abs_diff(level) < 4, "{tag}: {red} at {i}");
            }
        }
        let senseless = png(Kind::Grayscale, BitDepth::Eight, &[9; 6], |_| {}, &exif(99));
        assert_eq!(mask(&senseless), [9; 6]);
    }

    #[test]
    fn every_kind_of_png_is_read() {
        let grey = [0, 51, 102, 153, 204, 255];
        let wide = |levels: &[u8]| levels.iter().flat_map(|&level| [level, level]).collect::<Vec<u8>>();
        let coloured =
            |opaque: &[u8]| grey.iter().flat_map(|&g| [&[g, g, g][..], opaque].concat()).collect::<Vec<u8>>();
        let with_opacity: Vec<u8> = grey.iter().flat_map(|&g| [g, 255]).collect();
        let palette = |info: &mut png::Info| {
            info.palette = Some(grey.iter().flat_map(|&g| [g, g, g]).collect::<Vec<u8>>().into());
        };
        use BitDepth::{Eight, Four, Sixteen};
        for (name, file) in [
            ("grey", png(Kind::Grayscale, Eight, &grey, |_| {}, &[])),
            ("grey of 16 bits", png(Kind::Grayscale, Sixteen, &wide(&grey), |_| {}, &[])),
            ("grey of 4 bits", png(Kind::Grayscale, Four, &[0x03, 0x60, 0x9c, 0xf0], |_| {}, &[])),
            ("grey and opacity", png(Kind::GrayscaleAlpha, Eight, &with_opacity, |_| {}, &[])),
            ("the same of 16 bits", png(Kind::GrayscaleAlpha, Sixteen, &wide(&with_opacity), |_| {}, &[])),
            ("colours", png(Kind::Rgb, Eight, &coloured(&[]), |_| {}, &[])),
            ("colours of 16 bits", png(Kind::Rgb, Sixteen, &wide(&coloured(&[])), |_| {}, &[])),
            ("colours and opacity", png(Kind::Rgba, Eight, &coloured(&[255]), |_| {}, &[])),
            ("the same of 16 bits", png(Kind::Rgba, Sixteen, &wide(&coloured(&[255])), |_| {}, &[])),
            ("a palette", png(Kind::Indexed, Eight, &[0, 1, 2, 3, 4, 5], palette, &[])),
            ("a palette of 4 bits", png(Kind::Indexed, Four, &[0x01, 0x20, 0x34, 0x50], palette, &[])),
        ] {
            assert!(!decoded(&file).is_transparent(), "{name}");
            assert_eq!(mask(&file), grey, "{name}");
            let channels: Vec<u8> = grey.iter().flat_map(|&g| [g; 3]).collect();
            assert_eq!(image(&file).into_raw(), channels, "{name}");
        }
    }

    #[test]
    fn what_is_transparent_is_white_in_an_image_and_black_in_a_mask() {
        use BitDepth::{Eight, Sixteen};
        let grey: Vec<u8> =
            [255, 128, 0].iter().flat_map(|&opacity| [100, opacity]).cycle().take(12).collect();
        let wide: Vec<u8> = grey.iter().flat_map(|&level| [level, level]).collect();
        let coloured: Vec<u8> = grey.chunks(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect();
        let palette = |info: &mut png::Info| {
            info.palette = Some(vec![100; 9].into());
            info.trns = Some(vec![255, 128, 0].into());
        };
        for (name, file) in [
            ("grey and opacity", png(Kind::GrayscaleAlpha, Eight, &grey, |_| {}, &[])),
            ("the same of 16 bits", png(Kind::GrayscaleAlpha, Sixteen, &wide, |_| {}, &[])),
            ("colours and opacity", png(Kind::Rgba, Eight, &coloured, |_| {}, &[])),
            ("a palette", png(Kind::Indexed, Eight, &[0, 1, 2, 0, 1, 2], palette, &[])),
        ] {
            assert!(decoded(&file).is_transparent(), "{name}");
            let reds: Vec<u8> = image(&file).pixels().map(|pixel| pixel.0[0]).collect();
            assert_eq!(reds, [100, 177, 255, 100, 177, 255], "{name}");
            assert_eq!(mask(&file), [100, 50, 0, 100, 50, 0], "{name}");
        }
        // One colour of an image may be the transparent one.
        let key = |info: &mut png::Info| info.trns = Some(vec![0, 7].into());
        let file = png(Kind::Grayscale, Eight, &[7, 9, 7, 9, 7, 9], key, &[]);
        assert_eq!(mask(&file), [0, 9, 0, 9, 0, 9]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let whole = png(Kind::Grayscale, BitDepth::Eight, &[1; 6], |_| {}, &[]);
        let mut jpeg = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        DynamicImage::new_rgb8(64, 64).write_with_encoder(encoder).unwrap();
        let mut huge = Vec::new();
        let mut header = png::Encoder::new(&mut huge, 20_000, 16_000).write_header().unwrap();
        header.write_chunk(png::chunk::IDAT, &[]).unwrap();
        // Its end is written, whatever is missing before.
        drop(header);
        let mut damaged = whole.clone();
        let data = whole.windows(4).position(|name| name == b"IDAT").unwrap();
        damaged[data + 6] ^= 0xff;
        for (file, words) in [
            (&b"RIFF\0\0\0\0WEBPVP8 "[..], "is a WebP file; PNG and JPEG are read"),
            (b"GIF89a", "is a GIF file"),
            (b"\0\0\0\x18ftypheic", "is a HEIC file"),
            (b"text", "is not an image; PNG and JPEG are read"),
            (&huge, "is 20000 x 16000 pixels; at most 268435456"),
            (&damaged, "is damaged: "),
        ] {
            let why = Stored::decode(file, MOST_PIXELS).err().unwrap();
            assert!(why.starts_with(words), "{why}");
        }
        for file in [whole, jpeg] {
            assert!(Stored::decode(&file, MOST_PIXELS).is_ok());
            for length in 8..file.len() {
                assert_eq!(
                    Stored::decode(&file[..length], MOST_PIXELS).err().unwrap(),
                    CUT_SHORT,
                    "{length} bytes"
                );
            }
        }
    }
}
