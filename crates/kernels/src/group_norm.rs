//! The statistics of a group norm, as a scale and a shift for each channel.
//!
//! Applying them is left to the [`Stage`](super::Stage) that prepares the next convolution's input, so
//! the image is read once here and not written.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::place::{apart, end};
use super::{Kernel, Rows, Shared, Simd, Workers};

/// Floats of a chunk of pixels, which is read twice and should stay in the first-level cache.
const CHUNK: usize = 8192;

/// For each image the means and variances over pixels and the channels of each group, folded with gamma
/// and beta into `y = x * scale + shift`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct GroupNorm<A = usize> {
    /// Image 0: a row for each pixel, a column for each channel.
    pub x: Rows<A>,
    pub images: usize,
    pub image_stride: usize,
    pub groups: usize,
    pub eps: f32,
    pub gamma: Option<A>,
    pub beta: Option<A>,
    /// Room for [`partials`](Self::partials) floats.
    pub partial: A,
    /// For each image a row of scales, then a row of shifts.
    pub out: A,
}

impl<A> GroupNorm<A> {
    /// The same statistics of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> GroupNorm<B> {
        let Self { x, images, image_stride, groups, eps, gamma, beta, partial, out } = self;
        let (x, partial, out) = (x.relocate(to), to(partial), to(out));
        GroupNorm {
            x,
            images,
            image_stride,
            groups,
            eps,
            gamma: gamma.map(&mut *to),
            beta: beta.map(&mut *to),
            partial,
            out,
        }
    }

    /// Pixels of a chunk. The lanes have no say in it, so that results do not depend on them.
    pub fn chunk(&self) -> usize {
        (CHUNK / self.x.cols).max(64)
    }

    /// Chunks of an image.
    pub fn chunks(&self) -> usize {
        self.x.rows.div_ceil(self.chunk())
    }

    /// Floats that `run` needs in the arena for sums over parts of the images.
    pub fn partials(&self) -> usize {
        if self.x.cols == 0 { 0 } else { 2 * self.images * self.chunks() * self.x.cols }
    }
}

impl GroupNorm {
    /// What is read, the partial sums, the result, and the constants.
    fn spans(&self) -> ([Range<usize>; 3], [Option<Range<usize>>; 2]) {
        let (x, channels) = (self.x, self.x.cols);
        let read = x.offset..end(x.offset, &[(self.images, self.image_stride), (x.rows, x.stride)], channels);
        let partials = self.partial..end(self.partial, &[], self.partials());
        let out = self.out..end(self.out, &[(self.images, 2 * channels)], 2 * channels);
        let constant = |start: Option<usize>| start.map(|start| start..end(start, &[], channels));
        ([read, partials, out], [constant(self.gamma), constant(self.beta)])
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (spans, constants) = self.spans();
        spans.into_iter().chain(constants.into_iter().flatten()).for_each(see);
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        let (x, channels) = (self.x, self.x.cols);
        if self.images == 0 || x.rows == 0 || channels == 0 {
            return;
        }
        assert!(self.groups > 0 && channels % self.groups == 0, "groups do not divide the channels");
        assert!(x.rows_apart(), "a group norm's pixels overlap");
        let ([read, partials, out], constants) = self.spans();
        for span in [&read, &partials, &out] {
            assert!(span.end <= len, "a group norm's places lie outside");
        }
        assert!(
            apart(&read, &partials) && apart(&read, &out) && apart(&partials, &out),
            "a group norm's places overlap"
        );
        for span in constants.into_iter().flatten() {
            assert!(span.end <= len, "a group norm's constants lie outside");
            assert!(apart(&span, &partials) && apart(&span, &out), "a group norm's constants overlap");
        }
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        let (x, channels) = (self.x, self.x.cols);
        if self.images == 0 || x.rows == 0 || channels == 0 {
            return;
        }
        let (memory, isa, chunks) = (Shared::new(mem), workers.isa, self.chunks());
        workers.each(self.images * chunks, 0, |piece, _| {
            let (image, start) = (piece / chunks, piece % chunks * self.chunk());
            // SAFETY: checked above; each piece writes partials of its own.
            unsafe {
                isa.run(Chunk {
                    from: memory.at(x.offset + image * self.image_stride + start * x.stride),
                    stride: x.stride,
                    pixels: self.chunk().min(x.rows - start),
                    channels,
                    to: memory.at(self.partial + 2 * piece * channels),
                });
            }
        });
        workers.each(self.images * self.groups, 0, |piece, _| {
            self.fold(memory, piece / self.groups, piece % self.groups);
        });
    }

