//! What a run holds in memory at its fullest, and what there is.

use motionflow::compute::Compute;
use motionflow::device;
use serde::Serialize;
use tch::Device;

use crate::estimate::system_memory::{SystemMemory, own_memory};

/// Code of libtorch that comes into memory as it is first used, on the CPU (measured).
const CODE_BYTES: u64 = 40 << 20;
/// Memory that the activations take on the CPU, with the holes between them, as a share of what they fill (measured: 1.1
/// to 1.6).
const CPU_HOLES: f64 = 1.35;
/// The same on a CUDA device, whose allocator keeps what it has for reuse (on an H200 1.01 to 1.16:
/// what was reserved at most by what was allocated).
const CUDA_HOLES: f64 = 1.1;
/// What CUDA's libraries take of the device after the first call: kernels, and the working memory of cuBLAS and cuDNN
/// (on an H200 `nvidia-smi` saw so much more than libtorch had reserved).
const CUDA_LIBRARY_BYTES: u64 = 790 << 20;
/// So many times the memory that is there a run must be estimated to take before the CPU refuses it: there the system may
/// give more than it says, and takes back what others do not use.
const CPU_TOLERANCE: f64 = 1.5;

/// Bytes that a run takes at its fullest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    #[serde(rename = "weights_bytes")]
    weights: u64,
    #[serde(rename = "activations_bytes")]
    activations: u64,
    #[serde(rename = "libraries_bytes")]
    libraries: u64,
}

/// What a run holds, in elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements {
    /// Of nets that stay.
    pub(super) weights: u64,
    /// Where they are most.
    pub(super) activations: u64,
    /// Weights that go before there are activations.
    pub(super) released: u64,
}

impl Memory {
    pub(super) fn of(compute: Compute, held: Elements, file_bytes: u64) -> Self {
        let element = compute.kind.elt_size_in_bytes() as u64;
        let with_holes = |holes: f64| (holes * (element * held.activations) as f64) as u64;
        let released = element * held.released;
        let (activations, libraries) = if compute.device.is_cuda() {
            (with_holes(CUDA_HOLES).max(released), CUDA_LIBRARY_BYTES)
        } else {
            // While the weights are loaded, the files are in memory, too.
            (with_holes(CPU_HOLES).max(released + file_bytes), CODE_BYTES)
        };
        Self { weights: element * held.weights, activations, libraries }
    }

    pub(super) fn total(self) -> u64 {
        self.weights + self.activations + self.libraries
    }
}

/// What a device has for a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Room {
    /// Bytes that no one else has taken.
    pub(super) free: u64,
    /// A run that is estimated to take more than this is refused.
    pub(super) limit: u64,
    /// Whether a limit of the process's control groups says so.
    pub(super) is_of_group: bool,
}

impl Room {
    /// None where the system does not tell.
    pub(super) fn on(device: Device) -> Option<Self> {
        // So that the peaks are what is taken now.
        device::reset_peak_memory(device);
        if let Some(memory) = device::memory(device) {
            // What earlier runs of this process left for reuse is free for this one.
            let free = (memory.free + memory.peak_reserved).min(memory.total);
            return Some(Self { free, limit: free, is_of_group: false });
        }
        Some(Self::of(SystemMemory::read()?, own_memory()))
    }

    /// `own` is what this process has taken.
    fn of(memory: SystemMemory, own: u64) -> Self {
        let SystemMemory { available, group, .. } = memory;
        let limit = (CPU_TOLERANCE * (available + own) as f64) as u64;
        match group {
            // The system ends whoever goes beyond it.
            Some(group) => Self {
                free: available.min(group.left),
                limit: limit.min(group.left),
                is_of_group: group.left < available,
            },
            None => Self { free: available, limit, is_of_group: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use motionflow::compute::MemoryUse;
    use tch::Kind;

    use super::*;
    use crate::estimate::group_memory::GroupMemory;

    #[test]
    fn the_limit_of_a_container_is_hard() {
        let room = |group: Option<u64>| {
            let group = group.map(|left| GroupMemory { limit: 2 * left, left });
            Room::of(SystemMemory { total: 8 << 30, available: 4 << 30, group }, 1 << 30)
        };
        let [whole, factor] = [4_u64 << 30, 15 << 29];
        assert_eq!(room(None), Room { free: whole, limit: factor, is_of_group: false });
        assert_eq!(room(Some(6 << 30)), Room { free: whole, limit: 6 << 30, is_of_group: false });
        assert_eq!(room(Some(1 << 30)), Room { free: 1 << 30, limit: 1 << 30, is_of_group: true });
    }

    #[test]
    fn elements_take_as_much_as_their_kind() {
        let bytes = |kind| {
            let compute = Compute { device: Device::Cuda(0), kind, memory: MemoryUse::Fast };
            let held = Elements { weights: 1000, activations: 4000, released: 100 };
            Memory::of(compute, held, 1 << 40)
        };
        let (half, float) = (bytes(Kind::Half), bytes(Kind::Float));
        assert_eq!((half.weights, float.weights), (2000, 4000));
        // The files are read into the device's memory piece by piece.
        assert_eq!(float.activations, (CUDA_HOLES * 16_000.0) as u64);
        assert_eq!(float.total() - half.total(), 2000 + half.activations);
    }
}
