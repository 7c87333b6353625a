//! Where networks are computed, as it is asked for, and what a device says of itself.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use crate::error::invalid_argument;
use crate::{Error, Result};

/// Where networks are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU of NVIDIA's, by its number, from 0 on. For builds with the feature `cuda`; never anything else in silence.
    Cuda(u32),
    /// The first GPU where there is one that can be used, else the processor; the model says which it took.
    Auto,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `auto`, `cuda` for the first GPU, `cuda:1` for the second.
    fn from_str(name: &str) -> Result<Self> {
        let number =
            name.strip_prefix("cuda:").filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
        match (name, number.map(str::parse)) {
            ("cpu", _) => Ok(Self::Cpu),
            ("auto", _) => Ok(Self::Auto),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(number))) => Ok(Self::Cuda(number)),
            _ => Err(invalid_argument(format!(
                "no device '{}'; there are cpu, cuda, cuda:N and auto",
                name.escape_debug()
            ))),
        }
    }
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What its maker calls it.
    pub name: String,
    /// As `nvidia-smi -L` writes it: `GPU-2d1c1a3e-…`, `MIG-…` of a part of one.
    pub uuid: String,
    /// Bytes of memory.
    pub memory: u64,
    /// The compute capability: 9.0 is `(9, 0)`.
    pub capability: (u32, u32),
    /// Whether its memory is the processor's too, as on a Jetson board.
    pub integrated: bool,
    /// The newest CUDA that the driver speaks: 12.4 is `(12, 4)`.
    pub driver: (u32, u32),
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, uuid, memory, capability, integrated, driver } = self;
        let gibibytes = *memory as f64 / f64::from(1 << 30);
        let shared = if *integrated { " shared with the processor" } else { "" };
        let ((major, minor), (cuda, point)) = (capability, driver);
        write!(
            f,
            "{name}, {gibibytes:.1} GiB{shared}, compute capability {major}.{minor}, {uuid}, driver for CUDA \
             {cuda}.{point}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(12), Device::Auto] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for other in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:4294967296", "cpu:0"]
        {
            let error = other.parse::<Device>().unwrap_err().to_string();
            assert_eq!(error, format!("no device '{other}'; there are cpu, cuda, cuda:N and auto"));
        }
    }
}
