//! The left side of a product of small numbers: rounded to words in a spare part of the arena before it is multiplied.
//!
//! Bytes are rounded row by row: the least and the greatest number of a row, and 0, become the ends of 0 to 255, and
//! 0 a whole number of it. Behind its words each row has its scale and that number.

use std::ops::Range;

use super::super::place::end;
use super::super::{Kernel, LINE, Shared, Simd, Workers};
use super::{Format, Group};

/// What is rounded, and where to.
pub(super) struct Left {
    format: Format,
    /// Bytes are numbers of 16 bits.
    wide: bool,
    runs: Vec<Run>,
    /// Floats of a row, but for the last of strips.
    k: usize,
    /// Rows are strips of one stretch, which is read as a whole.
    strips: bool,
    /// Words from one row to the next.
    pub(super) stride: usize,
    place: Range<usize>,
}

/// Rows of floats `stride` apart, from `from` up to before `end`; the first one's words go to `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    from: usize,
    stride: usize,
    rows: usize,
    end: usize,
    to: usize,
}

/// The left side of a product as words: the groups of its rows there, and their distance.
pub(super) struct Rounded {
    pub(super) left: Left,
    pub(super) groups: Vec<Group>,
    pub(super) a_stride: usize,
    pub(super) segments: Vec<usize>,
    /// Numbers in a segment, as words.
    pub(super) k: usize,
}

/// Floats that one piece of work rounds at least.
const PIECE: usize = 1 << 14;
/// Floats of a row where rows overlap and all between the first and the last is rounded.
const STRIP: usize = 2048;

/// Rows start on cache lines, and not all in the same place of the first cache.
pub(super) fn stride(words: usize) -> usize {
    let stride = words.next_multiple_of(LINE);
    if stride.is_multiple_of(1024) { stride + LINE } else { stride }
}

/// Words of a row of `k` numbers: as many as a panel's words of bytes stand for.
fn words(format: Format, wide: bool, k: usize) -> usize {
    format.words(k) * if wide { 2 } else { 1 }
}

impl Rounded {
    /// The left side of rows of `k` floats in each of some segments, rounded to `spare`; none where such rows do not
    /// come as whole words.
    pub(super) fn new(
        (format, wide): (Format, bool),
        spare: usize,
        k: usize,
        a_stride: usize,
        segments: &[usize],
        groups: &[Group],
    ) -> Option<Self> {
        match segments {
            [0] => Some(Self::rows((format, wide), spare, k, a_stride, groups)),
            _ if format == Format::Bf16 => Self::region(format, spare, k, a_stride, segments, groups),
            _ => None,
        }
    }

    /// Words that it takes.
    pub(super) fn room(&self) -> usize {
        self.left.place.len()
    }

    fn rows(
        (format, wide): (Format, bool),
        spare: usize,
        k: usize,
        a_stride: usize,
        groups: &[Group],
    ) -> Self {
        let words = words(format, wide, k);
        let scale = if format == Format::I8 { LINE } else { 0 };
        let stride = stride(words.next_multiple_of(LINE) + scale);
        let mut to = spare;
        let mut rounded = Vec::with_capacity(groups.len());
        let runs = groups.iter().filter(|group| group.rows > 0).map(|group| {
            let last = end(group.a, &[(group.rows, a_stride)], k);
            let run = Run { from: group.a, stride: a_stride, rows: group.rows, end: last, to };
            rounded.push(Group { a: to, ..*group });
            to = end(to, &[(group.rows, stride)], stride);
            run
        });
        let runs = runs.collect();
        let left = Left { format, wide, runs, k, strips: false, stride, place: spare..to };
        Self { left, groups: rounded, a_stride: stride, segments: vec![0], k: words }
    }

    /// Rows that share most of what they read: all from the first to the last float.
    fn region(
        format: Format,
        spare: usize,
        k: usize,
        a_stride: usize,
        segments: &[usize],
        groups: &[Group],
    ) -> Option<Self> {
        let size = format.in_a_word();
        let last = segments.iter().max()?.checked_add(k)?;
        let start = groups.iter().map(|group| group.a).min()?;
        let end = groups.iter().map(|group| end(group.a, &[(group.rows, a_stride)], last)).max()?;
        let whole = |n: usize| n.is_multiple_of(size);
        let fits = whole(k)
            && whole(a_stride)
            && segments.iter().all(|&segment| whole(segment))
            && groups.iter().all(|group| whole(group.a - start));
        let words = format.words(end - start);
        let run = Run { from: start, stride: STRIP, rows: (end - start).div_ceil(STRIP), end, to: spare };
        let moved = |group: &Group| Group { a: spare + (group.a - start) / size, ..*group };
        let stride = STRIP / size;
        let place = spare..spare + words.next_multiple_of(stride);
        fits.then(|| Self {
            left: Left { format, wide: false, runs: vec![run], k: STRIP, strips: true, stride, place },
            groups: groups.iter().map(moved).collect(),
            a_stride: a_stride / size,
            segments: segments.iter().map(|segment| segment / size).collect(),
            k: k / size,
        })
    }
}

