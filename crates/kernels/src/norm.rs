//! Normalisation of each row, and the modulation that diffusion transformers put behind it.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::place::{apart, end};
use super::{Kernel, Rows, Shared, Simd, Workers};

/// Rows that are normalised together: one row alone would mostly wait for its sums.
const TOGETHER: usize = 4;

/// What a row is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Layer norm: minus the mean, then by the standard deviation.
    Deviation,
    /// RMS norm: by the root of the mean square.
    RootMeanSquare,
}

/// `y * scale + shift` with one row of each for an image; adaLN's `1 + scale` is computed once, beforehand.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Modulation<A = usize> {
    /// First floats of image 0; image `i` is `i * image_stride` further.
    pub scale: A,
    pub shift: Option<A>,
    pub image_stride: usize,
    pub rows_per_image: usize,
}

/// `out = (x - mean) / √(variance + eps) * gamma + beta`, then modulated. `out` may be `x` itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Norm<A = usize> {
    pub x: Rows<A>,
    pub out: Rows<A>,
    pub measure: Measure,
    pub eps: f32,
    pub gamma: Option<A>,
    pub beta: Option<A>,
    pub modulation: Option<Modulation<A>>,
}

impl<A> Norm<A> {
    /// The same norm of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Norm<B> {
        let Self { x, out, measure, eps, gamma, beta, modulation } = self;
        let modulation = modulation.map(|Modulation { scale, shift, image_stride, rows_per_image }| {
            Modulation { scale: to(scale), shift: shift.map(&mut *to), image_stride, rows_per_image }
        });
        let (x, out) = (x.relocate(to), out.relocate(to));
        Norm { x, out, measure, eps, gamma: gamma.map(&mut *to), beta: beta.map(&mut *to), modulation }
    }
}

impl Norm {
    /// Floats of scratch for each lane.
    pub fn scratch(&self) -> usize {
        2 * self.x.cols
    }

    /// How many images the rows are of, and where the constants lie: scales, shifts, and those of all images.
    fn constants(&self) -> (usize, [Option<Range<usize>>; 4]) {
        let images = self.modulation.map_or(1, |m| self.x.rows.div_ceil(m.rows_per_image.max(1)));
        let span = |start: Option<usize>, stride| {
            start.map(|start| start..end(start, &[(images, stride)], self.x.cols))
        };
        let stride = self.modulation.map_or(0, |m| m.image_stride);
        let (scale, shift) = (self.modulation.map(|m| m.scale), self.modulation.and_then(|m| m.shift));
        (images, [span(self.gamma, 0), span(self.beta, 0), span(scale, stride), span(shift, stride)])
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        see(self.x.span());
        see(self.out.span());
        self.constants().1.into_iter().flatten().for_each(see);
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        let (x, out, cols) = (self.x, self.out, self.x.cols);
        assert_eq!((x.rows, x.cols), (out.rows, out.cols), "a norm keeps the shape");
        if x.rows == 0 || cols == 0 {
            return;
        }
        let (reads, writes) = (x.span(), out.span());
        assert!(reads.end <= len && writes.end <= len, "a norm's rows lie outside");
        assert!(x == out || apart(&reads, &writes), "a norm's rows overlap");
        assert!(out.rows_apart(), "a norm's output rows overlap");
        for span in self.constants().1.into_iter().flatten() {
            assert!(span.end <= len && apart(&span, &writes), "a norm's constants lie outside");
        }
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        let (x, images) = (self.x, self.constants().0);
        if x.rows == 0 || x.cols == 0 {
            return;
        }

        // Several pieces for each lane, none across an image's edge.
        let per_image = self.modulation.map_or(x.rows, |m| m.rows_per_image.min(x.rows));
        let block = x.rows.div_ceil(4 * workers.lanes()).clamp(1, 32).min(per_image);
        let blocks = per_image.div_ceil(block);
        let (memory, isa) = (Shared::new(mem), workers.isa);
        workers.each(images * blocks, self.scratch(), |piece, scratch| {
            let (image, start) = (piece / blocks, piece % blocks * block);
            let first = image * per_image + start;
            let last = (image * per_image + (start + block).min(per_image)).min(x.rows);
            if first < last {
                isa.run(NormRows { norm: self, memory, image, first, last, scratch });
            }
        });
    }
}

/// Rows `first..last`, all of one image.
struct NormRows<'a> {
    norm: &'a Norm,
    memory: Shared,
    image: usize,
    first: usize,
    last: usize,
    scratch: &'a mut [f32],
}

