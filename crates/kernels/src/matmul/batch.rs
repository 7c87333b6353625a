//! Products of matrices that are not by one constant matrix, such as of two activations: a panel of the right one is
//! packed when it is multiplied, and the micro-kernels are those of constant weights.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::super::blocking::STRETCH;
use super::super::place::{all_apart, apart, end};
use super::super::{Kernel, Shared, Simd, Workers};
use super::tile::{Span, Tile};
use super::{Format, MICROKERNELS, Microkernel};

/// Where the matrices of one side lie.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Matrices<A = usize> {
    pub offset: A,
    /// From one matrix to the next, along both axes of the batch.
    pub batch: [usize; 2],
    /// From one row to the next.
    pub row: usize,
}

/// `out = a b` for each pair of matrices of a batch.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct BatchMatmul<A = usize> {
    /// `[rows, inner]`; a row's floats lie side by side.
    pub a: Matrices<A>,
    /// `[inner, cols]`; those of a row or of a column lie side by side.
    pub b: Matrices<A>,
    /// From one column of `b` to the next.
    pub column: usize,
    /// `[rows, cols]`; a row's floats lie side by side.
    pub out: Matrices<A>,
    pub batch: [usize; 2],
    pub rows: usize,
    pub inner: usize,
    pub cols: usize,
}

impl<A> BatchMatmul<A> {
    /// The same products of what lies where `to` says.
    pub fn relocate<B>(self, to: &mut impl FnMut(A) -> B) -> BatchMatmul<B> {
        let Self { a, b, column, out, batch, rows, inner, cols } = self;
        let [a, b, out] =
            [a, b, out].map(|Matrices { offset, batch, row }| Matrices { offset: to(offset), batch, row });
        BatchMatmul { a, b, column, out, batch, rows, inner, cols }
    }
}

impl Matrices {
    /// The axes of matrices of so many rows, with their strides.
    fn axes(&self, batch: [usize; 2], rows: usize) -> [(usize, usize); 3] {
        [(batch[0], self.batch[0]), (batch[1], self.batch[1]), (rows, self.row)]
    }
}

/// The fewest tiles of rows that are worth packing a panel for.
const TILES: usize = 4;

impl BatchMatmul {
    /// Floats of scratch for each lane: a panel's stretch, and a tile of its last columns.
    pub fn scratch(&self) -> usize {
        let floats = |line: &&Microkernel| line.format == Format::F32 && line.is_available();
        let need = |line: &Microkernel| (self.inner.min(STRETCH) + line.rows) * line.width();
        MICROKERNELS.iter().filter(floats).map(need).max().unwrap_or(0)
    }

    /// Where `a`, `b` and `out` lie.
    fn spans(&self) -> [Range<usize>; 3] {
        let Self { a, b, column, out, batch, rows, inner, cols } = self;
        let [first, second, row] = b.axes(*batch, *inner);
        [
            a.offset..end(a.offset, &a.axes(*batch, *rows), *inner),
            b.offset..end(b.offset, &[first, second, row, (*cols, *column)], 1),
            out.offset..end(out.offset, &out.axes(*batch, *rows), *cols),
        ]
    }

    /// Shows each place that is touched.
    pub fn places(&self, see: &mut dyn FnMut(Range<usize>)) {
        self.spans().into_iter().for_each(see);
    }

    fn is_empty(&self) -> bool {
        self.batch.contains(&0) || self.rows == 0 || self.cols == 0
    }

    /// Holds its places against each other and against a memory of `len` floats.
    ///
    /// # Panics
    /// If it would touch what lies outside, or write what it reads.
    pub fn check(&self, len: usize) {
        if self.is_empty() {
            return;
        }
        assert!(self.inner > 0, "a product over no elements has no value");
        let aside = self.column == 1 || self.cols == 1 || self.b.row == 1 || self.inner == 1;
        assert!(aside, "neither rows nor columns of the right side lie side by side");
        let [a, b, out] = self.spans();
        assert!(a.end <= len && b.end <= len && out.end <= len, "a product's places lie outside");
        assert!(apart(&a, &out) && apart(&b, &out), "a product overlaps what it is of");
        assert!(all_apart(&self.out.axes(self.batch, self.rows), self.cols), "products overlap");
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        self.check(mem.len());
        if self.is_empty() {
            return;
        }
        let kernel = Microkernel::exact(workers.isa);
        let (width, tiles) = (kernel.width(), self.rows.div_ceil(kernel.rows));
        let panels = self.cols.div_ceil(width);
        let whole = self.batch[0] * self.batch[1] * panels;
        // Where panels are too few for all lanes, parts of the rows, each of which packs its panel for itself.
        let parts = (4 * workers.lanes()).div_ceil(whole).min(tiles.div_ceil(TILES));
        let parts = if workers.lanes() > 1 { parts } else { 1 };
        let mem = Shared::new(mem);
        workers.each(whole * parts, self.scratch(), |piece, scratch| {
            let (panel, part) = (piece / parts, piece % parts);
            let (matrix, col) = (panel / panels, panel % panels * width);
            let row = |part: usize| (tiles * part / parts * kernel.rows).min(self.rows);
            // SAFETY: `check` found all places inside and apart, each piece writes columns and rows of its own,
            // and `scratch` has room for a stretch of a panel and a tile.
            unsafe { self.piece(kernel, mem, scratch, matrix, row(part)..row(part + 1), col) };
        });
    }

