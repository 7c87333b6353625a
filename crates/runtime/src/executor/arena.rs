//! Places buffers in one memory: two that are alive at the same time never overlap.

use crate::allowance::Allowance;
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
/// at the lowest place that is free for its whole life. A buffer that no step touches lives for a moment.
///
/// # Errors
/// `OutOfMemory`, and those of `allowance`, which is asked before each.
pub(super) fn place(lives: &[Life], allowance: &Allowance) -> Result<(Vec<usize>, usize)> {
    let mut lives = memory::collected(lives.len(), lives.iter().copied())?;
    lives.iter_mut().for_each(|life| life.last = life.last.max(life.first));
    let all = lives.iter().try_fold(0usize, |sum, life| sum.checked_add(life.len.checked_add(LINE)?));
    if all.is_none() {
        allowance.arena(None)?;
    }
    let mut order = memory::collected(lives.len(), 0..lives.len())?;
    order.sort_unstable_by_key(|&i| (std::cmp::Reverse(lives[i].len), lives[i].first, i));
    let mut offsets = memory::filled(lives.len(), 0)?;
    // In the order of their offsets.
    let mut placed: Vec<usize> = Vec::new();
    memory::reserve(&mut placed, lives.len())?;
    let mut total = 0;
    for i in order {
        allowance.check()?;
        let life = lives[i];
        let mut offset = 0;
        for &j in &placed {
            if offset + life.len <= offsets[j] {
                break;
            }
            if lives[j].first <= life.last && life.first <= lives[j].last {
                offset = offset.max((offsets[j] + lives[j].len).next_multiple_of(LINE));
            }
        }
        offsets[i] = offset;
        total = total.max(offset + life.len);
        placed.insert(placed.partition_point(|&j| offsets[j] <= offset), i);
    }
    allowance.arena(Some(total))?;
    Ok((offsets, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CancelToken, Limits};

    #[test]
    fn buffers_that_never_meet_share_memory_and_others_do_not() {
        let lives = [(100, 0, 1), (50, 1, 2), (100, 2, 3), (7, 0, 3)];
        let lives = lives.map(|(len, first, last)| Life { len, first, last });
        let allowance = Allowance::new(&Limits::default(), &CancelToken::new());
        let (offsets, total) = place(&lives, &allowance).unwrap();
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
