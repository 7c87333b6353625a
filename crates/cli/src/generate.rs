//! `flowturbo generate`: images from a class and a seed.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use flowturbo::png_file::{self, Note};
use flowturbo::{Device, Generation, Manifest, Model, Precision, Request};
use ndarray::Axis;

use crate::contexts::{self, Contexts};
use crate::editing::Editing;
use crate::failure::Failure;
use crate::maps::{Drawn, MapFiles, Maps};
use crate::options::{self, Computing, Keeping, ModelArgument, Sampling, class_name, plain_name};
use crate::output::{Output, tell};
use crate::sheet;
use crate::steps::{StepTimes, Watcher, scale};
use crate::{input, machine, units};

/// Generates images of a class as PNG
///
/// The same command gives the same file; another machine, thread count or number of images may
/// round a colour to the next level. Image i of a command, counted from 0, takes stream i of the seed, so the first
/// of `-n 4` starts from the noise of `-n 1`, and --only makes any of them again; --vary, and --morph without an
/// amount, start all from the first. The file's text chunks hold what is needed to make it
/// again with the same bundle (flowturbo:seed, flowturbo:schedule, ..., and flowturbo:command, the
/// command itself). Several images come as one sheet,
/// a new row for each class, or with --separate as numbered files. A model of materials also makes normals, heights
/// and more of each image: --maps.
///
/// Example: flowturbo generate --class brick --seed 7 -n 4 -o brick.png
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Generate {
    /// Label or number of a class, or several: brick,sand,3; `flowturbo classes` lists them. Labels with commas are
    /// written as they are, or with \, for each, or by a --class of their own
    #[arg(
        short,
        long,
        value_name = "CLASS,...",
        required_unless_present = "prompt",
        allow_negative_numbers = true
    )]
    class: Vec<String>,
    /// Seed of the noise
    #[arg(long, default_value_t = 0, allow_negative_numbers = true,
          value_parser = options::whole::<u64, 0, { u64::MAX }>)]
    seed: u64,
    /// Images of each class, or of each prompt without a class
    #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 1, allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, { u32::MAX as u64 }>)]
    count: u32,
    /// Make only these of the images, counted from 0 as --separate does: 2 is the third of -n 4, with the same pixels
    #[arg(long, value_name = "I,...", value_delimiter = ',', allow_negative_numbers = true,
          value_parser = options::whole::<usize, 0, { u32::MAX as u64 }>)]
    only: Vec<usize>,
    /// The PNG file to write, - for standard output; NAME.png becomes NAME-0.png, NAME-1.png, ... with --separate
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    maps: Maps,
    #[command(flatten)]
    contexts: Contexts,
    #[command(flatten)]
    sampling: Sampling,
    /// Steps in all: the schedule (the bundle's or the preset's) in the same proportions, more steps
    /// for accuracy, fewer for speed; 18 of H1P5R3 are H2P10R6
    #[arg(long, value_name = "N", conflicts_with = "schedule", allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, 100_000>)]
    steps: Option<u32>,
    #[command(flatten)]
    editing: Editing,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    keeping: Keeping,
    /// One numbered file an image, no sheet
    #[arg(long)]
    separate: bool,
    /// Columns of the sheet [default: about square; a row a class if there are several, or if --morph leads to another]
    #[arg(long, value_name = "K", conflicts_with = "separate", allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, { u32::MAX as u64 }>)]
    columns: Option<u32>,
    #[command(flatten)]
    model: ModelArgument,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Generate {
    pub fn run(&self) -> Result<(), Failure> {
        let started = Instant::now();
        input::once(&[self.contexts.files(), self.editing.files()].concat())?;
        let bundle = self.model.open()?;
        let (mut schedule, guidance) = self.sampling.resolve(&bundle)?;
        if let Some(steps) = self.steps {
            schedule = scale(&schedule, steps)?;
        }
        let classes = options::classes(&self.class, bundle.manifest())?;
        let request =
            options::request(&classes, self.count as usize, &bundle, (schedule, guidance), &self.contexts)?;
        let request =
            self.editing.apply(request.with_seed(self.seed), self.count as usize, &bundle, self.quiet)?;
        let places = self.places(request.images())?;
        let request = if self.only.is_empty() { request } else { alone(request, &places) };
        request.check(&bundle)?;
        let files = self.maps.files(bundle.manifest(), &self.output, self.separate, &places)?;
        let model = self.computing.load(bundle, request.images(), &self.keeping)?;
        self.contexts.warn(&model, self.quiet)?;
        let loaded = Instant::now();
        let mut session = model.session();
        session.prepare(&request, flowturbo::Output::Images)?;
        let prepared = Instant::now();
        let mut watcher = Watcher::new(request.schedule.as_ref(), self.quiet);
        let generation = session.generate_with(&request, &mut |progress| watcher.step(progress))?;
        let generated = Instant::now();
        let recipe =
            Recipe { command: self, model: &model, classes: &classes, places, generation: &generation };
        let layout = self.layout(self.contexts.kinds(classes.len()), &generation, model.manifest());
        let (width, height) = generation.images.first().map_or((0, 0), |image| (image.width, image.height));
        for files in &files {
            let mut drawn = files.room([generation.images.len(), height, width])?;
            session.map_into(files.map, &mut files.pixels(drawn.format, &mut drawn.bytes))?;
            write(files, &drawn, layout, |shown| recipe.notes(shown))?;
        }
        if self.quiet {
            return Ok(());
        }
        let phases = Phases {
            load: loaded - started,
            prepare: prepared - loaded,
            write: generated.elapsed(),
            steps: watcher.times,
        };
        let outputs: Vec<&Output> = files.iter().flat_map(|files| &files.outputs).collect();
        let text = recipe.summary(&outputs) + &phases.report(&model, &generation);
        tell(outputs, &text)
    }

    /// The places of the images to make, among all of them.
    fn places(&self, all: usize) -> Result<Vec<usize>, Failure> {
        if self.only.is_empty() {
            return Ok((0..all).collect());
        }
        let mut places = self.only.clone();
        places.sort_unstable();
        places.dedup();
        match places.last() {
            Some(&last) if last >= all => {
                let known = if all == 1 { "there is just 0" } else { "the images are 0" };
                let to = if all == 1 { String::new() } else { format!(" to {}", all - 1) };
                Err(Failure::Usage(format!("--only {last}: {known}{to}; -n says how many of each class")))
            }
            _ => Ok(places),
        }
    }

    /// Images in a block of the sheet, and its columns.
    fn layout(&self, classes: usize, generation: &Generation, manifest: &Manifest) -> (usize, usize) {
        let (classes, of_each) = match self.only.is_empty() {
            true => (classes, self.count as usize),
            false => (1, generation.images.len()),
        };
        let columns = sheet::columns(classes, of_each, self.editing.leads(manifest));
        (of_each, self.columns.map_or(columns, |k| k as usize))
    }
}

