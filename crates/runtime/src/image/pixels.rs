//! Decoder output to pixels in the caller's format.

use half::f16;
use ndarray::{Array4, ArrayView4, Axis};

use super::maps::NormalY;
use crate::bundle::Map;
use crate::error::{invalid_argument, runtime};
use crate::{Result, memory};

/// One image, 8-bit RGB, rows from top to bottom, no padding.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// `height * width * 3` bytes: red, green, blue.
    pub rgb: Vec<u8>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{})", self.width, self.height)
    }
}

/// What a pixel is made of. Colours are sRGB, as in a PNG; other maps are linear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Three bytes: red, green, blue.
    #[default]
    Rgb8,
    /// Four bytes: red, green, blue, 255 (but for [`Map::HdrpMask`], which has an alpha).
    Rgba8,
    /// Four bytes: blue, green, red and a fourth as in `Rgba8`.
    Bgra8,
    /// Three IEEE half floats in 0..=1, in the processor's byte order.
    RgbF16,
    /// Three floats in 0..=1, in the processor's byte order.
    RgbF32,
    /// One byte. This and those below are for [maps](crate::Map) of one number a pixel.
    Grey8,
    /// Two bytes, 0 to 65535, in the processor's byte order.
    Grey16,
    /// One float in 0..=1, in the processor's byte order.
    GreyF32,
}

impl std::fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rgb8 => "RGB8",
            Self::Rgba8 => "RGBA8",
            Self::Bgra8 => "BGRA8",
            Self::RgbF16 => "RGB_F16",
            Self::RgbF32 => "RGB_F32",
            Self::Grey8 => "GREY8",
            Self::Grey16 => "GREY16",
            Self::GreyF32 => "GREY_F32",
        })
    }
}

impl PixelFormat {
    /// Bytes of a pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Rgb8 => 3,
            Self::Rgba8 | Self::Bgra8 => 4,
            Self::RgbF16 => 6,
            Self::RgbF32 => 12,
            Self::Grey8 => 1,
            Self::Grey16 => 2,
            Self::GreyF32 => 4,
        }
    }
}

/// The caller's memory for images, `[N, H, W]` pixels: rows from top to bottom, one image after another.
/// What lies between rows and between images is left as it is.
///
/// ```
/// # use flowturbo_runtime as flowturbo;
/// use flowturbo::{PixelFormat, Pixels};
/// let mut texture = vec![0; 256 * 4 * 128];
/// let pixels = Pixels::new(PixelFormat::Rgba8, &mut texture).with_row_stride(256 * 4);
/// ```
#[derive(Debug)]
pub struct Pixels<'a> {
    pub(super) format: PixelFormat,
    data: &'a mut [u8],
    row_stride: Option<usize>,
    image_stride: Option<usize>,
    pub(super) normal_y: NormalY,
}

impl<'a> Pixels<'a> {
    /// Memory without gaps.
    pub fn new(format: PixelFormat, data: &'a mut [u8]) -> Self {
        Self { format, data, row_stride: None, image_stride: None, normal_y: NormalY::Up }
    }

    /// Memory without gaps for 8-bit RGB.
    pub fn rgb8(data: &'a mut [u8]) -> Self {
        Self::new(PixelFormat::Rgb8, data)
    }

    /// These pixels with `bytes` from the start of a row to the start of the next.
    #[must_use]
    pub fn with_row_stride(mut self, bytes: usize) -> Self {
        self.row_stride = Some(bytes);
        self
    }

    /// These pixels with `bytes` from the start of an image to the start of the next.
    #[must_use]
    pub fn with_image_stride(mut self, bytes: usize) -> Self {
        self.image_stride = Some(bytes);
        self
    }

    /// These pixels with the y of normals the other way; other maps are the same.
    #[must_use]
    pub fn with_normal_y(mut self, normal_y: NormalY) -> Self {
        self.normal_y = normal_y;
        self
    }

