//! Places buffers in one memory: two that are alive at the same time never overlap.

use crate::kernels::LINE;
use crate::{Result, memory};

/// A stretch of memory, needed from step `first` to step `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Floats.
    pub(super) len: usize,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// An offset for each buffer, on a cache line, and the floats that all of them take: the largest first, each
/// at the lowest place that is free for its whole life.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn place(lives: &[Life]) -> Result<(Vec<usize>, usize)> {
    let mut order = memory::collected(lives.len(), 0..lives.len())?;
    order.sort_unstable_by_key(|&i| (std::cmp::Reverse(lives[i].len), lives[i].first, i));
    let mut offsets = memory::filled(lives.len(), 0)?;
    let (mut placed, mut rivals): (Vec<usize>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    memory::reserve(&mut placed, lives.len())?;
    memory::reserve(&mut rivals, lives.len())?;
    let mut total = 0;
    for i in order {
        let life = lives[i];
        let meets = |&j: &usize| lives[j].first <= life.last && life.first <= lives[j].last;
        rivals.clear();
        rivals.extend(placed.iter().copied().filter(meets).map(|j| (offsets[j], offsets[j] + lives[j].len)));
        rivals.sort_unstable();
        let mut offset = 0;
        for &(start, end) in &rivals {
            if offset + life.len <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(LINE));
        }
        offsets[i] = offset;
        total = total.max(offset + life.len);
        placed.push(i);
    }
    Ok((offsets, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_never_meet_share_memory_and_others_do_not() {
        let lives = [(100, 0, 1), (50, 1, 2), (100, 2, 3), (7, 0, 3)];
        let lives = lives.map(|(len, first, last)| Life { len, first, last });
        let (offsets, total) = place(&lives).unwrap();
        assert_eq!(offsets[0], offsets[2]);
        for (i, a) in lives.iter().enumerate() {
            for (j, b) in lives.iter().enumerate().skip(i + 1) {
                let meet = a.first <= b.last && b.first <= a.last;
                let apart = offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                assert!(!meet || apart, "{i} and {j}");
            }
        }
        assert!(total <= 112 + 64 + 7);
    }
}
