//! Where presets go: into a folder's `bundle.json`, or into a new zip file.

use std::io;
use std::path::Path;

use flowturbo::Bundle;

use crate::failure::Failure;
use crate::output::Output;

/// A place for a bundle with new presets, found writable before the work starts.
pub enum Store {
    /// The manifest of a folder.
    Manifest(Output),
    /// The whole bundle.
    Zip(Output),
}

impl Store {
    /// The manifest of the bundle at `bundle`, to be replaced.
    pub fn in_place(bundle: &Path) -> Result<Self, Failure> {
        if !bundle.is_dir() {
            let bundle = bundle.display();
            let message = format!("{bundle}: a zip file stays as it is; write a new one with -o FILE.zip");
            return Err(Failure::Usage(message));
        }
        Ok(Self::Manifest(Output::new(&bundle.join("bundle.json"))?))
    }

    /// A zip file of its own.
    pub fn zip(path: &Path) -> Result<Self, Failure> {
        Ok(Self::Zip(Output::new(path)?))
    }

    /// What is written to.
    pub fn output(&self) -> &Output {
        match self {
            Self::Manifest(output) | Self::Zip(output) => output,
        }
    }

    pub fn save(&self, bundle: &Bundle) -> Result<(), Failure> {
        match self {
            Self::Manifest(output) => output.write(|out| out.write_all(bundle.json())),
            Self::Zip(output) => output.write(|out| bundle.write_zip(out).map_err(io::Error::other)),
        }
    }
}