    /// Some rows of one product by the panel of columns from `col` on.
    ///
    /// # Safety
    /// The places are in `mem`, and nobody else writes them meanwhile; there are [`scratch`](Self::scratch) floats.
    unsafe fn piece(
        &self,
        kernel: &Microkernel,
        mem: Shared,
        scratch: &mut [f32],
        matrix: usize,
        rows: Range<usize>,
        col: usize,
    ) {
        let Self { a, b, column, out, batch, inner, cols, .. } = *self;
        let lanes = kernel.panel().lanes;
        let cols = kernel.width().min(cols - col);
        let vectors = cols.div_ceil(lanes);
        let width = vectors * lanes;
        let (panel, sums) = scratch.split_at_mut(STRETCH.min(inner) * width);
        let at = |side: &Matrices| {
            side.offset + matrix / batch[1] * side.batch[0] + matrix % batch[1] * side.batch[1]
        };
        for first in (0..inner).step_by(STRETCH) {
            let len = STRETCH.min(inner - first);
            let from = at(&b) + first * b.row + col * column;
            let panel = &mut panel[..len * width];
            kernel.isa.run(Pack { mem, from, row: b.row, column, len, cols, width, panel });
            for row in rows.clone().step_by(kernel.rows) {
                let count = kernel.rows.min(rows.end - row);
                // SAFETY: the caller's promise; whole vectors are read and written only where they are there.
                unsafe {
                    let to = mem.at(at(&out) + row * out.row + col);
                    let rows = (0..count).map(|row| (row * out.row, row * width));
                    let (c, c_stride) =
                        if cols == width { (to, out.row) } else { (sums.as_mut_ptr(), width) };
                    if cols < width && first > 0 {
                        rows.clone().for_each(|(from, sum)| c.add(sum).copy_from(to.add(from), cols));
                    }
                    let tile = Tile {
                        a: mem.at(at(&a) + row * a.row + first),
                        a_stride: a.row,
                        spans: &[Span { offset: 0, len }],
                        panel: panel.as_ptr(),
                        start: if first > 0 { c } else { std::ptr::null() },
                        start_stride: c_stride,
                        c,
                        c_stride,
                        out: to,
                        out_stride: out.row,
                        ahead: panel.as_ptr(),
                        ahead_step: 0,
                    };
                    kernel.run(tile, count, vectors);
                    if cols < width {
                        rows.for_each(|(into, sum)| to.add(into).copy_from(c.add(sum), cols));
                    }
                }
            }
        }
    }
}

