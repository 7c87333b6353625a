//! The packed matrix product with its epilogue: linear layers, and convolutions as products whose
//! left-hand rows are gathered from several places.
//!
//! A [`Matmul`] cuts its rows into tiles and its columns into panels. A piece of work is a group of
//! panels, whose weights stay in the second cache, by a block of tiles; the sums of a tile are taken
//! through the [`Epilogue`] to the arena while they are in the first cache. The inner dimension is cut
//! where a panel would not fit. Each sum is added up in the same order whatever the number of lanes.

mod batch;
mod convolution;
mod dot;
mod epilogue;
mod format;
mod halves;
mod left;
mod packed;
mod places;
mod scaled;
mod table;
mod tile;
mod tiles;
mod widen;

use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

use super::blocking::{CACHES, Product, STRETCH};
use super::{LINE, Shared, Workers};
pub use batch::{BatchMatmul, Matrices};
pub use convolution::{Convolution, Form};
#[cfg(target_arch = "x86_64")]
pub(super) use dot::Bfloats512;
pub(super) use dot::{Dot, Floats};
pub use epilogue::Epilogue;
use epilogue::{Bytes, Finish};
pub use format::{Format, scale_of_bytes, to_byte};
use halves::Halves;
use left::{Left, Rounded};
use packed::Panel;
pub use packed::{Packed, PackedFloats, Source, Values, pack};
pub use scaled::{Scaled, Scales, Sharing, Whole};
pub use table::{MICROKERNELS, Microkernel};
pub use tile::PanelSize;
use tile::{Span, Tile};
use tiles::Tiles;
use widen::Widen;

/// Rows of a product that lie evenly in the arena: row `i` is read from `a + i * a_stride` and written to
/// `c + i * c_stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub a: usize,
    pub c: usize,
    /// The first row's number, for [`Epilogue::Residual`].
    pub row: usize,
    pub rows: usize,
    /// For [`Epilogue::Gate`].
    pub image: usize,
}

/// `C[m, n] = epilogue(Σ A[m, s, k] * W[s, k, n])` over segments `s` and `k` in each.
pub struct Matmul {
    weights: Arc<Packed>,
    /// Of at most the micro-kernel's rows.
    tiles: Tiles,
    kernel: &'static Microkernel,
    /// The cuts of the inner dimension.
    blocks: Vec<Block>,
    a_stride: usize,
    c_stride: usize,
    epilogue: Vec<Epilogue>,
    /// For seven products of half the size.
    halves: Option<Halves>,
    /// Rounds the left side; then `tiles` are where its words are.
    left: Option<Left>,
    /// What the next product will read.
    after: Option<Arc<Packed>>,
    /// One past the last float of the arena that is touched.
    end: usize,
}

/// A stretch of the inner dimension, in words.
struct Block {
    first: usize,
    len: usize,
    spans: Vec<Span>,
}

impl Matmul {
    /// `segments` are where the segments of a row start, from where the row starts; those that follow one
    /// another are read as one. `spare` is where the arena has as much [`room`](Self::room) as the product wants.
    ///
    /// # Panics
    /// If there is no such room for the left side of small numbers, or [`takes`](Self::takes) says no. If two rows are
    /// written to the same place, or one where something is read that is not the same row's residual.
    pub fn new(
        weights: Arc<Packed>,
        a_stride: usize,
        segments: &[usize],
        c_stride: usize,
        groups: &[Group],
        epilogue: &[Epilogue],
        spare: Option<usize>,
    ) -> Self {
        assert_eq!(segments.len(), weights.segments(), "a product has as many segments as its weights");
        let kernel = weights.kernel();
        assert!(kernel.is_available(), "this processor cannot multiply by such weights");
        assert!(Self::counts(kernel.format, weights.k()), "sums of bytes are beyond 32 bits");
        let rounded = kernel.format.rounds().then(|| {
            let spare = spare.expect("small numbers want room for the left side");
            let kind = (kernel.format, kernel.wide);
            let rounded = Rounded::new(kind, spare, weights.k(), a_stride, segments, groups);
            rounded.expect("whoever packed the weights asked whether such rows are taken")
        });
        let paired = spare.filter(|_| rounded.is_none() && segments == [0] && halves::even(&weights));
        let paired = paired.and_then(|spare| Some((spare, halves::pair(groups, a_stride, c_stride)?)));
        let groups = paired.as_ref().map_or(groups, |(_, groups)| groups);
        let (groups, a_stride, segments, k) = match &rounded {
            Some(Rounded { groups, a_stride, segments, k, .. }) => {
                (&groups[..], *a_stride, &segments[..], *k)
            }
            None => (groups, a_stride, segments, weights.k()),
        };
        let (tiles, blocks) = (Tiles::new(groups, kernel.rows, a_stride, c_stride), blocks(segments, k));
        let mut product = Self {
            halves: paired.as_ref().map(|(spare, _)| Halves::new(*spare, &weights, &tiles)),
            tiles,
            kernel,
            blocks,
            a_stride,
            c_stride,
            epilogue: epilogue.to_vec(),
            left: rounded.map(|rounded| rounded.left),
            after: None,
            end: 0,
            weights,
        };
        product.end = product.apart();
        product
    }

