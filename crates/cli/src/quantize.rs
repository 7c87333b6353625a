//! `flowturbo quantize`: a bundle with weights of bytes, in one file.

use std::io;
use std::path::PathBuf;

use clap::Args;
use flowturbo::{Bundle, Role};

use crate::failure::Failure;
use crate::options::ModelArgument;
use crate::output::{Output, tell};
use crate::{interrupt, units};

/// Makes a bundle smaller: large linear layers as bytes
///
/// Writes a zip file, a model for every command, the library, and whatever reads ONNX. Its large linear layers are
/// bytes with a scale for each output channel, a quarter of float32 and half of float16: those that --precision int8
/// multiplies as bytes, rounded as it rounds them, so that with int8 both bundles give the same images. All else stays
/// as it is.
///
/// Example: flowturbo quantize -m models/textures -o textures-int8.zip
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Quantize {
    #[command(flatten)]
    model: ModelArgument,
    /// The zip file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Quantize {
    pub fn run(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        let output = Output::new(&self.output)?;
        let quantized = flowturbo::quantize(&bundle, &interrupt::token())?;
        let mut failed = None;
        let written = output.write(|to| {
            quantized.write_zip(to).map_err(|error| {
                let line = error.to_string();
                failed = Some(error);
                io::Error::other(line)
            })
        });
        // A disk that is full is told by the file's name.
        if let Some(error) = failed.filter(|error| error.kind() != flowturbo::ErrorKind::Io) {
            return Err(error.into());
        }
        written?;
        if self.quiet {
            return Ok(());
        }
        let [before, after] = [size(&bundle)?, size(&quantized)?].map(units::bytes);
        tell([&output], &format!("{}: networks of {after}, were {before}\n", output.path().display()))
    }
}

/// Bytes of all networks.
fn size(bundle: &Bundle) -> Result<u64, Failure> {
    let roles = Role::ALL.iter().filter(|role| bundle.manifest().has(**role));
    Ok(roles.map(|&role| bundle.size(role)).sum::<Result<u64, _>>()?)
}
