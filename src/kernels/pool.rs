//! A model's own threads.
//!
//! A network call is some hundred short steps, so a thread that has finished its part looks out for the
//! next step for a moment before it sleeps. rayon was not taken: it allocates for work that comes from
//! outside its pool, and nothing may be allocated while sampling.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Parallel;

/// Threads that wait for work; the caller's thread is one of the lanes.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// One job at a time: sessions on several threads take turns, step by step.
    turn: Mutex<()>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Number of the current job; changes when one is there to be done.
    job: AtomicUsize,
    /// The job itself, valid from the change of `job` until `working` is 0.
    body: Mutex<Option<Body>>,
    working: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    asleep: Mutex<usize>,
    wake: Condvar,
}

/// A job whose lifetime has been forgotten.
#[derive(Clone, Copy)]
struct Body(*const (dyn Fn(usize) + Sync));

// SAFETY: what it points to is `Sync`, and `Pool::run` keeps it alive while workers may use it.
unsafe impl Send for Body {}

/// Looks at the next job before a thread goes to sleep: some tens of microseconds.
const SPINS: usize = 20_000;

impl Pool {
    /// # Errors
    /// The system's, when it refuses a thread.
    pub(crate) fn new(lanes: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            job: AtomicUsize::new(0),
            body: Mutex::new(None),
            working: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let mut pool = Self { shared, turn: Mutex::new(()), threads: Vec::new() };
        for lane in 1..lanes {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("flowturbo-{lane}"));
            pool.threads.push(thread.spawn(move || shared.work(lane))?);
        }
        Ok(pool)
    }
}

impl Parallel for Pool {
    fn lanes(&self) -> usize {
        self.threads.len() + 1
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        if self.threads.is_empty() {
            return body(0);
        }
        let _turn = lock(&self.turn);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; this function returns, by panic too, when no worker is left inside.
        let forgotten = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(body)
        };
        *lock(&shared.body) = Some(Body(forgotten));
        shared.working.store(self.threads.len(), Ordering::Relaxed);
        shared.job.fetch_add(1, Ordering::Release);
        if *lock(&shared.asleep) > 0 {
            shared.wake.notify_all();
        }
        let finish = Finish(shared);
        body(0);
        drop(finish);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a worker thread panicked");
    }
}

/// Waits for the workers, when the caller's own part panics too.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut spins = 0;
        while self.0.working.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Shared {
    fn work(&self, lane: usize) {
        let mut seen = 0;
        loop {
            let Some(job) = self.next(seen) else { return };
            seen = job;
            let body = *lock(&self.body);
            if let Some(Body(body)) = body {
                // SAFETY: `Pool::run` waits until `working` is 0 before the job ends.
                let body = unsafe { &*body };
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(lane))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.working.fetch_sub(1, Ordering::Release);
        }
    }

    /// The next job's number; none when the pool is dropped.
    fn next(&self, seen: usize) -> Option<usize> {
        let ready = || {
            let job = self.job.load(Ordering::Acquire);
            (job != seen).then_some(job)
        };
        for _ in 0..SPINS {
            if let Some(job) = ready() {
                return Some(job);
            }
            std::hint::spin_loop();
        }
        let mut asleep = lock(&self.asleep);
        *asleep += 1;
        let found = loop {
            if self.stop.load(Ordering::Acquire) {
                break None;
            }
            if let Some(job) = ready() {
                break Some(job);
            }
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        };
        *asleep -= 1;
        found
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        drop(lock(&self.shared.asleep));
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_runs_once_for_each_job() {
        let pool = Pool::new(3).unwrap();
        let counts = [const { AtomicUsize::new(0) }; 3];
        for _ in 0..1000 {
            pool.run(&|lane| {
                counts[lane].fetch_add(1, Ordering::Relaxed);
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        pool.run(&|lane| {
            counts[lane].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1001));
    }

    #[test]
    fn a_panic_in_a_lane_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2).unwrap();
        for bad in [0, 1] {
            let run = || pool.run(&|lane| assert_ne!(lane, bad, "on purpose"));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        }
        pool.run(&|_| {});
    }
}
