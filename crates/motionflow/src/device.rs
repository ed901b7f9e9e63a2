//! What computes: the CPU, or a CUDA device where there is one.
//!
//! The program is linked with libtorch's CPU half alone. Its CUDA half is a library of its own that registers itself
//! when it is opened, so one build serves machines with a GPU and machines without.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use tch::{Cuda, Device, Kind, Tensor};

use crate::native;

/// libtorch's CUDA half, and the library by which it opens NVRTC.
#[cfg(target_os = "macos")]
const LIBRARIES: [&str; 2] = ["libtorch_cuda.dylib", "libcaffe2_nvrtc.dylib"];
#[cfg(windows)]
const LIBRARIES: [&str; 2] = ["torch_cuda.dll", "caffe2_nvrtc.dll"];
#[cfg(not(any(target_os = "macos", windows)))]
const LIBRARIES: [&str; 2] = ["libtorch_cuda.so", "libcaffe2_nvrtc.so"];

/// By which a user tells libtorch's allocator what to do.
const ALLOCATOR_VARIABLES: [&str; 2] = ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];

/// A device as a user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A CUDA device where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

/// A device that was requested and is not there.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// CUDA cannot be used at all.
    #[error("there is no CUDA here: {0}")]
    NoCuda(String),
    /// There are fewer devices.
    #[error("there is no CUDA device {index}; the machine has {count}, counted from 0")]
    NoSuchDevice {
        /// What was requested.
        index: usize,
        /// How many there are.
        count: usize,
    },
}

impl DeviceChoice {
    /// Finds the device. The first call that asks for CUDA opens its library.
    ///
    /// # Errors
    /// [`DeviceError`] when a CUDA device was requested by name and is not there.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(cuda_devices().map_or(Device::Cpu, |_| Device::Cuda(0))),
            Self::Cuda(index) => match cuda_devices() {
                Ok(count) if index < count => Ok(Device::Cuda(index)),
                Ok(count) => Err(DeviceError::NoSuchDevice { index, count }),
                Err(why) => Err(DeviceError::NoCuda(why)),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = name.strip_prefix("cuda:").and_then(|index| index.parse().ok());
                index.map(Self::Cuda).ok_or_else(|| "must be auto, cpu, cuda, or cuda:1 and so on".to_owned())
            }
        }
    }
}

/// The name by which this device is requested again.
pub fn name_of(device: Device) -> String {
    match device {
        Device::Cuda(index) => DeviceChoice::Cuda(index).to_string(),
        _ => DeviceChoice::Cpu.to_string(),
    }
}

/// Memory of a CUDA device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Most that tensors of this process took at once since [`reset_peak_memory`].
    pub peak_allocated: u64,
    /// Most that this process had taken of the device for tensors, with what is kept for reuse.
    pub peak_reserved: u64,
    /// What no process has taken.
    pub free: u64,
    /// All that the device has.
    pub total: u64,
}

/// How the memory of a device is taken. None for the CPU.
pub fn memory(device: Device) -> Option<DeviceMemory> {
    let Device::Cuda(index) = device else { return None };
    // libtorch has no figures of a device that nothing was done on.
    drop(Tensor::f_zeros([1], (Kind::Float, device)).ok()?);
    let [peak_allocated, peak_reserved, free, total] =
        native::device_memory(i8::try_from(index).ok()?).ok()?;
    Some(DeviceMemory { peak_allocated, peak_reserved, free, total })
}

/// Begins to measure the peaks of [`memory`] anew.
pub fn reset_peak_memory(device: Device) {
    if let Device::Cuda(index) = device {
        let _ = i8::try_from(index).map(native::reset_peak_memory);
    }
}

/// How many CUDA devices there are: at least one.
///
/// # Errors
/// Why there is none, in words.
pub fn cuda_devices() -> Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    let look = || {
        // libtorch remembers at its first question whether it has CUDA, so the library is opened before.
        open_cuda_library()?;
        match usize::try_from(Cuda::device_count()) {
            Ok(count) if count > 0 && Cuda::is_available() => {
                native::forbid_tf32()?;
                // Without it all works, and takes some more memory.
                if ALLOCATOR_VARIABLES.iter().all(|name| std::env::var_os(name).is_none()) {
                    let _ = native::let_segments_grow();
                }
                Ok(count)
            }
            _ => {
                Err("libtorch for CUDA is here, but sees no device (`nvidia-smi` shows what the driver sees)"
                    .to_owned())
            }
        }
    };
    FOUND.get_or_init(look).clone()
}

fn open_cuda_library() -> Result<(), String> {
    // SAFETY: the library is libtorch's own other half; its initialisers register its kernels and do nothing else.
    let library = unsafe { open_globally(LIBRARIES[0]) };
    match library {
        Ok(library) => {
            // They stay open as long as the process lives.
            std::mem::forget(library);
            // SAFETY: as above; it brings NVRTC with it, which compiles the kernels. Without it they are done without.
            std::mem::forget(unsafe { open_globally(LIBRARIES[1]) });
            Ok(())
        }
        Err(error) => {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Err(format!("the CUDA half of libtorch cannot be opened ({why})"))
        }
    }
}

#[cfg(unix)]
unsafe fn open_globally(name: &str) -> Result<libloading::os::unix::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: as the caller's.
    unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) }
}

#[cfg(not(unix))]
unsafe fn open_globally(name: &str) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: as the caller's.
    unsafe { libloading::Library::new(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["auto", "cpu", "cuda", "cuda:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
        for name in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert!(name.parse::<DeviceChoice>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(DeviceChoice::Cpu.open().unwrap(), Device::Cpu);
        assert_eq!(name_of(Device::Cpu), "cpu");
    }
}