    /// A place in this memory for images `[N, H, W]` in colour, if they fit.
    #[doc(hidden)]
    pub fn hold(&mut self, shape: [usize; 3]) -> Result<Canvas<'_>> {
        self.check(Map::Color)?;
        self.hold_any(shape)
    }

    /// As [`hold`](Self::hold), in any format.
    pub(super) fn hold_any(&mut self, shape: [usize; 3]) -> Result<Canvas<'_>> {
        let strides = (self.row_stride, self.image_stride);
        let layout = Layout::fit("pixels", self.format, self.data.len(), strides, shape)?;
        Ok(Canvas { data: self.data, layout })
    }
}

/// The caller's images to be read, laid out as [`Pixels`] are.
#[derive(Clone, Copy, Debug)]
pub struct PixelsRef<'a> {
    format: PixelFormat,
    data: &'a [u8],
    row_stride: Option<usize>,
    image_stride: Option<usize>,
}

impl<'a> PixelsRef<'a> {
    /// Memory without gaps.
    pub fn new(format: PixelFormat, data: &'a [u8]) -> Self {
        Self { format, data, row_stride: None, image_stride: None }
    }

    /// Memory without gaps of 8-bit RGB.
    pub fn rgb8(data: &'a [u8]) -> Self {
        Self::new(PixelFormat::Rgb8, data)
    }

    /// These pixels with `bytes` from the start of a row to the start of the next.
    #[must_use]
    pub fn with_row_stride(mut self, bytes: usize) -> Self {
        self.row_stride = Some(bytes);
        self
    }

    /// These pixels with `bytes` from the start of an image to the start of the next.
    #[must_use]
    pub fn with_image_stride(mut self, bytes: usize) -> Self {
        self.image_stride = Some(bytes);
        self
    }

    /// `shape` `[N, H, W]` of them as images `[N, 3, H, W]` in [-1, 1], as a `Request` begins
    /// with; a fourth channel is not looked at, grey is the same in all three, floats are clamped. Bytes come back as
    /// they were from [`to_pixels`] and [`Pixels`].
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for memory that cannot hold so many pixels.
    pub fn to_array(&self, shape: [usize; 3]) -> Result<Array4<f32>> {
        let strides = (self.row_stride, self.image_stride);
        let layout = Layout::fit("pixels", self.format, self.data.len(), strides, shape)?;
        let [images, height, width] = shape;
        let mut floats = Vec::new();
        memory::reserve(&mut floats, images * 3 * height * width)?;
        for image in 0..images {
            for channel in 0..3 {
                for y in 0..height {
                    let row = &self.data[layout.row(image, y)];
                    floats.extend((0..width).map(|x| layout.channel(row, x, channel)));
                }
            }
        }
        Array4::from_shape_vec([images, 3, height, width], floats).map_err(|e| runtime(e.to_string()))
    }
}

/// Where images lie in a memory that was found large enough.
#[derive(Clone, Copy)]
struct Layout {
    format: PixelFormat,
    /// Bytes.
    row: usize,
    row_stride: usize,
    image_stride: usize,
    height: usize,
    width: usize,
}

impl Layout {
    /// Images `[N, H, W]` in `found` bytes; strides of none mean that there are no gaps.
    fn fit(
        name: &str,
        format: PixelFormat,
        found: usize,
        (row_stride, image_stride): (Option<usize>, Option<usize>),
        [images, height, width]: [usize; 3],
    ) -> Result<Self> {
        if [images, height, width].contains(&0) {
            return Err(invalid_argument(format!("{name}: {images} of {width} x {height} pixels are none")));
        }
        // Without gaps the size is known, and another one is a mistake.
        let dense = row_stride.is_none() && image_stride.is_none();
        let row = width.saturating_mul(format.bytes());
        let row_stride = row_stride.unwrap_or(row);
        if row_stride < row {
            return Err(invalid_argument(format!(
                "{name}: a row stride of {row_stride} bytes; rows take {row} ({width} pixels)"
            )));
        }
        // The last row of an image, and the last image, need no gap behind them.
        let image = spread(height, row_stride, row);
        let image_stride = image_stride.unwrap_or(row_stride.saturating_mul(height));
        if images > 1 && image_stride < image {
            return Err(invalid_argument(format!(
                "{name}: an image stride of {image_stride} bytes; images take {image}"
            )));
        }
        let wanted = spread(images, image_stride, image);
        if found < wanted || (dense && found != wanted) {
            return Err(invalid_argument(format!(
                "{name}: {found} bytes; {images} of {width} x {height} {format} take {wanted}"
            )));
        }
        Ok(Self { format, row, row_stride, image_stride, height, width })
    }

