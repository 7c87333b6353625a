//! An ONNX file without its large weights.
//!
//! A protobuf message is a row of fields, each with a key and, where it is not a plain number, its
//! length in front. Three messages are taken apart, `ModelProto`, its `graph` and the graph's
//! initializers; all else is copied as it is. What a length claims is held against the message
//! around it, so nothing that the file does not have is skipped or made room for.

use prost::DecodeError;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use crate::Result;
use crate::bundle::{ListedFile, Part};
use crate::error::invalid_bundle;
use crate::memory;
use crate::weights::LARGE;

/// `ModelProto.graph`.
const GRAPH: u32 = 7;
/// `GraphProto.initializer`.
const INITIALIZER: u32 = 5;
/// `TensorProto.raw_data`.
const RAW_DATA: u32 = 9;

/// How much of the file is read at a time.
const WINDOW: u64 = 1 << 16;
/// The longest number, in bytes.
const MOST_VARINT: u64 = 10;

/// What is left of a `ModelProto`, and what was taken out.
pub(super) struct Skeleton {
    /// A `ModelProto` whose large initializers have no `raw_data`.
    pub(super) bytes: Vec<u8>,
    /// The number of an initializer, and where its `raw_data` is; ascending.
    pub(super) cuts: Vec<(usize, Part)>,
}

impl Skeleton {
    /// Reads the file but for what it takes out.
    pub(super) fn read(file: &ListedFile) -> Result<Self> {
        let mut reader =
            Reader { file, window: Vec::new(), start: 0, at: 0, initializers: 0, cuts: Vec::new() };
        let bytes = reader.model()?;
        Ok(Self { bytes, cuts: reader.cuts })
    }
}

/// A field's place in the file: key, length and payload end at `end`, the payload starts at `value`.
struct Field {
    tag: u32,
    kind: WireType,
    start: u64,
    value: u64,
    end: u64,
}

impl Field {
    fn is(&self, tag: u32) -> bool {
        self.tag == tag && self.kind == WireType::LengthDelimited
    }
}

struct Reader<'a> {
    file: &'a ListedFile,
    /// Part of the file, from `start` on.
    window: Vec<u8>,
    start: u64,
    /// What is read next.
    at: u64,
    /// Initializers met so far, of whatever graph: decoding joins two graphs to one.
    initializers: usize,
    cuts: Vec<(usize, Part)>,
}

impl Reader<'_> {
    fn model(&mut self) -> Result<Vec<u8>> {
        let mut model = Vec::new();
        while let Some(field) = self.field(self.file.size())? {
            if field.is(GRAPH) {
                let graph = self.graph(field.end)?;
                put(GRAPH, &graph, &mut model)?;
            } else {
                self.copy(&field, &mut model)?;
            }
        }
        Ok(model)
    }

    fn graph(&mut self, end: u64) -> Result<Vec<u8>> {
        let mut graph = Vec::new();
        while let Some(field) = self.field(end)? {
            if field.is(INITIALIZER) {
                let (tensor, cut) = self.tensor(field.end)?;
                put(INITIALIZER, &tensor, &mut graph)?;
                self.cuts.extend(cut.map(|part| (self.initializers, part)));
                self.initializers += 1;
            } else {
                self.copy(&field, &mut graph)?;
            }
        }
        Ok(graph)
    }

    /// A tensor and its `raw_data` if that is large. Of several the last one counts, as when decoding.
    fn tensor(&mut self, end: u64) -> Result<(Vec<u8>, Option<Part>)> {
        let (mut tensor, mut cut) = (Vec::new(), None);
        while let Some(field) = self.field(end)? {
            let length = field.end - field.value;
            if field.is(RAW_DATA) && length > LARGE {
                cut = Some(self.file.part(field.value, Some(length))?);
                self.at = field.end;
            } else {
                if field.is(RAW_DATA) {
                    cut = None;
                }
                self.copy(&field, &mut tensor)?;
            }
        }
        Ok((tensor, cut))
    }

    /// The next field of a message that goes on to `end`, and stands before its payload.
    fn field(&mut self, end: u64) -> Result<Option<Field>> {
        let start = self.at;
        if start >= end {
            return Ok(None);
        }
        let (tag, kind) = self.decode(end, |bytes| decode_key(bytes))?;
        let length = match kind {
            WireType::LengthDelimited => self.decode(end, |bytes| decode_varint(bytes))?,
            WireType::Varint => {
                let value = self.at;
                self.decode(end, |bytes| decode_varint(bytes))?;
                let length = self.at - value;
                self.at = value;
                length
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::StartGroup | WireType::EndGroup => {
                return Err(broken(format!("field {tag} at byte {start} is a group; ONNX has none")));
            }
        };
        let value = self.at;
        match value.checked_add(length).filter(|&field_end| field_end <= end) {
            Some(end) => Ok(Some(Field { tag, kind, start, value, end })),
            None => Err(broken(format!(
                "field {tag} at byte {start} claims {length} bytes, {} are left",
                end - value
            ))),
        }
    }

    /// Appends a field as it is and steps over it.
    fn copy(&mut self, field: &Field, to: &mut Vec<u8>) -> Result<()> {
        self.at = field.start;
        while self.at < field.end {
            let bytes = self.peek(WINDOW.min(field.end - self.at))?;
            memory::grow(to, bytes.len())?;
            to.extend_from_slice(bytes);
            self.at += bytes.len() as u64;
        }
        Ok(())
    }

    fn decode<T>(
        &mut self,
        end: u64,
        decode: impl FnOnce(&mut &[u8]) -> std::result::Result<T, DecodeError>,
    ) -> Result<T> {
        let at = self.at;
        let mut rest = self.peek(MOST_VARINT.min(end - at))?;
        let before = rest.len();
        let value = decode(&mut rest).map_err(|error| broken(format!("byte {at}: {error}")))?;
        self.at += (before - rest.len()) as u64;
        Ok(value)
    }

    /// The next `length` bytes, which the file has; at most a window.
    fn peek(&mut self, length: u64) -> Result<&[u8]> {
        let inside = |reader: &Self| {
            let from = reader.at.checked_sub(reader.start)?;
            (from + length <= reader.window.len() as u64).then_some(from as usize..(from + length) as usize)
        };
        if inside(self).is_none() {
            memory::resize(&mut self.window, WINDOW.min(self.file.size() - self.at) as usize, 0)?;
            self.start = self.at;
            if let Err(error) = self.file.read_at(self.at, &mut self.window) {
                self.window.clear();
                return Err(error);
            }
        }
        let range = inside(self).unwrap_or_default();
        Ok(self.window.get(range).unwrap_or_default())
    }
}

fn put(tag: u32, message: &[u8], to: &mut Vec<u8>) -> Result<()> {
    // A key and a length take at most a number each.
    memory::grow(to, 2 * MOST_VARINT as usize + message.len())?;
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(message.len() as u64, to);
    to.extend_from_slice(message);
    Ok(())
}

fn broken(what: String) -> crate::Error {
    invalid_bundle(format!("not a whole ONNX file: {what}"))
}

#[cfg(test)]
mod tests;
