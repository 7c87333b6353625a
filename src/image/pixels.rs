//! Decoder output to pixels in the caller's format.

use half::f16;
use ndarray::{ArrayView4, Axis};

use crate::Result;
use crate::error::invalid_argument;

/// One picture, 8-bit RGB, rows from top to bottom, no padding.
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

/// What a pixel is made of. Colours are sRGB, as in a PNG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Three bytes: red, green, blue.
    #[default]
    Rgb8,
    /// Four bytes: red, green, blue, 255.
    Rgba8,
    /// Four bytes: blue, green, red, 255.
    Bgra8,
    /// Three IEEE half floats in 0..=1, in the processor's byte order.
    RgbF16,
    /// Three floats in 0..=1, in the processor's byte order.
    RgbF32,
}

impl std::fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rgb8 => "RGB8",
            Self::Rgba8 => "RGBA8",
            Self::Bgra8 => "BGRA8",
            Self::RgbF16 => "RGB_F16",
            Self::RgbF32 => "RGB_F32",
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
        }
    }
}

/// The caller's memory for pictures, `[N, H, W]` pixels: rows from top to bottom, one picture after another.
/// What lies between rows and between pictures is left as it is.
///
/// ```
/// use flowturbo::{PixelFormat, Pixels};
/// let mut texture = vec![0; 256 * 4 * 128];
/// let pixels = Pixels::new(PixelFormat::Rgba8, &mut texture).with_row_stride(256 * 4);
/// ```
#[derive(Debug)]
pub struct Pixels<'a> {
    format: PixelFormat,
    data: &'a mut [u8],
    row_stride: Option<usize>,
    image_stride: Option<usize>,
}

impl<'a> Pixels<'a> {
    /// Memory without gaps.
    pub fn new(format: PixelFormat, data: &'a mut [u8]) -> Self {
        Self { format, data, row_stride: None, image_stride: None }
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

    /// These pixels with `bytes` from the start of a picture to the start of the next.
    #[must_use]
    pub fn with_image_stride(mut self, bytes: usize) -> Self {
        self.image_stride = Some(bytes);
        self
    }

    /// A place in this memory for pictures `[N, H, W]`, if they fit.
    pub(crate) fn hold(&mut self, [images, height, width]: [usize; 3]) -> Result<Canvas<'_>> {
        let found = self.data.len();
        let row = width.saturating_mul(self.format.bytes());
        let row_stride = self.row_stride.unwrap_or(row);
        if row_stride < row {
            return Err(invalid_argument(format!(
                "pixels: a row stride of {row_stride} bytes; rows take {row} ({width} pixels)"
            )));
        }
        // The last row of a picture, and the last picture, need no gap behind them.
        let image = spread(height, row_stride, row);
        let image_stride = self.image_stride.unwrap_or(row_stride.saturating_mul(height));
        if images > 1 && image_stride < image {
            return Err(invalid_argument(format!(
                "pixels: an image stride of {image_stride} bytes; pictures take {image}"
            )));
        }
        let wanted = spread(images, image_stride, image);
        // Without gaps the size is known, and another one is a mistake.
        let dense = self.row_stride.is_none() && self.image_stride.is_none();
        if found < wanted || (dense && found != wanted) {
            return Err(invalid_argument(format!(
                "pixels: {found} bytes; {images} of {width} x {height} {} take {wanted}",
                self.format
            )));
        }
        let Self { format, data, .. } = self;
        Ok(Canvas { format: *format, data, row, row_stride, image_stride, height, width })
    }
}

/// Bytes from the start of the first of `count` things to the end of the last.
fn spread(count: usize, stride: usize, last: usize) -> usize {
    count.checked_sub(1).map_or(0, |gaps| gaps.saturating_mul(stride).saturating_add(last))
}

/// Memory that was found large enough.
pub(crate) struct Canvas<'a> {
    format: PixelFormat,
    data: &'a mut [u8],
    row: usize,
    row_stride: usize,
    image_stride: usize,
    height: usize,
    width: usize,
}

