//! Handles, and a session's one call at a time.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use super::boundary::Failure;
use super::registry::{Kind, Registry};
use super::status::{FT_ERROR_BUSY, FT_ERROR_INVALID_HANDLE, ft_status};
use crate::models::in_many_orders;

/// What a session's calls change.
struct Desk {
    calls: usize,
    freed: Arc<AtomicUsize>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.freed.fetch_add(1, SeqCst);
    }
}

type Sessions = Registry<Mutex<Desk>>;
type Handle = *mut u8;

/// A registry that nobody has used yet, as a process has it.
fn registry() -> &'static Sessions {
    Box::leak(Box::new(Registry::new(Kind::Session)))
}

fn desk() -> (Mutex<Desk>, Arc<AtomicUsize>) {
    let freed = Arc::new(AtomicUsize::new(0));
    (Mutex::new(Desk { calls: 0, freed: Arc::clone(&freed) }), freed)
}

fn handle(address: usize) -> Handle {
    std::ptr::without_provenance_mut(address)
}

/// A call that can be told from two at a time; how many had been made with it.
fn call(sessions: &Sessions, address: usize) -> Result<usize, ft_status> {
    let work = |desk: &mut Desk| {
        let calls = desk.calls;
        // As a callback might.
        let inside = sessions.at::<u8, ()>(handle(address), |_| Ok(())).unwrap_err();
        assert!([FT_ERROR_BUSY, FT_ERROR_INVALID_HANDLE].contains(&inside.status));
        thread::yield_now();
        assert_eq!(desk.freed.load(SeqCst), 0);
        desk.calls = calls + 1;
        Ok(desk.calls)
    };
    sessions.at(handle(address), work).map_err(|failure: Failure| failure.status)
}

#[test]
fn of_calls_at_the_same_time_one_works_and_none_waits() {
    in_many_orders(|| {
        let sessions = registry();
        let address = sessions.insert::<u8>(desk().0).addr();
        let others: Vec<_> = (0..2).map(|_| thread::spawn(move || call(sessions, address))).collect();
        let mut results = vec![call(sessions, address)];
        results.extend(others.into_iter().map(|other| other.join().unwrap()));
        let made = results.iter().filter(|result| result.is_ok()).count();
        assert!(made >= 1);
        assert!(results.iter().all(|result| result.is_ok() || *result == Err(FT_ERROR_BUSY)));
        // Those that worked counted one after the other, and the session is free again.
        assert_eq!(call(sessions, address), Ok(made + 1));
        sessions.remove(handle(address)).unwrap();
    });
}

#[test]
fn a_session_freed_meanwhile_lives_to_the_end_of_the_call_and_is_freed_once() {
    in_many_orders(|| {
        let sessions = registry();
        let (desk, freed) = desk();
        let address = sessions.insert::<u8>(desk).addr();
        let works = thread::spawn(move || call(sessions, address));
        let free = move || sessions.remove(handle(address)).map_err(|failure| failure.status);
        let frees = thread::spawn(free);
        let freed_here = free();
        let worked = works.join().unwrap();
        assert!([Ok(1), Err(FT_ERROR_INVALID_HANDLE)].contains(&worked));
        // One of the two frees it.
        let mut frees = [freed_here, frees.join().unwrap()];
        frees.sort();
        assert_eq!(frees, [Ok(()), Err(FT_ERROR_INVALID_HANDLE)]);
        assert_eq!(freed.load(SeqCst), 1);
        assert_eq!(call(sessions, address), Err(FT_ERROR_INVALID_HANDLE));
    });
}

#[test]
fn what_threads_make_first_and_at_the_same_time_is_kept() {
    in_many_orders(|| {
        let sessions = registry();
        let makes = |_| thread::spawn(move || sessions.insert::<u8>(desk().0).addr());
        let others: Vec<_> = (0..2).map(makes).collect();
        let mut made = vec![sessions.insert::<u8>(desk().0).addr()];
        made.extend(others.into_iter().map(|other| other.join().unwrap()));
        for &address in &made {
            assert_eq!(call(sessions, address), Ok(1));
        }
    });
}
