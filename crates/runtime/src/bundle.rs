//! A model package: `bundle.json` and the ONNX files it lists.
//!
//! ```text
//! folder ─┐
//! zip ────┼─▶ Source ──▶ bundle.json ──version, parse──▶ Manifest ──validate (rules, Limits)──▶ Bundle
//! caller ─┘     └─────▶ listed files ──▶ parts of the graph and of its external data, and a checksum
//! ```
//!
//! Opening reads `bundle.json` and opens each listed file to know its size; the files themselves are
//! read, and their hashes checked, when a network is loaded. The format is described in
//! `docs/bundle.md`.

#![forbid(unsafe_code)]

mod archive;
mod checksum;
mod classes;
mod external;
mod held;
pub mod manifest;
mod maps;
mod pack;
mod parse;
mod part;
mod presets;
mod replaced;
mod role;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod validate;
mod version;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

pub use external::ExternalData;
pub use manifest::Manifest;
pub use maps::Map;
pub use part::{ListedFile, Part};
pub use presets::Preset;
pub use replaced::Replacement;
pub use role::Extent;
pub use role::Role;
pub use source::Source;

use crate::error::{Context, Error, invalid_bundle, io, unsupported};
use crate::ftplan::{Behind, MAGIC, PlanFile};
use crate::kernels::DefaultFloats;
use crate::plan::Target;
use crate::{Limits, Result, Schedule, memory};
use archive::Archive;
pub use archive::read_exact;
pub use checksum::bounded;
#[doc(hidden)]
pub use checksum::hex_of;
use held::Held;
use source::Folder;

/// The manifest's file name.
pub const MANIFEST: &str = "bundle.json";
/// Bytes that serde and the tables of labels take for a byte of it, at most.
const PARSED: usize = 64;

/// A model package, opened and checked but not yet loaded.
///
/// Holds the manifest and a way to read the files, not the files. It can be shared between threads.
///
/// A folder's files and a zip file stay open, so what becomes of their names, of the folder and of the program's own
/// folder makes no difference. Where one is written to meanwhile, the next read of it fails.
///
/// ```no_run
/// # use flowturbo_runtime as flowturbo;
/// let bundle = flowturbo::Bundle::open("models/textures")?;
/// println!("{} {}", bundle.manifest().name, bundle.hash());
/// # Ok::<(), flowturbo::Error>(())
/// ```
pub struct Bundle {
    source: Arc<dyn Source>,
    /// Where the networks come from, if they were compiled beforehand.
    plan: Option<Arc<PlanFile>>,
    manifest: Manifest,
    /// The manifest's own, parsed.
    schedule: Schedule,
    presets: BTreeMap<String, Preset>,
    /// The text of `bundle.json`.
    json: Vec<u8>,
    hash: String,
    limits: Limits,
}

