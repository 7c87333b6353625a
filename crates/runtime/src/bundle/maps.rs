//! The maps of a material: what a decoder's channels hold, and what is packed of them.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::manifest::Manifest;
use super::parse::{quoted, shortened};
use super::role::{Extent, Role};
use crate::Result;
use crate::error::{Error, invalid_argument};

/// A map of a material: colour, or what of its surface an engine wants beside it. `Display` gives its name.
///
/// The first six are what a decoder makes, and what `image.maps` of a manifest lists; the others are
/// [packed](Self::is_packed) of them. docs/maps.md says what their numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Map {
    /// `color`: red, green, blue, sRGB. Every model that makes images has it.
    Color,
    /// `normal`: the direction that the surface faces, x to the right, y up, z out of the image.
    Normal,
    /// `height`: 0 is the lowest place, 1 the highest.
    Height,
    /// `roughness`: 0 is a mirror, 1 is dull.
    Roughness,
    /// `metallic`: 1 is metal, 0 is none.
    Metallic,
    /// `occlusion`: 1 lies open, 0 in the dark of what is around it.
    Occlusion,
    /// `orm`, glTF's layout: red occlusion (1 if the model has none), green roughness, blue metallic (0 if the model
    /// has none).
    Orm,
    /// `mask`, the mask map of Unity's HDRP: red metallic (0 if the model has none), green occlusion (1 if the model
    /// has none), blue the detail mask, 0, alpha smoothness, 1 - roughness.
    HdrpMask,
}

impl Map {
    /// Every map, those that decoders make first.
    pub const ALL: &[Self] = &[
        Self::Color,
        Self::Normal,
        Self::Height,
        Self::Roughness,
        Self::Metallic,
        Self::Occlusion,
        Self::Orm,
        Self::HdrpMask,
    ];

    /// As manifests and the command line write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Color => "color",
            Self::Normal => "normal",
            Self::Height => "height",
            Self::Roughness => "roughness",
            Self::Metallic => "metallic",
            Self::Occlusion => "occlusion",
            Self::Orm => "orm",
            Self::HdrpMask => "mask",
        }
    }

    /// Whether it is made of other maps, and no decoder makes it.
    pub fn is_packed(self) -> bool {
        self.channels() == 0
    }

    /// Channels of a decoder's answer that hold it; 0 of a packed one.
    #[doc(hidden)]
    pub fn channels(self) -> usize {
        match self {
            Self::Color => 3,
            Self::Normal => 2,
            Self::Height | Self::Roughness | Self::Metallic | Self::Occlusion => 1,
            Self::Orm | Self::HdrpMask => 0,
        }
    }

    /// The first channel that holds it in the answer of a decoder that makes `maps`.
    #[doc(hidden)]
    pub fn place(self, maps: &[Self]) -> Option<usize> {
        let at = maps.iter().position(|&map| map == self)?;
        Some(channels(&maps[..at]))
    }

    /// Whether it can be made of `maps`.
    pub fn is_made_of(self, maps: &[Self]) -> bool {
        maps.contains(if self.is_packed() { &Self::Roughness } else { &self })
    }

    /// Refuses a map that cannot be made of `maps`.
    #[doc(hidden)]
    pub fn check(self, maps: &[Self], of: impl FnOnce() -> String) -> Result<()> {
        if self.is_made_of(maps) {
            return Ok(());
        }
        let (of, has) = (of(), names(&every(maps)));
        let needed = if self.is_packed() { ", which packs its roughness" } else { "" };
        Err(invalid_argument(format!("{of} has no {self} map{needed}; it has {has}")))
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Map {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|map| map.name() == name).ok_or_else(|| {
            let name = shortened(name).escape_debug().to_string();
            invalid_argument(format!("no map is called '{name}'; there are {}", names(Self::ALL)))
        })
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let stored = Self::ALL.iter().copied().filter(|map| !map.is_packed());
        stored.clone().find(|map| map.name() == name).ok_or_else(|| {
            let known = names(&stored.collect::<Vec<_>>());
            de::Error::custom(format!("must be one of {known}, is {}", quoted(&name)))
        })
    }
}

impl Manifest {
    /// The maps that the decoder makes, in the order of its channels: `image.maps`, or colour alone. None without a
    /// decoder.
    pub fn maps(&self) -> &[Map] {
        match &self.image {
            Some(image) if self.has(Role::Decoder) => image.maps.as_deref().unwrap_or(&[Map::Color]),
            _ => &[],
        }
    }

    /// `[N, M, H, W]` of what the decoder makes; none without one.
    #[doc(hidden)]
    pub fn maps_shape(&self, extent: Extent) -> Option<[usize; 4]> {
        let [images, _, height, width] = self.image_shape(extent).filter(|_| self.has(Role::Decoder))?;
        Some([images, channels(self.maps()), height, width])
    }
}

/// All that can be made of `maps`, the decoder's first.
fn every(maps: &[Map]) -> Vec<Map> {
    let packed = Map::ALL.iter().copied().filter(|map| map.is_packed() && map.is_made_of(maps));
    maps.iter().copied().chain(packed).collect()
}

fn names(maps: &[Map]) -> String {
    if maps.is_empty() {
        "none".into()
    } else {
        maps.iter().map(|map| map.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Channels of a decoder's answer.
fn channels(maps: &[Map]) -> usize {
    maps.iter().map(|map| map.channels()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_lie_in_the_order_of_the_list() {
        let maps = [Map::Color, Map::Height, Map::Normal, Map::Roughness];
        let places: Vec<_> = Map::ALL.iter().map(|map| map.place(&maps)).collect();
        assert_eq!(places, [Some(0), Some(4), Some(3), Some(6), None, None, None, None]);
        assert_eq!(channels(&maps), 7);
    }

    #[test]
    fn names_are_read_back_and_others_are_refused_with_the_list() {
        for &map in Map::ALL {
            assert_eq!(map.to_string().parse::<Map>().unwrap(), map);
        }
        let error = "albedo\n".parse::<Map>().unwrap_err().to_string();
        let words = "no map is called 'albedo\\n'; there are color, normal, height, roughness, metallic, occlusion, \
                     orm, mask";
        assert_eq!(error, words);
    }

    #[test]
    fn a_map_that_is_not_there_is_told_with_those_that_are() {
        let say = |map: Map, maps: &[Map]| map.check(maps, || "bundle 'x'".into()).map_err(|e| e.to_string());
        let maps = [Map::Color, Map::Roughness];
        assert_eq!(say(Map::Orm, &maps), Ok(()));
        assert_eq!(
            say(Map::Height, &maps),
            Err("bundle 'x' has no height map; it has color, roughness, orm, mask".into())
        );
        assert_eq!(
            say(Map::HdrpMask, &[Map::Color, Map::Normal]),
            Err("bundle 'x' has no mask map, which packs its roughness; it has color, normal".into())
        );
        assert_eq!(say(Map::Color, &[]), Err("bundle 'x' has no color map; it has none".into()));
    }
}
