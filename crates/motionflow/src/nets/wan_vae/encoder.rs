//! Frames to the moments of the latents, one part of a clip after the other.

use std::ops::Range;

use tch::Tensor;

use super::blocks::{Downsample, MidBlock, ResidualBlock};
use super::layers::{CausalConv, Past, RmsNorm};
use super::{FINE_LEVELS, WanVaeConfig};
use crate::checkpoint::Loader;

/// An entry of the flat list `down_blocks`.
#[derive(Debug)]
enum DownBlock {
    Residual(ResidualBlock),
    Downsample(Downsample),
}

fn is_halving(block: &DownBlock) -> bool {
    matches!(block, DownBlock::Downsample(_))
}

fn run(blocks: &[DownBlock], x: Tensor, past: &mut Past) -> Tensor {
    blocks.iter().fold(x, |x, block| match block {
        DownBlock::Residual(block) => block.forward(&x, past),
        DownBlock::Downsample(block) => block.forward(&x, past),
    })
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
        let x = self.fine(frames, past);
        let moments = self.coarse(x, past);
        past.end_part();
        moments
    }

    /// The part that sees places near by, down to the level at which [`Encoder::coarse`] goes on:
    /// [1, 3, frames, height, width] -> [1, channels, frames', h', w'], or rows of both
    pub(super) fn fine(&self, frames: Tensor, past: &mut Past) -> Tensor {
        let x = self.conv_in.forward(frames, past);
        run(&self.down_blocks[..self.fine_blocks()], x, past)
    }

    /// Its blocks: as far as the second halving of the sides.
    fn fine_blocks(&self) -> usize {
        let halvings = self.down_blocks.iter().enumerate().filter(|(_, block)| is_halving(block));
        halvings.map(|(index, _)| index + 1).take(FINE_LEVELS).last().unwrap_or(0)
    }

    /// Rows of the frames that these rows of the fine part's result depend on, of so many in all. They begin and end where rows
    /// of the result do; how many rows of frames one of them is.
    pub(super) fn rows_for(&self, rows: Range<i64>, frame_rows: i64) -> (Range<i64>, i64) {
        let Range { mut start, mut end } = rows;
        let mut scale = 1;
        for block in self.down_blocks[..self.fine_blocks()].iter().rev() {
            (start, end) = match block {
                DownBlock::Residual(_) => (start - 2, end + 2),
                // A row is made of two and the next one.
                DownBlock::Downsample(_) => (2 * start, 2 * end + 1),
            };
            scale *= if is_halving(block) { 2 } else { 1 };
        }
        let (start, end) = ((start - 1).div_euclid(scale), (end + scale).div_euclid(scale));
        ((scale * start).max(0)..(scale * end).min(frame_rows), scale)
    }

    /// The part that sees whole frames: [1, channels, frames', h', w'] -> [1, 2·`z_dim`, latent frames, h, w]
    pub(super) fn coarse(&self, x: Tensor, past: &mut Past) -> Tensor {
        let x = run(&self.down_blocks[self.fine_blocks()..], x, past);
        let x = self.mid_block.forward(&x, past);
        self.conv_out.forward(self.norm_out.forward_silu(&x), past)
    }
}
