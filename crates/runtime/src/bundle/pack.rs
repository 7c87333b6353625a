//! Writes a bundle as one zip file of stored entries, the kind that [`super::archive`] reads.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::checksum::{self, Listed};
use super::{Bundle, MANIFEST};
use crate::Result;
use crate::error::{Context, Error};

impl Bundle {
    /// Writes this bundle as one zip file: its manifest and the files that it lists, and nothing else that may lie
    /// beside them. Equal bundles are equal bytes; memory use does not grow with a file. Files are checked against
    /// their SHA-256 on the way: after an error, what is written is of no use.
    ///
    /// # Errors
    /// [`InvalidBundle`](crate::ErrorKind::InvalidBundle) names a file that is damaged or gone;
    /// [`Io`](crate::ErrorKind::Io): one that cannot be read, or `out` cannot be written.
    pub fn write_zip(&self, out: impl Write) -> Result<()> {
        self.check_onnx()?;
        let mut zip = ZipWriter::new_stream(Quiet { out, failed: false });
        begin(&mut zip, MANIFEST, self.json.len() as u64)?;
        zip.write_all(&self.json).map_err(write_failed)?;
        // Two networks may share a file.
        let files: BTreeMap<&str, Listed> = self.manifest.files().map(|file| (file.name, file)).collect();
        for file in files.values() {
            let source = self.source.as_ref();
            let size = checksum::size(source, file, &self.limits).at(|| source.describe())?;
            begin(&mut zip, file.name, size)?;
            checksum::check(source, file, &self.limits, |chunk| zip.write_all(chunk).map_err(write_failed))
                .at(|| source.describe())?;
        }
        zip.finish().map_err(write_failed)?.into_inner().flush().map_err(write_failed)
    }
}

/// Begins an entry, stored as it is, with a date that is always the same.
fn begin<W: Write + io::Seek>(zip: &mut ZipWriter<W>, name: &str, size: u64) -> Result<()> {
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let large = size >= u64::from(u32::MAX);
    zip.start_file(name, options.large_file(large)).map_err(write_failed)
}

fn write_failed(error: impl std::fmt::Display) -> Error {
    crate::error::io(format!("the zip cannot be written: {error}"))
}

/// A writer that fails once and then takes everything: a `ZipWriter` that is dropped after an error writes on, and
/// would print what comes of it.
struct Quiet<W> {
    out: W,
    failed: bool,
}

impl<W: Write> Write for Quiet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Ok(bytes.len());
        }
        self.out.write(bytes).inspect_err(|error| self.failed = error.kind() != io::ErrorKind::Interrupted)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed { Ok(()) } else { self.out.flush() }
    }
}
