//! `flowturbo latents`: the sampler's own numbers, for comparing with other implementations.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use flowturbo::Manifest;
use ndarray::{Array4, Axis, stack};

use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::input;
use crate::numpy;
use crate::options::{self, Computing, Keeping, ModelArgument, Sampling};
use crate::output::{Output, tell};
use crate::steps::Watcher;
use crate::units;

/// Samples without decoding: NumPy noise in, NumPy latents out
///
/// All files hold float32. Noise and latents are [N, C, H, W], one image for each class given; a
/// trajectory is [steps, N, C, H, W], the state after each step. Needs no decoder.
#[derive(Args)]
#[command(verbatim_doc_comment, group = ArgGroup::new("start").args(["noise", "seed"]).required(true))]
pub struct Latents {
    #[command(flatten)]
    model: ModelArgument,
    /// Label or number of each image's class: 3,6; a label with commas as it is, or each class by a --class of its own
    #[arg(
        short,
        long,
        value_name = "CLASS,...",
        required_unless_present = "prompt",
        allow_negative_numbers = true
    )]
    class: Vec<String>,
    /// Noise to start from, .npy; - is standard input
    #[arg(long, value_name = "FILE")]
    noise: Option<PathBuf>,
    /// Seed to make the noise from, instead of --noise
    #[arg(long, allow_negative_numbers = true,
          value_parser = options::whole::<u64, 0, { u64::MAX }>)]
    seed: Option<u64>,
    #[command(flatten)]
    contexts: Contexts,
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    keeping: Keeping,
    /// Where to write the final latents, .npy; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Where to write the state after each step, .npy
    #[arg(long, value_name = "FILE")]
    trajectory: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Latents {
    pub fn run(&self) -> Result<(), Failure> {
        let [context, negative] = self.contexts.files();
        input::once(&[context, negative, ("--noise", self.noise.as_deref())])?;
        let bundle = self.model.open()?;
        let sampling = self.sampling.resolve(&bundle)?;
        let classes = options::classes(&self.class, bundle.manifest())?;
        let request = options::request(&classes, 1, &bundle, sampling, &self.contexts)?;
        let images = request.images();
        let request = match (&self.noise, self.seed) {
            (Some(path), _) => request.with_noise(noise(path, images, bundle.manifest())?),
            (None, seed) => request.with_seed(seed.unwrap_or_default()),
        };
        let output = Output::new(&self.output)?;
        let trajectory = self.trajectory.as_deref().map(Output::new).transpose()?;
        if trajectory.as_ref().is_some_and(|trajectory| trajectory.is_also(&output)) {
            return Err(Failure::Usage("--output and --trajectory name the same file".into()));
        }
        let model = self.computing.load(bundle, images, &self.keeping)?;
        self.contexts.warn(&model, self.quiet)?;
        let mut watcher = Watcher::new(request.schedule.as_ref(), self.quiet);
        let mut states: Vec<Array4<f32>> = Vec::new();
        let latents = model.session().latents_with(&request, &mut |progress| {
            if trajectory.is_some() {
                states.push(progress.latent.to_owned());
            }
            watcher.step(progress)
        })?;
        if let Some(trajectory) = &trajectory {
            let views: Vec<_> = states.iter().map(|state| state.view()).collect();
            let states = stack(Axis(0), &views).map_err(|error| Failure::Failed(error.to_string()))?;
            numpy::write(trajectory, &states)?;
        }
        numpy::write(&output, &latents)?;
        if self.quiet {
            return Ok(());
        }
        let steps = watcher.times.summary();
        let count = units::plural(images, "latent");
        let text = format!("{}: {count}, {steps}\n", output.path().display());
        tell(std::iter::once(&output).chain(&trajectory), &text)
    }
}

/// The noise, held to the classes before anything is loaded.
fn noise(path: &Path, images: usize, manifest: &Manifest) -> Result<Array4<f32>, Failure> {
    let noise = numpy::read(path)?;
    let latent = &manifest.latent;
    let wanted = [images, latent.channels as usize, latent.height as usize, latent.width as usize];
    if noise.shape() != wanted {
        return Err(Failure::Usage(format!(
            "{}: has shape {:?}, must be {wanted:?} for {}",
            input::name(path),
            noise.shape(),
            if images == 1 { "one image".to_owned() } else { format!("{images} images") },
        )));
    }
    if !noise.iter().all(|value| value.is_finite()) {
        return Err(Failure::Usage(format!("{}: holds a number that is not finite", input::name(path))));
    }
    Ok(noise)
}
