//! Prompts to tokens, as a bundle's tokenizer.json says: BERT's word pieces or CLIP's byte pairs.
//!
//! ```text
//! prompt ──Words──▶ tokens ──Frame──▶ Tokens
//! ```
//!
//! The same tokens as those of the crate and the Python package `tokenizers`, which is forty crates and more than 2
//! MB of a library. What else such files may say is refused by name.

mod byte_pairs;
mod file;
mod word_pieces;

use crate::{Result, memory};

use byte_pairs::BytePairs;
use word_pieces::WordPieces;

/// Bytes of memory that a byte of a prompt takes, at most: as a word of its own, whose pairs wait to be joined.
const TAKEN: usize = 128;

/// A bundle's tokenizer. What its file says of truncation and padding is not used: prompts are cut and filled up to the
/// manifest's `max_tokens`.
pub(crate) struct Tokenizer {
    words: Words,
    frame: Frame,
    /// What fills up: token and type.
    pad: [i64; 2],
    /// The largest token.
    last: i64,
    max_tokens: usize,
}

/// A prompt as a text encoder takes it, `max_tokens` of each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) tokens: Vec<i64>,
    /// 1 for the prompt's own, 0 for what fills up.
    pub(crate) mask: Vec<i64>,
    pub(crate) types: Vec<i64>,
    /// Whether the prompt had more.
    pub(crate) cut: bool,
}

/// How a prompt becomes tokens.
enum Words {
    Pieces(WordPieces),
    Pairs(BytePairs),
}

/// What stands before and behind a prompt: tokens and their types, and the type of the prompt's own.
struct Frame {
    before: Vec<[i64; 2]>,
    own: i64,
    behind: Vec<[i64; 2]>,
}

impl Tokenizer {
    /// Reads a tokenizer.json.
    ///
    /// # Errors
    /// `InvalidBundle`: damaged, without something to fill up with, or one that adds as many tokens of its own as there
    /// may be. `Unsupported`: names what this does not know. `OutOfMemory`.
    pub(crate) fn new(json: &[u8], max_tokens: usize) -> Result<Self> {
        file::read(json, max_tokens)
    }

    /// The largest token that it makes.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// The largest type that it gives a token.
    pub(crate) fn last_type(&self) -> i64 {
        let Frame { before, own, behind } = &self.frame;
        let types = before.iter().chain(behind).map(|row| row[1]);
        types.chain([*own, self.pad[1]]).max().unwrap_or(0)
    }

    /// The tokens of `prompt`, cut at the end and filled up.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn encode(&self, prompt: &str) -> Result<Tokens> {
        memory::room(prompt.len().saturating_mul(TAKEN))?;
        let Frame { before, own, behind } = &self.frame;
        let room = self.max_tokens - before.len() - behind.len();
        // One more than there is room for says that there are more.
        let found = match &self.words {
            Words::Pieces(pieces) => pieces.tokens(prompt, room + 1),
            Words::Pairs(pairs) => pairs.tokens(prompt, room + 1),
        };
        let cut = found.len() > room;
        let prompts = found.into_iter().take(room).map(|token| [i64::from(token), *own]);
        let all: Vec<[i64; 2]> =
            before.iter().copied().chain(prompts).chain(behind.iter().copied()).collect();
        let rest = self.max_tokens - all.len();
        let filled = |column: usize| {
            let values = all.iter().map(|row| row[column]);
            values.chain(std::iter::repeat_n(self.pad[column], rest)).collect()
        };
        let mask = std::iter::repeat_n(1, all.len()).chain(std::iter::repeat_n(0, rest)).collect();
        Ok(Tokens { tokens: filled(0), mask, types: filled(1), cut })
    }
}

#[cfg(test)]
mod tests;
