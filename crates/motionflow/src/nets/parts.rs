//! Parts of a net that are alike and run one after the other, such as a transformer's blocks. Where memory is low their weights
//! stay in the host's memory, and each part's come to the device while the part before it computes.

use std::cell::RefCell;

use tch::{Device, Kind, TchError, Tensor};

use crate::checkpoint::Loader;
use crate::native;

/// Bytes of the host's memory in one piece: libtorch rounds what it pins up to a power of two.
const PIECE: i64 = 64 << 20;

/// Where tensors of a part begin on the device, in bytes.
const ALIGNMENT: i64 = 256;

/// Parts of a net at once on the device: one computes, and one is brought.
const SLOTS: usize = 2;

/// A part of a net.
pub(super) trait Part {
    /// Its weights, in an order that all parts share.
    fn weights_mut(&mut self) -> Vec<&mut Tensor>;
}

/// The parts of a net.
#[derive(Debug)]
pub(super) struct Parts<P> {
    parts: Vec<P>,
    stream: Option<RefCell<Stream>>,
}

impl<P: Part> Parts<P> {
    /// Builds so many parts from loaders of the net's and their number. Where the loader streams, their weights stay with the
    /// host, from where the device fetches them while it computes.
    pub(super) fn new(weights: &Loader, count: i64, build: impl Fn(&Loader, i64) -> P) -> Self {
        if !weights.streams() {
            return Self { parts: (0..count).map(|index| build(weights, index)).collect(), stream: None };
        }
        let mut stream: Option<Stream> = None;
        let parts = (0..count).map(|index| {
            // On the device, where a file's type of numbers becomes the net's in a moment.
            let mut part = build(weights, index);
            if weights.is_whole()
                && let Err(error) = Stream::take(&mut stream, &mut part.weights_mut(), weights.device())
            {
                weights.note_failure(&error);
            }
            part
        });
        let parts = parts.collect();
        Self { parts, stream: stream.map(RefCell::new) }
    }

    pub(super) fn count(&self) -> usize {
        self.parts.len()
    }

    /// A part, whose weights may not be there.
    pub(super) fn get(&self, index: usize) -> &P {
        &self.parts[index]
    }

    /// All of them, as [`Parts::get`].
    pub(super) fn iter(&self) -> std::slice::Iter<'_, P> {
        self.parts.iter()
    }

    /// A part, ready to run until another one is requested.
    pub(super) fn at(&self, index: usize) -> &P {
        if let Some(stream) = &self.stream {
            stream.borrow_mut().bring(index);
        }
        &self.parts[index]
    }
}

/// Weights on their way to the device.
#[derive(Debug)]
struct Stream {
    /// Each part's bytes, in pieces, in the host's memory.
    host: Vec<Vec<Tensor>>,
    /// Memory of the device for one part each, and whose weights are there or on their way.
    slots: [(Tensor, Option<usize>); SLOTS],
    last: Option<usize>,
}

impl Stream {
    /// For parts whose weights are like these.
    fn new(tensors: &[&mut Tensor], device: Device) -> Result<Self, TchError> {
        let bytes = tensors.iter().map(|tensor| padded(tensor)).sum::<i64>();
        let slot = || Tensor::f_empty([bytes], (Kind::Uint8, device));
        Ok(Self { host: Vec::new(), slots: [(slot()?, None), (slot()?, None)], last: None })
    }

