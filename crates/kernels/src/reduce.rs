//! Sums, means, maxima and softmax along rows, for graphs whose shape is not recognised.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::math::exp;
use super::norm::sums;
use super::place::{apart, end};
use super::{Kernel, LINE, Rows, Shared, Simd, Workers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
}

/// One float of each row.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reduce<A = usize> {
    pub x: Rows<A>,
    pub reduction: Reduction,
    pub out: A,
    /// From one row's result to the next one's.
    pub out_stride: usize,
}

/// `out = e^x / Σ e^x` for each row. `out` may be `x` itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Softmax<A = usize> {
    pub x: Rows<A>,
    pub out: Rows<A>,
}

impl<A> Reduce<A> {
    /// The same reduction of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Reduce<B> {
        let Self { x, reduction, out, out_stride } = self;
        Reduce { x: x.relocate(to), reduction, out: to(out), out_stride }
    }
}

impl<A> Softmax<A> {
    /// The same softmax of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> Softmax<B> {
        Softmax { x: self.x.relocate(to), out: self.out.relocate(to) }
    }
}

/// Calls `work` with all rows of `x`, some at a time: enough for each lane, and not so few that taking them
/// costs more than doing them.
fn each_rows(workers: &mut Workers<'_>, x: &Rows, work: impl Fn(Range<usize>) + Sync) {
    let block = x.rows.div_ceil(4 * workers.lanes()).max(1024 / x.cols);
    workers.each(x.rows.div_ceil(block), 0, |piece, _| work(piece * block..x.rows.min((piece + 1) * block)));
}

impl Reduce {
    fn written(&self) -> Range<usize> {
        self.out..end(self.out, &[(self.x.rows, self.out_stride)], 1)
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        see(self.x.span());
        see(self.written());
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        let x = self.x;
        if x.rows == 0 {
            return;
        }
        assert!(x.cols > 0, "a reduction of nothing has no value");
        let (read, out) = (x.span(), self.written());
        assert!(read.end <= len && out.end <= len, "a reduction's rows lie outside");
        assert!(apart(&read, &out), "a reduction's rows overlap");
        assert!(x.rows == 1 || self.out_stride > 0, "a reduction's results overlap");
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        let x = self.x;
        if x.rows == 0 {
            return;
        }
        let (memory, isa) = (Shared::new(mem), workers.isa);
        each_rows(workers, &x, |rows| isa.run(ReduceRows { reduce: self, memory, rows }));
    }
}

struct ReduceRows<'a> {
    reduce: &'a Reduce,
    memory: Shared,
    rows: Range<usize>,
}

impl Kernel for ReduceRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Reduce { x, reduction, out, out_stride } = *self.reduce;
        for row in self.rows {
            // SAFETY: `Reduce::run` checked rows and results, and no other piece writes these.
            unsafe {
                let from = self.memory.at(x.offset + row * x.stride);
                *self.memory.at(out + row * out_stride) = match reduction {
                    Reduction::Sum => sums::<S, 1>(simd, [from], x.cols)[0],
                    Reduction::Mean => sums::<S, 1>(simd, [from], x.cols)[0] / x.cols as f32,
                    Reduction::Max => maximum_or_nan(simd, from, x.cols),
                };
            }
        }
    }
}

impl Softmax {
    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        see(self.x.span());
        see(self.out.span());
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        let (x, out) = (self.x, self.out);
        assert_eq!((x.rows, x.cols), (out.rows, out.cols), "a softmax keeps the shape");
        if x.rows == 0 || x.cols == 0 {
            return;
        }
        let (read, written) = (x.span(), out.span());
        assert!(read.end <= len && written.end <= len, "a softmax's rows lie outside");
        assert!(x == out || apart(&read, &written), "a softmax's rows overlap");
        assert!(out.rows_apart(), "a softmax's output rows overlap");
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        let x = self.x;
        if x.rows == 0 || x.cols == 0 {
            return;
        }
        let (memory, isa) = (Shared::new(mem), workers.isa);
        each_rows(workers, &x, |rows| isa.run(SoftmaxRows { softmax: self, memory, rows }));
    }
}

struct SoftmaxRows<'a> {
    softmax: &'a Softmax,
    memory: Shared,
    rows: Range<usize>,
}

impl Kernel for SoftmaxRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Softmax { x, out } = *self.softmax;
        for row in self.rows {
            // SAFETY: `Softmax::run` checked all rows; no other piece writes these, and in place each
            // vector is read before it is written.
            unsafe {
                let from = self.memory.at(x.offset + row * x.stride).cast_const();
                let to = self.memory.at(out.offset + row * out.stride);
                let max = simd.splat(maximum(simd, from, x.cols));
                for c in (0..x.cols).step_by(S::LANES) {
                    let n = S::LANES.min(x.cols - c);
                    simd.store_first(to.add(c), exp(simd, simd.sub(simd.load_first(from.add(c), n), max)), n);
                }
                let factor = simd.splat(1.0 / sums::<S, 1>(simd, [to], x.cols)[0]);
                for c in (0..x.cols).step_by(S::LANES) {
                    let n = S::LANES.min(x.cols - c);
                    simd.store_first(to.add(c), simd.mul(simd.load_first(to.add(c), n), factor), n);
                }
            }
        }
    }
}

