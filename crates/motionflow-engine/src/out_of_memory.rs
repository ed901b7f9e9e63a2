//! Memory that ran out: told in one message with what to do.

use std::fmt::{self, Write};
use std::io;

use anyhow::{Error, anyhow};
use motionflow::checkpoint::CheckpointError;
use motionflow::compute::MemoryUse;
use motionflow::error::Error as Method;
use motionflow::{device, out_of_memory};
use tch::{Device, TchError};

use crate::estimate::bytes;
use crate::progress::Progress;

/// What may help.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hint<'a> {
    /// To make a run smaller; or to resume it by this command, where its steps are kept.
    Run(MemoryUse, Option<&'a str>),
    /// Nothing can be made smaller.
    OtherDevice,
}

/// A panic of libtorch that says so, with the first line of its words.
#[derive(Debug)]
pub struct OutOfMemory(pub String);

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for OutOfMemory {}

/// Whether an error comes of that.
pub(crate) fn caused(error: &Error) -> bool {
    said(error).is_some()
}

/// The words in which it is said.
fn said(error: &Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let weights = match cause.downcast_ref::<Method>() {
            Some(Method::Checkpoint(error)) => Some(error),
            _ => cause.downcast_ref::<CheckpointError>(),
        };
        let of_system = |error: &io::Error| error.kind() == io::ErrorKind::OutOfMemory;
        let is_so = cause.is::<OutOfMemory>()
            || matches!(weights, Some(CheckpointError::OutOfMemory { .. }))
            || (cause.is::<TchError>() && out_of_memory::is_told_in(&cause.to_string()))
            || cause.downcast_ref().is_some_and(of_system);
        is_so.then(|| cause.to_string())
    })
}

/// Whose memory it was: those who compute on CUDA need the CPU's, too.
fn device_of(said: &str, device: Device) -> Device {
    if ["CUDA", "CUBLAS", "CUDNN"].iter().any(|name| said.contains(name)) { device } else { Device::Cpu }
}

/// The message for an error that comes of that: on which device, where in the run, and what to do. Other errors stay as
/// they are.
pub(crate) fn explain(error: Error, device: Device, progress: &Progress, hint: Hint) -> Error {
    let Some(said) = said(&error) else { return error };
    let device = device_of(&said, device);
    let mut message = format!("out of memory on {}", device::name_of(device));
    if let Some(place) = progress.place() {
        let _ = write!(message, ", in {place}");
    }
    if let Some(memory) = device::memory(device) {
        let [taken, total, free] = [memory.peak_reserved, memory.total, memory.free].map(bytes);
        let _ = write!(message, " (this program had taken {taken} of {total}; {free} are free)");
    }
    let smaller = "fewer --frames or a smaller --width and --height";
    let hint = match hint {
        Hint::Run(memory, None) => {
            let low = if memory == MemoryUse::Low { "" } else { "--memory low, " };
            format!("give {low}{smaller}, or end other programs that use it")
        }
        Hint::Run(memory, Some(resume)) => {
            let (how, low) = match memory {
                MemoryUse::Low => ("and go on", ""),
                _ => ("or go on in less memory", " --memory low"),
            };
            format!(
                "end other programs that use it, {how} with\n  {resume}{low}\nor start anew (--force) with {smaller}"
            )
        }
        Hint::OtherDevice => "give another --device, or end other programs that use it".to_owned(),
    };
    anyhow!("{message}: {hint}")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn it_is_known_below_context_and_whose_memory_it_was() {
        const CPU: &str = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes";
        const CUDA: &str = "CUDA out of memory. Tried to allocate 20.00 MiB.";
        let weights = |message: &str| CheckpointError::OutOfMemory {
            component: "unet".into(),
            message: message.into(),
        };
        let torch = |message: &str| TchError::Torch(message.to_owned());
        for (error, device) in [
            (Error::new(OutOfMemory(CPU.into())), Device::Cpu),
            (Error::new(OutOfMemory(CUDA.into())), Device::Cuda(1)),
            (Error::new(Method::from(weights(CUDA))), Device::Cuda(1)),
            (Error::new(weights(CPU)), Device::Cpu),
            (Error::new(torch(CUDA)), Device::Cuda(1)),
            (Error::new(io::Error::from_raw_os_error(12)), Device::Cpu),
        ] {
            let error = Err::<(), _>(error).context("the run").unwrap_err();
            assert_eq!(device_of(&said(&error).unwrap(), Device::Cuda(1)), device, "{error:#}");
        }
        assert!(!caused(&Error::new(torch("The size of tensor a (3) must match"))));
        assert!(!caused(&anyhow!("out of memory lane")));
    }
}
