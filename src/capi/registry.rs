//! Handles that cannot be wild.
//!
//! A handle is a number in the shape of a pointer: which kind of thing it is, and how many were made before it.
//! None is given out twice (on 32-bit machines: not before half a milliard others) and none is an address, so a handle
//! that was freed, or is of another kind, is told apart from a good one, always. A thing lives on while a call is at
//! work on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::boundary::Failure;
use super::of_process::OfProcess;
use super::status::FT_ERROR_INVALID_HANDLE;

/// The kinds: odd, so that no address of anything looks like a handle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model = 1,
    Session = 3,
    CancelToken = 5,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Model, Self::Session, Self::CancelToken];

    fn name(self) -> &'static str {
        match self {
            Self::Model => "an ft_model",
            Self::Session => "an ft_session",
            Self::CancelToken => "an ft_cancel_token",
        }
    }

    /// A handle of this kind with a number of its own.
    pub(super) fn handle<H>(self, number: usize) -> *mut H {
        std::ptr::without_provenance_mut(number << TAG_BITS | self as usize)
    }

    /// The number of a handle of this kind.
    pub(super) fn number<H>(self, handle: *const H) -> Result<usize, Failure> {
        let (address, kind) = (handle.addr(), self.name());
        if handle.is_null() {
            return Err(Failure::argument(format!("the handle is NULL, {kind} is wanted")));
        }
        let tag = address & ((1 << TAG_BITS) - 1);
        match Self::ALL.into_iter().find(|kind| *kind as usize == tag) {
            Some(found) if found == self => Ok(address >> TAG_BITS),
            Some(found) => Err(invalid(format!("the handle is {}, {kind} is wanted", found.name()))),
            None => Err(invalid(format!("the handle was never {kind}"))),
        }
    }

    /// The failure of a handle that is not in use.
    pub(super) fn stale(self) -> Failure {
        invalid(format!("the handle of {} was freed already", self.name()))
    }
}

const TAG_BITS: u32 = 3;

fn invalid(message: String) -> Failure {
    Failure::new(FT_ERROR_INVALID_HANDLE, message)
}

/// All things of one kind that callers hold.
pub(super) struct Registry<T: 'static> {
    kind: Kind,
    made: AtomicUsize,
    live: OfProcess<Live<T>>,
}

/// What was made in this process.
struct Live<T> {
    /// The number of the first; those below are of processes that this one was forked from.
    first: usize,
    things: RwLock<BTreeMap<usize, Arc<T>>>,
}

impl<T: Send + Sync> Registry<T> {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, made: AtomicUsize::new(1), live: OfProcess::new() }
    }

    fn live(&self) -> &'static Live<T> {
        self.live.get(|| Live { first: self.made.load(Ordering::Relaxed), things: RwLock::default() })
    }

    /// Keeps `thing` until its handle is freed.
    pub(super) fn insert<H>(&self, thing: T) -> *mut H {
        let live = self.live();
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        live.things.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(thing));
        self.kind.handle(number)
    }

    pub(super) fn get<H>(&self, handle: *const H) -> Result<Arc<T>, Failure> {
        let (number, live) = (self.kind.number(handle)?, self.live());
        let things = live.things.read().unwrap_or_else(PoisonError::into_inner);
        things.get(&number).cloned().ok_or_else(|| self.missing(number, live))
    }

    /// Lets a thing go; NULL is fine. A parent's stays as it is: what became of it nobody knows.
    pub(super) fn remove<H>(&self, handle: *const H) -> Result<(), Failure> {
        if handle.is_null() {
            return Ok(());
        }
        let (number, live) = (self.kind.number(handle)?, self.live());
        let removed = live.things.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
        // Dropped here, with the lock free again: freeing a model takes its time.
        removed.map(drop).ok_or_else(|| self.missing(number, live))
    }

    fn missing(&self, number: usize, live: &Live<T>) -> Failure {
        if number >= live.first {
            return self.kind.stale();
        }
        let name = self.kind.name();
        invalid(format!(
            "the handle of {name} was made before this process was forked; make one in the child"
        ))
    }
}
