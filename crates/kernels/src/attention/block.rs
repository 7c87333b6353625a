//! One block of queries, in register tiles.

use super::super::Simd;
use super::super::matmul::{Dot, Floats};
use super::Attention;
use super::softmax::Softmax;

/// Numbers that are multiplied, by words: what becomes of turned queries and of scores.
pub(super) trait Numbers<S: Simd>: Dot<Sum = S::V, Simd = S> {
    /// Numbers in a word: of a query or key they follow one another, of weights and values they belong to following
    /// keys.
    const IN_A_WORD: usize;

    /// Makes words of queries, in place: `dim` rows of `N` vectors.
    ///
    /// # Safety
    /// The rows are there.
    unsafe fn queries<const N: usize>(self, rows: *mut f32, dim: usize);

    /// Makes words of weights of `keys` rows of scores, in place.
    ///
    /// # Safety
    /// The softmax has as many rows of `N` vectors.
    unsafe fn weigh<const N: usize>(self, softmax: &Softmax, keys: usize);
}

impl<S: Simd> Numbers<S> for Floats<S> {
    const IN_A_WORD: usize = 1;

    /// They are words.
    #[inline(always)]
    unsafe fn queries<const N: usize>(self, _: *mut f32, _: usize) {}

    #[inline(always)]
    unsafe fn weigh<const N: usize>(self, softmax: &Softmax, keys: usize) {
        // SAFETY: the caller's promise.
        unsafe { softmax.weigh::<S, N>(self.simd(), keys) }
    }
}

/// Keys or values: the first one's words, and the words from one row to the next.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) at: *const f32,
    pub(super) stride: usize,
}

/// What a block of queries is computed from and to.
pub(super) struct Task<'a> {
    pub(super) attention: &'a Attention,
    /// Keys whose scores are held at a time: whole words of weights.
    pub(super) at_once: usize,
    pub(super) q: *const f32,
    pub(super) k: Words,
    pub(super) v: Words,
    pub(super) out: *mut f32,
    /// A float for each key.
    pub(super) bias: Option<*const f32>,
    pub(super) scratch: *mut f32,
}

impl Task<'_> {
    /// Attends with `N` vectors of queries, at most `left`, in tiles of `M` rows; says how many.
    ///
    /// # Safety
    /// The pointers are good for the attention's strides and `left` queries; keys and values are words of `D`.
    #[inline(always)]
    pub(super) unsafe fn attend<S: Simd, D: Numbers<S>, const M: usize, const N: usize>(
        self,
        numbers: D,
        left: usize,
    ) -> usize {
        let simd = numbers.simd();
        let attention = self.attention;
        let (width, dim, step) = (N * S::LANES, attention.dim, S::LANES);
        let count = left.min(width);
        // SAFETY: scratch is cut in the proportions of `Attention::scratch`, and `width <= QUERIES`.
        unsafe {
            let q = self.scratch;
            let sums = q.add(dim * width);
            let weights = sums.add(dim * width);
            let softmax = Softmax {
                weights,
                max: weights.add(self.at_once * width),
                scale: attention.scale,
                masked: self.bias.is_some(),
            };
            if count < width {
                // Lanes without a query compute too, and had better do so with zeros.
                std::slice::from_raw_parts_mut(q, dim * width).fill(0.0);
            }
            for (t, d) in blocks(count, dim, step) {
                let from = self.q.add(t * attention.q.token_stride + d);
                let (rows, cols) = (step.min(count - t), step.min(dim - d));
                simd.transpose((from, attention.q.token_stride), (q.add(d * width + t), width), rows, cols);
            }
            numbers.queries::<N>(q, dim);
            softmax.begin::<S, N>(simd);
            for key in (0..attention.keys).step_by(self.at_once) {
                let keys = self.at_once.min(attention.keys - key);
                let bias = self.bias.map(|bias| bias.add(key));
                let k = Words { at: self.k.at.add(key * self.k.stride), ..self.k };
                let words = dim.div_ceil(D::IN_A_WORD);
                sweep::<S, D, M, N, _>(numbers, keys, &Scores { k, q, words, bias, softmax });
                numbers.weigh::<N>(&softmax, keys);
                let v = Words { at: self.v.at.add(key / D::IN_A_WORD * self.v.stride), ..self.v };
                let correction = (key > 0).then_some(softmax.correction(width));
                let words = keys.div_ceil(D::IN_A_WORD);
                sweep::<S, D, M, N, _>(numbers, dim, &Sums { v, weights, words, sums, correction });
            }
            softmax.divide::<S, N>(simd, sums, dim);
            for (t, d) in blocks(count, dim, step) {
                let to = self.out.add(t * attention.out.token_stride + d);
                let (rows, cols) = (step.min(dim - d), step.min(count - t));
                simd.transpose(
                    (sums.add(d * width + t), width),
                    (to, attention.out.token_stride),
                    rows,
                    cols,
                );
            }
        }
        count
    }
}

/// The corners of the square blocks that cover `rows` by `cols`.
fn blocks(rows: usize, cols: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(step).flat_map(move |row| (0..cols).step_by(step).map(move |col| (row, col)))
}

