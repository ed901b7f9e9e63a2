//! A video as the denoising net sees it.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

/// Latents [1, channels, frames, height, width], float32, in the scale that the net was trained with.
#[derive(Debug)]
pub struct Latents(Tensor);

impl Latents {
    /// Wraps a tensor [1, channels, frames, height, width]. What a net has computed in half precision becomes float32.
    pub fn new(latents: Tensor) -> Self {
        if latents.kind() == Kind::Float { Self(latents) } else { Self(latents.to_kind(Kind::Float)) }
    }

    /// [1, channels, frames, height, width]
    pub fn tensor(&self) -> &Tensor {
        &self.0
    }

    /// The same latents once more; the memory is shared.
    #[must_use]
    pub fn share(&self) -> Self {
        Self(self.0.shallow_clone())
    }

    /// The same latents on a device.
    #[must_use]
    pub fn on(&self, device: Device) -> Self {
        Self(self.0.to_device(device))
    }

    /// Number of frames.
    pub fn frames(&self) -> i64 {
        self.0.size()[2]
    }

    /// Height and width of the latents, in latents.
    pub fn size(&self) -> (i64, i64) {
        let size = self.0.size();
        (size[3], size[4])
    }

    /// Height and width of an attention map with `places` places: the latents' own, halved (and rounded up) until
    /// they match. None where no halving does.
    pub fn map_size(&self, places: i64) -> Option<(i64, i64)> {
        let (mut height, mut width) = self.size();
        while height * width > places && (height > 1 || width > 1) {
            (height, width) = ((height + 1) / 2, (width + 1) / 2);
        }
        (height * width == places).then_some((height, width))
    }

    /// Whether every value is a finite number.
    pub fn is_finite(&self) -> bool {
        is_finite(&self.0)
    }
}

/// Noise of the standard normal distribution, float32: the same for the same seed, whatever the device.
pub(crate) fn seeded_noise(shape: &[i64], seed: u64, device: Device) -> Tensor {
    // All threads share one generator.
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_device(device)
}

/// Whether every value is a finite number.
pub(crate) fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

/// ‖x‖₂ over all elements.
pub(crate) fn norm(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Float).norm().double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_a_halving_of_the_latents() {
        let latents = Latents::new(Tensor::zeros([1, 4, 2, 5, 7], (Kind::Float, tch::Device::Cpu)));
        assert_eq!(latents.map_size(35), Some((5, 7)));
        assert_eq!(latents.map_size(12), Some((3, 4)));
        assert_eq!(latents.map_size(13), None);
    }
}
