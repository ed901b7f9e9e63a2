//! Bytes of a file on their way to a CUDA device: several threads gather them in memory that the device fetches from at its
//! full speed. Straight from a mapped file, one thread of the driver brings a third of that.

use std::thread;

use tch::{Device, Kind, TchError, Tensor};

use crate::native;

/// Bytes that are on their way at once.
pub(super) const BYTES: usize = 64 << 20;

/// Bytes of which a thread is worth its start.
const BYTES_OF_A_THREAD: usize = 4 << 20;

const MOST_THREADS: usize = 8;

/// Memory that a CUDA device can fetch from.
pub(super) struct Staging(Tensor);

impl Staging {
    /// Nothing where there is no CUDA device, or no such memory.
    pub(super) fn new(device: Device) -> Option<Self> {
        if !device.is_cuda() {
            return None;
        }
        let bytes = Tensor::f_zeros([BYTES as i64], (Kind::Uint8, Device::Cpu)).ok()?;
        native::pinned(&bytes).ok().map(Self)
    }

    /// Elements of `kind` that these bytes are, at most [`BYTES`] of them: [elements]. What was gathered before is gone.
    pub(super) fn gather(&mut self, bytes: &[u8], kind: Kind) -> Result<Tensor, TchError> {
        let room = self.0.f_narrow(0, 0, bytes.len() as i64)?;
        // SAFETY: the narrowed tensor has so many bytes of memory, which nobody else reads or writes: the copies to the device
        // that were requested of it are done when they return.
        #[allow(unsafe_code)]
        let to = unsafe { std::slice::from_raw_parts_mut(room.data_ptr().cast::<u8>(), bytes.len()) };
        copy(bytes, to);
        room.f_view_dtype(kind)
    }
}

fn copy(from: &[u8], to: &mut [u8]) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (from.len() / BYTES_OF_A_THREAD).clamp(1, cores.min(MOST_THREADS));
    let part = from.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let mut parts = from.chunks(part).zip(to.chunks_mut(part));
        let own = parts.next();
        for (from, to) in parts {
            scope.spawn(|| to.copy_from_slice(from));
        }
        if let Some((from, to)) = own {
            to.copy_from_slice(from);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_what_was_given_last() {
        let mut staging = Staging(Tensor::zeros([BYTES as i64], (Kind::Uint8, Device::Cpu)));
        for length in [2, 5 << 20, (9 << 20) + 2, BYTES, 12] {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 7 + length) as u8).collect();
            let found = staging.gather(&bytes, Kind::Int16).unwrap();
            let expected = Tensor::from_data_size(&bytes, &[length as i64 / 2], Kind::Int16);
            assert_eq!(found, expected, "{length}");
        }
    }

    #[test]
    fn without_a_cuda_device_there_is_none() {
        assert!(Staging::new(Device::Cpu).is_none());
    }
}
