//! What images begin with and how they lie: arguments, and the files they name.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flowturbo::{Bundle, Manifest, Morph, Request, Seamless};
use ndarray::{Array3, Axis, concatenate};

use crate::failure::{Failure, warn};
use crate::given::{Given, Size, by};
use crate::options::{file_name, number, plain_name};

/// From what, and in which form.
#[derive(Args)]
pub struct Editing {
    /// Axes along which an image continues seamlessly on its other side
    #[arg(long, alias = "tile", value_enum, value_name = "AXES")]
    seamless: Option<Axes>,
    /// Size of the images, such as 512x256, not below the bundle's own [default: the bundle's]
    #[arg(long, value_name = "WxH", value_parser = size, allow_hyphen_values = true)]
    size: Option<Size>,
    /// Begin with this image, PNG or JPEG; it is scaled to the size of the images, and laid on white where it is
    /// transparent; - is standard input
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// How much of --init to do anew, above 0 and at most 1, with all steps [default: 0.6; 1 with --mask]
    #[arg(long, value_name = "X", requires = "init", allow_negative_numbers = true, value_parser = number)]
    strength: Option<f32>,
    /// Which part of --init to make anew, an image: white is new, black and transparent stay, grey is mixed;
    /// - is standard input
    #[arg(long, value_name = "FILE", requires = "init")]
    mask: Option<PathBuf>,
    /// Vary the seed's first image: every image starts from its noise, turned by this much of 0 to 1
    /// towards noise of its own, that of the next seed
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true, value_parser = number)]
    vary: Option<f32>,
    /// Blend with another class, sand or sand:0.3; without an amount the -n images lead from the class to the
    /// other, all from the seed's first noise
    #[arg(long, value_name = "CLASS[:AMOUNT]", allow_negative_numbers = true)]
    morph: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Axes {
    X,
    Y,
    Both,
}

/// A mask that is darker everywhere was hardly meant so: numbers of classes, or 0 and 1.
const DARK: u8 = 16;

/// Reads `512x256`.
pub fn size(text: &str) -> Result<Size, String> {
    let edges: Option<Vec<u32>> = text.split('x').map(|edge| edge.parse().ok()).collect();
    match edges.as_deref() {
        Some(&[width, height]) => Ok([width, height]),
        _ => Err("must be written like 512x256, width before height".to_owned()),
    }
}

impl Editing {
    /// `request` with all of that, for `count` images of each class; warns unless `quiet`.
    pub fn apply(
        &self,
        mut request: Request,
        count: usize,
        bundle: &Bundle,
        quiet: bool,
    ) -> Result<Request, Failure> {
        let manifest = bundle.manifest();
        request = request.with_seamless(match self.seamless {
            None => Seamless::None,
            Some(Axes::X) => Seamless::X,
            Some(Axes::Y) => Seamless::Y,
            Some(Axes::Both) => Seamless::Both,
        });
        if let Some([width, height]) = self.size {
            request = request.with_size(height as usize, width as usize);
        }
        // Before anything is made of that size.
        request.check(bundle)?;
        let (mut one_noise, images) = (self.vary.is_some(), request.images());
        if let Some((class, amount)) = self.second_class(manifest)? {
            one_noise |= amount.is_none();
            let along = |i: usize| match count {
                1 => 0.5,
                _ => (i % count) as f32 / (count - 1) as f32,
            };
            request.morphs =
                (0..images).map(|i| Morph { class, amount: amount.unwrap_or(along(i)) }).collect();
        }
        if self.init.is_some() {
            request = self.begun(request, self.pixels(manifest), quiet)?;
        }
        if one_noise {
            let latent = &manifest.latent;
            let own = manifest.image.as_ref().map_or([1, 1], |image| [image.width, image.height]);
            let [width, height] = self.size.unwrap_or(own);
            let rows = (height / (own[1] / latent.height).max(1)) as usize;
            let columns = (width / (own[0] / latent.width).max(1)) as usize;
            let first = flowturbo::noise(request.seed, [1, latent.channels as usize, rows, columns])?;
            let noise = concatenate(Axis(0), &vec![first.view(); images]);
            request = request.with_noise(noise.map_err(|error| Failure::Failed(error.to_string()))?);
        }
        if let Some(amount) = self.vary {
            let next = request.seed.wrapping_add(1);
            request = request.with_variation(next, amount);
        }
        Ok(request)
    }

