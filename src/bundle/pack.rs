//! Writes a bundle as one zip file of stored entries, the kind that [`super::archive`] reads.
//!
//! The manifest comes first and every date is the same, so that equal bundles are equal bytes. Section numbers
//! are those of PKWARE's APPNOTE 6.3.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::checksum::{self, Listed};
use super::{Bundle, MANIFEST, Role};
use crate::Result;
use crate::error::{Context, Error, limit_exceeded};

impl Bundle {
    /// Writes this bundle as one zip file: its manifest and the files that it lists, and nothing else that may lie
    /// beside them. Each file is read twice, the first time to check its SHA-256; memory use does not grow with it.
    ///
    /// # Errors
    /// [`InvalidBundle`](crate::ErrorKind::InvalidBundle) names a file that is damaged or gone;
    /// [`Io`](crate::ErrorKind::Io): one that cannot be read, or `out` cannot be written;
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded): 4 GiB or more, which only a folder can hold.
    pub fn write_zip(&self, out: impl Write) -> Result<()> {
        let mut zip = Zip { out, at: 0, directory: Vec::new(), entries: 0 };
        let mut crc = Crc::default();
        crc.update(&self.json);
        zip.begin(MANIFEST, self.json.len() as u64, crc)?;
        zip.write(&self.json)?;
        let listed = Role::ALL.iter().flat_map(|&role| self.manifest.listed(role));
        // Two networks may share a file.
        let files: BTreeMap<&str, Listed> = listed.map(|file| (file.name, file)).collect();
        files.values().try_for_each(|file| self.add(&mut zip, file)).at(|| self.source.describe())?;
        zip.end()
    }

    fn add(&self, zip: &mut Zip<impl Write>, file: &Listed) -> Result<()> {
        let (source, mut crc) = (self.source.as_ref(), Crc::default());
        let size = checksum::check(source, file, &self.limits, |chunk| crc.update(chunk))?;
        zip.begin(file.name, size, crc)?;
        checksum::stream(source, file.name, size, |chunk| zip.write(chunk))
    }
}

/// A zip file as far as it is written.
struct Zip<W> {
    out: W,
    /// Bytes written.
    at: u64,
    /// The headers of the central directory, which follows the files.
    directory: Vec<u8>,
    entries: u16,
}

impl<W: Write> Zip<W> {
    /// Writes the header of a file (4.3.7) and notes it for the directory (4.3.12).
    fn begin(&mut self, name: &str, size: u64, crc: Crc) -> Result<()> {
        let (offset, size) = (narrow(self.at)?, narrow(size)?);
        // From "version needed to extract" to "extra field length": version 2.0, stored, 1 January 1980.
        let mut common = Vec::new();
        [20_u16, 0, 0, 0, 0x21].iter().for_each(|field| common.extend(field.to_le_bytes()));
        [crc.value(), size, size].iter().for_each(|field| common.extend(field.to_le_bytes()));
        // Names have at most 128 characters.
        [name.len() as u16, 0].iter().for_each(|field| common.extend(field.to_le_bytes()));
        // "Made by" Unix, whose permissions follow: a plain file that all may read.
        self.directory.extend(b"PK\x01\x02\x14\x03");
        self.directory.extend(&common);
        self.directory.extend([0; 6]);
        self.directory.extend((0o100_644_u32 << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries += 1;
        self.write(&[b"PK\x03\x04", common.as_slice(), name.as_bytes()].concat())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error| write_failed(&error))
    }

    /// Writes the directory and its end record (4.3.16).
    fn end(mut self) -> Result<()> {
        let (start, directory) = (narrow(self.at)?, std::mem::take(&mut self.directory));
        self.write(&directory)?;
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        [self.entries; 2].iter().for_each(|entries| end.extend(entries.to_le_bytes()));
        end.extend(narrow(directory.len() as u64)?.to_le_bytes());
        end.extend(start.to_le_bytes());
        end.extend([0; 2]);
        self.write(&end)?;
        self.out.flush().map_err(|error| write_failed(&error))
    }
}

/// A size or a place; all ones would mean that it is elsewhere, in a Zip64 field.
fn narrow(bytes: u64) -> Result<u32> {
    let narrow = u32::try_from(bytes).ok().filter(|&narrow| narrow < u32::MAX);
    narrow.ok_or_else(|| limit_exceeded("the zip would pass 4 GiB; keep this bundle in a folder"))
}

fn write_failed(error: &io::Error) -> Error {
    crate::error::io(format!("the zip cannot be written: {error}"))
}

/// CRC-32 as zip files use it (4.4.7).
#[derive(Clone, Copy)]
struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc {
    const TABLE: [u32; 256] = {
        let (mut table, mut i) = ([0; 256], 0);
        while i < 256 {
            let (mut value, mut bit) = (i as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };

    fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = Self::TABLE[usize::from(self.0 as u8 ^ byte)] ^ (self.0 >> 8);
        }
    }

    fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_one_of_the_standard() {
        let mut crc = Crc::default();
        crc.update(b"12345");
        crc.update(b"6789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
