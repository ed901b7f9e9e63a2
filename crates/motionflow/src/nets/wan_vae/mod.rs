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

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use self::blocks::{images_of, video_of};
use self::decoder::Decoder;
use self::encoder::Encoder;
use self::layers::{Past, PointwiseConv};
use super::config::ConfigError;
use crate::checkpoint::Loader;
use crate::compute::MemoryUse;

pub use config::WanVaeConfig;

/// Latent frames that go through the VAE at once: bounds the memory and does not change the result.
const LATENT_FRAMES_AT_ONCE: i64 = 1;

/// Levels that see places near by alone, and not whole frames, next to the frames.
pub(crate) const FINE_LEVELS: usize = 2;

/// Elements of an activation of the finest level at once at most, where memory is low: 128 MiB in half precision.
const STRIP: i64 = 1 << 26;

/// The VAE, ready to run.
#[derive(Debug)]
pub struct AutoencoderKlWan {
    config: WanVaeConfig,
    encoder: Encoder,
    quant_conv: PointwiseConv,
    post_quant_conv: PointwiseConv,
    decoder: Decoder,
    memory: MemoryUse,
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
            memory: weights.memory(),
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
        match self.strips(frames.size()[2], frames.size()[3]) {
            Some(rows) => self.encode_in_strips(frames, rows),
            None => self.encode_in_parts(frames, LATENT_FRAMES_AT_ONCE),
        }
    }

    /// Frames of latents that are no longer normalised.
    ///
    /// [1, `z_dim`, latent frames, h, w] -> [frames, 3, h·downscale, w·downscale], clamped to -1..1
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        let [height, width] = [3, 4].map(|side| latents.size()[side] * self.config.downscale());
        match self.strips(height, width) {
            Some(rows) => self.decode_in_strips(latents, rows),
            None => self.decode_in_parts(latents, LATENT_FRAMES_AT_ONCE),
        }
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

    /// Rows of the frames that the finest levels have at once where memory is low; none where they have all.
    fn strips(&self, height: i64, width: i64) -> Option<i64> {
        let of_row = self.config.temporal_downscale() * self.config.base_dim * width;
        let rows = strip_rows(of_row, self.config.downscale());
        (self.memory == MemoryUse::Low && rows < height).then_some(rows)
    }

    /// The finest levels see no further than their convolutions reach. So they run on so many rows of the frames after the
    /// others, each with the rows around them that count, and nothing shows where they meet; the levels below see whole frames.
    fn encode_in_strips(&self, frames: &Tensor, rows: i64) -> Tensor {
        let height = frames.size()[2];
        let parts: Vec<Tensor> = parts_of(frames, 0, self.config.temporal_downscale()).collect();
        let scale = self.encoder.rows_for(0..1, height).1;
        let mut strips: Vec<Vec<Tensor>> = Vec::new();
        for strip in ranges(height / scale, rows / scale) {
            let (from, _) = self.encoder.rows_for(strip.clone(), height);
            let mut past = Past::default();
            let of_parts = parts.iter().map(|part| {
                let x = self
                    .encoder
                    .fine(video_of(&part.narrow(2, from.start, from.end - from.start)), &mut past);
                past.end_part();
                x.narrow(3, strip.start - from.start / scale, strip.end - strip.start).copy()
            });
            strips.push(of_parts.collect());
        }
        let mut past = Past::default();
        let moments = (0..parts.len()).map(|part| {
            let of_strips: Vec<&Tensor> = strips.iter().map(|strip| &strip[part]).collect();
            let moments = self.encoder.coarse(Tensor::cat(&of_strips, 3), &mut past);
            past.end_part();
            self.quant_conv.forward(&moments).narrow(1, 0, self.config.z_dim)
        });
        Tensor::cat(&moments.collect::<Vec<_>>(), 2)
    }

    /// As [`AutoencoderKlWan::encode_in_strips`].
    fn decode_in_strips(&self, latents: &Tensor, rows: i64) -> Tensor {
        let mut past = Past::default();
        let coarse = parts_of(latents, 2, 1).map(|part| {
            let x = self.decoder.coarse(self.post_quant_conv.forward(&part), &mut past);
            past.end_part();
            x
        });
        let coarse: Vec<Tensor> = coarse.collect();
        let height = latents.size()[3] * self.config.downscale();
        let strips = ranges(height, rows).map(|strip| {
            let (from, scale) = self.decoder.rows_for(strip.clone(), coarse[0].size()[3]);
            let mut past = Past::default();
            let frames = coarse.iter().map(|x| {
                let x = x.narrow(3, from.start, from.end - from.start).copy();
                let frames = self.decoder.fine(x, &mut past).clamp_(-1.0, 1.0);
                past.end_part();
                images_of(&frames.narrow(3, strip.start - scale * from.start, strip.end - strip.start)).copy()
            });
            Tensor::cat(&frames.collect::<Vec<_>>(), 0)
        });
        Tensor::cat(&strips.collect::<Vec<_>>(), 2).contiguous()
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

/// Rows of the frames at once, of so many elements each at the finest level: a multiple of what a row of latents spans.
pub(crate) fn strip_rows(of_row: i64, downscale: i64) -> i64 {
    (STRIP / of_row.max(1) / downscale).max(1) * downscale
}

/// So many rows, some at once.
fn ranges(rows: i64, at_once: i64) -> impl Iterator<Item = Range<i64>> {
    (0..rows).step_by(at_once.max(1) as usize).map(move |start| start..(start + at_once).min(rows))
}

/// The first frame by itself, and the others, so many at once, along this dimension.
fn parts_of(clip: &Tensor, dimension: i64, at_once: i64) -> impl Iterator<Item = Tensor> {
    let frames = clip.size()[dimension as usize];
    let first = clip.narrow(dimension, 0, 1);
    let others = clip.narrow(dimension, 1, frames - 1);
    let others = if frames > 1 { others.split(at_once, dimension) } else { Vec::new() };
    std::iter::once(first).chain(others)
}
