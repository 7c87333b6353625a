//! What a command reads: files, pipes, `-` for standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::failure::Failure;
use crate::output::STANDARD;

/// A pipe or a device could go on for ever.
const MOST_BYTES: u64 = 1 << 30;

/// All that there is at `path`.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: &str| Failure::Usage(format!("{}: {why}", name(path)));
    let mut bytes = Vec::new();
    let read = if path == Path::new(STANDARD) {
        io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes)
    } else if path.is_dir() {
        return Err(failed("is not a file"));
    } else {
        File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| failed(&error.to_string()))?;
    match bytes.len() as u64 {
        0 => Err(failed("is empty")),
        length if length > MOST_BYTES => Err(failed("goes on after 1 GiB, the most that is read")),
        _ => Ok(bytes),
    }
}

/// Refuses arguments of which more than one is standard input.
pub fn once(files: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
    let standard = files.iter().filter(|(_, path)| *path == Some(Path::new(STANDARD)));
    let standard: Vec<String> = standard.map(|(name, _)| format!("{name} {STANDARD}")).collect();
    match standard.len() {
        0 | 1 => Ok(()),
        _ => Err(Failure::Usage(format!("{}: standard input is only one of them", standard.join(" ")))),
    }
}

/// What to call it.
pub fn name(path: &Path) -> String {
    if path == Path::new(STANDARD) { "standard input".into() } else { path.display().to_string() }
}