/// A stretch of a panel, `[len, width]`, of which `cols` columns are there; whoever makes one answers for the places.
struct Pack<'a> {
    mem: Shared,
    from: usize,
    /// Floats from one row to the next, and from one column to the next: one of them is 1.
    row: usize,
    column: usize,
    len: usize,
    cols: usize,
    width: usize,
    panel: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { row, column, len, cols, width, panel, .. } = self;
        let to = panel.as_mut_ptr();
        // SAFETY: the maker's promise; the panel has `len` rows of whole vectors.
        unsafe {
            let from = self.mem.at(self.from).cast_const();
            if column == 1 || cols == 1 {
                for k in 0..len {
                    for n in (0..width).step_by(S::LANES) {
                        let (from, left) = (from.add(k * row + n), cols - n);
                        let some =
                            if left < S::LANES { simd.load_first(from, left) } else { simd.load(from) };
                        simd.store(to.add(k * width + n), some);
                    }
                }
                return;
            }
            if cols < width {
                // Lanes without a column compute too, and had better do so with zeros.
                panel.fill(0.0);
            }
            for n in (0..cols).step_by(S::LANES) {
                for k in (0..len).step_by(S::LANES) {
                    let (from, to) = (from.add(n * column + k), to.add(k * width + n));
                    let (columns, rows) = (S::LANES.min(cols - n), S::LANES.min(len - k));
                    simd.transpose((from, column), (to, width), columns, rows);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::panic_text;
    use super::super::super::parallel::{all_workers, in_time, noise};
    use super::super::super::{Inline, Isa, LINE};
    use super::*;

    /// Dense `[2, 3]` products of such sizes, with gaps; `turned` has the columns of `b` side by side.
    fn products([rows, inner, cols]: [usize; 3], turned: bool) -> BatchMatmul {
        let (row, column) = if turned { (1, inner + 2) } else { (cols + 2, 1) };
        let of_b = (inner + 2) * (cols + 2);
        let a = Matrices { offset: 3, batch: [3 * rows * (inner + 1), rows * (inner + 1)], row: inner + 1 };
        let b = Matrices { offset: 3 + 6 * rows * (inner + 1), batch: [3 * of_b, of_b], row };
        let offset = b.offset + 6 * of_b;
        let out = Matrices { offset, batch: [rows * (cols + 3), 2 * rows * (cols + 3)], row: cols + 3 };
        BatchMatmul { a, b, column, out, batch: [2, 3], rows, inner, cols }
    }

    fn end_of(products: &BatchMatmul) -> usize {
        products.spans().into_iter().map(|span| span.end).max().unwrap() + 2
    }

    /// Holds products to sums of 64 bits, in each place, whatever the set and the lanes.
    fn holds(products: &BatchMatmul) {
        let before = noise(end_of(products), products.inner as u64);
        let BatchMatmul { a, b, column, out, batch, rows, inner, cols } = *products;
        let mut want = Vec::new();
        for (i, j) in (0..batch[0]).flat_map(|i| (0..batch[1]).map(move |j| (i, j))) {
            let at = |side: &Matrices| side.offset + i * side.batch[0] + j * side.batch[1];
            for (m, n) in (0..rows).flat_map(|m| (0..cols).map(move |n| (m, n))) {
                let number = |place: usize| f64::from(before[place]);
                let product = |k| number(at(&a) + m * a.row + k) * number(at(&b) + k * b.row + n * column);
                want.push((at(&out) + m * out.row + n, (0..inner).map(product).sum::<f64>()));
            }
        }
        let mut last = (None, Vec::new());
        all_workers(products.scratch(), |workers| {
            let mut mem = before.clone();
            products.run(workers, &mut mem);
            assert!(last.0 != Some(workers.isa) || last.1 == mem, "lanes change nothing");
            last = (Some(workers.isa), mem.clone());
            for (place, want) in &want {
                let error = (f64::from(mem[*place]) - want).abs();
                let tolerance = 2e-7 * inner as f64 + 1e-7;
                assert!(error <= tolerance, "{} {products:?} at {place}: {error:e}", workers.isa);
                mem[*place] = before[*place];
            }
            assert_eq!(mem, before, "nothing else is written");
        });
    }

    #[test]
    fn products_agree_with_f64_for_every_shape() {
        let sizes =
            [[1, 1, 1], [64, 64, 64], [9, 33, 48], [10, 7, 50], [77, 20, 1], [1, 130, 17], [40, 3, 100]];
        for sizes in sizes.into_iter().filter(|sizes| in_time(6 * sizes.iter().product::<usize>())) {
            for turned in [false, true] {
                holds(&products(sizes, turned));
            }
        }
    }

    #[test]
    fn sums_of_several_stretches_are_whole() {
        for (cols, turned) in [(48, false), (21, false), (21, true)] {
            let sizes = [10, 2 * STRETCH + 5, cols];
            if in_time(6 * sizes.iter().product::<usize>()) {
                holds(&products(sizes, turned));
            }
        }
    }

    #[test]
    fn one_right_side_serves_all_left_ones() {
        let mut products = products([5, 4, 6], true);
        products.b.batch = [0, 0];
        holds(&products);
    }

    #[test]
    fn no_more_scratch_is_written_than_asked_for() {
        for sizes in
            [[10, 7, 50], [3, 40, 16]].into_iter().filter(|s| in_time(6 * s.iter().product::<usize>()))
        {
            let products = products(sizes, true);
            for isa in Isa::available() {
                let need = products.scratch();
                let mut scratch = vec![7.0; need + 100 * LINE];
                let mut mem = noise(end_of(&products), 1);
                products.run(&mut Workers::new(isa, &Inline, &mut scratch), &mut mem);
                assert!(scratch[need..].iter().all(|&x| x == 7.0), "{isa} {sizes:?}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let good = products([4, 4, 4], false);
        let len = end_of(&good);
        good.check(len);
        let out = |out| BatchMatmul { out, ..good };
        for (said, wrong, len) in [
            ("overlaps what it is of", out(Matrices { offset: good.b.offset, ..good.out }), len),
            ("lie outside", good, len - 3),
            (
                "beyond all addresses",
                BatchMatmul { a: Matrices { row: usize::MAX / 2, ..good.a }, ..good },
                len,
            ),
            ("side by side", BatchMatmul { column: 2, ..good }, 2 * len),
            ("over no elements", BatchMatmul { inner: 0, ..good }, len),
            ("products overlap", out(Matrices { batch: [0, 0], ..good.out }), len),
            ("products overlap", out(Matrices { row: 3, ..good.out }), len),
        ] {
            let panic = std::panic::catch_unwind(|| wrong.check(len)).unwrap_err();
            assert!(panic_text(&*panic).contains(said), "{said}: {}", panic_text(&*panic));
        }
    }
}
