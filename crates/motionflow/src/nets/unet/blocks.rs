//! The blocks of the UNet: one level on the way down or up, or the middle.

use tch::Tensor;

use super::shape::{Temporal, UNetShape};
use super::stages::{Stage, Work};
use crate::checkpoint::Loader;
use crate::nets::resnet::{Downsample2D, ResnetBlock2D, ResnetOptions, Upsample2D};
use crate::nets::temporal::{TemporalConvLayer, TransformerTemporal};
use crate::nets::trace::Skip;
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

/// A spatial transformer and the temporal one behind it, each where the net has one.
#[derive(Debug)]
struct Attentions {
    spatial: Option<Transformer2D>,
    temporal: Option<TransformerTemporal>,
}

impl Attentions {
    /// Those behind a residual block of a level that attends to the text, or does not.
    fn new(weights: &Loader, index: i64, channels: i64, attends: bool, shape: &UNetShape) -> Self {
        Self {
            spatial: attends.then(|| spatial(weights, index, channels, shape)),
            temporal: match shape.temporal {
                Temporal::ConvolutionsAndTransformers if !attends => None,
                _ => Some(temporal(weights, index, channels, shape)),
            },
        }
    }

    /// Those of the middle, which not every net has a motion module in.
    fn of_middle(weights: &Loader, channels: i64, shape: &UNetShape) -> Self {
        let looks_along_time = shape.motion().is_none_or(|motion| motion.in_middle);
        Self {
            spatial: Some(spatial(weights, 0, channels, shape)),
            temporal: looks_along_time.then(|| temporal(weights, 0, channels, shape)),
        }
    }

    fn stages(&self) -> impl Iterator<Item = Stage<'_>> {
        let spatial = self.spatial.iter().map(|spatial| Stage::of(Work::Spatial(spatial)));
        spatial.chain(self.temporal.iter().map(|temporal| Stage::of(Work::Temporal(temporal))))
    }
}

fn spatial(weights: &Loader, index: i64, channels: i64, shape: &UNetShape) -> Transformer2D {
    let weights = weights.sub("attentions").sub(index);
    let (heads, groups) = (shape.heads.of(channels), shape.norm_num_groups);
    Transformer2D::new(&weights, channels, heads, groups, shape.cross_attention_dim, shape.projection)
}

fn temporal(weights: &Loader, index: i64, channels: i64, shape: &UNetShape) -> TransformerTemporal {
    let groups = shape.norm_num_groups;
    match shape.temporal {
        Temporal::ConvolutionsAndTransformers => {
            let weights = weights.sub("temp_attentions").sub(index);
            TransformerTemporal::new(&weights, channels, shape.heads.of(channels), groups)
        }
        Temporal::MotionModules(motion) => {
            let weights = weights.sub("motion_modules").sub(index);
            TransformerTemporal::motion_module(&weights, channels, motion, groups)
        }
    }
}

/// A residual block and the temporal convolutions behind it, where the net has them.
#[derive(Debug)]
pub(super) struct Convolutions {
    resnet: ResnetBlock2D,
    temporal: Option<TemporalConvLayer>,
}

impl Convolutions {
    fn new(
        weights: &Loader,
        index: i64,
        input: i64,
        output: i64,
        shape: &UNetShape,
        options: ResnetOptions,
    ) -> Self {
        let temporal =
            || TemporalConvLayer::new(&weights.sub("temp_convs").sub(index), output, options.groups);
        Self {
            resnet: ResnetBlock2D::new(&weights.sub("resnets").sub(index), input, output, options),
            temporal: shape.motion().is_none().then(temporal),
        }
    }

    /// [images, input, height, width] -> [images, output, height, width]
    pub(super) fn forward(&self, x: &Tensor, conditions: &Conditions) -> Tensor {
        let x = self.resnet.forward(x, Some(conditions.time));
        match &self.temporal {
            Some(temporal) => temporal.forward(&x, conditions.frames),
            None => x,
        }
    }
}

/// The names of the attentions whose maps the method may read, in the order in which they run.
#[derive(Debug, Clone, Default)]
pub struct AttentionNames {
    /// Places to the text, `attentions.*.attn2`.
    pub cross: Vec<String>,
    /// Places to places of the same frame, `attentions.*.attn1`.
    pub spatial: Vec<String>,
    /// Frames to frames at the same place, both attentions of `temp_attentions.*` or `motion_modules.*`.
    pub temporal: Vec<String>,
}