    /// Words of the arena that a product of such rows wants: for the left side of small numbers, or to be faster.
    pub fn room(weights: &Packed, a_stride: usize, segments: &[usize], groups: &[Group]) -> usize {
        let kernel = weights.kernel();
        if kernel.format.rounds() {
            let kind = (kernel.format, kernel.wide);
            let rounded = Rounded::new(kind, 0, weights.k(), a_stride, segments, groups);
            return rounded.map_or(0, |rounded| rounded.room());
        }
        halves::room(weights, groups)
    }

    /// Whether 32 bits hold every sum of an inner dimension of `k`.
    fn counts(format: Format, k: usize) -> bool {
        format != Format::I8 || k <= i32::MAX as usize / (255 * 128)
    }

    /// Whether a product of such rows, of `k` numbers in each segment, can be one of `format`: sums of bytes must be
    /// numbers of 32 bits, and segments whole words.
    pub fn takes(format: Format, k: usize, a_stride: usize, segments: &[usize], groups: &[Group]) -> bool {
        let rounded = || Rounded::new((format, false), 0, k, a_stride, segments, groups);
        Self::counts(format, k) && (!format.rounds() || rounded().is_some())
    }

    pub fn weights(&self) -> &Arc<Packed> {
        &self.weights
    }

    /// The same product by other weights.
    ///
    /// # Panics
    /// If their shape is another one.
    pub fn set_weights(&mut self, weights: Arc<Packed>) {
        let shape = |w: &Packed| (w.kernel().isa, w.kernel().format, w.segments(), w.k(), w.cols());
        assert_eq!(shape(&weights), shape(&self.weights), "weights are replaced by their like");
        self.weights = weights;
    }

    /// Says which weights are multiplied next, so that the first of them are fetched in time.
    pub fn followed_by(&mut self, next: Arc<Packed>) {
        self.after = Some(next);
    }

    /// Floats of scratch for each lane.
    pub fn scratch(&self) -> usize {
        if let Some(halves) = &self.halves {
            return halves.scratch(self.width());
        }
        // More lanes make groups of fewer panels, which may come nearer to what is allowed.
        let tile = self.kernel.rows * self.width();
        let shape = self.shape();
        let keep = |panels: usize| if shape.stretches > 1 { shape.most_tiles(CACHES, panels) } else { 1 };
        let widened = if self.kernel.wide { shape.words * shape.width } else { 0 };
        (1..=shape.cut(CACHES, 1).panels)
            .map(|panels| panels * (keep(panels) * tile + widened))
            .max()
            .unwrap_or(0)
    }

    /// Words of the longest stretch of the inner dimension.
    fn longest(&self) -> usize {
        self.blocks.iter().map(|b| b.len).max().unwrap_or(0)
    }

    /// Columns of the widest panel.
    fn width(&self) -> usize {
        self.kernel.width()
    }

    /// What it is cut by.
    fn shape(&self) -> Product {
        Product {
            tiles: self.tiles.len(),
            rows: self.kernel.rows,
            panels: self.weights.panels().len(),
            width: self.width(),
            words: self.longest(),
            stretches: self.blocks.len(),
            direct: matches!(self.epilogue[..], [] | [Epilogue::Bias { .. }]),
        }
    }

