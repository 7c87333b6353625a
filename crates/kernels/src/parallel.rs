//! How a step is shared between threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{DefaultFloats, Isa, LINE};

/// A parallel-for: threads lent to the networks, such as an application's own job system.
///
/// A network is some hundred steps; each step is one [`run`](Self::run). No body waits for another one, so
/// they may run in any order, one after another too. What a `run` leaves undone is done by the caller
/// afterwards: a busy job system makes an image slower, not wrong.
///
/// ```
/// # use flowturbo_kernels as flowturbo;
/// /// A thread for each body: simple, and slow. A job system would go here.
/// struct Scoped;
///
/// impl flowturbo::Parallel for Scoped {
///     fn lanes(&self) -> usize {
///         2
///     }
///     fn run(&self, body: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| {
///             scope.spawn(|| body(1));
///             body(0);
///         });
///     }
/// }
/// // What `ModelOptions::with_parallel` takes.
/// let lent: std::sync::Arc<dyn flowturbo::Parallel> = std::sync::Arc::new(Scoped);
/// ```
pub trait Parallel: Send + Sync {
    /// Bodies that may usefully run at the same time, at least 1; always the same number.
    fn lanes(&self) -> usize;

    /// Calls `body` with each number below [`lanes`](Self::lanes), on any threads and in any order, and
    /// returns when all calls have returned. A number whose thread is not free may be left out. Sessions on
    /// several threads may call it at the same time.
    fn run(&self, body: &(dyn Fn(usize) + Sync));
}

/// All work on the calling thread.
pub struct Inline;

impl Parallel for Inline {
    fn lanes(&self) -> usize {
        1
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        body(0);
    }
}

/// What kernels run with: an instruction set, threads, and scratch memory for each lane.
pub struct Workers<'a> {
    pub isa: Isa,
    parallel: &'a dyn Parallel,
    /// Asked once: what lies in memory depends on it.
    lanes: usize,
    scratch: &'a mut [f32],
    each: usize,
}

impl<'a> Workers<'a> {
    /// Splits `scratch` evenly among the lanes.
    pub fn new(isa: Isa, parallel: &'a dyn Parallel, scratch: &'a mut [f32]) -> Self {
        // Whole cache lines, so that lanes do not share one.
        let lanes = parallel.lanes().max(1);
        let each = scratch.len() / lanes / LINE * LINE;
        Self { isa, parallel, lanes, scratch, each }
    }

    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Calls `piece(i, scratch)` for each `i` below `pieces`, with the lane's own scratch of at least
    /// `need` floats; a lane takes the next of its own pieces,
    /// and then those that others have not come to.
    ///
    /// # Panics
    /// If the lanes have less scratch than `need`.
    pub fn each(&mut self, pieces: usize, need: usize, piece: impl Fn(usize, &mut [f32]) + Sync) {
        assert!(need <= self.each, "a lane has {} floats of scratch, a kernel needs {need}", self.each);
        let (entered, each) = (AtomicUsize::new(0), self.each);
        let (lanes, base) = (self.lanes, Shared::new(self.scratch));
        // A lane starts with pieces of its own, so that lanes seldom want the same one.
        let ranges = lanes.min(RANGES);
        let start = |range: usize| pieces * range / ranges;
        let next: [Line; RANGES] = std::array::from_fn(|range| Line(AtomicUsize::new(start(range))));
        let body = |_: usize| {
            // The thread may be lent, with whatever environment its owner wants.
            let _default = DefaultFloats::enter();
            // Lanes number themselves: the lender's numbers need not be believed.
            let enter = |lane: usize| (lane < lanes).then_some(lane + 1);
            let Ok(lane) = entered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter) else { return };
            // SAFETY: each number is given out once, so these parts of `scratch` are apart.
            let scratch = unsafe { std::slice::from_raw_parts_mut(base.at(lane * each), each) };
            for range in (0..ranges).map(|i| (lane + i) % ranges) {
                loop {
                    let i = next[range].0.fetch_add(1, Ordering::Relaxed);
                    if i >= start(range + 1) {
                        break;
                    }
                    piece(i, scratch);
                }
            }
        };
        if pieces > 1 && lanes > 1 {
            // Whatever else the lender does on this thread.
            let _default = DefaultFloats::enter();
            self.parallel.run(&body);
        }
        // Whatever a lender left undone; usually nothing. Nobody else is inside any more.
        entered.store(0, Ordering::Relaxed);
        body(0);
    }
}

/// Ranges that pieces are dealt out to at most; more lanes share them.
const RANGES: usize = 16;

/// A counter with a cache line of its own.
#[repr(align(64))]
struct Line(AtomicUsize);

/// A pointer that pieces of a step write through, each to places of its own.
#[derive(Clone, Copy)]
pub struct Shared(*mut f32);

// SAFETY: a plain address; whoever writes through it answers for the places being apart.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new(memory: &mut [f32]) -> Self {
        Self(memory.as_mut_ptr())
    }

    /// # Safety
    /// `offset` is inside the memory this was made of, or one past its end.
    pub unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

/// Lanes that are new threads each time, for tests.
#[cfg(test)]
pub struct Threads(pub usize);

#[cfg(test)]
impl Parallel for Threads {
    fn lanes(&self) -> usize {
        self.0
    }

    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        if cfg!(target_family = "wasm") {
            // There are none.
            return (0..self.0).for_each(body);
        }
        std::thread::scope(|scope| {
            for lane in 0..self.0 {
                scope.spawn(move || body(lane));
            }
        });
    }
}

/// Calls `test` with every instruction set, with one lane and with three, each with `scratch` floats.
#[cfg(test)]
pub fn all_workers(scratch: usize, mut test: impl FnMut(&mut Workers<'_>)) {
    for isa in Isa::available() {
        for lanes in [1, 3] {
            let mut memory = vec![f32::NAN; (scratch + LINE) * lanes];
            test(&mut Workers::new(isa, &Threads(lanes), &mut memory));
        }
    }
}

/// Whether a test has time for a case of so many operations: Miri takes some thousand times as long as a processor.
#[cfg(test)]
pub fn in_time(operations: usize) -> bool {
    !cfg!(miri) || operations <= 1500
}

/// Repeatable numbers in -1..1, for tests.
#[cfg(test)]
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
