//! Handles that cannot be wild.
//!
//! A handle is a number in the shape of a pointer: which kind of thing it is, and how many were made before it.
//! None is given out twice (on 32-bit machines: not before half a milliard others) and none is an address, so a handle
//! that was freed, or is of another kind, is told apart from a good one, always. A thing lives on while a call is at
//! work on it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};

use super::boundary::Failure;
use super::of_process::OfProcess;
use super::status::{FT_ERROR_BUSY, FT_ERROR_INVALID_HANDLE, FT_ERROR_PANIC};

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
/// The largest number that a handle has room for.
const MOST: usize = usize::MAX >> TAG_BITS;

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
        self.live.get(|| Live { first: self.made.load(Ordering::Relaxed) & MOST, things: RwLock::default() })
    }

    /// Keeps `thing` until its handle is freed.
    pub(super) fn insert<H>(&self, thing: T) -> *mut H {
        let (live, thing) = (self.live(), Arc::new(thing));
        let mut things = live.things.write().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Behind the largest they begin anew, and one made long ago may still be in use.
            let number = self.made.fetch_add(1, Ordering::Relaxed) & MOST;
            if let Entry::Vacant(place) = things.entry(number) {
                place.insert(thing);
                return self.kind.handle(number);
            }
        }
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

impl<T: Send> Registry<Mutex<T>> {
    /// Does `work` with a session's things. A second call meanwhile is refused, not kept waiting: it may come from a
    /// callback of the first.
    pub(super) fn at<H, R>(
        &self,
        handle: *const H,
        work: impl FnOnce(&mut T) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let thing = self.get(handle)?;
        let mut thing = match thing.try_lock() {
            Ok(thing) => thing,
            Err(TryLockError::WouldBlock) => {
                let message = "the session is at work; use one session for each thread, and none inside its \
                               own callback";
                return Err(Failure::new(FT_ERROR_BUSY, message));
            }
            Err(TryLockError::Poisoned(_)) => {
                let message = "the session was left in the middle by a mistake inside flowturbo; free it";
                return Err(Failure::new(FT_ERROR_PANIC, message));
            }
        };
        work(&mut thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Handle = *mut u8;

    #[test]
    fn a_handle_is_good_until_it_is_freed_and_for_its_own_kind() {
        static THINGS: Registry<String> = Registry::new(Kind::Model);
        let (first, second): (Handle, Handle) =
            (THINGS.insert("first".into()), THINGS.insert("second".into()));
        assert_eq!(*THINGS.get(first).unwrap(), "first");
        let held = THINGS.get(second).unwrap();
        THINGS.remove(second).unwrap();
        assert_eq!(*held, "second");
        for (handle, why) in [
            (second, "an ft_model was freed already"),
            (Kind::Session.handle(1), "the handle is an ft_session, an ft_model is wanted"),
            (std::ptr::from_ref(&first).cast_mut().cast(), "the handle was never an ft_model"),
            (std::ptr::null_mut(), "the handle is NULL"),
        ] {
            let failed = THINGS.get(handle).unwrap_err().message;
            assert!(failed.contains(why), "{failed}");
            assert!(THINGS.remove(handle).is_err() || handle.is_null());
        }
        THINGS.remove(first).unwrap();
    }

    #[test]
    fn numbers_that_run_out_begin_anew_and_none_is_in_use_twice() {
        static THINGS: Registry<usize> = Registry::new(Kind::Model);
        let held: [Handle; 2] = [THINGS.insert(0), THINGS.insert(1)];
        THINGS.made.store(MOST, Ordering::Relaxed);
        let late: [Handle; 3] = [THINGS.insert(2), THINGS.insert(3), THINGS.insert(4)];
        for (i, handle) in held.into_iter().chain(late).enumerate() {
            assert_eq!(*THINGS.get(handle).unwrap(), i);
        }
        held.into_iter().chain(late).for_each(|handle| THINGS.remove(handle).unwrap());
    }

    #[test]
    fn a_session_does_one_call_at_a_time_and_none_after_a_panic() {
        static DESKS: Registry<Mutex<u32>> = Registry::new(Kind::Session);
        let handle: Handle = DESKS.insert(Mutex::new(0));
        let inside = |count: &mut u32| {
            *count += 1;
            Ok(DESKS.at(handle, |_| Ok(())).unwrap_err().status)
        };
        assert_eq!(DESKS.at(handle, inside).unwrap(), FT_ERROR_BUSY);
        assert_eq!(DESKS.at(handle, |count| Ok(*count)).unwrap(), 1);
        let panics = || DESKS.at::<_, ()>(handle, |_| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(DESKS.at(handle, |_| Ok(())).unwrap_err().status, FT_ERROR_PANIC);
        DESKS.remove(handle).unwrap();
    }
}
