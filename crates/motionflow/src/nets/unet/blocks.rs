//! The blocks of the UNet: one level on the way down or up, or the middle.

use tch::Tensor;

use super::config::{DownBlockType, UNetConfig, UpBlockType};
use super::stages::{Skip, Stage, Work};
use crate::checkpoint::Loader;
use crate::nets::resnet::{Downsample2D, ResnetBlock2D, ResnetOptions, Upsample2D};
use crate::nets::temporal::{TemporalConvLayer, TransformerTemporal};
use crate::nets::transformer_2d::Transformer2D;

/// What every block is given besides the hidden states.
pub(super) struct Conditions<'a> {
    /// Embedding of the timestep, activated, [1 or images, features], all rows the same.
    pub(super) time: &'a Tensor,
    /// The text of every video, [videos, tokens, features].
    pub(super) text: &'a Tensor,
    /// Frames of one video.
    pub(super) frames: i64,
}

/// A spatial transformer and the temporal one behind it.
#[derive(Debug)]
struct AttentionPair {
    spatial: Transformer2D,
    temporal: TransformerTemporal,
}

impl AttentionPair {
    fn new(weights: &Loader, index: i64, channels: i64, config: &UNetConfig) -> Self {
        let (head_dim, groups) = (config.attention_head_dim, config.norm_num_groups);
        // Rounded down, as diffusers has it: the heads need not fill the channels.
        let heads = channels / head_dim;
        let spatial = weights.sub("attentions").sub(index);
        let temporal = weights.sub("temp_attentions").sub(index);
        Self {
            spatial: Transformer2D::new(
                &spatial,
                channels,
                heads,
                head_dim,
                groups,
                config.cross_attention_dim,
            ),
            temporal: TransformerTemporal::new(&temporal, channels, heads, head_dim, groups),
        }
    }

    fn stages(&self) -> [Stage<'_>; 2] {
        [Stage::of(Work::Spatial(&self.spatial)), Stage::of(Work::Temporal(&self.temporal))]
    }
}

/// A residual block and the temporal convolutions behind it.
#[derive(Debug)]
pub(super) struct ConvolutionPair {
    resnet: ResnetBlock2D,
    temporal: TemporalConvLayer,
}

impl ConvolutionPair {
    fn new(weights: &Loader, index: i64, input: i64, output: i64, options: ResnetOptions) -> Self {
        Self {
            resnet: ResnetBlock2D::new(&weights.sub("resnets").sub(index), input, output, options),
            temporal: TemporalConvLayer::new(&weights.sub("temp_convs").sub(index), output, options.groups),
        }
    }

    /// [images, input, height, width] -> [images, output, height, width]
    pub(super) fn forward(&self, x: &Tensor, conditions: &Conditions) -> Tensor {
        self.temporal.forward(&self.resnet.forward(x, Some(conditions.time)), conditions.frames)
    }
}

/// The names of the attentions whose maps the method may read, in the order in which they run.
#[derive(Debug, Clone, Default)]
pub struct AttentionNames {
    /// Places to the text, `attentions.*.attn2`.
    pub cross: Vec<String>,
    /// Places to places of the same frame, `attentions.*.attn1`.
    pub spatial: Vec<String>,
    /// Frames to frames at the same place, both attentions of `temp_attentions.*`.
    pub temporal: Vec<String>,
}

impl AttentionNames {
    fn of<'a>(pairs: impl Iterator<Item = &'a AttentionPair>) -> Self {
        let mut names = Self::default();
        for pair in pairs {
            let [spatial, cross] = pair.spatial.attention_names();
            names.spatial.push(spatial.to_owned());
            names.cross.push(cross.to_owned());
            names.temporal.extend(pair.temporal.attention_names().map(str::to_owned));
        }
        names
    }

    /// Adds the names of another block behind these.
    pub(super) fn extend(&mut self, other: Self) {
        self.cross.extend(other.cross);
        self.spatial.extend(other.spatial);
        self.temporal.extend(other.temporal);
    }
}

/// One layer of a level: convolutions and, where the level has them, attentions.
#[derive(Debug)]
struct Layer {
    convolutions: ConvolutionPair,
    attentions: Option<AttentionPair>,
}

impl Layer {
    fn stages(&self, skip: Skip) -> Vec<Stage<'_>> {
        let mut stages = vec![Stage { skip, ..Stage::of(Work::Convolutions(&self.convolutions)) }];
        stages.extend(self.attentions.iter().flat_map(AttentionPair::stages));
        stages
    }
}

fn attention_names(layers: &[Layer]) -> AttentionNames {
    AttentionNames::of(layers.iter().filter_map(|layer| layer.attentions.as_ref()))
}

