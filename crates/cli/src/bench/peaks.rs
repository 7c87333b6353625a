//! `flowturbo bench --peaks`: what this machine does at most, beside which times are read.

use std::fmt::Write;

use flowturbo::Peaks;
use serde_json::{Map, json};

use crate::failure::Failure;
use crate::{machine, units};

/// Measures one thread and `threads` of them (0: all), as JSON or for people.
pub fn report(threads: usize, as_json: bool) -> Result<String, Failure> {
    let mut all = vec![Peaks::measure(1)?];
    if threads != 1 {
        all.push(Peaks::measure(threads)?);
    }
    all.dedup_by_key(|peaks| peaks.threads);
    let isa = all.first().map(|peaks| peaks.isa.as_str()).unwrap_or_default();
    if as_json {
        let by_threads = |value: fn(&Peaks) -> f64| -> Map<_, _> {
            all.iter().map(|peaks| (peaks.threads.to_string(), json!(value(peaks)))).collect()
        };
        let report = json!({
            "isa": isa,
            "fma_gflops": by_threads(|peaks| peaks.fma_gflops),
            "read_gbytes": by_threads(|peaks| peaks.read_gbytes),
        });
        return Ok(format!("{report:#}\n"));
    }
    let mut text = format!("{}, {isa}\n\n", machine::processor());
    for Peaks { threads, fma_gflops, read_gbytes, .. } in &all {
        let threads = units::plural(*threads, "thread");
        let _ = writeln!(text, "{threads:10} {fma_gflops:8.1} GFLOP/s of FMA {read_gbytes:8.1} GB/s read");
    }
    Ok(text)
}
