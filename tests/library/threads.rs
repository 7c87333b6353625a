//! Threads: the model's own, and those that an application lends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowturbo::{Bundle, ErrorKind, Model, ModelOptions, Parallel, RayonPool, Request};
use ndarray::Array4;

use crate::common::{data, largest_error};

/// A job system that keeps to its word, a thread for each body, and counts what it is given.
struct Scoped {
    lanes: usize,
    runs: AtomicUsize,
}

impl Scoped {
    fn new(lanes: usize) -> Arc<Self> {
        Arc::new(Self { lanes, runs: AtomicUsize::new(0) })
    }
}

impl Parallel for Scoped {
    fn lanes(&self) -> usize {
        self.lanes
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for lane in 0..self.lanes {
                scope.spawn(move || body(lane));
            }
        });
    }
}

/// A thread that waits in a job system may take up another session's work, which must not wait for the first.
#[test]
fn what_all_sessions_wait_for_is_not_computed_on_lent_threads() {
    let lent = Scoped::new(2);
    let bundle = Bundle::open(crate::textures()).unwrap();
    let model = Model::load(bundle, &ModelOptions::default().with_parallel(lent.clone())).unwrap();
    let (mut session, request) = (model.session(), Request::new(vec![1]));
    let made = lent.runs.load(Ordering::Relaxed);
    session.prepare(&request, flowturbo::Output::Latents).unwrap();
    assert_eq!(lent.runs.load(Ordering::Relaxed), made);
    session.latents(&request).unwrap();
    assert!(lent.runs.load(Ordering::Relaxed) > made);
}

/// Job systems that do something else than they are asked for.
enum Odd {
    /// Never finds a thread that is free.
    Busy,
    /// The last number first, and each of them twice.
    Twice,
    /// One number is enough for it.
    OnlyOne,
}

impl Parallel for Odd {
    fn lanes(&self) -> usize {
        3
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        match self {
            Self::Busy => {}
            Self::Twice => (0..3).rev().chain(0..3).for_each(body),
            Self::OnlyOne => body(1),
        }
    }
}

fn sample(options: &ModelOptions) -> Array4<f32> {
    let model = Model::load(Bundle::open(data("bundle")).unwrap(), options).unwrap();
    model.session().latents(&Request::new(vec![5, 2]).with_seed(3)).unwrap()
}

fn threads(count: usize) -> ModelOptions {
    ModelOptions::default().with_threads(count)
}

#[test]
fn the_thread_count_does_not_change_the_result() {
    let one = sample(&threads(1));
    for count in [2, 3, 4, 8, 33] {
        let error = largest_error(one.iter(), sample(&threads(count)).iter());
        assert!(error <= 1e-5, "{count} threads: {error}");
    }
}

#[test]
fn a_lent_job_system_does_the_work() {
    let one = sample(&threads(1));
    for lanes in [2, 8] {
        let scoped = Scoped::new(lanes);
        let error = largest_error(
            one.iter(),
            sample(&ModelOptions::default().with_parallel(Arc::clone(&scoped) as _)).iter(),
        );
        assert!(error <= 1e-5, "{lanes} lanes: {error}");
        assert!(scoped.runs.load(Ordering::Relaxed) > 100);
    }
    let scoped = Scoped::new(5);
    let bundle = Bundle::open(data("bundle")).unwrap();
    let model = Model::load(bundle, &threads(2).with_parallel(scoped)).unwrap();
    assert_eq!(model.threads(), 5);
}

/// Three sessions at once on a pool of two, one of them on a thread of the pool.
#[test]
fn a_rayon_pool_does_the_work() {
    let (one, pool) = (sample(&threads(1)), rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    let pool = Arc::new(pool);
    let options = ModelOptions::default().with_parallel(Arc::new(RayonPool::new(Arc::clone(&pool))));
    let model = Model::load(Bundle::open(data("bundle")).unwrap(), &options).unwrap();
    assert_eq!(model.threads(), 2);
    let draw = || model.session().latents(&Request::new(vec![5, 2]).with_seed(3)).unwrap();
    let drawn = std::thread::scope(|scope| {
        let beside = [scope.spawn(draw), scope.spawn(draw)];
        let mut drawn = vec![pool.install(draw)];
        drawn.extend(beside.map(|thread| thread.join().unwrap()));
        drawn
    });
    for latents in drawn {
        assert!(largest_error(one.iter(), latents.iter()) <= 1e-5);
    }
}

#[test]
fn what_a_job_system_leaves_undone_is_done() {
    let one = sample(&threads(1));
    for odd in [Odd::Busy, Odd::Twice, Odd::OnlyOne] {
        let latents = sample(&ModelOptions::default().with_parallel(Arc::new(odd)));
        assert!(largest_error(one.iter(), latents.iter()) <= 1e-5);
    }
}

#[test]
fn sessions_on_several_threads_share_a_job_system() {
    let bundle = Bundle::open(data("bundle")).unwrap();
    let model = Model::load(bundle, &ModelOptions::default().with_parallel(Scoped::new(2))).unwrap();
    let draw = |seed| model.session().latents(&Request::new(vec![1]).with_seed(seed)).unwrap();
    let alone: Vec<Array4<f32>> = (0..3).map(draw).collect();
    std::thread::scope(|scope| {
        let together: Vec<_> = (0..3).map(|seed| scope.spawn(move || draw(seed))).collect();
        for (alone, together) in alone.iter().zip(together) {
            assert_eq!(*alone, together.join().unwrap());
        }
    });
}

#[test]
fn thread_counts_beyond_reason_are_refused() {
    for options in [threads(100_000), ModelOptions::default().with_parallel(Scoped::new(0))] {
        let bundle = Bundle::open(data("bundle")).unwrap();
        let error = Model::load(bundle, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}
