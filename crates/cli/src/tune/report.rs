//! What was found, for people and for programs.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use flowturbo::{Model, Request, Schedule};
use serde_json::{Map, Value, json};

use super::clock::Pace;
use super::numbers::{self, Numbers};
use super::parts::Parts;
use super::search::{Measured, Outcome};
use super::{Tune, too_short};
use crate::options::class_name;
use crate::{machine, units};

/// A preset that was looked for.
pub struct Found<'a> {
    pub name: &'a str,
    /// An image may take this long.
    pub budget: Duration,
    pub outcome: Outcome,
    /// The schedule that the preset keeps, and why.
    pub stays: Option<(Schedule, &'static str)>,
}

pub struct Report<'a> {
    pub tune: &'a Tune,
    pub model: &'a Model,
    /// All classes, and the reference.
    pub request: &'a Request,
    pub parts: Parts,
    /// The bundle's own schedule.
    pub own: Measured,
    pub pace: Pace,
    pub found: Vec<Found<'a>>,
    /// None where they were not asked for.
    pub numbers: Vec<Numbers>,
    pub took: Duration,
    pub written: Option<&'a Path>,
}

impl Report<'_> {
    /// The table at the end.
    pub fn text(&self) -> String {
        let mut text =
            format!("\n{:10} {:12} {:>10} {:>10}   calls\n", "preset", "schedule", "image", "distance");
        let mut row = |name: &str, measured: &Measured| {
            let Measured { schedule, time, distance } = measured;
            let (predictor, refiner) = (schedule.predictor_calls(), schedule.refiner_calls());
            let (time, schedule) = (units::time(*time), schedule.to_string());
            let calls = format!("{predictor} of the predictor, {refiner} of the refiner");
            let _ = writeln!(text, "{name:10} {schedule:12} {time:>10} {distance:>10.3}   {calls}");
        };
        row("(own)", &self.own);
        for Found { name, outcome, .. } in &self.found {
            outcome.best.iter().for_each(|best| row(name, best));
        }
        for Found { name, budget, outcome, .. } in &self.found {
            if outcome.best.is_none() {
                let _ = writeln!(text, "{name:10} {}", too_short(*budget, outcome.quickest()));
            }
        }
        for Found { name, stays, .. } in &self.found {
            if let Some((schedule, why)) = stays {
                let _ = writeln!(text, "{name:10} stays {schedule}: {why}");
            }
        }
        let Pace { quick, slow, steady } = self.pace;
        if !steady {
            let [quick, slow] = [quick, slow].map(units::time);
            let _ = writeln!(
                text,
                "\nThe machine did not keep its pace: the same image took {quick}, then {slow}. Something else \
                 runs, or it is hot; tune again when it rests."
            );
        }
        if !self.numbers.is_empty() {
            text += &numbers::text(&self.numbers, numbers::best(&self.numbers, self.tune.most_error));
        }
        if let Some(path) = self.written {
            let _ = writeln!(text, "\n{}: written", path.display());
        }
        text
    }

    pub fn json(&self) -> Value {
        let (bundle, manifest) = (self.model.bundle(), self.model.manifest());
        let Parts { predictor, refiner, rest } = &self.parts;
        let classes: Vec<String> =
            self.request.classes.iter().map(|&class| class_name(class, manifest)).collect();
        let preset = |found: &Found| {
            let Outcome { best, tried } = &found.outcome;
            let mut value = best.as_ref().map_or_else(|| json!({ "schedule": null }), measured);
            value["budget"] = seconds(&found.budget);
            value["stays"] = json!(found.stays.as_ref().map(|(schedule, _)| schedule.to_string()));
            value["tried"] = tried.iter().map(measured).collect();
            (found.name.to_owned(), value)
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": { "processor": machine::processor(), "processors": machine::processors() },
            "model": { "name": manifest.name, "hash": bundle.hash() },
            "threads": self.model.threads(),
            "backend": self.tune.computing.backend.name(),
            "guidance": self.request.guidance.map(units::decimal),
            "classes": classes,
            "samples": self.tune.samples,
            "seed": self.tune.seed,
            "reference": self.request.schedule.as_ref().map(ToString::to_string),
            "parts": {
                "predictor_call": seconds(predictor),
                "refiner_call": refiner.as_ref().map(seconds),
                "rest": seconds(rest),
            },
            "own": measured(&self.own),
            "pace": {
                "steady": self.pace.steady,
                "quick": seconds(&self.pace.quick),
                "slow": seconds(&self.pace.slow),
            },
            "presets": self.found.iter().map(preset).collect::<Map<_, _>>(),
            "precision": numbers::json(&self.numbers, numbers::best(&self.numbers, self.tune.most_error)),
            "took": self.took.as_secs_f64(),
            "written": self.written.map(|path| path.display().to_string()),
        })
    }
}

fn measured(measured: &Measured) -> Value {
    let Measured { schedule, time, distance } = measured;
    json!({ "schedule": schedule.to_string(), "time": time.as_secs_f64(), "distance": distance })
}

fn seconds(time: &Duration) -> Value {
    json!(time.as_secs_f64())
}