/// The largest of `count` floats, at least one, or NaN if one of them is.
#[inline(always)]
unsafe fn maximum_or_nan<S: Simd>(simd: S, from: *const f32, count: usize) -> f32 {
    let larger = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    // SAFETY: `from` holds `count` floats, by the caller's promise, and no set has more lanes than there are here.
    unsafe {
        let (mut largest, mut c) = (simd.splat(*from), 0);
        while c + S::LANES <= count {
            largest = simd.larger(largest, simd.load(from.add(c)));
            c += S::LANES;
        }
        let mut lanes = [f32::NEG_INFINITY; LINE];
        simd.store(lanes.as_mut_ptr(), largest);
        let rest = (c..count).map(|c| *from.add(c));
        lanes[..S::LANES].iter().copied().chain(rest).fold(f32::NEG_INFINITY, larger)
    }
}

/// The largest of `count` floats, at least one. A NaN among them may be passed over: it comes out of a softmax all
/// the same, by its own exponential and the sum of all.
#[inline(always)]
unsafe fn maximum<S: Simd>(simd: S, from: *const f32, count: usize) -> f32 {
    // SAFETY: `from` holds `count` floats, by the caller's promise.
    unsafe {
        let (mut largest, mut c) = (simd.splat(*from), 0);
        while c + S::LANES <= count {
            largest = simd.max(largest, simd.load(from.add(c)));
            c += S::LANES;
        }
        let rest = (c..count).map(|c| *from.add(c));
        rest.fold(simd.maximum(largest), f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::*;

    #[test]
    fn rows_of_every_width_agree_with_f64() {
        for (rows, cols) in [(1, 1), (7, 3), (40, 16), (5, 77), (3, 1152), (200, 5)] {
            if !in_time(10 * rows * cols) {
                continue;
            }
            let x = Rows { offset: 2, rows, cols, stride: cols + 1 };
            let start = 2 + rows * x.stride;
            let before: Vec<f32> =
                noise(start + rows * x.stride, 6).into_iter().map(|v| 20.0 * v - 30.0).collect();
            let row = |i: usize| before[2 + i * x.stride..][..cols].iter().map(|v| *v as f64);
            all_workers(0, |workers| {
                for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
                    let mut mem = before.clone();
                    let reduce = Reduce { x, reduction, out: start, out_stride: 2.min(x.stride) };
                    reduce.run(workers, &mut mem);
                    for i in 0..rows {
                        let want = match reduction {
                            Reduction::Sum => row(i).sum(),
                            Reduction::Mean => row(i).sum::<f64>() / cols as f64,
                            Reduction::Max => row(i).fold(f64::NEG_INFINITY, f64::max),
                        };
                        let at = start + i * reduce.out_stride;
                        let error = (mem[at] as f64 - want).abs();
                        assert!(error <= 1e-6 * want.abs(), "{} {reduce:?}: {error}", workers.isa);
                        mem[at] = before[at];
                    }
                    assert!(mem == before, "nothing else is written");
                }
                for out in [x, Rows { offset: start, stride: cols, ..x }] {
                    let mut mem = before.clone();
                    Softmax { x, out }.run(workers, &mut mem);
                    for i in 0..rows {
                        let max = row(i).fold(f64::NEG_INFINITY, f64::max);
                        let total: f64 = row(i).map(|v| (v - max).exp()).sum();
                        for (c, v) in row(i).enumerate() {
                            let at = out.offset + i * out.stride + c;
                            let error = (mem[at] as f64 - (v - max).exp() / total).abs();
                            assert!(error <= 1e-6, "{} {rows} {cols}: {error}", workers.isa);
                            mem[at] = before[at];
                        }
                    }
                    assert!(mem == before, "nothing else is written");
                }
            });
        }
    }

    #[test]
    fn a_row_with_something_that_is_not_a_number_is_none_wherever_it_stands() {
        for (cols, at) in [1, 3, 16, 40, 77].into_iter().flat_map(|cols| (0..cols).map(move |at| (cols, at)))
        {
            let x = Rows { offset: 0, rows: 3, cols, stride: cols };
            let out = 3 * cols;
            let mut before = noise(2 * out, 7);
            before[cols + at] = f32::NAN;
            all_workers(0, |workers| {
                for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
                    let mut mem = before.clone();
                    Reduce { x, reduction, out, out_stride: 1 }.run(workers, &mut mem);
                    let nan: Vec<bool> = mem[out..out + 3].iter().map(|v| v.is_nan()).collect();
                    assert_eq!(nan, [false, true, false], "{} {reduction:?} {cols} {at}", workers.isa);
                }
                let mut mem = before.clone();
                Softmax { x, out: Rows { offset: out, ..x } }.run(workers, &mut mem);
                let row = |i: usize| &mem[out + i * cols..][..cols];
                assert!(row(1).iter().all(|v| v.is_nan()), "{} {cols} {at}", workers.isa);
                assert!(row(0).iter().chain(row(2)).all(|v| v.is_finite()), "{} {cols} {at}", workers.isa);
            });
        }
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn results_over_the_rows_are_refused() {
        let x = Rows { offset: 0, rows: 4, cols: 4, stride: 4 };
        let reduce = Reduce { x, reduction: Reduction::Sum, out: 3, out_stride: 4 };
        all_workers(0, |workers| reduce.run(workers, &mut [0.0; 64]));
    }
}