    /// The bytes of a row.
    fn row(&self, image: usize, y: usize) -> std::ops::Range<usize> {
        let start = image * self.image_stride + y * self.row_stride;
        start..start + self.row
    }

    /// Red, green or blue of a row's pixel, in [-1, 1].
    fn channel(&self, row: &[u8], x: usize, channel: usize) -> f32 {
        let pixel = &row[x * self.format.bytes()..][..self.format.bytes()];
        let wide = |size: usize| pixel[if pixel.len() == size { 0 } else { channel * size }..][..size].iter();
        match self.format {
            PixelFormat::Rgb8 | PixelFormat::Rgba8 => f32::from(pixel[channel]) / 127.5 - 1.0,
            PixelFormat::Bgra8 => f32::from(pixel[2 - channel]) / 127.5 - 1.0,
            PixelFormat::Grey8 => f32::from(pixel[0]) / 127.5 - 1.0,
            PixelFormat::Grey16 => f32::from(u16::from_ne_bytes([pixel[0], pixel[1]])) / 32767.5 - 1.0,
            PixelFormat::RgbF16 => {
                let mut bytes = [0; 2];
                bytes.iter_mut().zip(wide(2)).for_each(|(to, from)| *to = *from);
                signed(f16::from_ne_bytes(bytes).to_f32())
            }
            PixelFormat::RgbF32 | PixelFormat::GreyF32 => {
                let mut bytes = [0; 4];
                bytes.iter_mut().zip(wide(4)).for_each(|(to, from)| *to = *from);
                signed(f32::from_ne_bytes(bytes))
            }
        }
    }
}

/// Bytes from the start of the first of `count` things, at least one, to the end of the last.
fn spread(count: usize, stride: usize, last: usize) -> usize {
    (count - 1).saturating_mul(stride).saturating_add(last)
}

/// Memory to draw to.
pub struct Canvas<'a> {
    data: &'a mut [u8],
    layout: Layout,
}

impl Canvas<'_> {
    /// Writes image `image`, `[3, H, W]` in [-1, 1]; what lies outside is clamped.
    pub fn draw(&mut self, i: usize, image: &[f32]) {
        let area = self.layout.height * self.layout.width;
        self.draw_with(i, |pixel| [0, 1, 2].map(|channel| image[channel * area + pixel]));
    }

    /// Writes image `image`, whose red, green and blue in [-1, 1] `colour` gives for each pixel `y * W + x`.
    pub fn draw_with(&mut self, image: usize, colour: impl Fn(usize) -> [f32; 3]) {
        self.paint(image, |pixel| {
            let [r, g, b] = colour(pixel);
            [r, g, b, 1.0]
        });
    }

    /// Likewise with a fourth number, for formats that have one; those of grey take the first.
    pub(super) fn paint(&mut self, image: usize, numbers: impl Fn(usize) -> [f32; 4]) {
        let Layout { format, height, width, .. } = self.layout;
        for y in 0..height {
            let row = &mut self.data[self.layout.row(image, y)];
            let pixels = row.chunks_exact_mut(format.bytes()).enumerate();
            let pixels = pixels.map(|(x, out)| (out, numbers(y * width + x)));
            match format {
                PixelFormat::Rgb8 => {
                    pixels.for_each(|(out, [r, g, b, _])| out.copy_from_slice(&[r, g, b].map(byte)));
                }
                PixelFormat::Rgba8 => {
                    pixels.for_each(|(out, numbers)| out.copy_from_slice(&numbers.map(byte)));
                }
                PixelFormat::Bgra8 => {
                    pixels.for_each(|(out, [r, g, b, a])| out.copy_from_slice(&[b, g, r, a].map(byte)));
                }
                PixelFormat::RgbF16 => pixels.for_each(|(out, [r, g, b, _])| {
                    let halves = [r, g, b].map(|value| f16::from_f32(unit(value)).to_ne_bytes());
                    out.copy_from_slice(halves.as_flattened());
                }),
                PixelFormat::RgbF32 => pixels.for_each(|(out, [r, g, b, _])| {
                    let floats = [r, g, b].map(|value| unit(value).to_ne_bytes());
                    out.copy_from_slice(floats.as_flattened());
                }),
                PixelFormat::Grey8 => pixels.for_each(|(out, [grey, ..])| out.copy_from_slice(&[byte(grey)])),
                PixelFormat::Grey16 => pixels.for_each(|(out, [grey, ..])| {
                    let level = (unit(grey) * 65535.0).round() as u16;
                    out.copy_from_slice(&level.to_ne_bytes());
                }),
                PixelFormat::GreyF32 => {
                    pixels.for_each(|(out, [grey, ..])| out.copy_from_slice(&unit(grey).to_ne_bytes()));
                }
            }
        }
    }
}

