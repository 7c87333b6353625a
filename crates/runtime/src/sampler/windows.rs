//! A latent that is larger than the networks' own, or that wraps around, seen through windows of their size.
//!
//! Windows overlap, and their answers are averaged with weights that fall off towards a window's edges
//! (MultiDiffusion, arXiv 2302.08113). Along an axis that wraps around, windows reach over the border, and
//! each evaluation of the networks shifts all of them by another offset, so that no place stays at an edge.

use crate::{Result, memory};

/// Where the windows lie. One that covers all of a latent that does not wrap around changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Rows and columns of the latent.
    size: [usize; 2],
    /// Rows and columns of a window, at most those of the latent.
    window: [usize; 2],
    /// Whether the last row's lower neighbour is the first, and the last column's right one.
    wraps: [bool; 2],
}

/// Windows in one call of a network, unless a request's images alone are more.
const PER_CALL: usize = 8;
/// A window shares this part of its length with the next, or more.
const OVERLAP: usize = 4;
/// Fractions that are irrational together: multiples of them fill a square evenly (the R2 sequence).
const SPREAD: [f64; 2] = [0.754_877_666_246_692_8, 0.569_840_290_998_053_2];

impl Windows {
    pub fn new(size: [usize; 2], window: [usize; 2], wraps: [bool; 2]) -> Self {
        Self { size, window, wraps }
    }

    /// One window of the same size, over a latent of that size.
    pub fn of_own_size(&self) -> Self {
        Self { size: self.window, ..*self }
    }

    /// Whether answers of the networks are answers for the latent as they are.
    pub fn is_identity(&self) -> bool {
        self.size == self.window && self.wraps == [false; 2]
    }

    /// Whether the latent wraps around along any axis.
    pub fn wraps(&self) -> bool {
        self.wraps != [false; 2]
    }

    /// Floats of one channel of a window.
    pub fn area(&self) -> usize {
        self.window.iter().product()
    }

    /// How many windows one image has.
    pub fn count(&self) -> usize {
        self.along(0) * self.along(1)
    }

    /// How many windows of `images` a network is best asked for in one call, with so many more for each image.
    pub fn per_call(&self, images: usize, more: usize) -> usize {
        let all = images * (self.count() + more);
        let calls = all.div_ceil(if self.count() == 1 { all } else { PER_CALL });
        all.div_ceil(calls)
    }

    fn along(&self, axis: usize) -> usize {
        let (size, window) = (self.size[axis], self.window[axis]);
        let overlap = window / OVERLAP;
        match self.wraps[axis] {
            _ if size == window => 1,
            true => size.div_ceil(window - overlap),
            false => (size - overlap).div_ceil(window - overlap),
        }
    }

    /// The first cell of window `i` along an axis, unshifted.
    fn origin(&self, axis: usize, i: usize) -> usize {
        let (size, window, count) = (self.size[axis], self.window[axis], self.along(axis));
        if self.wraps[axis] { i * size / count } else { i * (size - window) / (count - 1).max(1) }
    }

    /// What window `i`'s cells count along an axis, before they are divided by the sum of all.
    fn ramp(&self, axis: usize, cell: usize) -> f32 {
        let (window, ramp) = (self.window[axis], self.window[axis] / OVERLAP);
        let from_edge = cell.min(window - 1 - cell) as f32 + 0.5;
        (from_edge / ramp.max(1) as f32).min(1.0)
    }

