//! CLIP's tokens: a prompt in lower case, cut into words, whose bytes are joined pair by pair as a list of merges says.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

/// What is a word of its own behind letters, as in `don't`.
const ENDINGS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// `BPE` and what comes before it.
pub(super) struct BytePairs {
    /// The tokens of bytes, inside of a word and at its end.
    pub(super) bytes: Box<[[u32; 256]; 2]>,
    /// What two neighbours become: the place in the list, smaller ones first, and the token.
    pub(super) merges: HashMap<[u32; 2], (usize, u32)>,
}

impl BytePairs {
    /// The tokens of a prompt; once there are `enough` the rest of it is left out.
    pub(super) fn tokens(&self, prompt: &str, enough: usize) -> Vec<u32> {
        // Each by itself: a final sigma is none here.
        let text: String = prompt.nfc().flat_map(char::to_lowercase).collect();
        let mut found = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() && found.len() < enough {
            let (word, behind) = rest.split_at(first_word(rest));
            if !word.starts_with(char::is_whitespace) {
                self.join(word, &mut found);
            }
            rest = behind;
        }
        found
    }

    /// Adds the tokens of a word.
    fn join(&self, word: &str, found: &mut Vec<u32>) {
        let count = word.len();
        let byte = |(i, byte): (usize, u8)| self.bytes[usize::from(i + 1 == count)][usize::from(byte)];
        // None where a token was joined to the one in front of it.
        let mut tokens: Vec<Option<u32>> = word.bytes().enumerate().map(byte).map(Some).collect();
        let mut before: Vec<usize> = (0..count).map(|i| i.wrapping_sub(1)).collect();
        let mut behind: Vec<usize> = (1..=count).collect();
        let pair = |tokens: &[Option<u32>], left: usize, right: usize| {
            let both = [(*tokens.get(left)?)?, (*tokens.get(right)?)?];
            self.merges.get(&both).map(|&(rank, joined)| Reverse((rank, left, right, joined)))
        };
        let mut waiting: BinaryHeap<_> = (1..count).filter_map(|i| pair(&tokens, i - 1, i)).collect();
        while let Some(next) = waiting.pop() {
            let Reverse((_, left, right, joined)) = next;
            // What changed since then is another pair, which waits by itself.
            if behind[left] != right || pair(&tokens, left, right) != Some(next) {
                continue;
            }
            (tokens[left], tokens[right]) = (Some(joined), None);
            behind[left] = behind[right];
            if let Some(of_next) = before.get_mut(behind[right]) {
                *of_next = left;
            }
            waiting.extend(pair(&tokens, before[left], left));
            waiting.extend(pair(&tokens, left, behind[left]));
        }
        found.extend(tokens.into_iter().flatten());
    }
}

/// Bytes of the first word of a text that is not empty, or of the space in front of it: one of the endings, letters,
/// one digit, or a run of what is none of these.
fn first_word(text: &str) -> usize {
    if let Some(ending) = ENDINGS.iter().find(|ending| text.starts_with(**ending)) {
        return ending.len();
    }
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return 0 };
    let kind = Kind::of(first);
    match kind {
        Kind::Number => first.len_utf8(),
        _ => text.find(|c| Kind::of(c) != kind).unwrap_or(text.len()),
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Space,
    Letter,
    Number,
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        use GeneralCategory::*;

        match get_general_category(c) {
            _ if c.is_whitespace() => Self::Space,
            UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter => {
                Self::Letter
            }
            DecimalNumber | LetterNumber | OtherNumber => Self::Number,
            _ => Self::Other,
        }
    }
}

/// The character that stands for a byte in vocabularies: itself where it can be seen, else one of those from 256 on.
pub(super) fn character(byte: u8) -> char {
    let is_seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
    let unseen = (0..byte).filter(|byte| !is_seen(byte)).count() as u32;
    if is_seen(&byte) { char::from(byte) } else { char::from_u32(256 + unseen).unwrap_or('\0') }
}

#[cfg(test)]
mod tests;
