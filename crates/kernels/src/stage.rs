//! What a convolution reads: an image normalised, activated, enlarged and padded in one pass.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::math::silu;
use super::place::{apart, end};
use super::{Kernel, Shared, Simd, Workers};

/// What lies around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Border {
    Zero,
    /// The image again: it tiles the plane.
    Circular,
}

/// Pixels on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Padding {
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

/// Images `[height, width, channels]` to `[height * enlarge + top + bottom, width * enlarge + left +
/// right, channels]` without gaps, the second behind the first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stage<A = usize> {
    /// The first pixel; pixel `(y, x)` of image `i` is `i * image_stride + (y * width + x) * pixel_stride`
    /// further.
    pub x: A,
    pub image_stride: usize,
    pub pixel_stride: usize,
    pub images: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// A scale and then a shift for each channel, of each image: what a group norm leaves.
    pub affine: Option<A>,
    /// SiLU after that.
    pub silu: bool,
    /// Each pixel so often, in both directions.
    pub enlarge: usize,
    pub padding: Padding,
    pub border: Border,
    pub out: A,
}

impl<A> Stage<A> {
    /// The same stage of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Stage<B> {
        let Self { image_stride, pixel_stride, images, height, width, channels, .. } = self;
        let Self { silu, enlarge, padding, border, .. } = self;
        Stage {
            x: to(self.x),
            image_stride,
            pixel_stride,
            images,
            height,
            width,
            channels,
            affine: self.affine.map(&mut *to),
            silu,
            enlarge,
            padding,
            border,
            out: to(self.out),
        }
    }
}

impl Stage {
    /// The most that `enlarge` may be.
    pub const ENLARGE: usize = 8;

    /// Height and width of the result.
    pub fn size(&self) -> (usize, usize) {
        let Padding { top, bottom, left, right } = self.padding;
        (self.height * self.enlarge + top + bottom, self.width * self.enlarge + left + right)
    }

    /// The images, the result, and the constants.
    fn spans(&self) -> (Range<usize>, Range<usize>, Option<Range<usize>>) {
        let pixels = [
            (self.images, self.image_stride),
            (self.height, self.width.checked_mul(self.pixel_stride).expect("a stage's image lies outside")),
            (self.width, self.pixel_stride),
        ];
        let read = self.x..end(self.x, &pixels, self.channels);
        let (height, width) = self.size();
        let row = width.checked_mul(self.channels).expect("a stage's result lies outside");
        let out = self.out..end(self.out, &[(self.images * height, row)], row);
        let constants = |start| start..end(start, &[(self.images, 2 * self.channels)], 2 * self.channels);
        (read, out, self.affine.map(constants))
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        let (read, out, constants) = self.spans();
        [read, out].into_iter().chain(constants).for_each(see);
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        let channels = self.channels;
        let Padding { top, bottom, left, right } = self.padding;
        // Sizes within the arena's, so that what follows cannot overflow.
        assert!([top, bottom, left, right].iter().all(|n| *n <= len), "a stage's result lies outside");
        assert!(self.enlarge <= Self::ENLARGE && self.pixel_stride >= channels, "a stage's pixels overlap");
        if self.images * self.height * self.width * channels * self.enlarge == 0 {
            return;
        }
        let (read, out, constants) = self.spans();
        assert!(read.end <= len && out.end <= len, "a stage's images lie outside");
        assert!(apart(&read, &out), "a stage's images overlap");
        if let Some(span) = constants {
            assert!(span.end <= len && apart(&span, &out), "a stage's constants lie outside");
        }
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        if self.images * self.height * self.width * self.channels * self.enlarge == 0 {
            return;
        }
        let (height, width) = self.size();
        let (rows, row) = (self.images * height, width * self.channels);

        let (memory, isa) = (Shared::new(mem), workers.isa);
        workers.each(rows, 0, |piece, _| {
            let (image, y) = (piece / height, piece % height);
            // Rows that repeat another one are copied when that is made.
            let first = y.checked_sub(self.padding.top).filter(|y| *y < self.height * self.enlarge);
            match first {
                Some(y) if y % self.enlarge == 0 => {
                    isa.run(Row { stage: self, memory, image, y: y / self.enlarge, height, row })
                }
                None if self.border == Border::Zero => {
                    // SAFETY: checked above; the border's rows are written by these pieces only.
                    unsafe {
                        std::slice::from_raw_parts_mut(memory.at(self.out + piece * row), row).fill(0.0);
                    }
                }
                _ => {}
            }
        });
    }
}

