//! Decoder output to 8-bit RGB.

use crate::Result;
use crate::error::invalid_argument;
use ndarray::ArrayView4;
use ndarray::{ArrayView3, Axis};

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

/// Turns `[N, 3, H, W]` in [-1, 1] into pictures; what lies outside is clamped.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if there are not three channels.
pub fn to_pixels(images: ArrayView4<f32>) -> Result<Vec<Image>> {
    if images.len_of(Axis(1)) != 3 {
        let shape = images.shape();
        return Err(invalid_argument(format!("pictures have 3 channels, were given as {shape:?}")));
    }
    let mut pictures = Vec::new();
    for image in images.axis_iter(Axis(0)) {
        let (_, height, width) = image.dim();
        let mut rgb = vec![0; height * width * 3];
        fill_rgb(image, &mut rgb);
        pictures.push(Image { width, height, rgb });
    }
    Ok(pictures)
}

/// Writes `[3, H, W]` in [-1, 1] as `height * width * 3` bytes.
pub(crate) fn fill_rgb(image: ArrayView3<f32>, rgb: &mut [u8]) {
    let values = image.permuted_axes([1, 2, 0]);
    for (byte, value) in rgb.iter_mut().zip(values.iter()) {
        *byte = ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;

    #[test]
    fn channels_interleave_and_values_clamp() {
        let values = vec![-1.0, 5.0, /* g */ 0.0, -7.0, /* b */ 1.0, 0.5];
        let images = to_pixels(Array4::from_shape_vec([1, 3, 1, 2], values).unwrap().view()).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!((images[0].width, images[0].height), (2, 1));
        assert_eq!(images[0].rgb, [0, 128, 255, 255, 0, 191]);
    }

    #[test]
    fn other_than_three_channels_are_refused() {
        assert!(to_pixels(Array4::zeros([1, 4, 2, 2]).view()).is_err());
    }
}
