//! `flowturbo inspect`: what a bundle is and what it costs.

mod network;
mod text;

use std::time::{Duration, Instant};

use clap::Args;
use flowturbo::manifest::{Direction, NoPrompt};
use flowturbo::{Model, ModelOptions, Preset, Role, Schedule};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, print};
use crate::machine;
use crate::options::{self, ModelArgument, Numbers};
use crate::units::decimal;
use network::Network;

/// Describes a bundle: sizes, classes, networks, and the cost of a generation
///
/// Plans every network that generates and reads the encoder, so a damaged bundle is found. Operations
/// count a fused multiply-add as two; activation functions are not counted.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelArgument,
    /// Images in one generation, for shapes and costs
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, { u32::MAX as u64 }>)]
    batch: u32,
    #[command(flatten)]
    numbers: Numbers,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the steps of each network instead: kernel, operations, memory, node
    #[arg(long, conflicts_with = "json")]
    plan: bool,
}

impl Inspect {
    pub fn run(&self) -> Result<(), Failure> {
        if self.plan {
            return self.plans();
        }
        let bundle = self.model.open()?;
        let images = self.batch as usize;
        options::check_batch(images, &bundle)?;
        let schedule = bundle.manifest().sampling.schedule.parse()?;
        let started = Instant::now();
        let model = Model::load(bundle, &self.options())?;
        let (load, memory) = (started.elapsed(), machine::peak_memory());
        let roles = Role::ALL.iter().copied().filter(|&role| model.manifest().has(role));
        let networks = roles.map(|role| Network::new(&model, role, images)).collect::<Result<_, _>>()?;
        let report = Report { model: &model, images, schedule, networks, load, memory };
        print(&if self.json { format!("{:#}\n", report.json()) } else { report.text() })
    }

    fn options(&self) -> ModelOptions {
        self.numbers.apply(ModelOptions::default())
    }

    fn plans(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        let images = self.batch as usize;
        options::check_batch(images, &bundle)?;
        let model = Model::load(bundle, &self.options())?;
        for role in Role::ALL.iter().copied().filter(|&role| model.manifest().has(role)) {
            let batch = network::batch(model.manifest(), role, images).0;
            print(&format!("{role}, batch {batch}: {}\n", model.plan(role, batch)?))?;
        }
        Ok(())
    }
}

/// Everything that is told.
struct Report<'a> {
    model: &'a Model,
    images: usize,
    /// The bundle's own.
    schedule: Schedule,
    networks: Vec<Network>,
    load: Duration,
    /// The process's peak once loaded.
    memory: Option<u64>,
}

impl Report<'_> {
    /// Calls of each network in one generation with the bundle's own schedule.
    fn calls(&self, role: Role) -> u64 {
        let calls = match role {
            Role::Predictor => self.schedule.predictor_calls(),
            Role::Refiner => self.schedule.refiner_calls(),
            // The decoder takes one image at a time.
            Role::Decoder => self.images,
            _ => 0,
        };
        calls as u64
    }

    /// Operations of one generation.
    fn flops(&self) -> u64 {
        self.networks.iter().map(|network| self.calls(network.role) * network.cost.flops).sum()
    }

    /// The names of the maps that the decoder makes, or of those that are packed of them.
    fn maps(&self, packed: bool) -> Vec<&'static str> {
        let made = self.model.manifest().maps();
        let mut maps = if packed { flowturbo::Map::ALL.to_vec() } else { made.to_vec() };
        maps.retain(|map| map.is_packed() == packed && map.is_made_of(made));
        maps.iter().map(|map| map.name()).collect()
    }

    fn json(&self) -> Value {
        let (bundle, manifest) = (self.model.bundle(), self.model.manifest());
        let (latent, classes, time) = (&manifest.latent, &manifest.classes, &manifest.time);
        let sampling = &manifest.sampling;
        let presets: Map<String, Value> = bundle
            .presets()
            .iter()
            .map(|(name, Preset { schedule, guidance, .. })| {
                let preset = json!({ "schedule": schedule.to_string(), "guidance": decimal(*guidance) });
                (name.clone(), preset)
            })
            .collect();
        let precision = sampling.precision.as_ref().map(|measured| {
            let [speedup, error] = [measured.speedup, measured.error].map(decimal);
            json!({ "numbers": measured.numbers, "device": measured.device, "speedup": speedup, "error": error })
        });
        let networks: Map<String, Value> =
            self.networks.iter().map(|network| (network.role.to_string(), network.json())).collect();
        let calls: Map<String, Value> = self
            .networks
            .iter()
            .map(|network| (network.role.to_string(), json!(self.calls(network.role))))
            .collect();
        json!({
            "name": manifest.name,
            "description": manifest.description,
            "license": manifest.license,
            "hash": bundle.hash(),
            "target": bundle.target().map(|target| target.to_string()),
            "format_version": manifest.format_version,
            "latent": {
                "channels": latent.channels, "height": latent.height, "width": latent.width,
                "scale": decimal(latent.scale), "shift": decimal(latent.shift),
            },
            "image": manifest.image.as_ref().map(|image| json!({
                "height": image.height, "width": image.width, "maps": self.maps(false), "packed_maps": self.maps(true),
            })),
            "classes": { "count": classes.count, "null": classes.null, "labels": classes.labels },
            "context": manifest.text.as_ref().map(|text| json!({
                "width": text.width, "tokens": text.tokens, "no_prompt": no_prompt(text.no_prompt),
            })),
            "prompt": manifest.text.as_ref().and_then(|text| {
                let tokenizer = text.tokenizer.as_ref()?;
                Some(json!({ "max_tokens": text.max_tokens, "tokenizer": tokenizer.file }))
            }),
            "time": {
                "direction": direction(time.direction),
                "scale": decimal(time.scale), "velocity_sign": time.velocity_sign,
            },
            "guided_channels": manifest.guided_channels(),
            "refiner_guided": manifest.refiner_guided(),
            "sampling": {
                "schedule": sampling.schedule, "guidance": decimal(sampling.guidance), "presets": presets,
                "precision": precision,
            },
            "networks": networks,
            "generation": {
                "images": self.images,
                "schedule": self.schedule.to_string(),
                "guidance": decimal(sampling.guidance),
                "calls": calls,
                "flops": self.flops(),
            },
            "load_seconds": self.load.as_secs_f64(),
            "peak_memory_bytes": self.memory,
        })
    }
}

/// As `bundle.json` writes it.
fn no_prompt(no_prompt: NoPrompt) -> &'static str {
    match no_prompt {
        NoPrompt::Zeros => "zeros",
        _ => "empty",
    }
}

/// As `bundle.json` writes it.
fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::NoiseToData => "noise_to_data",
        Direction::DataToNoise => "data_to_noise",
    }
}
