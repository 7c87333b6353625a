//! What a request begins with: its noise, and images of which a part stays.

use crate::error::runtime;
use crate::image::fill_noise;
use crate::request::Resolved;
use crate::sampler::steps::Known;
use crate::{Manifest, Request, Result, Variation, memory};

/// The images that a request begins with. Memory that one request leaves for the next.
#[derive(Default)]
pub(super) struct Edit {
    /// Noise `[N, C, h, w]`.
    noise: Vec<f32>,
    /// Noise of the images that larger ones follow; empty where they follow none.
    beside: Vec<f32>,
    /// Images `[K, 3, H, W]`, `K` being `N`, or 1 for all; empty without.
    init: Vec<f32>,
    /// Floats of one of them.
    image: usize,
    /// The same encoded, `[N, C, h, w]`.
    latents: Vec<f32>,
    /// The mask `[N, H, W]` and the cells that stay `[N, h, w]`; empty without.
    mask: Vec<f32>,
    kept: Vec<bool>,
    channels: usize,
}

impl Edit {
    /// Reads the images of `request`, and the noise that its sampling starts from.
    pub(super) fn read(&mut self, request: &Request, resolved: Resolved, manifest: &Manifest) -> Result<()> {
        let [images, channels, height, width] = resolved.shape;
        let latent = channels * height * width;
        for memory in [&mut self.init, &mut self.latents, &mut self.mask] {
            memory.clear();
        }
        self.kept.clear();
        self.channels = channels;
        let (all, beside) = resolved.floats();
        memory::resize(&mut self.noise, all, 0.0)?;
        memory::resize(&mut self.beside, beside, 0.0)?;
        // What is followed is what the seed makes at the networks' own size.
        fill_noise(request.draws(), beside / images, &mut self.beside);
        match &request.noise {
            Some(noise) => self.noise.iter_mut().zip(noise).for_each(|(to, from)| *to = *from),
            None => fill_noise(request.draws(), latent, &mut self.noise),
        }
        if let Some(Variation { seed, amount }) = request.variation {
            for noise in [&mut self.noise, &mut self.beside] {
                let (len, mut other) = (noise.len() / images, memory::filled(noise.len(), 0.0)?);
                fill_noise((0..images).map(|i| (seed, request.stream(i))), len, &mut other);
                for (noise, other) in noise.chunks_exact_mut(len.max(1)).zip(other.chunks_exact(len.max(1))) {
                    turn(noise, other, amount);
                }
            }
        }
        let Some(init) = &request.init else { return Ok(()) };
        memory::reserve(&mut self.init, init.len())?;
        self.init.extend(init);
        self.image = self.init.len() / init.shape()[0];
        memory::resize(&mut self.latents, self.noise.len(), 0.0)?;
        let Some(mask) = &request.mask else { return Ok(()) };
        memory::reserve(&mut self.mask, mask.len() * (images / mask.shape()[0]))?;
        for _ in 0..images / mask.shape()[0] {
            self.mask.extend(mask);
        }
        // A cell of which anything is to be made anew is made anew as a whole; pixels are mixed at the end.
        let cell = manifest.cell().ok_or_else(|| runtime("a mask without images"))?;
        memory::resize(&mut self.kept, images * height * width, true)?;
        for (i, _) in self.mask.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let (row, column) = (i / (width * cell[1]), i % (width * cell[1]));
            self.kept[row / cell[0] * width + column / cell[1]] = false;
        }
        if self.kept.iter().all(|kept| *kept) {
            log::warn!("the mask is 0 everywhere: nothing of the images is made anew");
        }
        Ok(())
    }

    /// Image `i` to encode; none behind the last.
    pub(super) fn image(&self, i: usize) -> Option<&[f32]> {
        self.init.get(i * self.image..(i + 1) * self.image).filter(|image| !image.is_empty())
    }

    /// Takes the latent of image `i`, which stands for all if it is the only one.
    pub(super) fn encoded(&mut self, i: usize, latent: impl Iterator<Item = f32> + Clone, len: usize) {
        let alone = self.init.len() == self.image;
        for (k, place) in self.latents.chunks_exact_mut(len).enumerate() {
            if k == i || alone {
                place.iter_mut().zip(latent.clone()).for_each(|(place, value)| *place = value);
            }
        }
    }

    /// The state at time `t`: on the straight path from the noise to the images, if there are any.
    pub(super) fn start(&self, t: f32, x: &mut [f32]) {
        let (images, beside) = x.split_at_mut(self.noise.len());
        images.copy_from_slice(&self.noise);
        beside.copy_from_slice(&self.beside);
        for (x, z) in x.iter_mut().zip(&self.latents) {
            *x = (1.0 - t) * *x + t * z;
        }
    }

    /// What is to be kept while sampling; nothing without a mask.
    pub(super) fn known(&self, images: usize) -> Option<Known<'_>> {
        let Self { noise, latents, kept, channels, .. } = self;
        let area = kept.len() / images;
        (area > 0).then_some(Known { data: latents, noise, kept, channels: *channels, area })
    }

    /// Mixes a decoded image `[3, H, W]` with its image, by the mask; where that is 0, the image stays to the bit.
    pub(super) fn restore(&self, i: usize, image: &mut [f32]) {
        let area = image.len() / 3;
        let Some(mask) = self.mask.get(i * area..(i + 1) * area) else { return };
        let Some(known) = self.image(i).or(self.image(0)) else { return };
        for (i, (value, known)) in image.iter_mut().zip(known).enumerate() {
            match mask[i % area] {
                1.0 => {}
                0.0 => *value = *known,
                m => *value = known + m * (*value - known),
            }
        }
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
        fill_noise([(1, 0)].into_iter(), 1000, &mut a);
        fill_noise([(2, 0)].into_iter(), 1000, &mut b);
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
