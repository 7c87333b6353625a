//! Puts presets into the text of a manifest, and leaves every other byte of it alone: what people and newer
//! versions of the format have written stays as they wrote it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::Preset;
use crate::Result;
use crate::error::{Error, invalid_bundle};

type Presets = BTreeMap<String, Preset>;

/// `json`, a manifest that was read before, with `new` as the value of `sampling.presets`. Presets that are among
/// the `old` ones keep their text too.
pub(super) fn presets(json: &[u8], old: &Presets, new: &Presets) -> Result<Vec<u8>> {
    let manifest = Object::at(json, Cursor { json, at: 0 }.space()).ok_or_else(unreadable)?;
    let sampling = manifest.entry("sampling").ok_or_else(unreadable)?.value.start;
    let sampling = Object::at(json, sampling).ok_or_else(unreadable)?;
    // What stands before a field of `sampling`: a line break and its indentation, or nothing at all.
    let last = sampling.entries.last().ok_or_else(unreadable)?;
    let indent = &json[last.space.clone()];
    let there = sampling.entry("presets");
    let texts = there.and_then(|entry| Object::at(json, entry.value.start));
    let kept = |name: &str| texts.as_ref()?.entry(name).map(|entry| &json[entry.value.clone()]);
    let text = |(name, preset): (&String, &Preset)| {
        let kept = kept(name).filter(|_| old.get(name) == Some(preset));
        (Value::from(name.as_str()).to_string(), kept.map_or_else(|| written(preset), <[u8]>::to_vec))
    };
    let value = object(new.iter().map(text), indent);
    let (place, text) = match there {
        Some(entry) => (entry.value.clone(), value),
        None => (last.value.end..last.value.end, [b",", indent, b"\"presets\": ", &value].concat()),
    };
    Ok([&json[..place.start], &text, &json[place.end..]].concat())
}

/// A preset a line where the fields of `sampling` have a line each, `indent` before them.
fn object(presets: impl Iterator<Item = (String, Vec<u8>)>, indent: &[u8]) -> Vec<u8> {
    // Those fields are two levels deep: half of their indentation is one level's.
    let spaces = indent.rsplit(|byte| *byte == b'\n').next().filter(|spaces| spaces.len() < indent.len());
    let deeper = spaces.and_then(|spaces| spaces.get(spaces.len() / 2..)).unwrap_or_default();
    let lines: Vec<Vec<u8>> =
        presets.map(|(name, text)| [indent, deeper, name.as_bytes(), b": ", &text].concat()).collect();
    let end = if lines.is_empty() { &[] } else { indent };
    [b"{", lines.join(&b',').as_slice(), end, b"}"].concat()
}

fn written(Preset { schedule, guidance }: &Preset) -> Vec<u8> {
    format!("{{ \"schedule\": \"{schedule}\", \"guidance\": {guidance:?} }}").into_bytes()
}

/// Where the fields of an object are.
struct Object<'a> {
    json: &'a [u8],
    entries: Vec<Entry>,
}

struct Entry {
    /// The white space before the key.
    space: Range<usize>,
    key: Range<usize>,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    /// The object that begins at `at`; none if there is none.
    fn at(json: &'a [u8], at: usize) -> Option<Self> {
        let (mut cursor, mut entries) = (Cursor { json, at }, Vec::new());
        cursor.expect(b'{')?;
        loop {
            let space = cursor.at..cursor.space();
            if json.get(cursor.at) == Some(&b'}') {
                return Some(Self { json, entries });
            }
            let key = cursor.value()?;
            cursor.space();
            cursor.expect(b':')?;
            cursor.space();
            let value = cursor.value()?;
            entries.push(Entry { space, key, value });
            cursor.space();
            if json.get(cursor.at) == Some(&b',') {
                cursor.at += 1;
            }
        }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        // A key may be written with escapes.
        let is = |entry: &&Entry| {
            serde_json::from_slice::<String>(&self.json[entry.key.clone()]).is_ok_and(|key| key == name)
        };
        self.entries.iter().find(is)
    }
}

/// A place in a text that is known to be JSON.
struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.json.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Goes over white space; gives the place behind it.
    fn space(&mut self) -> usize {
        while self.json.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.at
    }

    /// Goes over a value; gives where it was.
    fn value(&mut self) -> Option<Range<usize>> {
        let (start, mut depth) = (self.at, 0_usize);
        loop {
            match self.json.get(self.at)? {
                b'"' => self.string()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            let ended = matches!(self.json.get(self.at), None | Some(b',' | b'}' | b']' | b':'))
                || self.json.get(self.at).is_some_and(u8::is_ascii_whitespace);
            if depth == 0 && ended {
                return Some(start..self.at);
            }
        }
    }

    /// From a string's first quote to its last.
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            match self.json.get(self.at)? {
                b'"' => return Some(()),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }
}

fn unreadable() -> Error {
    invalid_bundle("sampling: cannot be found in the text")
}
