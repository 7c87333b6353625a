//! A device, and what lives on it: each thing is given back when it is dropped.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use flowturbo_runtime::error::{invalid_argument, unsupported};
use flowturbo_runtime::{DeviceInfo, Result};

use crate::driver::{Driver, Handle, mistake};

/// `CU_DEVICE_ATTRIBUTE_…`.
const INTEGRATED: c_int = 18;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const MULTIPROCESSORS: c_int = 16;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: other threads may do as they like meanwhile.
const OF_THIS_THREAD: c_int = 1;
/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;

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
        let number = c_int::try_from(number).map_err(|_| mistake("a device has too large a number"))?;
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
        Ok(DeviceInfo {
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            uuid: written(uuid),
            memory: memory as u64,
            capability: (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?),
            integrated: attribute(INTEGRATED)? != 0,
            driver: self.version,
        })
    }
}

/// A UUID as the driver's tools write it.
fn written(uuid: [u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]].map(hex);
    format!("GPU-{}", parts.join("-"))
}

/// A device with its primary context, which an application that uses CUDA itself shares.
pub struct Gpu {
    pub driver: Arc<Driver>,
    pub info: DeviceInfo,
    pub number: u32,
    pub multiprocessors: u32,
    handle: c_int,
    context: Handle,
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
            return Err(unsupported(
                "the driver sees no device: take the cpu, or look at what nvidia-smi says",
            ));
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
        Ok(Arc::new(Self { driver: Arc::clone(driver), info, number, multiprocessors, handle, context }))
    }

    /// Makes it the one that this thread's calls are for, until what this gives is dropped.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn enter(&self) -> Result<Entered<'_>> {
        // SAFETY: the context lives as long as this does.
        let status = unsafe { (self.driver.functions.context_push)(self.context) };
        self.driver.check(status, "entering the device's context")?;
        Ok(Entered(self))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: it was retained once.
        unsafe { (self.driver.functions.primary_release)(self.handle) };
    }
}

/// A thread whose calls are for a device.
pub struct Entered<'a>(&'a Gpu);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = std::ptr::null_mut();
        // SAFETY: it takes a place for the context that was pushed.
        unsafe { (self.0.driver.functions.context_pop)(&raw mut context) };
    }
}

/// What a driver's object is freed with.
type Free = unsafe extern "system" fn(Handle) -> c_int;

/// A module, a stream or a graph, freed when it is dropped.
struct Owned {
    device: Arc<Gpu>,
    handle: Handle,
    free: Free,
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

/// Memory of the device.
pub struct Buffer {
    device: Arc<Gpu>,
    /// Its address there.
    pub at: u64,
    pub bytes: usize,
}

impl Buffer {
    /// # Errors
    /// `OutOfMemory`: says how much was asked for and how much there is. Those of the driver.
    pub fn new(device: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        let _entered = device.enter()?;
        let (driver, mut at) = (&device.driver, 0);
        // SAFETY: it takes a place for an address, which `drop` frees.
        let status = unsafe { (driver.functions.mem_alloc)(&raw mut at, bytes.max(1)) };
        driver.check(status, &format!("reserving {bytes} bytes on {}", device.info.name)).map_err(
            |error| {
                let (mut free, mut all) = (0, 0);
                // SAFETY: it takes places for two numbers.
                let known = unsafe { (driver.functions.mem_get_info)(&raw mut free, &raw mut all) } == 0;
                if known { error.at(format!("{free} of {all} bytes are free")) } else { error }
            },
        )?;
        Ok(Self { device: Arc::clone(device), at, bytes })
    }

    /// Memory that holds `bytes`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(device: &Arc<Gpu>, bytes: &[u8]) -> Result<Self> {
        let buffer = Self::new(device, bytes.len())?;
        buffer.write(0, bytes)?;
        Ok(buffer)
    }

    /// Replaces what lies from byte `from` on.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Panics
    /// If it goes beyond the end.
    pub fn write(&self, from: usize, bytes: &[u8]) -> Result<()> {
        assert!(
            from <= self.bytes && bytes.len() <= self.bytes - from,
            "a write goes beyond a device's memory"
        );
        if bytes.is_empty() {
            return Ok(());
        }
        let _entered = self.device.enter()?;
        let driver = &self.device.driver;
        // SAFETY: so many bytes are there on both sides.
        let status = unsafe {
            (driver.functions.copy_to_device)(self.at + from as u64, bytes.as_ptr().cast(), bytes.len())
        };
        driver.check(status, "copying to the device")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let _entered = self.device.enter();
        // SAFETY: it was allocated once; whoever still computes with it was waited for.
        unsafe { (self.device.driver.functions.mem_free)(self.at) };
    }
}

