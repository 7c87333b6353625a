//! A bundle some of whose networks are others.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Bundle, Source, checksum};
use crate::Result;
use crate::error::{Context, invalid_bundle};

/// What takes the place of a network's graph and of all that it keeps outside of it.
pub struct Replacement {
    pub graph: Vec<u8>,
    /// A file beside it, by name, if it wants one.
    pub external: Option<(String, Vec<u8>)>,
}

impl Bundle {
    /// This bundle with other networks in place of those that are kept in such files. All other fields of the manifest
    /// stay, and all other files.
    ///
    /// # Errors
    /// `InvalidBundle`, `LimitExceeded`: as [`open_with`](Self::open_with).
    #[doc(hidden)]
    pub fn with_networks(&self, networks: BTreeMap<String, Replacement>) -> Result<Self> {
        let unreadable = |error: serde_json::Error| invalid_bundle(error.to_string());
        let mut manifest: Value = serde_json::from_slice(&self.json).map_err(unreadable)?;
        // The manifest was read before: it has this object.
        let listed =
            manifest["networks"].as_object_mut().into_iter().flat_map(|networks| networks.values_mut());
        for network in listed.filter_map(Value::as_object_mut) {
            let Some(other) = network["file"].as_str().and_then(|file| networks.get(file)) else { continue };
            network["sha256"] = checksum::hex_of(&other.graph).into();
            network.remove("external_data");
            if let Some((file, bytes)) = &other.external {
                let listed = json!([{"file": file, "sha256": checksum::hex_of(bytes)}]);
                network.insert("external_data".to_owned(), listed);
            }
        }
        let mut json = serde_json::to_vec_pretty(&manifest).map_err(unreadable)?;
        json.push(b'\n');
        let mut files = BTreeMap::new();
        for (file, Replacement { graph, external }) in networks {
            files.insert(file, graph);
            files.extend(external);
        }
        let source = Arc::new(Overlaid { files, rest: Arc::clone(&self.source) });
        Self::read(source, None, json, &self.limits).at(|| self.source.describe())
    }
}

/// Files in memory, and those of another source behind them.
struct Overlaid {
    files: BTreeMap<String, Vec<u8>>,
    rest: Arc<dyn Source>,
}

impl Source for Overlaid {
    fn size(&self, name: &str) -> io::Result<u64> {
        match self.files.get(name) {
            Some(bytes) => Ok(bytes.len() as u64),
            None => self.rest.size(name),
        }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.files.get(name) {
            Some(bytes) => super::source::copy(bytes, offset, buffer),
            None => self.rest.read_at(name, offset, buffer),
        }
    }

    fn describe(&self) -> String {
        self.rest.describe()
    }
}
