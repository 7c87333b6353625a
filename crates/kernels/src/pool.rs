//! A model's own threads.
//!
//! A network call is some hundred short steps, so a thread that has finished its part looks out for the
//! next step for a moment before it sleeps. rayon was not taken: it allocates for work that comes from
//! outside its pool, and nothing may be allocated while sampling.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{DefaultFloats, Parallel, Process};
use crate::lock::lock;

/// Threads that wait for work; the caller's thread is one of the lanes.
pub struct Pool {
    shared: Arc<Shared>,
    /// One job at a time: sessions on several threads take turns, step by step.
    turn: Mutex<()>,
    /// Threads that are in [`run`](Parallel::run), or wait for their turn.
    callers: AtomicUsize,
    threads: Vec<JoinHandle<()>>,
    /// Where the threads are.
    process: Process,
}

struct Shared {
    /// The current job: its number, whether it is [`OPEN`], and how many threads have entered it.
    gate: AtomicUsize,
    /// The job itself, valid until it is closed and `left` is the number of those that entered.
    body: Mutex<Option<Body>>,
    /// Threads that are through with the current job.
    left: AtomicUsize,
    /// The first of the current job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
    asleep: Mutex<usize>,
    wake: Condvar,
}

/// A job whose lifetime has been forgotten.
#[derive(Clone, Copy)]
struct Body(*const (dyn Fn(usize) + Sync));

// SAFETY: what it points to is `Sync`, and `Pool::run` keeps it alive while workers may use it.
unsafe impl Send for Body {}

/// Looks at the next job before a thread goes to sleep: some tens of microseconds, which to those that check the order
/// of things are as good as two looks. WebAssembly has no instruction that makes a look take its time, and who wakes
/// there comes late; now and then one looks away there too, and sleeps for that moment (`bindings/wasm/threads.js`).
const SPINS: usize = match (cfg!(any(miri, interleavings)), cfg!(target_family = "wasm")) {
    (true, _) => 2,
    (_, true) => 1_000_000,
    _ => 20_000,
};
/// Looks from one time that a thread gives its processor away to the next. In WebAssembly it sleeps for that moment,
/// which is longer than most waits.
const LOOKS: usize = if cfg!(target_family = "wasm") { 32_768 } else { 1024 };
/// The gate's lowest bits count threads, the next one says that the job may be entered, the others number it.
const OPEN: usize = 1 << 15;
const JOB: usize = OPEN << 1;

impl Pool {
    /// # Errors
    /// The system's, when it refuses a thread.
    ///
    /// # Panics
    /// If there are more lanes than the gate can count.
    pub fn new(lanes: usize) -> io::Result<Self> {
        let (pool, refused) = Self::up_to(lanes);
        refused.map_or(Ok(pool), Err)
    }

    /// With as many of the lanes as the system gives threads for, and what it said when it refused one.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn up_to(lanes: usize) -> (Self, Option<io::Error>) {
        assert!(lanes < OPEN);
        let shared = Arc::new(Shared {
            gate: AtomicUsize::new(0),
            body: Mutex::new(None),
            left: AtomicUsize::new(0),
            panic: Mutex::new(None),
            stop: AtomicBool::new(false),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
        });
        let (turn, callers) = (Mutex::new(()), AtomicUsize::new(0));
        let mut pool = Self { shared, turn, callers, threads: Vec::new(), process: Process::this() };
        for lane in 1..lanes {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("flowturbo-{lane}"));
            match thread.spawn(move || shared.work(lane)) {
                Ok(thread) => pool.threads.push(thread),
                Err(refused) => return (pool, Some(refused)),
            }
        }
        (pool, None)
    }
}

impl Parallel for Pool {
    fn lanes(&self) -> usize {
        self.threads.len() + 1
    }

    /// Returns when the caller's own lane is through and those that have entered meanwhile: a thread that
    /// the system lets run too late is not waited for.
    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        // In a forked child there are none, and whoever had the turn keeps it for ever.
        if self.threads.is_empty() || !self.process.is_this() {
            return body(0);
        }
        let caller = Caller::enter(&self.callers);
        // As many callers as lanes: each has a processor at best, so none waits for another one's step.
        if caller.number > 1 && caller.number >= self.lanes() {
            return body(0);
        }
        let _turn = lock(&self.turn);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; this function returns, by panic too, when no worker is left inside
        // and none can enter any more.
        let forgotten = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(body)
        };
        *lock(&shared.body) = Some(Body(forgotten));
        shared.left.store(0, Ordering::Relaxed);
        // Of a job whose caller panicked as well.
        *lock(&shared.panic) = None;
        let job = shared.gate.load(Ordering::Relaxed) / JOB;
        shared.gate.store(job.wrapping_add(1).wrapping_mul(JOB) | OPEN, Ordering::Release);
        if *lock(&shared.asleep) > 0 {
            shared.wake.notify_all();
        }
        let finish = Finish(shared);
        body(0);
        drop(finish);
        let panic = lock(&shared.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// A thread in [`Pool::run`], by how many there are with it.
struct Caller<'a> {
    all: &'a AtomicUsize,
    number: usize,
}

