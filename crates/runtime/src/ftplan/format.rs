//! The file itself: a header, sections, a table of them, a footer. docs/plan.md describes it.

#![forbid(unsafe_code)]

use std::io::Write;
use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::bundle::Role;
use crate::error::{Context, invalid_bundle, io, unsupported};
use crate::plan::Target;
use crate::precision::Precision;
use crate::{Error, Result, memory};

/// What a plan file begins with.
pub const MAGIC: [u8; 8] = *b"\x89FTPLAN\n";
/// The one version that this build reads and writes.
pub const VERSION: u32 = 1;
/// Bytes of the header, of an entry of the table, and of what closes the file.
const HEADER: usize = 16;
const ENTRY: usize = 64;
const FOOTER: usize = 64;
/// A manifest, a tokenizer, and two sections for each network.
const MOST_SECTIONS: u32 = 2 + 2 * Role::ALL.len() as u32;
/// Sections start on such addresses: a page of any system.
const ALIGN: u64 = 64 << 10;
/// Bytes that are hashed by themselves, so that threads can share a section.
pub const PIECE: u64 = 1 << 20;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bundle.json`.
    Manifest,
    /// The plans of a network.
    Network(Role),
    /// Its weights.
    Weights(Role),
    /// What makes tokens of prompts: the bundle's file.
    Tokenizer,
}

impl Kind {
    fn codes(self) -> [u32; 2] {
        let role = |role: Role| Role::ALL.iter().position(|&r| r == role).map_or(0, |i| i as u32 + 1);
        match self {
            Self::Manifest => [1, 0],
            Self::Network(of) => [2, role(of)],
            Self::Weights(of) => [3, role(of)],
            Self::Tokenizer => [4, 0],
        }
    }

    fn of(codes: [u32; 2]) -> Option<Self> {
        let all = Role::ALL.iter().flat_map(|&role| [Self::Network(role), Self::Weights(role)]);
        all.chain([Self::Manifest, Self::Tokenizer]).find(|kind| kind.codes() == codes)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manifest => write!(f, "manifest"),
            Self::Network(role) => write!(f, "plans of the {role}"),
            Self::Weights(role) => write!(f, "weights of the {role}"),
            Self::Tokenizer => write!(f, "tokenizer"),
        }
    }
}

/// Where a section lies in the file, and its hash.
#[derive(Clone, Debug)]
pub struct Section {
    pub kind: Kind,
    pub bytes: Range<u64>,
    pub hash: [u8; 32],
}

impl Section {
    pub fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// The pieces that are hashed by themselves.
    pub fn pieces(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let Range { start, end } = self.bytes;
        (start..end).step_by(PIECE as usize).map(move |at| at..end.min(at + PIECE))
    }

    /// Holds the hashes of all pieces, one behind another, against the section's.
    ///
    /// # Errors
    /// `InvalidBundle`.
    pub fn compare(&self, pieces: &[[u8; 32]]) -> Result<()> {
        if <[u8; 32]>::from(Sha256::digest(pieces.as_flattened())) == self.hash {
            return Ok(());
        }
        Err(invalid_bundle("is damaged: its SHA-256 is another one than the file's table says")
            .at(self.kind.to_string()))
    }
}

/// What header, table and footer say, checked.
#[derive(Clone, Debug)]
pub struct SectionTable {
    pub target: Target,
    /// Of packed weights.
    pub precision: Precision,
    pub sections: Vec<Section>,
}

impl SectionTable {
    /// Reads them of a file of `length` bytes, by `read`, which fills its buffer from an offset on.
    ///
    /// # Errors
    /// `InvalidBundle`: names the field that lies. `Unsupported`: another version or target. `Io`.
    pub fn read(length: u64, read: impl Fn(u64, &mut [u8]) -> std::io::Result<()>) -> Result<Self> {
        let fill = |at, buffer: &mut [u8]| read(at, buffer).map_err(|e| io(format!("cannot be read: {e}")));
        let short = || invalid_bundle("footer: not there; the file was cut short or added to");
        let (mut header, mut footer) = ([0; HEADER], [0; FOOTER]);
        fill(0, &mut header[..HEADER.min(usize::try_from(length).unwrap_or(HEADER))])?;
        if header[..8] != MAGIC {
            return Err(invalid_bundle("magic: not that of a plan file"));
        }
        let last =
            length.checked_sub(FOOTER as u64).filter(|&last| last >= HEADER as u64).ok_or_else(short)?;
        let version = number(&header, 8);
        if version != VERSION {
            return Err(unsupported(format!(
                "version: {version}, this build reads {VERSION}; compile the bundle again"
            )));
        }
        let unknown =
            |field| unsupported(format!("{field}: not known to this build; compile the bundle again"));
        let (target, precision) = (usize::from(header[12]), usize::from(header[13]));
        let target = Target::ALL.get(target).copied().filter(|_| header[14..] == [0; 2]);
        let target = target.ok_or_else(|| unknown("target"))?;
        let precision = Precision::ALL.get(precision).copied().filter(|&precision| precision.packs(target));
        let precision = precision.ok_or_else(|| unknown("precision"))?;
        fill(last, &mut footer)?;
        if footer[24..32] != MAGIC {
            return Err(short());
        }
        let (count, claimed) = (number(&footer, 0), long(&footer, 8));
        if !(1..=MOST_SECTIONS).contains(&count) {
            return Err(invalid_bundle(format!("sections: {count}, there are 1 to {MOST_SECTIONS}")));
        }
        if number(&footer, 4) != 0 {
            return Err(invalid_bundle("footer: what is reserved must be 0"));
        }
        if claimed != length {
            return Err(invalid_bundle(format!(
                "length: the file says {claimed} bytes and has {length}; it was cut short or added to"
            )));
        }
        let mut table = [0; ENTRY * MOST_SECTIONS as usize];
        let table = &mut table[..ENTRY * count as usize];
        let start = last.checked_sub(table.len() as u64).filter(|&start| start >= HEADER as u64);
        let start = start.filter(|&start| start == long(&footer, 16));
        let start = start.ok_or_else(|| invalid_bundle("table: not where the footer says"))?;
        fill(start, table)?;
        if hash_of(&header, table, &footer[..32])[..] != footer[32..] {
            return Err(invalid_bundle("table: is damaged, its SHA-256 is another one than the footer says"));
        }
        let mut sections: Vec<Section> = Vec::with_capacity(count as usize);
        for (i, entry) in table.chunks_exact(ENTRY).enumerate() {
            let end = sections.last().map_or(HEADER as u64, |last| last.bytes.end);
            let section = Section::parse(entry, end, start).at(|| format!("section {i}"))?;
            if sections.iter().any(|known| known.kind == section.kind) {
                return Err(
                    invalid_bundle(format!("kind: a second {}", section.kind)).at(format!("section {i}"))
                );
            }
            sections.push(section);
        }
        if sections.last().map(|last| last.bytes.end) != Some(start) {
            return Err(invalid_bundle("table: there is something between it and the last section"));
        }
        Ok(Self { target, precision, sections })
    }

    pub fn find(&self, kind: Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }
}

impl Section {
    /// The section of a table's entry, which lies behind `end` and before the table.
    fn parse(entry: &[u8], end: u64, table: u64) -> Result<Self> {
        let codes = [number(entry, 0), number(entry, 4)];
        let kind = Kind::of(codes).ok_or_else(|| {
            invalid_bundle(format!("kind: {} of network {} is not known", codes[0], codes[1]))
        })?;
        let (start, len) = (long(entry, 8), long(entry, 16));
        if !start.is_multiple_of(ALIGN) {
            return Err(invalid_bundle(format!("offset: {start}, must be a multiple of {ALIGN}")));
        }
        if start < end {
            return Err(invalid_bundle(format!("offset: {start}, inside of what is before it")));
        }
        let within = start.checked_add(len).filter(|&end| end <= table);
        let bytes = start..within.ok_or_else(|| {
            invalid_bundle(format!("length: {len} bytes from {start} on, the table begins at {table}"))
        })?;
        if long(entry, 24) != 0 {
            return Err(invalid_bundle("reserved: must be 0"));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&entry[32..]);
        Ok(Self { kind, bytes, hash })
    }
}

/// SHA-256 of all that is not in a section.
fn hash_of(header: &[u8], table: &[u8], footer: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(header).chain_update(table).chain_update(footer).finalize().into()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().copied().map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// Writes a file section by section; of sections that are written alike come the same bytes.
pub struct Writer<W> {
    out: W,
    header: [u8; HEADER],
    at: u64,
    sections: Vec<Section>,
    /// Of the section at hand: hashes of the pieces that are whole, and the piece that is not.
    pieces: Vec<[u8; 32]>,
    piece: Sha256,
    filled: u64,
}

impl<W: Write> Writer<W> {
    /// # Errors
    /// `Io`.
    pub fn new(out: W, target: Target, precision: Precision) -> Result<Self> {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&MAGIC);
        let codes = [VERSION, target.code() | precision.code() << 8];
        header[8..].copy_from_slice(codes.map(u32::to_le_bytes).as_flattened());
        let (sections, pieces) = (Vec::new(), Vec::new());
        let mut writer = Self { out, header, at: 0, sections, pieces, piece: Sha256::new(), filled: 0 };
        writer.raw(&header)?;
        Ok(writer)
    }

    /// Begins the next section, on a page of its own.
    ///
    /// # Errors
    /// `Io`.
    pub fn begin(&mut self, kind: Kind) -> Result<()> {
        self.end();
        let gap = self.at.next_multiple_of(ALIGN) - self.at;
        self.raw(&vec![0; gap as usize])?;
        self.sections.push(Section { kind, bytes: self.at..self.at, hash: [0; 32] });
        Ok(())
    }

    /// Adds to the section; gives where the bytes start in it.
    ///
    /// # Errors
    /// `Io`, `OutOfMemory`.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<u64> {
        let start = self.sections.last().map_or(0, |section| self.at - section.bytes.start);
        self.raw(bytes)?;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min((PIECE - self.filled) as usize));
            self.piece.update(now);
            self.filled += now.len() as u64;
            bytes = later;
            if self.filled == PIECE {
                self.end_piece()?;
            }
        }
        Ok(start)
    }

    /// Adds zeros up to the next cache line.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn align(&mut self) -> Result<()> {
        let gap = self.at.next_multiple_of(64) - self.at;
        self.write(&[0; 64][..gap as usize]).map(drop)
    }

    fn end_piece(&mut self) -> Result<()> {
        memory::push(&mut self.pieces, self.piece.finalize_reset().into())?;
        self.filled = 0;
        Ok(())
    }

    fn end(&mut self) {
        let Some(section) = self.sections.last_mut() else { return };
        if self.filled > 0 {
            self.pieces.push(self.piece.finalize_reset().into());
            self.filled = 0;
        }
        section.bytes.end = self.at;
        section.hash = Sha256::digest(self.pieces.as_flattened()).into();
        self.pieces.clear();
    }

    /// Writes the table and what closes the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(mut self) -> Result<()> {
        self.end();
        let mut table = Vec::new();
        for Section { kind, bytes, hash } in &self.sections {
            table.extend(kind.codes().map(u32::to_le_bytes).as_flattened());
            table.extend([bytes.start, bytes.end - bytes.start, 0].map(u64::to_le_bytes).as_flattened());
            table.extend(hash);
        }
        let length = self.at + (table.len() + FOOTER) as u64;
        let mut footer = Vec::with_capacity(FOOTER);
        footer.extend([self.sections.len() as u32, 0].map(u32::to_le_bytes).as_flattened());
        footer.extend([length, self.at].map(u64::to_le_bytes).as_flattened());
        footer.extend(MAGIC);
        footer.extend(hash_of(&self.header, &table, &footer));
        self.raw(&table)?;
        self.raw(&footer)?;
        self.out.flush().map_err(write_failed)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(write_failed)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

fn write_failed(error: std::io::Error) -> Error {
    io(format!("the plan cannot be written: {error}"))
}
