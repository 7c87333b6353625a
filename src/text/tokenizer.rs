//! Prompts to tokens, as a bundle's tokenizer.json says: the word pieces of BERT and its descendants.
//!
//! ```text
//! prompt ──Normalizer──▶ characters ──spaces, punctuation──▶ words ──pieces──▶ tokens ──Frame──▶ Tokens
//! ```
//!
//! The same tokens as those of the crate and the Python package `tokenizers`, which is forty crates and more than 2
//! MB of a library. What else such files may say is refused by name.

mod file;

use std::collections::HashMap;

use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

use crate::Result;

/// A bundle's tokenizer. What its file says of truncation and padding is not used: prompts are cut and filled up to the
/// manifest's `max_tokens`.
pub(crate) struct Tokenizer {
    normalizer: Option<Normalizer>,
    pieces: Pieces,
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

/// `BertNormalizer`.
struct Normalizer {
    clean: bool,
    chinese: bool,
    accents: bool,
    lowercase: bool,
}

/// `WordPiece`.
struct Pieces {
    vocabulary: HashMap<String, u32>,
    unknown: u32,
    /// In front of pieces that do not begin a word.
    prefix: String,
    /// Longer words are not known.
    most_characters: usize,
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
    pub(crate) fn encode(&self, prompt: &str) -> Tokens {
        let Frame { before, own, behind } = &self.frame;
        let room = self.max_tokens - before.len() - behind.len();
        let text = match &self.normalizer {
            Some(normalizer) => normalizer.normalized(prompt),
            None => prompt.to_owned(),
        };
        let (mut found, mut buffer) = (Vec::new(), String::new());
        for word in text.split(char::is_whitespace).flat_map(split_off_punctuation) {
            self.pieces.split(word, &mut found, &mut buffer);
            // One more than there is room for says that there are more.
            if found.len() > room {
                break;
            }
        }
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
        Tokens { tokens: filled(0), mask, types: filled(1), cut }
    }
}

impl Normalizer {
    fn normalized(&self, prompt: &str) -> String {
        let mut text: String = prompt.chars().flat_map(|c| self.cleaned(c)).collect();
        if self.accents {
            text = text.nfd().filter(|c| !c.is_mark_nonspacing()).collect();
        }
        if self.lowercase {
            // Each by itself: a final sigma is none here.
            text = text.chars().flat_map(char::to_lowercase).collect();
        }
        text
    }

    /// Nothing of what is no text, a plain space of any other, and a Chinese character as a word of its own.
    fn cleaned(&self, c: char) -> impl Iterator<Item = char> {
        let space = matches!(c, '\t' | '\n' | '\r') || c.is_whitespace();
        let (kept, c) = match self.clean {
            true if c == '\0' || c == '\u{fffd}' || (c.is_other() && !matches!(c, '\t' | '\n' | '\r')) => {
                (0, c)
            }
            true if space => (1, ' '),
            _ if self.chinese && is_chinese(c) => (3, c),
            _ => (1, c),
        };
        let each = if kept == 3 { [' ', c, ' '] } else { [c; 3] };
        each.into_iter().take(kept)
    }
}

/// A word's stretches without punctuation, and each mark by itself; none of them empty.
fn split_off_punctuation(word: &str) -> impl Iterator<Item = &str> {
    let mark = |c: char| c.is_ascii_punctuation() || c.is_punctuation();
    let parts = word.split_inclusive(mark).flat_map(move |part| {
        let last = part.chars().next_back().filter(|&c| mark(c)).map_or(0, char::len_utf8);
        let (stretch, mark) = part.split_at(part.len() - last);
        [stretch, mark]
    });
    parts.filter(|part| !part.is_empty())
}

/// The blocks of CJK ideographs, as BERT counts them; not those of Japanese and Korean syllables.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF
        | 0x3400..=0x4DBF
        | 0x20000..=0x2A6DF
        | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF
        | 0xF900..=0xFAFF
        | 0x2F800..=0x2FA1F)
}

impl Pieces {
    /// Adds the pieces of a word, the longest that is known first; or what stands for an unknown word.
    fn split(&self, word: &str, found: &mut Vec<u32>, piece: &mut String) {
        let known = found.len();
        if word.chars().count() > self.most_characters {
            return found.push(self.unknown);
        }
        let mut rest = word;
        while !rest.is_empty() {
            piece.clear();
            if rest.len() < word.len() {
                piece.push_str(&self.prefix);
            }
            let start = piece.len();
            piece.push_str(rest);
            loop {
                if let Some(&token) = self.vocabulary.get(piece.as_str()) {
                    found.push(token);
                    break;
                }
                piece.pop();
                if piece.len() == start {
                    found.truncate(known);
                    return found.push(self.unknown);
                }
            }
            rest = &rest[piece.len() - start..];
        }
    }
}

#[cfg(test)]
mod tests;
