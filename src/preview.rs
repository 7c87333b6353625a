//! What an image will look like, before it is done.
//!
//! The state at time t, carried to the end along its latest velocity, is an estimate of the final latent:
//! x̂ = x + (1 - t) v. Red, green and blue are nearly affine functions of its channels: those of the manifest.

#![forbid(unsafe_code)]

use crate::image::Pixels;
use crate::{Model, Result, memory};

/// How a preview is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PreviewKind {
    /// An affine map from the latent's channels to colours: small, rough, and all but free.
    #[default]
    Linear,
    /// The decoder.
    Decoded,
}

/// A generation at some moment, and where it is heading.
#[derive(Clone, Copy)]
pub(crate) struct Outlook<'a> {
    pub(crate) model: &'a Model,
    /// `[N, C, H, W]`.
    pub(crate) shape: [usize; 4],
    pub(crate) x: &'a [f32],
    /// The class half, and what may come behind it.
    pub(crate) velocity: Option<&'a [f32]>,
    /// The time that is left.
    pub(crate) left: f32,
}

impl std::fmt::Debug for Outlook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlook")
            .field("shape", &self.shape)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Outlook<'_> {
    /// x̂ = x + (1 - t) v.
    fn at(&self, i: usize) -> f32 {
        self.x[i] + self.velocity.map_or(0.0, |velocity| self.left * velocity[i])
    }

    /// The estimated latents `[N, C, H, W]`.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn latents(&self) -> Result<Vec<f32>> {
        memory::collected(self.x.len(), (0..self.x.len()).map(|i| self.at(i)))
    }

    /// Small images `[N, H, W]` in colours that are about right.
    pub(crate) fn draw(&self, pixels: &mut Pixels) -> Result<()> {
        let [images, channels, height, width] = self.shape;
        let mut canvas = pixels.hold([images, height, width])?;
        let colours = self.model.colours()?;
        let area = height * width;
        for image in 0..images {
            let latent = |channel: usize, pixel: usize| self.at((image * channels + channel) * area + pixel);
            canvas.draw_with(image, |pixel| colour(colours, |channel| latent(channel, pixel)));
        }
        Ok(())
    }
}

/// The colour in [-1, 1] of a pixel whose channels `latent` gives: of each of red, green and blue, `factors` has one
/// for every channel, then a constant.
fn colour(factors: &[Vec<f32>; 3], latent: impl Fn(usize) -> f32) -> [f32; 3] {
    factors.each_ref().map(|factors| {
        let (constant, factors) = factors.split_last().unwrap_or((&0.0, &[]));
        constant + factors.iter().enumerate().map(|(channel, factor)| factor * latent(channel)).sum::<f32>()
    })
}
