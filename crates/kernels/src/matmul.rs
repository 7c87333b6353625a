//! The packed matrix product with its epilogue: linear layers, and convolutions as products whose
//! left-hand rows are gathered from several places.
//!
//! A [`Matmul`] cuts its rows into tiles and its columns into panels. A piece of work is a group of
//! panels, whose weights stay in the second cache, by a block of tiles; the sums of a tile are taken
//! through the [`Epilogue`] to the arena while they are in the first cache. The inner dimension is cut
//! where a panel would not fit. Each sum is added up in the same order whatever the number of lanes.

mod convolution;
mod epilogue;
mod halves;
mod packed;
mod places;
mod tile;
mod tiles;

use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

use super::{LINE, Shared, Workers};
pub use convolution::{Convolution, Form};
pub use epilogue::Epilogue;
use epilogue::Finish;
use halves::Halves;
use packed::Panel;
pub use packed::{Packed, PackedFloats, Source, Values, pack};
pub use tile::PanelSize;
use tile::{Shape, Span, Tile};
use tiles::Tiles;

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
    /// Of at most `shape.rows` rows.
    tiles: Tiles,
    shape: Shape,
    /// The cuts of the inner dimension.
    blocks: Vec<Block>,
    a_stride: usize,
    c_stride: usize,
    epilogue: Vec<Epilogue>,
    /// For seven products of half the size.
    halves: Option<Halves>,
    /// What the next product will read.
    after: Option<Arc<Packed>>,
    /// One past the last float of the arena that is touched.
    end: usize,
}

/// A stretch of the inner dimension.
struct Block {
    first: usize,
    len: usize,
    spans: Vec<Span>,
}

/// Longest stretch of the inner dimension that is added up at once.
const BLOCK: usize = 1152;
/// Bytes of weights, and of sums that wait for the next stretch, that leave room in the second cache for
/// the weights after them.
const WEIGHTS: usize = 450 << 10;
const SUMS: usize = 256 << 10;
/// Bytes of the left side that stay in the second cache beside them.
const LEFT: usize = 1 << 20;
/// Multiply-adds below which a piece is not worth cutting.
const SMALL: usize = 1 << 20;

impl Matmul {
    /// `segments` are where the segments of a row start, from where the row starts; those that follow one
    /// another are read as one. With `spare`, where the arena has [`room`](Self::room), the product is halved.
    ///
    /// # Panics
    /// If two rows are written to the same place, or one where something is read that is not the same
    /// row's residual.
    pub fn new(
        weights: Arc<Packed>,
        a_stride: usize,
        segments: &[usize],
        c_stride: usize,
        groups: &[Group],
        epilogue: &[Epilogue],
        spare: Option<usize>,
    ) -> Self {
        let paired = spare.filter(|_| segments == [0] && halves::even(&weights));
        let paired = paired.and_then(|spare| Some((spare, halves::pair(groups, a_stride, c_stride)?)));
        let groups = paired.as_ref().map_or(groups, |(_, groups)| groups);
        assert_eq!(segments.len(), weights.segments(), "a product has as many segments as its weights");
        let shape = tile::shape(weights.isa());
        let tiles = Tiles::new(groups, shape.rows, a_stride, c_stride);
        let mut product = Self {
            halves: paired.as_ref().map(|(spare, _)| Halves::new(*spare, &weights, &tiles)),
            tiles,
            shape,
            blocks: blocks(segments, weights.k()),
            a_stride,
            c_stride,
            epilogue: epilogue.to_vec(),
            after: None,
            end: 0,
            weights,
        };
        product.end = product.apart();
        product
    }

    /// Floats of the arena that make a product of such rows faster; 0 for most.
    pub fn room(weights: &Packed, groups: &[Group]) -> usize {
        halves::room(weights, groups)
    }

    pub fn weights(&self) -> &Arc<Packed> {
        &self.weights
    }