impl Bundle {
    /// Opens a folder, a zip file or a plan, told apart by what is there, under the default [`Limits`].
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &Limits::default())
    }

    /// Opens a folder, a zip file or a plan (docs/plan.md), told apart by what is there.
    ///
    /// # Errors
    /// - [`Io`](crate::ErrorKind::Io): nothing readable at `path`.
    /// - [`InvalidBundle`](crate::ErrorKind::InvalidBundle): not a bundle, a listed file is missing,
    ///   the zip is damaged or compressed, or `bundle.json` breaks a rule of the format.
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): a format version that this build doesn't know.
    /// - [`LimitExceeded`](crate::ErrorKind::LimitExceeded): a size above `limits`.
    pub fn open_with(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        let place = || path.display().to_string();
        let there = std::fs::metadata(path).map_err(|e| io(e.to_string())).at(place)?;
        if there.is_dir() {
            return Self::from_source(Folder::new(path), limits);
        }
        if !there.is_file() {
            return Err(io("is neither a folder nor a file").at(place()));
        }
        let mut file = Held::open(path).map_err(|e| io(e.to_string())).at(place)?;
        match is_plan(&mut file).at(place)? {
            true => PlanFile::new(file, place()).and_then(|plan| Self::planned(plan, limits)).at(place),
            false => Self::from_source(Archive::new(file, place()).at(place)?, limits),
        }
    }

    /// Opens a zip or a plan that is in memory: a vector, an `Arc<[u8]>`, a memory map. It is kept, not copied.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with), without `Io`.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + 'static, limits: &Limits) -> Result<Self> {
        if bytes.as_ref().starts_with(&MAGIC) {
            return Self::behind(Cursor::new(bytes), "plan in memory", limits);
        }
        let place = "zip in memory";
        Self::from_source(Archive::new(Cursor::new(bytes), place).at(|| place.into())?, limits)
    }

    /// Opens a zip or a plan behind a reader: an entry of a game's asset pack, a decrypting stream.
    ///
    /// It fills the reader from its first byte to its last.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with); `Io` carries what the reader said.
    pub fn from_reader(mut reader: impl Read + Seek + Send + 'static, limits: &Limits) -> Result<Self> {
        // What it is said to be as long as nothing else is known.
        let place = "zip behind a reader";
        if is_plan(&mut reader).at(|| place.into())? {
            return Self::behind(reader, "plan behind a reader", limits);
        }
        Self::from_source(Archive::new(reader, place).at(|| place.into())?, limits)
    }

    /// Opens a bundle whose files the caller serves.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with); `Io` carries what the source said.
    pub fn from_source(source: impl Source + 'static, limits: &Limits) -> Result<Self> {
        let place = source.describe();
        Self::load(Arc::new(source), limits).at(|| place)
    }

    fn load(source: Arc<dyn Source>, limits: &Limits) -> Result<Self> {
        memory::spare()?;
        let json = checksum::read_manifest(source.as_ref(), limits)?;
        Self::read(source, None, json, limits)
    }

    /// Opens a plan behind a reader.
    fn behind(reader: impl Read + Seek + Send + 'static, place: &str, limits: &Limits) -> Result<Self> {
        let bytes = Behind::new(reader).map_err(|error| io(error.to_string()));
        let plan = bytes.and_then(|bytes| PlanFile::new(bytes, place));
        plan.and_then(|plan| Self::planned(plan, limits)).at(|| place.into())
    }

    /// The bundle that a plan was compiled from, by that plan.
    fn planned(plan: PlanFile, limits: &Limits) -> Result<Self> {
        memory::spare()?;
        let (json, plan) = (plan.manifest(limits)?, Arc::new(plan));
        Self::read(Arc::clone(&plan) as Arc<dyn Source>, Some(plan), json, limits)
    }

    /// The bundle that `json` describes.
    fn read(
        source: Arc<dyn Source>,
        plan: Option<Arc<PlanFile>>,
        json: Vec<u8>,
        limits: &Limits,
    ) -> Result<Self> {
        let _default = DefaultFloats::enter();
        // Labels may be short and many; serde ends the process where memory is refused.
        memory::room(json.len().saturating_mul(PARSED)).at(|| MANIFEST.into())?;
        let manifest = parse::manifest(&json).at(|| MANIFEST.into())?;
        validate::manifest(&manifest, limits).at(|| MANIFEST.into())?;
        if plan.is_none() {
            for file in manifest.files() {
                checksum::size(source.as_ref(), &file, limits)?;
            }
        }
        let schedule = manifest.sampling.schedule.parse().at(|| MANIFEST.into())?;
        let presets = presets::parse(&manifest).at(|| MANIFEST.into())?;
        let hash = checksum::hex_of(&json);
        Ok(Self { source, plan, manifest, schedule, presets, json, hash, limits: limits.clone() })
    }

    /// What `bundle.json` says. Its values have been checked against the format's rules and the limits.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The text of `bundle.json`, UTF-8.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The default schedule.
    #[doc(hidden)]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The SHA-256 of `bundle.json`, 64 lower-case hex digits.
    ///
    /// It names this model: the manifest holds the hash of every other file.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The limits that the bundle was opened under; the model made of it keeps to them.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads every listed file once and checks its SHA-256, for example after a download.
    ///
    /// Loading a model checks the files it reads anyway. Memory use does not grow with the files.
    ///
    /// # Errors
    /// [`InvalidBundle`](crate::ErrorKind::InvalidBundle) names the file that is damaged or gone;
    /// [`Io`](crate::ErrorKind::Io) one that cannot be read.
    pub fn verify(&self) -> Result<()> {
        if let Some(plan) = &self.plan {
            return plan.verify().at(|| self.source.describe());
        }
        self.manifest.files().try_for_each(|file| self.check_file(&file, &|| Ok(())))
    }

    /// Reads a network's files once and checks their SHA-256, as long as `go_on` says so at every piece; nothing to do
    /// if there is no such network.
    #[doc(hidden)]
    pub fn check_while(&self, role: Role, go_on: impl Fn() -> Result<()>) -> Result<()> {
        // A plan checks what it reads.
        if self.plan.is_some() {
            return Ok(());
        }
        self.manifest.listed(role).iter().try_for_each(|file| self.check_file(file, &go_on))
    }

    fn check_file(&self, file: &checksum::Listed, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let checked = checksum::check(self.source.as_ref(), file, &self.limits, |_| go_on());
        checked.map(drop).at(|| self.source.describe())
    }

    /// Bytes of a network's files: its graph and what it keeps outside of it; 0 if there is no such network.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) if a source no longer has a file.
    pub fn size(&self, role: Role) -> Result<u64> {
        if let Some(plan) = &self.plan {
            return Ok(plan.size(role));
        }
        let files = self.manifest.listed(role);
        let sizes = files.iter().map(|file| checksum::size(self.source.as_ref(), file, &self.limits));
        sizes.sum::<Result<u64>>().at(|| self.source.describe())
    }

    /// Where it was opened from, for messages.
    #[doc(hidden)]
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// What its networks were compiled to, if this is a plan.
    #[doc(hidden)]
    pub fn plan(&self) -> Option<&Arc<PlanFile>> {
        self.plan.as_ref()
    }

    /// The processors that its weights are packed for, if its networks were compiled beforehand (`flowturbo compile`).
    pub fn target(&self) -> Option<Target> {
        self.plan.as_ref().map(|plan| plan.target())
    }

    /// # Errors
    /// `Unsupported`: this is a plan, which has nothing of the ONNX files.
    #[doc(hidden)]
    pub fn check_onnx(&self) -> Result<()> {
        match &self.plan {
            None => Ok(()),
            Some(_) => Err(unsupported(
                "is a plan, which has no ONNX files; take the bundle that it was compiled from",
            )
            .at(self.source.describe())),
        }
    }

    /// The file that makes tokens of prompts, for messages; empty if there is none.
    #[doc(hidden)]
    pub fn tokenizer_file(&self) -> &str {
        self.manifest.tokenizer().map_or("", |file| file.name)
    }

    /// What makes tokens of prompts, its hash checked.
    ///
    /// # Errors
    /// `InvalidBundle`: it is damaged, or there is none. `LimitExceeded`, `Io`, `OutOfMemory`.
    #[doc(hidden)]
    pub fn tokenizer(&self) -> Result<Vec<u8>> {
        let place = || self.source.describe();
        if let Some(plan) = &self.plan {
            return plan.tokenizer(&self.limits).at(place);
        }
        let missing = || invalid_bundle("the bundle has no tokenizer").at("text.tokenizer").at(MANIFEST);
        let file = self.manifest.tokenizer().ok_or_else(missing).at(place)?;
        let read = || {
            let size = checksum::size(self.source.as_ref(), &file, &self.limits)?;
            let limit = u64::from(self.limits.max_tokenizer_bytes);
            bounded(size, limit, "max_tokenizer_bytes").at(|| file.name.into())?;
            let mut bytes = Vec::new();
            checksum::reserve(&mut bytes, size).at(|| file.name.into())?;
            checksum::check(self.source.as_ref(), &file, &self.limits, |piece| {
                let all = bytes.len() + piece.len();
                memory::reserve(&mut bytes, all)?;
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
            Ok(bytes)
        };
        read().at(place)
    }

    /// The ONNX graph of a network; its hash is not looked at.
    #[doc(hidden)]
    pub fn graph(&self, role: Role) -> Result<ListedFile> {
        self.check_onnx()?;
        let place = || self.source.describe();
        let files = self.manifest.listed(role);
        let graph = files.first().ok_or_else(|| no_network(role)).at(place)?;
        ListedFile::new(&self.source, graph, &self.limits).at(place)
    }

    /// The weights that a network keeps outside its graph; none is fine. Hashes are not looked at.
    #[doc(hidden)]
    pub fn external_data(&self, role: Role) -> Result<ExternalData> {
        let place = || self.source.describe();
        let files = self.manifest.listed(role);
        let (_, external) = files.split_first().ok_or_else(|| no_network(role)).at(place)?;
        ExternalData::new(&self.source, external, &self.limits).at(place)
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("source", &self.source.describe())
            .field("name", &self.manifest.name)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// Whether a file begins as plans do; it is read from its start again.
fn is_plan(reader: &mut (impl Read + Seek)) -> Result<bool> {
    let mut read = || {
        reader.seek(SeekFrom::Start(0))?;
        let mut begins = [0; MAGIC.len()];
        let whole = match read_exact(reader, &mut begins) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error),
        };
        reader.seek(SeekFrom::Start(0))?;
        Ok(whole && begins == MAGIC)
    };
    read().map_err(|error| io(format!("cannot be read: {error}")))
}

/// The error of asking for a network that the bundle does not have.
fn no_network(role: Role) -> Error {
    invalid_bundle("the bundle has no such network").at(format!("networks.{role}")).at(MANIFEST)
}

#[cfg(test)]
mod tests;
