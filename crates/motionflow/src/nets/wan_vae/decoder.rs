//! Latents to frames, one part of a clip after the other.

use tch::Tensor;

use super::WanVaeConfig;
use super::blocks::{MidBlock, ResidualBlock, Upsample};
use super::layers::{CausalConv, Past, RmsNorm};
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
        let x = self.conv_in.forward(latents, past);
        let mut x = self.mid_block.forward(&x, past);
        for (resnets, upsampler) in &self.up_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward(&x, past));
            if let Some(upsampler) = upsampler {
                x = upsampler.forward(x, past);
            }
        }
        let normed = self.norm_out.forward_silu(&x);
        drop(x);
        let frames = self.conv_out.forward(normed, past);
        past.end_part();
        frames
    }
}
