//! Frames to the moments of the latents, one part of a clip after the other.

use tch::Tensor;

use super::WanVaeConfig;
use super::blocks::{Downsample, MidBlock, ResidualBlock};
use super::layers::{CausalConv, Past, RmsNorm};
use crate::checkpoint::Loader;

/// An entry of the flat list `down_blocks`.
#[derive(Debug)]
enum DownBlock {
    Residual(ResidualBlock),
    Downsample(Downsample),
}

#[derive(Debug)]
pub(super) struct Encoder {
    conv_in: CausalConv,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    norm_out: RmsNorm,
    conv_out: CausalConv,
}

impl Encoder {
    pub(super) fn new(weights: &Loader, config: &WanVaeConfig) -> Self {
        let channels = config.channels();
        let coarsest = channels[channels.len() - 1];
        let mut down_blocks = Vec::new();
        let mut input = config.base_dim;
        for (level, &output) in channels.iter().enumerate() {
            let next = |blocks: &Vec<DownBlock>| weights.sub("down_blocks").sub(blocks.len());
            for _ in 0..config.num_res_blocks {
                let block = ResidualBlock::new(&next(&down_blocks), input, output);
                down_blocks.push(DownBlock::Residual(block));
                input = output;
            }
            if let Some(&halves_time) = config.temperal_downsample.get(level) {
                let block = Downsample::new(&next(&down_blocks), output, halves_time);
                down_blocks.push(DownBlock::Downsample(block));
            }
        }
        Self {
            conv_in: CausalConv::new(&weights.sub("conv_in"), config.in_channels, config.base_dim),
            down_blocks,
            mid_block: MidBlock::new(&weights.sub("mid_block"), coarsest),
            norm_out: RmsNorm::of_videos(&weights.sub("norm_out"), coarsest),
            conv_out: CausalConv::new(&weights.sub("conv_out"), coarsest, 2 * config.z_dim),
        }
    }

    /// The first frame of a clip, or later ones in a number that the temporal downscale divides.
    ///
    /// [1, 3, frames, height, width] -> [1, 2·`z_dim`, latent frames, height / downscale, width / downscale]
    pub(super) fn forward(&self, frames: Tensor, past: &mut Past) -> Tensor {
        let mut x = self.conv_in.forward(frames, past);
        for block in &self.down_blocks {
            x = match block {
                DownBlock::Residual(block) => block.forward(&x, past),
                DownBlock::Downsample(block) => block.forward(&x, past),
            };
        }
        let x = self.mid_block.forward(&x, past);
        let moments = self.conv_out.forward(self.norm_out.forward_silu(&x), past);
        past.end_part();
        moments
    }
}
