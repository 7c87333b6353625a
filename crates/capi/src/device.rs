//! What computes networks beside the processor.

use std::ffi::c_char;

use super::boundary::{Failure, guard};
use super::pointers::place;
use super::status::ft_status;
use super::versioned::{self, Versioned};
use super::{Device, devices};

/// Where networks are computed: `FT_DEVICE_CPU`, `FT_DEVICE_AUTO`, or `FT_DEVICE_CUDA` + N.
pub type ft_device = u32;

/// The processor.
pub const FT_DEVICE_CPU: ft_device = 0;
/// The first GPU that can be used, else the processor; `ft_model_info.device` says which it was.
pub const FT_DEVICE_AUTO: ft_device = 1;
/// NVIDIA's GPU 0; those after it follow: `FT_DEVICE_CUDA` + 1 is GPU 1. 4095 is the last. Needs a library that was
/// built with the feature `cuda`, and a display driver; never anything else in silence (docs/cuda.md).
pub const FT_DEVICE_CUDA: ft_device = 4096;

/// A GPU as its driver describes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ft_device_info {
    /// sizeof(ft_device_info), set by the caller.
    pub struct_size: u32,
    /// Compute capability 9.0 is 9 here
    pub capability_major: u32,
    /// and 0 here.
    pub capability_minor: u32,
    /// The newest CUDA that the driver speaks: 12.4 is 12 here
    pub driver_major: u32,
    /// and 4 here.
    pub driver_minor: u32,
    /// 1 if its memory is the processor's too, as on a Jetson board, else 0.
    pub integrated: u32,
    /// All of its memory.
    pub memory_bytes: u64,
    /// What its maker calls it: UTF-8 that ends with 0, perhaps cut.
    pub name: [c_char; 128],
    /// "GPU-", or "MIG-" of a part of one, and 32 hex digits in five groups, that ends with 0: as nvidia-smi has it.
    pub uuid: [c_char; 48],
}

// SAFETY: `repr(C)`, begins with its size, integers.
unsafe impl Versioned for ft_device_info {
    const NAME: &'static str = "ft_device_info";
    const FIRST: usize = versioned::first(208, 208);

    fn new() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            capability_major: 0,
            capability_minor: 0,
            driver_major: 0,
            driver_minor: 0,
            integrated: 0,
            memory_bytes: 0,
            name: [0; 128],
            uuid: [0; 48],
        }
    }
}

/// Counts the GPUs that `ft_model_options.device` can name.
///
/// Errors: `FT_ERROR_UNSUPPORTED` (the library was built without the feature `cuda`, or the machine has no driver, an
/// old one or no GPU; `ft_last_error_message` says which), `FT_ERROR_INVALID_ARGUMENT`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_device_count(out_count: *mut u32) -> ft_status {
    guard(|| {
        place(out_count, "out_count")?;
        let count = devices()?.len() as u32;
        // SAFETY: not NULL; the header asks the caller for a place.
        unsafe { out_count.write(count) };
        Ok(())
    })
}

/// Describes GPU `index`, below `ft_device_count`.
///
/// The caller sets `out_info->struct_size`. Errors: as `ft_device_count`. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ft_device_get_info(index: u32, out_info: *mut ft_device_info) -> ft_status {
    guard(|| {
        // SAFETY: the header asks the caller for a struct.
        unsafe { versioned::writable(out_info, "out_info")? };
        let all = devices()?;
        let count = all.len();
        let device = all.get(index as usize);
        let device = device.ok_or_else(|| {
            Failure::argument(format!("index is {index}, devices are counted from 0 to {count}"))
        })?;
        let mut info = ft_device_info {
            capability_major: device.capability.0,
            capability_minor: device.capability.1,
            driver_major: device.driver.0,
            driver_minor: device.driver.1,
            integrated: device.integrated.into(),
            memory_bytes: device.memory,
            ..ft_device_info::new()
        };
        write(&device.name, &mut info.name);
        write(&device.uuid, &mut info.uuid);
        // SAFETY: as above.
        unsafe { versioned::write(out_info, "out_info", &info) }
    })
}

/// As much of a text as there is room for, and a 0 behind it.
fn write(text: &str, to: &mut [c_char]) {
    let end = text.floor_char_boundary(to.len() - 1);
    to.iter_mut().zip(text[..end].bytes()).for_each(|(to, byte)| *to = byte.cast_signed() as c_char);
}

/// What a number of the header's means.
pub(super) fn of(device: ft_device) -> Result<Device, Failure> {
    match device {
        FT_DEVICE_CPU => Ok(Device::Cpu),
        FT_DEVICE_AUTO => Ok(Device::Auto),
        FT_DEVICE_CUDA.. if device < 2 * FT_DEVICE_CUDA => Ok(Device::Cuda(device - FT_DEVICE_CUDA)),
        other => Err(Failure::argument(format!(
            "options.device is {other}, which is none of FT_DEVICE_...; call ft_model_options_init first"
        ))),
    }
}

/// The number of a device.
pub(super) fn number(device: Device) -> ft_device {
    match device {
        Device::Auto => FT_DEVICE_AUTO,
        Device::Cuda(number) => FT_DEVICE_CUDA + number,
        _ => FT_DEVICE_CPU,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_devices_and_texts_are_cut_between_letters() {
        for device in [Device::Cpu, Device::Auto, Device::Cuda(0), Device::Cuda(4095)] {
            assert_eq!(of(number(device)).unwrap(), device);
        }
        assert!([2, FT_DEVICE_CUDA - 1, 2 * FT_DEVICE_CUDA].into_iter().all(|other| of(other).is_err()));
        let mut room = [1; 4];
        room[3] = 0;
        write("aßä", &mut room);
        assert_eq!(room.map(|byte| byte as u8), [b'a', 0xc3, 0x9f, 0]);
        let mut room = [0; 3];
        write("aßä", &mut room);
        assert_eq!(room.map(|byte| byte as u8), [b'a', 0, 0]);
    }
}
