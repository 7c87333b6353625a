//! A fault at every place of one run: at each a child of this process lives through it, while the parent waits and then
//! goes on without it.
//!
//! ```text
//! parent ──place 0──────place 1──────place 2── … ──▶ done
//!             └▶ child     └▶ child     └▶ child: the fault, its error, the next call, what stays
//! ```
//!
//! For work on one thread, all that a child has.

use std::backtrace::Backtrace;
use std::ffi::c_int;
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use crate::allocator::{live, uncounted};

// `_Fork` does without what the library does at a fork: a child of these tests is to go on with its parent's model.
unsafe extern "C" {
    fn _Fork() -> c_int;
    fn waitpid(child: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
}

const STDERR: c_int = 2;
const SIGABRT: c_int = 6;

/// A child's exit status: the fault was done without, or it was an error.
const WITHOUT: c_int = 0;
const ERROR: c_int = 3;

/// Places that are tried; of more, every so many, in each run others. `FLOWTURBO_FAULTS=all` tries all.
const MOST: usize = 150;

/// What a place does at the moment.
const NOTHING: usize = 0;
const COUNTS: usize = 1;
const SPLITS: usize = 2;
/// In a child: the fault is there, and then it was looked at.
const FAULT: usize = 3;
const JUDGED: usize = 4;

static MODE: AtomicUsize = AtomicUsize::new(NOTHING);
static PLACE: AtomicUsize = AtomicUsize::new(0);
static EVERY: AtomicUsize = AtomicUsize::new(1);
static TALLY: Mutex<Tally> = Mutex::new(Tally::NONE);
/// Where children write what they have to say.
static SAID: Mutex<Option<File>> = Mutex::new(None);
static SAYS: AtomicI32 = AtomicI32::new(STDERR);

/// What became of the children.
#[derive(Clone, Debug)]
pub struct Tally {
    /// All places, those that were not tried among them.
    pub places: usize,
    pub without: usize,
    pub errors: usize,
    /// Those that Rust ended for want of memory, and the most that one of these had asked for.
    pub ends: usize,
    pub largest: usize,
    /// Those of them that are none of the kinds that docs/security.md names.
    pub strange: usize,
    /// What went wrong first.
    wrong: Option<String>,
}

impl Tally {
    const NONE: Self =
        Self { places: 0, without: 0, errors: 0, ends: 0, largest: 0, strange: 0, wrong: None };
}

/// Whether the fault is to come here: true once, in a child that was split off for it. `size` is told of the place.
pub fn here(size: usize) -> bool {
    let mode = MODE.load(Relaxed);
    if mode != COUNTS && mode != SPLITS {
        return false;
    }
    let place = PLACE.fetch_add(1, Relaxed);
    if mode == COUNTS || !place.wrapping_add(std::process::id() as usize).is_multiple_of(EVERY.load(Relaxed))
    {
        return false;
    }
    MODE.store(NOTHING, Relaxed);
    // SAFETY: a process of one thread, whose child goes on as its parent would.
    let child = unsafe { _Fork() };
    if child == 0 {
        MODE.store(FAULT, Relaxed);
        // SAFETY: both are open.
        unsafe { dup2(SAYS.load(Relaxed), STDERR) };
        return true;
    }
    uncounted(|| note(child, size));
    MODE.store(SPLITS, Relaxed);
    false
}

/// Whether this is a child whose fault has come and was not looked at yet.
pub fn is_faulty() -> bool {
    MODE.load(Relaxed) == FAULT
}

/// Does `work` in a child: its exit status, none if it was ended, and what it said.
pub fn child(work: impl FnOnce() -> bool) -> (Option<c_int>, String) {
    said_to(tempfile::tempfile().unwrap());
    // SAFETY: a process of one thread, whose child goes on as its parent would.
    let child = unsafe { _Fork() };
    if child == 0 {
        // SAFETY: both are open.
        unsafe { dup2(SAYS.load(Relaxed), STDERR) };
        let done = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: nothing else of the child's is to be done.
        unsafe { _exit(c_int::from(!done.unwrap_or(false))) };
    }
    let (status, text) = wait(child);
    ((status & 0x7f == 0).then_some(status >> 8), text)
}

fn said_to(file: File) {
    SAYS.store(file.as_raw_fd(), Relaxed);
    *SAID.lock().unwrap() = Some(file);
}

/// Waits for a child: its status, and what it said.
fn wait(child: c_int) -> (c_int, String) {
    let (mut status, mut text, mut said) = (0, String::new(), SAID.lock().unwrap());
    // SAFETY: a child of this process, and a place for its status.
    assert!(child > 0 && unsafe { waitpid(child, &raw mut status, 0) } == child, "no child");
    let said = said.as_mut().unwrap();
    said.rewind().unwrap();
    said.read_to_string(&mut text).unwrap();
    said.set_len(0).unwrap();
    said.rewind().unwrap();
    (status, text)
}

/// Waits for a child and counts it.
fn note(child: c_int, size: usize) {
    let ((status, text), mut tally) = (wait(child), TALLY.lock().unwrap());
    match (status & 0x7f, status >> 8) {
        (0, WITHOUT) => tally.without += 1,
        (0, ERROR) => tally.errors += 1,
        (SIGABRT, _) if text.contains("memory allocation of") => {
            tally.ends += 1;
            tally.largest = tally.largest.max(size);
            let place = Backtrace::force_capture().to_string();
            // While the description of a graph is read it may be anybody's, later only tract's, the PNG encoder's and
            // the buffer of whoever writes a file.
            let known = ["import_within", "tract_", "png_file::write", "file::filled"]
                .iter()
                .any(|name| place.contains(name));
            if !known || std::env::var_os("FLOWTURBO_FAULTS_SHOW").is_some() {
                println!("END of {size} bytes\n{place}");
            }
            tally.strange += usize::from(!known);
        }
        _ => {
            let place = PLACE.load(Relaxed);
            let wrong =
                || format!("place {place}, status {status:#x}: {text}\n{}", Backtrace::force_capture());
            tally.wrong.get_or_insert_with(wrong);
        }
    }
}

/// Does `work` with its fault at the places that ask [`here`]. It may end in two ways: in an error that `fits`, or
/// without one; then nothing stays, and the same call works.
pub fn at_each<E: Display>(
    what: &str,
    mut work: impl FnMut() -> Result<(), E>,
    fits: impl Fn(&E) -> Result<(), String>,
) -> Tally {
    let told = |outcome: Result<(), E>, when: &str| {
        if let Err(error) = outcome {
            panic!("{what}, {when}: {error}");
        }
    };
    // Fills what is filled once.
    told(work(), "before any fault");
    PLACE.store(0, Relaxed);
    MODE.store(COUNTS, Relaxed);
    told(work(), "before any fault");
    MODE.store(NOTHING, Relaxed);
    let places = PLACE.swap(0, Relaxed);
    let all = std::env::var("FLOWTURBO_FAULTS").is_ok_and(|which| which == "all");
    EVERY.store(if all { 1 } else { places.div_ceil(MOST).max(1) }, Relaxed);
    said_to(tempfile::tempfile().unwrap());
    *TALLY.lock().unwrap() = Tally { places, ..Tally::NONE };
    let before = live();
    MODE.store(SPLITS, Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(&mut work));
    if MODE.swap(JUDGED, Relaxed) == FAULT {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let status = match outcome {
                Ok(Ok(())) => WITHOUT,
                Ok(Err(error)) => {
                    fits(&error).unwrap_or_else(|why| panic!("{error}: {why}"));
                    ERROR
                }
                Err(panic) if panic.downcast_ref::<&str>() == Some(&"asked to") => ERROR,
                Err(panic) => panic!("a panic: {:?}", panic.downcast_ref::<String>()),
            };
            told(work(), "the next call");
            assert!(live() <= before, "{} bytes stay", live() - before);
            status
        }));
        // SAFETY: nothing else of the child's is to be done.
        unsafe { _exit(judged.unwrap_or(1)) };
    }
    MODE.store(NOTHING, Relaxed);
    told(outcome.unwrap_or_else(|_| panic!("{what}: a panic of its own")), "without a fault");
    let tally = TALLY.lock().unwrap().clone();
    assert!(tally.wrong.is_none(), "{what}: {}", tally.wrong.unwrap_or_default());
    println!("{what}: {tally:?}");
    tally
}