/// All rows of one result that one row of an image goes to.
struct Row<'a> {
    stage: &'a Stage,
    memory: Shared,
    image: usize,
    y: usize,
    /// The result's height, and floats in its rows.
    height: usize,
    row: usize,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (stage, channels) = (self.stage, self.stage.channels);
        let Padding { top, left, right, .. } = stage.padding;
        let inner = stage.width * stage.enlarge;
        // SAFETY: `Stage::run` checked image, constants and result; the row and those equal to it are
        // written by this piece only, and are apart from all that is read.
        unsafe {
            let from = self
                .memory
                .at(stage.x + self.image * stage.image_stride + self.y * stage.width * stage.pixel_stride);
            let result = self.memory.at(stage.out + self.image * self.height * self.row);
            let first = top + self.y * stage.enlarge;
            let to = result.add(first * self.row);
            let affine = stage.affine.map(|start| {
                let scale = self.memory.at(start + 2 * self.image * channels).cast_const();
                (scale, scale.add(channels))
            });
            match (affine, stage.silu) {
                (None, false) => {
                    self.pixels::<S, false, false>(simd, from, to.add(left * channels), from, from)
                }
                (None, true) => {
                    self.pixels::<S, false, true>(simd, from, to.add(left * channels), from, from)
                }
                (Some((scale, shift)), false) => {
                    self.pixels::<S, true, false>(simd, from, to.add(left * channels), scale, shift);
                }
                (Some((scale, shift)), true) => {
                    self.pixels::<S, true, true>(simd, from, to.add(left * channels), scale, shift);
                }
            }
            for x in (0..left).chain(left + inner..left + inner + right) {
                let pixel = to.add(x * channels);
                match stage.border {
                    Border::Zero => std::slice::from_raw_parts_mut(pixel, channels).fill(0.0),
                    Border::Circular => {
                        // The pixel a whole number of widths away that lies inside.
                        let same = left + (x + inner - left % inner) % inner;
                        std::ptr::copy_nonoverlapping(to.add(same * channels), pixel, channels);
                    }
                }
            }
            // Enlarged rows, and with a circular border those a whole number of heights away.
            let period = stage.height * stage.enlarge;
            for repeat in first..first + stage.enlarge {
                let (start, end) = match stage.border {
                    Border::Zero => (repeat, repeat + 1),
                    Border::Circular => (repeat % period, self.height),
                };
                for y in (start..end).step_by(period).filter(|y| *y != first) {
                    std::ptr::copy_nonoverlapping(to, result.add(y * self.row), self.row);
                }
            }
        }
    }
}

