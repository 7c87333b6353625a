//! SHA-256 of many pieces, by as many threads as there are.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::kernels::Parallel;
use crate::lock::lock;
use crate::{Error, Result, memory};

/// SHA-256.
pub fn of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What `hash` gives for each of `pieces`, with a buffer to read them to.
///
/// # Errors
/// Those of `hash`. `OutOfMemory`.
pub fn of_all(
    pieces: Vec<Range<u64>>,
    hash: impl Fn(Range<u64>, &mut Vec<u8>) -> Result<[u8; 32]> + Sync,
    parallel: &dyn Parallel,
) -> Result<Vec<[u8; 32]>> {
    let hashes = Mutex::new(memory::filled(pieces.len(), [0; 32])?);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None::<Error>));
    let body = |_: usize| {
        let mut buffer = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(at) else { break };
            match hash(piece.clone(), &mut buffer) {
                Ok(hash) => lock(&hashes)[at] = hash,
                Err(error) => {
                    next.store(pieces.len(), Ordering::Relaxed);
                    *lock(&failed) = Some(error);
                }
            }
        }
    };
    parallel.run(&body);
    // What lent threads left undone.
    body(0);
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(hashes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)),
    }
}