impl Kernel for NormRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Norm { x, gamma, beta, modulation, .. } = *self.norm;
        let (gain, bias) = self.scratch[..2 * x.cols].split_at_mut(x.cols);
        // SAFETY: `Norm::run` checked rows, constants and modulations of all images against the arena;
        // no other piece writes these rows, and nothing writes what is read except, in place, the row
        // itself after its last read. `gain` and `bias` hold `cols` floats.
        unsafe {
            let at = |start: Option<usize>| start.map(|start| self.memory.at(start).cast_const());
            let (gain, bias) = (gain.as_mut_ptr(), bias.as_mut_ptr());
            let step = modulation.map_or(0, |m| self.image * m.image_stride);
            let scale = at(modulation.map(|m| m.scale + step));
            let shift = at(modulation.and_then(|m| m.shift).map(|shift| shift + step));
            let (gamma, beta) = (at(gamma), at(beta));
            for c in (0..x.cols).step_by(S::LANES) {
                let n = S::LANES.min(x.cols - c);
                let mut g = gamma.map_or(simd.splat(1.0), |p| simd.load_first(p.add(c), n));
                let mut b = beta.map_or(simd.splat(0.0), |p| simd.load_first(p.add(c), n));
                if let Some(scale) = scale {
                    let factor = simd.load_first(scale.add(c), n);
                    (g, b) = (simd.mul(g, factor), simd.mul(b, factor));
                }
                if let Some(shift) = shift {
                    b = simd.add(b, simd.load_first(shift.add(c), n));
                }
                simd.store_first(gain.add(c), g, n);
                simd.store_first(bias.add(c), b, n);
            }
            let mut row = self.first;
            while row + TOGETHER <= self.last {
                self.rows::<S, TOGETHER>(simd, row, gain, bias);
                row += TOGETHER;
            }
            while row < self.last {
                self.rows::<S, 1>(simd, row, gain, bias);
                row += 1;
            }
        }
    }
}

impl NormRows<'_> {
    /// `R` rows from `row` on, `y * gain + bias`.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize>(&self, simd: S, row: usize, gain: *const f32, bias: *const f32) {
        let Norm { x, out, .. } = *self.norm;
        let count = x.cols as f32;
        // SAFETY: rows and constants that `run` has.
        unsafe {
            let from: [*const f32; R] =
                std::array::from_fn(|r| self.memory.at(x.offset + (row + r) * x.stride).cast_const());
            let to: [*mut f32; R] =
                std::array::from_fn(|r| self.memory.at(out.offset + (row + r) * out.stride));
            let (mut means, centred) = match self.norm.measure {
                Measure::Deviation => (sums::<S, R>(simd, from, x.cols).map(|sum| sum / count), true),
                Measure::RootMeanSquare => ([0.0; R], false),
            };
            let (rests, mut squares) = about::<S, R>(simd, from, x.cols, means);
            if centred {
                // What rounding left of the sums about the means corrects both.
                for r in 0..R {
                    means[r] += rests[r] / count;
                    squares[r] -= rests[r] * rests[r] / count;
                }
            }
            let factors = squares.map(|square| 1.0 / (square / count + self.norm.eps).sqrt());
            for c in (0..x.cols).step_by(S::LANES) {
                let n = S::LANES.min(x.cols - c);
                let (gain, bias) = (simd.load_first(gain.add(c), n), simd.load_first(bias.add(c), n));
                for r in 0..R {
                    let d = simd.sub(simd.load_first(from[r].add(c), n), simd.splat(means[r]));
                    let y = simd.fma(simd.mul(d, simd.splat(factors[r])), gain, bias);
                    simd.store_first(to[r].add(c), y, n);
                }
            }
        }
    }
}

/// Sums of `R` rows of `count` floats.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd, const R: usize>(simd: S, from: [*const f32; R], count: usize) -> [f32; R] {
    // SAFETY: the rows hold `count` floats, by the caller's promise.
    unsafe {
        let mut sums = [simd.splat(0.0); R];
        for c in (0..count).step_by(S::LANES) {
            let n = S::LANES.min(count - c);
            for (sum, from) in sums.iter_mut().zip(from) {
                *sum = simd.add(*sum, simd.load_first(from.add(c), n));
            }
        }
        reduce::<S, R>(simd, sums)
    }
}

/// Sums of `x - mean` and of `(x - mean)²` of `R` rows of `count` floats.
#[inline(always)]
unsafe fn about<S: Simd, const R: usize>(
    simd: S,
    from: [*const f32; R],
    count: usize,
    means: [f32; R],
) -> ([f32; R], [f32; R]) {
    const ONES: [f32; 16] = [1.0; 16];
    // SAFETY: the rows hold `count` floats, by the caller's promise; no set has more than 16 lanes.
    unsafe {
        let (mut sums, mut squares, mut c) = ([simd.splat(0.0); R], [simd.splat(0.0); R], 0);
        while c + S::LANES <= count {
            for r in 0..R {
                let d = simd.sub(simd.load(from[r].add(c)), simd.splat(means[r]));
                sums[r] = simd.add(sums[r], d);
                squares[r] = simd.fma(d, d, squares[r]);
            }
            c += S::LANES;
        }
        // Lanes past the end load as 0 and must stay so.
        let ones = simd.load_first(ONES.as_ptr(), count - c);
        for r in 0..R {
            let d =
                simd.sub(simd.load_first(from[r].add(c), count - c), simd.mul(ones, simd.splat(means[r])));
            sums[r] = simd.add(sums[r], d);
            squares[r] = simd.fma(d, d, squares[r]);
        }
        (reduce::<S, R>(simd, sums), reduce::<S, R>(simd, squares))
    }
}

