//! How work is cut so that what is used again is still near: pure functions of the caches and of shapes.
//!
//! The caches are constants. Those of processors that matter are at least as large, but for the second cache of some
//! of Arm's and of older ones; there the third is near. Pieces decide no bits: only [`STRETCH`] does, which is the same
//! for all.

/// Bytes of a core's caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caches {
    pub(crate) second: usize,
}

/// What is cut for: a second cache of 1 MiB, as of Zen 4 and of Intel's servers.
pub(crate) const CACHES: Caches = Caches { second: 1 << 20 };

/// Longest stretch of the inner dimension that is added up at once, in words: the widest panel of it, of AVX-512, is
/// 216 KiB, of which two and their successors fit the second cache.
pub(crate) const STRETCH: usize = 1152;

/// Multiply-adds below which a piece is not worth cutting: some ten microseconds of AVX-512.
const SMALL: usize = 1 << 20;

/// What a product by packed weights is cut by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// Tiles of rows, and rows in each at most.
    pub(crate) tiles: usize,
    pub(crate) rows: usize,
    /// Panels of columns, and columns in each at most.
    pub(crate) panels: usize,
    pub(crate) width: usize,
    /// Words of the longest stretch of the inner dimension, and how many stretches there are.
    pub(crate) words: usize,
    pub(crate) stretches: usize,
    /// Sums go where they belong without a step between.
    pub(crate) direct: bool,
}

/// The size of a piece, at most: panels, whose weights stay in the second cache, by tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) panels: usize,
    pub(crate) tiles: usize,
}

impl Caches {
    /// Bytes of weights that leave room for those after them.
    fn weights(self) -> usize {
        self.second / 1024 * 450
    }

    /// Bytes of sums that wait for the next stretch.
    fn sums(self) -> usize {
        self.second / 4
    }

    /// Tiles of Winograd's form in a block, of `all`: what belongs to one takes `floats`. As many as leave room for
    /// weights, but as many rows as make it worth reading these.
    pub(crate) fn winograd(self, all: usize, floats: usize) -> usize {
        const WORTH: usize = 54;
        (self.second / 16 * 5 / size_of::<f32>() / floats.max(1)).max(WORTH).min(all)
    }
}

impl Product {
    /// Tiles in a piece of so many panels at most, for its sums to stay near.
    pub(crate) fn most_tiles(&self, caches: Caches, panels: usize) -> usize {
        let tile = panels * self.rows * self.width * size_of::<f32>();
        let most = if self.stretches > 1 { caches.sums() / tile.max(1) } else { usize::MAX };
        self.tiles.min(most).max(1)
    }

    /// How much is a piece, with this many lanes.
    pub(crate) fn cut(&self, caches: Caches, lanes: usize) -> Cut {
        let Self { width, words, .. } = *self;
        let all = self.panels.max(1);
        let mut panels = (caches.weights() / (words.max(1) * width * size_of::<f32>())).clamp(1, all);
        // Of WebAssembly's 32-bit sizes, large pictures are too large.
        let near = (self.tiles * self.rows).saturating_mul(words * size_of::<f32>()) <= caches.second;
        if near {
            // The rows stay near too: then small groups are better, whose successors are fetched meanwhile.
            panels = panels.min(if self.direct { 1 } else { 3 });
        }
        let rows = self.tiles.max(1) * self.rows;
        let work = |panels: usize, rows: usize| (panels * width * words).saturating_mul(rows);
        while lanes > 1 && panels > 1 && all.div_ceil(panels) < 4 * lanes && work(panels, rows) > SMALL {
            panels -= 1;
        }
        let mut tiles = self.most_tiles(caches, panels);
        while lanes > 1
            && tiles > 1
            && all.div_ceil(panels) * self.tiles.div_ceil(tiles) < 8 * lanes
            && work(panels, tiles * self.rows) > SMALL
        {
            tiles = tiles.div_ceil(2);
        }
        Cut { panels, tiles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of many shapes, by tiles of AVX-512 and of AVX2.
    fn products() -> impl Iterator<Item = Product> {
        let sizes = [1, 7, 64, 600];
        let tiles = sizes.into_iter().flat_map(move |tiles| sizes.map(|panels| (tiles, panels)));
        tiles.flat_map(|(tiles, panels)| {
            let depths = [(1, 1), (64, 1), (1152, 1), (1152, 4)];
            depths.into_iter().flat_map(move |(words, stretches)| {
                [(9, 48, true), (6, 16, false)].map(|(rows, width, direct)| Product {
                    tiles,
                    rows,
                    panels,
                    width,
                    words,
                    stretches,
                    direct,
                })
            })
        })
    }

    #[test]
    fn a_piece_is_a_part_of_the_product_and_fits_the_cache() {
        for product in products() {
            for lanes in [1, 2, 16, 128] {
                let Cut { panels, tiles } = product.cut(CACHES, lanes);
                assert!((1..=product.panels).contains(&panels), "{product:?} {lanes}: {panels}");
                assert!((1..=product.tiles).contains(&tiles), "{product:?} {lanes}: {tiles}");
                let weights = panels * product.width * product.words * size_of::<f32>();
                assert!(panels == 1 || weights <= CACHES.second / 2, "{product:?} {lanes}: {weights}");
                let sums = tiles * product.rows * panels * product.width * size_of::<f32>();
                let wait = product.stretches > 1 && tiles > 1;
                assert!(!wait || sums <= CACHES.second / 4, "{product:?} {lanes}: {sums}");
            }
        }
    }

    #[test]
    fn more_lanes_never_make_wider_pieces_and_large_products_have_some_for_each() {
        for product in products() {
            let mut before = usize::MAX;
            for lanes in [1, 2, 4, 16, 128] {
                let Cut { panels, tiles } = product.cut(CACHES, lanes);
                assert!(panels <= before, "{product:?} {lanes}");
                before = panels;
                let pieces = product.panels.div_ceil(panels) * product.tiles.div_ceil(tiles);
                let work = panels * product.width * tiles * product.rows * product.words;
                let small = work <= 2 * SMALL || (panels, tiles) == (1, 1);
                assert!(lanes == 1 || small || pieces >= 4 * lanes, "{product:?} {lanes}: {pieces}");
            }
        }
    }

    #[test]
    fn larger_caches_never_make_smaller_pieces_of_one_lane() {
        for product in products().filter(|product| product.tiles * product.rows * product.words > 1 << 21) {
            let sizes =
                [1 << 18, 1 << 19, 1 << 20, 1 << 21].map(|second| product.cut(Caches { second }, 1).panels);
            assert!(sizes.is_sorted(), "{product:?}: {sizes:?}");
        }
        for floats in [1, 5000, 80_000, 1 << 30] {
            let sizes = [1 << 18, 1 << 20, 1 << 22].map(|second| Caches { second }.winograd(1 << 20, floats));
            assert!(sizes.is_sorted() && sizes[0] >= 54, "{floats}: {sizes:?}");
        }
        assert_eq!(CACHES.winograd(20, 5000), 20);
    }
}
