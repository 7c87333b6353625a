//! N-dimensional places in the arena, and the order in which elementwise kernels walk them.

use std::ops::Range;

use super::place::{all_apart, apart, end};

/// The most dimensions of a view.
pub const RANK: usize = 8;

/// Elements of a shape that is known from elsewhere: one stride in floats for each of its dimensions, 0
/// where the same element is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub offset: usize,
    strides: [usize; RANK],
}

impl View {
    /// # Panics
    /// If there are more than [`RANK`] dimensions.
    pub fn new(offset: usize, strides: &[usize]) -> Self {
        let mut padded = [0; RANK];
        padded[..strides.len()].copy_from_slice(strides);
        Self { offset, strides: padded }
    }

    /// One for each dimension of the shape, and zeros.
    pub fn strides(&self) -> &[usize; RANK] {
        &self.strides
    }

    /// Of one element, or of a shape without strides: row after row without gaps.
    #[cfg(test)]
    pub fn dense(offset: usize, shape: &[usize]) -> Self {
        let mut strides = [0; RANK];
        let mut step = 1;
        for (stride, count) in strides.iter_mut().zip(shape).rev() {
            *stride = step;
            step *= count;
        }
        Self { offset, strides }
    }
}

/// A shape in the order of the loops over it: runs, and the loops around them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Outermost first; ones at the end.
    shape: [usize; RANK],
    rank: usize,
}

impl Space {
    /// Orders the dimensions by the stride of the first view, the one that is written, and makes one of
    /// those that are one in all views. Elements go anywhere in any order, so this changes nothing else.
    pub(super) fn arrange(shape: &[usize], views: &mut [View]) -> Self {
        assert!(shape.len() <= RANK, "a view has at most {RANK} dimensions");
        let mut order: Vec<usize> = (0..shape.len()).filter(|d| shape[*d] != 1).collect();
        order.sort_by_key(|d| std::cmp::Reverse(views[0].strides[*d]));
        let mut space = Self { shape: [1; RANK], rank: 0 };
        let before = views.to_vec();
        for d in order {
            let count = shape[d];
            let at = space.rank;
            let joins = |(view, old): (&View, &View)| view.strides[at - 1] == count * old.strides[d];
            let at = if at > 0 && views.iter().zip(&before).all(joins) { at - 1 } else { at };
            space.shape[at] *= count;
            space.rank = at + 1;
            for (view, old) in views.iter_mut().zip(&before) {
                view.strides[at] = old.strides[d];
            }
        }
        // At least the innermost loop is there, and what is not there does not count.
        space.rank = space.rank.max(1);
        for view in views {
            view.strides[space.rank..].fill(0);
            if space.shape[space.rank - 1] == 1 {
                view.strides[space.rank - 1] = 1;
            }
        }
        space
    }

    /// Outermost first, one dimension at least.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    /// Elements of the innermost loop.
    pub(super) fn run(&self) -> usize {
        self.shape[self.rank - 1]
    }

    /// How often the innermost loop is run.
    pub(super) fn runs(&self) -> usize {
        self.shape[..self.rank - 1].iter().product()
    }

    /// A view's stride in the innermost loop.
    pub(super) fn stride(&self, view: &View) -> usize {
        view.strides[self.rank - 1]
    }

    /// The dimension other than the innermost in which `view` is contiguous, if there is one.
    pub(super) fn contiguous_outside(&self, view: &View) -> Option<usize> {
        (0..self.rank - 1).find(|d| view.strides[*d] == 1)
    }

    /// Elements along dimension `d`, and a view's stride there.
    pub(super) fn along(&self, d: usize, view: &View) -> (usize, usize) {
        (self.shape[d], view.strides[d])
    }

    /// The space with only the first element of dimension `d`.
    pub(super) fn without(mut self, d: usize) -> Self {
        self.shape[d] = 1;
        self
    }

    /// Whether there are no elements.
    pub(super) fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Calls `visit` with the views' offsets at each of the runs `first..first + count`.
    #[inline(always)]
    pub(super) fn walk<const N: usize>(
        &self,
        views: [&View; N],
        first: usize,
        count: usize,
        mut visit: impl FnMut([usize; N]),
    ) {
        let outer = self.rank - 1;
        let (mut at, mut offsets, mut rest) = ([0; RANK], views.map(|view| view.offset), first);
        for d in (0..outer).rev() {
            at[d] = rest % self.shape[d];
            rest /= self.shape[d];
            offsets.iter_mut().zip(views).for_each(|(offset, view)| *offset += at[d] * view.strides[d]);
        }
        for _ in 0..count {
            visit(offsets);
            for d in (0..outer).rev() {
                at[d] += 1;
                offsets.iter_mut().zip(views).for_each(|(offset, view)| *offset += view.strides[d]);
                if at[d] < self.shape[d] {
                    break;
                }
                offsets.iter_mut().zip(views).for_each(|(offset, view)| *offset -= at[d] * view.strides[d]);
                at[d] = 0;
            }
        }
    }

    fn dims(&self, view: &View) -> [(usize, usize); RANK] {
        std::array::from_fn(|d| (self.shape[d], view.strides[d]))
    }

    /// From the first float of a view to the last.
    pub(super) fn span(&self, view: &View) -> Range<usize> {
        view.offset..end(view.offset, &self.dims(view), 1)
    }

    /// Panics unless all elements are inside `len` floats, those of `out` apart from each other, and the
    /// inputs apart from them or in the same places.
    pub(super) fn check(&self, out: &View, inputs: &[View], len: usize) {
        let written = self.span(out);
        assert!(written.end <= len, "an elementwise result lies outside");
        assert!(all_apart(&self.dims(out), 1), "elements of a result overlap");
        for input in inputs {
            let read = self.span(input);
            assert!(read.end <= len, "an elementwise input lies outside");
            assert!(input == out || apart(&read, &written), "an elementwise result overlaps its inputs");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_ordered_by_the_result_and_joined_where_all_views_allow() {
        // [2, 3, 4] written transposed: the last dimension first.
        let mut views = [View::new(7, &[1, 2, 6]), View::dense(50, &[2, 3, 4])];
        let space = Space::arrange(&[2, 3, 4], &mut views);
        assert_eq!((space.shape, space.rank), ([4, 3, 2, 1, 1, 1, 1, 1], 3));
        assert_eq!(views, [View::new(7, &[6, 2, 1]), View::new(50, &[1, 4, 12])]);

        let mut views = [View::dense(0, &[2, 3, 1, 4]), View::new(0, &[5, 0, 0, 0])];
        let space = Space::arrange(&[2, 3, 1, 4], &mut views);
        assert_eq!((space.run(), space.runs()), (12, 2));
        assert_eq!(views, [View::new(0, &[12, 1]), View::new(0, &[5, 0])]);
    }

    #[test]
    fn a_walk_can_begin_anywhere() {
        let mut views = [View::new(3, &[100, 10, 1])];
        let space = Space::arrange(&[2, 3, 4], &mut views);
        let mut seen = Vec::new();
        space.walk([&views[0]], 2, 3, |[offset]| seen.push(offset));
        assert_eq!(seen, [23, 103, 113]);
    }

    #[test]
    fn one_element_is_a_run() {
        let mut views = [View::new(3, &[]), View::new(4, &[])];
        let space = Space::arrange(&[], &mut views);
        assert_eq!((space.run(), space.runs(), space.stride(&views[1])), (1, 1, 1));
    }
}