#[inline(always)]
fn reduce<S: Simd, const R: usize>(simd: S, vectors: [S::V; R]) -> [f32; R] {
    let mut sums = [0.0; R];
    for (sum, vector) in sums.iter_mut().zip(vectors) {
        *sum = simd.sum(vector);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::*;

    fn reference(norm: &Norm, mem: &[f32]) -> Vec<f64> {
        let x = norm.x;
        let value = |at: usize| mem[at] as f64;
        let mut out = Vec::new();
        for row in 0..x.rows {
            let row_values: Vec<f64> = (0..x.cols).map(|c| value(x.offset + row * x.stride + c)).collect();
            let mean = match norm.measure {
                Measure::Deviation => row_values.iter().sum::<f64>() / x.cols as f64,
                Measure::RootMeanSquare => 0.0,
            };
            let variance = row_values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.cols as f64;
            for (c, v) in row_values.iter().enumerate() {
                let mut y = (v - mean) / (variance + norm.eps as f64).sqrt();
                y = y * norm.gamma.map_or(1.0, |p| value(p + c)) + norm.beta.map_or(0.0, |p| value(p + c));
                if let Some(m) = norm.modulation {
                    let image = row / m.rows_per_image * m.image_stride;
                    y *= value(m.scale + image + c);
                    y += m.shift.map_or(0.0, |p| value(p + image + c));
                }
                out.push(y);
            }
        }
        out
    }

    #[test]
    fn every_form_agrees_with_f64_at_every_width() {
        for cols in [1, 3, 15, 16, 17, 64, 72, 96, 130, 1152] {
            for (form, in_place) in [(0, false), (1, true), (2, false), (3, true), (4, false)] {
                if !in_time(100 * cols) {
                    continue;
                }
                let (rows, stride) = (11, cols + 5);
                let x = Rows { offset: 3, rows, cols, stride };
                let size = rows * stride;
                let out = if in_place { x } else { Rows { offset: 3 + size, rows, cols, stride: cols + 2 } };
                let constants = 3 + 2 * size;
                let modulation = Modulation {
                    scale: constants,
                    shift: (form != 2).then_some(constants + cols),
                    image_stride: 2 * cols,
                    rows_per_image: 4,
                };
                let norm = Norm {
                    x,
                    out,
                    measure: if form == 2 { Measure::RootMeanSquare } else { Measure::Deviation },
                    eps: 1e-6,
                    gamma: (form == 1 || form == 4).then_some(constants + 6 * cols),
                    beta: (form == 4).then_some(constants + 7 * cols),
                    modulation: (form >= 2).then_some(modulation),
                };
                let mut before = noise(constants + 8 * cols, cols as u64);
                // A mean far from 0, which one-pass variances lose their digits on.
                before[..3 + size].iter_mut().for_each(|v| *v += 100.0);
                let want = reference(&norm, &before);
                all_workers(norm.scratch(), |workers| {
                    let mut mem = before.clone();
                    norm.run(workers, &mut mem);
                    for (i, want) in want.iter().enumerate() {
                        let at = out.offset + i / cols * out.stride + i % cols;
                        let error = (mem[at] as f64 - want).abs();
                        assert!(error <= 5e-5 * (1.0 + want.abs()), "{} {norm:?} {i}: {error}", workers.isa);
                        mem[at] = before[at];
                    }
                    assert_eq!(mem, before, "nothing else is written");
                });
            }
        }
    }

    #[test]
    fn a_row_with_something_that_is_not_a_number_has_no_numbers() {
        for (cols, at) in [(1, 0), (7, 6), (40, 0), (77, 39)] {
            let x = Rows { offset: 0, rows: 9, cols, stride: cols };
            let out = Rows { offset: 9 * cols, ..x };
            let mut before = noise(18 * cols, 4);
            before[5 * cols + at] = f32::NAN;
            for measure in [Measure::Deviation, Measure::RootMeanSquare] {
                let norm = Norm { x, out, measure, eps: 1e-5, gamma: None, beta: None, modulation: None };
                all_workers(norm.scratch(), |workers| {
                    let mut mem = before.clone();
                    norm.run(workers, &mut mem);
                    for (i, row) in mem[out.offset..].chunks(cols).enumerate() {
                        assert!(
                            row.iter().all(|v| v.is_nan() == (i == 5)),
                            "{} {measure:?} {cols} {i}",
                            workers.isa
                        );
                    }
                });
            }
        }
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn rows_outside_the_arena_are_refused() {
        let x = Rows { offset: 0, rows: 4, cols: 4, stride: 4 };
        let out = Rows { offset: 17, ..x };
        let norm = Norm {
            x,
            out,
            measure: Measure::Deviation,
            eps: 1e-6,
            gamma: None,
            beta: None,
            modulation: None,
        };
        let mut scratch = [0.0; 16];
        let mut workers = Workers::new(super::super::Isa::Scalar, &super::super::Inline, &mut scratch);
        norm.run(&mut workers, &mut [0.0; 32]);
    }
}
