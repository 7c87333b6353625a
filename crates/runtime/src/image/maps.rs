//! Maps of a decoder's answer as pixels: what each becomes, and the formats that hold it.

use ndarray::{ArrayView4, Axis};

use super::pixels::{Canvas, PixelFormat, Pixels};
use crate::bundle::Map;
use crate::error::invalid_argument;
use crate::{Manifest, Result, memory};

/// Which way the y of a normal map points, as it is written. Engines differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NormalY {
    /// To the top of the image, as in OpenGL: Blender, Godot, glTF, Unity.
    #[default]
    Up,
    /// To the bottom, as in DirectX: Unreal.
    Down,
}

/// Writes one map of `channels`, `[N, M, H, W]` in [-1, 1], the answer of the manifest's decoder (as
/// `Session::decode_maps` gives it), for each of the `N` images. What lies outside of [-1, 1] is clamped.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument): a map that cannot be made of these, a format that does not
/// hold it, memory that cannot hold the images, another number of channels.
pub fn draw_map(channels: ArrayView4<f32>, manifest: &Manifest, map: Map, pixels: &mut Pixels) -> Result<()> {
    let (maps, shape) = (manifest.maps(), channels.shape());
    map.check(maps, || format!("bundle '{}'", manifest.name))?;
    let wanted: usize = maps.iter().map(|map| map.channels()).sum();
    if shape[1] != wanted {
        return Err(invalid_argument(format!("the maps are {wanted} channels, were given as {shape:?}")));
    }
    let mut canvas = pixels.hold_map(map, [shape[0], shape[2], shape[3]])?;
    for (i, image) in channels.axis_iter(Axis(0)).enumerate() {
        let image = memory::collected(image.len(), image.iter().copied())?;
        canvas.draw_map(i, map, maps, &image);
    }
    Ok(())
}

impl Pixels<'_> {
    /// Refuses a format that does not hold `map`.
    pub(super) fn check(&self, map: Map) -> Result<()> {
        use PixelFormat::{Bgra8, Grey8, Grey16, GreyF32, RgbF16, RgbF32, Rgba8};
        let formats = match map {
            Map::Color | Map::Normal | Map::Orm => &[PixelFormat::Rgb8, Rgba8, Bgra8, RgbF16, RgbF32][..],
            Map::Height | Map::Roughness | Map::Metallic | Map::Occlusion => &[Grey8, Grey16, GreyF32],
            Map::HdrpMask => &[Rgba8, Bgra8],
        };
        if !formats.contains(&self.format) {
            let (format, known) = (self.format, formats.iter().map(ToString::to_string));
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(invalid_argument(format!("pixels: {format} holds no {map} map; {known} can")));
        }
        Ok(())
    }

    /// A place in this memory for a map of images `[N, H, W]`, if they fit.
    #[doc(hidden)]
    pub fn hold_map(&mut self, map: Map, shape: [usize; 3]) -> Result<MapCanvas<'_>> {
        self.check(map)?;
        let (normal_y, area) = (self.normal_y, shape[1].saturating_mul(shape[2]));
        Ok(MapCanvas { canvas: self.hold_any(shape)?, normal_y, area })
    }
}

/// Memory to draw a map to.
pub struct MapCanvas<'a> {
    canvas: Canvas<'a>,
    normal_y: NormalY,
    area: usize,
}

