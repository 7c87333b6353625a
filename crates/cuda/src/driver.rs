//! The display driver's own interface, looked up while the program runs: nothing of CUDA is linked, and a machine
//! without a driver is an error like any other.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Mutex};

use flowturbo_runtime::error::unsupported;
use flowturbo_runtime::lock::lock;
use flowturbo_runtime::{Error, ErrorKind, Result};
use libloading::Library;

/// What a function of the driver returns.
pub type Status = c_int;

/// Something of the driver's: a context, a module, a function, a stream, a graph.
pub type Handle = *mut c_void;

/// The oldest CUDA that a driver has to speak, as it says it: 12.0.
const OLDEST: c_int = 12_000;

/// What to do where there is no device.
pub const NO_DEVICE: &str = "the driver sees no device: take the cpu, or look at what nvidia-smi says";

/// Where a driver is, on each system.
const NAMES: &[&str] = match cfg!(windows) {
    true => &["nvcuda.dll"],
    false => &["libcuda.so.1", "libcuda.so"],
};

macro_rules! functions {
    ($($name:ident = $symbol:literal($($argument:ty),*);)*) => {
        /// The driver's functions, as `cuda.h` of CUDA 12.0 declares them.
        pub struct Functions {
            $(pub $name: unsafe extern "system" fn($($argument),*) -> Status,)*
        }

        impl Functions {
            /// Looks all of them up.
            fn of(library: &Library) -> Result<Self> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the driver never changes what a function takes that has this name.
                        let found = unsafe { library.get(concat!($symbol, "\0").as_bytes()) };
                        *found.map_err(|_| too_old(&format!("it has no {}", $symbol)))?
                    },)*
                })
            }
        }
    };
}

functions! {
    driver_get_version = "cuDriverGetVersion"(*mut c_int);
    init = "cuInit"(c_uint);
    get_error_name = "cuGetErrorName"(Status, *mut *const c_char);
    get_error_string = "cuGetErrorString"(Status, *mut *const c_char);
    device_get_count = "cuDeviceGetCount"(*mut c_int);
    device_get = "cuDeviceGet"(*mut c_int, c_int);
    device_get_name = "cuDeviceGetName"(*mut c_char, c_int, c_int);
    device_get_uuid = "cuDeviceGetUuid_v2"(*mut [u8; 16], c_int);
    device_total_mem = "cuDeviceTotalMem_v2"(*mut usize, c_int);
    device_get_attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, c_int);
    primary_retain = "cuDevicePrimaryCtxRetain"(*mut Handle, c_int);
    primary_release = "cuDevicePrimaryCtxRelease_v2"(c_int);
    context_push = "cuCtxPushCurrent_v2"(Handle);
    context_pop = "cuCtxPopCurrent_v2"(*mut Handle);
    exchange_capture_mode = "cuThreadExchangeStreamCaptureMode"(*mut c_int);
    mem_get_info = "cuMemGetInfo_v2"(*mut usize, *mut usize);
    mem_alloc = "cuMemAlloc_v2"(*mut u64, usize);
    mem_free = "cuMemFree_v2"(u64);
    host_alloc = "cuMemHostAlloc"(*mut *mut c_void, usize, c_uint);
    host_free = "cuMemFreeHost"(*mut c_void);
    copy_to_device_async = "cuMemcpyHtoDAsync_v2"(u64, *const c_void, usize, Handle);
    copy_to_host_async = "cuMemcpyDtoHAsync_v2"(*mut c_void, u64, usize, Handle);
    module_load = "cuModuleLoadData"(*mut Handle, *const c_void);
    module_unload = "cuModuleUnload"(Handle);
    module_get_function = "cuModuleGetFunction"(*mut Handle, Handle, *const c_char);
    launch = "cuLaunchKernel"(
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
    );
    stream_create = "cuStreamCreate"(*mut Handle, c_uint);
    stream_destroy = "cuStreamDestroy_v2"(Handle);
    stream_synchronize = "cuStreamSynchronize"(Handle);
    capture_begin = "cuStreamBeginCapture_v2"(Handle, c_int);
    capture_end = "cuStreamEndCapture"(Handle, *mut Handle);
    graph_instantiate = "cuGraphInstantiateWithFlags"(*mut Handle, Handle, u64);
    graph_destroy = "cuGraphDestroy"(Handle);
    graph_launch = "cuGraphLaunch"(Handle, Handle);
    executable_destroy = "cuGraphExecDestroy"(Handle);
}

/// The driver of this machine.
pub struct Driver {
    pub functions: Functions,
    /// The newest CUDA that it speaks: 12.4 is `(12, 4)`.
    pub version: (u32, u32),
    /// The functions lie in it.
    _library: Library,
}

/// The one that was found, which stays: drivers are not made to be unloaded. None is looked for again each time.
static FOUND: Mutex<Option<Arc<Driver>>> = Mutex::new(None);

impl Driver {
    /// The driver that this system has.
    ///
    /// # Errors
    /// `Unsupported`: there is none, it is too old, or it finds no device. `Runtime`: it does not start.
    pub fn open() -> Result<Arc<Self>> {
        let mut found = lock(&FOUND);
        if let Some(driver) = &*found {
            return Ok(Arc::clone(driver));
        }
        let driver = Self::load(NAMES)?;
        *found = Some(Arc::clone(&driver));
        Ok(driver)
    }

