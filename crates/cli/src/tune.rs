//! `flowturbo tune`: the schedules that suit this device.
//!
//! ```text
//! parts (step times) ─▶ candidates (what fits) ─▶ search (race on images, clock) ─▶ report, store
//!                                                    └─▶ device: the session that tries them
//! ```

mod candidates;
mod clock;
mod device;
mod numbers;
mod parts;
mod report;
mod search;
mod store;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use flowturbo::{Bundle, Manifest, Precision, Preset, Schedule};

use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::options::{self, Backend, Computing, Keeping, ModelArgument};
use crate::output::{Output, tell};
use crate::units;
use device::Device;
use parts::Parts;
use report::{Found, Report};
use search::{Lab, measure, search, work};
use store::Store;

/// What is looked for: names, and their parts of the budget.
const PRESETS: [(&str, u32); 3] = [("best", 1), ("balanced", 2), ("fast", 3)];

/// Without a budget, `best` may take this many times what the bundle's own schedule takes.
const TIMES_OWN: u32 = 2;

/// Classes that are looked at unless they are named.
const MOST_CLASSES: u32 = 16;

/// Finds the schedules that come closest to the exact flow in the time that an image may take here
///
/// `best` is the closest schedule whose image, decoder included, takes at most the budget on this
/// device; `balanced` the closest in half of it, `fast` in a third. Without a budget, it is twice what
/// the bundle's own schedule takes. --write or -o stores the three as presets, for
/// `flowturbo generate --preset fast`. A preset that is there gives way to a schedule that comes closer; to
/// one that does not, only if it is too slow for the --budget and the machine kept its pace meanwhile.
///
/// How: the steps and the decoder are timed; schedules of Euler, Heun, and H..P..R steps that fill the
/// time by these numbers are compared on a few images of each class, the better ones on more; the
/// last few are timed as they are. A schedule's distance is how far its latents end from those of the
/// reference, many Heun steps from the same noise: the root mean square over a latent's numbers,
/// which vary by about 1. It stands in for what eyes or a Fréchet distance would say. About a minute for the
/// bundled model; let nothing else run meanwhile.
///
/// At the end the bundle's own schedule is timed in every precision that the processor has: the fastest whose
/// latents stay within --most-error of f32's is stored, too, for --precision auto.
///
/// Example: flowturbo tune models/textures --budget 80ms
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Tune {
    #[command(flatten)]
    model: ModelArgument,
    /// What an image may take: 80ms, 0.5s [default: twice what the bundle's own schedule takes]
    #[arg(long, value_name = "TIME", value_parser = units::parse_time, allow_hyphen_values = true)]
    budget: Option<Duration>,
    /// Look for the schedule of the whole budget alone, and call it NAME
    #[arg(long, value_name = "NAME", requires = "budget")]
    name: Option<String>,
    /// Classes to compare schedules on [default: all, or 16 of them]
    #[arg(short, long, value_name = "CLASS,...", visible_alias = "classes", allow_negative_numbers = true)]
    class: Vec<String>,
    /// Images of each class
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, 1000>)]
    samples: u32,
    /// Seed of the images' noise
    #[arg(long, default_value_t = 0, allow_negative_numbers = true,
          value_parser = options::whole::<u64, 0, { u64::MAX }>)]
    seed: u64,
    /// Scale of classifier-free guidance, also that of the presets; 1 is none and takes half the time
    /// [default: the bundle's]
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true, value_parser = options::number)]
    guidance: Option<f32>,
    /// The schedule that stands for the exact flow; nothing that takes more than half its time is looked at
    #[arg(long, value_name = "STEPS", default_value = "H50")]
    reference: String,
    /// How far latents may be from those of f32 in the numbers that --precision auto takes, as root mean square
    #[arg(long, value_name = "ERROR", default_value_t = numbers::MOST_ERROR, value_parser = options::number)]
    most_error: f32,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    keeping: Keeping,
    /// Store the presets and the precision in the bundle, a folder; other presets stay
    #[arg(long, conflicts_with = "output")]
    write: bool,
    /// Store the bundle with the presets as a new zip file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON, times in seconds, and no progress
    #[arg(long)]
    json: bool,
}

