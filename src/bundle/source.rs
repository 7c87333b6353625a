//! Named files that can be read in part: the one thing a bundle needs of the place it is kept in.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

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

/// A folder of files.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Opens a plain file; opening a pipe or a device could wait for ever.
    fn file(&self, name: &str) -> io::Result<(File, u64)> {
        let path = self.path.join(name);
        let there = std::fs::metadata(&path)?;
        if !there.is_file() {
            return Err(io::Error::other("is not a file"));
        }
        Ok((File::open(path)?, there.len()))
    }
}

impl Source for Folder {
    fn size(&self, name: &str) -> io::Result<u64> {
        self.file(name).map(|(_, size)| size)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut file, _) = self.file(name)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}
