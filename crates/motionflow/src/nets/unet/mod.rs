//! `UNet3DConditionModel`: predicts the noise in a video's latents.
//!
//! ModelScope's text-to-video net (<https://arxiv.org/abs/2308.06571>) as diffusers publishes it.

mod blocks;
mod config;
mod embedding;

use std::ops::ControlFlow;

use tch::Tensor;

pub use blocks::AttentionNames;
pub use config::{DownBlockType, GuidanceBlocks, UNetConfig, UpBlockType};
pub use embedding::timestep_features;

use self::blocks::{Conditions, DownBlock, MidBlock, UpBlock};
use self::embedding::TimestepEmbedding;
use super::attention::AttentionObserver;
use super::config::ConfigError;
use super::layers::{Conv2d, GroupNorm};
use super::resnet::ResnetOptions;
use super::temporal::TransformerTemporal;
use crate::checkpoint::Loader;
use crate::kernels;

/// `transformer_in` has this many heads whatever the config says.
pub const TRANSFORMER_IN_HEADS: i64 = 8;

/// The net, ready to run.
#[derive(Debug)]
pub struct UNet3D {
    config: UNetConfig,
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    transformer_in: TransformerTemporal,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet3D {
    /// Builds the net that `config` describes from the weights of a checkpoint's `unet` folder.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: UNetConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let channels = config.block_out_channels.clone();
        let (finest, coarsest) = (channels[0], channels[channels.len() - 1]);
        let time_channels = 4 * finest;
        let options = ResnetOptions {
            groups: config.norm_num_groups,
            epsilon: config.norm_eps,
            activation: config.act_fn,
            time_channels: Some(time_channels),
            output_scale: 1.0,
        };
        if let Some(condition) = config.time_cond_proj_dim {
            let _ = weights.tensor("time_embedding.cond_proj.weight", &[finest, condition]);
        }
        let down_blocks = (0..channels.len()).map(|level| {
            let input = channels[level.saturating_sub(1)];
            DownBlock::new(&weights.sub("down_blocks").sub(level), level, input, &config, options)
        });
        let up_blocks = (0..channels.len())
            .map(|index| UpBlock::new(&weights.sub("up_blocks").sub(index), index, &config, options));
        Ok(Self {
            conv_in: Conv2d::same(&weights.sub("conv_in"), config.in_channels, finest),
            time_embedding: TimestepEmbedding::new(
                &weights.sub("time_embedding"),
                finest,
                time_channels,
                config.act_fn,
            ),
            transformer_in: TransformerTemporal::new(
                &weights.sub("transformer_in"),
                finest,
                TRANSFORMER_IN_HEADS,
                config.attention_head_dim,
                config.norm_num_groups,
            ),
            down_blocks: down_blocks.collect(),
            mid_block: MidBlock::new(&weights.sub("mid_block"), coarsest, &config, options),
            up_blocks: up_blocks.collect(),
            conv_norm_out: GroupNorm::new(
                &weights.sub("conv_norm_out"),
                config.norm_num_groups,
                finest,
                config.norm_eps,
            ),
            conv_out: Conv2d::same(&weights.sub("conv_out"), finest, config.out_channels),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The attentions of the guidance blocks: the last block on the way down that has cross-attention, the middle,
    /// and the first on the way up that has it.
    pub fn guidance_attentions(&self) -> AttentionNames {
        let down = self.down_blocks.iter().rev().map(DownBlock::attention_names);
        let up = self.up_blocks.iter().map(UpBlock::attention_names);
        let with_cross = |names: &AttentionNames| !names.cross.is_empty();
        let mut names = down.into_iter().find(with_cross).unwrap_or_default();
        names.extend(self.mid_block.attention_names());
        names.extend(up.into_iter().find(with_cross).unwrap_or_default());
        names
    }

    /// Predicts the noise, or stops where the observer says so.
    ///
    /// latents [batch, channels, frames, height, width], text [batch, tokens, features] -> shape of the latents
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: i64,
        text: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let size = latents.size();
        let (batch, frames, height, width) = (size[0], size[2], size[3], size[4]);
        let features = timestep_features(timestep, self.config.block_out_channels[0], latents.device());
        let time = self.time_embedding.forward(&features.to_kind(latents.kind()));
        let time = self.config.act_fn.forward(&time);
        let conditions = Conditions { time: &time, text, frames };
        let x = latents.permute([0, 2, 1, 3, 4]).reshape([batch * frames, size[1], height, width]);
        let x = self.conv_in.forward(&kernels::laid_out(&x));
        let mut x = self.transformer_in.forward(&x, frames, observer)?;
        let mut skips = vec![x.shallow_clone()];
        for block in &self.down_blocks {
            x = block.forward(x, &conditions, &mut skips, observer)?;
        }
        x = self.mid_block.forward(&x, &conditions, observer)?;
        for block in &self.up_blocks {
            x = block.forward(x, &conditions, &mut skips, observer)?;
        }
        let noise = self.conv_out.forward(&self.conv_norm_out.forward_silu(&x));
        let noise = noise.reshape([batch, frames, self.config.out_channels, height, width]);
        ControlFlow::Continue(noise.permute([0, 2, 1, 3, 4]))
    }
}
