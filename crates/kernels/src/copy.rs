//! Strided copies: permutations, patches to tokens and back, pieces of a concatenation, broadcasts.

use std::ops::Range;

use super::view::{Space, View};
use super::{Kernel, Shared, Simd, Workers};

/// Elements that are worth a piece of their own.
const PIECE: usize = 8192;

/// Rows of a transposition that are taken together, so that what is written comes in whole cache lines.
const STRIP: usize = 64;

#[derive(Clone, Copy, Debug)]
pub struct Copy {
    space: Space,
    from: View,
    to: View,
    turned: Option<Turned>,
}

/// Where each side is contiguous in a dimension of its own, whole squares are transposed: the space's
/// runs, which are contiguous in the result, by `cols`, which are in the source.
#[derive(Clone, Copy, Debug)]
struct Turned {
    /// The loops around the two dimensions.
    around: Space,
    cols: usize,
    from_stride: usize,
    to_stride: usize,
}

impl Copy {
    /// Elements of `shape` from one view to the other.
    pub fn new(shape: &[usize], from: View, to: View) -> Self {
        let mut views = [to, from];
        let space = Space::arrange(shape, &mut views);
        let [to, from] = views;
        let turned = space.contiguous_outside(&from).and_then(|d| {
            let (cols, to_stride) = space.along(d, &to);
            let from_stride = space.stride(&from);
            let squares = space.stride(&to) == 1 && cols >= 4 && space.run() >= 4;
            squares.then_some(Turned { around: space.without(d), cols, from_stride, to_stride })
        });
        Self { space, from, to, turned }
    }

    /// The shape in the order in which views have their strides.
    pub fn shape(&self) -> &[usize] {
        self.space.shape()
    }

    pub fn from(&self) -> &View {
        &self.from
    }

    pub fn to(&self) -> &View {
        &self.to
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        [&self.from, &self.to]
            .into_iter()
            .filter(|_| !self.space.is_empty())
            .for_each(|v| see(self.space.span(v)));
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        if !self.space.is_empty() {
            self.space.check(&self.to, &[self.from], len);
        }
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        if self.space.is_empty() {
            return;
        }
        if self.from == self.to {
            return;
        }
        let (memory, isa, run) = (Shared::new(mem), workers.isa, self.space.run());
        if let Some(turned) = &self.turned {
            let strips = run.div_ceil(STRIP);
            workers.each(turned.around.runs() * strips, 0, |piece, _| {
                let (around, row) = (piece / strips, piece % strips * STRIP);
                isa.run(Turn { copy: self, turned, memory, around, row });
            });
        } else if run >= PIECE {
            let parts = run.div_ceil(PIECE);
            workers.each(self.space.runs() * parts, 0, |piece, _| {
                let start = piece % parts * PIECE;
                self.runs(memory, piece / parts, 1, start..run.min(start + PIECE));
            });
        } else {
            let (runs, group) = (self.space.runs(), PIECE / run);
            workers.each(runs.div_ceil(group), 0, |piece, _| {
                let first = piece * group;
                self.runs(memory, first, group.min(runs - first), 0..run);
            });
        }
    }

    /// Copies `part` of each of `count` runs.
    fn runs(&self, memory: Shared, first: usize, count: usize, part: Range<usize>) {
        let (from_stride, to_stride) = (self.space.stride(&self.from), self.space.stride(&self.to));
        let length = part.len();
        self.space.walk([&self.from, &self.to], first, count, |[from, to]| {
            // SAFETY: `run` checked all elements of both views; they are apart, and no other piece has
            // these runs.
            unsafe {
                let from = memory.at(from + part.start * from_stride).cast_const();
                let to = memory.at(to + part.start * to_stride);
                match (from_stride, to_stride) {
                    (1, 1) if length >= 16 => std::ptr::copy_nonoverlapping(from, to, length),
                    (0, 1) => std::slice::from_raw_parts_mut(to, length).fill(*from),
                    _ => (0..length).for_each(|i| *to.add(i * to_stride) = *from.add(i * from_stride)),
                }
            }
        });
    }
}