impl MapCanvas<'_> {
    /// Writes `map` of image `i`, of the channels `[M, H, W]` of `maps`, of which it can be made.
    pub fn draw_map(&mut self, i: usize, map: Map, maps: &[Map], channels: &[f32]) {
        let area = self.area;
        // The map's first channel and those behind it; one that the model has not is the same everywhere.
        let from = |map: Map| map.place(maps).and_then(|place| channels.get(place * area..));
        let grey = |map: Map, none: f32| {
            let found = from(map);
            move |pixel: usize| found.map_or(none, |values| values[pixel])
        };
        let own = from(map).unwrap_or_default();
        let (roughness, metallic) = (grey(Map::Roughness, 0.0), grey(Map::Metallic, -1.0));
        let occlusion = grey(Map::Occlusion, 1.0);
        let turn = if self.normal_y == NormalY::Down { -1.0 } else { 1.0 };
        let canvas = &mut self.canvas;
        match map {
            Map::Color => canvas.draw(i, own),
            Map::Normal => canvas.draw_with(i, |pixel| {
                let [x, y, z] = normal(own[pixel], own[area + pixel]);
                [x, y * turn, z]
            }),
            Map::Height | Map::Roughness | Map::Metallic | Map::Occlusion => {
                canvas.draw_with(i, |pixel| [own[pixel]; 3]);
            }
            Map::Orm => canvas.draw_with(i, |pixel| [occlusion(pixel), roughness(pixel), metallic(pixel)]),
            Map::HdrpMask => {
                canvas.paint(i, |pixel| [metallic(pixel), occlusion(pixel), -1.0, -roughness(pixel)]);
            }
        }
    }
}

