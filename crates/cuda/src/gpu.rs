//! A device, and the kernels that are loaded on it: each thing is given back when it is dropped.

use std::ffi::{CString, c_int};
use std::sync::Arc;

use flowturbo_runtime::error::{invalid_argument, unsupported};
use flowturbo_runtime::{DeviceInfo, Error, Result};

use crate::binaries::Binary;
use crate::driver::{Driver, Handle, NO_DEVICE};

/// `CU_DEVICE_ATTRIBUTE_…`.
const INTEGRATED: c_int = 18;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const MULTIPROCESSORS: c_int = 16;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: other threads may do as they like meanwhile.
pub const OF_THIS_THREAD: c_int = 1;
/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;
/// `CUDA_ERROR_NO_BINARY_FOR_GPU`.
const NO_BINARY: c_int = 209;

impl Driver {
    /// What there is, in the driver's order.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn devices(&self) -> Result<Vec<DeviceInfo>> {
        (0..self.count()?).map(|number| self.info(self.handle(number)?)).collect()
    }

    /// How many devices there are.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn count(&self) -> Result<u32> {
        let mut count = 0;
        // SAFETY: it takes a place for a number.
        let status = unsafe { (self.functions.device_get_count)(&raw mut count) };
        self.check(status, "counting devices")?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    fn handle(&self, number: u32) -> Result<c_int> {
        let mut device = 0;
        let number = c_int::try_from(number).map_err(|_| Error::bug("a device has too large a number"))?;
        // SAFETY: it takes a place for a number.
        let status = unsafe { (self.functions.device_get)(&raw mut device, number) };
        self.check(status, "asking for a device").map(|()| device)
    }

    fn attribute(&self, which: c_int, device: c_int) -> Result<u32> {
        let mut value = 0;
        // SAFETY: it takes a place for a number.
        let status = unsafe { (self.functions.device_get_attribute)(&raw mut value, which, device) };
        self.check(status, "asking a device what it can do").map(|()| value.unsigned_abs())
    }

    fn info(&self, device: c_int) -> Result<DeviceInfo> {
        let functions = &self.functions;
        let attribute = |which| self.attribute(which, device);
        let (mut name, mut uuid, mut memory) = ([0u8; 256], [0u8; 16], 0usize);
        // SAFETY: it writes at most as many letters as it is told, the last one 0.
        let status = unsafe { (functions.device_get_name)(name.as_mut_ptr().cast(), 256, device) };
        self.check(status, "asking for a device's name")?;
        // SAFETY: it takes a place for 16 bytes.
        let status = unsafe { (functions.device_get_uuid)(&raw mut uuid, device) };
        self.check(status, "asking for a device's UUID")?;
        // SAFETY: it takes a place for a number.
        let status = unsafe { (functions.device_total_mem)(&raw mut memory, device) };
        self.check(status, "asking for a device's memory")?;
        let end = name.iter().position(|&letter| letter == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        Ok(DeviceInfo {
            uuid: written(&name, uuid),
            name,
            memory: memory as u64,
            capability: (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?),
            integrated: attribute(INTEGRATED)? != 0,
            driver: self.version,
        })
    }
}

/// A UUID as the driver's tools write it. Whether it is that of a part of a GPU is told by the name alone.
fn written(name: &str, uuid: [u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]].map(hex);
    let kind = if name.contains(" MIG ") { "MIG" } else { "GPU" };
    format!("{kind}-{}", parts.join("-"))
}

/// A device with its primary context, which an application that uses CUDA itself shares.
pub struct Gpu {
    pub driver: Arc<Driver>,
    pub info: DeviceInfo,
    pub number: u32,
    pub multiprocessors: u32,
    handle: c_int,
    context: Handle,
    /// What copies come by that are not a network's. The driver's own stream would meet those of an application, and
    /// ours never wait for it.
    pub(crate) uploads: Handle,
}

