//! Pictures that the user gives, named, and what is said of them.

use std::path::Path;

use image::{GrayImage, RgbImage};

use crate::failure::Failure;
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
    pub fn is_transparent(&self) -> bool {
        self.stored.is_transparent()
    }

    /// Colours on white, in another size.
    pub fn picture(self, size: Size) -> Result<RgbImage, Failure> {
        let Self { name, stored } = self;
        if stored.size() != size {
            log::info!("{name}: {} is scaled to {}", by(stored.size()), by(size));
        }
        stored.picture(size).map_err(|why| Failure::Failed(format!("{name}: {why}")))
    }

    /// How bright, in another size; what is transparent is black.
    pub fn mask(self, size: Size) -> Result<GrayImage, Failure> {
        let Self { name, stored } = self;
        stored.mask(size).map_err(|why| Failure::Failed(format!("{name}: {why}")))
    }
}
