//! What stands for the tokenizer in builds without one.

use crate::Result;
use crate::error::unsupported;

/// There is none.
pub(crate) enum Tokenizer {}

/// A prompt as a text encoder takes it.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<i64>,
    pub(crate) mask: Vec<i64>,
    pub(crate) types: Vec<i64>,
    pub(crate) cut: bool,
}

impl Tokenizer {
    /// # Errors
    /// `Unsupported`, always.
    pub(crate) fn new(_: &[u8], _: usize) -> Result<Self> {
        Err(unsupported(
            "this build takes no prompts, it has no tokenizer (the feature `text`); give a context instead",
        ))
    }

    pub(crate) fn last(&self) -> i64 {
        match *self {}
    }

    pub(crate) fn last_type(&self) -> i64 {
        match *self {}
    }

    pub(crate) fn encode(&self, _: &str) -> Result<Tokens> {
        match *self {}
    }
}
