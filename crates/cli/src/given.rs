//! Images that the user gives, named, and what is said of them.

use std::path::Path;

use flowturbo::PixelsRef;
use image::{GrayImage, RgbImage};
use ndarray::Array4;

use crate::failure::{Failure, warn};
use crate::input;

mod decode;

use decode::Stored;
pub use decode::{Size, by};

/// The most pixels that are read, 2 GiB at worst; a scan of 12,000 x 12,000 is half of it.
const MOST_PIXELS: u64 = 16384 * 16384;

pub struct Given {
    name: String,
    stored: Stored,
}

impl Given {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let name = input::name(path);
        match Stored::decode(&input::read(path)?, MOST_PIXELS) {
            Ok(stored) => Ok(Self { name, stored }),
            Err(why) => Err(Failure::Usage(format!("{name}: {why}"))),
        }
    }

    /// Upright.
    pub fn size(&self) -> Size {
        self.stored.size()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether anything shines through.
    fn is_transparent(&self) -> bool {
        self.stored.is_transparent()
    }

    /// Colours on white, in another size.
    fn pixels(self, size: Size) -> Result<RgbImage, Failure> {
        let Self { name, stored } = self;
        if stored.size() != size {
            log::info!("{name}: {} is scaled to {}", by(stored.size()), by(size));
        }
        stored.image(size).map_err(|why| Failure::Failed(format!("{name}: {why}")))
    }

    /// The image as `[1, 3, H, W]` in [-1, 1]; warns where it is laid on white, unless `quiet`.
    pub fn image(self, size: Size, quiet: bool) -> Result<Array4<f32>, Failure> {
        if self.is_transparent() {
            warn(&format!("{}: is transparent in places; white is put there", self.name), quiet);
        }
        let [width, height] = size.map(|edge| edge as usize);
        Ok(PixelsRef::rgb8(self.pixels(size)?.as_raw()).to_array([1, height, width])?)
    }

    /// How bright, in another size; what is transparent is black.
    pub fn mask(self, size: Size) -> Result<GrayImage, Failure> {
        let Self { name, stored } = self;
        stored.mask(size).map_err(|why| Failure::Failed(format!("{name}: {why}")))
    }
}