/// From 0..=1 to [-1, 1], and what lies outside to its end; no number stays none, to be refused.
fn signed(value: f32) -> f32 {
    if value.is_finite() { value.clamp(0.0, 1.0) * 2.0 - 1.0 } else { value }
}

/// From [-1, 1] to 0..=255.
fn byte(value: f32) -> u8 {
    ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// From [-1, 1] to 0..=1.
fn unit(value: f32) -> f32 {
    (value.clamp(-1.0, 1.0) + 1.0) * 0.5
}

/// Turns `[N, 3, H, W]` in [-1, 1] into images; what lies outside is clamped.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if there are not three channels.
pub fn to_pixels(images: ArrayView4<f32>) -> Result<Vec<Image>> {
    if images.len_of(Axis(1)) != 3 {
        let shape = images.shape();
        return Err(invalid_argument(format!("images have 3 channels, were given as {shape:?}")));
    }
    let draw = |image: ndarray::ArrayView3<f32>| {
        let (_, height, width) = image.dim();
        let image = memory::collected(image.len(), image.iter().copied())?;
        rgb8(&image, height, width)
    };
    images.axis_iter(Axis(0)).map(draw).collect()
}

/// `[3, H, W]` in [-1, 1] as an image of its own.
pub fn rgb8(image: &[f32], height: usize, width: usize) -> Result<Image> {
    let mut rgb = memory::filled(height * width * 3, 0)?;
    Pixels::rgb8(&mut rgb).hold([1, height, width])?.draw(0, image);
    Ok(Image { width, height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels: red -1, 5; green 0, -7; blue 1, 0.5.
    const IMAGE: [f32; 6] = [-1.0, 5.0, 0.0, -7.0, 1.0, 0.5];

    #[test]
    fn channels_interleave_and_values_clamp() {
        let images = Array4::from_shape_vec([1, 3, 1, 2], IMAGE.to_vec()).unwrap();
        let images = to_pixels(images.view()).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!((images[0].width, images[0].height), (2, 1));
        assert_eq!(images[0].rgb, [0, 128, 255, 255, 0, 191]);
    }

    #[test]
    fn other_than_three_channels_are_refused() {
        assert!(to_pixels(Array4::zeros([1, 4, 2, 2]).view()).is_err());
    }

    fn drawn(format: PixelFormat) -> Vec<u8> {
        let mut data = vec![0; 2 * format.bytes()];
        Pixels::new(format, &mut data).hold([1, 1, 2]).unwrap().draw(0, &IMAGE);
        data
    }

    #[test]
    fn each_format_orders_and_scales_its_channels() {
        assert_eq!(drawn(PixelFormat::Rgb8), [0, 128, 255, 255, 0, 191]);
        assert_eq!(drawn(PixelFormat::Rgba8), [0, 128, 255, 255, 255, 0, 191, 255]);
        assert_eq!(drawn(PixelFormat::Bgra8), [255, 128, 0, 255, 191, 0, 255, 255]);
        let floats = [0.0f32, 0.5, 1.0, 1.0, 0.0, 0.75];
        let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_ne_bytes()).collect();
        assert_eq!(drawn(PixelFormat::RgbF32), bytes);
        let bytes: Vec<u8> = floats.iter().flat_map(|&value| f16::from_f32(value).to_ne_bytes()).collect();
        assert_eq!(drawn(PixelFormat::RgbF16), bytes);
    }

    #[test]
    fn what_was_drawn_is_read_back() {
        let bytes: Vec<u8> = (0..=255).chain(0..44).collect();
        let read = PixelsRef::rgb8(&bytes).to_array([2, 5, 10]).unwrap();
        let back: Vec<u8> = to_pixels(read.view()).unwrap().into_iter().flat_map(|image| image.rgb).collect();
        assert_eq!(back, bytes);
        for format in [PixelFormat::Rgba8, PixelFormat::Bgra8, PixelFormat::RgbF16, PixelFormat::RgbF32] {
            let mut data = vec![9; 2 * format.bytes() + 5];
            let mut pixels = Pixels::new(format, &mut data).with_row_stride(format.bytes() + 5);
            pixels.hold([1, 2, 1]).unwrap().draw(0, &IMAGE);
            let read = PixelsRef::new(format, &data).with_row_stride(format.bytes() + 5);
            let read = read.to_array([1, 2, 1]).unwrap();
            let clamped = IMAGE.map(|value| value.clamp(-1.0, 1.0));
            let error = read.iter().zip(clamped).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 0.005, "{format}: {error}");
        }
        // Grey is the same in red, green and blue.
        for (format, bytes) in [
            (PixelFormat::Grey8, vec![0, 51]),
            (PixelFormat::Grey16, [0, 13107_u16].map(u16::to_ne_bytes).concat()),
            (PixelFormat::GreyF32, [0.0, 0.2_f32].map(f32::to_ne_bytes).concat()),
        ] {
            let read = PixelsRef::new(format, &bytes).to_array([1, 1, 2]).unwrap();
            let error =
                read.iter().zip([-1.0, -0.6].repeat(3)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-6 && read.dim() == (1, 3, 1, 2), "{format}: {read}");
        }
        assert!(PixelsRef::rgb8(&bytes).to_array([1, 10, 11]).is_err());
        // So many of nothing that nobody lives to see the last.
        for shape in [[usize::MAX, usize::MAX, 0], [usize::MAX, 0, 1], [0, usize::MAX, 1]] {
            assert!(PixelsRef::rgb8(&[]).to_array(shape).unwrap_err().to_string().contains("are none"));
        }
        let floats: Vec<u8> =
            [5.0f32, -3.0, f32::INFINITY].iter().flat_map(|value| value.to_ne_bytes()).collect();
        let read = PixelsRef::new(PixelFormat::RgbF32, &floats).to_array([1, 1, 1]).unwrap();
        assert_eq!(read.as_slice().unwrap(), [1.0, -1.0, f32::INFINITY]);
    }

    #[test]
    fn what_lies_between_rows_and_images_stays() {
        // Two images of 2 x 1 pixels, rows of 4 bytes, images 10 bytes apart.
        let mut data = [7; 17];
        let mut pixels = Pixels::rgb8(&mut data).with_row_stride(4).with_image_stride(10);
        let mut canvas = pixels.hold([2, 2, 1]).unwrap();
        for image in 0..2 {
            canvas.draw(image, &IMAGE);
        }
        assert_eq!(data, [0, 128, 255, 7, 255, 0, 191, 7, 7, 7, 0, 128, 255, 7, 255, 0, 191]);
    }

    #[test]
    fn memory_that_cannot_hold_the_images_is_refused() {
        for (bytes, row_stride, image_stride, part) in [
            (23, None, None, "23 bytes; 2 of 2 x 2 RGB8 take 24"),
            (25, None, None, "25 bytes; 2 of 2 x 2 RGB8 take 24"),
            (24, Some(5), None, "a row stride of 5 bytes; rows take 6"),
            (24, None, Some(11), "an image stride of 11 bytes; images take 12"),
            (26, Some(7), None, "26 bytes; 2 of 2 x 2 RGB8 take 27"),
            (99, Some(usize::MAX / 2), None, "take"),
            (99, None, Some(usize::MAX), "take"),
        ] {
            let mut data = vec![0; bytes];
            let mut pixels = Pixels { row_stride, image_stride, ..Pixels::rgb8(&mut data) };
            let error = pixels.hold([2, 2, 2]).map(drop).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Pixels::rgb8(&mut [0; 27]).with_row_stride(7).hold([2, 2, 2]).is_ok());
    }
}