    /// The driver in the first of these libraries that is there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn load<P: AsRef<OsStr>>(names: &[P]) -> Result<Arc<Self>> {
        let mut refused = None;
        // SAFETY: loading the driver's library runs the driver's own code, which is what was asked for.
        let library = names.iter().find_map(|name| match unsafe { library(name.as_ref()) } {
            Ok(library) => Some(library),
            Err(error) => {
                refused.get_or_insert(error);
                None
            }
        });
        let library = library.ok_or_else(|| {
            let reason = refused.map_or_else(|| "none is known".to_owned(), |error| error.to_string());
            unsupported(format!(
                "no NVIDIA display driver is here ({reason}); install one that speaks CUDA 12.0 (525 or newer), or \
                 take the cpu"
            ))
        })?;
        let functions = Functions::of(&library)?;
        let mut driver = Self { functions, version: (0, 0), _library: library };
        let mut version = 0;
        // SAFETY: it takes a place for a number.
        let status = unsafe { (driver.functions.driver_get_version)(&raw mut version) };
        driver.check(status, "asking the driver for its version")?;
        let (major, minor) = (version / 1000, version % 1000 / 10);
        if version < OLDEST {
            return Err(too_old(&format!("it speaks CUDA {major}.{minor}")));
        }
        driver.version = (major.unsigned_abs(), minor.unsigned_abs());
        // SAFETY: it takes flags, of which there are none.
        let status = unsafe { (driver.functions.init)(0) };
        driver.check(status, "starting the driver")?;
        Ok(Arc::new(driver))
    }

    /// The error of a function that was called for `doing`, if it is one.
    ///
    /// # Errors
    /// `OutOfMemory`: of the device. `Unsupported`: there is no device. Else `Runtime`.
    pub fn check(&self, status: Status, doing: &str) -> Result<()> {
        if status == 0 { Ok(()) } else { Err(self.error(status, doing, advice(status))) }
    }

    /// The error that a status is, with whose fault it is and what to do.
    pub fn error(&self, status: Status, doing: &str, (kind, advice): (ErrorKind, &str)) -> Error {
        let functions = &self.functions;
        let text = |ask: unsafe extern "system" fn(Status, *mut *const c_char) -> Status| {
            let mut text = std::ptr::null();
            // SAFETY: it takes a place for the address of a text that stays, or of none.
            let known = unsafe { ask(status, &raw mut text) } == 0 && !text.is_null();
            // SAFETY: the driver's text ends with 0.
            known.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
        };
        let name = text(functions.get_error_name).unwrap_or_else(|| format!("CUDA error {status}").into());
        let more = text(functions.get_error_string).map_or(String::new(), |text| format!(", {text}"));
        Error::new(kind, format!("cuda: {doing} failed ({name}{more}); {advice}"))
    }
}

/// A library: on Windows one of the system's own folder, where the driver is, and no other's of that name.
///
/// # Safety
/// Its code runs.
#[cfg(windows)]
unsafe fn library(name: &OsStr) -> std::result::Result<Library, libloading::Error> {
    use libloading::os::windows::{LOAD_LIBRARY_SEARCH_SYSTEM32, Library};
    // SAFETY: the caller's.
    unsafe { Library::load_with_flags(name, LOAD_LIBRARY_SEARCH_SYSTEM32) }.map(Into::into)
}

/// A library.
///
/// # Safety
/// Its code runs.
#[cfg(not(windows))]
unsafe fn library(name: &OsStr) -> std::result::Result<Library, libloading::Error> {
    // SAFETY: the caller's.
    unsafe { Library::new(name) }
}

fn too_old(how: &str) -> Error {
    unsupported(format!(
        "the NVIDIA display driver is too old: {how}; update it to one that speaks CUDA 12.0 (525 or newer), or take \
         the cpu"
    ))
}

/// Whose fault a status is, and what to do.
fn advice(status: Status) -> (ErrorKind, &'static str) {
    match status {
        2 => (
            ErrorKind::OutOfMemory,
            "the device has too little memory left: take a smaller batch or image, or close what else uses it",
        ),
        100 => (ErrorKind::Unsupported, NO_DEVICE),
        101 => (ErrorKind::Unsupported, "there is no such device: flowturbo devices lists them"),
        3 => (
            ErrorKind::Runtime,
            "CUDA goes on in no process that was forked when it had begun: start another program, or open models in \
             the child alone",
        ),
        4 | 46 | 304 | 800 | 802 | 803 | 804 | 999 => (
            ErrorKind::Unsupported,
            "the driver does not work here: look at what nvidia-smi says, update the driver or start the machine anew",
        ),
        200 | 209 | 218 | 222 => (
            ErrorKind::Unsupported,
            "the kernels are not for this device and driver: update the driver, or take the cpu",
        ),
        214 | 220 | 700 | 702 | 710 | 714..=719 => (
            ErrorKind::Runtime,
            "the device is lost to this process: start the program anew, or take the cpu",
        ),
        _ => (ErrorKind::Runtime, "try again, or take the cpu"),
    }
}

// SAFETY: its functions may be called from any thread, and what else is in it never changes.
unsafe impl Send for Driver {}
// SAFETY: likewise.
unsafe impl Sync for Driver {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_told_so_in_one_line() {
        let error = Driver::load(&["no-such-driver.so.1", "nor-this-one.so"]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let line = error.to_string();
        assert!(line.starts_with("no NVIDIA display driver is here (no-such-driver.so.1"), "{line}");
        assert!(line.ends_with("or take the cpu") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_library_that_is_no_driver_is_too_old_a_one() {
        let error = Driver::load(&["libc.so.6", "msvcrt.dll", "libSystem.dylib"]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("too old: it has no cuDriverGetVersion"), "{error}");
    }
}
