//! Stops a generation from any thread, a signal handler included.
//!
//! Tokens live in a table that is never freed, each as one atomic number: how often its slot was used, and
//! whether it is cancelled. Cancelling takes no lock, a stale handle is told apart by the count, and freeing a
//! token that a generation still looks at is harmless. Nothing here is ever locked, so a forked child may go on with
//! its parent's tokens, its own copies of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::CancelToken;
use super::boundary::{Failure, guard, guard_silently};
use super::pointers::place;
use super::registry::Kind;
use super::status::{FT_ERROR_LIMIT_EXCEEDED, ft_status};

/// A flag that stops the generations whose requests name it.
pub struct ft_cancel_token {
    _private: [u8; 0],
}

/// Tokens that can be in use at the same time. So few where slots must be used again soon.
const SLOTS: usize = if cfg!(interleavings) { 1 << 1 } else { 1 << 12 };
const CANCELLED: usize = 1;
/// Set in a slot while it holds a token.
const LIVE: usize = 2;
/// One use of a slot.
const USE: usize = 4;

static TABLE: [AtomicUsize; SLOTS] = [const { AtomicUsize::new(0) }; SLOTS];
/// Where the search for a free slot begins: behind the last one found, so that one just freed waits longest.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A token by the number of its handle: the slot and the use of it.
#[derive(Clone, Copy)]
struct Token(usize);

impl Token {
    fn of(handle: *const ft_cancel_token) -> Result<Self, Failure> {
        let token = Self(Kind::CancelToken.number(handle)?);
        token.state().map(|_| token).ok_or_else(|| Kind::CancelToken.stale())
    }

    fn slot(self) -> &'static AtomicUsize {
        &TABLE[self.0 % SLOTS]
    }

    /// Whether the slot's number still speaks of this token. Handles have fewer bits than slots: on 32-bit machines
    /// a slot's uses are counted to 2^17, so a handle comes again after half a milliard of tokens.
    fn is_in(self, state: usize) -> bool {
        let uses = usize::MAX >> (3 + SLOTS.trailing_zeros());
        state & LIVE != 0 && (state / USE) & uses == self.0 / SLOTS
    }

    /// The slot's number, unless the token was freed.
    fn state(self) -> Option<usize> {
        Some(self.slot().load(Ordering::Relaxed)).filter(|&state| self.is_in(state))
    }

    /// Changes the slot's number, unless the token was freed.
    fn change(self, to: impl Fn(usize) -> usize) -> Result<(), Failure> {
        let change = |state| self.is_in(state).then(|| to(state));
        let changed = self.slot().fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        changed.map(drop).map_err(|_| Kind::CancelToken.stale())
    }
}

/// A slot for a new token, and its number; none if all are in use.
fn take_slot() -> Option<(usize, usize)> {
    let start = NEXT.load(Ordering::Relaxed);
    let slots = (0..SLOTS).map(|i| start.wrapping_add(i) % SLOTS);
    let mut found = slots.filter_map(|slot| {
        let taken = |state: usize| (state & LIVE == 0).then(|| state.wrapping_add(USE) & !CANCELLED | LIVE);
        let before = TABLE[slot].fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some((slot, taken(before)?))
    });
    let (slot, state) = found.next()?;
    NEXT.store(slot + 1, Ordering::Relaxed);
    Some((slot, state))
}

/// What a request is given for a handle; NULL never cancels.
pub(super) fn token(handle: *const ft_cancel_token) -> Result<CancelToken, Failure> {
    if handle.is_null() {
        // Without an allocation.
        return Ok(CancelToken::polled(|_| false, 0));
    }
    let is_cancelled = |token| Token(token).state().is_some_and(|state| state & CANCELLED != 0);
    Ok(CancelToken::polled(is_cancelled, Token::of(handle)?.0))
}

