//! What images are told besides their classes: arguments, and the files they name.

use std::path::PathBuf;

use clap::Args;
use flowturbo::Request;
use ndarray::{ArrayD, Axis};

use crate::failure::Failure;
use crate::numpy;
use crate::options::file_name;
use crate::output::STANDARD;

/// Contexts, for models that take them.
#[derive(Args, Default)]
pub struct Contexts {
    /// Contexts of the images, .npy of float32: [1, D] or [1, L, D] for all of them, or one for each; - is standard
    /// input. `flowturbo inspect` tells D and L [default: the context of no prompt]
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Contexts that guidance goes away from, likewise [default: the context of no prompt]
    #[arg(long, value_name = "FILE")]
    negative_context: Option<PathBuf>,
}

impl Contexts {
    /// `request` with them.
    pub fn apply(&self, mut request: Request) -> Result<Request, Failure> {
        let standard =
            |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == STANDARD);
        if standard(&self.context) && standard(&self.negative_context) {
            return Err(Failure::Usage(
                "--context - --negative-context -: standard input is only one of them".into(),
            ));
        }
        let read = |path: &Option<PathBuf>| path.as_deref().map(numpy::read_any).transpose();
        (request.context, request.negative_context) = (read(&self.context)?, read(&self.negative_context)?);
        Ok(request)
    }

    /// The arguments again; files without their folders.
    pub fn line(&self) -> String {
        let argument = |name: &str, path: &Option<PathBuf>| {
            path.as_ref().map_or(String::new(), |path| format!(" --{name} {}", file_name(path)))
        };
        argument("context", &self.context) + &argument("negative-context", &self.negative_context)
    }
}

/// The contexts of the images at `places`: those, or the one for all.
pub fn picked(contexts: Option<ArrayD<f32>>, places: &[usize]) -> Option<ArrayD<f32>> {
    contexts.map(|contexts| match contexts.len_of(Axis(0)) {
        1 => contexts,
        _ => contexts.select(Axis(0), places),
    })
}
