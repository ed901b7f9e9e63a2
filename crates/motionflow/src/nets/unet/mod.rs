//! The nets that predict the noise in a video's latents, as diffusers publishes them: `UNet3DConditionModel`, ModelScope's
//! text-to-video net (<https://arxiv.org/abs/2308.06571>), and `UNetMotionModel`, Stable Diffusion's net with AnimateDiff's
//! motion modules (<https://arxiv.org/abs/2307.04725>).

mod blocks;
mod config;
mod embedding;
mod motion_config;
mod shape;
mod stages;

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

pub use blocks::AttentionNames;
pub use config::{DownBlockType, UNet3DConfig, UpBlockType};
pub use embedding::timestep_features;
pub use motion_config::{MotionAdapterConfig, UNet2DConfig, UNetMotionConfig};
pub use shape::{GuidanceBlocks, Heads, MotionModules, Temporal, UNetShape};

use self::blocks::{Conditions, DownBlock, MidBlock, UpBlock, keep_last};
use self::embedding::TimestepEmbedding;
use self::stages::{Stage, UNetRow, Work};
use super::attention::AttentionObserver;
use super::layers::{Conv2d, GroupNorm};
use super::resnet::ResnetOptions;
use super::temporal::TransformerTemporal;
use super::trace::{Recomputed, Skip, State, Trace};
use crate::checkpoint::Loader;
use crate::kernels;
use crate::timestep::Timestep;

/// `transformer_in` has this many heads whatever the config says.
pub const TRANSFORMER_IN_HEADS: i64 = 8;

