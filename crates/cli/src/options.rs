//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flowturbo::{BackendKind, Bundle, Device, Manifest, Model, ModelOptions, Precision, Request, Schedule};

use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::{interrupt, locate};

/// The model by option, for commands whose first word is another file.
#[derive(Args)]
pub struct ModelOption {
    /// Model: a bundle (folder or zip file) or a plan [default: $FLOWTURBO_BUNDLE, then models/textures]
    #[arg(short, long, value_name = "PATH", alias = "bundle")]
    model: Option<PathBuf>,
}

/// The model, as the first word or by option.
#[derive(Args)]
pub struct ModelArgument {
    /// The model, as a first word
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<PathBuf>,
    #[command(flatten)]
    named: ModelOption,
}

impl ModelOption {
    pub fn open(&self) -> Result<Bundle, Failure> {
        locate::open(self.model.as_deref())
    }
}

impl ModelArgument {
    pub fn open(&self) -> Result<Bundle, Failure> {
        locate::open(self.path())
    }

    /// Where it is.
    pub fn find(&self) -> Result<PathBuf, Failure> {
        locate::find(self.path())
    }

    fn path(&self) -> Option<&Path> {
        self.positional.as_deref().or(self.named.model.as_deref())
    }
}

/// How to sample.
#[derive(Args)]
pub struct Sampling {
    /// Steps with counts: H Heun, P pseudo-corrector, R refiner, E Euler, such as H1P5R3
    /// [default: the bundle's]
    #[arg(long, value_name = "STEPS")]
    pub schedule: Option<String>,
    /// Schedule and guidance by a name from the bundle; `flowturbo inspect` lists them
    #[arg(long, value_name = "NAME", conflicts_with = "schedule")]
    pub preset: Option<String>,
    /// Scale of classifier-free guidance; 1 is none and takes half the time [default: the bundle's]
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true, value_parser = number)]
    pub guidance: Option<f32>,
}

impl Sampling {
    /// The schedule and the guidance that the arguments mean for this bundle.
    pub fn resolve(&self, bundle: &Bundle) -> Result<(Schedule, f32), Failure> {
        let preset = self.preset.as_deref().map(|name| bundle.preset(name)).transpose()?;
        let sampling = &bundle.manifest().sampling;
        let schedule = match (&self.schedule, preset) {
            (Some(written), _) => written.parse()?,
            (None, Some(preset)) => preset.schedule.clone(),
            (None, None) => sampling.schedule.parse()?,
        };
        let guidance = self.guidance.or(preset.map(|preset| preset.guidance));
        Ok((schedule, guidance.unwrap_or(sampling.guidance)))
    }
}

/// How to compute.
#[derive(Args)]
pub struct Computing {
    /// Threads to compute with; 0 takes every processor this process may use
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true,
          value_parser = whole::<usize, 0, { u32::MAX as u64 }>)]
    pub threads: usize,
    /// What computes: this program's own kernels, or plain tract, slower and trusted
    #[arg(long, value_enum, default_value_t = Backend::Fused)]
    pub backend: Backend,
    #[command(flatten)]
    pub numbers: Numbers,
    /// The same bits on every processor and with any number of threads; slower on processors with AVX-512
    #[arg(long)]
    pub deterministic: bool,
}

/// What to compute in, and where.
#[derive(Args, Clone, Copy)]
pub struct Numbers {
    /// In what numbers the networks multiply by their weights: f32; f16-weights, the same with less memory; bf16 and
    /// int8, faster and approximate; on a GPU f32, tf32, f16 or bf16; auto, what `flowturbo tune` stored in the bundle
    #[arg(long, value_name = "NUMBERS", default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Where the networks are computed: cpu; cuda or cuda:N, an NVIDIA GPU; auto, a GPU where there is one. `flowturbo
    /// devices` lists them
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    pub device: Device,
}

impl Numbers {
    /// These options with what is to be computed in, and where.
    pub fn apply(&self, options: ModelOptions) -> ModelOptions {
        options.with_precision(self.precision).with_device(self.device)
    }
}

/// What a model keeps of its predictor and its refiner.
#[derive(Args)]
pub struct Keeping {
    /// Read the weights of time and class when they are needed and keep none: less memory, slower first images
    #[arg(long)]
    release_conditioning: bool,
}

