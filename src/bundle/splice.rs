//! Puts presets into the text of a manifest, and leaves every other byte of it alone: what people and newer
//! versions of the format have written stays as they wrote it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use serde_json::Value;

use super::Preset;
use crate::Result;
use crate::error::{Error, invalid_bundle};

/// `json`, a manifest that was read before, with `presets` as the value of `sampling.presets`.
pub(super) fn presets(json: &[u8], presets: &BTreeMap<String, Preset>) -> Result<Vec<u8>> {
    let manifest = Object::at(json, Cursor { json, at: 0 }.space()).ok_or_else(unreadable)?;
    let sampling = manifest.entry("sampling").ok_or_else(unreadable)?.value.start;
    let sampling = Object::at(json, sampling).ok_or_else(unreadable)?;
    // What stands before a field of `sampling`: a line break and its indentation, or nothing at all.
    let last = sampling.entries.last().ok_or_else(unreadable)?;
    let indent = String::from_utf8_lossy(&json[last.space.clone()]).into_owned();
    let value = written(presets, &indent);
    let (place, text) = match sampling.entry("presets") {
        Some(entry) => (entry.value.clone(), value),
        None => (last.value.end..last.value.end, format!(",{indent}\"presets\": {value}")),
    };
    Ok([&json[..place.start], text.as_bytes(), &json[place.end..]].concat())
}

/// A preset a line where the fields of `sampling` have a line each, `indent` before them.
fn written(presets: &BTreeMap<String, Preset>, indent: &str) -> String {
    // Those fields are two levels deep: half of their indentation is one level's.
    let (_, spaces) = indent.rsplit_once('\n').unwrap_or_default();
    let deeper = spaces.get(spaces.len() / 2..).unwrap_or_default();
    let mut text = "{".to_owned();
    for (i, (name, Preset { schedule, guidance })) in presets.iter().enumerate() {
        let (comma, name) = (if i == 0 { "" } else { "," }, Value::from(name.as_str()));
        let _ = write!(
            text,
            "{comma}{indent}{deeper}{name}: {{ \"schedule\": \"{schedule}\", \"guidance\": {guidance} }}"
        );
    }
    text + if presets.is_empty() { "" } else { indent } + "}"
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