    /// Holds its places against a memory of `len` floats; against each other they were held when it was made.
    ///
    /// # Panics
    /// If it would touch what lies outside.
    pub fn check(&self, len: usize) {
        assert!(self.end <= len, "a product's places lie outside");
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        assert_eq!(workers.isa, self.kernel.isa, "weights are packed for one instruction set");
        self.check(mem.len());
        let (mem, lanes, panels) = (Shared::new(mem), workers.lanes(), self.weights.panels());
        if let Some(halves) = &self.halves {
            return self.run_halved(halves, workers, mem);
        }
        if let Some(left) = &self.left {
            // SAFETY: `end` says that all places lie in the arena, `apart` that they are apart.
            unsafe { left.run(workers, mem) };
        }
        let cut = self.shape().cut(CACHES, lanes);
        let (groups, parts) = (panels.len().div_ceil(cut.panels), self.tiles.len().div_ceil(cut.tiles));
        let pieces = groups * parts;
        let part = |i: usize, n: usize, of: usize| n * i / of..n * (i + 1) / of;
        workers.each(pieces, self.scratch(), |piece, scratch| {
            let tiles = part(piece / groups, self.tiles.len(), parts);
            let group = |piece: usize| part(piece % groups, panels.len(), groups);
            let (mine, soon) = (group(piece), piece + 1);
            let next = match &self.after {
                _ if soon < pieces && group(soon) == mine => {
                    Ahead { weights: &self.weights, first: usize::MAX }
                }
                _ if soon < pieces => Ahead { weights: &self.weights, first: group(soon).start },
                Some(weights) => Ahead { weights, first: (soon - pieces) * mine.len() },
                None => Ahead { weights: &self.weights, first: usize::MAX },
            };
            // SAFETY: `end` says that all places lie in the arena, `apart` found that no other piece
            // writes what this one touches, and `scratch` holds the sums of a piece.
            unsafe { self.piece(mem, scratch, tiles, &panels[mine], next) };
        });
    }