    /// Fills `weights` with what each cell of each window along an axis counts, `[windows, cells]`: at every cell
    /// of the latent they add up to 1.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn weigh(&self, axis: usize, weights: &mut Vec<f32>) -> Result<()> {
        let (size, window) = (self.size[axis], self.window[axis]);
        weights.clear();
        memory::reserve(weights, self.along(axis) * window)?;
        for i in 0..self.along(axis) {
            for cell in 0..window {
                let place = (self.origin(axis, i) + cell) % size;
                let total: f32 = (0..self.along(axis))
                    .map(|j| (place + size - self.origin(axis, j)) % size)
                    .filter(|&cell| cell < window)
                    .map(|cell| self.ramp(axis, cell))
                    .sum();
                weights.push(if self.along(axis) == 1 { 1.0 } else { self.ramp(axis, cell) / total });
            }
        }
        Ok(())
    }

    /// Where window `index` begins in an evaluation: evaluations shift windows along the axes that wrap around.
    fn place(&self, index: usize, evaluation: usize) -> [usize; 2] {
        let indices = [index / self.along(1), index % self.along(1)];
        [0, 1].map(|axis| {
            let fraction = (evaluation as f64 * SPREAD[axis]).fract();
            let shift = if self.wraps[axis] { (fraction * self.window[axis] as f64) as usize } else { 0 };
            (self.origin(axis, indices[axis]) + shift) % self.size[axis]
        })
    }

    /// Copies a window out of an image `[C, H, W]`.
    pub fn gather(&self, image: &[f32], index: usize, evaluation: usize, window: &mut [f32]) {
        self.rows(index, evaluation, image.len(), |[start, left], row, _| {
            let (row, whole) = (&mut window[row..][..self.window[1]], &image[start..][..self.size[1]]);
            let first = row.len().min(whole.len() - left);
            row[..first].copy_from_slice(&whole[left..][..first]);
            let rest = row.len() - first;
            row[first..].copy_from_slice(&whole[..rest]);
        });
    }

    /// Adds a window's answer to that for an image `[C, H, W]`, by the weights of both axes.
    pub fn scatter(
        &self,
        answer: &[f32],
        index: usize,
        evaluation: usize,
        [down, across]: [&[f32]; 2],
        image: &mut [f32],
    ) {
        let [height, width] = self.window;
        let across = &across[index % self.along(1) * width..][..width];
        let down = &down[index / self.along(1) * height..][..height];
        self.rows(index, evaluation, image.len(), |[start, left], row, y| {
            let whole = &mut image[start..][..self.size[1]];
            for (x, (value, weight)) in answer[row..][..width].iter().zip(across).enumerate() {
                let place = left + x;
                whole[if place < whole.len() { place } else { place - whole.len() }] +=
                    down[y] * weight * value;
            }
        });
    }

    /// Calls `each` with the image's row and the first column, the window's row, and its number, for every row of
    /// a window in every channel of `floats`.
    fn rows(
        &self,
        index: usize,
        evaluation: usize,
        floats: usize,
        mut each: impl FnMut([usize; 2], usize, usize),
    ) {
        let ([height, width], [top, left]) = (self.size, self.place(index, evaluation));
        for channel in 0..floats / (height * width) {
            for y in 0..self.window[0] {
                let from = channel * height + (top + y) % height;
                each([from * width, left], (channel * self.window[0] + y) * self.window[1], y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(windows: &Windows) -> [Vec<f32>; 2] {
        [0, 1].map(|axis| {
            let mut weights = Vec::new();
            windows.weigh(axis, &mut weights).unwrap();
            weights
        })
    }

    /// What comes back of an image that went through all windows of an evaluation.
    fn through(windows: &Windows, image: &[f32], evaluation: usize) -> Vec<f32> {
        let weights = weights(windows);
        let channels = image.len() / windows.size.iter().product::<usize>();
        let (mut back, mut window) = (vec![0.0; image.len()], vec![f32::NAN; channels * windows.area()]);
        for index in 0..windows.count() {
            windows.gather(image, index, evaluation, &mut window);
            windows.scatter(&window, index, evaluation, weights.each_ref().map(Vec::as_slice), &mut back);
        }
        back
    }

    #[test]
    fn windows_cover_everything_and_their_weights_add_up_to_one() {
        for (size, window, wraps) in [
            ([16, 16], [16, 16], [false, false]),
            ([16, 16], [16, 16], [true, false]),
            ([32, 20], [16, 16], [true, true]),
            ([17, 64], [16, 16], [false, true]),
            ([33, 40], [8, 16], [false, false]),
            ([3, 5], [3, 2], [true, true]),
            ([7, 1], [1, 1], [true, false]),
        ] {
            let windows = Windows::new(size, window, wraps);
            let image: Vec<f32> = (0..2 * size[0] * size[1]).map(|i| (i % 97) as f32).collect();
            for evaluation in 0..5 {
                let back = through(&windows, &image, evaluation);
                let error = back.iter().zip(&image).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(error < 1e-4, "{windows:?}, evaluation {evaluation}: {error}");
            }
        }
    }

    #[test]
    fn a_window_of_a_latent_that_wraps_is_its_roll() {
        let windows = Windows::new([4, 6], [4, 6], [true, true]);
        let image: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut window = vec![0.0; 24];
        let mut seen = std::collections::HashSet::new();
        for evaluation in 0..12 {
            windows.gather(&image, 0, evaluation, &mut window);
            let [top, left] = windows.place(0, evaluation);
            let rolled = |i: usize| ((i / 6 + top) % 4 * 6 + (i % 6 + left) % 6) as f32;
            assert!(window.iter().enumerate().all(|(i, &value)| value == rolled(i)));
            seen.insert([top, left]);
        }
        assert!(seen.len() > 8, "offsets repeat: {seen:?}");
        assert_eq!(windows.place(0, 0), [0, 0]);
    }

    #[test]
    fn an_axis_that_does_not_wrap_stays_in_place() {
        let windows = Windows::new([16, 16], [16, 16], [false, true]);
        assert!((0..9).all(|evaluation| windows.place(0, evaluation)[0] == 0));
        assert!((1..9).any(|evaluation| windows.place(0, evaluation)[1] != 0));
        assert!(!windows.is_identity() && Windows::new([16; 2], [16; 2], [false; 2]).is_identity());
    }

    #[test]
    fn calls_are_of_one_size_and_as_few_as_it_takes() {
        let many = Windows::new([32, 32], [16, 16], [true, true]);
        assert_eq!(many.count(), 9);
        assert_eq!((many.per_call(1, 0), many.per_call(3, 0), many.per_call(3, 1)), (5, 7, 8));
        let one = Windows::new([16, 16], [16, 16], [true, true]);
        assert_eq!((one.per_call(1, 0), one.per_call(12, 0)), (1, 12));
    }
}
