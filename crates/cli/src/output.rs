//! Where a command writes: a file, `-` for standard output.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use flowturbo::file::Destination;

use crate::failure::{Failure, print};

/// What the command line calls standard input or output.
pub const STANDARD: &str = "-";

/// A place to write to, found writable before the work starts.
#[derive(Debug)]
pub struct Output(Destination);

impl Output {
    /// Finds out how `path` can be written, and leaves nothing there.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let destination = match path == Path::new(STANDARD) {
            true => Destination::standard_output(),
            false => Destination::new(path).map_err(|error| cannot_write(path, &error))?,
        };
        if destination.is_standard_output() && io::stdout().is_terminal() {
            let message =
                "standard output is a terminal, which shows no files; name a file, or lead it into one";
            return Err(Failure::Usage(message.into()));
        }
        Ok(Self(destination))
    }

    /// Whether this is standard output, by whatever name.
    pub fn is_standard(&self) -> bool {
        self.0.is_standard_output()
    }

    /// Whether this and `other` are one file, or both standard output.
    pub fn is_also(&self, other: &Self) -> bool {
        self.0.is_also(&other.0)
    }

    /// The path as the user wrote it.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes what `fill` makes; if that fails, a file is as it was before.
    pub fn write(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        self.0.write(fill).map_err(|error| cannot_write(self.path(), &error))
    }
}

/// Prints a message to stdout, or to stderr where that holds one of `outputs`.
pub fn tell<'a>(outputs: impl IntoIterator<Item = &'a Output>, text: &str) -> Result<(), Failure> {
    if outputs.into_iter().any(Output::is_standard) {
        // As with errors: nobody is left to be told if stderr is closed.
        let _ = io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    print(text)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: cannot be written: {error}", path.display()))
}
