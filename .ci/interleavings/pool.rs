//! The pool, and what shares a step's pieces among its threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use crate::kernels::{Isa, LINE, Parallel, Pool, Workers};
use crate::models::in_many_orders;

/// What threads did in a job; never freed, so that one that comes too late is seen and does no harm.
struct Job {
    open: AtomicBool,
    entered: [AtomicUsize; 3],
    inside: AtomicUsize,
    late: AtomicUsize,
}

fn job() -> &'static Job {
    Box::leak(Box::new(Job {
        open: AtomicBool::new(true),
        entered: [const { AtomicUsize::new(0) }; 3],
        inside: AtomicUsize::new(0),
        late: AtomicUsize::new(0),
    }))
}

/// A body that is never freed either.
fn body(job: &'static Job) -> &'static (dyn Fn(usize) + Sync) {
    let look = |job: &Job| {
        if !job.open.load(SeqCst) {
            job.late.fetch_add(1, SeqCst);
        }
    };
    Box::leak(Box::new(move |lane: usize| {
        look(job);
        job.inside.fetch_add(1, SeqCst);
        job.entered[lane].fetch_add(1, SeqCst);
        thread::yield_now();
        job.inside.fetch_sub(1, SeqCst);
        look(job);
    }))
}

#[test]
fn each_lane_enters_a_job_at_most_once_and_none_is_inside_when_it_is_over() {
    in_many_orders(|| {
        let pool = Pool::new(3).unwrap();
        let jobs = [job(), job(), job()];
        for job in jobs {
            pool.run(body(job));
            job.open.store(false, SeqCst);
            assert_eq!(job.inside.load(SeqCst), 0);
            assert_eq!(job.entered[0].load(SeqCst), 1);
        }
        drop(pool);
        for job in jobs {
            assert!(job.entered.iter().all(|times| times.load(SeqCst) <= 1));
            assert_eq!(job.late.load(SeqCst), 0);
        }
    });
}

#[test]
fn a_thread_that_went_to_sleep_is_woken_for_a_job() {
    in_many_orders(|| {
        let pool = Pool::new(2).unwrap();
        for _ in 0..2 {
            let came = AtomicBool::new(false);
            pool.run(&|lane| {
                came.fetch_or(lane == 1, SeqCst);
                while !came.load(SeqCst) {
                    thread::yield_now();
                }
            });
        }
    });
}

/// Two threads that run jobs of a pool of so many lanes, and the most bodies of one that met one of the other's.
fn two_callers(lanes: usize) -> usize {
    let pool = Arc::new(Pool::new(lanes).unwrap());
    let (inside, met) = (Arc::new([const { AtomicUsize::new(0) }; 2]), Arc::new(AtomicUsize::new(0)));
    let call = |caller: usize| {
        let (pool, inside, met) = (Arc::clone(&pool), Arc::clone(&inside), Arc::clone(&met));
        move || {
            for _ in 0..2 {
                let own = AtomicUsize::new(0);
                pool.run(&|lane| {
                    inside[caller].fetch_add(1, SeqCst);
                    own.fetch_add(usize::from(lane == 0), SeqCst);
                    met.fetch_max(inside[1 - caller].load(SeqCst), SeqCst);
                    thread::yield_now();
                    inside[caller].fetch_sub(1, SeqCst);
                });
                assert_eq!(own.load(SeqCst), 1);
            }
        }
    };
    let other = thread::spawn(call(1));
    call(0)();
    other.join().unwrap();
    met.load(SeqCst)
}

#[test]
fn callers_take_turns() {
    in_many_orders(|| assert_eq!(two_callers(3), 0));
}

#[test]
fn as_many_callers_as_lanes_all_come_through() {
    in_many_orders(|| {
        two_callers(2);
    });
}

#[test]
fn each_piece_of_a_step_is_done_once_with_scratch_that_no_other_has() {
    in_many_orders(|| {
        let pool = Pool::new(2).unwrap();
        let mut scratch = vec![0.0; 2 * LINE];
        let done = [const { AtomicUsize::new(0) }; 3];
        Workers::new(Isa::Scalar, &pool, &mut scratch).each(done.len(), 1, |piece, scratch| {
            scratch[0] = piece as f32;
            thread::yield_now();
            assert_eq!(scratch[0], piece as f32);
            done[piece].fetch_add(1, SeqCst);
        });
        assert!(done.iter().all(|times| times.load(SeqCst) == 1));
    });
}
