//! `flowturbo decode`: images of latents that were sampled before.

use std::path::PathBuf;

use clap::Args;
use flowturbo::{Role, draw_map};
use ndarray::Axis;

use crate::failure::Failure;
use crate::generate::write;
use crate::maps::{Drawn, Maps};
use crate::options::{Computing, ModelOption, whole};
use crate::output::{Output, tell};
use crate::{input, interrupt, numpy, sheet, units};

/// Decodes latents, such as `flowturbo latents` writes, to PNG
///
/// The file holds float32 [N, C, H, W], latents as the sampler makes them. Of the same latents, `generate` makes the
/// same images, and the same maps. Several come as one sheet, or with --separate as numbered files.
///
/// Example: flowturbo latents --class brick --seed 7 -o brick.npy; flowturbo decode brick.npy -o brick.png
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Decode {
    /// The latents, .npy; - is standard input
    #[arg(value_name = "LATENTS")]
    latents: PathBuf,
    /// The PNG file to write, - for standard output; NAME.png becomes NAME-0.png, NAME-1.png, ... with --separate
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    maps: Maps,
    #[command(flatten)]
    computing: Computing,
    /// One numbered file an image, no sheet
    #[arg(long)]
    separate: bool,
    /// Columns of the sheet [default: about square]
    #[arg(long, value_name = "K", conflicts_with = "separate", allow_negative_numbers = true,
          value_parser = whole::<u32, 1, { u32::MAX as u64 }>)]
    columns: Option<u32>,
    #[command(flatten)]
    model: ModelOption,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Decode {
    pub fn run(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        if !bundle.manifest().has(Role::Decoder) {
            return Err(Failure::Usage(format!("bundle '{}' has no decoder", bundle.manifest().name)));
        }
        let latents = numpy::read(&self.latents)?;
        let count = latents.len_of(Axis(0));
        if count == 0 || !latents.iter().all(|value| value.is_finite()) {
            let what = if count == 0 { "no latents" } else { "a number that is not finite" };
            return Err(Failure::Usage(format!("{}: holds {what}", input::name(&self.latents))));
        }
        let places: Vec<usize> = (0..count).collect();
        let files = self.maps.files(bundle.manifest(), &self.output, self.separate, &places)?;
        // A decoder cannot be cancelled half-way: ctrl-C is looked at between the images.
        interrupt::watch();
        let model = self.computing.load_to_convert(bundle)?;
        let mut session = model.session();
        let mut made: Vec<Drawn> = Vec::new();
        for (i, latent) in latents.axis_chunks_iter(Axis(0), 1).enumerate() {
            interrupt::check()?;
            let maps = session.decode_maps(latent)?;
            if made.is_empty() {
                let all = [count, maps.len_of(Axis(2)), maps.len_of(Axis(3))];
                made = files.iter().map(|files| files.room(all)).collect::<Result<_, _>>()?;
            }
            for (files, drawn) in files.iter().zip(&mut made) {
                let each = drawn.each();
                let mut pixels = files.pixels(drawn.format, &mut drawn.bytes[i * each..][..each]);
                draw_map(maps.view(), model.manifest(), files.map, &mut pixels)?;
            }
        }
        let columns = self.columns.map_or(sheet::columns(1, count, false), |k| k as usize);
        let notes = |_: &[usize]| vec![("Software", concat!("flowturbo ", env!("CARGO_PKG_VERSION")).into())];
        for (files, drawn) in files.iter().zip(&made) {
            write(files, drawn, (count, columns), notes)?;
        }
        if self.quiet {
            return Ok(());
        }
        let outputs: Vec<&Output> = files.iter().flat_map(|files| &files.outputs).collect();
        let first = outputs.first().map(|output| output.path().display().to_string()).unwrap_or_default();
        let last = outputs.last().filter(|_| outputs.len() > 1);
        let last = last.map_or(String::new(), |last| format!(" to {}", last.path().display()));
        tell(outputs, &format!("{first}{last}: {}\n", units::plural(count, "image")))
    }
}
