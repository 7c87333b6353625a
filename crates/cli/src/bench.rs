//! `flowturbo bench`: how long this engine takes on this machine, and what the machine can do at most.

mod peaks;

use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::Args;
use flowturbo::{Model, Request};
use serde_json::{Value, json};

use crate::contexts::Contexts;
use crate::failure::{Failure, print};
use crate::options::{self, Computing, Keeping, ModelArgument, Sampling};
use crate::times::{self, Spread, Times};
use crate::{machine, units};

/// Measures generation on this machine: each kind of step, sampling, decoding, the whole
///
/// These are absolute times of this engine on this machine as it is now. They say nothing of how
/// other engines would do; a comparison needs both measured in the same run. How far they are from
/// what the machine can do, --peaks helps to tell.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArgument,
    #[command(flatten)]
    sampling: Sampling,
    /// Images in one generation, of the classes in turn
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, { u32::MAX as u64 }>)]
    batch: u32,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    keeping: Keeping,
    /// Generations measured
    #[arg(long, value_name = "N", default_value_t = 5, allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, { u32::MAX as u64 }>)]
    runs: u32,
    /// Generations before the measured ones
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = options::whole::<u32, 0, { u32::MAX as u64 }>)]
    warmup: u32,
    /// Measure the machine instead: fused multiply-adds and memory reads a second, by one thread and all
    #[arg(long, conflicts_with_all = ["positional", "model", "Sampling", "batch", "runs", "warmup"])]
    peaks: bool,
    /// Print JSON, times in seconds
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub fn run(&self) -> Result<(), Failure> {
        if self.peaks {
            return print(&peaks::report(self.computing.threads, self.json)?);
        }
        let started = Instant::now();
        let bundle = self.model.open()?;
        let sampling = self.sampling.resolve(&bundle)?;
        let mut request =
            options::request(&[0], self.batch as usize, &bundle, sampling, &Contexts::default())?;
        let turns = (0..i64::from(bundle.manifest().classes.count)).cycle();
        request.classes.iter_mut().zip(turns).for_each(|(class, turn)| *class = turn);
        let model = self.computing.load(bundle, request.images(), &self.keeping)?;
        let load = started.elapsed();
        let mut session = model.session();
        let started = Instant::now();
        session.prepare(&request, times::output(&model))?;
        let prepare = started.elapsed();
        for _ in 0..self.warmup {
            Times::default().measure(&mut session, &request)?;
        }
        let mut times = Times::default();
        for _ in 0..self.runs {
            times.measure(&mut session, &request)?;
        }
        let report = Report { bench: self, model: &model, request: &request, load, prepare, times };
        print(&if self.json { format!("{:#}\n", report.json()) } else { report.text() })
    }
}

struct Report<'a> {
    bench: &'a Bench,
    model: &'a Model,
    request: &'a Request,
    load: Duration,
    prepare: Duration,
    times: Times,
}

impl Report<'_> {
    /// The measured quantities, under the names that both forms use.
    fn spreads(&self) -> Vec<(String, Spread)> {
        let steps = self.times.steps.by_kind();
        let steps = steps.iter().map(|(kind, times)| (format!("step {}", kind.letter()), times));
        let rest = [("sample", &self.times.sampling), ("decode", &self.times.decoding)];
        let rest = rest.into_iter().chain([("whole", &self.times.whole)]);
        let all = steps.chain(rest.map(|(name, times)| (name.to_owned(), times)));
        all.filter_map(|(name, times)| Some((name, Spread::of(times)?))).collect()
    }

    fn json(&self) -> Value {
        let bundle = self.model.bundle();
        let times: serde_json::Map<String, Value> = self
            .spreads()
            .into_iter()
            .map(|(name, spread)| (name.replace(' ', "_"), spread.json()))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": { "processor": machine::processor(), "processors": machine::processors() },
            "model": { "name": bundle.manifest().name, "hash": bundle.hash() },
            "schedule": self.request.schedule.as_ref().map(ToString::to_string),
            "guidance": self.request.guidance.map(units::decimal),
            "batch": self.bench.batch,
            "threads": self.model.threads(),
            "backend": self.bench.computing.backend.name(),
            "precision": self.model.precision().to_string(),
            "device": self.model.device().to_string(),
            "runs": self.bench.runs,
            "warmup": self.bench.warmup,
            "load": self.load.as_secs_f64(),
            "prepare": self.prepare.as_secs_f64(),
            "times": times,
            "peak_memory_bytes": machine::peak_memory(),
        })
    }

    fn text(&self) -> String {
        let (mut text, bundle) = (String::new(), self.model.bundle());
        let schedule = self.request.schedule.as_ref().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            text,
            "flowturbo {} on {}, {} of {}, {} backend, {}, {}\n{} ({:.12}), {schedule}, guidance {}, {}; {} after {}\n",
            env!("CARGO_PKG_VERSION"),
            machine::processor(),
            units::plural(self.model.threads(), "thread"),
            units::plural(machine::processors(), "processor"),
            self.bench.computing.backend.name(),
            self.model.precision(),
            self.model.device(),
            bundle.manifest().name,
            bundle.hash(),
            self.request.guidance.unwrap_or_default(),
            units::plural(self.bench.batch as usize, "image"),
            units::plural(self.bench.runs as usize, "run"),
            units::plural(self.bench.warmup as usize, "warm-up"),
        );
        let _ = writeln!(text, "{:10} {:>10} {:>10} {:>10} {:>6}", "", "median", "min", "max", "count");
        for (name, Spread { median, min, max, count }) in self.spreads() {
            let [median, min, max] = [median, min, max].map(units::time);
            let _ = writeln!(text, "{name:10} {median:>10} {min:>10} {max:>10} {count:>6}");
        }
        let _ = writeln!(text, "{:10} {:>10}   once", "load", units::time(self.load));
        let _ = writeln!(text, "{:10} {:>10}   once", "prepare", units::time(self.prepare));
        if let Some(peak) = machine::peak_memory() {
            let _ = writeln!(text, "{:10} {:>10}   at the peak", "memory", units::bytes(peak));
        }
        text
    }
}
