//! Bytes as an image that a person hands to `--init` or `--mask`: an error of one line, or the pixels that the image
//! crate's own conversions make of it, upright, in any size. Checksums are not looked at while fuzzing.
#![no_main]

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Rgba};
use libfuzzer_sys::{Corpus, fuzz_target};

#[path = "../../crates/cli/src/given/decode.rs"]
mod decode;

use decode::{Stored, by};

/// Keeps a single input quick.
const MOST_PIXELS: u64 = 1 << 16;
const MOST_EDGE: u32 = 256;

/// What the image crate makes of the file by itself.
fn as_image(file: &[u8]) -> DynamicImage {
    let reader = ImageReader::new(Cursor::new(file)).with_guessed_format().expect("memory can be read");
    let mut decoder = reader.into_decoder().expect("decoded once, refused the second time");
    let turn = decoder.orientation().expect("decoded once, refused the second time");
    let mut image = DynamicImage::from_decoder(decoder).expect("decoded once, refused the second time");
    image.apply_orientation(turn);
    image
}

/// Whether a level is that part of `above` on `below`, up to rounding.
fn is_mixed(level: u8, above: f32, below: f32, opacity: u8) -> bool {
    let part = f32::from(opacity) / 255.0;
    (above * part + below * (1.0 - part) - f32::from(level)).abs() < 1.01
}

fuzz_target!(|file: &[u8]| -> Corpus {
    let decoded = || Stored::decode(file, MOST_PIXELS);
    let stored = match decoded() {
        Ok(stored) => stored,
        Err(why) => {
            assert!(!why.contains('\n') && why.len() < 1000, "{why}");
            return Corpus::Keep;
        }
    };
    let (size, is_transparent) = (stored.size(), stored.is_transparent());
    assert!(u64::from(size[0]) * u64::from(size[1]) <= MOST_PIXELS, "{}", by(size));
    let image = stored.image(size).expect("there is memory");
    let mask = decoded().and_then(|stored| stored.mask(size)).expect("there is memory");
    // A PNG file may say behind its pixels how it lies, which the image crate does not see.
    let wanted = as_image(file).into_rgba8();
    if [wanted.width(), wanted.height()] == size {
        let seen = wanted.pixels().any(|&Rgba([.., opacity])| opacity < u8::MAX);
        assert_eq!(is_transparent, seen);
    }
    if !file.windows(4).any(|name| name == b"eXIf") {
        assert_eq!([wanted.width(), wanted.height()], size);
        for ((&Rgba([r, g, b, opacity]), is), bright) in
            wanted.pixels().zip(image.pixels()).zip(mask.pixels())
        {
            let levels = [r, g, b].map(f32::from);
            let apart =
                levels.iter().zip(is.0).find(|&(&above, level)| !is_mixed(level, above, 255.0, opacity));
            assert!(apart.is_none(), "{:?} of {:?}", is.0, [r, g, b, opacity]);
            let luma = levels[0] * 0.2126 + levels[1] * 0.7152 + levels[2] * 0.0722;
            assert!(is_mixed(bright.0[0], luma, 0.0, opacity), "{:?} of {:?}", bright.0, [r, g, b, opacity]);
        }
    }
    // Between the two sizes there is an image as wide as the one and as high as the other.
    for other in [[1, 1], [5, 3], [size[1].min(MOST_EDGE), size[0].min(MOST_EDGE)]] {
        let scaled = decoded().and_then(|stored| stored.image(other)).expect("there is memory");
        assert_eq!([scaled.width(), scaled.height()], other);
        let scaled = decoded().and_then(|stored| stored.mask(other)).expect("there is memory");
        assert_eq!([scaled.width(), scaled.height()], other);
    }
    Corpus::Keep
});