    /// Makes one group's scales and shifts of its partial means and squares.
    fn fold(&self, memory: Shared, image: usize, group: usize) {
        let (channels, chunks, size) = (self.x.cols, self.chunks(), self.chunk());
        let of_group = group * channels / self.groups..(group + 1) * channels / self.groups;
        // SAFETY: `run` checked all places; the partials are complete and no other piece writes this
        // group's results.
        let (read, write) = unsafe {
            let partial = memory.at(self.partial + 2 * image * chunks * channels).cast_const();
            let to = memory.at(self.out + 2 * image * channels);
            (move |at: usize| *partial.add(at) as f64, move |at: usize, v: f64| *to.add(at) = v as f32)
        };
        let pixels = |chunk| size.min(self.x.rows - chunk * size) as f64;
        let count = (self.x.rows * of_group.len()) as f64;
        let sum_over = |value: &dyn Fn(usize, usize) -> f64| -> f64 {
            (0..chunks).map(|k| of_group.clone().map(|c| value(k, 2 * k * channels + c)).sum::<f64>()).sum()
        };
        let mean = sum_over(&|chunk, at| pixels(chunk) * read(at)) / count;
        let squares = sum_over(&|chunk, at| {
            let off = read(at) - mean;
            read(at + channels) + pixels(chunk) * (off * off)
        });
        let factor = 1.0 / (squares / count + self.eps as f64).sqrt();
        for c in of_group.clone() {
            // SAFETY: `run` checked the constants.
            let constant = |start: Option<usize>| start.map(|start| unsafe { *memory.at(start + c) } as f64);
            let scale = constant(self.gamma).unwrap_or(1.0) * factor;
            write(c, scale);
            write(channels + c, constant(self.beta).unwrap_or(0.0) - mean * scale);
        }
    }
}

/// Each channel's mean over some pixels, and its sum of squares about that.
struct Chunk {
    from: *const f32,
    stride: usize,
    pixels: usize,
    channels: usize,
    to: *mut f32,
}

impl Kernel for Chunk {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: `from` has `pixels` rows and `to` two rows, all of `channels` floats.
        unsafe {
            let mut c = 0;
            while c + 4 * S::LANES <= self.channels {
                self.columns::<S, 4>(simd, c, S::LANES);
                c += 4 * S::LANES;
            }
            while c < self.channels {
                let n = S::LANES.min(self.channels - c);
                self.columns::<S, 1>(simd, c, n);
                c += n;
            }
        }
    }
}