    /// Takes the weights of the next part, and leaves in their place tensors of the device that they will be copied to.
    fn take(stream: &mut Option<Self>, tensors: &mut [&mut Tensor], device: Device) -> Result<(), TchError> {
        let stream = match stream {
            Some(stream) => stream,
            none => none.insert(Self::new(tensors, device)?),
        };
        let (slot, _) = &stream.slots[stream.host.len() % SLOTS];
        let whole = Tensor::f_zeros(slot.size(), (Kind::Uint8, Device::Cpu))?;
        let mut begin = 0;
        for tensor in tensors {
            let bytes = tensor.numel() as i64 * tensor.kind().elt_size_in_bytes() as i64;
            let place = |of: &Tensor| {
                of.f_narrow(0, begin, bytes)?.f_view_dtype(tensor.kind())?.f_view(tensor.size().as_slice())
            };
            place(&whole)?.f_copy_(tensor)?;
            let on_device = place(slot)?;
            begin += padded(tensor);
            **tensor = on_device;
        }
        let pieces = whole.f_split(PIECE, 0)?.into_iter().map(|piece| {
            let pinned = if device.is_cuda() { native::pinned(&piece).ok() } else { None };
            // Where no more can be pinned, the device waits for the copy.
            pinned.map_or_else(|| piece.f_contiguous(), Ok)
        });
        stream.host.push(pieces.collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Sees that a part's weights are there before what is computed next, and brings those of the part that is likely to be
    /// next: the one before it on a way back, else the one behind it, and the first behind the last.
    fn bring(&mut self, index: usize) {
        self.copy(index);
        native::await_copies(&self.slots[index % SLOTS].0);
        let is_way_back = self.last.is_some_and(|last| index > 0 && (index == last || index + 1 == last));
        let next = if is_way_back { index - 1 } else { (index + 1) % self.host.len() };
        if next % SLOTS != index % SLOTS {
            self.copy(next);
        }
        self.last = Some(index);
    }

    fn copy(&mut self, index: usize) {
        let (slot, held) = &mut self.slots[index % SLOTS];
        if *held == Some(index) {
            return;
        }
        let mut begin = 0;
        for piece in &self.host[index] {
            let bytes = piece.size()[0];
            native::copy_beside(&slot.narrow(0, begin, bytes), piece);
            begin += bytes;
        }
        *held = Some(index);
    }
}

/// Bytes of a tensor, with those up to where the next one may begin.
fn padded(tensor: &Tensor) -> i64 {
    let bytes = tensor.numel() as i64 * tensor.kind().elt_size_in_bytes() as i64;
    (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Weights([Tensor; 2]);

    impl Part for Weights {
        fn weights_mut(&mut self) -> Vec<&mut Tensor> {
            self.0.iter_mut().collect()
        }
    }

    fn weights(index: i64) -> Weights {
        let numbers = |count: i64, kind| Tensor::arange(count, (kind, Device::Cpu)) + 100 * index;
        Weights([numbers(15, Kind::BFloat16).view([3, 5]), numbers(7, Kind::Float)])
    }

    fn streamed(count: i64) -> Parts<Weights> {
        let mut parts: Vec<Weights> = (0..count).map(weights).collect();
        let mut stream = None;
        for part in &mut parts {
            Stream::take(&mut stream, &mut part.weights_mut(), Device::Cpu).unwrap();
        }
        Parts { parts, stream: stream.map(RefCell::new) }
    }

    #[test]
    fn each_part_has_its_weights_whatever_the_order() {
        for count in [1, 2, 5, 6] {
            let parts = streamed(count);
            let there_and_back = (0..count).chain((0..count).rev()).chain([0, count - 1, count / 2]);
            for index in there_and_back {
                let part = parts.at(index as usize);
                assert!(part.0.iter().zip(&weights(index).0).all(|(found, meant)| found == meant), "{index}");
            }
        }
    }

    #[test]
    fn the_next_part_is_on_its_way_in_both_directions() {
        let parts = streamed(6);
        let mut on_their_way = Vec::new();
        for index in [0, 1, 2, 3, 3, 2, 1, 0, 1] {
            let _ = parts.at(index);
            let stream = parts.stream.as_ref().unwrap().borrow();
            on_their_way.push(stream.slots[(index + 1) % SLOTS].1);
        }
        assert_eq!(on_their_way, [1, 2, 3, 4, 2, 1, 0, 1, 2].map(Some));
    }

    #[test]
    fn no_tensor_of_the_host_is_left_with_a_part() {
        let parts = streamed(4);
        let bytes = |index: usize| parts.parts[index].0[0].data_ptr();
        assert_eq!([bytes(0), bytes(1)], [bytes(2), bytes(3)]);
        assert_ne!(bytes(0), bytes(1));
    }
}
