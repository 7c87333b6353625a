//! Weights that a network keeps in files beside its graph.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::MANIFEST;
use super::checksum::Listed;
use super::part::{ListedFile, Part};
use super::source::Source;
use crate::error::invalid_bundle;
use crate::{Limits, Result};

/// The external data files of one network, for whatever imports its graph.
///
/// Only files that the manifest lists for this network are served.
#[derive(Clone)]
pub struct ExternalData {
    /// A handful at most.
    files: Vec<ListedFile>,
}

impl ExternalData {
    pub(super) fn new(source: &Arc<dyn Source>, files: &[Listed], limits: &Limits) -> Result<Self> {
        let files = files.iter().map(|file| ListedFile::new(source, file, limits));
        Ok(Self { files: files.collect::<Result<_>>()? })
    }

    /// `length` bytes of a file from `offset` on; without a length, up to the file's end.
    ///
    /// # Errors
    /// `InvalidBundle`: a file that is not listed for this network, or a range past its end.
    pub fn part(&self, name: &str, offset: u64, length: Option<u64>) -> Result<Part> {
        let Some(file) = self.files.iter().find(|file| file.name() == name) else {
            let name = name.escape_debug();
            let message = format!(
                "the graph keeps weights in '{name}', which {MANIFEST} does not list in its external_data"
            );
            return Err(invalid_bundle(message));
        };
        file.part(offset, length).map_err(|error| error.at(name))
    }
}