/// The unit vector of its x and y; those that are longer than it are clamped to the unit disc. In double precision,
/// where no square is too large.
fn normal(x: f32, y: f32) -> [f32; 3] {
    let [x, y] = [x, y].map(f64::from);
    let square = x * x + y * y;
    let length = square.sqrt().max(1.0);
    [x / length, y / length, (1.0 - square).max(0.0).sqrt()].map(|value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of three pixels, channel by channel, and what lies outside of [-1, 1] among them.
    const MAPS: &[Map] =
        &[Map::Color, Map::Occlusion, Map::Normal, Map::Roughness, Map::Metallic, Map::Height];
    const CHANNELS: [[f32; 3]; 9] = [
        [-1.0, 0.0, 9.0],
        [0.5, 0.0, 1.0],
        [1.0, 0.0, -9.0],
        [1.0, 0.6, -2.0],
        [0.28, 0.0, 7.0],
        [-0.96, 0.0, 24.0],
        [-1.0, 0.2, 1.5],
        [-1.0, 1.0, 0.0],
        [-0.5, 0.25, 7.0],
    ];

    fn drawn(map: Map, maps: &[Map], channels: &[[f32; 3]], format: PixelFormat, y: NormalY) -> Vec<u8> {
        let mut data = vec![0; 3 * format.bytes()];
        let mut pixels = Pixels::new(format, &mut data).with_normal_y(y);
        pixels.hold_map(map, [1, 1, 3]).unwrap().draw_map(0, map, maps, channels.as_flattened());
        data
    }

    fn all(map: Map, format: PixelFormat) -> Vec<u8> {
        drawn(map, MAPS, &CHANNELS, format, NormalY::Up)
    }

    #[test]
    fn normals_are_unit_vectors_whose_y_goes_up_or_down() {
        // 0.28 and -0.96 leave no z, 0 and 0 leave all of it, 7 and 24 are 0.28 and 0.96 of their length.
        assert_eq!(all(Map::Normal, PixelFormat::Rgb8), [163, 5, 128, 128, 128, 255, 163, 250, 128]);
        let down = drawn(Map::Normal, MAPS, &CHANNELS, PixelFormat::Rgba8, NormalY::Down);
        assert_eq!(down, [163, 250, 128, 255, 128, 128, 255, 255, 163, 5, 128, 255]);
        for (x, y, z) in [(0.5, -0.5, 0.5_f32.sqrt()), (0.6, 0.0, 0.8), (0.0, -1.0, 0.0), (1e20, 0.0, 0.0)] {
            let [a, b, c] = normal(x, y);
            assert!(
                (c - z).abs() < 1e-6 && (a * a + b * b + c * c - 1.0).abs() < 1e-6,
                "{x} {y}: {a} {b} {c}"
            );
        }
    }

    #[test]
    fn grey_maps_come_in_three_depths() {
        // -0.5 and 0.25 are 0.25 and 0.625 of the whole.
        assert_eq!(all(Map::Height, PixelFormat::Grey8), [64, 159, 255]);
        let levels = [16384_u16, 40959, 65535];
        assert_eq!(all(Map::Height, PixelFormat::Grey16), levels.map(u16::to_ne_bytes).as_flattened());
        let floats = [0.25_f32, 0.625, 1.0];
        assert_eq!(all(Map::Height, PixelFormat::GreyF32), floats.map(f32::to_ne_bytes).as_flattened());
        assert_eq!(all(Map::Roughness, PixelFormat::Grey8), [0, 153, 255]);
        assert_eq!(all(Map::Metallic, PixelFormat::Grey8), [0, 255, 128]);
        assert_eq!(all(Map::Occlusion, PixelFormat::Grey8), [255, 204, 0]);
    }

    #[test]
    fn packed_maps_put_each_map_where_engines_look_for_it() {
        assert_eq!(all(Map::Orm, PixelFormat::Rgb8), [255, 0, 0, 204, 153, 255, 0, 255, 128]);
        assert_eq!(all(Map::HdrpMask, PixelFormat::Rgba8), [0, 255, 0, 255, 255, 204, 0, 102, 128, 0, 0, 0]);
        assert_eq!(all(Map::HdrpMask, PixelFormat::Bgra8), [0, 255, 0, 255, 0, 204, 255, 102, 0, 0, 128, 0]);
        // What a model has not: open, and no metal.
        let (maps, channels) =
            (&[Map::Color, Map::Roughness], [CHANNELS[0], CHANNELS[1], CHANNELS[2], [0.2; 3]]);
        let draw = |map, format| drawn(map, maps, &channels, format, NormalY::Up)[..format.bytes()].to_vec();
        assert_eq!(draw(Map::Orm, PixelFormat::Rgb8), [255, 153, 0]);
        assert_eq!(draw(Map::HdrpMask, PixelFormat::Rgba8), [0, 255, 0, 102]);
    }

    #[test]
    fn colours_are_as_without_maps() {
        let mut plain = [0; 9];
        Pixels::rgb8(&mut plain).hold([1, 1, 3]).unwrap().draw(0, CHANNELS[..3].as_flattened());
        assert_eq!(all(Map::Color, PixelFormat::Rgb8), plain);
        assert_eq!(plain[..3], [0, 191, 255]);
    }

    #[test]
    fn a_format_that_does_not_hold_a_map_is_refused_with_those_that_do() {
        for (map, format, words) in [
            (Map::Height, PixelFormat::Rgb8, "RGB8 holds no height map; GREY8, GREY16, GREY_F32 can"),
            (
                Map::Color,
                PixelFormat::Grey8,
                "GREY8 holds no color map; RGB8, RGBA8, BGRA8, RGB_F16, RGB_F32 can",
            ),
            (
                Map::Normal,
                PixelFormat::Grey16,
                "GREY16 holds no normal map; RGB8, RGBA8, BGRA8, RGB_F16, RGB_F32 can",
            ),
            (Map::HdrpMask, PixelFormat::Rgb8, "RGB8 holds no mask map; RGBA8, BGRA8 can"),
        ] {
            let mut data = vec![0; 64];
            let mut pixels = Pixels::new(format, &mut data);
            let error = pixels.hold_map(map, [1, 1, 3]).err().unwrap().to_string();
            assert_eq!(error, format!("pixels: {words}"));
        }
        let mut data = [0; 8];
        let error = Pixels::rgb8(&mut data).hold_map(Map::Normal, [1, 1, 3]).err().unwrap().to_string();
        assert_eq!(error, "pixels: 8 bytes; 1 of 3 x 1 RGB8 take 9");
        let colours = Pixels::new(PixelFormat::Grey8, &mut data).hold([1, 1, 8]).err().unwrap().to_string();
        assert_eq!(colours, "pixels: GREY8 holds no color map; RGB8, RGBA8, BGRA8, RGB_F16, RGB_F32 can");
    }
}