    /// The rows `tiles` by the columns `panels`; `next` is what this lane will likely want after.
    ///
    /// # Safety
    /// The places of the rows and columns are in `mem` and nobody else writes them meanwhile.
    unsafe fn piece(
        &self,
        mem: Shared,
        scratch: &mut [f32],
        tiles: Range<usize>,
        panels: &[Panel],
        next: Ahead<'_>,
    ) {
        let (format, first) = (self.kernel.format, panels[0].col);
        let wide = panels.iter().map(|p| p.width).sum::<usize>();
        let cols = wide.min(self.weights.cols() - first);
        let keep = if self.blocks.len() > 1 { tiles.len() } else { 1 };
        let (scratch, widened) = scratch.split_at_mut(keep * self.kernel.rows * wide);
        // Sums that start from the bias save a step, and without another they need not wait in scratch;
        // but not where the last vector of columns goes beyond the arena's.
        let (bias, steps) = match self.epilogue[..] {
            [Epilogue::Bias { offset }, ref steps @ ..] if cols == wide && format != Format::I8 => {
                (Some(offset), steps)
            }
            ref steps => (None, steps),
        };
        let direct = steps.is_empty() && cols == wide && format != Format::I8;
        for (b, block) in self.blocks.iter().enumerate() {
            let last = b + 1 == self.blocks.len();
            if self.kernel.wide {
                for panel in panels {
                    let words = |words: usize| self.kernel.of_panel(words, panel.width);
                    let from = &self.weights.panel(*panel)[words(block.first)..][..words(block.len)];
                    let to = &mut widened[(panel.col - first) * block.len..][..panel.width * block.len];
                    self.kernel.isa.run(Widen { from, to, width: panel.width });
                }
            }
            for (t, rows) in self.tiles.range(tiles.clone()).enumerate() {
                let sums = scratch[t % keep * self.kernel.rows * wide..].as_mut_ptr();
                for (p, panel) in panels.iter().enumerate() {
                    let weights = self.weights.panel(*panel);
                    let words = |words: usize| self.kernel.of_panel(words, panel.width);
                    let right = match self.kernel.wide {
                        true => &widened[(panel.col - first) * block.len..],
                        false => &weights[words(block.first)..],
                    };
                    let (from, len) = match self.blocks.get(b + 1) {
                        Some(block) => (&weights[words(block.first)..], words(block.len)),
                        None => next.panel(p),
                    };
                    // A line a step, tile after tile, until all is asked for.
                    let asked = t * block.len * LINE;
                    let ahead = (asked < len).then(|| &from[asked..]);
                    // SAFETY: the caller promised that the rows' places are in `mem`, `sums` has room for a
                    // tile as wide as the group, and the panel has the block's rows. Whole vectors of the
                    // bias and the output are touched only if all columns are there.
                    unsafe {
                        let (out, sums) = (mem.at(rows.c + panel.col), sums.add(panel.col - first));
                        let start = match bias {
                            _ if b > 0 => (sums.cast_const(), wide),
                            Some(offset) => (mem.at(offset + panel.col).cast_const(), 0),
                            None => (std::ptr::null(), 0),
                        };
                        let c = if last && direct { (out, self.c_stride) } else { (sums, wide) };
                        let tile = Tile {
                            a: mem.at(rows.a),
                            a_stride: self.a_stride,
                            spans: &block.spans,
                            panel: right.as_ptr(),
                            start: start.0,
                            start_stride: start.1,
                            c: c.0,
                            c_stride: c.1,
                            out: if last { out } else { sums },
                            out_stride: if last { self.c_stride } else { wide },
                            ahead: ahead.unwrap_or(weights).as_ptr(),
                            ahead_step: if ahead.is_some() { LINE } else { 0 },
                        };
                        self.kernel.run(tile, rows.rows, panel.width / self.kernel.panel().lanes);
                    }
                }
                if !last || direct {
                    continue;
                }
                let finish = Finish {
                    steps,
                    sums,
                    sums_stride: wide,
                    bytes: None,
                    mem,
                    c: rows.c,
                    c_stride: self.c_stride,
                    rows: rows.rows,
                    col: first,
                    cols,
                    row: rows.row,
                    image: rows.image,
                };
                match &self.left {
                    // Each panel has what its own columns need.
                    Some(left) if format == Format::I8 => {
                        for panel in panels {
                            let columns = &self.weights.panel(*panel)
                                [self.kernel.of_panel(left.words(), panel.width)..];
                            let bytes = Bytes {
                                rows: rows.a + left.scale(),
                                stride: self.a_stride,
                                lowers: self.kernel.lowers,
                                scales: columns.as_ptr(),
                                sums: columns[panel.width..].as_ptr(),
                            };
                            self.kernel.isa.run(Finish {
                                sums: sums.wrapping_add(panel.col - first),
                                bytes: Some(bytes),
                                col: panel.col,
                                cols: panel.width.min(self.weights.cols() - panel.col),
                                ..finish
                            });
                        }
                    }
                    _ => self.kernel.isa.run(finish),
                }
            }
        }
    }
}

/// Panels from `first` on that a lane will soon read; none if there are not so many.
struct Ahead<'a> {
    weights: &'a Packed,
    first: usize,
}

impl<'a> Ahead<'a> {
    /// The values of the `p`-th, and how many of them are wanted early.
    fn panel(&self, p: usize) -> (&'a [f32], usize) {
        let Some(panel) = self.weights.panels().get(self.first.saturating_add(p)) else { return (&[], 0) };
        let values = self.weights.panel(*panel);
        (values, values.len().min(self.weights.kernel().of_panel(STRETCH, panel.width)))
    }
}

/// Cuts the inner dimension evenly, and puts segments that follow one another together.
fn blocks(segments: &[usize], k: usize) -> Vec<Block> {
    let depth = segments.len() * k;
    let count = depth.div_ceil(STRETCH).max(1);
    let mut blocks = Vec::new();
    for i in 0..count {
        // Whole cache lines, and whole steps of the micro-kernels.
        let cut = |i: usize| (depth * i / count).next_multiple_of(16).min(depth);
        let (first, end) = (cut(i), cut(i + 1));
        let mut spans: Vec<Span> = Vec::new();
        let mut at = first;
        while at < end {
            let (s, within) = (at / k, at % k);
            let (offset, len) = (segments[s] + within, (k - within).min(end - at));
            match spans.last_mut() {
                Some(span) if span.offset + span.len == offset => span.len += len,
                _ => spans.push(Span { offset, len }),
            }
            at += len;
        }
        blocks.push(Block { first, len: end - first, spans });
    }
    blocks
}

#[cfg(test)]
mod tests;
