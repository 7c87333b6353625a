//! What a device does in its own time: a network is recorded once, as a graph, and runs as one.

use std::ffi::c_void;
use std::sync::Arc;

use flowturbo_runtime::{Error, Result};

use crate::arguments::{Plain, bytes};
use crate::buffer::{Buffer, Staging};
use crate::gpu::{Function, Gpu, OF_THIS_THREAD, Owned};
use crate::kernel;

/// One launch of a kernel, but for the arena's address.
pub struct Launch {
    pub function: Function,
    pub grid: [u32; 3],
    /// Of a block.
    pub threads: u32,
    /// Its first argument, a struct, as words: the arena's address comes behind.
    pub arguments: Vec<u64>,
}

impl Launch {
    /// A launch of `function`, which is its kernel in a module.
    pub fn new<T: Plain>(function: Function, launch: kernel::Launch, arguments: &T) -> Self {
        let kernel::Launch { kernel, grid } = launch;
        let (words, rest) = bytes(std::slice::from_ref(arguments)).as_chunks();
        debug_assert!(rest.is_empty(), "arguments are whole words");
        let arguments = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        Self { function, grid, threads: kernel.threads, arguments }
    }
}

/// What the device does in its own time, one after another.
pub struct Stream(Owned);

impl Stream {
    /// # Errors
    /// Those of the driver.
    pub fn new(device: &Arc<Gpu>) -> Result<Self> {
        let entered = device.enter()?;
        let handle = entered.stream()?;
        Ok(Self(Owned { device: Arc::clone(device), handle, free: device.driver.functions.stream_destroy }))
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
        let graph = graph.ok_or_else(|| Error::bug("a recorded network is empty"))?;
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
        let from: *mut u8 = from.slice(at, bytes).as_mut_ptr();
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
        let to: *mut u8 = to.slice(at, bytes).as_mut_ptr();
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