/// The images at `places` of a request, with the noise that they have there.
fn alone(mut request: Request, places: &[usize]) -> Request {
    fn picked<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
        places.iter().filter_map(|&place| all.get(place).cloned()).collect()
    }
    request.classes = picked(&request.classes, places);
    request.morphs = picked(&request.morphs, places);
    if request.prompts.len() > 1 {
        request.prompts = picked(&request.prompts, places);
    }
    request.noise = request.noise.map(|noise| noise.select(Axis(0), places));
    request.context = contexts::picked(request.context, places);
    request.negative_context = contexts::picked(request.negative_context, places);
    let streams = places.iter().map(|&place| place as u64).collect();
    request.with_streams(streams)
}

/// Writes a map of images: to a file each, or to one as a sheet of blocks of `of_each` in `columns`. `notes` is told
/// which of them a file shows.
pub fn write(
    files: &MapFiles,
    drawn: &Drawn,
    (of_each, columns): (usize, usize),
    notes: impl Fn(&[usize]) -> Vec<Note>,
) -> Result<(), Failure> {
    let all: Vec<usize> = (0..drawn.images().len()).collect();
    let write = |output: &Output, (width, height): (usize, usize), bytes: &[u8], shown: &[usize]| {
        let of = files.is_named.then(|| ("flowturbo:map", files.map.to_string()));
        let notes: Vec<Note> = notes(shown).into_iter().chain(of).collect();
        let fill = |y: usize, row: &mut [u8]| row.copy_from_slice(&bytes[y * row.len()..][..row.len()]);
        output.write(|out| png_file::write(out, drawn.format, (width, height), &notes, fill))
    };
    if let ([output], [_, _, ..]) = (files.outputs.as_slice(), all.as_slice()) {
        let sheet = sheet::compose(drawn, of_each, columns)?;
        return write(output, (sheet.width, sheet.height), &sheet.bytes, &all);
    }
    for ((output, image), shown) in files.outputs.iter().zip(drawn.images()).zip(all.chunks(1)) {
        write(output, (drawn.width, drawn.height), image, shown)?;
    }
    Ok(())
}

