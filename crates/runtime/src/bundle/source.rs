//! Named files that can be read in part: the one thing a bundle needs of the place it is kept in.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::held::Held;
use crate::lock::lock;

/// Where a bundle's files are kept.
///
/// The library has folders and zip files; implement this for anything else, such as an engine's
/// asset system, and open it with [`Bundle::from_source`](crate::Bundle::from_source). Names are
/// flat (`[A-Za-z0-9._-]`, at most 128 characters, not starting with a dot). Files must not change
/// while a bundle is open: what is read is checked against the manifest's hashes once.
///
/// Calls may come from several threads at once.
pub trait Source: Send + Sync {
    /// Size of a file in bytes.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when there is no such file.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Fills `buffer` with the bytes of a file from `offset` on.
    ///
    /// # Errors
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the file ends before the buffer is full.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// What to call this place in an error message: a path, "asset pack 'textures'".
    fn describe(&self) -> String;
}

/// A folder of files. Each is opened when it is first asked for, all of a bundle's while that is opened, and stays
/// open: the calling program may change its folder, and this one may be renamed, replaced or deleted.
pub(super) struct Folder {
    path: PathBuf,
    files: Mutex<BTreeMap<String, Arc<Held>>>,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), files: Mutex::default() }
    }

    fn file(&self, name: &str) -> io::Result<Arc<Held>> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(name) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(Held::open(&self.path.join(name))?);
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Source for Folder {
    fn size(&self, name: &str) -> io::Result<u64> {
        self.file(name).map(|file| file.size())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file(name)?.read_at(offset, buffer)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

/// Fills `buffer` with those of `bytes` from `offset` on.
pub(super) fn copy(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let start = usize::try_from(offset).ok();
    let wanted = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
    buffer.copy_from_slice(wanted.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}
