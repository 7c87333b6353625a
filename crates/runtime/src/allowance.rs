//! What planning a network may take, asked between the nodes of its graph.

#![forbid(unsafe_code)]

use std::time::Instant;

use crate::error::limit_exceeded;
use crate::{CancelToken, Limits, Result};

/// Limits, the moment from which on time is counted, and a token that ends the planning.
#[derive(Clone, Debug)]
pub struct Allowance {
    limits: Limits,
    cancel: CancelToken,
    started: Instant,
}

impl Allowance {
    /// From now on.
    pub fn new(limits: &Limits, cancel: &CancelToken) -> Self {
        Self { limits: limits.clone(), cancel: cancel.clone(), started: Instant::now() }
    }

    /// Ends what takes too long or is no longer wanted.
    ///
    /// # Errors
    /// `Cancelled`; `LimitExceeded`: the time is over.
    pub fn check(&self) -> Result<()> {
        self.cancel.check()?;
        let most = self.limits.max_planning;
        if self.started.elapsed() <= most {
            return Ok(());
        }
        Err(limit_exceeded(format!("planning takes longer than the limit of {most:?} (max_planning)")))
    }

    /// # Errors
    /// `LimitExceeded`: more nodes than the limits allow.
    pub fn nodes(&self, nodes: u32) -> Result<()> {
        held(nodes.into(), self.limits.max_nodes.into(), "nodes", "max_nodes")
    }

    /// # Errors
    /// `LimitExceeded`: more bytes of weights than the limits allow.
    pub fn weights(&self, bytes: u64) -> Result<()> {
        held(bytes, self.limits.max_weight_bytes, "bytes of weights", "max_weight_bytes")
    }

    /// # Errors
    /// `LimitExceeded`: more floats of scratch memory than the limits allow, or than there are addresses for.
    pub fn arena(&self, floats: Option<usize>) -> Result<()> {
        let most = self.limits.max_arena_bytes.min(isize::MAX as u64);
        let bytes = floats.and_then(|floats| (floats as u64).checked_mul(size_of::<f32>() as u64));
        held(bytes.unwrap_or(u64::MAX), most, "bytes of scratch memory", "max_arena_bytes")
    }
}

fn held(found: u64, most: u64, what: &str, name: &str) -> Result<()> {
    if found <= most {
        return Ok(());
    }
    Err(limit_exceeded(format!("takes {found} {what}, above the limit of {most} ({name})")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_is_above_a_limit_is_named_with_it() {
        let limits = Limits::default().with_max_arena_bytes(400).with_max_weight_bytes(5);
        let allowance = Allowance::new(&limits, &CancelToken::new());
        assert!(allowance.arena(Some(100)).is_ok() && allowance.weights(5).is_ok());
        for (error, words) in [
            (
                allowance.arena(Some(101)),
                "takes 404 bytes of scratch memory, above the limit of 400 (max_arena_bytes)",
            ),
            (allowance.arena(None), "(max_arena_bytes)"),
            (allowance.weights(6), "takes 6 bytes of weights, above the limit of 5 (max_weight_bytes)"),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn it_ends_with_its_token_and_with_its_time() {
        let cancel = CancelToken::new();
        let allowance = Allowance::new(&Limits::default(), &cancel);
        allowance.check().unwrap();
        cancel.cancel();
        assert_eq!(allowance.check().unwrap_err().kind(), ErrorKind::Cancelled);
        let limits = Limits::default().with_max_planning(Duration::ZERO);
        let allowance = Allowance::new(&limits, &CancelToken::new());
        std::thread::sleep(Duration::from_millis(2));
        let error = allowance.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.to_string().contains("limit of 0ns (max_planning)"), "{error}");
    }
}