impl Chunk {
    /// `N` vectors of channels from `c` on, the last of `n` channels.
    #[inline(always)]
    unsafe fn columns<S: Simd, const N: usize>(&self, simd: S, c: usize, n: usize) {
        // SAFETY: the caller's promise that the columns exist; whole vectors but for the last.
        unsafe {
            let factor = simd.splat(1.0 / self.pixels as f32);
            let (mut means, mut squares) = ([simd.splat(0.0); N], [simd.splat(0.0); N]);
            for pixel in 0..self.pixels {
                let from = self.from.add(pixel * self.stride + c);
                for (j, mean) in means.iter_mut().enumerate() {
                    let x = if n == S::LANES { simd.load(from.add(j * n)) } else { simd.load_first(from, n) };
                    *mean = simd.add(*mean, x);
                }
            }
            for mean in &mut means {
                *mean = simd.mul(*mean, factor);
            }
            for pixel in 0..self.pixels {
                let from = self.from.add(pixel * self.stride + c);
                for (j, square) in squares.iter_mut().enumerate() {
                    let x = if n == S::LANES { simd.load(from.add(j * n)) } else { simd.load_first(from, n) };
                    let d = simd.sub(x, means[j]);
                    *square = simd.fma(d, d, *square);
                }
            }
            for j in 0..N {
                simd.store_first(self.to.add(c + j * n), means[j], n);
                simd.store_first(self.to.add(self.channels + c + j * n), squares[j], n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::*;

    #[test]
    fn scales_and_shifts_agree_with_f64() {
        for (images, pixels, channels, groups, affine) in [
            (1, 16 * 16, 128, 32, true),
            (2, 33 * 31, 48, 8, true),
            (2, 400, 6, 2, false),
            (1, 9000, 16, 1, true),
            (3, 1, 70, 7, true),
        ] {
            if !in_time(images * pixels * channels) {
                continue;
            }
            let stride = channels + 3;
            let x = Rows { offset: 2, rows: pixels, cols: channels, stride };
            let constants = 2 + images * pixels * stride;
            let mut norm = GroupNorm {
                x,
                images,
                image_stride: pixels * stride,
                groups,
                eps: 1e-6,
                gamma: affine.then_some(constants),
                beta: affine.then_some(constants + channels),
                partial: constants + 2 * channels,
                out: 0,
            };
            norm.out = norm.partial + norm.partials();
            let mut before = noise(norm.out + 2 * images * channels, 8);
            // Far from 0, where sums of plain squares have no digits left.
            before[..constants].iter_mut().for_each(|v| *v += 300.0);
            let at = |image: usize, pixel: usize, c: usize| {
                before[2 + image * norm.image_stride + pixel * stride + c] as f64
            };
            let mut results = Vec::new();
            all_workers(0, |workers| {
                let mut mem = before.clone();
                norm.run(workers, &mut mem);
                assert!(mem[..norm.partial] == before[..norm.partial], "inputs are not written");
                for image in 0..images {
                    for c in 0..channels {
                        let size = channels / groups;
                        let group = c / size * size..(c / size + 1) * size;
                        let all = || {
                            let group = group.clone();
                            (0..pixels).flat_map(move |p| group.clone().map(move |c| at(image, p, c)))
                        };
                        let count = (pixels * size) as f64;
                        let mean = all().sum::<f64>() / count;
                        let variance = all().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
                        let (gamma, beta) = if affine {
                            (before[constants + c] as f64, before[constants + channels + c] as f64)
                        } else {
                            (1.0, 0.0)
                        };
                        let scale = gamma / (variance + 1e-6).sqrt();
                        let row = norm.out + 2 * image * channels + c;
                        let (got, shift) = (mem[row] as f64, mem[row + channels] as f64);
                        assert!((got - scale).abs() <= 1e-4 * scale.abs(), "{} {norm:?}", workers.isa);
                        let error = (shift - (beta - mean * got)).abs();
                        assert!(error <= 1e-4 * (1.0 + got.abs()), "{} {norm:?}: {error}", workers.isa);
                    }
                }
                results.push((workers.isa, mem[norm.out..].to_vec()));
            });
            assert!(results.chunks(2).all(|pair| pair[0] == pair[1]), "lanes change nothing");
        }
    }

    #[test]
    fn a_group_with_something_that_is_not_a_number_has_no_numbers() {
        let x = Rows { offset: 0, rows: 300, cols: 6, stride: 6 };
        let (images, image_stride, groups, partial) = (2, 1800, 3, 3600);
        let mut norm = GroupNorm {
            x,
            images,
            image_stride,
            groups,
            eps: 1e-6,
            gamma: None,
            beta: None,
            partial,
            out: 0,
        };
        norm.out = partial + norm.partials();
        let mut before = noise(norm.out + 24, 4);
        // In the second image, the second group.
        before[1800 + 200 * 6 + 3] = f32::NAN;
        all_workers(0, |workers| {
            let mut mem = before.clone();
            norm.run(workers, &mut mem);
            for (i, v) in mem[norm.out..].iter().enumerate() {
                let of_group = i / 12 == 1 && i % 6 / 2 == 1;
                assert_eq!(v.is_nan(), of_group, "{} {i}: {v}", workers.isa);
            }
        });
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn results_over_the_image_are_refused() {
        let x = Rows { offset: 0, rows: 4, cols: 4, stride: 4 };
        let norm = GroupNorm {
            x,
            images: 1,
            image_stride: 0,
            groups: 2,
            eps: 1e-6,
            gamma: None,
            beta: None,
            partial: 16,
            out: 12,
        };
        all_workers(0, |workers| norm.run(workers, &mut [0.0; 64]));
    }
}