// SAFETY: the context may be any thread's current one, and many threads' at once; nothing else is changed.
unsafe impl Send for Gpu {}
// SAFETY: likewise.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// Device `number`.
    ///
    /// # Errors
    /// `InvalidArgument`: there are fewer. `OutOfMemory`, and those of the driver.
    pub fn open(driver: &Arc<Driver>, number: u32) -> Result<Arc<Self>> {
        let count = driver.count()?;
        if count == 0 {
            return Err(unsupported(NO_DEVICE));
        }
        if number >= count {
            let have = if count == 1 { "is one device, cuda:0" } else { "are devices cuda:0 to" };
            let last = if count == 1 { String::new() } else { format!(" cuda:{}", count - 1) };
            return Err(invalid_argument(format!("cuda:{number} asked for, there {have}{last}")));
        }
        let handle = driver.handle(number)?;
        let (info, multiprocessors) = (driver.info(handle)?, driver.attribute(MULTIPROCESSORS, handle)?);
        let mut context = std::ptr::null_mut();
        // SAFETY: it takes a place for a context, which `drop` gives back.
        let status = unsafe { (driver.functions.primary_retain)(&raw mut context, handle) };
        driver.check(status, "opening the device")?;
        let uploads = std::ptr::null_mut();
        let driver = Arc::clone(driver);
        let mut gpu = Self { driver, info, number, multiprocessors, handle, context, uploads };
        let made = gpu.enter()?.stream()?;
        gpu.uploads = made;
        Ok(Arc::new(gpu))
    }

    /// Makes it the one that this thread's calls are for, until what this gives is dropped. Meanwhile the calls are no
    /// matter of what other threads record, an application's either: it would forbid most of them.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn enter(&self) -> Result<Entered<'_>> {
        let Driver { functions, .. } = &*self.driver;
        // SAFETY: the context lives as long as this does.
        let status = unsafe { (functions.context_push)(self.context) };
        self.driver.check(status, "entering the device's context")?;
        let mut mode = OF_THIS_THREAD;
        // SAFETY: it takes a mode, and puts the one before in its place.
        let status = unsafe { (functions.exchange_capture_mode)(&raw mut mode) };
        // Not the other way round: what is dropped gives the context back.
        let entered = Entered { gpu: self, mode: (status == 0).then_some(mode) };
        self.driver.check(status, "entering the device's context").map(|()| entered)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if !self.uploads.is_null() {
            let _entered = self.enter();
            // SAFETY: it was made once, and nothing is copied any more.
            unsafe { (self.driver.functions.stream_destroy)(self.uploads) };
        }
        // SAFETY: it was retained once.
        unsafe { (self.driver.functions.primary_release)(self.handle) };
    }
}

/// A thread whose calls are for a device.
pub struct Entered<'a> {
    gpu: &'a Gpu,
    /// The thread's mode before, if it was changed.
    mode: Option<c_int>,
}

impl Entered<'_> {
    /// Makes a stream, which the caller destroys.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn stream(&self) -> Result<Handle> {
        let (driver, mut handle) = (&self.gpu.driver, std::ptr::null_mut());
        // SAFETY: it takes a place for a stream.
        let status = unsafe { (driver.functions.stream_create)(&raw mut handle, NON_BLOCKING) };
        driver.check(status, "making a stream").map(|()| handle)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let functions = &self.gpu.driver.functions;
        if let Some(mode) = &mut self.mode {
            // SAFETY: it takes a mode, and puts the one before in its place.
            unsafe { (functions.exchange_capture_mode)(&raw mut *mode) };
        }
        let mut context = std::ptr::null_mut();
        // SAFETY: it takes a place for the context that was pushed.
        unsafe { (functions.context_pop)(&raw mut context) };
    }
}

/// What a driver's object is freed with.
type Free = unsafe extern "system" fn(Handle) -> c_int;

/// A module, a stream or a graph, freed when it is dropped.
pub struct Owned {
    pub device: Arc<Gpu>,
    pub handle: Handle,
    pub free: Free,
}

// SAFETY: the driver's objects may be used and freed from any thread, one at a time.
unsafe impl Send for Owned {}
// SAFETY: what is shared of them, functions of modules, never changes.
unsafe impl Sync for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        let _entered = self.device.enter();
        // SAFETY: it was made once, and nobody else frees it. A device that was lost says so, and has freed it.
        unsafe { (self.free)(self.handle) };
    }
}

/// Kernels on the device.
pub struct Module(Owned);

/// A kernel of a module, which has to live as long.
#[derive(Clone, Copy)]
pub struct Function(pub Handle);

// SAFETY: it is a name for something that never changes.
unsafe impl Send for Function {}
// SAFETY: likewise.
unsafe impl Sync for Function {}

impl Module {
    /// Loads the first of these that the device takes.
    ///
    /// # Errors
    /// `Unsupported`: it takes none. `OutOfMemory`, `Runtime`: a binary is damaged. Those of the driver.
    pub fn new(device: &Arc<Gpu>, binaries: &[&Binary]) -> Result<Self> {
        let _entered = device.enter()?;
        let (driver, mut handle, mut status) = (&device.driver, std::ptr::null_mut(), NO_BINARY);
        for binary in binaries {
            let bytes = binary.unpack()?;
            // SAFETY: machine code says how long it is, text ends with 0.
            status = unsafe { (driver.functions.module_load)(&raw mut handle, bytes.as_ptr().cast()) };
            if status != NO_BINARY {
                break;
            }
        }
        driver.check(status, "loading the kernels")?;
        let free = driver.functions.module_unload;
        Ok(Self(Owned { device: Arc::clone(device), handle, free }))
    }

    /// The kernel called `name`.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn function(&self, name: &str) -> Result<Function> {
        let Owned { device, handle, .. } = &self.0;
        let _entered = device.enter()?;
        let driver = &device.driver;
        let text = CString::new(name).map_err(|_| Error::bug("a kernel's name has a 0 in it"))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module lives, and the name ends with 0.
        let status =
            unsafe { (driver.functions.module_get_function)(&raw mut function, *handle, text.as_ptr()) };
        driver.check(status, &format!("looking for the kernel {name}"))?;
        Ok(Function(function))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_gpu_is_called_as_the_drivers_tools_call_it() {
        let uuid = std::array::from_fn(|i| i as u8);
        let of = |name| written(name, uuid);
        assert_eq!(of("NVIDIA H200"), "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(of("NVIDIA H200 MIG 1g.18gb"), "MIG-00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
