//! One error type for the whole library.
//!
//! An error belongs to one of a handful of families, by whose fault it is: the program can branch on
//! [`Error::kind`], the person reads `Display`, one line that names what failed, where (file, field,
//! node, step) and, where it helps, what to do next.

#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt::{self, Write};

/// The result of every fallible call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that makes no sense: a class out of range, a schedule typo.
    InvalidArgument,
    /// The bundle is broken or contradicts itself: bad JSON, wrong hash, shapes that disagree.
    InvalidBundle,
    /// The bundle is sound but this build cannot run it: a newer format, an operator tract lacks.
    Unsupported,
    /// A size that the `Limits` in force refuse.
    LimitExceeded,
    /// A file or reader could not be read or written.
    Io,
    /// A number that is not finite turned up in weights or while sampling.
    NonFinite,
    /// The generation was stopped by its cancel token or by a callback.
    Cancelled,
    /// A network failed while it ran, a mistake inside the library stopped its planning, the system refuses threads, or
    /// this process was forked from that of the model.
    Runtime,
    /// The system refused memory; the message says how much was asked for.
    OutOfMemory,
}

/// What failed, where, and what to do next.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// Outermost first: `models/textures`, `bundle.json`, `latent.channels`.
    context: Vec<String>,
    is_bug: bool,
}

impl Error {
    #[doc(hidden)]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), is_bug: false }))
    }

    /// A mistake of ours: `Runtime`, and the line says so.
    #[doc(hidden)]
    pub fn bug(message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Runtime, message);
        error.0.is_bug = true;
        error
    }

    /// Whether it is a mistake of ours.
    #[doc(hidden)]
    pub fn is_bug(&self) -> bool {
        self.0.is_bug
    }

    /// The same where it is no mistake of ours, but of what was read.
    #[doc(hidden)]
    pub fn of_what_was_read(mut self, kind: ErrorKind, place: impl Into<String>) -> Self {
        (self.0.kind, self.0.is_bug) = (kind, false);
        self.at(place)
    }

    /// The family this error belongs to.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Puts `place` (a file, a field, a step) in front of what is already known.
    #[doc(hidden)]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.context.insert(0, place.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.0.context {
            show(place, LONGEST_PLACE, f)?;
            f.write_str(": ")?;
        }
        if self.0.is_bug {
            f.write_str("a bug in flowturbo, please report it: ")?;
        }
        show(&self.0.message, LONGEST_MESSAGE, f)
    }
}

/// Letters that are shown of a place, and of what failed there; files may hold names of any length.
const LONGEST_PLACE: usize = 160;
const LONGEST_MESSAGE: usize = 800;

/// The beginning and the end of what is too long.
fn show(text: &str, longest: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut write = |c: char| put(c, f);
    let Some((end, _)) = text.char_indices().nth(longest) else { return text.chars().try_for_each(write) };
    let half = text.char_indices().nth(longest / 2).map_or(end, |(at, _)| at);
    let rest = text.char_indices().rev().nth(longest / 2 - 1).map_or(half, |(at, _)| at);
    let (first, last) = (&text[..half], &text[rest..]);
    first.chars().chain(" … ".chars()).chain(last.chars()).try_for_each(&mut write)
}

/// Names from files, and panics, may hold line breaks and terminal codes: they are shown, not sent.
fn put(c: char, to: &mut impl Write) -> fmt::Result {
    if c.is_control() { write!(to, "{}", c.escape_default()) } else { to.write_char(c) }
}

/// `text` as a line, however long.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    // A `String` takes everything.
    let _ = text.chars().try_for_each(|c| put(c, &mut line));
    line
}

impl std::error::Error for Error {}

/// Adds the place of a failure while it passes through.
pub trait Context<T> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.at(place()))
    }
}

/// What a panic says.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Error {
            Error::new(ErrorKind::$kind, message)
        })*
    };
}

constructors! {
    invalid_argument => InvalidArgument;
    invalid_bundle => InvalidBundle;
    unsupported => Unsupported;
    limit_exceeded => LimitExceeded;
    io => Io;
    non_finite => NonFinite;
    cancelled => Cancelled;
    runtime => Runtime;
    out_of_memory => OutOfMemory;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_reads_from_the_outermost_place_to_the_message() {
        let error: Result<()> = Err(invalid_bundle("must be at least 1"));
        let error = error.at(|| "latent.channels".into()).at(|| "bundle.json".into()).unwrap_err();
        assert_eq!(error.to_string(), "bundle.json: latent.channels: must be at least 1");
        assert_eq!(error.kind(), ErrorKind::InvalidBundle);
    }

    #[test]
    fn a_mistake_of_ours_says_so_unless_what_was_read_is_to_blame() {
        let bug = Error::bug("index 7").at("node 'a'");
        assert_eq!(bug.to_string(), "node 'a': a bug in flowturbo, please report it: index 7");
        assert!(bug.is_bug() && bug.kind() == ErrorKind::Runtime);
        let read = bug.of_what_was_read(ErrorKind::InvalidBundle, "the plan makes no sense");
        assert_eq!(read.to_string(), "the plan makes no sense: node 'a': index 7");
        assert!(!read.is_bug() && read.kind() == ErrorKind::InvalidBundle);
    }

    #[test]
    fn it_keeps_the_beginning_and_the_end_of_names_of_any_length() {
        for letter in ["a", "ß", "木"] {
            let name = format!("<{}>", letter.repeat(100_000));
            let line = invalid_bundle(format!("no input '{name}'"))
                .at(format!("node '{name}' (Add)"))
                .at("b")
                .to_string();
            assert!(line.len() < 3000, "{}", line.len());
            assert!(line.starts_with("b: node '<") && line.ends_with(">'"), "{line}");
            assert!(line.contains(">' (Add): no input '<"), "{line}");
        }
        let short = "x".repeat(LONGEST_PLACE);
        assert_eq!(invalid_bundle("m").at(short.as_str()).to_string(), format!("{short}: m"));
    }

    #[test]
    fn it_is_one_line_whatever_names_it_holds() {
        let error = invalid_bundle("no input 'a\nb'").at("x\u{1b}[1m");
        assert_eq!(error.to_string(), "x\\u{1b}[1m: no input 'a\\nb'");
    }
}
