//! A driver to load, and what a test tells it and asks it.

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::path::PathBuf;
use std::sync::Arc;

use flowturbo_cuda::{Driver, Gpu};
use flowturbo_runtime::Result;
use libloading::{Library, Symbol};
use tempfile::TempDir;

use super::built::built;

/// What the fake counts, in its order.
pub const LIVING: [&str; 8] =
    ["modules", "streams", "graphs", "executables", "allocations", "host allocations", "contexts", "pushed"];

/// A driver of one test's own: each copy of the library has its own state.
pub struct Fake {
    library: Library,
    path: PathBuf,
    _folder: TempDir,
}

impl Fake {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libcuda.so.1");
        std::fs::copy(built(), &path).unwrap();
        // SAFETY: a library of ours, whose initialiser reads an environment variable.
        let library = unsafe { Library::new(&path) }.unwrap();
        Self { library, path, _folder: folder }
    }

    pub fn driver(&self) -> Result<Arc<Driver>> {
        Driver::load(&[&self.path])
    }

    pub fn gpu(&self) -> Result<Arc<Gpu>> {
        Gpu::open(&self.driver()?, 0)
    }

    /// The nth call of `name` from now on gives `status`; 0 for each.
    pub fn fail(&self, name: &str, nth: i64, status: i32) {
        let name = CString::new(name).unwrap();
        // SAFETY: as fake_libcuda.c declares it.
        unsafe {
            let fail: Symbol<unsafe extern "C" fn(*const c_char, c_long, c_int)> =
                self.library.get(b"fake_fail").unwrap();
            fail(name.as_ptr(), nth, status);
        }
    }

    pub fn set_devices(&self, count: i32) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn(c_int)>(b"fake_set_devices").unwrap()(count) }
    }

    pub fn set_version(&self, version: i32) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn(c_int)>(b"fake_set_version").unwrap()(version) }
    }

    pub fn set_capability(&self, major: i32, minor: i32) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe {
            self.library.get::<unsafe extern "C" fn(c_int, c_int)>(b"fake_set_capability").unwrap()(
                major, minor,
            )
        }
    }

    pub fn set_memory(&self, bytes: usize) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn(usize)>(b"fake_set_memory").unwrap()(bytes) }
    }

    /// A device that takes no machine code.
    pub fn set_text_only(&self) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn(c_int)>(b"fake_set_text_only").unwrap()(1) }
    }

    /// An application that records a graph on another thread, so that others may not disturb it.
    pub fn set_records_elsewhere(&self) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn(c_int)>(b"fake_set_records_elsewhere").unwrap()(1) }
    }

    /// What this thread's recording forbids others: 0, all that may disturb it, as long as nobody changed it.
    pub fn capture_mode(&self) -> i32 {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn() -> c_int>(b"fake_capture_mode").unwrap()() }
    }

    /// What a new program finds.
    pub fn start_anew(&self) {
        // SAFETY: as fake_libcuda.c declares it.
        unsafe { self.library.get::<unsafe extern "C" fn()>(b"fake_reset").unwrap()() }
    }

    /// The calls so far, in their order; then there are none.
    pub fn calls(&self) -> Vec<String> {
        // SAFETY: as fake_libcuda.c declares them; the text is copied before it changes.
        unsafe {
            let calls = self.library.get::<unsafe extern "C" fn() -> *const c_char>(b"fake_calls").unwrap();
            let text = CStr::from_ptr(calls()).to_str().unwrap().to_owned();
            self.library.get::<unsafe extern "C" fn()>(b"fake_forget_calls").unwrap()();
            text.lines().map(str::to_owned).collect()
        }
    }

    /// How many there are of each kind that lives, if any.
    pub fn living(&self) -> Vec<(&'static str, i64)> {
        // SAFETY: as fake_libcuda.c declares it.
        let live =
            unsafe { self.library.get::<unsafe extern "C" fn(c_int) -> c_long>(b"fake_live") }.unwrap();
        // SAFETY: it takes the number of a kind.
        let counted = (0..).zip(LIVING).map(|(kind, name)| (name, unsafe { live(kind) }));
        counted.filter(|(_, count)| *count != 0).collect()
    }
}
