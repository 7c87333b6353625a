//! Where a value lies: strided axes inside a buffer. Changing its shape moves no number where that can be.

use super::Address;
use serde::{Deserialize, Serialize};

/// A value of `dims`, its element `i` at `offset + Σ i·stride` of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub buffer: usize,
    pub offset: usize,
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
}

impl Place {
    /// Where its first element is.
    pub fn address(&self) -> Address {
        Address { buffer: self.buffer, offset: self.offset }
    }

    /// Row-major, without gaps.
    pub fn dense(buffer: usize, dims: &[usize]) -> Self {
        let mut strides = vec![1; dims.len()];
        for axis in (1..dims.len()).rev() {
            strides[axis - 1] = strides[axis] * dims[axis];
        }
        Self { buffer, offset: 0, dims: dims.to_vec(), strides }
    }

    pub fn permute(&self, axes: &[usize]) -> Self {
        let pick = |values: &[usize]| axes.iter().map(|&axis| values[axis]).collect();
        Self { dims: pick(&self.dims), strides: pick(&self.strides), ..*self }
    }

    pub fn slice(&self, axis: usize, start: usize, len: usize) -> Self {
        let mut place = self.clone();
        place.offset += start * place.strides[axis];
        place.dims[axis] = len;
        place
    }

    /// Axes of size 1 repeated up to `dims`, new axes in front.
    pub fn broadcast(&self, dims: &[usize]) -> Self {
        let missing = dims.len() - self.dims.len();
        let strides = (0..dims.len()).map(|axis| match axis.checked_sub(missing) {
            Some(own) if self.dims[own] == dims[axis] => self.strides[own],
            _ => 0,
        });
        Self { dims: dims.to_vec(), strides: strides.collect(), ..*self }
    }

    /// The same elements in row-major order as `dims`; none if they would have to be moved.
    pub fn reshape(&self, dims: &[usize]) -> Option<Self> {
        let old: Vec<(usize, usize)> =
            self.dims.iter().copied().zip(self.strides.iter().copied()).filter(|&(n, _)| n != 1).collect();
        let mut strides = vec![0; dims.len()];
        let (mut from, mut to) = (0, 0);
        while to < dims.len() {
            if dims[to] == 1 {
                to += 1;
                continue;
            }
            // The fewest old axes and new axes of one size.
            let (mut a, mut b) = (old.get(from)?.0, dims[to]);
            let (mut last_from, mut last_to) = (from, to);
            while a != b {
                if a < b {
                    last_from += 1;
                    a *= old.get(last_from)?.0;
                } else {
                    last_to += 1;
                    b *= dims.get(last_to)?;
                }
            }
            let group = &old[from..=last_from];
            if group.windows(2).any(|pair| pair[0].1 != pair[1].1 * pair[1].0) {
                return None;
            }
            let mut stride = old[last_from].1;
            for axis in (to..=last_to).rev() {
                strides[axis] = stride;
                stride *= dims[axis];
            }
            (from, to) = (last_from + 1, last_to + 1);
        }
        Some(Self { dims: dims.to_vec(), strides, ..*self })
    }

    /// The one stride of the axes in `range` taken as one axis, if they have one.
    pub fn merged(&self, range: std::ops::Range<usize>) -> Option<usize> {
        let sizes = &self.dims[range.clone()];
        let flat = Self { dims: sizes.to_vec(), strides: self.strides[range].to_vec(), ..*self };
        let all: usize = sizes.iter().product();
        if all == 1 { Some(1) } else { Some(flat.reshape(&[all])?.strides[0]) }
    }

    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reshape_moves_nothing_where_axes_split_or_follow_on() {
        let rows = Place { buffer: 0, offset: 5, dims: vec![2, 64, 256], strides: vec![64 * 272, 272, 1] };
        assert_eq!(rows.reshape(&[128, 256]).unwrap().strides, [272, 1]);
        let heads = rows.reshape(&[2, 64, 4, 64]).unwrap().permute(&[0, 2, 1, 3]);
        assert_eq!(heads.strides, [64 * 272, 64, 272, 1]);
        assert_eq!(heads.permute(&[0, 2, 1, 3]).reshape(&[2, 1, 64, 256]).unwrap().strides[2..], [272, 1]);
        assert!(heads.reshape(&[2, 4 * 64, 64]).is_none());
        assert!(rows.reshape(&[2, 64 * 256]).is_none());
    }

    #[test]
    fn a_broadcast_repeats_axes_of_one() {
        let place = Place::dense(1, &[1, 3]).broadcast(&[2, 5, 3]);
        assert_eq!((place.dims, place.strides), (vec![2, 5, 3], vec![0, 0, 1]));
    }
}
