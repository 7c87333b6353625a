//! A file of plans: what a bundle's networks were compiled to, its manifest, and the weights that are left.
//!
//! ```text
//! path, bytes, reader ──format──▶ header, table, sections ──network──▶ Plan, Weights ──▶ Engine
//! ```
//!
//! Opening reads the header, the table and the manifest; a network's plans are read when it is first asked for, and its
//! weights stay in the file where they are packed for this processor. docs/plan.md describes the format.

#![forbid(unsafe_code)]

mod backend;
mod format;
mod hash;
mod network;
mod write;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex};

use memmap2::Mmap;

pub use backend::Planned;
pub use format::MAGIC;
pub use network::{Body, Conditions, Stored, StoredWeight};
pub use write::{Network, write};

use crate::bundle::{Extent, MANIFEST, Role, Source, bounded, read_exact};
use crate::error::{Context, invalid_bundle, io as io_error, unsupported};
use crate::kernels::{Inline, Isa, Parallel};
use crate::lock::lock;
use crate::plan::Target;
use crate::precision::Precision;
use crate::{Limits, Result, memory};
use format::{Kind, Section, SectionTable};

/// What a plan file needs of the place it is kept in.
pub trait Bytes: Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof`: they end before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// All of them, in memory that all who map them share; none where that cannot be.
    ///
    /// # Errors
    /// The system refuses, or they are not what they were.
    fn map(&self) -> io::Result<Option<Arc<Mmap>>> {
        Ok(None)
    }

    /// Fails where they are no longer what they were.
    ///
    /// # Errors
    /// Says so.
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes behind a reader, from its first to its last.
pub struct Behind<R> {
    reader: Mutex<R>,
    len: u64,
}

impl<R: Read + Seek> Behind<R> {
    /// # Errors
    /// The reader's.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let len = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader: Mutex::new(reader), len })
    }
}

impl<R: Read + Seek + Send> Bytes for Behind<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        // Every read seeks first, so a reader that panicked in the middle of one is still in order.
        let mut reader = lock(&self.reader);
        reader.seek(SeekFrom::Start(offset))?;
        read_exact(&mut *reader, buffer)
    }
}

/// Says whether work is still wanted: an error that ends it.
type GoOn<'a> = dyn Fn() -> Result<()> + Sync + 'a;

/// A plan file, opened: its table was checked, its sections are when they are read.
pub struct PlanFile {
    bytes: Box<dyn Bytes>,
    place: String,
    table: SectionTable,
    /// All of it in memory, where weights are used as they are.
    map: Option<Arc<Mmap>>,
    /// Sections of weights that were held against their hashes.
    checked: Mutex<Vec<Role>>,
    /// What networks were compiled for, as far as somebody asked.
    extents: Mutex<BTreeMap<Role, Arc<[Extent]>>>,
}

impl PlanFile {
    /// The errors do not name the file: `place` is for later ones.
    ///
    /// # Errors
    /// `InvalidBundle`: names the field of the header or the table that lies. `Unsupported`: another version or target.
    /// `Io`.
    pub fn new(bytes: impl Bytes + 'static, place: impl Into<String>) -> Result<Self> {
        let table = SectionTable::read(bytes.len(), |at, buffer| bytes.read_at(at, buffer))?;
        let packed = table.target != Target::Generic;
        let map =
            if packed { bytes.map().map_err(|e| io_error(format!("cannot be mapped: {e}")))? } else { None };
        let (bytes, place) = (Box::new(bytes), place.into());
        Ok(Self { bytes, place, table, map, checked: Mutex::default(), extents: Mutex::default() })
    }

    pub fn target(&self) -> Target {
        self.table.target
    }

    /// What its weights are packed in; f32 where they are not.
    pub fn precision(&self) -> Precision {
        self.table.precision
    }

    /// The first of these instruction sets that it runs on.
    ///
    /// # Errors
    /// `Unsupported`: none.
    pub fn isa(&self, sets: &[Isa]) -> Result<Isa> {
        let target = self.target();
        target.isa(sets).ok_or_else(|| {
            let of_these = Target::ALL.iter().filter(|target| target.isa(sets).is_some());
            let taken: Vec<String> = of_these.map(Target::to_string).collect();
            let taken = taken.join(", ");
            unsupported(format!("target: compiled for {target}; here one for {taken} can be used"))
                .at(self.place.clone())
        })
    }

    pub fn describe(&self) -> &str {
        &self.place
    }

    /// The text of `bundle.json`.
    ///
    /// # Errors
    /// `InvalidBundle`: damaged, or not there. `LimitExceeded`. `Io`. `OutOfMemory`.
    pub fn manifest(&self, limits: &Limits) -> Result<Vec<u8>> {
        let section = self.section(Kind::Manifest)?;
        bounded(section.len(), limits.max_manifest_bytes, "max_manifest_bytes").at(|| MANIFEST.into())?;
        let bytes = self.read(section)?;
        memory::collected(bytes.len(), bytes.iter().copied())
    }

    /// What makes tokens of prompts.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub fn tokenizer(&self, limits: &Limits) -> Result<Vec<u8>> {
        let section = self.section(Kind::Tokenizer)?;
        bounded(section.len(), limits.max_tokenizer_bytes.into(), "max_tokenizer_bytes")
            .at(|| Kind::Tokenizer.to_string())?;
        let bytes = self.read(section)?;
        memory::collected(section.len() as usize, bytes[..section.len() as usize].iter().copied())
    }

    /// Bytes of a network's sections.
    pub fn size(&self, role: Role) -> u64 {
        let of_it =
            |section: &&Section| matches!(section.kind, Kind::Network(of) | Kind::Weights(of) if of == role);
        self.table.sections.iter().filter(of_it).map(Section::len).sum()
    }

    /// What the network that plays `role` was compiled for.
    ///
    /// # Errors
    /// `InvalidBundle`: it is damaged. `Unsupported`: there is none. `Io`. `OutOfMemory`.
    pub fn extents(&self, role: Role) -> Result<Arc<[Extent]>> {
        if let Some(extents) = lock(&self.extents).get(&role) {
            return Ok(Arc::clone(extents));
        }
        let stored = self.network(role).at(|| role.to_string()).at(|| self.place.clone())?;
        Ok(self.note_extents(role, &stored))
    }

    fn note_extents(&self, role: Role, stored: &Stored) -> Arc<[Extent]> {
        let extents: Arc<[Extent]> = stored.bodies.iter().map(Body::extent).collect();
        lock(&self.extents).insert(role, Arc::clone(&extents));
        extents
    }

    /// The plans of a network.
    fn network(&self, role: Role) -> Result<Stored> {
        let section = self.table.find(Kind::Network(role)).ok_or_else(|| {
            unsupported(format!("the plan was compiled without the {role}; compile the bundle again with it"))
        })?;
        Stored::read(&self.read(section)?)
    }

    /// Holds all sections against their hashes.
    ///
    /// # Errors
    /// `InvalidBundle`: names the one that is damaged. `Io`.
    pub fn verify(&self) -> Result<()> {
        self.table.sections.iter().try_for_each(|section| self.check(section, &Inline, &|| Ok(())))
    }

    /// Holds a network's weights against their hash, the first time; later, whether the file was written to.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and those of `go_on`, which is asked before each piece.
    fn check_weights(&self, role: Role, parallel: &dyn Parallel, go_on: &GoOn) -> Result<()> {
        if lock(&self.checked).contains(&role) {
            return self.bytes.check().map_err(|error| io_error(error.to_string()));
        }
        self.check(self.section(Kind::Weights(role))?, parallel, go_on)?;
        lock(&self.checked).push(role);
        Ok(())
    }

    fn section(&self, kind: Kind) -> Result<&Section> {
        self.table.find(kind).ok_or_else(|| invalid_bundle(format!("the file has no {kind}")))
    }

    /// All of a section, which is as its hash says.
    fn read(&self, section: &Section) -> Result<impl Deref<Target = [u8]> + use<>> {
        let place = || section.kind.to_string();
        let len = usize::try_from(section.len()).unwrap_or(usize::MAX);
        let mut bytes = pages(len.max(1)).at(place)?;
        self.fill(section.bytes.start, &mut bytes[..len]).at(place)?;
        let pieces: Vec<_> = bytes[..len].chunks(format::PIECE as usize).map(hash::of).collect();
        section.compare(&pieces)?;
        Ok(bytes)
    }

    fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        self.bytes.read_at(at, buffer).map_err(|error| io_error(format!("cannot be read: {error}")))
    }

    /// Holds a section against its hash without keeping it.
    fn check(&self, section: &Section, parallel: &dyn Parallel, go_on: &GoOn) -> Result<()> {
        let of_map = |piece: &Range<u64>| {
            let map = self.map.as_ref()?;
            map.get(usize::try_from(piece.start).ok()?..usize::try_from(piece.end).ok()?)
        };
        let hash_of = |piece: Range<u64>, buffer: &mut Vec<u8>| {
            go_on()?;
            if let Some(bytes) = of_map(&piece) {
                return Ok(hash::of(bytes));
            }
            memory::resize(buffer, (piece.end - piece.start) as usize, 0)?;
            self.fill(piece.start, buffer)?;
            Ok(hash::of(buffer))
        };
        let pieces: Vec<Range<u64>> = section.pieces().collect();
        let hashes = hash::of_all(pieces, hash_of, parallel).at(|| section.kind.to_string())?;
        section.compare(&hashes)
    }
}

/// So many bytes, on pages of their own, which go back to the system at once.
fn pages(len: usize) -> Result<impl DerefMut<Target = [u8]>> {
    // Where there are none, nothing goes back.
    #[cfg(target_family = "wasm")]
    return memory::filled(len, 0u8);
    #[cfg(not(target_family = "wasm"))]
    memmap2::MmapMut::map_anon(len).map_err(|_| memory::refused(len as u64))
}

/// For weights: a network's are the file of this name.
impl Source for PlanFile {
    fn size(&self, name: &str) -> io::Result<u64> {
        self.weights_called(name).map(Section::len)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let section = self.weights_called(name)?;
        let start = section.bytes.start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(buffer.len() as u64));
        match (start, end) {
            (Some(start), Some(end)) if end <= section.bytes.end => self.bytes.read_at(start, buffer),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn describe(&self) -> String {
        self.place.clone()
    }
}

impl PlanFile {
    fn weights_called(&self, name: &str) -> io::Result<&Section> {
        let called =
            |section: &&Section| matches!(section.kind, Kind::Weights(_)) && section.kind.to_string() == name;
        self.table.sections.iter().find(called).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
