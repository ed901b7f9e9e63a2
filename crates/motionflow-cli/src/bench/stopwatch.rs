//! Times of the laps of one phase, taken where the device is done, and the memory that they take.

use std::time::Instant;

use motionflow::device;
use serde::Serialize;
use tch::{Cuda, Device};

/// Laps that do not count: they choose kernels and fill the allocator's pools.
pub(super) const WARM_UPS: usize = 2;

/// Milliseconds of a lap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Milliseconds {
    pub(super) median: f64,
    pub(super) minimum: f64,
    pub(super) maximum: f64,
}

/// The most that a CUDA device held at once, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Peak {
    /// By tensors.
    #[serde(rename = "allocated_bytes")]
    pub(super) allocated: u64,
    /// With what is kept for reuse.
    #[serde(rename = "reserved_bytes")]
    pub(super) reserved: u64,
}

impl Peak {
    /// Since the peaks were reset; none on the CPU.
    pub(super) fn of(device: Device) -> Option<Self> {
        device::memory(device)
            .map(|memory| Self { allocated: memory.peak_allocated, reserved: memory.peak_reserved })
    }

    /// The larger of each.
    pub(super) fn or(self, other: Self) -> Self {
        Self { allocated: self.allocated.max(other.allocated), reserved: self.reserved.max(other.reserved) }
    }
}

/// A stopwatch for the laps of one phase.
#[derive(Debug)]
pub(super) struct Stopwatch {
    device: Device,
    since: Instant,
    done: usize,
    milliseconds: Vec<f64>,
}

impl Stopwatch {
    /// The first lap begins, and memory is looked at anew.
    pub(super) fn begin(device: Device) -> Self {
        wait(device);
        device::reset_peak_memory(device);
        Self { device, since: Instant::now(), done: 0, milliseconds: Vec::new() }
    }

    /// A lap is done and the next begins.
    pub(super) fn lap(&mut self) {
        wait(self.device);
        let milliseconds = self.since.elapsed().as_secs_f64() * 1e3;
        self.done += 1;
        if self.done > WARM_UPS {
            self.milliseconds.push(milliseconds);
        }
        self.since = Instant::now();
    }

    /// Laps that count.
    pub(super) fn counted(&self) -> usize {
        self.milliseconds.len()
    }

    /// The times of those; there must be one.
    pub(super) fn times(&self) -> Milliseconds {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Milliseconds { median, minimum: sorted[0], maximum: sorted[sorted.len() - 1] }
    }
}

/// Until the device has done all that it was told to.
fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_laps_do_not_count() {
        let mut laps = Stopwatch::begin(Device::Cpu);
        for done in 1..=WARM_UPS + 3 {
            laps.lap();
            assert_eq!(laps.counted(), done.saturating_sub(WARM_UPS));
        }
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        let of = |milliseconds: &[f64]| {
            Stopwatch { milliseconds: milliseconds.to_vec(), ..Stopwatch::begin(Device::Cpu) }.times()
        };
        assert_eq!(of(&[9.0, 1.0, 3.0]), Milliseconds { median: 3.0, minimum: 1.0, maximum: 9.0 });
        assert!((of(&[4.0, 1.0, 2.0, 9.0]).median - 3.0).abs() < 1e-12);
    }
}
