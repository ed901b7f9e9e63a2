//! A video as the VAE sees it.

use tch::{Kind, Tensor};

/// Frames [frames, 3, height, width], float32, -1 (black) to 1 (white).
#[derive(Debug)]
pub struct Clip {
    frames: Tensor,
}

impl Clip {
    /// Wraps a tensor [frames, 3, height, width] in -1..1.
    pub fn new(frames: Tensor) -> Self {
        Self { frames }
    }

    /// Frames of packed RGB bytes, each `width · height · 3` long, rows from the top.
    pub fn from_rgb(frames: &[&[u8]], height: i64, width: i64) -> Self {
        let frames: Vec<Tensor> =
            frames.iter().map(|rgb| Tensor::from_slice(rgb).view([height, width, 3])).collect();
        let frames = Tensor::stack(&frames, 0).permute([0, 3, 1, 2]).to_kind(Kind::Float) / 127.5 - 1.0;
        Self { frames: frames.contiguous() }
    }

    /// The frames as packed RGB bytes, values outside -1..1 clamped.
    pub fn to_rgb(&self) -> Vec<Vec<u8>> {
        let bytes = ((self.frames.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to_kind(Kind::Uint8);
        let bytes = bytes.permute([0, 2, 3, 1]).contiguous().to_device(tch::Device::Cpu);
        let (frames, size) = (self.len(), bytes.numel() / self.len().max(1));
        let mut all = vec![0u8; bytes.numel()];
        bytes.copy_data(&mut all, frames * size);
        all.chunks(size).map(<[u8]>::to_vec).collect()
    }

    /// [frames, 3, height, width]
    pub fn frames(&self) -> &Tensor {
        &self.frames
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.frames.size()[0] as usize
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height and width in pixels.
    pub fn size(&self) -> (i64, i64) {
        let size = self.frames.size();
        (size[2], size[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_way_there_and_back() {
        let frames: Vec<Vec<u8>> =
            (0..2).map(|f| (0..=254).map(|i: u8| i.wrapping_add(f)).collect()).collect();
        let borrowed: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let clip = Clip::from_rgb(&borrowed, 5, 17);
        assert_eq!(clip.frames().size(), [2, 3, 5, 17]);
        assert_eq!(clip.to_rgb(), frames);
    }
}