/// The net, ready to run.
#[derive(Debug)]
pub struct UNet {
    shape: UNetShape,
    kind: Kind,
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    transformer_in: Option<TransformerTemporal>,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// The deep features of a run.
enum Deep<'a> {
    /// They are computed, and left here.
    Computed(&'a mut Option<Tensor>),
    Given(&'a Tensor),
}

impl UNet {
    /// Builds the net of this shape from its weights. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, shape: UNetShape) -> Self {
        let channels = shape.block_out_channels.clone();
        let (finest, coarsest) = (channels[0], channels[channels.len() - 1]);
        let (time_channels, groups) = (4 * finest, shape.norm_num_groups);
        let options = ResnetOptions {
            groups,
            epsilon: shape.norm_eps,
            activation: shape.act_fn,
            time_channels: Some(time_channels),
            output_scale: 1.0,
        };
        if let Some(condition) = shape.time_cond_proj_dim {
            let _ = weights.tensor("time_embedding.cond_proj.weight", &[finest, condition]);
        }
        let down_blocks = (0..channels.len()).map(|level| {
            let input = channels[level.saturating_sub(1)];
            DownBlock::new(&weights.sub("down_blocks").sub(level), level, input, &shape, options)
        });
        let up_blocks = (0..channels.len())
            .map(|index| UpBlock::new(&weights.sub("up_blocks").sub(index), index, &shape, options));
        let transformer_in = || {
            let heads = (TRANSFORMER_IN_HEADS, shape.heads.of(finest).1);
            TransformerTemporal::new(&weights.sub("transformer_in"), finest, heads, groups)
        };
        let time_weights = weights.sub("time_embedding");
        Self {
            conv_in: Conv2d::same(&weights.sub("conv_in"), shape.in_channels, finest),
            time_embedding: TimestepEmbedding::new(&time_weights, finest, time_channels, shape.act_fn),
            transformer_in: shape.motion().is_none().then(transformer_in),
            down_blocks: down_blocks.collect(),
            mid_block: MidBlock::new(&weights.sub("mid_block"), coarsest, &shape, options),
            up_blocks: up_blocks.collect(),
            conv_norm_out: GroupNorm::new(&weights.sub("conv_norm_out"), groups, finest, shape.norm_eps),
            conv_out: Conv2d::same(&weights.sub("conv_out"), finest, shape.out_channels),
            kind: weights.kind(),
            shape,
        }
    }

    /// The shape that the net was built in.
    pub fn shape(&self) -> &UNetShape {
        &self.shape
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
    /// latents [batch, channels, frames, height, width], text [batch, tokens, features] -> shape of the latents. Latents of
    /// one video may be given for several texts.
    pub fn forward(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        self.run(latents, timestep, text, Deep::Computed(&mut None), observer)
    }

    /// As [`UNet::forward`]. The deep features are what goes into the last layer that takes a skip, [videos·frames,
    /// channels, height, width]. Where they are given, what comes between it and the stage that made its skip is left out.
    pub fn forward_with_features(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        features: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), (Tensor, Tensor)> {
        let mut made = None;
        let deep = features.map_or(Deep::Computed(&mut made), Deep::Given);
        let noise = self.run(latents, timestep, text, deep, observer)?;
        let features = features.map(Tensor::shallow_clone).or(made);
        ControlFlow::Continue((noise, features.unwrap_or_default()))
    }

    fn run(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        deep: Deep,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let videos = text.size()[0];
        // The same latents under several texts are the same as far as the first attention to them. On the CPU they go
        // through the net as in diffusers, to the last bit.
        let shared = latents.size()[0] < videos && kernels::are_used(latents);
        let latents =
            if shared { latents.shallow_clone() } else { latents.expand([videos, -1, -1, -1, -1], false) };
        let (time, frames) = (self.time(timestep, &latents), latents.size()[2]);
        let conditions = Conditions { time: &time, text, frames };
        let mut state = State::new(self.images(&latents));
        let stages = self.stages();
        let last_joined = stages.iter().rposition(|stage| stage.skip == Skip::Joined).unwrap_or(0);
        let (features, mut made) = match deep {
            Deep::Given(features) => (Some(features), None),
            Deep::Computed(made) => (None, Some(made)),
        };
        // The skip that is used last is the one that is made first.
        let first_kept = stages.iter().position(|stage| stage.is_kept).unwrap_or(0);
        for (index, stage) in stages.into_iter().enumerate() {
            if features.is_some() && index > first_kept && index < last_joined {
                continue;
            }
            if index == last_joined {
                if let Some(features) = features {
                    state.x = (None, features.shallow_clone());
                } else if let Some(made) = made.take() {
                    *made = Some(state.x.1.shallow_clone());
                }
            }
            let skip = state.skip_of(stage.skip);
            let skip = skip.as_ref().map(|(_, skip)| skip);
            let x = stage.run(&state.x.1, skip, &conditions, observer)?;
            state.advance(stage.is_kept, None, x);
        }
        let noise = self.conv_out.forward(&self.conv_norm_out.forward_silu(&state.x.1));
        let size = noise.size();
        let noise = noise.reshape([size[0] / frames, frames, size[1], size[2], size[3]]);
        ControlFlow::Continue(noise.permute([0, 2, 1, 3, 4]))
    }

    /// Runs the net as far as the observer wants, so that the gradient of a loss on what it saw can be taken.
    ///
    /// latents [1, channels, frames, height, width], text [1, tokens, features]
    pub fn trace(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        recomputed: Recomputed,
        observer: &mut dyn AttentionObserver,
    ) -> Trace<'_> {
        let row = |latents: &Tensor| UNetRow {
            net: self,
            stages: self.stages(),
            time: self.time(timestep, latents),
            text: text.shallow_clone(),
            frames: latents.size()[2],
        };
        Trace::run(latents, row, recomputed, observer)
    }

    /// All but what comes after the last block, in order.
    fn stages(&self) -> Vec<Stage<'_>> {
        let mut stages = vec![Stage::of(Work::In(&self.conv_in))];
        stages.extend(self.transformer_in.iter().map(|transformer| Stage::of(Work::Temporal(transformer))));
        keep_last(&mut stages);
        stages.extend(self.down_blocks.iter().flat_map(DownBlock::stages));
        stages.extend(self.mid_block.stages());
        stages.extend(self.up_blocks.iter().flat_map(UpBlock::stages));
        stages
    }

    /// The timestep's embedding, activated, as the net's weights are: [1, 4·channels of the finest level], or on the CPU
    /// once for every image, as diffusers has it to the last bit.
    fn time(&self, timestep: Timestep, latents: &Tensor) -> Tensor {
        let features =
            timestep_features(timestep.value(), self.shape.block_out_channels[0], latents.device());
        let features = features.to_kind(self.kind);
        if kernels::are_used(latents) {
            return self.shape.act_fn.forward(&self.time_embedding.forward(&features));
        }
        let (batch, frames) = (latents.size()[0], latents.size()[2]);
        let time = self.time_embedding.forward(&features.expand([batch, -1], false));
        self.shape.act_fn.forward(&time.repeat_interleave_self_int(frames, 0, batch * frames))
    }

    /// [batch, channels, frames, height, width] -> [batch·frames, channels, height, width], as the net's weights are
    fn images(&self, latents: &Tensor) -> Tensor {
        let size = latents.size();
        let images = latents.to_kind(self.kind).permute([0, 2, 1, 3, 4]);
        images.reshape([size[0] * size[2], size[1], size[3], size[4]])
    }
}