/// Memory of the processor that the device copies from and to by itself.
pub struct Staging {
    device: Arc<Gpu>,
    at: *mut u8,
    bytes: usize,
}

// SAFETY: it is memory, which whoever holds it may use.
unsafe impl Send for Staging {}

impl Staging {
    /// Of zeros.
    ///
    /// # Errors
    /// `OutOfMemory`, and those of the driver.
    pub fn new(device: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        let _entered = device.enter()?;
        let (driver, bytes) = (&device.driver, bytes.max(1));
        let mut at: *mut c_void = std::ptr::null_mut();
        // SAFETY: it takes a place for an address, which `drop` frees.
        let status = unsafe { (driver.functions.host_alloc)(&raw mut at, bytes, 0) };
        driver.check(status, &format!("reserving {bytes} bytes to copy from"))?;
        let staging = Self { device: Arc::clone(device), at: at.cast(), bytes };
        // SAFETY: so many bytes are there, and nobody else has them.
        unsafe { staging.at.write_bytes(0, bytes) };
        Ok(staging)
    }

    /// # Panics
    /// If it does not lie inside, on a boundary of `T`.
    pub fn slice<T: Plain>(&mut self, from: usize, len: usize) -> &mut [T] {
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| from.checked_add(bytes));
        assert!(end.is_some_and(|end| end <= self.bytes), "a slice goes beyond what is staged");
        // SAFETY: inside, by the assertion.
        let first = unsafe { self.at.add(from) }.cast::<T>();
        assert!(first.is_aligned(), "a slice is staged between two boundaries");
        // SAFETY: so many are there, of a type that any bits are, and the reference is the only one.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _entered = self.device.enter();
        // SAFETY: it was allocated once; copies from and to it were waited for.
        unsafe { (self.device.driver.functions.host_free)(self.at.cast()) };
    }
}

/// Numbers that any bits are.
///
/// # Safety
/// Such a type has neither padding nor bits that mean nothing.
pub unsafe trait Plain: Copy {}
// SAFETY: any bits are a number.
unsafe impl Plain for f32 {}
// SAFETY: any bits are a number.
unsafe impl Plain for i64 {}

/// Kernels on the device.
pub struct Module(Owned);

/// A kernel of a module, which has to live as long.
#[derive(Clone, Copy)]
pub struct Function(Handle);

// SAFETY: it is a name for something that never changes.
unsafe impl Send for Function {}
// SAFETY: likewise.
unsafe impl Sync for Function {}

impl Module {
    /// Loads a binary: machine code for the device, or PTX that ends with 0.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn new(device: &Arc<Gpu>, binary: &[u8]) -> Result<Self> {
        let _entered = device.enter()?;
        let (driver, mut handle) = (&device.driver, std::ptr::null_mut());
        // SAFETY: the binary says how long it is, or ends with 0.
        let status = unsafe { (driver.functions.module_load)(&raw mut handle, binary.as_ptr().cast()) };
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
        let text = CString::new(name).map_err(|_| mistake("a kernel's name has a 0 in it"))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module lives, and the name ends with 0.
        let status =
            unsafe { (driver.functions.module_get_function)(&raw mut function, *handle, text.as_ptr()) };
        driver.check(status, &format!("looking for the kernel {name}"))?;
        Ok(Function(function))
    }
}

/// One launch of a kernel, but for the arena's address.
pub struct Launch {
    pub function: Function,
    pub grid: [u32; 3],
    /// Of a block.
    pub threads: u32,
    /// Its first argument, a struct, as words: the arena's address comes behind.
    pub arguments: Vec<u64>,
}

/// What the device does in its own time, one after another.
pub struct Stream(Owned);

impl Stream {
    /// # Errors
    /// Those of the driver.
    pub fn new(device: &Arc<Gpu>) -> Result<Self> {
        let _entered = device.enter()?;
        let (driver, mut handle) = (&device.driver, std::ptr::null_mut());
        // SAFETY: it takes a place for a stream, which is freed when it is dropped.
        let status = unsafe { (driver.functions.stream_create)(&raw mut handle, NON_BLOCKING) };
        driver.check(status, "making a stream")?;
        let free = driver.functions.stream_destroy;
        Ok(Self(Owned { device: Arc::clone(device), handle, free }))
    }

