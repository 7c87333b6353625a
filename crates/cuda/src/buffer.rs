//! Memory: the device's, and the processor's that the device copies from and to by itself.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use flowturbo_runtime::{ErrorKind, Result};

use crate::gpu::Gpu;

/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: c_int = 2;

/// What to do when it is not the device's memory that is short.
const OF_PROCESSOR: &str =
    "the processor has too little memory that stays in place: take a smaller batch, or close programs";

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
        let Gpu { driver, uploads, .. } = &*self.device;
        let (functions, to) = (&driver.functions, self.at + from as u64);
        // SAFETY: so many bytes are there on both sides, until they were waited for.
        let status =
            unsafe { (functions.copy_to_device_async)(to, bytes.as_ptr().cast(), bytes.len(), *uploads) };
        // SAFETY: the stream lives. It is waited for whatever the copy said: nobody reads the bytes behind this.
        let waited = unsafe { (functions.stream_synchronize)(*uploads) };
        driver.check(status, "copying to the device")?;
        driver.check(waited, "copying to the device")
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
        let doing = format!("reserving {bytes} bytes to copy from");
        if status == OUT_OF_MEMORY {
            return Err(driver.error(status, &doing, (ErrorKind::OutOfMemory, OF_PROCESSOR)));
        }
        driver.check(status, &doing)?;
        let staging = Self { device: Arc::clone(device), at: at.cast(), bytes };
        // SAFETY: so many bytes are there, and nobody else has them.
        unsafe { staging.at.write_bytes(0, bytes) };
        Ok(staging)
    }

    /// # Panics
    /// If it does not lie inside, on a boundary of `T`.
    pub fn slice<T: AnyBits>(&mut self, from: usize, len: usize) -> &mut [T] {
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
pub unsafe trait AnyBits: Copy {}
// SAFETY: any bits are a number.
unsafe impl AnyBits for f32 {}
// SAFETY: any bits are a number.
unsafe impl AnyBits for i64 {}
// SAFETY: any bits are a number.
unsafe impl AnyBits for u8 {}
