//! A kernel by itself on a device, for tests.

use std::sync::Arc;

use flowturbo_runtime::Result;

use crate::arguments::{Plain, bytes};
use crate::binaries::Binary;
use crate::buffer::{Buffer, Staging};
use crate::gpu::{Gpu, Module};
use crate::kernel;
use crate::stream::{Launch, Stream};

/// A device with the kernels on it.
pub struct Trial {
    device: Arc<Gpu>,
    module: Module,
}

/// A table on a device.
pub struct Table(Buffer);

impl Table {
    /// Its address there.
    pub fn address(&self) -> u64 {
        self.0.at
    }
}

impl Trial {
    /// # Errors
    /// As those of [`Cuda::new`](crate::Cuda::new).
    pub fn new(device: &Arc<Gpu>) -> Result<Self> {
        let (major, minor) = device.info.capability;
        let module = Module::new(device, &Binary::of(major, minor)?)?;
        Ok(Self { device: Arc::clone(device), module })
    }

    /// Puts a table where kernels find it by its address.
    ///
    /// # Errors
    /// `OutOfMemory`, and those of the driver.
    pub fn table(&self, table: &[u8]) -> Result<Table> {
        Buffer::of(&self.device, table).map(Table)
    }

    /// Runs a kernel on an arena.
    ///
    /// # Errors
    /// `OutOfMemory`, and those of the driver, of the kernel too.
    pub fn launch<T: Plain>(&self, launch: kernel::Launch, arguments: &T, floats: &mut [f32]) -> Result<()> {
        let arena = Buffer::of(&self.device, bytes(floats))?;
        let mut staging = Staging::new(&self.device, arena.bytes)?;
        let launch = Launch::new(self.module.function(launch.kernel.name)?, launch, arguments);
        let stream = Stream::new(&self.device)?;
        let graph = stream.capture(|stream| {
            stream.launch(&launch, &arena)?;
            stream.copy_out(&arena, 0, &mut staging, 0, arena.bytes)
        })?;
        stream.run(&graph)?;
        floats.copy_from_slice(staging.slice(0, floats.len()));
        Ok(())
    }
}