impl Left {
    /// All that is written.
    pub(super) fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    /// Shows what is read: from where, so many rows, how far apart and how long.
    pub(super) fn reads(&self, mut see: impl FnMut(usize, usize, usize, usize)) {
        for run in &self.runs {
            match self.strips {
                true => see(run.from, 1, 0, run.end - run.from),
                false => see(run.from, run.rows, run.stride, self.k),
            }
        }
    }

    /// Words of a row.
    pub(super) fn words(&self) -> usize {
        words(self.format, self.wide, self.k)
    }

    /// Where the scale of a row lies, from where its words start.
    pub(super) fn scale(&self) -> usize {
        self.words().next_multiple_of(LINE)
    }

    /// Rounds all rows.
    ///
    /// # Safety
    /// What is read and written lies in `mem`, apart, and nobody else writes it meanwhile.
    pub(super) unsafe fn run(&self, workers: &mut Workers<'_>, mem: Shared) {
        let isa = workers.isa;
        let each = (PIECE / self.k.max(1)).max(1);
        let rows: usize = self.runs.iter().map(|run| run.rows).sum();
        workers.each(rows.div_ceil(each), 0, |piece, _| {
            let (mut before, rows) = (0, piece * each..(piece + 1) * each);
            for run in &self.runs {
                let of_run = |row: usize| row.clamp(before, before + run.rows) - before;
                for row in of_run(rows.start)..of_run(rows.end) {
                    let from = run.from + row * run.stride;
                    let (to, len) = (run.to + row * self.stride, self.k.min(run.end - from));
                    isa.run(Row { left: self, mem, from, to, len });
                }
                before += run.rows;
            }
        });
    }
}

/// One row; whoever makes one answers for the places.
struct Row<'a> {
    left: &'a Left,
    mem: Shared,
    from: usize,
    to: usize,
    len: usize,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        // SAFETY: the maker's promise; rows of words have room for whole vectors of numbers.
        unsafe {
            match self.left.format {
                Format::I8 => self.bytes(simd),
                _ => {
                    let (from, to) = (self.mem.at(self.from), self.mem.at(self.to).cast::<u16>());
                    for k in (0..self.len).step_by(S::LANES) {
                        let words = simd.bfloats(some(simd, from.add(k), self.len - k));
                        to.add(k).cast::<S::Halves>().write_unaligned(words);
                    }
                }
            }
        }
    }
}

/// A vector, of which `n` floats are there; the others are 0.
///
/// # Safety
/// The floats are there.
#[inline(always)]
unsafe fn some<S: Simd>(simd: S, from: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if n >= S::LANES { simd.load(from) } else { simd.load_first(from, n) } }
}

impl Row<'_> {
    /// # Safety
    /// As [`Kernel::run`].
    #[inline(always)]
    unsafe fn bytes<S: Simd>(&self, simd: S) {
        // SAFETY: the caller's promise.
        unsafe {
            let (from, to) = (self.mem.at(self.from), self.mem.at(self.to).cast::<u8>());
            let (mut least, mut most) = ([simd.splat(0.0); 4], [simd.splat(0.0); 4]);
            let mut k = 0;
            while k + 4 * S::LANES <= self.len {
                for i in 0..4 {
                    let x = simd.load(from.add(k + i * S::LANES));
                    (least[i], most[i]) = (simd.smaller(x, least[i]), simd.larger(x, most[i]));
                }
                k += 4 * S::LANES;
            }
            while k < self.len {
                let x = some(simd, from.add(k), self.len - k);
                (least[0], most[0]) = (simd.smaller(x, least[0]), simd.larger(x, most[0]));
                k += S::LANES;
            }
            for i in 1..4 {
                (least[0], most[0]) = (simd.smaller(least[0], least[i]), simd.larger(most[0], most[i]));
            }
            // What is not finite makes this NaN, and with it the scale and all that is computed of the row.
            let no_number = simd.sum(simd.mul(simd.add(least[0], most[0]), simd.splat(0.0)));
            let low = -simd.maximum(simd.sub(simd.splat(0.0), least[0]));
            let range = simd.maximum(most[0]) - low + no_number;
            // A row whose steps would be too small for normal numbers counts as zeros.
            let (scale, steps) = match range >= 255.0 * f32::MIN_POSITIVE {
                true => (range / 255.0, 255.0 / range),
                false => (no_number, 0.0),
            };
            let zero = (-low * steps).round_ties_even();
            let (zeros, steps) = (simd.splat(zero), simd.splat(steps));
            for k in (0..self.len).step_by(S::LANES) {
                let near = simd.round(simd.fma(some(simd, from.add(k), self.len - k), steps, zeros));
                let near = simd.min(simd.max(near, simd.splat(0.0)), simd.splat(255.0));
                if self.left.wide {
                    to.add(2 * k).cast::<S::Halves>().write_unaligned(simd.shorts(near));
                } else {
                    to.add(k).cast::<S::Bytes>().write_unaligned(simd.bytes(near));
                }
            }
            *self.mem.at(self.to + self.left.scale()) = scale;
            *self.mem.at(self.to + self.left.scale() + 1) = zero;
        }
    }
}