    /// What it reads, by argument.
    pub fn files(&self) -> [(&'static str, Option<&Path>); 2] {
        [("--init", self.init.as_deref()), ("--mask", self.mask.as_deref())]
    }

    /// `request` with --init and --mask, in the size of its images.
    fn begun(&self, mut request: Request, size: Size, quiet: bool) -> Result<Request, Failure> {
        let Some(path) = &self.init else { return Ok(request) };
        let init = Given::read(path)?;
        let own = init.size();
        if are_shaped_otherwise(own, size) {
            let (name, own, size) = (init.name(), by(own), by(size));
            let text =
                format!("{name}: {own} are stretched to {size}; crop it, or ask for a --size of its shape");
            warn(&text, quiet);
        }
        request = request.with_init(init.image(size, quiet)?, self.strength());
        let Some(path) = &self.mask else { return Ok(request) };
        let warn = |text: String| warn(&text, quiet);
        let mask = Given::read(path)?;
        let name = mask.name().to_owned();
        if are_shaped_otherwise(own, mask.size()) {
            let (own, its) = (by(own), by(mask.size()));
            warn(format!("{name}: the mask is {its}, the image {own}; both are scaled to {}", by(size)));
        }
        let mask = mask.mask(size)?.into_raw();
        match mask.iter().max() {
            Some(0) => {
                warn(format!("{name}: the mask is black or transparent everywhere; nothing is made anew"))
            }
            Some(&most) if most < DARK => {
                warn(format!("{name}: the mask is nowhere brighter than {most}; 255 is what is made anew"));
            }
            _ => {}
        }
        let mask = mask.into_iter().map(|value| f32::from(value) / 255.0).collect();
        let [width, height] = size.map(|edge| edge as usize);
        let mask = Array3::from_shape_vec([1, height, width], mask);
        Ok(request.with_mask(mask.map_err(|error| Failure::Failed(error.to_string()))?))
    }

    /// Whether the images of a class lead to another class.
    pub fn leads(&self, manifest: &Manifest) -> bool {
        matches!(self.second_class(manifest), Ok(Some((_, None))))
    }

    fn strength(&self) -> f32 {
        self.strength.unwrap_or(if self.mask.is_some() { 1.0 } else { 0.6 })
    }

    /// Width and height of the images.
    fn pixels(&self, manifest: &Manifest) -> Size {
        self.size.unwrap_or(manifest.image.as_ref().map_or([0, 0], |image| [image.width, image.height]))
    }

    fn second_class(&self, manifest: &Manifest) -> Result<Option<(i64, Option<f32>)>, Failure> {
        let Some(text) = &self.morph else { return Ok(None) };
        // A label may hold a colon.
        if let Ok(class) = manifest.classes.find(text) {
            return Ok(Some((class, None)));
        }
        let (name, amount) = match text.rsplit_once(':') {
            None => (text.as_str(), None),
            Some((name, amount)) => {
                let wrong =
                    |_| Failure::Usage(format!("--morph {text}: '{amount}' is no amount from 0 to 1"));
                (name, Some(amount.parse().map_err(wrong)?))
            }
        };
        Ok(Some((manifest.classes.find(name)?, amount)))
    }

    /// The arguments again; files without their folders.
    pub fn line(&self, manifest: &Manifest) -> String {
        let mut line = String::new();
        let mut add = |name: &str, value: Option<String>| {
            let _ = value.map_or(Ok(()), |value| write!(line, " --{name} {value}"));
        };
        let axes = self.seamless.and_then(|axes| axes.to_possible_value());
        add("seamless", axes.map(|value| value.get_name().to_owned()));
        add("size", self.size.map(|[width, height]| format!("{width}x{height}")));
        add("init", self.init.as_deref().map(file_name));
        add("strength", self.init.as_ref().map(|_| self.strength().to_string()));
        add("mask", self.mask.as_deref().map(file_name));
        add("vary", self.vary.map(|amount| amount.to_string()));
        let morph = self.second_class(manifest).ok().flatten().map(|(class, amount)| {
            plain_name(class, manifest) + &amount.map_or(String::new(), |amount| format!(":{amount}"))
        });
        add("morph", morph);
        line
    }
}

/// Whether the sides of two images are in other proportions, by more than rounding.
fn are_shaped_otherwise(one: Size, other: Size) -> bool {
    let [[a, b], [c, d]] = [one, other].map(|size| size.map(f64::from));
    (a * d / (b * c)).ln().abs() > 0.02
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_width_by_height() {
        assert_eq!(size("512x256"), Ok([512, 256]));
        for wrong in ["", "512", "x", "512x", "5x6x7", "-1x5", "512X256", "1.5x2"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
