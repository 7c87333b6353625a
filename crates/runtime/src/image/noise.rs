//! The starting noise: the same bits on every machine, for every thread count.

use ndarray::Array4;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::limit_exceeded;
use crate::kernels::DefaultFloats;
use crate::{Result, memory};

/// Standard normal noise `[batch, channels, height, width]` for `seed`.
///
/// The generator is ChaCha8 with the seed, little-endian, in the first eight bytes of its key and
/// zeros in the rest; image `i` of the batch is its stream `i` (64 bits, in the state behind the counter), so an
/// image's noise does not depend on the size of the batch, and
/// `Request::streams` can ask for any image alone. Each pair of numbers takes two 53-bit
/// uniforms `u1` in (0, 1] and `u2` in [0, 1) and is made by the Box-Muller transform in float64 (`sqrt(-2 ln u1)`
/// times the cosine and sine of `2 pi u2`) with the `libm` crate's functions, then rounded to float32.
///
/// # Errors
/// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if there is no memory of that size.
pub fn noise(seed: u64, shape: [usize; 4]) -> Result<Array4<f32>> {
    let _default = DefaultFloats::enter();
    let [batch, channels, height, width] = shape;
    let image = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
    let total = image.and_then(|n| n.checked_mul(batch)).filter(|&n| n <= isize::MAX as usize / 4);
    let (Some(image), Some(total)) = (image, total) else {
        return Err(limit_exceeded(format!("noise of shape {shape:?} does not fit in memory")));
    };
    let mut values = memory::filled(total, 0.0)?;
    fill_noise((0..).map(|stream| (seed, stream)), image, &mut values);
    Array4::from_shape_vec(shape, values).map_err(|error| limit_exceeded(error.to_string()))
}

/// Fills `values` with the [`noise`] of images of `image` floats each, by their seeds and streams.
pub fn fill_noise(draws: impl Iterator<Item = (u64, u64)>, image: usize, values: &mut [f32]) {
    for ((seed, stream), values) in draws.zip(values.chunks_exact_mut(image.max(1))) {
        fill(seed, stream, values);
    }
}

fn fill(seed: u64, stream: u64, values: &mut [f32]) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(stream);
    let mut uniform = || (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    for pair in values.chunks_mut(2) {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - uniform()));
        let (sine, cosine) = libm::sincos(std::f64::consts::TAU * uniform());
        for (value, part) in pair.iter_mut().zip([cosine, sine]) {
            *value = (radius * part) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Axis;

    #[test]
    fn an_images_noise_does_not_depend_on_its_batch() {
        let four = noise(7, [4, 3, 5, 5]).unwrap();
        let two = noise(7, [2, 3, 5, 5]).unwrap();
        let image = |i| two.index_axis(Axis(0), i);
        assert_eq!((four.index_axis(Axis(0), 0), four.index_axis(Axis(0), 1)), (image(0), image(1)));
        assert_ne!(image(0), image(1));
        assert_ne!(noise(8, [2, 3, 5, 5]).unwrap(), two);
    }

    /// Values 0, 1, 2 and 35 of two streams, from ChaCha8 and Box-Muller written anew in Python by the
    /// text above. They may never change: a seed is a promise.
    #[test]
    fn the_bits_are_those_that_the_documentation_describes() {
        for (seed, stream, bits) in [
            (0, 0, [0xbfa5_46dd, 0xbfb3_306f, 0x3f09_a54e, 0xbd64_21cd]),
            (7, 1, [0xbeeb_de33, 0x4012_6f25, 0x3f3c_3aba, 0xbf2d_ebb3]),
        ] {
            let values = noise(seed, [2, 1, 6, 6]).unwrap();
            let image: Vec<f32> = values.index_axis(Axis(0), stream).iter().copied().collect();
            assert_eq!([image[0], image[1], image[2], image[35]].map(f32::to_bits), bits, "seed {seed}");
        }
    }

    #[test]
    fn the_first_four_moments_are_those_of_a_standard_normal() {
        let values = noise(1, [1, 1, 500, 500]).unwrap();
        let moment = |k: i32| values.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / values.len() as f64;
        for (k, expected, tolerance) in [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.04), (4, 3.0, 0.1)] {
            assert!((moment(k) - expected).abs() < tolerance, "moment {k} is {}", moment(k));
        }
    }

    #[test]
    fn sizes_beyond_memory_are_refused() {
        use crate::ErrorKind::{LimitExceeded, OutOfMemory};
        let huge = 1 << (usize::BITS / 2 - 2);
        for (shape, kind) in [([usize::MAX, 2, 1, 1], LimitExceeded), ([huge, huge, 1, 1], OutOfMemory)] {
            assert_eq!(noise(0, shape).unwrap_err().kind(), kind, "{shape:?}");
        }
    }
}
