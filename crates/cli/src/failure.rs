//! How a command fails: one line on stderr and an exit code.

use std::any::Any;
use std::io::{self, Write};
use std::process::ExitCode;

use flowturbo::{Error, ErrorKind};

use crate::interrupt;

/// What ends a command early.
#[derive(Debug)]
pub enum Failure {
    /// The command line, or a file that it names, cannot be used as asked.
    Usage(String),
    /// Something went wrong while working.
    Failed(String),
    /// By ctrl-C.
    Interrupted,
    /// Whoever read our stdout has seen enough.
    ClosedPipe,
}

impl Failure {
    /// A panic that reached `main`.
    pub fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Self::Failed(format!("a bug in flowturbo, please report it: {text} (RUST_LOG=debug shows where)"))
    }

    /// Prints the line and gives the exit code.
    pub fn report(&self) -> ExitCode {
        let (message, code) = match self {
            Self::Usage(message) => (message.as_str(), 2),
            Self::Failed(message) => (message.as_str(), 1),
            Self::Interrupted => ("interrupted", interrupt::CODE),
            Self::ClosedPipe => return ExitCode::SUCCESS,
        };
        // Nobody is left to be told if stderr is closed too.
        let _ = writeln!(io::stderr(), "error: {}", one_line(message));
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidArgument
            | ErrorKind::InvalidBundle
            | ErrorKind::Unsupported
            | ErrorKind::LimitExceeded => Self::Usage(error.to_string()),
            // Nobody else cancels here.
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Prints a line to stderr of what was hardly meant so; `quiet` leaves it to the log.
pub fn warn(text: &str, quiet: bool) {
    if quiet {
        log::warn!("{text}");
        return;
    }
    let _ = writeln!(io::stderr(), "warning: {}", one_line(text));
}

/// Prints to stdout, which may be a pipe that closes.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Failed(format!("standard output: cannot be written: {error}")),
    })
}

/// Names from files and command lines may hold line breaks and terminal codes.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(one_line("a\nb\u{1b}[1m é"), "a\\nb\\u{1b}[1m é");
    }
}