impl Row<'_> {
    /// One row of pixels, each written `enlarge` times.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const AFFINE: bool, const SILU: bool>(
        &self,
        simd: S,
        from: *const f32,
        to: *mut f32,
        scale: *const f32,
        shift: *const f32,
    ) {
        let Stage { channels, enlarge, pixel_stride, width, .. } = *self.stage;
        let constants = |c: usize, n: usize| {
            // SAFETY: with `AFFINE` the caller has `channels` of each.
            unsafe {
                if AFFINE {
                    (simd.load_first(scale.add(c), n), simd.load_first(shift.add(c), n))
                } else {
                    (simd.splat(1.0), simd.splat(0.0))
                }
            }
        };
        // SAFETY: the caller's promise that the row and its constants exist.
        unsafe {
            if channels <= S::LANES {
                let constants = constants(0, channels);
                for x in 0..width {
                    let (from, to) = (from.add(x * pixel_stride), to.add(x * enlarge * channels));
                    self.vector::<S, AFFINE, SILU>(simd, from, to, channels, constants);
                }
            } else {
                for x in 0..width {
                    let (from, to) = (from.add(x * pixel_stride), to.add(x * enlarge * channels));
                    for c in (0..channels).step_by(S::LANES) {
                        let n = S::LANES.min(channels - c);
                        self.vector::<S, AFFINE, SILU>(simd, from.add(c), to.add(c), n, constants(c, n));
                    }
                }
            }
        }
    }

    /// `n` channels of a pixel.
    #[inline(always)]
    unsafe fn vector<S: Simd, const AFFINE: bool, const SILU: bool>(
        &self,
        simd: S,
        from: *const f32,
        to: *mut f32,
        n: usize,
        (scale, shift): (S::V, S::V),
    ) {
        // SAFETY: the caller's promise that the pixel and its repetitions exist.
        unsafe {
            let mut v = if n == S::LANES { simd.load(from) } else { simd.load_first(from, n) };
            if AFFINE {
                v = simd.fma(v, scale, shift);
            }
            if SILU {
                v = silu(simd, v);
            }
            for repeat in 0..self.stage.enlarge {
                let to = to.add(repeat * self.stage.channels);
                if n == S::LANES { simd.store(to, v) } else { simd.store_first(to, v, n) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::*;

    /// The result at (image, y, x, channel) by what the words mean.
    fn reference(stage: &Stage, mem: &[f32], image: usize, y: usize, x: usize, c: usize) -> f64 {
        let (height, width) =
            ((stage.height * stage.enlarge) as isize, (stage.width * stage.enlarge) as isize);
        let (y, x) = (y as isize - stage.padding.top as isize, x as isize - stage.padding.left as isize);
        if stage.border == Border::Zero && !((0..height).contains(&y) && (0..width).contains(&x)) {
            return 0.0;
        }
        let y = y.rem_euclid(height) as usize / stage.enlarge;
        let x = x.rem_euclid(width) as usize / stage.enlarge;
        let pixel = stage.x + image * stage.image_stride + (y * stage.width + x) * stage.pixel_stride;
        let mut v = mem[pixel + c] as f64;
        if let Some(start) = stage.affine {
            let start = start + 2 * image * stage.channels + c;
            v = v * mem[start] as f64 + mem[start + stage.channels] as f64;
        }
        if stage.silu { v / (1.0 + (-v).exp()) } else { v }
    }

    #[test]
    fn every_stage_agrees_with_f64() {
        let all = Padding { top: 1, bottom: 2, left: 3, right: 1 };
        let wide = Padding { top: 7, bottom: 9, left: 11, right: 12 };
        for (images, height, width, channels) in [(1, 4, 6, 48), (2, 3, 5, 3), (1, 5, 1, 16), (2, 2, 3, 70)] {
            for (enlarge, padding, border, affine, silu) in [
                (1, all, Border::Circular, true, true),
                (2, all, Border::Zero, true, false),
                (2, wide, Border::Circular, false, true),
                (1, wide, Border::Zero, false, false),
                (1, Padding::default(), Border::Zero, true, true),
            ] {
                if !in_time(20 * height * width * channels) {
                    continue;
                }
                let pixel_stride = channels + 2;
                let image_stride = height * width * pixel_stride + 5;
                let constants = 3 + images * image_stride;
                let stage = Stage {
                    x: 3,
                    image_stride,
                    pixel_stride,
                    images,
                    height,
                    width,
                    channels,
                    affine: affine.then_some(constants),
                    silu,
                    enlarge,
                    padding,
                    border,
                    out: constants + 2 * images * channels,
                };
                let (out_height, out_width) = stage.size();
                let before = noise(stage.out + images * out_height * out_width * channels, 2);
                all_workers(0, |workers| {
                    let mut mem = before.clone();
                    stage.run(workers, &mut mem);
                    assert!(mem[..stage.out] == before[..stage.out], "inputs are not written");
                    for (i, got) in mem[stage.out..].iter().enumerate() {
                        let (pixel, c) = (i / channels, i % channels);
                        let (row, x) = (pixel / out_width, pixel % out_width);
                        let want = reference(&stage, &before, row / out_height, row % out_height, x, c);
                        let error = (*got as f64 - want).abs();
                        assert!(error <= 1e-6, "{} {stage:?} at {row} {x} {c}", workers.isa);
                    }
                });
            }
        }
    }

    #[test]
    fn what_is_not_a_number_goes_to_every_copy_of_its_pixel_and_no_further() {
        for (channels, silu, border) in
            [(1, true, Border::Zero), (40, true, Border::Circular), (40, false, Border::Zero)]
        {
            let stage = Stage {
                x: 0,
                image_stride: 0,
                pixel_stride: channels,
                images: 1,
                height: 3,
                width: 2,
                channels,
                affine: None,
                silu,
                enlarge: 2,
                padding: Padding { top: 1, bottom: 1, left: 1, right: 1 },
                border,
                out: 6 * channels,
            };
            let (height, width) = stage.size();
            let mut before = noise(stage.out + height * width * channels, 6);
            before[2 * channels] = f32::NAN;
            all_workers(0, |workers| {
                let mut mem = before.clone();
                stage.run(workers, &mut mem);
                let copies = mem[stage.out..].iter().filter(|v| v.is_nan()).count();
                // The left pixel of the second row; a circular border repeats its left column on the right.
                let wanted = if border == Border::Circular { 6 } else { 4 };
                assert_eq!(copies, wanted, "{} {channels} {silu} {border:?}", workers.isa);
            });
        }
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn results_outside_the_arena_are_refused() {
        let stage = Stage {
            x: 0,
            image_stride: 0,
            pixel_stride: 4,
            images: 1,
            height: 2,
            width: 2,
            channels: 4,
            affine: None,
            silu: false,
            enlarge: 2,
            padding: Padding::default(),
            border: Border::Zero,
            out: 16,
        };
        all_workers(0, |workers| stage.run(workers, &mut [0.0; 79]));
    }
}