impl AttentionNames {
    fn of<'a>(attentions: impl Iterator<Item = &'a Attentions>) -> Self {
        let mut names = Self::default();
        for Attentions { spatial, temporal } in attentions {
            if let Some([spatial, cross]) = spatial.as_ref().map(Transformer2D::attention_names) {
                names.spatial.push(spatial.to_owned());
                names.cross.push(cross.to_owned());
            }
            let temporal = temporal.iter().flat_map(TransformerTemporal::attention_names);
            names.temporal.extend(temporal.map(str::to_owned));
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

/// One layer of a level: convolutions and attentions.
#[derive(Debug)]
struct Layer {
    convolutions: Convolutions,
    attentions: Attentions,
}

impl Layer {
    fn stages(&self, skip: Skip) -> Vec<Stage<'_>> {
        let mut stages = vec![Stage { skip, ..Stage::of(Work::Convolutions(&self.convolutions)) }];
        stages.extend(self.attentions.stages());
        stages
    }
}

fn attention_names(layers: &[Layer]) -> AttentionNames {
    AttentionNames::of(layers.iter().map(|layer| &layer.attentions))
}

/// `DownBlock3D`, `DownBlockMotion` and those with cross-attention.
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
        shape: &UNetShape,
        options: ResnetOptions,
    ) -> Self {
        let output = shape.block_out_channels[level];
        let layers = (0..shape.layers_per_block).map(|index| {
            let input = if index == 0 { input } else { output };
            Layer {
                convolutions: Convolutions::new(weights, index, input, output, shape, options),
                attentions: Attentions::new(weights, index, output, shape.down_attends[level], shape),
            }
        });
        let is_last = level + 1 == shape.block_out_channels.len();
        Self {
            layers: layers.collect(),
            downsampler: (!is_last)
                .then(|| Downsample2D::new(&weights.sub("downsamplers.0"), output, shape.downsample_padding)),
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

/// The output of the last of these is kept as a skip.
pub(super) fn keep_last(stages: &mut [Stage]) {
    if let Some(last) = stages.last_mut() {
        last.is_kept = true;
    }
}

/// `UNetMidBlock3DCrossAttn`, `UNetMidBlockCrossAttnMotion` and, without a motion module, `UNetMidBlock2DCrossAttn`.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Convolutions,
    attentions: Attentions,
    second: Convolutions,
}

impl MidBlock {
    pub(super) fn new(weights: &Loader, channels: i64, shape: &UNetShape, options: ResnetOptions) -> Self {
        let options = ResnetOptions { output_scale: shape.mid_block_scale_factor, ..options };
        let convolutions = |index| Convolutions::new(weights, index, channels, channels, shape, options);
        Self {
            first: convolutions(0),
            attentions: Attentions::of_middle(weights, channels, shape),
            second: convolutions(1),
        }
    }

    pub(super) fn attention_names(&self) -> AttentionNames {
        AttentionNames::of(std::iter::once(&self.attentions))
    }

    pub(super) fn stages(&self) -> Vec<Stage<'_>> {
        let mut stages = vec![Stage::of(Work::Convolutions(&self.first))];
        stages.extend(self.attentions.stages());
        stages.push(Stage::of(Work::Convolutions(&self.second)));
        stages
    }
}

/// `UpBlock3D`, `UpBlockMotion` and those with cross-attention.
#[derive(Debug)]
pub(super) struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock {
    /// `index` counts from the coarsest level upwards.
    pub(super) fn new(weights: &Loader, index: usize, shape: &UNetShape, options: ResnetOptions) -> Self {
        let levels = shape.block_out_channels.len();
        let coarse_to_fine = |i: usize| shape.block_out_channels[levels - 1 - i];
        let output = coarse_to_fine(index);
        let previous = coarse_to_fine(index.saturating_sub(1));
        let finer = coarse_to_fine((index + 1).min(levels - 1));
        let layers = (0..=shape.layers_per_block).map(|layer| {
            let hidden = if layer == 0 { previous } else { output };
            let skip = if layer == shape.layers_per_block { finer } else { output };
            Layer {
                convolutions: Convolutions::new(weights, layer, hidden + skip, output, shape, options),
                attentions: Attentions::new(weights, layer, output, shape.up_attends[index], shape),
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
