//! Latents to frames, one part of a clip after the other.

use std::ops::Range;

use tch::Tensor;

use super::blocks::{MidBlock, ResidualBlock, Upsample};
use super::layers::{CausalConv, Past, RmsNorm};
use super::{FINE_LEVELS, WanVaeConfig};
use crate::checkpoint::Loader;

#[derive(Debug)]
pub(super) struct Decoder {
    conv_in: CausalConv,
    mid_block: MidBlock,
    up_blocks: Vec<(Vec<ResidualBlock>, Option<Upsample>)>,
    norm_out: RmsNorm,
    conv_out: CausalConv,
}

impl Decoder {
    pub(super) fn new(weights: &Loader, config: &WanVaeConfig) -> Self {
        let channels: Vec<i64> = config.channels().into_iter().rev().collect();
        let doubles_time: Vec<bool> = config.temperal_downsample.iter().rev().copied().collect();
        let finest = channels[channels.len() - 1];
        let up_block = |index: usize| {
            let weights = weights.sub("up_blocks").sub(index);
            // The upsampler before it halves the channels.
            let input = if index == 0 { channels[0] } else { channels[index - 1] / 2 };
            let output = channels[index];
            let resnet = |block: i64| {
                let input = if block == 0 { input } else { output };
                ResidualBlock::new(&weights.sub("resnets").sub(block), input, output)
            };
            let upsampler = |&doubles_time| Upsample::new(&weights.sub("upsamplers.0"), output, doubles_time);
            let resnets = (0..=config.num_res_blocks).map(resnet).collect();
            (resnets, doubles_time.get(index).map(upsampler))
        };
        Self {
            conv_in: CausalConv::new(&weights.sub("conv_in"), config.z_dim, channels[0]),
            mid_block: MidBlock::new(&weights.sub("mid_block"), channels[0]),
            up_blocks: (0..channels.len()).map(up_block).collect(),
            norm_out: RmsNorm::of_videos(&weights.sub("norm_out"), finest),
            conv_out: CausalConv::new(&weights.sub("conv_out"), finest, config.out_channels),
        }
    }

    /// The first latent frame of a clip, or any number of later ones.
    ///
    /// [1, `z_dim`, latent frames, h, w] -> [1, 3, frames, h·downscale, w·downscale]
    pub(super) fn forward(&self, latents: Tensor, past: &mut Past) -> Tensor {
        let x = self.coarse(latents, past);
        let frames = self.fine(x, past);
        past.end_part();
        frames
    }

    /// The part that sees whole frames, as far as the level at which [`Decoder::fine`] goes on:
    /// [1, `z_dim`, latent frames, h, w] -> [1, channels, frames', h', w']
    pub(super) fn coarse(&self, latents: Tensor, past: &mut Past) -> Tensor {
        let x = self.conv_in.forward(latents, past);
        let mut x = self.mid_block.forward(&x, past);
        for (index, (resnets, upsampler)) in self.up_blocks[..=self.last_coarse()].iter().enumerate() {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward(&x, past));
            if let Some(upsampler) = upsampler.as_ref().filter(|_| index < self.last_coarse()) {
                x = upsampler.forward(x, past);
            }
        }
        x
    }

    /// The last block of the coarse part, whose upsampler is not of it.
    fn last_coarse(&self) -> usize {
        self.up_blocks.len().saturating_sub(1 + FINE_LEVELS)
    }

    /// Rows of the coarse part's result that these rows of the frames depend on, of so many in all, and how many rows of frames
    /// one of them is.
    pub(super) fn rows_for(&self, rows: Range<i64>, coarse_rows: i64) -> (Range<i64>, i64) {
        let Range { mut start, mut end } = rows;
        let wider = |start: &mut i64, end: &mut i64, by: i64| (*start, *end) = (*start - by, *end + by);
        wider(&mut start, &mut end, 1);
        let mut scale = 1;
        for ((resnets, _), (_, upsampler)) in
            self.up_blocks[self.last_coarse() + 1..].iter().zip(&self.up_blocks[self.last_coarse()..]).rev()
        {
            wider(&mut start, &mut end, 2 * resnets.len() as i64);
            if upsampler.is_some() {
                wider(&mut start, &mut end, 1);
                (start, end, scale) = (start.div_euclid(2), (end + 1).div_euclid(2), 2 * scale);
            }
        }
        (start.max(0)..end.min(coarse_rows), scale)
    }

    /// The part that sees places near by: [1, channels, frames', h', w'] -> [1, 3, frames, h·downscale, w·downscale], or rows of
    /// both.
    pub(super) fn fine(&self, x: Tensor, past: &mut Past) -> Tensor {
        let mut x = x;
        for (index, (resnets, upsampler)) in self.up_blocks.iter().enumerate().skip(self.last_coarse()) {
            if index > self.last_coarse() {
                x = resnets.iter().fold(x, |x, resnet| resnet.forward(&x, past));
            }
            if let Some(upsampler) = upsampler {
                x = upsampler.forward(x, past);
            }
        }
        let normed = self.norm_out.forward_silu(&x);
        drop(x);
        self.conv_out.forward(normed, past)
    }
}
