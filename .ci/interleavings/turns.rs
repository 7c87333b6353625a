//! Turns to compute.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;

use crate::CancelToken;
use crate::models::in_many_orders;
use crate::source::backend::turns::Turns;

/// Computes for two steps, and counts how many do at the same time.
fn compute(turns: &Turns, cancel: &CancelToken, inside: &AtomicUsize, most: usize) -> bool {
    let Ok(mut turn) = turns.take(cancel) else { return false };
    for _ in 0..2 {
        assert!(inside.fetch_add(1, SeqCst) < most);
        thread::yield_now();
        inside.fetch_sub(1, SeqCst);
        if turn.keep(cancel).is_err() {
            return false;
        }
    }
    true
}

#[test]
fn at_most_so_many_compute_and_all_get_their_turn() {
    for most in [1, 2] {
        in_many_orders(move || {
            let (turns, inside) = (Arc::new(Turns::new(most)), Arc::new(AtomicUsize::new(0)));
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let (turns, inside) = (Arc::clone(&turns), Arc::clone(&inside));
                    thread::spawn(move || compute(&turns, &CancelToken::new(), &inside, most))
                })
                .collect();
            assert!(compute(&turns, &CancelToken::new(), &inside, most));
            assert!(others.into_iter().all(|other| other.join().unwrap()));
        });
    }
}

#[test]
fn one_that_is_cancelled_leaves_the_others_their_turns() {
    in_many_orders(|| {
        let (turns, inside) = (Arc::new(Turns::new(1)), Arc::new(AtomicUsize::new(0)));
        let cancel = CancelToken::new();
        let others = [cancel.clone(), CancelToken::new()].map(|token| {
            let (turns, inside) = (Arc::clone(&turns), Arc::clone(&inside));
            thread::spawn(move || compute(&turns, &token, &inside, 1))
        });
        cancel.cancel();
        assert!(compute(&turns, &CancelToken::new(), &inside, 1));
        let [_, other] = others.map(|other| other.join().unwrap());
        assert!(other);
        // Nobody holds a turn any more.
        assert!(compute(&turns, &CancelToken::new(), &inside, 1));
    });
}