    /// The same product by other weights.
    ///
    /// # Panics
    /// If their shape is another one.
    pub fn set_weights(&mut self, weights: Arc<Packed>) {
        let shape = |w: &Packed| (w.isa(), w.segments(), w.k(), w.cols());
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
            return halves.scratch(self.shape.panel.vectors * self.shape.panel.lanes);
        }
        // More lanes make groups of fewer panels, which may come nearer to what is allowed.
        let tile = self.shape.rows * self.shape.panel.vectors * self.shape.panel.lanes;
        let keep = |panels: usize| if self.blocks.len() > 1 { self.most_tiles(panels) } else { 1 };
        (1..=self.cut(1).panels).map(|panels| panels * keep(panels) * tile).max().unwrap_or(0)
    }

    /// Tiles in a piece of so many panels at most, for its sums to stay near.
    fn most_tiles(&self, panels: usize) -> usize {
        let tile = panels * self.shape.rows * self.shape.panel.vectors * self.shape.panel.lanes;
        let most = if self.blocks.len() > 1 { SUMS / (tile * size_of::<f32>()) } else { usize::MAX };
        self.tiles.len().min(most).max(1)
    }

    /// Holds its places against a memory of `len` floats; against each other they were held when it was made.
    ///
    /// # Panics
    /// If it would touch what lies outside.
    pub fn check(&self, len: usize) {
        assert!(self.end <= len, "a product's places lie outside");
    }

    pub fn run(&self, workers: &mut Workers<'_>, mem: &mut [f32]) {
        assert_eq!(workers.isa, self.weights.isa(), "weights are packed for one instruction set");
        self.check(mem.len());
        let (mem, lanes, panels) = (Shared::new(mem), workers.lanes(), self.weights.panels());
        if let Some(halves) = &self.halves {
            return self.run_halved(halves, workers, mem);
        }
        let cut = self.cut(lanes);
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
        let (isa, first) = (self.weights.isa(), panels[0].col);
        let wide = panels.iter().map(|p| p.width).sum::<usize>();
        let cols = wide.min(self.weights.cols() - first);
        let keep = if self.blocks.len() > 1 { tiles.len() } else { 1 };
        assert!(keep * self.shape.rows * wide <= scratch.len());
        // Sums that start from the bias save a step, and without another they need not wait in scratch;
        // but not where the last vector of columns goes beyond the arena's.
        let (bias, steps) = match self.epilogue[..] {
            [Epilogue::Bias { offset }, ref steps @ ..] if cols == wide => (Some(offset), steps),
            ref steps => (None, steps),
        };
        let direct = steps.is_empty() && cols == wide;
        for (b, block) in self.blocks.iter().enumerate() {
            let last = b + 1 == self.blocks.len();
            for (t, rows) in self.tiles.range(tiles.clone()).enumerate() {
                let sums = scratch[t % keep * self.shape.rows * wide..].as_mut_ptr();
                for (p, panel) in panels.iter().enumerate() {
                    let weights = self.weights.panel(*panel);
                    let (from, len) = match self.blocks.get(b + 1) {
                        Some(block) => (&weights[block.first * panel.width..], block.len * panel.width),
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
                            panel: weights[block.first * panel.width..].as_ptr(),
                            start: start.0,
                            start_stride: start.1,
                            c: c.0,
                            c_stride: c.1,
                            out: if last { out } else { sums },
                            out_stride: if last { self.c_stride } else { wide },
                            ahead: ahead.unwrap_or(weights).as_ptr(),
                            ahead_step: if ahead.is_some() { LINE } else { 0 },
                        };
                        tile.run(isa, rows.rows, panel.width / self.shape.panel.lanes);
                    }
                }
                if last && !direct {
                    isa.run(Finish {
                        steps,
                        sums,
                        sums_stride: wide,
                        mem,
                        c: rows.c,
                        c_stride: self.c_stride,
                        rows: rows.rows,
                        col: first,
                        cols,
                        row: rows.row,
                        image: rows.image,
                    });
                }
            }
        }
    }

    /// How much of the product is a piece, with this many lanes.
    fn cut(&self, lanes: usize) -> Cut {
        let longest = self.blocks.iter().map(|b| b.len).max().unwrap_or(0).max(1);
        let width = self.shape.panel.vectors * self.shape.panel.lanes;
        let all = self.weights.panels().len().max(1);
        let mut panels = (WEIGHTS / (longest * width * size_of::<f32>())).clamp(1, all);
        if self.tiles.len() * self.shape.rows * longest * size_of::<f32>() <= LEFT {
            // The rows stay near too: then small groups are better, whose successors are fetched meanwhile.
            panels =
                panels.min(if matches!(self.epilogue[..], [] | [Epilogue::Bias { .. }]) { 1 } else { 3 });
        }
        let rows = self.tiles.len().max(1) * self.shape.rows;
        let work = |panels: usize, rows: usize| panels * width * rows * longest;
        while lanes > 1 && panels > 1 && all.div_ceil(panels) < 4 * lanes && work(panels, rows) > SMALL {
            panels -= 1;
        }
        let mut tiles = self.most_tiles(panels);
        while lanes > 1
            && tiles > 1
            && all.div_ceil(panels) * self.tiles.len().div_ceil(tiles) < 8 * lanes
            && work(panels, tiles * self.shape.rows) > SMALL
        {
            tiles = tiles.div_ceil(2);
        }
        Cut { panels, tiles }
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
        (values, values.len().min(BLOCK * panel.width))
    }
}

/// The size of a piece, at most.
struct Cut {
    panels: usize,
    tiles: usize,
}

/// Cuts the inner dimension evenly, and puts segments that follow one another together.
fn blocks(segments: &[usize], k: usize) -> Vec<Block> {
    let depth = segments.len() * k;
    let count = depth.div_ceil(BLOCK).max(1);
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
