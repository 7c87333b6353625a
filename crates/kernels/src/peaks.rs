//! What the processor and the memory can do at most, measured: the limits that times are held against.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Isa, Kernel, Parallel, Pool, Simd};
use crate::error::runtime;
use crate::lock::lock;

/// What this machine does at most with so many threads, measured with the instruction set that networks
/// run on here.
///
/// A time of a network is worth as much as its distance from these: the graph's operations
/// (`Cost`) over the time is at most `fma_gflops`, its weights over the time at most
/// `read_gbytes` if no cache holds them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Peaks {
    /// Threads that computed at the same time.
    pub threads: usize,
    /// The instruction set: `AVX-512`, `AVX2`, `NEON` or `scalar`.
    pub isa: String,
    /// Fused multiply-adds of `f32` between registers, counted as two operations, in 10^9 a second.
    pub fma_gflops: f64,
    /// Reading memory far larger than the caches, one part a thread, in 10^9 bytes a second.
    pub read_gbytes: f64,
}

impl Peaks {
    /// Measures for about a second, in memory of a quarter of a gigabyte or four times the caches. 0 threads,
    /// and more than there are processors, are one for each processor that this process may use.
    ///
    /// It takes the best of many short rounds; other processes' work still lowers the result.
    ///
    /// # Errors
    /// [`Runtime`](crate::ErrorKind::Runtime): the system gives no thread.
    pub fn measure(threads: usize) -> crate::Result<Self> {
        let threads = if threads == 0 { processors() } else { threads.min(processors()) };
        let isa = Isa::available()[0];
        Ok(Self {
            threads,
            isa: isa.to_string(),
            fma_gflops: fma(isa, threads)? / 1e9,
            read_gbytes: read(isa, threads)? / 1e9,
        })
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds that the work between registers takes at least, to count for more than the waking of threads; short
/// enough to be left alone by other processes now and then.
const ROUND: f64 = 1e-3;
/// How often threads are made, and seconds and rounds at least that they work.
const POOLS: usize = 8;
const SECONDS: f64 = 0.06;
const ROUNDS: usize = 3;

fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// Seconds of the fastest of many rounds in each of which all threads did `work`.
fn fastest(threads: usize, work: impl Fn(usize) + Sync) -> crate::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..POOLS {
        // A busy system may put two threads on one processor and leave them there; new ones are put anew.
        let pool = Pool::new(threads).map_err(|e| runtime(format!("cannot start {threads} threads: {e}")))?;
        let (started, mut rounds) = (Instant::now(), 0);
        while rounds < ROUNDS || started.elapsed().as_secs_f64() < SECONDS {
            // The pool waits for nobody, so here each thread waits until all have come.
            let came = AtomicUsize::new(0);
            let round = seconds(|| {
                pool.run(&|lane| {
                    came.fetch_add(1, Ordering::Relaxed);
                    while came.load(Ordering::Relaxed) < threads {
                        std::thread::yield_now();
                    }
                    work(lane);
                });
            });
            best = best.min(round);
            rounds += 1;
        }
    }
    Ok(best)
}

/// Operations in a second.
fn fma(isa: Isa, threads: usize) -> crate::Result<f64> {
    let work = |steps: usize| {
        black_box(isa.run(Fma { steps }));
    };
    // On this thread alone: others that wake up late must not make the rounds short.
    let mut steps = 1 << 10;
    while (0..5).map(|_| seconds(|| work(steps))).fold(f64::INFINITY, f64::min) < ROUND {
        steps *= 2;
    }
    let operations = isa.run(Fma { steps: 0 }).0 * steps * threads;
    Ok(operations as f64 / fastest(threads, |_| work(steps))?)
}

/// Chains of multiply-adds, as many as keep every unit busy. Gives the operations of a step, and a sum
/// that makes the work count.
struct Fma {
    steps: usize,
}

impl Kernel for Fma {
    type Output = (usize, f32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (usize, f32) {
        // They leave two registers for the factors.
        if S::REGISTERS >= 32 { chains::<S, 24>(simd, self.steps) } else { chains::<S, 12>(simd, self.steps) }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(simd: S, steps: usize) -> (usize, f32) {
    // Towards 2, so that no number leaves the range in which all are equally fast; the compiler is not to
    // know that all are the same, or it would make them one.
    let (factor, add) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
    let mut sums = black_box([simd.splat(0.0); N]);
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = simd.fma(*sum, factor, add);
        }
    }
    // Together first: some sets can take the lanes of half of their registers only.
    let mut total = simd.splat(0.0);
    for sum in sums {
        total = simd.add(total, sum);
    }
    (2 * N * S::LANES, simd.sum(total))
}

/// Bytes in a second.
fn read(isa: Isa, threads: usize) -> crate::Result<f64> {
    let floats = (4 * caches()).max(256 << 20) / size_of::<f32>();
    let each = (floats / threads).next_multiple_of(LINES);
    let parts: Vec<Mutex<Vec<f32>>> = (0..threads).map(|_| Mutex::default()).collect();
    let seconds = fastest(threads, |lane| {
        let mut part = lock(&parts[lane]);
        // In the first round; a thread's own part lies in the memory next to it.
        part.resize(each, 1.0);
        black_box(isa.run(Read(&part)));
    })?;
    Ok((each * threads * size_of::<f32>()) as f64 / seconds)
}

/// Floats that [`Read`] takes at once.
const LINES: usize = 128;

/// Loads all there is, whole [`LINES`] of it. Gives the sum, for which it has to.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        // SAFETY: a chunk has `LINES` floats, which are whole eighths of vectors of any set.
        unsafe {
            let mut sums = [simd.splat(0.0); 8];
            for chunk in self.0.chunks_exact(LINES) {
                for at in (0..LINES).step_by(8 * S::LANES) {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.add(*sum, simd.load(chunk.as_ptr().add(at + i * S::LANES)));
                    }
                }
            }
            sums.into_iter().fold(0.0, |total, sum| total + simd.sum(sum))
        }
    }
}