/// Makes a token that is not cancelled.
///
/// Ownership: `*out_token` is the caller's, to be freed by `ft_cancel_token_free`. Errors:
/// `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_LIMIT_EXCEEDED` (4096 are in use). Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_cancel_token_new(out_token: *mut *mut ft_cancel_token) -> ft_status {
    guard(|| {
        place(out_token, "out_token")?;
        let Some((slot, state)) = take_slot() else {
            let message = format!("{SLOTS} cancel tokens are in use; free some");
            return Err(Failure::new(FT_ERROR_LIMIT_EXCEEDED, message));
        };
        let handle = Kind::CancelToken.handle((state / USE).wrapping_mul(SLOTS) | slot);
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_token.write(handle) };
        Ok(())
    })
}

/// Stops every generation that holds the token: each ends with `FT_ERROR_CANCELLED` after the operation at hand.
/// One atomic write.
///
/// Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_INVALID_HANDLE`. Threads: any; with a good handle it may
/// be called from a signal handler too.
#[unsafe(no_mangle)]
pub extern "C" fn ft_cancel_token_cancel(token: *mut ft_cancel_token) -> ft_status {
    guard(|| Token::of(token)?.change(|state| state | CANCELLED))
}

/// Makes the token usable again.
///
/// Errors: as `ft_cancel_token_cancel`. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ft_cancel_token_reset(token: *mut ft_cancel_token) -> ft_status {
    guard(|| Token::of(token)?.change(|state| state & !CANCELLED))
}

/// Tells whether the token is cancelled: 1, or 0.
///
/// Errors: as `ft_cancel_token_cancel`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_cancel_token_is_cancelled(
    token: *const ft_cancel_token,
    out_cancelled: *mut u8,
) -> ft_status {
    guard(|| {
        place(out_cancelled, "out_cancelled")?;
        let state = Token::of(token)?.state().ok_or_else(|| Kind::CancelToken.stale())?;
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_cancelled.write(u8::from(state & CANCELLED != 0)) };
        Ok(())
    })
}

/// Frees a token; NULL is fine. Generations that hold it go on, and cannot be cancelled by it any more.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn ft_cancel_token_free(token: *mut ft_cancel_token) {
    if token.is_null() {
        return;
    }
    guard_silently(|| {
        let token = Token::of(token)?;
        token.change(|state| state & !(LIVE | CANCELLED))
    });
}

#[cfg(test)]
mod tests {
    use super::super::status::{FT_ERROR_INVALID_HANDLE, FT_OK};
    use super::*;

    fn new() -> *mut ft_cancel_token {
        let mut token = std::ptr::null_mut();
        // SAFETY: a place for a handle.
        assert_eq!(unsafe { ft_cancel_token_new(&raw mut token) }, FT_OK);
        token
    }

    fn is_cancelled(token: *const ft_cancel_token) -> (ft_status, u8) {
        let mut cancelled = 7;
        // SAFETY: a place for a byte.
        (unsafe { ft_cancel_token_is_cancelled(token, &raw mut cancelled) }, cancelled)
    }

    #[test]
    fn threads_use_tokens_of_their_own_and_one_that_they_share() {
        let shared = new().addr();
        let handle = |address| std::ptr::without_provenance_mut::<ft_cancel_token>(address);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        let own = new();
                        assert_eq!(is_cancelled(own), (FT_OK, 0));
                        assert_eq!(ft_cancel_token_cancel(own), FT_OK);
                        assert_eq!(is_cancelled(own), (FT_OK, 1));
                        assert_eq!(ft_cancel_token_cancel(handle(shared)), FT_OK);
                        ft_cancel_token_free(own);
                        assert_eq!(is_cancelled(own), (FT_ERROR_INVALID_HANDLE, 7));
                    }
                });
            }
        });
        assert_eq!(is_cancelled(handle(shared)), (FT_OK, 1));
        assert_eq!(ft_cancel_token_reset(handle(shared)), FT_OK);
        let seen = token(handle(shared)).unwrap();
        assert!(!seen.is_cancelled());
        ft_cancel_token_free(handle(shared));
        ft_cancel_token_free(std::ptr::null_mut());
    }
}
