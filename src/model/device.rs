//! The devices of this machine, and which one a model takes.

use std::sync::Arc;

use super::ModelOptions;
use crate::engine::Runner;
use crate::error::{Context, invalid_argument, unsupported};
use crate::plan::Target;
use crate::{Device, DeviceInfo, Result};

/// The devices that [`Device::Cuda`] names by their places here.
///
/// # Errors
/// [`Unsupported`](crate::ErrorKind::Unsupported): this build has no CUDA, or the machine no driver that can be used;
/// the line says what to do.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    cuda::devices()
}

/// What runs networks in the processor's place, if anything does, and on which device. `packed` is the processor that a
/// plan's weights are packed for, if they are.
///
/// # Errors
/// See [`Model::load`](crate::Model::load).
pub(super) fn runner(
    options: &ModelOptions,
    packed: Option<Target>,
) -> Result<(Device, Option<Arc<dyn Runner>>)> {
    let on = |number| match packed {
        _ if options.backend.is_reference() => {
            Err(invalid_argument("plain tract computes on the cpu; take the fused backend"))
        }
        Some(target) => Err(unsupported(format!(
            "the plan's weights are packed for {target}, which no device reads; compile it with --target generic"
        ))),
        None => cuda::runner(number, options),
    };
    match options.device {
        Device::Cuda(number) => {
            let runner = on(number).at(|| format!("device {}", options.device))?;
            Ok((Device::Cuda(number), Some(runner)))
        }
        Device::Auto => match on(0) {
            Ok(runner) => Ok((Device::Cuda(0), Some(runner))),
            Err(error) => {
                log::info!("device auto takes the cpu: {error}");
                Ok((Device::Cpu, None))
            }
        },
        _ => Ok((Device::Cpu, None)),
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use flowturbo_cuda::{Cuda, Driver, Gpu};

    use super::*;

    pub(super) fn devices() -> Result<Vec<DeviceInfo>> {
        Driver::open()?.devices()
    }

    pub(super) fn runner(number: u32, options: &ModelOptions) -> Result<Arc<dyn Runner>> {
        let gpu = Gpu::open(&Driver::open()?, number)?;
        log::info!("cuda:{number}: {}", gpu.info);
        Ok(Arc::new(Cuda::new(&gpu, options.precision, options.deterministic)?))
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::*;

    /// The error of whoever asks for a device.
    fn none<T>() -> Result<T> {
        Err(unsupported("this build has no CUDA (feature `cuda`); take the cpu, or a build that has it"))
    }

    pub(super) fn devices() -> Result<Vec<DeviceInfo>> {
        none()
    }

    pub(super) fn runner(_: u32, _: &ModelOptions) -> Result<Arc<dyn Runner>> {
        none()
    }
}
