//! Panics, told apart by whose they are: one of tract's says something of a graph, one of ours is a mistake.

#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::panic_text;
use crate::memory::refused;
use crate::{Error, ErrorKind, Result};

/// Work that is done by tract alone: its panics come of inputs and attributes that make no sense together.
///
/// # Errors
/// `InvalidBundle`: it panicked. `OutOfMemory`: because memory was refused.
pub fn in_tract<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| of_tract(panic.as_ref(), ErrorKind::InvalidBundle))
}

/// The error of a panic in tract: of refused memory, or else of this kind.
pub fn of_tract(panic: &(dyn Any + Send), kind: ErrorKind) -> Error {
    let text = panic_text(panic);
    let text_of_it = || text.replace(['\n', '\r'], " ").chars().take(200).collect::<String>();
    refused_to_tract(text)
        .unwrap_or_else(|| Error::new(kind, format!("tract panicked on it: {}", text_of_it())))
}

/// The error of a panic for want of memory: that of a tensor of tract's is the one that says so.
pub fn refused_to_tract(text: &str) -> Option<Error> {
    let size = text.strip_prefix("failed to allocate Layout { size: ")?.split(',').next()?;
    Some(refused(size.parse().ok()?))
}

/// Work of our own: a panic in it is told, and never taken for something that a graph may be.
///
/// # Errors
/// `Runtime`: it panicked. `OutOfMemory`: a tensor of tract's panicked. Else as `work`.
pub fn in_flowturbo<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        Err(refused_to_tract(text).unwrap_or_else(|| Error::bug(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_ours_is_a_bug_and_one_of_tracts_is_the_graphs() {
        let ours = in_flowturbo(|| -> Result<()> { panic!("index 7") }).unwrap_err();
        assert_eq!(ours.kind(), ErrorKind::Runtime);
        assert_eq!(ours.to_string(), "a bug in flowturbo, please report it: index 7");
        let tracts = in_tract(|| panic!("index {}", "9".repeat(1000))).map(|(): ()| ()).unwrap_err();
        assert_eq!(tracts.kind(), ErrorKind::InvalidBundle);
        assert!(tracts.to_string().len() < 300, "{tracts}");
        assert_eq!(in_tract(|| 3).unwrap(), 3);
        let memory = in_tract(|| panic!("failed to allocate {:?}", std::alloc::Layout::new::<[u64; 9]>()));
        let memory: Error = memory.map(|(): ()| ()).unwrap_err();
        assert_eq!(memory.kind(), ErrorKind::OutOfMemory);
        assert!(memory.to_string().contains("72 bytes"), "{memory}");
        let memory =
            in_flowturbo(|| -> Result<()> { panic!("failed to allocate Layout {{ size: 8, align: 4 }}") });
        assert_eq!(memory.unwrap_err().kind(), ErrorKind::OutOfMemory);
    }
}
