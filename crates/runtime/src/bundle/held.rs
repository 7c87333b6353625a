//! A file that stays the one that was opened, whatever becomes of its name.

#![forbid(unsafe_code)]

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
#[cfg(not(unix))]
use std::sync::Mutex;
use std::time::SystemTime;

use memmap2::Mmap;

use crate::ftplan::Bytes;
use crate::kernels::map;

/// A plain file, open. Reading fails once it was written to, because what was read before would not belong to it; and
/// a bundle's is read, not mapped, so that one which was cut short ends a read and not the process.
pub(super) struct Held {
    file: File,
    state: State,
    /// Whose turn it is to move the file's only place to read at.
    #[cfg(not(unix))]
    turn: Mutex<()>,
}

/// What changes when a file is written to, but not when it is renamed or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    size: u64,
    /// None where the system has no such time.
    modified: Option<SystemTime>,
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Held {
    /// Opening a pipe or a device could wait for ever, so it is not tried.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("is not a file"));
        }
        let file = File::open(path)?;
        let state = State::of(&file.metadata()?);
        Ok(Self {
            file,
            state,
            #[cfg(not(unix))]
            turn: Mutex::default(),
        })
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.state.size
    }

    /// Fills `buffer` from `offset` on; from several threads at once if need be.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = self.read_exact_at(offset, buffer);
        self.check().and(read)
    }

    #[cfg(unix)]
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }

    #[cfg(not(unix))]
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let _turn = crate::lock::lock(&self.turn);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    /// After reading: what was written before that shows.
    fn check(&self) -> io::Result<()> {
        if State::of(&self.file.metadata()?) == self.state {
            return Ok(());
        }
        Err(io::Error::other("was written to since it was opened; open the bundle again"))
    }
}

/// For a plan, whose weights are used where they are.
impl Bytes for Held {
    fn len(&self) -> u64 {
        self.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        Self::read_at(self, offset, buffer)
    }

    fn map(&self) -> io::Result<Option<Arc<Mmap>>> {
        let map = map(&self.file, self.state.size)?;
        self.check().map(|()| Some(map))
    }

    fn check(&self) -> io::Result<()> {
        Self::check(self)
    }
}

/// For a zip file, which has a place to read at and is read by one thread at a time.
impl Read for Held {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        self.check().and(read)
    }
}

impl Seek for Held {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