/// Bytes of all last-level caches, where the system tells (Linux); else 0.
fn caches() -> usize {
    // Processors that share a cache name the same list of sharers.
    let mut found = BTreeMap::new();
    for processor in 0..processors() {
        let folder = format!("/sys/devices/system/cpu/cpu{processor}/cache/index3");
        let file = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).ok();
        let (Some(sharers), Some(size)) = (file("shared_cpu_list"), file("size")) else { continue };
        let kibibytes = size.trim().strip_suffix('K').and_then(|size| size.parse::<usize>().ok());
        found.insert(sharers, kibibytes.unwrap_or(0) << 10);
    }
    found.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_count_the_operations_of_all_lanes() {
        for isa in Isa::available() {
            let (operations, sum) = isa.run(Fma { steps: 100 });
            // Each of the numbers has come to 2, and takes part in two operations a step.
            assert!((sum - operations as f32).abs() < 1e-3 * sum, "{isa}: {operations} {sum}");
        }
    }

    #[test]
    fn reading_reads_everything_once() {
        let memory: Vec<f32> = (0..5 * LINES).map(|i| (i % 7) as f32).collect();
        for isa in Isa::available() {
            assert_eq!(isa.run(Read(&memory)), memory.iter().sum::<f32>(), "{isa}");
        }
    }

    #[test]
    fn peaks_are_numbers_above_0_with_no_more_threads_than_processors() {
        let peaks = Peaks::measure(usize::MAX).unwrap();
        assert_eq!(peaks, Peaks { threads: processors(), isa: Isa::available()[0].to_string(), ..peaks });
        for value in [peaks.fma_gflops, peaks.read_gbytes] {
            assert!(value.is_finite() && value > 0.0, "{peaks:?}");
        }
    }
}
