//! Winograd's minimal filtering: 36 multiplications for a tile of 4 x 4 pixels instead of 144.
//!
//! A tile of results `Y` is `Aᵀ [U ∘ V] A`, where `V = Bᵀ D B` is made of the 6 x 6 pixels `D` that it looks at, and
//! `U = G W Gᵀ` of the kernel. Over channels, `U ∘ V` are 36 matrix products, of a row for each tile. A piece of work
//! is a block of tiles, taken through all three while it is in the second cache:
//!
//! ```text
//! staged image ──Bᵀ D B──▶ V [36][tiles][k] ──36 products──▶ [36][tiles][cols] ──Aᵀ · A──▶ epilogue ──▶ arena
//! ```
//!
//! The points of the interpolation are 0, ±5/8, ±3/2 and infinity: all coefficients of pixels and sums are exact, and
//! results are off from those in double precision by about twice what the plain product is. With 0, ±1, ±2 it would be
//! four to six times; tiles of 2 x 2 pixels round less than the plain product, but take 16 multiplications for 4.
//! See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), and Barabasz et al., "Error
//! Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks" (2020).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::super::blocking::CACHES;
use super::super::super::{Floats, LINE, Shared, Workers};
use super::super::{Packed, PackedFloats, Span, Tile};
use super::transform::{Input, Kernels, Output};
use super::{Convolution, TILE};
use crate::Result;

/// Pixels in each direction that a tile looks at.
pub(super) const SEEN: usize = TILE + 2;
/// Products for a tile.
pub(super) const PRODUCTS: usize = SEEN * SEEN;
/// Floats of transformed weights.
pub(super) fn floats(k: usize, cols: usize) -> usize {
    k.saturating_mul(cols.next_multiple_of(LINE)).saturating_mul(PRODUCTS)
}

/// The weights of a plain product transformed; none if they are beyond all numbers then.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn weights(plain: &Packed, workers: &mut Workers<'_>) -> Result<Option<Packed>> {
    let (k, kernel, panels) = (plain.k(), plain.kernel(), plain.panels());
    let len = panels.last().map_or(0, |panel| (panel.col + panel.width) * PRODUCTS * k);
    let mut data = Floats::zeros(len)?;
    let all = Shared::new(&mut data);
    let finite = AtomicBool::new(true);
    workers.each(panels.len(), 0, |p, _| {
        let (panel, size) = (panels[p], k * panels[p].width);
        // SAFETY: panels lie one after another inside `data`, and no other piece has this one.
        let to = unsafe { std::slice::from_raw_parts_mut(all.at(panel.col * PRODUCTS * k), PRODUCTS * size) };
        if !kernel.isa.run(Kernels { from: plain.panel(panel), to, size }) {
            finite.store(false, Ordering::Relaxed);
        }
    });
    let packed = Packed::of(kernel, PRODUCTS, k, plain.cols(), PackedFloats::Own(data));
    Ok(packed.filter(|_| finite.into_inner()))
}

/// An odd number of cache lines, so that what lies so far apart is not all in one place of the first cache.
fn apart(floats: usize) -> usize {
    (floats.div_ceil(LINE) | 1) * LINE
}

impl Convolution {
    /// Floats of a row of the left side, and of the sums.
    pub(super) fn depth(&self) -> usize {
        self.weights.k().next_multiple_of(LINE)
    }

    pub(super) fn width(&self) -> usize {
        self.weights.panels().last().map_or(0, |panel| panel.col + panel.width)
    }

    /// Tiles of all images, and of a block at most.
    fn tiles(&self) -> (usize, usize) {
        let all = self.windows.images * self.windows.tiles();
        (all, CACHES.winograd(all, PRODUCTS * (self.depth() + self.width())))
    }

    pub(super) fn winograd_scratch(&self) -> usize {
        let (_, most) = self.tiles();
        let (depth, width) = (self.depth(), self.width());
        PRODUCTS * (apart(most * depth) + apart(most * width)) + TILE * TILE * width
    }

    pub(super) fn run_winograd(&self, workers: &mut Workers<'_>, mem: Shared) {
        let (tiles, most) = self.tiles();
        let blocks = tiles.div_ceil(most).next_multiple_of(workers.lanes()).min(tiles);
        workers.each(blocks, self.winograd_scratch(), |block, scratch| {
            let mine = tiles * block / blocks..tiles * (block + 1) / blocks;
            // SAFETY: the product's check that all places lie in the arena and that nothing is written that is read;
            // each tile is in one block.
            unsafe { self.block(mem, scratch, mine) };
        });
    }

    /// # Safety
    /// The places of the tiles are in `mem` and nobody else writes them meanwhile.
    unsafe fn block(&self, mem: Shared, scratch: &mut [f32], tiles: Range<usize>) {
        let (kernel, count, panels) = (self.weights.kernel(), tiles.len(), self.weights.panels());
        let (depth, width) = (self.depth(), self.width());
        let (left, right) = (apart(count * depth), apart(count * width));
        let (values, rest) = scratch.split_at_mut(PRODUCTS * left);
        let (sums, rest) = rest.split_at_mut(PRODUCTS * right);
        let pixels = &mut rest[..TILE * TILE * width];
        kernel.isa.run(Input {
            convolution: self,
            mem,
            tiles: tiles.clone(),
            values: values.as_mut_ptr(),
            apart: left,
        });
        let k = self.weights.k();
        let spans = [Span { offset: 0, len: k }];
        let parts = count.div_ceil(kernel.rows);
        for i in 0..PRODUCTS {
            for (p, panel) in panels.iter().enumerate() {
                let weights = &self.weights.panel(*panel)[i * k * panel.width..];
                let next = match panels.get(p + 1) {
                    Some(panel) => &self.weights.panel(*panel)[i * k * panel.width..],
                    None => self.weights.panel(panels[0]).get((i + 1) * k * panels[0].width..).unwrap_or(&[]),
                };
                let wanted = next.len().min(k * panel.width);
                for part in 0..parts {
                    let (first, end) = (count * part / parts, count * (part + 1) / parts);
                    let ahead = (part * k * LINE < wanted).then(|| next[part * k * LINE..].as_ptr());
                    // SAFETY: `values` has a row of `depth` floats for each tile and product, `sums` one of `width`.
                    unsafe {
                        let c = sums.as_mut_ptr().add(i * right + first * width + panel.col);
                        let tile = Tile {
                            a: values.as_ptr().add(i * left + first * depth),
                            a_stride: depth,
                            spans: &spans,
                            panel: weights.as_ptr(),
                            start: std::ptr::null(),
                            start_stride: 0,
                            c,
                            c_stride: width,
                            out: c,
                            out_stride: width,
                            ahead: ahead.unwrap_or(weights.as_ptr()),
                            ahead_step: if ahead.is_some() { LINE } else { 0 },
                        };
                        kernel.run(tile, end - first, panel.width / kernel.panel().lanes);
                    }
                }
            }
        }
        kernel.isa.run(Output {
            convolution: self,
            mem,
            tiles,
            sums: sums.as_ptr(),
            apart: right,
            pixels: pixels.as_mut_ptr(),
        });
    }
}
