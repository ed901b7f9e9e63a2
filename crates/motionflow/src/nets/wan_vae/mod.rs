//! `AutoencoderKLWan`: clips to latents and back, in time too, and never looking ahead.
//!
//! "Wan: Open and Advanced Large-Scale Video Generative Models" (<https://arxiv.org/abs/2503.20314>), as diffusers computes
//! it. A clip goes through in parts, its first frame alone and then as many as a latent frame spans. Every causal
//! convolution keeps the last frames of its input for the next part, so that the result is that of the whole clip at once
//! and the memory does not grow with its length, but for frames and latents themselves.

mod blocks;
mod config;
mod decoder;
mod encoder;
mod layers;
#[cfg(test)]
mod tests;

use tch::{Device, Kind, Tensor};

use self::blocks::{images_of, video_of};
use self::decoder::Decoder;
use self::encoder::Encoder;
use self::layers::{Past, PointwiseConv};
use super::config::ConfigError;
use crate::checkpoint::Loader;

pub use config::WanVaeConfig;

/// Latent frames that go through the VAE at once: bounds the memory and does not change the result.
const LATENT_FRAMES_AT_ONCE: i64 = 1;

/// The VAE, ready to run.
#[derive(Debug)]
pub struct AutoencoderKlWan {
    config: WanVaeConfig,
    encoder: Encoder,
    quant_conv: PointwiseConv,
    post_quant_conv: PointwiseConv,
    decoder: Decoder,
}

impl AutoencoderKlWan {
    /// Builds the net that `config` describes from the weights of a checkpoint's `vae` folder.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: WanVaeConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let pointwise = |name: &str, channels| PointwiseConv::new(&weights.sub(name), channels, channels);
        Ok(Self {
            encoder: Encoder::new(&weights.sub("encoder"), &config),
            quant_conv: pointwise("quant_conv", 2 * config.z_dim),
            post_quant_conv: pointwise("post_quant_conv", config.z_dim),
            decoder: Decoder::new(&weights.sub("decoder"), &config),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &WanVaeConfig {
        &self.config
    }

    /// The mean of the posterior, not yet normalised. How many frames a clip can have is
    /// [`WanVaeConfig::latent_frames`]' to say.
    ///
    /// [frames, 3, height, width] in -1..1 ->
    /// [1, `z_dim`, latent frames, height / downscale, width / downscale]
    pub fn encode(&self, frames: &Tensor) -> Tensor {
        self.encode_in_parts(frames, LATENT_FRAMES_AT_ONCE)
    }

    /// Frames of latents that are no longer normalised.
    ///
    /// [1, `z_dim`, latent frames, h, w] -> [frames, 3, h·downscale, w·downscale], clamped to -1..1
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        self.decode_in_parts(latents, LATENT_FRAMES_AT_ONCE)
    }

    /// Latents as the transformer has them, of the posterior's mean: (z - mean)·(1/deviation) of each channel, in float32.
    ///
    /// [1, `z_dim`, latent frames, h, w], same shape out
    pub fn normalise(&self, latents: &Tensor) -> Tensor {
        let [mean, scale] = self.statistics(latents.device());
        (latents.to_kind(Kind::Float) - mean) * scale
    }

    /// What [`AutoencoderKlWan::decode`] takes, of the transformer's latents: z/(1/deviation) + mean of each channel, in
    /// float32.
    ///
    /// [1, `z_dim`, latent frames, h, w], same shape out
    pub fn denormalise(&self, latents: &Tensor) -> Tensor {
        let [mean, scale] = self.statistics(latents.device());
        latents.to_kind(Kind::Float) / scale + mean
    }

    /// Mean and 1/deviation of the channels, each [1, `z_dim`, 1, 1, 1].
    fn statistics(&self, device: Device) -> [Tensor; 2] {
        let of_channels = |values: &[f64]| {
            Tensor::from_slice(values).to_kind(Kind::Float).to_device(device).view([1, -1, 1, 1, 1])
        };
        [of_channels(&self.config.latents_mean), of_channels(&self.config.latents_std).reciprocal()]
    }

    fn encode_in_parts(&self, frames: &Tensor, latent_frames_at_once: i64) -> Tensor {
        let mut past = Past::default();
        let at_once = latent_frames_at_once * self.config.temporal_downscale();
        let parts = parts_of(frames, 0, at_once).map(|part| {
            let moments = self.quant_conv.forward(&self.encoder.forward(video_of(&part), &mut past));
            moments.narrow(1, 0, self.config.z_dim)
        });
        Tensor::cat(&parts.collect::<Vec<_>>(), 2)
    }

    fn decode_in_parts(&self, latents: &Tensor, latent_frames_at_once: i64) -> Tensor {
        let mut past = Past::default();
        let parts = parts_of(latents, 2, latent_frames_at_once).map(|part| {
            let latents = self.post_quant_conv.forward(&part);
            images_of(&self.decoder.forward(latents, &mut past).clamp_(-1.0, 1.0))
        });
        Tensor::cat(&parts.collect::<Vec<_>>(), 0).contiguous()
    }
}

/// The first frame by itself, and the others, so many at once, along this dimension.
fn parts_of(clip: &Tensor, dimension: i64, at_once: i64) -> impl Iterator<Item = Tensor> {
    let frames = clip.size()[dimension as usize];
    let first = clip.narrow(dimension, 0, 1);
    let others = clip.narrow(dimension, 1, frames - 1);
    let others = if frames > 1 { others.split(at_once, dimension) } else { Vec::new() };
    std::iter::once(first).chain(others)
}
