//! What both benchmarks share: short rounds, and the limits that their numbers are read beside.

use std::time::Duration;

use criterion::Criterion;
use flowturbo::Peaks;

/// Prints the machine's limits for `threads`, before the first number.
pub fn limits(threads: &[usize]) {
    for &threads in threads {
        let Peaks { threads, isa, fma_gflops, read_gbytes, .. } = Peaks::measure(threads).unwrap();
        println!(
            "limits, threads {threads}: {fma_gflops:.0} GFLOP/s of {isa} FMA, {read_gbytes:.1} GB/s read"
        );
    }
}

pub fn criterion() -> Criterion {
    let seconds = Duration::from_secs_f64;
    Criterion::default().sample_size(20).warm_up_time(seconds(0.3)).measurement_time(seconds(1.0))
}
