//! Turns to compute, when more sessions want to than there are processors.
//!
//! Left to the system, eight threads on two processors each wait for all others before they look at their cancel tokens
//! again. Here as many compute as there are processors, each for a slice of time; the others sleep, in the order in
//! which they came, and look at their tokens now and then.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::lock::lock;
use crate::memory::refused;
use crate::{CancelToken, Result};

/// How long one computes while others wait: some steps of a network. Those that check the order of things have no
/// clock.
const SLICE: Duration = Duration::from_millis(if cfg!(interleavings) { 0 } else { 2 });
/// How often one that waits looks at its cancel token.
const LOOK: Duration = Duration::from_millis(4);
/// As many may wait before anything is allocated.
const USUAL: usize = 64;

pub(crate) struct Turns {
    /// Those that may compute at once.
    most: usize,
    queue: Mutex<Queue>,
    moved: Condvar,
    /// The length of the queue, to look at without the lock.
    waiting: AtomicUsize,
}

struct Queue {
    computing: usize,
    /// Those that wait, by number, the next one in front.
    waiting: VecDeque<usize>,
    /// The number of whoever comes next.
    next: usize,
}

impl Turns {
    pub(crate) fn new(most: usize) -> Self {
        let queue = Queue { computing: 0, waiting: VecDeque::with_capacity(USUAL), next: 0 };
        Self {
            most: most.max(1),
            queue: Mutex::new(queue),
            moved: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `Cancelled`; `OutOfMemory` for a queue that has no place for one more.
    pub(crate) fn take<'a>(&'a self, cancel: &CancelToken) -> Result<Turn<'a>> {
        self.enter(cancel)?;
        Ok(Turn { turns: self, since: Instant::now(), held: true })
    }

    fn enter(&self, cancel: &CancelToken) -> Result<()> {
        let mut queue = lock(&self.queue);
        if queue.waiting.is_empty() && queue.computing < self.most {
            queue.computing += 1;
            return Ok(());
        }
        queue.waiting.try_reserve(1).map_err(|_| refused(size_of::<usize>() as u64))?;
        let number = queue.next;
        queue.next = number.wrapping_add(1);
        queue.waiting.push_back(number);
        let mut outcome = Ok(());
        while outcome.is_ok() && (queue.waiting.front() != Some(&number) || queue.computing >= self.most) {
            self.waiting.store(queue.waiting.len(), Ordering::Relaxed);
            queue = self.moved.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            outcome = cancel.check();
        }
        queue.waiting.retain(|waiting| *waiting != number);
        queue.computing += usize::from(outcome.is_ok());
        self.tell(&queue);
        outcome
    }

    fn leave(&self) {
        let mut queue = lock(&self.queue);
        queue.computing -= 1;
        self.tell(&queue);
    }

    /// The queue has moved.
    fn tell(&self, queue: &MutexGuard<Queue>) {
        self.waiting.store(queue.waiting.len(), Ordering::Relaxed);
        if !queue.waiting.is_empty() && queue.computing < self.most {
            self.moved.notify_all();
        }
    }
}

/// The right to compute, until it is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    since: Instant,
    held: bool,
}

impl Turn<'_> {
    /// Between two steps: lets the next one compute, once a slice is over, and waits for another turn.
    ///
    /// # Errors
    /// As [`Turns::take`].
    pub(crate) fn keep(&mut self, cancel: &CancelToken) -> Result<()> {
        cancel.check()?;
        if self.turns.waiting.load(Ordering::Relaxed) == 0 || self.since.elapsed() < SLICE {
            return Ok(());
        }
        self.held = false;
        self.turns.leave();
        self.turns.enter(cancel)?;
        (self.since, self.held) = (Instant::now(), true);
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.held {
            self.turns.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::ErrorKind;

    fn waiting(turns: &Turns, wanted: usize) {
        while turns.waiting.load(Ordering::Relaxed) != wanted {
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_waits_ends_with_its_token() {
        let (turns, cancel) = (Turns::new(1), CancelToken::new());
        let held = turns.take(&cancel).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.take(&cancel).map(drop));
            waiting(&turns, 1);
            cancel.cancel();
            assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        });
        drop(held);
        turns.take(&CancelToken::new()).unwrap();
        assert_eq!(turns.take(&cancel).map(drop).map_err(|error| error.kind()), Ok(()));
    }

    #[test]
    fn those_that_wait_come_in_their_order_and_whoever_had_its_slice_comes_last() {
        let (turns, never) = (Turns::new(1), CancelToken::new());
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut held = turns.take(&never).unwrap();
            for number in 0..3 {
                let (turns, never, tell) = (&turns, &never, tell.clone());
                scope.spawn(move || {
                    let _turn = turns.take(never).unwrap();
                    tell.send(number).unwrap();
                });
                waiting(turns, number + 1);
            }
            std::thread::sleep(SLICE);
            held.keep(&never).unwrap();
            tell.send(3).unwrap();
        });
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
