//! The maps that a command writes: arguments, the files' names, and pixels.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flowturbo::{Manifest, Map, NormalY, PixelFormat, Pixels};

use crate::failure::Failure;
use crate::output::{Output, STANDARD};

/// Which maps, and how.
#[derive(Args)]
pub struct Maps {
    /// Write maps of the images, a file each: NAME.png becomes NAME_color.png, NAME_normal.png, ... all that the model
    /// makes, or some of them: color,normal,height,roughness,metallic,occlusion; orm (as in glTF) and mask (of Unity's
    /// HDRP) pack others. `flowturbo inspect` lists what the model has; heights have 16 bits
    #[arg(long, value_name = "all|MAP,...")]
    maps: Option<String>,
    /// Which way the y of normals points: up as in OpenGL, down as in DirectX [default: up]
    #[arg(long, value_enum, value_name = "up|down", requires = "maps", hide_possible_values = true)]
    normal_y: Option<Y>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Y {
    Up,
    Down,
}

/// A map and where its images go: one sheet, or numbered files.
pub struct MapFiles {
    pub map: Map,
    /// Whether it was asked for by its name.
    pub is_named: bool,
    pub outputs: Vec<Output>,
    normal_y: NormalY,
}

/// A map of images as PNG files hold it, one behind the other.
pub struct Drawn {
    pub format: PixelFormat,
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

impl Maps {
    /// The files of each map, checked before any work; of colour alone, by the name that was given, if no maps were
    /// asked for.
    pub fn files(
        &self,
        manifest: &Manifest,
        path: &Path,
        separate: bool,
        places: &[usize],
    ) -> Result<Vec<MapFiles>, Failure> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if extension.is_some_and(|extension| extension != "png") {
            let message = format!("{}: only PNG can be written; end the name in .png", path.display());
            return Err(Failure::Usage(message));
        }
        let chosen = self.chosen(manifest)?;
        let is_folder = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if is_folder && (separate || self.maps.is_some()) {
            return Err(Failure::Usage(format!(
                "{}: is a folder; give the name of a file in it",
                path.display()
            )));
        }
        let (is_named, is_standard) = (self.maps.is_some(), path.as_os_str() == STANDARD);
        if is_standard && chosen.len() > 1 {
            let message = "--maps writes several files; standard output takes one";
            return Err(Failure::Usage(message.into()));
        }
        let normal_y = if self.normal_y == Some(Y::Down) { NormalY::Down } else { NormalY::Up };
        let files = |map: Map| {
            let path = if is_named && !is_standard { named(path, map) } else { path.to_owned() };
            Ok(MapFiles { map, is_named, outputs: outputs(&path, separate, places)?, normal_y })
        };
        chosen.into_iter().map(files).collect()
    }

    fn chosen(&self, manifest: &Manifest) -> Result<Vec<Map>, Failure> {
        let Some(text) = &self.maps else { return Ok(vec![Map::Color]) };
        if text == "all" {
            return Ok(manifest.maps().to_vec());
        }
        if text.split(',').any(|name| name.trim() == "all") {
            return Err(Failure::Usage("--maps: all is all of them; give it alone, or names".into()));
        }
        let mut chosen = Vec::new();
        for name in text.split(',') {
            let map: Map = name.trim().parse()?;
            map.check(manifest.maps(), || format!("--maps: bundle '{}'", manifest.name))?;
            if chosen.contains(&map) {
                return Err(Failure::Usage(format!("--maps: {map} is there twice")));
            }
            chosen.push(map);
        }
        Ok(chosen)
    }

    /// The arguments again.
    pub fn line(&self) -> String {
        let maps =
            self.maps.as_ref().map_or(String::new(), |maps| format!(" --maps {}", maps.replace(' ', "")));
        let normal_y = if self.normal_y == Some(Y::Down) { " --normal-y down" } else { "" };
        maps + normal_y
    }
}

/// Where images go, checked before any work: one sheet, or numbered files for those at `places`.
fn outputs(path: &Path, separate: bool, places: &[usize]) -> Result<Vec<Output>, Failure> {
    if !separate {
        return Ok(vec![Output::new(path)?]);
    }
    if path.as_os_str() == STANDARD {
        return Err(Failure::Usage("--separate writes several files; standard output takes one".into()));
    }
    places.iter().map(|&i| Output::new(&numbered(path, i))).collect()
}

/// `brick.png` to `brick-3.png`.
fn numbered(path: &Path, index: usize) -> PathBuf {
    ending(path, &format!("-{index}"))
}

/// `brick.png` to `brick_normal.png`.
fn named(path: &Path, map: Map) -> PathBuf {
    ending(path, &format!("_{map}"))
}

fn ending(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(end);
    name.push(".png");
    path.with_file_name(name)
}

impl MapFiles {
    /// Room for the map of images `[N, H, W]`.
    pub fn room(&self, [images, height, width]: [usize; 3]) -> Result<Drawn, Failure> {
        let format = match self.map {
            Map::Height => PixelFormat::Grey16,
            Map::Roughness | Map::Metallic | Map::Occlusion => PixelFormat::Grey8,
            Map::HdrpMask => PixelFormat::Rgba8,
            _ => PixelFormat::Rgb8,
        };
        let (mut bytes, size) = (Vec::new(), images * height * width * format.bytes());
        bytes.try_reserve_exact(size).map_err(|_| {
            Failure::Failed(format!(
                "{images} images of {width} x {height} pixels: there is no memory for them"
            ))
        })?;
        bytes.resize(size, 0);
        Ok(Drawn { format, width, height, bytes })
    }

    /// Memory of a [`Drawn`] to draw to.
    pub fn pixels<'a>(&self, format: PixelFormat, bytes: &'a mut [u8]) -> Pixels<'a> {
        Pixels::new(format, bytes).with_normal_y(self.normal_y)
    }
}

impl Drawn {
    /// Bytes of an image.
    pub fn each(&self) -> usize {
        self.width * self.height * self.format.bytes()
    }

    pub fn images(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.each().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_before_the_extension() {
        assert_eq!(numbered(Path::new("a/brick.png"), 0), Path::new("a/brick-0.png"));
        assert_eq!(numbered(Path::new("brick"), 12), Path::new("brick-12.png"));
        assert_eq!(numbered(Path::new("v1.5.PNG"), 1), Path::new("v1.5-1.png"));
        assert_eq!(named(Path::new("a/brick.png"), Map::Normal), Path::new("a/brick_normal.png"));
        assert_eq!(named(Path::new("brick"), Map::HdrpMask), Path::new("brick_mask.png"));
        assert_eq!(numbered(&named(Path::new("b.png"), Map::Color), 3), Path::new("b_color-3.png"));
    }
}