/// [`BackendKind`], as the command line spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    Fused,
    Reference,
}

impl Backend {
    pub fn name(self) -> &'static str {
        match self {
            Self::Fused => "fused",
            Self::Reference => "reference",
        }
    }
}

impl From<Backend> for BackendKind {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Fused => Self::Fused,
            Backend::Reference => Self::Reference,
        }
    }
}

impl Computing {
    /// Plans for `images` at a time and no other size.
    pub fn load(&self, bundle: Bundle, images: usize, keeping: &Keeping) -> Result<Model, Failure> {
        Ok(self.load_in(bundle, images, keeping, self.numbers.precision)?)
    }

    /// As [`load`](Self::load), in other numbers.
    pub fn load_in(
        &self,
        bundle: Bundle,
        images: usize,
        keeping: &Keeping,
        precision: Precision,
    ) -> flowturbo::Result<Model> {
        self.load_with(bundle, images, keeping.release_conditioning, precision)
    }

    /// Plans for one image at a time, to be decoded or encoded.
    pub fn load_to_convert(&self, bundle: Bundle) -> Result<Model, Failure> {
        Ok(self.load_with(bundle, 1, false, self.numbers.precision)?)
    }

    fn load_with(
        &self,
        bundle: Bundle,
        images: usize,
        release: bool,
        precision: Precision,
    ) -> flowturbo::Result<Model> {
        let options = ModelOptions::default()
            .with_threads(self.threads)
            .with_backend(self.backend.into())
            .with_release_conditioning(release)
            .with_deterministic(self.deterministic)
            .with_cancel(interrupt::token())
            .with_batch(images);
        Model::load(bundle, &Numbers { precision, ..self.numbers }.apply(options))
    }
}

/// A whole number from `LEAST` to `MOST`.
pub fn whole<T: TryFrom<u64>, const LEAST: u64, const MOST: u64>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("must be a whole number from {LEAST} to {MOST}"))
}

/// Any number; what makes sense of it is the library's to say.
pub fn number(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| "must be a number, such as 0.5".to_owned())
}

/// `brick,3` to numbers, as often as it is given.
pub fn classes(lists: &[String], manifest: &Manifest) -> Result<Vec<i64>, Failure> {
    let found = lists.iter().map(|list| manifest.classes.find_all(list));
    Ok(found.collect::<flowturbo::Result<Vec<_>>>()?.concat())
}

/// A class as an argument: its label if that is one word and no other class's, else its number.
pub fn plain_name(class: i64, manifest: &Manifest) -> String {
    let plain = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let own = |name: &String| manifest.classes.find(name).is_ok_and(|found| found == class);
    Some(class_name(class, manifest)).filter(plain).filter(own).unwrap_or(class.to_string())
}

/// What to call a class: its label, else its number.
pub fn class_name(class: i64, manifest: &Manifest) -> String {
    let labels = manifest.classes.labels.as_deref().unwrap_or_default();
    let label = usize::try_from(class).ok().and_then(|class| labels.get(class));
    label.cloned().unwrap_or_else(|| class.to_string())
}

/// A file without its folder, as one word of a shell's.
pub fn file_name(path: &Path) -> String {
    quoted(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// A text as one word of a shell's.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A request for `of_each` images of each of `classes`, or of each prompt if there are none.
pub fn request(
    classes: &[i64],
    of_each: usize,
    bundle: &Bundle,
    (schedule, guidance): (Schedule, f32),
    contexts: &Contexts,
) -> Result<Request, Failure> {
    check_batch(contexts.kinds(classes.len()).saturating_mul(of_each), bundle)?;
    let classes = classes.iter().flat_map(|&class| std::iter::repeat_n(class, of_each)).collect();
    let request = Request::new(classes).with_schedule(schedule).with_guidance(guidance);
    let request = contexts.apply(request.with_cancel(interrupt::token()), of_each)?;
    request.check(bundle)?;
    Ok(request)
}

/// Refuses more images than the bundle's limits allow, before room is made for them.
pub fn check_batch(images: usize, bundle: &Bundle) -> Result<(), Failure> {
    let most = bundle.limits().max_batch as usize;
    if images > most {
        return Err(Failure::Usage(format!("{images} images asked for, at most {most} at a time")));
    }
    Ok(())
}
