//! The timestep's embedding: sines and cosines, then two linear layers.

use tch::{Device, Kind, Tensor};

use crate::checkpoint::Loader;
use crate::nets::layers::{Activation, Linear};

/// Sinusoidal features of a timestep, cosines first ("Denoising Diffusion Probabilistic Models",
/// <https://arxiv.org/abs/2006.11239>): [1, channels], float32. The last of an odd number is 0.
pub fn timestep_features(timestep: f64, channels: i64, device: Device) -> Tensor {
    let half = channels / 2;
    let exponent = Tensor::arange(half, (Kind::Float, device)) * (-(10_000f64.ln())) / half as f64;
    let angles = exponent.exp() * timestep;
    let features = Tensor::cat(&[angles.cos(), angles.sin()], 0).unsqueeze(0);
    features.constant_pad_nd([0, channels - 2 * half])
}

/// `time_embedding`: linear, activation, linear.
#[derive(Debug)]
pub(super) struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    activation: Activation,
}

impl TimestepEmbedding {
    pub(super) fn new(weights: &Loader, input: i64, output: i64, activation: Activation) -> Self {
        Self {
            linear_1: Linear::new(&weights.sub("linear_1"), input, output),
            linear_2: Linear::new(&weights.sub("linear_2"), output, output),
            activation,
        }
    }

    /// [1, input] -> [1, output]
    pub(super) fn forward(&self, features: &Tensor) -> Tensor {
        self.linear_2.forward(&self.activation.forward(&self.linear_1.forward(features)))
    }
}
