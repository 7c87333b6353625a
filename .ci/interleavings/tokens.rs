//! Cancel tokens, two slots of them.

use std::thread;

use super::cancel_token::{
    ft_cancel_token, ft_cancel_token_cancel, ft_cancel_token_free, ft_cancel_token_is_cancelled,
    ft_cancel_token_new, ft_cancel_token_reset, token,
};
use super::status::{FT_ERROR_INVALID_HANDLE, FT_ERROR_LIMIT_EXCEEDED, FT_OK, ft_status};
use crate::models::in_many_orders;

/// A handle, by its address: threads may be given that.
fn new() -> Result<usize, ft_status> {
    let mut handle = std::ptr::null_mut();
    // SAFETY: a place for a handle.
    let status = unsafe { ft_cancel_token_new(&raw mut handle) };
    if status == FT_OK { Ok(handle.addr()) } else { Err(status) }
}

fn handle(address: usize) -> *mut ft_cancel_token {
    std::ptr::without_provenance_mut(address)
}

fn is_cancelled(address: usize) -> Result<bool, ft_status> {
    let mut cancelled = 7;
    // SAFETY: a place for a byte.
    let status = unsafe { ft_cancel_token_is_cancelled(handle(address), &raw mut cancelled) };
    if status == FT_OK { Ok(cancelled == 1) } else { Err(status) }
}

#[test]
fn a_late_cancel_never_reaches_the_next_token_of_a_slot() {
    in_many_orders(|| {
        let first = new().unwrap();
        let late = thread::spawn(move || ft_cancel_token_cancel(handle(first)));
        ft_cancel_token_free(handle(first));
        // All slots, that of the first among them.
        let next = [new().unwrap(), new().unwrap()];
        let status = late.join().unwrap();
        assert!([FT_OK, FT_ERROR_INVALID_HANDLE].contains(&status));
        for token in next {
            assert_eq!(is_cancelled(token), Ok(false));
            ft_cancel_token_free(handle(token));
        }
        assert_eq!(is_cancelled(first), Err(FT_ERROR_INVALID_HANDLE));
    });
}

#[test]
fn threads_that_want_the_last_slots_get_one_each() {
    in_many_orders(|| {
        let made: Vec<_> = (0..3).map(|_| thread::spawn(new)).collect::<Vec<_>>();
        let made: Vec<_> = made.into_iter().map(|thread| thread.join().unwrap()).collect();
        let tokens: Vec<_> = made.iter().filter_map(|made| made.ok()).collect();
        // A search may pass a slot by that is free a moment later, never one that is free all the time.
        assert_eq!(tokens.len(), 2, "{made:?}");
        assert!(made.contains(&Err(FT_ERROR_LIMIT_EXCEEDED)));
        assert_ne!(tokens[0], tokens[1]);
        ft_cancel_token_cancel(handle(tokens[0]));
        assert_eq!(is_cancelled(tokens[1]), Ok(false));
        tokens.into_iter().for_each(|token| ft_cancel_token_free(handle(token)));
    });
}

#[test]
fn a_generation_hears_of_a_cancel_and_goes_on_after_the_token_is_freed() {
    in_many_orders(|| {
        let address = new().unwrap();
        let seen = token(handle(address)).unwrap();
        let stops = thread::spawn(move || ft_cancel_token_cancel(handle(address)));
        let resets = thread::spawn(move || ft_cancel_token_reset(handle(address)));
        assert_eq!((stops.join().unwrap(), resets.join().unwrap()), (FT_OK, FT_OK));
        assert_eq!(Ok(seen.is_cancelled()), is_cancelled(address));
        let again = thread::spawn(move || ft_cancel_token_cancel(handle(address)));
        let freed = thread::spawn(move || ft_cancel_token_free(handle(address)));
        again.join().unwrap();
        freed.join().unwrap();
        assert!(!seen.is_cancelled());
    });
}
