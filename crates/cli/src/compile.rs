//! `flowturbo compile`: a bundle's networks, planned beforehand, in one file.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use flowturbo::{PlanOptions, Precision, Schedule, Target};

use crate::editing::size;
use crate::failure::Failure;
use crate::given::Size;
use crate::options::{self, ModelArgument};
use crate::output::{Output, tell};
use crate::{interrupt, units};

/// Compiles a bundle to a plan: one file that opens at once, without ONNX and without a compiler
///
/// A plan is a model for every command and for the library. It serves the numbers of images and the sizes that it was
/// compiled for, with any guidance, tiling and morphs; a request for others is refused and names those.
///
/// With --classes it serves these alone, by the bundle's own schedule and its presets or those that are named, and is
/// smaller by what computes the others. For a --target its weights are used where they lie in the file, shared by all
/// processes that have it open.
///
/// Example: flowturbo compile models/textures --target native --size 128x128,256x256 -o textures.ftplan
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Compile {
    #[command(flatten)]
    model: ModelArgument,
    /// Where to write the plan
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What its weights are packed for: generic (packed while it is opened), x86-64-v3, x86-64-v4, aarch64, or native,
    /// which is this machine's
    #[arg(long, value_name = "TARGET", default_value = "generic", value_parser = target)]
    target: Target,
    /// What weights are packed in for a target: f32, f16-weights (the same images, half the size), or int8
    /// (approximate, a quarter; not convolutions); auto is what `flowturbo tune` stored
    #[arg(long, value_name = "NUMBERS", default_value_t = Precision::F32)]
    precision: Precision,
    /// Images computed in one call of a network, such as 1,4; more are computed by several calls
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',', allow_negative_numbers = true,
          value_parser = options::whole::<u32, 1, { u32::MAX as u64 }>)]
    batch: Vec<u32>,
    /// Sizes of images, such as 128x128,512x256 [default: the bundle's]
    #[arg(long, value_name = "WxH", value_delimiter = ',', value_parser = size, allow_hyphen_values = true)]
    size: Vec<Size>,
    /// Classes, by label or number, that alone can be asked for
    #[arg(
        short = 'c',
        long = "classes",
        alias = "class",
        value_name = "NAMES",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    classes: Vec<String>,
    /// Schedules for --classes [default: the bundle's and its presets']
    #[arg(long, value_name = "STEPS", value_delimiter = ',', requires = "classes")]
    schedule: Vec<String>,
    /// Presets for --classes
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "classes")]
    preset: Vec<String>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Compile {
    pub fn run(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        let manifest = bundle.manifest();
        let classes =
            self.classes.iter().map(|name| manifest.classes.find(name)).collect::<Result<Vec<_>, _>>()?;
        let mut schedules: Vec<Schedule> = Vec::new();
        for name in &self.preset {
            schedules.push(bundle.preset(name)?.schedule.clone());
        }
        for written in &self.schedule {
            schedules.push(written.parse()?);
        }
        let sizes = self.size.iter().map(|&[width, height]| [height as usize, width as usize]);
        let options = PlanOptions::default()
            .with_target(self.target)
            .with_precision(self.precision)
            .with_batches(self.batch.iter().map(|&batch| batch as usize).collect())
            .with_sizes(sizes.collect())
            .with_classes(classes)
            .with_schedules(schedules)
            .with_cancel(interrupt::token());
        let output = Output::new(&self.output)?;
        let (mut counted, mut failed) = (0, None);
        let written = output.write(|to| {
            let to = Counted { to, count: &mut counted };
            flowturbo::compile(bundle, &options, to).map_err(|error| {
                let line = error.to_string();
                failed = Some(error);
                io::Error::other(line)
            })
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        written?;
        if self.quiet {
            return Ok(());
        }
        tell([&output], &format!("{}: {}, {}\n", output.path().display(), self.target, units::bytes(counted)))
    }
}

/// A writer that counts.
struct Counted<'a> {
    to: &'a mut dyn Write,
    count: &'a mut u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        *self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn target(name: &str) -> Result<Target, String> {
    match name {
        "native" => Ok(Target::of_this_processor()),
        _ => name.parse().map_err(|error: flowturbo::Error| format!("{error}, native")),
    }
}
