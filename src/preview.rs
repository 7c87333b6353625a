//! What a picture will look like, before it is done.
//!
//! The state at time t, carried to the end along its latest velocity, is an estimate of the final latent:
//! x̂ = x + (1 - t) v. Red, green and blue are nearly affine functions of its channels: those of the manifest, or
//! else found by least squares from one picture that the decoder makes of noise.

#![forbid(unsafe_code)]

use crate::backend::Input;
use crate::bundle::Role;
use crate::error::{invalid_argument, runtime};
use crate::image::{Pixels, fill_noise};
use crate::{CancelToken, Model, Result, memory};

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

/// Red, green and blue from a latent's channels: for each a factor for every channel, then a constant.
pub(crate) struct Colours([Vec<f32>; 3]);

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

    /// Small pictures `[N, H, W]` in colours that are about right.
    pub(crate) fn draw(&self, pixels: &mut Pixels) -> Result<()> {
        let [images, channels, height, width] = self.shape;
        let mut canvas = pixels.hold([images, height, width])?;
        let colours = self.model.colours()?;
        let area = height * width;
        for image in 0..images {
            let latent = |channel: usize, pixel: usize| self.at((image * channels + channel) * area + pixel);
            canvas.draw_with(image, |pixel| colours.at(|channel| latent(channel, pixel)));
        }
        Ok(())
    }
}

impl Colours {
    pub(crate) fn of_model(model: &Model) -> Result<Self> {
        match model.manifest().image.as_ref().and_then(|image| image.preview.clone()) {
            Some(factors) => Ok(Self(factors)),
            None => Self::fit(model),
        }
    }

    /// Runs the decoder of `model` once and fits.
    fn fit(model: &Model) -> Result<Self> {
        let manifest = model.manifest();
        if !manifest.has(Role::Decoder) {
            return Err(invalid_argument("preview: the bundle has no decoder and no image.preview"));
        }
        let extent = manifest.extent(1);
        let ([channels, height, width], [_, rows, columns]) = manifest.shapes(Role::Decoder, extent.cells)?;
        // Patches of one colour each, half again as many as there are unknowns, and strong: the decoder
        // normalises, so weak ones look as strong as they are not.
        let edge = (1.5 * (channels + 1) as f64).sqrt().ceil() as usize;
        let mut patches = memory::filled(channels * edge * edge, 0.0)?;
        fill_noise([(0, 0)].into_iter(), patches.len(), &mut patches);
        patches.iter_mut().for_each(|value| *value *= 2.5);
        let (scale, shift) = (manifest.latent.scale, manifest.latent.shift);
        let patch = |channel: usize, y: usize, x: usize| {
            patches[(channel * edge + y * edge / height) * edge + x * edge / width]
        };
        // What lies at a patch's border is coloured by its neighbours too. Narrow patches are all border.
        let inner = |i: usize, size: usize| {
            let patch = |i: usize| i % size * edge / size;
            size < 3 * edge || (patch(i) == patch(i + 1) && patch(i) == patch(i + size - 1))
        };
        let mut latent = Vec::new();
        memory::reserve(&mut latent, channels * height * width)?;
        for channel in 0..channels {
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            latent.extend(pixels.map(|(y, x)| patch(channel, y, x) / scale + shift));
        }
        let mut picture = memory::filled(3 * rows * columns, 0.0)?;
        let cancel = CancelToken::new();
        let mut decoder = model.program(Role::Decoder, extent, &cancel)?.instantiate()?;
        decoder.run(&[Input::F32(&latent)], &mut picture, &cancel)?;

        let unknowns = channels + 1;
        let mut fit = LeastSquares::new(unknowns);
        let cells = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        for (y, x) in cells.filter(|&(y, x)| inner(y, height) && inner(x, width)) {
            let mut known: Vec<f64> = (0..channels).map(|channel| f64::from(patch(channel, y, x))).collect();
            known.push(1.0);
            let cell = [rows / height, columns / width];
            fit.add(&known, [0, 1, 2].map(|colour| mean(&picture, [colour, y, x], cell, [rows, columns])));
        }
        let factors = fit.solve().ok_or_else(|| runtime("preview: the decoder's pictures fit no colours"))?;
        Ok(Self(factors.map(|factors| factors.into_iter().map(|factor| factor as f32).collect())))
    }

    /// The colour in [-1, 1] of a pixel whose channels `latent` gives.
    fn at(&self, latent: impl Fn(usize) -> f32) -> [f32; 3] {
        self.0.each_ref().map(|factors| {
            let (constant, factors) = factors.split_last().unwrap_or((&0.0, &[]));
            constant
                + factors.iter().enumerate().map(|(channel, factor)| factor * latent(channel)).sum::<f32>()
        })
    }
}

/// The mean of a picture's `[3, rows, columns]` over a cell.
fn mean(picture: &[f32], [colour, y, x]: [usize; 3], cell: [usize; 2], size: [usize; 2]) -> f64 {
    let [cell_rows, cell_columns] = cell;
    let row = |i: usize| {
        let start = (colour * size[0] + y * cell_rows + i) * size[1] + x * cell_columns;
        picture[start..start + cell_columns].iter().map(|&value| f64::from(value)).sum::<f64>()
    };
    (0..cell_rows).map(row).sum::<f64>() / (cell_rows * cell_columns) as f64
}

/// Normal equations `A f = b` for three right-hand sides.
struct LeastSquares {
    /// Each row: of A, then of the three b.
    rows: Vec<Vec<f64>>,
}

impl LeastSquares {
    fn new(unknowns: usize) -> Self {
        Self { rows: vec![vec![0.0; unknowns + 3]; unknowns] }
    }

    fn add(&mut self, known: &[f64], answers: [f64; 3]) {
        for (row, factor) in self.rows.iter_mut().zip(known) {
            for (sum, value) in row.iter_mut().zip(known.iter().chain(&answers)) {
                *sum += factor * value;
            }
        }
    }

    /// By elimination; A is symmetric and positive, so its diagonal serves as pivots. None if it is singular.
    fn solve(mut self) -> Option<[Vec<f64>; 3]> {
        let unknowns = self.rows.len();
        for i in 0..unknowns {
            let pivot = self.rows[i][i];
            if !(pivot.is_finite() && pivot > 1e-9) {
                return None;
            }
            self.rows[i].iter_mut().for_each(|value| *value /= pivot);
            let pivot = self.rows[i].clone();
            for (_, row) in self.rows.iter_mut().enumerate().filter(|(j, _)| *j != i) {
                let factor = row[i];
                row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
        Some([0, 1, 2].map(|b| self.rows.iter().map(|row| row[unknowns + b]).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_finds_what_the_answers_were_made_of() {
        let mut fit = LeastSquares::new(3);
        let mut noise = [0.0; 40];
        fill_noise((0..).map(|stream| (3, stream)), 40, &mut noise);
        for pair in noise.chunks_exact(2) {
            let [a, b] = [pair[0], pair[1]].map(f64::from);
            fit.add(&[a, b, 1.0], [2.0 * a - b + 0.5, b, -3.0]);
        }
        let found = fit.solve().unwrap();
        for (found, made) in found.iter().flatten().zip([2.0, -1.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, -3.0]) {
            assert!((found - made).abs() < 1e-9, "{found}, was {made}");
        }
        assert!(LeastSquares::new(2).solve().is_none());
    }
}