impl<'a> Caller<'a> {
    fn enter(all: &'a AtomicUsize) -> Self {
        Self { all, number: all.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What to do between two looks: now and then whoever else wants the processor gets it. A system may have woken a
/// worker on the caller's own (virtual machines do, after a rest), and then each would wait for the other.
fn look_away(spins: usize) {
    if spins.is_multiple_of(LOOKS) { std::thread::yield_now() } else { std::hint::spin_loop() }
}

/// Closes the job and waits for those inside, when the caller's own part panics too.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let entered = self.0.gate.fetch_and(!OPEN, Ordering::Relaxed) % OPEN;
        let mut spins = 0;
        while self.0.left.load(Ordering::Acquire) < entered {
            spins += 1;
            look_away(spins);
        }
    }
}

impl Shared {
    fn work(&self, lane: usize) {
        DefaultFloats::for_good();
        let mut seen = 0;
        while let Some(job) = self.enter(seen) {
            seen = job;
            let body = *lock(&self.body);
            if let Some(Body(body)) = body {
                // SAFETY: this thread has entered the job, and `Pool::run` waits until it has left.
                let body = unsafe { &*body };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(lane))) {
                    lock(&self.panic).get_or_insert(panic);
                }
            }
            self.left.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits for a job other than `seen` that is open, enters it and gives its number; none when the pool is
    /// dropped.
    fn enter(&self, seen: usize) -> Option<usize> {
        loop {
            for spins in 1..=SPINS {
                if let Some(job) = self.try_enter(seen) {
                    return Some(job);
                }
                look_away(spins);
            }
            let mut asleep = lock(&self.asleep);
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            if let Some(job) = self.try_enter(seen) {
                return Some(job);
            }
            *asleep += 1;
            // Whoever wakes too late for this job looks out for the next one.
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
            *asleep -= 1;
        }
    }

    fn try_enter(&self, seen: usize) -> Option<usize> {
        let open = |gate: usize| (gate & OPEN != 0 && gate / JOB != seen).then_some(gate + 1);
        let gate = self.gate.fetch_update(Ordering::Acquire, Ordering::Relaxed, open);
        gate.ok().map(|gate| gate / JOB)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.process.is_this() {
            // The handles of threads that were left in the parent: nothing may be asked of them.
            std::mem::forget(std::mem::take(&mut self.threads));
            return;
        }
        self.shared.stop.store(true, Ordering::Release);
        drop(lock(&self.shared.asleep));
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::panic_text;

    /// However late a busy machine lets another thread run; a minute is never.
    fn wait_until(happened: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !happened() {
            assert!(began.elapsed().as_secs() < 60, "waited in vain");
            std::thread::yield_now();
        }
    }

    /// Miri runs them in some orders.
    const JOBS: usize = if cfg!(miri) { 20 } else { 2000 };

    #[test]
    fn no_lane_runs_twice_for_a_job_and_after_it_none_is_inside() {
        let pool = Pool::new(3).unwrap();
        let counts = [const { AtomicUsize::new(0) }; 3];
        for job in 1..=JOBS {
            let (inside, came) = (AtomicUsize::new(0), AtomicBool::new(false));
            pool.run(&|lane| {
                inside.fetch_add(1, Ordering::Relaxed);
                came.fetch_or(lane > 0, Ordering::Relaxed);
                assert!(counts[lane].fetch_add(1, Ordering::Relaxed) < job);
                if job % (JOBS / 10) == 1 {
                    wait_until(|| came.load(Ordering::Relaxed));
                }
                (0..10).for_each(|_| std::hint::spin_loop());
                inside.fetch_sub(1, Ordering::Relaxed);
            });
            assert_eq!(inside.load(Ordering::Relaxed), 0);
            assert_eq!(counts[0].load(Ordering::Relaxed), job);
            if job == JOBS / 2 {
                // Now they sleep, and have to be woken.
                wait_until(|| *lock(&pool.shared.asleep) == 2);
            }
        }
    }

    #[test]
    fn as_many_callers_as_lanes_do_not_wait_for_one_another() {
        let pool = Pool::new(2).unwrap();
        let (inside, through) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                pool.run(&|_| {
                    inside.fetch_add(1, Ordering::Relaxed);
                    wait_until(|| through.load(Ordering::Relaxed));
                });
            });
            wait_until(|| inside.load(Ordering::Relaxed) > 0);
            let runs = AtomicUsize::new(0);
            pool.run(&|lane| {
                assert_eq!(lane, 0);
                runs.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(runs.load(Ordering::Relaxed), 1);
            through.store(true, Ordering::Relaxed);
            first.join().unwrap();
        });
        assert_eq!(pool.callers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_panic_in_a_lane_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2).unwrap();
        for bad in [&[0][..], &[1], &[0, 1]] {
            let came = AtomicBool::new(false);
            let run = || {
                pool.run(&|lane| {
                    came.fetch_or(lane == 1, Ordering::Relaxed);
                    while !came.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                    assert!(!bad.contains(&lane), "on purpose");
                });
            };
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(panic_text(panic.as_ref()), "on purpose");
            pool.run(&|_| {});
        }
    }
}
