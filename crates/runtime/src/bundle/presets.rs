//! Presets: schedules and guidance scales that a bundle knows by a name. And the numbers that suit a device.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Bundle;
use super::manifest::Manifest;
use crate::error::{Context, invalid_argument, invalid_bundle};
use crate::precision::Precision;
use crate::{Result, Schedule};

/// The first format, and the one that brought `sampling.precision`.
const OLDEST: &str = "1.0";
const WITH_MEASURED: &str = "1.1";

/// A schedule and the guidance scale that goes with it.
///
/// What `sampling.presets` of `bundle.json` says, ready to use; see [`Bundle::presets`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Preset {
    /// The steps.
    pub schedule: Schedule,
    /// Scale of classifier-free guidance, finite and at least 0; 1 is none.
    pub guidance: f32,
}

impl Preset {
    /// A preset of these two.
    pub fn new(schedule: Schedule, guidance: f32) -> Self {
        Self { schedule, guidance }
    }
}

/// The manifest's presets, parsed.
pub(super) fn parse(manifest: &Manifest) -> Result<BTreeMap<String, Preset>> {
    let parsed = |(name, preset): (&String, &super::manifest::Preset)| {
        let schedule = preset.schedule.parse().at(|| format!("sampling.presets.{name}.schedule"))?;
        let guidance = preset.guidance.unwrap_or(manifest.sampling.guidance);
        Ok((name.clone(), Preset::new(schedule, guidance)))
    };
    manifest.sampling.presets.iter().map(parsed).collect()
}

impl Bundle {
    /// The presets by name, in the names' order; those that `flowturbo tune` finds are `fast`, `balanced` and `best`.
    pub fn presets(&self) -> &BTreeMap<String, Preset> {
        &self.presets
    }

    /// The preset called `name`; upper and lower case are not the same.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) lists the presets that the bundle has.
    pub fn preset(&self, name: &str) -> Result<&Preset> {
        self.presets.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.presets.keys().map(String::as_str).collect();
            let none = || "none; 'flowturbo tune --write' finds some".to_owned();
            let known = if known.is_empty() { none() } else { known.join(", ") };
            let (name, bundle) = (name.escape_debug(), &self.manifest.name);
            invalid_argument(format!("no preset '{name}'; bundle '{bundle}' has {known}"))
        })
    }

    /// This bundle with `presets` in place of all that it had: the same files under another manifest, whose text is
    /// [`json`](Self::json), laid out anew. Nothing is written; all other fields stay, those of newer versions too.
    ///
    /// ```
    /// # use flowturbo_runtime::{Bundle, Preset, Error};
    /// # std::env::set_current_dir("../..").unwrap();
    /// let bundle = Bundle::open("tests/data/tiny-sit/bundle")?;
    /// let fast = Preset::new("H1P2R2".parse()?, 1.5);
    /// let tuned = bundle.with_presets(&[("fast".to_owned(), fast)].into())?;
    /// assert_eq!(tuned.preset("fast")?.guidance, 1.5);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidBundle`](crate::ErrorKind::InvalidBundle) and [`LimitExceeded`](crate::ErrorKind::LimitExceeded) as
    /// [`open_with`](Self::open_with): a name that is not 1 to 64 of `A-Z a-z 0-9 . _ -`, refiner steps without a
    /// refiner, a guidance that is no number from 0 on, more steps than the limits allow.
    pub fn with_presets(&self, presets: &BTreeMap<String, Preset>) -> Result<Self> {
        let written = |(name, preset): (&String, &Preset)| {
            let Preset { schedule, guidance } = preset;
            (name.clone(), json!({"schedule": schedule.to_string(), "guidance": shortest(*guidance)}))
        };
        // The manifest was read before: it is an object, and so is this field.
        self.with(|manifest| manifest["sampling"]["presets"] = presets.iter().map(written).collect())
    }

    /// The numbers to compute in that `flowturbo tune` stored, if it did: what [`Precision::Auto`] takes.
    pub fn measured(&self) -> Option<Precision> {
        self.manifest.sampling.precision.as_ref()?.numbers.parse().ok()
    }

    /// This bundle with `measured` as the numbers that [`Precision::Auto`] takes: `device` says on what they were
    /// measured, `speedup` how many times as fast as `f32` they were, `error` how far latents were from its. The bundle
    /// becomes one of format 1.1. Nothing is written; see [`with_presets`](Self::with_presets).
    ///
    /// # Errors
    /// As [`with_presets`](Self::with_presets): a device that is no line of text, numbers out of range, or
    /// [`Precision::Auto`] itself.
    pub fn with_measured(&self, measured: Precision, device: &str, speedup: f32, error: f32) -> Result<Self> {
        let numbers = measured.to_string();
        self.with(|manifest| {
            if self.manifest.format_version == OLDEST {
                manifest["format_version"] = json!(WITH_MEASURED);
            }
            manifest["sampling"]["precision"] = json!({
                "numbers": numbers, "device": device, "speedup": shortest(speedup), "error": shortest(error),
            });
        })
    }

    /// This bundle under a manifest that `change` has changed.
    fn with(&self, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let json = self.text_with(change).at(|| super::MANIFEST.into());
        json.and_then(|json| Self::read(self.source.clone(), self.plan.clone(), json, &self.limits))
            .at(|| self.source.describe())
    }

    /// The changed manifest, a field a line.
    fn text_with(&self, change: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
        let unreadable = |error: serde_json::Error| invalid_bundle(error.to_string());
        let mut manifest: Value = serde_json::from_slice(&self.json).map_err(unreadable)?;
        change(&mut manifest);
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(unreadable)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// The number whose decimal digits are those of `value`: 0.1, not 0.10000000149. What is no number becomes null.
fn shortest(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
