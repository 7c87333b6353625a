//! What a request begins with: its noise, and images of which a part stays.

use ndarray::{Array4, ArrayView, Axis, Dimension};

use super::Session;
use crate::error::runtime;
use crate::image::fill_noise;
use crate::request::Settled;
use crate::sampler::steps::{Known, blend};
use crate::{Request, Result, Variation};

/// The images that a request begins with. Memory that one request leaves for the next.
#[derive(Default)]
pub(super) struct Edit {
    /// Noise `[N, C, h, w]`.
    noise: Vec<f32>,
    /// Encoded images `[N, C, h, w]`; empty without.
    latents: Vec<f32>,
    /// Images `[N, 3, H, W]` and their mask `[N, H, W]`; empty without a mask.
    pixels: Vec<f32>,
    mask: Vec<f32>,
    /// The mask in the latent's cells `[N, h, w]`.
    cells: Vec<f32>,
    channels: usize,
}

impl Edit {
    /// Reads the images of `request`, and the noise that its sampling starts from.
    pub(super) fn read(&mut self, session: &mut Session, request: &Request, settled: Settled) -> Result<()> {
        let [images, channels, height, width] = settled.shape;
        for memory in [&mut self.latents, &mut self.pixels, &mut self.mask, &mut self.cells] {
            memory.clear();
        }
        self.channels = channels;
        self.noise.resize(images * channels * height * width, 0.0);
        let image = channels * height * width;
        match &request.noise {
            Some(noise) => self.noise.iter_mut().zip(noise).for_each(|(to, from)| *to = *from),
            None => fill_noise(request.seed, image, &mut self.noise),
        }
        if let Some(Variation { seed, amount }) = request.variation {
            let mut other = vec![0.0; self.noise.len()];
            fill_noise(seed, image, &mut other);
            for (noise, other) in self.noise.chunks_exact_mut(image).zip(other.chunks_exact(image)) {
                turn(noise, other, amount);
            }
        }
        let Some(init) = &request.init else { return Ok(()) };
        let encoded: Array4<f32> = session.encode(init.view())?;
        spread(&mut self.latents, encoded.view(), images);
        let Some(mask) = &request.mask else { return Ok(()) };
        spread(&mut self.pixels, init.view(), images);
        spread(&mut self.mask, mask.view(), images);
        let cell = session.model.manifest().cell().ok_or_else(|| runtime("a mask without images"))?;
        self.cells.resize(images * height * width, 0.0);
        for (i, &value) in self.mask.iter().enumerate() {
            let (row, column) = (i / (width * cell[1]), i % (width * cell[1]));
            let of = &mut self.cells[row / cell[0] * width + column / cell[1]];
            *of = of.max(value);
        }
        Ok(())
    }

    /// The state at time `t`: on the straight path from the noise to the images, if there are any.
    pub(super) fn start(&self, t: f32, x: &mut [f32]) {
        x.copy_from_slice(&self.noise);
        for (x, z) in x.iter_mut().zip(&self.latents) {
            *x = (1.0 - t) * *x + t * z;
        }
    }

    /// What is to be kept while sampling; nothing without a mask.
    pub(super) fn known(&self, images: usize) -> Option<Known<'_>> {
        let Self { noise, latents, cells, channels, .. } = self;
        let area = cells.len() / images;
        let (data, noise) = (latents.as_slice(), noise.as_slice());
        (area > 0).then_some(Known { data, noise, mask: cells, channels: *channels, area })
    }

    /// Puts what the mask keeps into a decoded picture `[3, H, W]`, to the bit.
    pub(super) fn restore(&self, image: usize, picture: &mut [f32]) {
        let area = picture.len() / 3;
        let Some(mask) = self.mask.get(image * area..(image + 1) * area) else { return };
        let known = &self.pixels[image * picture.len()..][..picture.len()];
        for (i, (value, &known)) in picture.iter_mut().zip(known).enumerate() {
            blend(value, known, mask[i % area]);
        }
    }
}

/// `array` `[N, ...]` or `[1, ...]` for `images` images.
fn spread<D: Dimension + ndarray::RemoveAxis>(
    memory: &mut Vec<f32>,
    array: ArrayView<f32, D>,
    images: usize,
) {
    let last = array.len_of(Axis(0)) - 1;
    for image in 0..images {
        memory.extend(array.index_axis(Axis(0), image.min(last)));
    }
}

/// Turns `noise` along the great circle to `other`, by `amount` of the angle between them.
fn turn(noise: &mut [f32], other: &[f32], amount: f32) {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let lengths = libm::sqrt(dot(noise, noise) * dot(other, other));
    let angle = libm::acos((dot(noise, other) / lengths.max(f64::MIN_POSITIVE)).clamp(-1.0, 1.0));
    let (amount, whole) = (f64::from(amount), libm::sin(angle));
    // Along a line where there is no circle: the same noise twice, or its opposite.
    let (ours, theirs) = match whole > 1e-6 {
        true => (libm::sin((1.0 - amount) * angle) / whole, libm::sin(amount * angle) / whole),
        false => (1.0 - amount, amount),
    };
    for (a, b) in noise.iter_mut().zip(other) {
        *a = (ours * f64::from(*a) + theirs * f64::from(*b)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_noise_is_as_strong_as_both_and_as_near_as_asked() {
        let (mut a, mut b) = (vec![0.0; 1000], vec![0.0; 1000]);
        fill_noise(1, 1000, &mut a);
        fill_noise(2, 1000, &mut b);
        let norm = |v: &[f32]| v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let angle = |v: &[f32], w: &[f32]| {
            let dot: f64 = v.iter().zip(w).map(|(&v, &w)| f64::from(v) * f64::from(w)).sum();
            (dot / norm(v) / norm(w)).acos()
        };
        let whole = angle(&a, &b);
        for amount in [0.0, 0.25, 0.5, 1.0] {
            let mut turned = a.clone();
            turn(&mut turned, &b, amount);
            let between = f64::from(amount);
            let length = (1.0 - between) * norm(&a) + between * norm(&b);
            assert!((norm(&turned) / length - 1.0).abs() < 0.01, "{amount}: length {}", norm(&turned));
            assert!((angle(&a, &turned) - between * whole).abs() < 0.03, "{amount}");
        }
        let (mut same, mut none) = (a.clone(), vec![0.0; 4]);
        turn(&mut same, &a, 0.3);
        turn(&mut none, &[0.0; 4], 0.3);
        assert!(same.iter().zip(&a).all(|(x, y)| (x - y).abs() < 1e-6) && none == [0.0; 4]);
    }
}
