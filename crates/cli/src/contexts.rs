//! What images are told besides their classes: arguments, and the files they name.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;
use flowturbo::{Model, Request};
use ndarray::{ArrayD, Axis};

use crate::failure::{Failure, warn};
use crate::options::{file_name, quoted};
use crate::{input, numpy};

/// Prompts or contexts, for models that take them.
#[derive(Args, Default)]
pub struct Contexts {
    /// What the images show, in words, for models with a text encoder; several, each by a --prompt of its own, are as
    /// many images, each of its class, or of none without --class
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Vec<OsString>,
    /// What they do not: guidance goes away from it [default: no prompt]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    negative_prompt: Option<OsString>,
    /// Contexts of the images, .npy of float32: [1, D] or [1, L, D] for all of them, or one for each; - is standard
    /// input. `flowturbo inspect` tells D and L [default: the context of no prompt]
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Contexts that guidance goes away from, likewise [default: the context of no prompt]
    #[arg(long, value_name = "FILE")]
    negative_context: Option<PathBuf>,
}

impl Contexts {
    /// How many kinds of images there are: classes, or prompts without any.
    pub fn kinds(&self, classes: usize) -> usize {
        if classes == 0 { self.prompt.len() } else { classes }
    }

    /// The prompts, which are texts once they were [applied](Self::apply).
    pub fn prompts(&self) -> Vec<&str> {
        self.prompt.iter().filter_map(|prompt| prompt.to_str()).collect()
    }

    pub fn negative_prompt(&self) -> Option<&str> {
        self.negative_prompt.as_deref().and_then(OsStr::to_str)
    }

    /// Warns of prompts whose end is left out.
    pub fn warn(&self, model: &Model, quiet: bool) -> Result<(), Failure> {
        warn_of_cuts(self.prompts().into_iter().chain(self.negative_prompt()), model, quiet)
    }

    /// `request`, for `of_each` images of each kind, with them.
    pub fn apply(&self, mut request: Request, of_each: usize) -> Result<Request, Failure> {
        let read = |path: &Option<PathBuf>| path.as_deref().map(finite).transpose();
        (request.context, request.negative_context) = (read(&self.context)?, read(&self.negative_context)?);
        let prompts = self.prompt.iter().map(|prompt| words(prompt, "--prompt"));
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        let kinds = request.classes.len() / of_each.max(1);
        if prompts.len() > 1 && kinds > 0 && prompts.len() != kinds {
            let (prompts, of) =
                (prompts.len(), if kinds == 1 { "one class".into() } else { format!("{kinds} classes") });
            return Err(Failure::Usage(format!(
                "--prompt: {prompts} of them for {of}; give one for all, or one for each class"
            )));
        }
        request.prompts = match &prompts[..] {
            [one] if !request.classes.is_empty() => vec![(*one).to_owned()],
            all => all.iter().flat_map(|prompt| std::iter::repeat_n((*prompt).to_owned(), of_each)).collect(),
        };
        let negative = self.negative_prompt.as_ref().map(|prompt| words(prompt, "--negative-prompt"));
        request.negative_prompt = negative.transpose()?.map(str::to_owned);
        Ok(request)
    }

    /// What it reads, by argument.
    pub fn files(&self) -> [(&'static str, Option<&Path>); 2] {
        [("--context", self.context.as_deref()), ("--negative-context", self.negative_context.as_deref())]
    }

    /// The arguments again; files without their folders.
    pub fn line(&self) -> String {
        let argument = |name: &str, path: &Option<PathBuf>| {
            path.as_ref().map_or(String::new(), |path| format!(" --{name} {}", file_name(path)))
        };
        let words = |name: &str, text: &str| format!(" --{name} {}", quoted(text));
        let mut line: String = self.prompts().into_iter().map(|prompt| words("prompt", prompt)).collect();
        line.extend(self.negative_prompt().map(|prompt| words("negative-prompt", prompt)));
        line + &argument("context", &self.context) + &argument("negative-context", &self.negative_context)
    }
}

/// The contexts in a file.
fn finite(path: &Path) -> Result<ArrayD<f32>, Failure> {
    let contexts = numpy::read_any(path)?;
    match contexts.iter().all(|value| value.is_finite()) {
        true => Ok(contexts),
        false => Err(Failure::Usage(format!("{}: holds a number that is not finite", input::name(path)))),
    }
}

/// An argument that is a text.
pub fn words<'a>(argument: &'a OsStr, name: &str) -> Result<&'a str, Failure> {
    argument.to_str().ok_or_else(|| Failure::Usage(format!("{name}: is not UTF-8")))
}

/// Warns of prompts whose end is left out, unless `quiet`.
pub fn warn_of_cuts<'a>(
    prompts: impl Iterator<Item = &'a str>,
    model: &Model,
    quiet: bool,
) -> Result<(), Failure> {
    for prompt in prompts {
        if model.cuts(prompt)? {
            let most = model.manifest().text.as_ref().map_or(0, |text| text.max_tokens);
            let begins: String = prompt.chars().take(SHOWN).collect();
            warn(
                &format!("prompt: longer than {most} tokens; what is beyond is left out: '{begins}…'"),
                quiet,
            );
        }
    }
    Ok(())
}

/// Characters of a prompt that a warning shows.
const SHOWN: usize = 40;

/// The contexts of the images at `places`: those, or the one for all.
pub fn picked(contexts: Option<ArrayD<f32>>, places: &[usize]) -> Option<ArrayD<f32>> {
    contexts.map(|contexts| match contexts.len_of(Axis(0)) {
        1 => contexts,
        _ => contexts.select(Axis(0), places),
    })
}