/// A strip of a transposition: rows from `row` on, all columns.
struct Turn<'a> {
    copy: &'a Copy,
    turned: &'a Turned,
    memory: Shared,
    around: usize,
    row: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Turned { around, cols, from_stride, to_stride } = *self.turned;
        let end = self.copy.space.run().min(self.row + STRIP);
        let (mut from, mut to) = (0, 0);
        around.walk([&self.copy.from, &self.copy.to], self.around, 1, |[f, t]| (from, to) = (f, t));
        for col in (0..cols).step_by(S::LANES) {
            for row in (self.row..end).step_by(S::LANES) {
                let (rows, cols) = (S::LANES.min(end - row), S::LANES.min(cols - col));
                // SAFETY: `Copy::run` checked all elements of both views; they are apart, and no other
                // piece has these rows.
                unsafe {
                    let from = self.memory.at(from + row * from_stride + col).cast_const();
                    let to = self.memory.at(to + col * to_stride + row);
                    simd.transpose((from, from_stride), (to, to_stride), rows, cols);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parallel::{all_workers, in_time, noise};
    use super::*;

    /// All indices of `shape`, with the offsets that strides give them.
    fn offsets(shape: &[usize], strides: &[usize]) -> Vec<usize> {
        shape.iter().zip(strides).fold(vec![0], |offsets, (count, stride)| {
            offsets.iter().flat_map(|o| (0..*count).map(move |i| o + i * stride)).collect()
        })
    }

    #[test]
    fn every_permutation_and_broadcast_is_copied() {
        for (shape, from, to) in [
            (&[5, 7][..], &[7, 1][..], &[1, 5][..]),
            (&[100, 70], &[70, 1], &[1, 103]),
            (&[3, 100, 40], &[4000, 1, 100], &[4100, 41, 1]),
            // Images to patches: n, h, w, ph, pw, c.
            (&[2, 4, 4, 2, 2, 3], &[192, 16, 2, 8, 1, 64], &[192, 48, 12, 6, 3, 1]),
            // And back.
            (&[2, 4, 4, 2, 2, 3], &[192, 48, 12, 6, 3, 1], &[192, 16, 2, 8, 1, 64]),
            (&[6, 20_000], &[20_000, 1], &[20_001, 1]),
            (&[2, 3, 30], &[30, 0, 1], &[90, 30, 1]),
            (&[2, 30], &[1, 0], &[30, 1]),
            (&[4, 9], &[18, 2], &[9, 1]),
            (&[4, 9], &[9, 1], &[30, 3]),
            (&[4, 0], &[9, 1], &[30, 3]),
            (&[1, 1], &[9, 9], &[3, 3]),
            (&[], &[], &[]),
        ] {
            if !in_time(shape.iter().product()) {
                continue;
            }
            let (reads, writes) = (offsets(shape, from), offsets(shape, to));
            let start = 3 + reads.iter().max().map_or(0, |last| last + 1);
            let length = start + writes.iter().max().map_or(0, |last| last + 1);
            let before = noise(length, 5);
            let mut want = before.clone();
            for (read, write) in reads.iter().zip(&writes) {
                want[start + write] = before[3 + read];
            }
            let copy = Copy::new(shape, View::new(3, from), View::new(start, to));
            all_workers(0, |workers| {
                let mut mem = before.clone();
                copy.run(workers, &mut mem);
                assert!(mem == want, "{} {shape:?} {from:?} {to:?}", workers.isa);
            });
        }
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn results_over_each_other_are_refused() {
        let copy = Copy::new(&[4, 4], View::new(0, &[4, 1]), View::new(16, &[3, 1]));
        all_workers(0, |workers| copy.run(workers, &mut [0.0; 64]));
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn results_outside_the_arena_are_refused() {
        let copy = Copy::new(&[4, 4], View::new(0, &[4, 1]), View::new(49, &[4, 1]));
        all_workers(0, |workers| copy.run(workers, &mut [0.0; 64]));
    }
}
