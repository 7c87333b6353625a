//! `flowturbo context`: what a model's text encoder makes of prompts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::contexts::{warn_of_cuts, words};
use crate::failure::Failure;
use crate::options::{Computing, ModelOption};
use crate::output::{Output, tell};
use crate::{numpy, units};

/// Encodes prompts to contexts, which `--context` of other commands takes
///
/// The file holds float32 [N, D] or, of a model whose contexts are tokens, [N, L, D], a context for each prompt.
///
/// Example: flowturbo context "mossy stone wall" -o moss.npy; flowturbo generate --class 3 --context moss.npy -o m.png
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct Context {
    /// The prompts
    #[arg(value_name = "TEXT", required = true)]
    prompts: Vec<OsString>,
    /// Where to write the contexts, .npy; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    computing: Computing,
    #[command(flatten)]
    model: ModelOption,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Context {
    pub fn run(&self) -> Result<(), Failure> {
        let bundle = self.model.open()?;
        let prompts =
            self.prompts.iter().map(|prompt| words(prompt, "TEXT")).collect::<Result<Vec<_>, _>>()?;
        let output = Output::new(&self.output)?;
        let model = self.computing.load_to_convert(bundle)?;
        warn_of_cuts(prompts.iter().copied(), &model, self.quiet)?;
        let contexts = model.session().encode_prompts(&prompts)?;
        numpy::write(&output, &contexts)?;
        if self.quiet {
            return Ok(());
        }
        let count = units::plural(self.prompts.len(), "context");
        tell([&output], &format!("{}: {count}\n", output.path().display()))
    }
}