/// `DownBlock3D` and `CrossAttnDownBlock3D`.
#[derive(Debug)]
pub(super) struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Downsample2D>,
}

impl DownBlock {
    pub(super) fn new(
        weights: &Loader,
        level: usize,
        input: i64,
        config: &UNetConfig,
        options: ResnetOptions,
    ) -> Self {
        let output = config.block_out_channels[level];
        let attends = config.down_block_types[level] == DownBlockType::CrossAttnDownBlock3D;
        let layers = (0..config.layers_per_block).map(|index| {
            let input = if index == 0 { input } else { output };
            Layer {
                convolutions: ConvolutionPair::new(weights, index, input, output, options),
                attentions: attends.then(|| AttentionPair::new(weights, index, output, config)),
            }
        });
        let is_last = level + 1 == config.block_out_channels.len();
        Self {
            layers: layers.collect(),
            downsampler: (!is_last).then(|| {
                Downsample2D::new(&weights.sub("downsamplers.0"), output, config.downsample_padding)
            }),
        }
    }

    pub(super) fn attention_names(&self) -> AttentionNames {
        attention_names(&self.layers)
    }

    /// Each layer's output is kept as a skip, and the downsampler's.
    pub(super) fn stages(&self) -> Vec<Stage<'_>> {
        let mut stages = Vec::new();
        for layer in &self.layers {
            stages.extend(layer.stages(Skip::None));
            keep_last(&mut stages);
        }
        if let Some(downsampler) = &self.downsampler {
            stages.push(Stage::of(Work::Downsample(downsampler)));
            keep_last(&mut stages);
        }
        stages
    }
}

fn keep_last(stages: &mut [Stage]) {
    if let Some(last) = stages.last_mut() {
        last.is_kept = true;
    }
}

/// `UNetMidBlock3DCrossAttn`.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: ConvolutionPair,
    attentions: AttentionPair,
    second: ConvolutionPair,
}

impl MidBlock {
    pub(super) fn new(weights: &Loader, channels: i64, config: &UNetConfig, options: ResnetOptions) -> Self {
        let options = ResnetOptions { output_scale: config.mid_block_scale_factor, ..options };
        Self {
            first: ConvolutionPair::new(weights, 0, channels, channels, options),
            attentions: AttentionPair::new(weights, 0, channels, config),
            second: ConvolutionPair::new(weights, 1, channels, channels, options),
        }
    }

    pub(super) fn attention_names(&self) -> AttentionNames {
        AttentionNames::of(std::iter::once(&self.attentions))
    }

    pub(super) fn stages(&self) -> Vec<Stage<'_>> {
        let [spatial, temporal] = self.attentions.stages();
        let convolutions = |pair| Stage::of(Work::Convolutions(pair));
        vec![convolutions(&self.first), spatial, temporal, convolutions(&self.second)]
    }
}

/// `UpBlock3D` and `CrossAttnUpBlock3D`.
#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock {
    /// `index` counts from the coarsest level upwards.
    pub(super) fn new(weights: &Loader, index: usize, config: &UNetConfig, options: ResnetOptions) -> Self {
        let levels = config.block_out_channels.len();
        let coarse_to_fine = |i: usize| config.block_out_channels[levels - 1 - i];
        let output = coarse_to_fine(index);
        let previous = coarse_to_fine(index.saturating_sub(1));
        let finer = coarse_to_fine((index + 1).min(levels - 1));
        let attends = config.up_block_types[index] == UpBlockType::CrossAttnUpBlock3D;
        let layers = (0..=config.layers_per_block).map(|layer| {
            let hidden = if layer == 0 { previous } else { output };
            let skip = if layer == config.layers_per_block { finer } else { output };
            Layer {
                convolutions: ConvolutionPair::new(weights, layer, hidden + skip, output, options),
                attentions: attends.then(|| AttentionPair::new(weights, layer, output, config)),
            }
        });
        Self {
            layers: layers.collect(),
            upsampler: (index + 1 < levels).then(|| Upsample2D::new(&weights.sub("upsamplers.0"), output)),
        }
    }

    pub(super) fn attention_names(&self) -> AttentionNames {
        attention_names(&self.layers)
    }

    /// Each layer takes one skip; the upsampler's output has the size of the next one.
    pub(super) fn stages(&self) -> Vec<Stage<'_>> {
        let mut stages: Vec<Stage> =
            self.layers.iter().flat_map(|layer| layer.stages(Skip::Joined)).collect();
        if let Some(upsampler) = &self.upsampler {
            stages.push(Stage { skip: Skip::Size, ..Stage::of(Work::Upsample(upsampler)) });
        }
        stages
    }
}