    /// Records what `work` asks for, which is not done meanwhile, as a graph.
    ///
    /// # Errors
    /// Those of `work`, and of the driver.
    pub fn capture(&self, work: impl FnOnce(&Self) -> Result<()>) -> Result<Graph> {
        let Owned { device, handle, .. } = &self.0;
        let _entered = device.enter()?;
        let (driver, functions) = (&device.driver, &device.driver.functions);
        // SAFETY: the stream lives, and nothing else is captured on it.
        let status = unsafe { (functions.capture_begin)(*handle, OF_THIS_THREAD) };
        driver.check(status, "beginning to record a network")?;
        let worked = work(self);
        let mut graph = std::ptr::null_mut();
        // SAFETY: it was begun above, and has to end even if something failed.
        let status = unsafe { (functions.capture_end)(*handle, &raw mut graph) };
        let recorded = worked.and_then(|()| driver.check(status, "recording a network"));
        let graph = (!graph.is_null()).then(|| Owned {
            device: Arc::clone(device),
            handle: graph,
            free: functions.graph_destroy,
        });
        recorded?;
        let graph = graph.ok_or_else(|| mistake("a recorded network is empty"))?;
        let mut executable = std::ptr::null_mut();
        // SAFETY: the graph lives until it is made something that runs.
        let status = unsafe { (functions.graph_instantiate)(&raw mut executable, graph.handle, 0) };
        driver.check(status, "preparing a recorded network")?;
        let free = functions.executable_destroy;
        Ok(Graph(Owned { device: Arc::clone(device), handle: executable, free }))
    }

    /// Copies to the device.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Panics
    /// If it goes beyond either end.
    pub fn copy_in(
        &self,
        from: &mut Staging,
        at: usize,
        to: &Buffer,
        place: usize,
        bytes: usize,
    ) -> Result<()> {
        let from: *mut u8 = from.slice::<Byte>(at, bytes).as_mut_ptr().cast();
        assert!(place <= to.bytes && bytes <= to.bytes - place, "a copy goes beyond a device's memory");
        let driver = &self.0.device.driver;
        let to = to.at + place as u64;
        // SAFETY: so many bytes are there on both sides, which outlive the stream's work: whoever owns them waits.
        let status =
            unsafe { (driver.functions.copy_to_device_async)(to, from.cast(), bytes, self.0.handle) };
        driver.check(status, "copying to the device")
    }

    /// Copies to the processor.
    ///
    /// # Errors
    /// Those of the driver.
    ///
    /// # Panics
    /// If it goes beyond either end.
    pub fn copy_out(
        &self,
        from: &Buffer,
        place: usize,
        to: &mut Staging,
        at: usize,
        bytes: usize,
    ) -> Result<()> {
        let to: *mut u8 = to.slice::<Byte>(at, bytes).as_mut_ptr().cast();
        assert!(place <= from.bytes && bytes <= from.bytes - place, "a copy goes beyond a device's memory");
        let driver = &self.0.device.driver;
        let from = from.at + place as u64;
        // SAFETY: as in `copy_in`.
        let status = unsafe { (driver.functions.copy_to_host_async)(to.cast(), from, bytes, self.0.handle) };
        driver.check(status, "copying from the device")
    }

    /// Asks for a launch, with the address of an arena behind its arguments.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn launch(&self, launch: &Launch, arena: &Buffer) -> Result<()> {
        let Launch { function, grid, threads, arguments } = launch;
        let mut words = [arguments.as_slice(), &[arena.at]].concat();
        let mut bytes = size_of_val(words.as_slice());
        // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END: numbers in the place of addresses.
        let [pointer, size, end] = [1, 2, 0].map(std::ptr::without_provenance_mut::<c_void>);
        let mut extra = [pointer, words.as_mut_ptr().cast(), size, (&raw mut bytes).cast(), end];
        let driver = &self.0.device.driver;
        // SAFETY: the arguments are those of the kernel, copied before this returns; the places that they name were
        // held against the arena when the network was loaded.
        let status = unsafe {
            (driver.functions.launch)(
                function.0,
                grid[0],
                grid[1],
                grid[2],
                *threads,
                1,
                1,
                0,
                self.0.handle,
                std::ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        };
        driver.check(status, "asking for a kernel")
    }

    /// Runs what was recorded, and waits for it.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn run(&self, graph: &Graph) -> Result<()> {
        let Owned { device, handle, .. } = &self.0;
        let _entered = device.enter()?;
        let (driver, functions) = (&device.driver, &device.driver.functions);
        // SAFETY: both live.
        let status = unsafe { (functions.graph_launch)(graph.0.handle, *handle) };
        driver.check(status, "running a network")?;
        // SAFETY: the stream lives.
        let status = unsafe { (functions.stream_synchronize)(*handle) };
        driver.check(status, "running a network")
    }
}

/// A recorded network.
pub struct Graph(Owned);

/// A byte of anything.
#[derive(Clone, Copy)]
struct Byte(#[expect(dead_code, reason = "only its place counts")] u8);
// SAFETY: any bits are a byte.
unsafe impl Plain for Byte {}