/// Rows of a product that are computed `M` at a time.
trait Tile {
    /// # Safety
    /// `M` rows from `row` on exist.
    unsafe fn tile<S: Simd, D: Numbers<S>, const M: usize, const N: usize>(&self, numbers: D, row: usize);
}

/// All rows, in tiles of `M` and then smaller ones.
#[inline(always)]
unsafe fn sweep<S: Simd, D: Numbers<S>, const M: usize, const N: usize, T: Tile>(
    numbers: D,
    rows: usize,
    product: &T,
) {
    // SAFETY: no tile goes beyond `rows`, which the caller promises to exist.
    unsafe {
        let mut row = 0;
        while row + M <= rows {
            product.tile::<S, D, M, N>(numbers, row);
            row += M;
        }
        if M > 8 && row + 8 <= rows {
            product.tile::<S, D, 8, N>(numbers, row);
            row += 8;
        }
        if M > 4 && row + 4 <= rows {
            product.tile::<S, D, 4, N>(numbers, row);
            row += 4;
        }
        if row + 2 <= rows {
            product.tile::<S, D, 2, N>(numbers, row);
            row += 2;
        }
        if row < rows {
            product.tile::<S, D, 1, N>(numbers, row);
        }
    }
}

/// `tile[m] += Σ a[m * row + k * step] b[k]` over `count` rows `b` of `N` vectors each.
#[inline(always)]
unsafe fn multiply<S: Simd, D: Numbers<S>, const M: usize, const N: usize>(
    numbers: D,
    tile: &mut [[S::V; N]; M],
    a: *const f32,
    row: usize,
    step: usize,
    b: *const f32,
    count: usize,
) {
    // SAFETY: the caller's promise that the words of `a` and `b` exist.
    unsafe {
        for k in 0..count {
            let mut right = [numbers.load_row(b.add(k * N * S::LANES)); N];
            for (j, right) in right.iter_mut().enumerate().skip(1) {
                *right = numbers.load_row(b.add((k * N + j) * S::LANES));
            }
            for (m, sums) in tile.iter_mut().enumerate() {
                let left = numbers.load_word(a.add(m * row + k * step));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = numbers.add(*sum, left, right);
                }
            }
        }
    }
}

/// Scores of keys (rows) for queries, and their maxima.
struct Scores {
    k: Words,
    q: *const f32,
    /// Words of a key.
    words: usize,
    /// What is added to the scores of each key.
    bias: Option<*const f32>,
    softmax: Softmax,
}

impl Tile for Scores {
    #[inline(always)]
    unsafe fn tile<S: Simd, D: Numbers<S>, const M: usize, const N: usize>(&self, numbers: D, row: usize) {
        let simd = numbers.simd();
        // SAFETY: `row + M` keys of `words`, as many rows of queries, and scores for as many keys.
        unsafe {
            let mut tile = [[simd.splat(0.0); N]; M];
            if let Some(bias) = self.bias {
                for (m, sums) in tile.iter_mut().enumerate() {
                    *sums = [simd.splat(*bias.add(row + m)); N];
                }
            }
            let Words { at, stride } = self.k;
            multiply::<S, D, M, N>(numbers, &mut tile, at.add(row * stride), stride, 1, self.q, self.words);
            for j in 0..N {
                let at = self.softmax.max.add(j * S::LANES);
                let mut max = simd.load(at);
                for (m, sums) in tile.iter().enumerate() {
                    max = simd.max(max, sums[j]);
                    simd.store(self.softmax.weights.add(((row + m) * N + j) * S::LANES), sums[j]);
                }
                simd.store(at, max);
            }
        }
    }
}

/// Sums of values with the queries' weights; a row is one of the `dim` places in a value.
struct Sums {
    v: Words,
    weights: *const f32,
    /// Words of a query's weights.
    words: usize,
    sums: *mut f32,
    /// What earlier sums are multiplied with; without it they are not there yet.
    correction: Option<*const f32>,
}

impl Tile for Sums {
    #[inline(always)]
    unsafe fn tile<S: Simd, D: Numbers<S>, const M: usize, const N: usize>(&self, numbers: D, row: usize) {
        let simd = numbers.simd();
        // SAFETY: `words` rows of values of at least `row + M` words, as many rows of weights, and sums for `dim`.
        unsafe {
            let mut tile = [[simd.splat(0.0); N]; M];
            let to = self.sums.add(row * N * S::LANES);
            if let Some(correction) = self.correction {
                for j in 0..N {
                    let correction = simd.load(correction.add(j * S::LANES));
                    for (m, sums) in tile.iter_mut().enumerate() {
                        sums[j] = simd.mul(simd.load(to.add((m * N + j) * S::LANES)), correction);
                    }
                }
            }
            let Words { at, stride } = self.v;
            multiply::<S, D, M, N>(numbers, &mut tile, at.add(row), 1, stride, self.weights, self.words);
            for (m, sums) in tile.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    simd.store(to.add((m * N + j) * S::LANES), *sum);
                }
            }
        }
    }
}
