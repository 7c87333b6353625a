//! `flowturbo encode`: latents of images, the way back from `decode`.

use std::path::{Path, PathBuf};

use clap::Args;
use flowturbo::{Request, Role};
use ndarray::{Array4, Axis, concatenate};

use crate::editing::size;
use crate::failure::Failure;
use crate::given::{Given, Size};
use crate::options::{Computing, ModelOption};
use crate::output::{Output, STANDARD, tell};
use crate::{interrupt, numpy, units};

/// Encodes images to latents, which `flowturbo decode` makes images of again
///
/// The file holds float32 [N, C, H, W], a latent for each image, as the sampler makes them. Images are scaled to
/// one size, turned upright as their Exif orientation says, and laid on white where they are transparent.
///
/// Example: flowturbo encode photo.jpg -o photo.npy; flowturbo decode photo.npy -o again.png
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Encode {
    /// The images, PNG or JPEG; - is standard input
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Where to write the latents, .npy; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Size to scale the images to, such as 512x256, not below the bundle's own [default: the bundle's]
    #[arg(long, value_name = "WxH", value_parser = size, allow_hyphen_values = true)]
    size: Option<Size>,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    model: ModelOption,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Encode {
    pub fn run(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        let manifest = bundle.manifest();
        let (Some(own), true) = (&manifest.image, manifest.has(Role::Encoder)) else {
            return Err(Failure::Usage(format!("bundle '{}' has no encoder", manifest.name)));
        };
        let size = self.size.unwrap_or([own.width, own.height]);
        // Before anything is made of that size.
        let [width, height] = size.map(|edge| edge as usize);
        Request::new(vec![0]).with_size(height, width).check(&bundle)?;
        if self.images.iter().filter(|path| *path == Path::new(STANDARD)).count() > 1 {
            return Err(Failure::Usage("standard input is only one of the images".into()));
        }
        let output = Output::new(&self.output)?;
        // An encoder cannot be cancelled half-way: ctrl-C is looked at between the images.
        interrupt::watch();
        let model = self.computing.load_to_convert(bundle)?;
        let mut session = model.session();
        let mut latents: Vec<Array4<f32>> = Vec::new();
        for path in &self.images {
            interrupt::check()?;
            latents.push(session.encode(Given::read(path)?.image(size, self.quiet)?.view())?);
        }
        let views: Vec<_> = latents.iter().map(|latent| latent.view()).collect();
        let latents = concatenate(Axis(0), &views).map_err(|error| Failure::Failed(error.to_string()))?;
        numpy::write(&output, &latents)?;
        if self.quiet {
            return Ok(());
        }
        let count = units::plural(self.images.len(), "latent");
        tell([&output], &format!("{}: {count}\n", output.path().display()))
    }
}