/// What was made, and all that is needed to make it again.
struct Recipe<'a> {
    command: &'a Generate,
    model: &'a Model,
    /// As asked for, each once.
    classes: &'a [i64],
    /// Of the images, among all that the command means.
    places: Vec<usize>,
    generation: &'a Generation,
}

impl Recipe<'_> {
    /// For a file that shows some of the images.
    fn notes(&self, shown: &[usize]) -> Vec<Note> {
        let manifest = self.model.manifest();
        let places: Vec<usize> = shown.iter().filter_map(|&i| self.places.get(i).copied()).collect();
        let shown = self.kinds(&places);
        let index = match places.as_slice() {
            [first, .., last] if last - first + 1 == places.len() => format!("{first}-{last}"),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        let mut notes: Vec<Note> =
            vec![("Software", concat!("flowturbo ", env!("CARGO_PKG_VERSION")).into())];
        if !self.classes.is_empty() {
            notes.push((
                "flowturbo:class",
                joined(self.shown(&shown).iter(), |class| class_name(*class, manifest)),
            ));
        }
        let prompts = self.prompts(&shown);
        if !prompts.is_empty() {
            notes.push(("flowturbo:prompt", prompts.join("\n")));
        }
        if let Some(prompt) = self.command.contexts.negative_prompt() {
            notes.push(("flowturbo:negative-prompt", prompt.to_owned()));
        }
        notes.extend([
            ("flowturbo:seed", self.command.seed.to_string()),
            ("flowturbo:index", index),
            ("flowturbo:schedule", self.generation.schedule.to_string()),
            ("flowturbo:guidance", self.generation.guidance.to_string()),
            ("flowturbo:model", manifest.name.clone()),
            ("flowturbo:model-hash", self.model.bundle().hash().to_owned()),
            ("flowturbo:command", self.line(manifest)),
        ]);
        notes
    }

    /// The kinds of the images at `places`, each once.
    fn kinds(&self, places: &[usize]) -> Vec<usize> {
        let mut of: Vec<usize> = places.iter().map(|place| place / self.command.count as usize).collect();
        of.dedup();
        of
    }

    /// The classes of some kinds.
    fn shown(&self, kinds: &[usize]) -> Vec<i64> {
        kinds.iter().filter_map(|&i| self.classes.get(i).copied()).collect()
    }

    /// Their prompts.
    fn prompts(&self, kinds: &[usize]) -> Vec<&str> {
        let all = self.command.contexts.prompts();
        match all[..] {
            [_] => all,
            _ => kinds.iter().filter_map(|&i| all.get(i).copied()).collect(),
        }
    }

    /// What some kinds are called, for people.
    fn names(&self, kinds: &[usize]) -> String {
        let classes = joined(self.shown(kinds).iter(), |class| class_name(*class, self.model.manifest()));
        let prompts = self.prompts(kinds).into_iter().map(|prompt| format!("\"{}\"", beginning(prompt)));
        let parts = (!classes.is_empty()).then_some(classes).into_iter().chain(prompts);
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The command without paths; it makes the same images with the same bundle.
    fn line(&self, manifest: &Manifest) -> String {
        let Generation { schedule, guidance, .. } = self.generation;
        let columns = self.command.columns.map_or(String::new(), |k| format!(" --columns {k}"));
        let only = self.command.only.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let only = if only.is_empty() { only } else { format!(" --only {only}") };
        let classes = joined(self.classes.iter(), |class| plain_name(*class, manifest));
        let classes = if classes.is_empty() { classes } else { format!(" --class {classes}") };
        let bits = if self.command.computing.deterministic { " --deterministic" } else { "" };
        let precision = match self.model.precision() {
            Precision::F32 => String::new(),
            other => format!(" --precision {other}"),
        };
        let device = match self.model.device() {
            Device::Cpu => String::new(),
            other => format!(" --device {other}"),
        };
        format!(
            "flowturbo generate{classes} -n {}{only} --seed {} --schedule {schedule} --guidance \
             {guidance}{}{}{}{columns}{precision}{device}{bits}",
            self.command.count,
            self.command.seed,
            self.command.contexts.line(),
            self.command.editing.line(manifest),
            self.command.maps.line(),
        )
    }

    fn summary(&self, outputs: &[&Output]) -> String {
        let (first, last) = (outputs.first(), outputs.last());
        let path =
            |output: Option<&&Output>| output.map(|o| o.path().display().to_string()).unwrap_or_default();
        let files = match outputs.len() {
            0 | 1 => path(first),
            _ => format!("{} to {}", path(first), path(last)),
        };
        let generation = self.generation;
        let (width, height) = generation.images.first().map_or((0, 0), |image| (image.width, image.height));
        format!(
            "{files}: {} of {width}x{height} ({}), seed {}, {}, guidance {}\n",
            units::plural(generation.images.len(), "image"),
            self.names(&self.kinds(&self.places)),
            self.command.seed,
            generation.schedule,
            generation.guidance,
        )
    }
}

/// A prompt, or its first words.
fn beginning(prompt: &str) -> String {
    const SHOWN: usize = 60;
    let mut text: String = prompt.chars().take(SHOWN).collect();
    if text.len() < prompt.len() {
        text.push('…');
    }
    text.escape_debug().to_string()
}

fn joined<'a>(classes: impl Iterator<Item = &'a i64>, name: impl Fn(&i64) -> String) -> String {
    classes.map(name).collect::<Vec<_>>().join(",")
}

/// Where the time went, beside what the generation itself knows.
struct Phases {
    load: Duration,
    prepare: Duration,
    write: Duration,
    steps: StepTimes,
}

impl Phases {
    fn report(&self, model: &Model, generation: &Generation) -> String {
        let mut text = String::new();
        let mut line = |name: &str, took: Duration, more: &str| {
            let _ = writeln!(text, "{}", format!("{name:8} {:>9}   {more}", units::time(took)).trim_end());
        };
        let threads = units::plural(model.threads(), "thread");
        line("load", self.load, &format!("{}, {threads}", model.manifest().name));
        line("prepare", self.prepare, "");
        if !generation.encoding.is_zero() {
            line("encode", generation.encoding, "");
        }
        line("sample", generation.sampling, &self.steps.summary());
        line("decode", generation.decoding, "");
        line("write", self.write, "");
        if let Some(peak) = machine::peak_memory() {
            let _ = writeln!(text, "{:8} {:>9}   at the peak", "memory", units::bytes(peak));
        }
        text
    }
}
