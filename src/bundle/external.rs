//! Weights that a network keeps in files beside its graph.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::MANIFEST;
use super::checksum::{self, Listed, read_failed};
use super::source::Source;
use crate::error::invalid_bundle;
use crate::{Limits, Result};

/// The external data files of one network, for whatever imports its graph.
///
/// Only files that the manifest lists for this network are served, and their hashes were checked
/// when this was made.
#[derive(Clone)]
pub(crate) struct ExternalData {
    source: Arc<dyn Source>,
    /// Name and size in bytes; a handful at most.
    files: Vec<(String, u64)>,
}

impl ExternalData {
    /// Streams through each file once to check its hash.
    pub(super) fn new(source: Arc<dyn Source>, files: &[Listed], limits: &Limits) -> Result<Self> {
        let checked = |file: &Listed| {
            checksum::check(source.as_ref(), file, limits).map(|size| (file.name.to_owned(), size))
        };
        let files = files.iter().map(checked).collect::<Result<_>>()?;
        Ok(Self { source, files })
    }

    /// Replaces what `buffer` holds with `length` bytes of a file from `offset` on; without a length,
    /// up to the file's end.
    ///
    /// # Errors
    /// `InvalidBundle`: a file that is not listed for this network, or a range past its end.
    /// `Io`: the source failed.
    pub(crate) fn read(
        &self,
        name: &str,
        offset: u64,
        length: Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        buffer.clear();
        let Some(&(_, size)) = self.files.iter().find(|(listed, _)| listed == name) else {
            let name = name.escape_debug();
            let message = format!(
                "the graph keeps weights in '{name}', which {MANIFEST} does not list in its external_data"
            );
            return Err(invalid_bundle(message));
        };
        let left = size.checked_sub(offset);
        let Some(length) = left.and_then(|left| length.map_or(Some(left), |l| (l <= left).then_some(l)))
        else {
            let length = length.map_or("the rest".to_owned(), |length| format!("{length} bytes"));
            let message =
                format!("the graph asks for {length} at offset {offset}, the file has {size} bytes");
            return Err(invalid_bundle(message).at(name));
        };
        checksum::reserve(buffer, length).map_err(|e| e.at(name))?;
        buffer.resize(length as usize, 0);
        self.source.read_at(name, offset, buffer).map_err(|error| {
            buffer.clear();
            read_failed(name, &error)
        })
    }
}