impl Canvas<'_> {
    /// Writes picture `image`, `[3, H, W]` in [-1, 1]; what lies outside is clamped.
    pub(crate) fn draw(&mut self, image: usize, picture: &[f32]) {
        let area = self.height * self.width;
        self.draw_with(image, |pixel| [0, 1, 2].map(|channel| picture[channel * area + pixel]));
    }

    /// Writes picture `image`, whose red, green and blue in [-1, 1] `colour` gives for each pixel `y * W + x`.
    pub(crate) fn draw_with(&mut self, image: usize, colour: impl Fn(usize) -> [f32; 3]) {
        let (width, each) = (self.width, self.format.bytes());
        for y in 0..self.height {
            let row = &mut self.data[image * self.image_stride + y * self.row_stride..][..self.row];
            let pixels = row.chunks_exact_mut(each).enumerate().map(|(x, out)| (out, colour(y * width + x)));
            match self.format {
                PixelFormat::Rgb8 => pixels.for_each(|(out, colour)| out.copy_from_slice(&colour.map(byte))),
                PixelFormat::Rgba8 => pixels.for_each(|(out, colour)| {
                    let [r, g, b] = colour.map(byte);
                    out.copy_from_slice(&[r, g, b, 255]);
                }),
                PixelFormat::Bgra8 => pixels.for_each(|(out, colour)| {
                    let [r, g, b] = colour.map(byte);
                    out.copy_from_slice(&[b, g, r, 255]);
                }),
                PixelFormat::RgbF16 => pixels.for_each(|(out, colour)| {
                    let halves = colour.map(|value| f16::from_f32(unit(value)).to_ne_bytes());
                    out.copy_from_slice(halves.as_flattened());
                }),
                PixelFormat::RgbF32 => pixels.for_each(|(out, colour)| {
                    let floats = colour.map(|value| unit(value).to_ne_bytes());
                    out.copy_from_slice(floats.as_flattened());
                }),
            }
        }
    }
}

/// From [-1, 1] to 0..=255.
fn byte(value: f32) -> u8 {
    ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// From [-1, 1] to 0..=1.
fn unit(value: f32) -> f32 {
    (value.clamp(-1.0, 1.0) + 1.0) * 0.5
}

/// Turns `[N, 3, H, W]` in [-1, 1] into pictures; what lies outside is clamped.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if there are not three channels.
pub fn to_pixels(images: ArrayView4<f32>) -> Result<Vec<Image>> {
    if images.len_of(Axis(1)) != 3 {
        let shape = images.shape();
        return Err(invalid_argument(format!("pictures have 3 channels, were given as {shape:?}")));
    }
    let draw = |image: ndarray::ArrayView3<f32>| {
        let (_, height, width) = image.dim();
        let picture: Vec<f32> = image.iter().copied().collect();
        rgb8(&picture, height, width)
    };
    images.axis_iter(Axis(0)).map(draw).collect()
}

/// `[3, H, W]` in [-1, 1] as a picture of its own.
pub(crate) fn rgb8(picture: &[f32], height: usize, width: usize) -> Result<Image> {
    let mut rgb = vec![0; height * width * 3];
    Pixels::rgb8(&mut rgb).hold([1, height, width])?.draw(0, picture);
    Ok(Image { width, height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;

    /// Two pixels: red -1, 5; green 0, -7; blue 1, 0.5.
    const PICTURE: [f32; 6] = [-1.0, 5.0, 0.0, -7.0, 1.0, 0.5];

    #[test]
    fn channels_interleave_and_values_clamp() {
        let images = Array4::from_shape_vec([1, 3, 1, 2], PICTURE.to_vec()).unwrap();
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
        Pixels::new(format, &mut data).hold([1, 1, 2]).unwrap().draw(0, &PICTURE);
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
    fn what_lies_between_rows_and_pictures_stays() {
        // Two pictures of 2 x 1 pixels, rows of 4 bytes, pictures 10 bytes apart.
        let mut data = [7; 17];
        let mut pixels = Pixels::rgb8(&mut data).with_row_stride(4).with_image_stride(10);
        let mut canvas = pixels.hold([2, 2, 1]).unwrap();
        for image in 0..2 {
            canvas.draw(image, &PICTURE);
        }
        assert_eq!(data, [0, 128, 255, 7, 255, 0, 191, 7, 7, 7, 0, 128, 255, 7, 255, 0, 191]);
    }

    #[test]
    fn memory_that_cannot_hold_the_pictures_is_refused() {
        for (bytes, row_stride, image_stride, part) in [
            (23, None, None, "23 bytes; 2 of 2 x 2 RGB8 take 24"),
            (25, None, None, "25 bytes; 2 of 2 x 2 RGB8 take 24"),
            (24, Some(5), None, "a row stride of 5 bytes; rows take 6"),
            (24, None, Some(11), "an image stride of 11 bytes; pictures take 12"),
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
