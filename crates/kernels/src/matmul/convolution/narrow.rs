//! A convolution of few columns: a vector holds several taps of a pixel.
//!
//! Each pixel is multiplied by all nine taps, side by side in a panel; a pixel of the result is the sum of the parts of
//! its nine neighbours that look at it. Three lines of parts are kept at a time, in the first cache.

use super::super::super::{Kernel, LINE, Shared, Simd, Workers};
use super::super::{Finish, Packed, Source, Span, Tile, Values};
use super::{Convolution, NARROW, TAPS};
use crate::Result;

/// Lines and columns of the result in a piece, at most.
const LINES: usize = 32;
const COLUMNS: usize = 64;

/// `[k, taps * cols]` of a plain product's weights.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn weights(plain: &Packed, workers: &mut Workers<'_>) -> Result<Packed> {
    let (k, cols) = (plain.k(), plain.cols());
    assert!(cols <= NARROW, "a narrow convolution has few columns");
    // They lie in one panel: a vector holds them.
    let panel = plain.panels()[0];
    let from = plain.panel(panel);
    let mut side = crate::memory::filled(k * TAPS * cols, 0.0)?;
    for (i, row) in side.chunks_mut(cols).enumerate() {
        let at = (i % TAPS * k + i / TAPS) * panel.width;
        row.copy_from_slice(&from[at..at + cols]);
    }
    let source = Source {
        values: Values::F32(&side),
        cols: TAPS * cols,
        segment_stride: 0,
        row_stride: TAPS * cols,
        col_stride: 1,
    };
    Packed::new(workers, plain.kernel(), 1, k, &source)
}

impl Convolution {
    /// Floats of a pixel's parts.
    fn parts(&self) -> usize {
        self.weights.panels().last().map_or(0, |panel| panel.col + panel.width)
    }

    /// Columns of a piece at most, and floats of a line of parts, with room for a vector that reaches beyond its end.
    fn narrow_line(&self) -> (usize, usize) {
        let columns = COLUMNS.min(self.windows.cols);
        (columns, (columns + 2) * self.parts() + LINE)
    }

    pub(super) fn narrow_scratch(&self) -> usize {
        let (columns, line) = self.narrow_line();
        3 * line + columns * LINE
    }

    pub(super) fn run_narrow(&self, workers: &mut Workers<'_>, mem: Shared) {
        let windows = &self.windows;
        let (down, across) = (windows.rows.div_ceil(LINES), windows.cols.div_ceil(COLUMNS));
        workers.each(windows.images * down * across, self.narrow_scratch(), |piece, scratch| {
            let (x, y, image) = (piece % across, piece / across % down, piece / across / down);
            let cut = |i: usize, of: usize, all: usize| all * i / of..all * (i + 1) / of;
            let (rows, cols) = (cut(y, down, windows.rows), cut(x, across, windows.cols));
            let (_, line) = self.narrow_line();
            let (lines, sums) = scratch.split_at_mut(3 * line);
            for y in rows.start..rows.end + 2 {
                // SAFETY: the product's check that these pixels lie in the arena and that nothing is written that is
                // read; pieces write pixels of their own.
                unsafe {
                    let from = self.group(image, rows.start).a + (y - rows.start) * windows.line;
                    self.parts_of(
                        mem,
                        from + cols.start * self.product.a_stride,
                        cols.len() + 2,
                        &mut lines[y % 3 * line..][..line],
                    );
                    if y >= rows.start + 2 {
                        let group = self.group(image, y - 2);
                        let (isa, c_stride) = (self.weights.kernel().isa, self.product.c_stride);
                        let above: [*const f32; 3] =
                            std::array::from_fn(|i| lines[(y + 1 + i) % 3 * line..].as_ptr());
                        let sums = sums.as_mut_ptr();
                        isa.run(Sum {
                            lines: above,
                            parts: self.parts(),
                            cols: self.product.weights.cols(),
                            pixels: cols.len(),
                            sums,
                        });
                        isa.run(Finish {
                            steps: &self.product.epilogue,
                            sums,
                            sums_stride: LINE,
                            bytes: None,
                            mem,
                            c: group.c + cols.start * c_stride,
                            c_stride,
                            rows: cols.len(),
                            col: 0,
                            cols: self.product.weights.cols(),
                            row: group.row + cols.start,
                            image: group.image,
                        });
                    }
                }
            }
        });
    }

    /// Multiplies `pixels` pixels from `from` on by all taps.
    ///
    /// # Safety
    /// They are in `mem`, and nobody writes them meanwhile.
    unsafe fn parts_of(&self, mem: Shared, from: usize, pixels: usize, to: &mut [f32]) {
        let (kernel, width, stride) = (self.weights.kernel(), self.parts(), self.product.a_stride);
        let spans = [Span { offset: 0, len: self.weights.k() }];
        let tiles = pixels.div_ceil(kernel.rows);
        assert!(pixels * width <= to.len());
        for tile in 0..tiles {
            let (first, end) = (pixels * tile / tiles, pixels * (tile + 1) / tiles);
            for panel in self.weights.panels() {
                let weights = self.weights.panel(*panel).as_ptr();
                // SAFETY: the caller's promise; `to` has room for the parts of each pixel.
                unsafe {
                    let c = to.as_mut_ptr().add(first * width + panel.col);
                    let tile = Tile {
                        a: mem.at(from + first * stride),
                        a_stride: stride,
                        spans: &spans,
                        panel: weights,
                        start: std::ptr::null(),
                        start_stride: 0,
                        c,
                        c_stride: width,
                        out: c,
                        out_stride: width,
                        ahead: weights,
                        ahead_step: 0,
                    };
                    kernel.run(tile, end - first, panel.width / kernel.panel().lanes);
                }
            }
        }
    }
}

/// A line of the result from three lines of parts: a vector for each pixel, of which `cols` lanes count.
struct Sum {
    lines: [*const f32; 3],
    parts: usize,
    cols: usize,
    pixels: usize,
    sums: *mut f32,
}

impl Kernel for Sum {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { lines, parts, cols, pixels, sums } = self;
        for x in 0..pixels {
            // SAFETY: the maker's promise: lines have two pixels more, and room for a vector behind the last.
            unsafe {
                let mut sum = simd.load(lines[0].add(x * parts));
                for tap in 1..TAPS {
                    let part = lines[tap / 3].add((x + tap % 3) * parts + tap * cols);
                    sum = simd.add(sum, simd.load(part));
                }
                simd.store(sums.add(x * LINE), sum);
            }
        }
    }
}
