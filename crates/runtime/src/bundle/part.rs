//! Listed files read by parts.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;

use super::checksum::{self, Listed};
use super::source::{self, Source};
use crate::error::{self, Context, invalid_bundle};
use crate::{Limits, Result};

/// A file of the bundle that exists and keeps to the limits; cheap to clone. Its hash is checked elsewhere.
#[derive(Clone)]
pub struct ListedFile {
    source: Arc<dyn Source>,
    name: Arc<str>,
    size: u64,
}

impl ListedFile {
    pub(super) fn new(source: &Arc<dyn Source>, file: &Listed, limits: &Limits) -> Result<Self> {
        let size = checksum::size(source.as_ref(), file, limits)?;
        Ok(Self { source: Arc::clone(source), name: file.name.into(), size })
    }

    /// A file that is there, whatever a manifest lists.
    pub fn of(source: Arc<dyn Source>, name: &str, size: u64) -> Self {
        Self { source, name: name.into(), size }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` from `offset` on. The errors do not name the file.
    ///
    /// # Errors
    /// `Io`: the source failed, or the file ends before the buffer is full.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.source.read_at(&self.name, offset, buffer);
        read.map_err(|error| error::io(format!("cannot be read: {error}")))
    }

    /// `asked` bytes from `offset` on; without a number, up to the file's end.
    ///
    /// # Errors
    /// `InvalidBundle`: past the file's end.
    pub fn part(&self, offset: u64, asked: Option<u64>) -> Result<Part> {
        let left = self.size.checked_sub(offset);
        let length =
            left.and_then(|left| asked.map_or(Some(left), |length| (length <= left).then_some(length)));
        match length {
            Some(length) => Ok(Part { file: self.clone(), offset, length }),
            None => {
                let length = asked.map_or("the rest".to_owned(), |length| format!("{length} bytes"));
                let size = self.size;
                let message =
                    format!("the graph asks for {length} at offset {offset}, the file has {size} bytes");
                Err(invalid_bundle(message))
            }
        }
    }
}

/// A range of a checked file, read when it is needed.
#[derive(Clone)]
pub struct Part {
    file: ListedFile,
    offset: u64,
    length: u64,
}

impl Part {
    /// Bytes that lie in memory, and their name for messages.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        Self { file: ListedFile::of(Arc::new(Memory(bytes)), name, length), offset: 0, length }
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Replaces what `buffer` holds with `len` bytes from `offset` on.
    ///
    /// # Errors
    /// `InvalidBundle`: there are fewer. `Io`: the source failed. `OutOfMemory`.
    pub fn read_piece(&self, offset: u64, len: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= self.length);
        end.ok_or_else(|| invalid_bundle("a piece of a weight is beyond its end"))?;
        crate::memory::resize(buffer, len, 0)?;
        self.file.read_at(self.offset + offset, buffer)
    }

    /// Replaces what `buffer` holds; an error leaves it empty.
    ///
    /// # Errors
    /// `Io`: the source failed. `OutOfMemory`.
    pub fn read(&self, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        let mut read = || {
            checksum::reserve(buffer, self.length)?;
            buffer.resize(self.length as usize, 0);
            self.file.read_at(self.offset, buffer)
        };
        read().inspect_err(|_| buffer.clear()).at(|| self.file.name.to_string())
    }
}

/// The bytes of one file, whatever its name.
struct Memory(Vec<u8>);

impl Source for Memory {
    fn size(&self, _: &str) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, _: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        source::copy(&self.0, offset, buffer)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
