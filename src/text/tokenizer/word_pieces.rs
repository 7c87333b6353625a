//! BERT's tokens: a prompt made plain, cut at spaces and punctuation into words, and these into known pieces.

use std::collections::HashMap;

use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// `WordPiece` and what comes before it.
pub(super) struct WordPieces {
    pub(super) normalizer: Option<Normalizer>,
    pub(super) pieces: Pieces,
}

/// `BertNormalizer`.
pub(super) struct Normalizer {
    pub(super) clean: bool,
    pub(super) chinese: bool,
    pub(super) accents: bool,
    pub(super) lowercase: bool,
}

/// `WordPiece`.
pub(super) struct Pieces {
    pub(super) vocabulary: HashMap<String, u32>,
    pub(super) unknown: u32,
    /// In front of pieces that do not begin a word.
    pub(super) prefix: String,
    /// Longer words are not known.
    pub(super) most_characters: usize,
}

impl WordPieces {
    /// The tokens of a prompt; once there are `enough` the rest of it is left out.
    pub(super) fn tokens(&self, prompt: &str, enough: usize) -> Vec<u32> {
        let text = match &self.normalizer {
            Some(normalizer) => normalizer.normalized(prompt),
            None => prompt.to_owned(),
        };
        let (mut found, mut buffer) = (Vec::new(), String::new());
        for word in text.split(char::is_whitespace).flat_map(split_off_punctuation) {
            self.pieces.split(word, &mut found, &mut buffer);
            if found.len() >= enough {
                break;
            }
        }
        found
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
