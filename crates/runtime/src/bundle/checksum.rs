//! Files streamed, and held to the SHA-256 that `bundle.json` gives them.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::io::ErrorKind;

use sha2::{Digest, Sha256};

use super::MANIFEST;
use super::source::Source;
use crate::error::{Error, invalid_bundle, io, limit_exceeded};
use crate::{Limits, Result, memory};

/// How much of a file is read at a time.
const CHUNK: usize = 1 << 20;

/// A file that the manifest lists.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    pub(super) sha256: &'a str,
    /// Where it is listed: `networks.predictor.file`.
    pub(super) field: String,
}

/// Lower-case hex SHA-256.
pub fn hex_of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of `bundle.json`.
pub(super) fn read_manifest(source: &dyn Source, limits: &Limits) -> Result<Vec<u8>> {
    let size = source.size(MANIFEST).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            invalid_bundle(format!("has no {MANIFEST}; a bundle is a folder or a zip that holds one"))
        }
        _ => io(error.to_string()).at(MANIFEST),
    })?;
    bounded(size, limits.max_manifest_bytes, "max_manifest_bytes").map_err(|e| e.at(MANIFEST))?;
    let mut bytes = Vec::new();
    reserve(&mut bytes, size).map_err(|e| e.at(MANIFEST))?;
    stream(source, MANIFEST, size, |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(bytes)
}

/// Size of a listed file: it exists and keeps to the limit.
pub(super) fn size(source: &dyn Source, file: &Listed, limits: &Limits) -> Result<u64> {
    let size = source.size(file.name).map_err(|error| {
        let error = match error.kind() {
            ErrorKind::NotFound => {
                invalid_bundle(format!("no such file, but {MANIFEST} ({}) lists it", file.field))
            }
            _ => io(error.to_string()),
        };
        error.at(file.name)
    })?;
    bounded(size, limits.max_file_bytes, "max_file_bytes").map_err(|e| e.at(file.name))?;
    Ok(size)
}

/// Checks a listed file, shows `each` piece of it, and keeps none; gives its size.
pub(super) fn check(
    source: &dyn Source,
    file: &Listed,
    limits: &Limits,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let size = size(source, file, limits)?;
    let mut hasher = Sha256::new();
    stream(source, file.name, size, |chunk| {
        hasher.update(chunk);
        each(chunk)
    })?;
    compare(hasher, file).map(|()| size)
}

/// Makes room for `size` bytes, or says that there is none: a claimed size must not abort the process.
pub(super) fn reserve(bytes: &mut Vec<u8>, size: u64) -> Result<()> {
    let size = usize::try_from(size).map_err(|_| memory::refused(size))?;
    memory::reserve(bytes, size)
}

pub fn bounded(size: u64, limit: u64, name: &str) -> Result<()> {
    if size <= limit {
        return Ok(());
    }
    Err(limit_exceeded(format!("is {size} bytes, above the limit of {limit} ({name})")))
}

/// Reads the first `size` bytes of a file a piece at a time.
pub(super) fn stream(
    source: &dyn Source,
    name: &str,
    size: u64,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer =
        memory::filled(CHUNK.min(usize::try_from(size).unwrap_or(CHUNK)), 0).map_err(|e| e.at(name))?;
    let mut offset = 0;
    while offset < size {
        let length = (buffer.len() as u64).min(size - offset);
        let Some(chunk) = buffer.get_mut(..length as usize) else { break };
        source.read_at(name, offset, chunk).map_err(|e| read_failed(name, &e))?;
        each(chunk)?;
        offset += length;
    }
    Ok(())
}

/// The error of a failed [`Source::read_at`].
fn read_failed(name: &str, error: &std::io::Error) -> Error {
    io(format!("cannot be read: {error}")).at(name)
}

fn compare(hasher: Sha256, file: &Listed) -> Result<()> {
    let found = hex(hasher);
    if found == file.sha256 {
        return Ok(());
    }
    let short = |hash: &str| hash.chars().take(8).collect::<String>();
    let (is, says) = (short(&found), short(file.sha256));
    let message = format!("SHA-256 is {is}…, {MANIFEST} says {says}…; the file is damaged or was changed");
    Err(invalid_bundle(message).at(file.name))
}
