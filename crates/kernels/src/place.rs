//! Checks that a kernel makes before it goes through pointers: what it will touch lies inside the arena,
//! and what it writes lies apart from what it reads.

use std::ops::Range;

use super::Rows;

/// One past the last float of strided places: `dims` are (count, stride) pairs, and each place is `run`
/// contiguous floats. Panics where that overflows, so that a comparison with the arena's length is enough.
pub fn end(offset: usize, dims: &[(usize, usize)], run: usize) -> usize {
    if run == 0 || dims.iter().any(|(count, _)| *count == 0) {
        return offset;
    }
    dims.iter()
        .try_fold(offset.checked_add(run), |end, (count, stride)| {
            Some(end?.checked_add((count - 1).checked_mul(*stride)?))
        })
        .flatten()
        .expect("a place in the arena is beyond all addresses")
}

/// Whether no float is in both.
pub fn apart(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.end <= b.start || b.end <= a.start || a.is_empty() || b.is_empty()
}

/// Whether all of these places (as for [`end`]) are apart from each other.
pub fn all_apart(dims: &[(usize, usize)], run: usize) -> bool {
    // From the smallest stride up, each step must clear everything below it.
    let (mut extent, mut cleared) = (run, 0);
    if dims.iter().any(|(count, stride)| *count > 1 && *stride == 0) {
        return false;
    }
    loop {
        let above = |(count, stride): &&(usize, usize)| *count > 1 && *stride > cleared;
        let Some((count, stride)) = dims.iter().filter(above).min_by_key(|(_, stride)| *stride) else {
            return true;
        };
        let twins = dims.iter().filter(|(count, other)| *count > 1 && other == stride).count();
        if *stride < extent || twins > 1 {
            return false;
        }
        extent += (count - 1) * stride;
        cleared = *stride;
    }
}

impl Rows {
    /// From the first float to the last.
    pub fn span(&self) -> Range<usize> {
        self.offset..end(self.offset, &[(self.rows, self.stride)], self.cols)
    }

    /// Whether rows can be written by several threads at once.
    pub fn rows_apart(&self) -> bool {
        self.rows <= 1 || self.stride >= self.cols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_one_past_the_last_float() {
        assert_eq!(end(10, &[], 3), 13);
        assert_eq!(end(10, &[(2, 100), (3, 7)], 3), 10 + 100 + 14 + 3);
        assert_eq!(end(10, &[(0, 100), (3, 7)], 3), 10);
        assert_eq!(Rows { offset: 5, rows: 3, cols: 4, stride: 9 }.span(), 5..27);
    }

    #[test]
    fn places_that_share_floats_are_found() {
        assert!(all_apart(&[(2, 100), (3, 30), (1, 0)], 30) && all_apart(&[], 9));
        assert!(all_apart(&[(3, 4), (4, 12)], 4));
        for dims in [&[(2, 0)][..], &[(2, 9)], &[(2, 20), (2, 20)], &[(3, 10), (2, 29)]] {
            assert!(!all_apart(dims, 10), "{dims:?}");
        }
    }

    #[test]
    #[should_panic(expected = "beyond all addresses")]
    fn an_end_beyond_all_addresses_is_refused() {
        end(10, &[(3, usize::MAX / 2)], 1);
    }

    #[test]
    fn spans_are_apart_when_they_only_touch() {
        assert!(apart(&(0..4), &(4..6)) && apart(&(4..6), &(0..4)) && apart(&(1..1), &(0..4)));
        assert!(!apart(&(0..5), &(4..6)) && !apart(&(0..9), &(4..6)));
    }
}
