//! A zip file whose entries are stored, not compressed: a folder in one file.
//!
//! Reading needs the directory at the file's end and one local header per entry; after that a range
//! of an entry is a range of the file. This reads that much of the format itself, because a general
//! zip reader makes room for as many entries as a hostile file claims, and keeps one of two entries
//! with the same name without saying so. Zip64 is understood; anything a bundle has no use for
//! (compression, encryption, folders, several disks, bytes before or after the zip) is refused.
//!
//! Section numbers are those of PKWARE's APPNOTE 6.3.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Mutex;

use super::parse::quoted;
use super::source::Source;
use super::validate::is_file_name;
use crate::error::{Error, invalid_bundle, limit_exceeded};
use crate::lock::lock;
use crate::{Result, memory};

/// Most entries: a bundle has about ten.
const MOST_ENTRIES: u64 = 256;
/// Most bytes of the directory: far more than that many entries need.
const MOST_DIRECTORY: u64 = 1 << 20;

/// A zip behind a reader, as a [`Source`].
pub(super) struct Archive<R> {
    reader: Mutex<R>,
    entries: BTreeMap<String, Entry>,
    description: String,
}

/// Where an entry's bytes are in the zip. The whole range is inside it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    size: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory. The errors do not name the zip: `description` is for later ones.
    pub(super) fn new(mut reader: R, description: impl Into<String>) -> Result<Self> {
        let end = Directory::find(&mut reader)?;
        let entries = end.entries(&mut reader)?;
        Ok(Self { reader: Mutex::new(reader), entries, description: description.into() })
    }

    fn entry(&self, name: &str) -> io::Result<Entry> {
        self.entries.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl<R: Read + Seek + Send> Source for Archive<R> {
    fn size(&self, name: &str) -> io::Result<u64> {
        self.entry(name).map(|entry| entry.size)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let entry = self.entry(name)?;
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > entry.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Every read seeks first, so a reader that panicked in the middle of one is still in order.
        let mut reader = lock(&self.reader);
        reader.seek(SeekFrom::Start(entry.start + offset))?;
        read_exact(&mut *reader, buffer)
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

/// The central directory's place, out of the end record (4.3.16) or its Zip64 form (4.3.14).
struct Directory {
    entries: u64,
    start: u64,
    size: u64,
}

impl Directory {
    fn find(reader: &mut (impl Read + Seek)) -> Result<Self> {
        const END: u64 = 22;
        const LOCATOR: u64 = 20;
        let length = reader.seek(SeekFrom::End(0)).map_err(read_failed)?;
        // The end record closes the file but for a comment of at most 64 KiB.
        let tail_start = length.saturating_sub(END + LOCATOR + u64::from(u16::MAX));
        let tail = read(reader, tail_start, length - tail_start)?;
        let (at, end) = (0..tail.len())
            .rev()
            .filter_map(|at| Some((at, Record::at(&tail, at, b"PK\x05\x06")?)))
            .find(|(at, end)| end.u16(20).is_some_and(|comment| at + 22 + usize::from(comment) == tail.len()))
            .ok_or_else(|| {
                invalid_bundle(
                    "is not a zip file or was cut short; a bundle is a folder with bundle.json or a zip of its \
                     files",
                )
            })?;
        let (directory, end_start) =
            match at.checked_sub(20).and_then(|at| Record::at(&tail, at, b"PK\x06\x07")) {
                Some(locator) => Self::zip64(reader, locator, tail_start + at as u64)?,
                None => (Self::zip32(end).ok_or_else(damaged)?, tail_start + at as u64),
            };
        if directory.entries > MOST_ENTRIES || directory.size > MOST_DIRECTORY {
            let (entries, size) = (directory.entries, directory.size);
            return Err(limit_exceeded(format!(
                "the zip's directory has {entries} entries in {size} bytes; a bundle may have \
                 {MOST_ENTRIES} in {MOST_DIRECTORY}"
            )));
        }
        if directory.start.checked_add(directory.size) != Some(end_start) {
            return Err(invalid_bundle(
                "the zip's directory is not where its end says; bytes are missing or added",
            ));
        }
        Ok(directory)
    }

    fn zip32(end: Record) -> Option<Self> {
        let one_disk = end.u32(4)? == 0 && end.u16(8)? == end.u16(10)?;
        let directory =
            Self { entries: end.u16(10)?.into(), size: end.u32(12)?.into(), start: end.u32(16)?.into() };
        one_disk.then_some(directory)
    }

    /// Follows the locator (4.3.15); also gives where the Zip64 end record starts.
    fn zip64(reader: &mut (impl Read + Seek), locator: Record, end: u64) -> Result<(Self, u64)> {
        let start = locator.u64(8).filter(|&start| start < end).ok_or_else(damaged)?;
        let bytes = read(reader, start, 56.min(end - start))?;
        let parse = || {
            let record = Record::at(&bytes, 0, b"PK\x06\x06")?;
            let one_disk = record.u64(16)? == 0 && record.u64(24)? == record.u64(32)?;
            let directory = Self { entries: record.u64(32)?, size: record.u64(40)?, start: record.u64(48)? };
            one_disk.then_some(directory)
        };
        Ok((parse().ok_or_else(damaged)?, start))
    }

    fn entries(&self, reader: &mut (impl Read + Seek)) -> Result<BTreeMap<String, Entry>> {
        let bytes = read(reader, self.start, self.size)?;
        let mut entries = BTreeMap::new();
        let mut at = 0;
        for _ in 0..self.entries {
            let header = Record::at(&bytes, at, b"PK\x01\x02").ok_or_else(damaged)?;
            let listed = ListedEntry::parse(header).ok_or_else(damaged)?;
            let name = listed.checked_name()?;
            let entry = listed.locate(reader, self.start).map_err(|e| e.at(&name))?;
            if entries.insert(name.clone(), entry).is_some() {
                return Err(invalid_bundle("is in the zip twice").at(name));
            }
            at += listed.length;
        }
        Ok(entries)
    }
}

/// One header of the central directory (4.3.12).
struct ListedEntry<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    compressed: u64,
    size: u64,
    local_header: u64,
    /// Of this header, in bytes.
    length: usize,
}

impl<'a> ListedEntry<'a> {
    fn parse(header: Record<'a>) -> Option<Self> {
        let name_length = usize::from(header.u16(28)?);
        let extra_length = usize::from(header.u16(30)?);
        let length = 46 + name_length + extra_length + usize::from(header.u16(32)?);
        let extra = header.0.get(46 + name_length..)?.get(..extra_length)?;
        // Zip64 (4.5.3) gives, in this order, those of the fields that are all ones in the header.
        let mut wide = wide_fields(extra);
        let mut field = |at: usize| match header.u32(at)? {
            u32::MAX => wide.next(),
            narrow => Some(u64::from(narrow)),
        };
        let size = field(24)?;
        let compressed = field(20)?;
        let local_header = field(42)?;
        header.0.get(..length)?;
        Some(Self {
            name: header.0.get(46..46 + name_length)?,
            flags: header.u16(8)?,
            method: header.u16(10)?,
            compressed,
            size,
            local_header,
            length,
        })
    }

    fn checked_name(&self) -> Result<String> {
        let name = String::from_utf8_lossy(self.name);
        if !is_file_name(&name) {
            return Err(invalid_bundle(format!(
                "the zip has an entry {}; a bundle's names are flat: at most 128 A-Z a-z 0-9 . _ - without '..'",
                quoted(&name)
            )));
        }
        if self.flags & 1 != 0 {
            return Err(invalid_bundle("is encrypted in the zip; store it as it is").at(name));
        }
        if self.method != 0 || self.compressed != self.size {
            return Err(invalid_bundle("is compressed in the zip; store it as it is (zip -0)").at(name));
        }
        Ok(name.into_owned())
    }

    /// Finds the bytes behind the local header (4.3.7), whose extra field may differ in length.
    fn locate(&self, reader: &mut (impl Read + Seek), directory: u64) -> Result<Entry> {
        let outside = || invalid_bundle("reaches past the zip's directory; the zip is damaged");
        let left = directory.checked_sub(self.local_header).filter(|&left| left >= 30).ok_or_else(outside)?;
        let bytes = read(reader, self.local_header, 30)?;
        let local = Record::at(&bytes, 0, b"PK\x03\x04").ok_or_else(damaged)?;
        let (Some(name), Some(extra)) = (local.u16(26), local.u16(28)) else { return Err(damaged()) };
        let header = 30 + u64::from(name) + u64::from(extra);
        let room = left.checked_sub(header).ok_or_else(outside)?;
        if self.size > room {
            return Err(outside());
        }
        Ok(Entry { start: self.local_header + header, size: self.size })
    }
}

/// The values of the Zip64 extra field, if there is one.
fn wide_fields(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut values: &[u8] = &[];
    while let (Some(id), Some(length)) = (Record(extra).u16(0), Record(extra).u16(2)) {
        let Some(data) = extra.get(4..4 + usize::from(length)) else { break };
        if id == 1 {
            values = data;
            break;
        }
        extra = extra.get(4 + data.len()..).unwrap_or_default();
    }
    values.chunks_exact(8).filter_map(|value| value.try_into().ok().map(u64::from_le_bytes))
}

/// Bytes that start with a record: little-endian fields by offset.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn at(bytes: &'a [u8], at: usize, signature: &[u8; 4]) -> Option<Self> {
        bytes.get(at..).filter(|record| record.starts_with(signature)).map(Self)
    }

    fn field<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.field(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.field(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.field(at).map(u64::from_le_bytes)
    }
}

/// Reads a part whose length is known to be small.
fn read(reader: &mut (impl Read + Seek), start: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = memory::filled(usize::try_from(length).map_err(|_| damaged())?, 0)?;
    reader.seek(SeekFrom::Start(start)).map_err(read_failed)?;
    read_exact(reader, &mut bytes).map_err(read_failed)?;
    Ok(bytes)
}

/// As [`Read::read_exact`], but a reader that claims more than it was asked for is an error and no panic.
pub fn read_exact(reader: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                let asked = buffer.len();
                buffer = buffer.get_mut(count..).ok_or_else(|| {
                    io::Error::other(format!("the reader says that it read {count} bytes of {asked}"))
                })?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_failed(error: io::Error) -> Error {
    crate::error::io(format!("cannot be read: {error}"))
}

fn damaged() -> Error {
    invalid_bundle("the zip's directory is damaged")
}