impl Tune {
    pub fn run(&self) -> Result<(), Failure> {
        let (started, path) = (Instant::now(), self.model.find()?);
        let bundle = Bundle::open(&path)?;
        if self.write || self.output.is_some() {
            // A plan keeps what it was compiled with.
            bundle.check_onnx()?;
        }
        let store = match &self.output {
            Some(output) => Some(Store::zip(output)?),
            None => self.write.then(|| Store::in_place(&path)).transpose()?,
        };
        let out = store.as_ref().map(Store::output);
        let (manifest, reference) = (bundle.manifest(), self.reference.parse::<Schedule>()?);
        let own: Schedule = manifest.sampling.schedule.parse()?;
        let guidance = self.guidance.unwrap_or(manifest.sampling.guidance);
        if let Some(name) = &self.name {
            // Whether a preset can be called that is known before the work.
            bundle.with_presets(&[(name.clone(), Preset::new(own.clone(), guidance))].into())?;
        }
        let classes = self.classes(manifest)?;
        let all =
            options::request(&classes, 1, &bundle, (reference.clone(), guidance), &Contexts::default())?
                .with_seed(self.seed);
        let mut one = all.clone();
        one.classes.truncate(1);
        let model = self.computing.load(bundle, 1, &self.keeping)?;

        let mut session = model.session();
        let parts = Parts::measure(&mut session, &one)?;
        self.say(out, || parts.text())?;
        let mut device = Device::new(&mut session, &all, self.samples as usize, &own)?;
        self.budget.map_or(Ok(()), |budget| refuse_the_impossible(budget, &parts, &mut device))?;
        let images = device.images();
        self.say(out, || {
            let takes = units::time(parts.sampling(&reference) * images as u32);
            format!("reference   {reference} of {}: {takes}\n", units::plural(images, "image"))
        })?;
        device.refer_to(&reference)?;
        let own = measure(&mut device, &own)?;
        let parts = parts.corrected(&own.schedule, own.time);
        let budget = self.budget.unwrap_or(own.time * TIMES_OWN);
        let furthest = parts.rest + parts.sampling(&reference) / 2;
        let (mut found, most_steps) = (Vec::new(), model.bundle().limits().max_steps as usize);
        for (name, part) in self.wanted() {
            let budget = budget / part;
            let mut candidates = candidates::within(budget.min(furthest), &parts)?;
            candidates.retain(|schedule| schedule.steps().len() <= most_steps);
            self.say(out, || {
                let sampling: Duration = candidates.iter().map(|schedule| parts.sampling(schedule)).sum();
                let takes = sampling * work(candidates.len(), images) as u32 / candidates.len().max(1) as u32;
                let schedules = units::plural(candidates.len(), "schedule");
                let limit = if budget > furthest { ", half the reference" } else { "" };
                let (within, takes) = (units::time(budget.min(furthest)), units::time(takes));
                format!("{name:11} {schedules} within {within}{limit}: {takes}\n")
            })?;
            let today = model.bundle().presets().get(name).map(|preset| &preset.schedule);
            let outcome = search(&mut device, &own, candidates, today, budget)?;
            found.push(Found { name, budget, outcome, stays: None });
        }
        let pace = device.pace();
        if let Some(Found { outcome, .. }) = found.first().filter(|found| found.outcome.best.is_none()) {
            return Err(Failure::Usage(too_short(budget, outcome.quickest())));
        }
        // Whoever names numbers or plain tract, or brings a plan that is packed, has chosen. What is stored is for
        // processors.
        let on_cpu = model.device() == flowturbo::Device::Cpu;
        let open = on_cpu
            && self.computing.numbers.precision == Precision::F32
            && model.precision() == Precision::F32;
        let open = open && self.name.is_none() && self.computing.backend == Backend::Fused;
        let numbers = if open { numbers::measure(self, &model, &all)? } else { Vec::new() };
        let precision = numbers::best(&numbers, self.most_error);
        if let Some(store) = &store {
            let mut presets = model.bundle().presets().clone();
            for Found { name, outcome, stays, .. } in &mut found {
                let today = presets.get(*name).map(|preset| preset.schedule.clone());
                let best = match &today {
                    Some(today) => outcome.instead_of(today, self.budget.is_some(), pace.steady).map(Some),
                    None => Ok(outcome.best.as_ref()),
                };
                match best {
                    Ok(Some(best)) => {
                        presets.insert((*name).to_owned(), Preset::new(best.schedule.clone(), guidance));
                    }
                    Ok(None) => {}
                    Err(why) => *stays = today.map(|today| (today, why)),
                }
            }
            let mut bundle = model.bundle().with_presets(&presets)?;
            if let Some(it) = precision {
                let [speedup, error] = [it.speedup, it.error].map(numbers::shortened);
                bundle = bundle.with_measured(it.precision, &numbers::device(&model), speedup, error)?;
            }
            store.save(&bundle)?;
        }
        let (request, took, written) =
            (&all, started.elapsed(), store.as_ref().map(|store| store.output().path()));
        let report =
            Report { tune: self, model: &model, request, parts, own, pace, found, numbers, took, written };
        let text = if self.json { format!("{:#}\n", report.json()) } else { report.text() };
        tell(out, &text)
    }

    /// The names of the presets, and their parts of the budget.
    fn wanted(&self) -> Vec<(&str, u32)> {
        self.name.as_ref().map_or(PRESETS.to_vec(), |name| vec![(name, 1)])
    }

    /// Those named, or as many as there are, evenly chosen.
    fn classes(&self, manifest: &Manifest) -> Result<Vec<i64>, Failure> {
        if !self.class.is_empty() {
            return options::classes(&self.class, manifest);
        }
        let (count, most) = (manifest.classes.count, manifest.classes.count.min(MOST_CLASSES));
        Ok((0..most).map(|i| i64::from(i) * i64::from(count) / i64::from(most)).collect())
    }

    /// Tells people what goes on; programs read only the end.
    fn say(&self, stored: Option<&Output>, line: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { Ok(()) } else { tell(stored, &line()) }
    }
}

/// Ends early where not even one Euler step fits.
fn refuse_the_impossible(budget: Duration, parts: &Parts, device: &mut Device) -> Result<(), Failure> {
    let least: Schedule = "E1".parse()?;
    if parts.whole(&least) <= budget {
        return Ok(());
    }
    match device.time(std::slice::from_ref(&least))?.first() {
        Some(&time) if time > budget => Err(Failure::Usage(too_short(budget, Some((&least, time))))),
        _ => Ok(()),
    }
}

/// What to say of a budget that nothing fits, not even the quickest schedule.
fn too_short(budget: Duration, quickest: Option<(&Schedule, Duration)>) -> String {
    let budget = units::time(budget);
    let takes = quickest.map(|(schedule, time)| format!("; {schedule} takes {}", units::time(time)));
    format!("no schedule makes an image in {budget} on this device{}", takes.unwrap_or_default())
}
