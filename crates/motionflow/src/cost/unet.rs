//! The UNet, block by block as in [`crate::nets::unet`].

use super::layers::TransformerOptions;
use super::tape::{Mark, Shape, Tape};
use super::{Layers, NetCost};
use crate::nets::unet::{GuidanceBlocks, Heads, TRANSFORMER_IN_HEADS, Temporal, UNetShape};

/// What goes into a UNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UNetInput {
    /// Videos: 2 for classifier-free guidance, else 1.
    pub videos: i64,
    /// Frames of a video.
    pub frames: i64,
    /// Height of the latents.
    pub height: i64,
    /// Width of the latents.
    pub width: i64,
    /// Tokens of the text.
    pub tokens: i64,
    /// Whether it goes through the feed-forward nets in parts, as it does where memory is spared.
    pub in_parts: bool,
}

/// How much of a UNet runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UNetPart {
    /// All of it.
    Whole,
    /// What is left of it where deep features of an earlier run take the place of the rest.
    Shallow,
    /// What a guided update needs: up to the last attention of these blocks, whose probabilities are shown.
    Guidance(GuidanceBlocks, Recompute),
    /// What a forward pass on the noised source needs: up to the last cross-attention of the guidance blocks, which show
    /// their probabilities.
    CrossMaps,
}

/// What a guided update does not keep for its gradient, but computes once more on the way back, a layer's convolutions or
/// one of its transformers at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recompute {
    /// Nothing.
    Nothing,
    /// What comes before the first attention that is looked at.
    BeforeGuidance,
    /// Everything.
    Everything,
}

/// What a run of the UNet costs.
pub fn unet(config: &UNetShape, input: UNetInput, part: UNetPart, layers: Layers) -> NetCost {
    let recompute = match part {
        UNetPart::Whole | UNetPart::Shallow | UNetPart::CrossMaps => Recompute::Nothing,
        UNetPart::Guidance(_, recompute) => recompute,
    };
    let mut tape = Tape::new(layers);
    tape.in_parts = input.in_parts;
    Walk { config, input, part, recompute, tape, skips: Vec::new() }.run()
}

/// What a guided update wants of a block's attentions.
#[derive(Debug, Clone, Copy)]
struct Guided {
    /// Whether their probabilities are shown.
    shown: bool,
    /// Whether the run ends with the last of them.
    is_last: bool,
}

/// The transformers that a layer has.
#[derive(Debug, Clone, Copy)]
struct Attentions {
    spatial: bool,
    temporal: bool,
}

struct Walk<'a> {
    config: &'a UNetShape,
    input: UNetInput,
    part: UNetPart,
    /// Where the walk is.
    recompute: Recompute,
    tape: Tape,
    skips: Vec<Shape>,
}

impl Walk<'_> {
    fn run(mut self) -> NetCost {
        let (config, UNetInput { videos, frames, height, width, .. }) = (self.config, self.input);
        let levels = config.block_out_channels.len();
        let finest = config.block_out_channels[0];
        self.tape.parameters(finest * config.time_cond_proj_dim.unwrap_or(0));
        self.tape.linear(videos, finest, self.time_channels(), true, false);
        self.tape.linear(videos, self.time_channels(), self.time_channels(), true, false);

        let latents = Shape { videos, frames, channels: config.in_channels, size: [height, width] };
        self.tape.save(latents.elements());
        let mut x = self.tape.same(latents, finest);
        if config.motion().is_none() {
            let (heads, head_dim) = (TRANSFORMER_IN_HEADS, config.heads.of(finest).1);
            let mark = self.tape.mark();
            self.tape.transformer(x, TransformerOptions { heads, head_dim, ..TransformerOptions::default() });
            self.end_part(mark, x);
        }
        self.skip(x);
        if self.part == UNetPart::Shallow {
            x = self.up_layer(x, levels - 1, Guided { shown: false, is_last: false });
            self.tape.norm_and_convolution(x, config.out_channels);
            return self.tape.cost;
        }

        let guided_level = (0..levels).rev().find(|&level| config.down_attends[level]);
        let blocks = self.blocks();
        for level in 0..levels {
            let is_guided = guided_level == Some(level);
            let is_last = is_guided && !blocks.middle && !blocks.up;
            x = self.down_block(x, level, Guided { shown: is_guided && blocks.down, is_last });
            if is_last {
                return self.tape.cost;
            }
        }
        x = self.convolutions(x, x, x.channels, self.is_scaled());
        let is_last = !blocks.up;
        let temporal = config.motion().is_none_or(|motion| motion.in_middle);
        let there = Attentions { spatial: true, temporal };
        self.attentions(x, there, Guided { shown: blocks.middle, is_last });
        if is_last {
            return self.tape.cost;
        }
        x = self.convolutions(x, x, x.channels, self.is_scaled());

        let guided_index = (0..levels).find(|&index| config.up_attends[index]);
        for index in 0..levels {
            let is_guided = guided_index == Some(index) && self.part != UNetPart::Whole;
            x = self.up_block(x, index, Guided { shown: is_guided, is_last: is_guided });
            if is_guided {
                return self.tape.cost;
            }
        }
        self.tape.norm_and_convolution(x, config.out_channels);
        self.tape.cost
    }

    /// The blocks whose attentions are looked at; a whole run goes on to the end without looking.
    fn blocks(&self) -> GuidanceBlocks {
        match self.part {
            UNetPart::Whole | UNetPart::Shallow => GuidanceBlocks { down: false, middle: false, up: true },
            UNetPart::Guidance(blocks, _) => blocks,
            UNetPart::CrossMaps => GuidanceBlocks::ALL,
        }
    }

    fn end_part(&mut self, mark: Mark, input: Shape) {
        if self.recompute != Recompute::Nothing {
            self.tape.recompute_since(mark, input.elements());
        }
    }

    /// The transformers of a block's layers.
    fn there(&self, spatial: bool) -> Attentions {
        Attentions { spatial, temporal: spatial || self.config.motion().is_some() }
    }

    fn time_channels(&self) -> i64 {
        4 * self.config.block_out_channels[0]
    }

    /// Whether the residual blocks of the middle divide their output.
    #[expect(clippy::float_cmp, reason = "exactly 1 is what spares the division")]
    fn is_scaled(&self) -> bool {
        self.config.mid_block_scale_factor != 1.0
    }

    fn skip(&mut self, x: Shape) {
        self.tape.hold(x.elements());
        self.skips.push(x);
    }

    /// `input` is x without the skip that was joined to it: that is kept in any case.
    fn convolutions(&mut self, input: Shape, x: Shape, output: i64, is_scaled: bool) -> Shape {
        let mark = self.tape.mark();
        let out = self.tape.resnet(x, output, Some(self.time_channels()), is_scaled);
        if self.config.motion().is_none() {
            self.tape.temporal_convolutions(out);
        }
        self.end_part(mark, input);
        out
    }

    /// A spatial and a temporal transformer, each where there is one. With `is_last` the run ends in the last, or in the
    /// spatial one where only cross-attention is looked at.
    fn attentions(&mut self, x: Shape, there: Attentions, Guided { shown, is_last }: Guided) {
        let is_cross_alone = self.part == UNetPart::CrossMaps;
        if there.spatial && shown && self.recompute == Recompute::BeforeGuidance {
            self.recompute = Recompute::Nothing;
        }
        let mut held = 0;
        if there.spatial {
            let (heads, head_dim) = self.config.heads.of(x.channels);
            let ends = is_last && (is_cross_alone || !there.temporal);
            let spatial = TransformerOptions {
                heads,
                head_dim,
                text: Some([self.input.tokens, self.config.cross_attention_dim]),
                plain: [shown && !is_cross_alone, shown],
                ends,
                positions: None,
            };
            held += self.transformer(x, spatial);
            if ends {
                return self.tape.release(held);
            }
        }
        if there.temporal {
            let ((heads, head_dim), positions) = match self.config.temporal {
                Temporal::ConvolutionsAndTransformers => (self.config.heads.of(x.channels), None),
                Temporal::MotionModules(motion) => {
                    (Heads::Count(motion.heads).of(x.channels), Some(motion.max_frames))
                }
            };
            let plain = [shown && !is_cross_alone; 2];
            let temporal =
                TransformerOptions { heads, head_dim, text: None, plain, ends: is_last, positions };
            held += self.transformer(x, temporal);
        }
        self.tape.release(held);
    }

    /// What it holds until the last of a layer's transformers has run.
    fn transformer(&mut self, x: Shape, options: TransformerOptions) -> i64 {
        self.tape.hold(x.elements());
        let mark = self.tape.mark();
        self.tape.transformer(x, options);
        self.end_part(mark, x);
        x.elements()
    }

    fn down_block(&mut self, x: Shape, level: usize, guided: Guided) -> Shape {
        let config = self.config;
        let output = config.block_out_channels[level];
        let mut x = x;
        for layer in 1..=config.layers_per_block {
            x = self.convolutions(x, x, output, false);
            let is_last = guided.is_last && layer == config.layers_per_block;
            self.attentions(x, self.there(config.down_attends[level]), Guided { is_last, ..guided });
            if is_last {
                return x;
            }
            self.skip(x);
        }
        if level + 1 < config.block_out_channels.len() {
            let mark = self.tape.mark();
            let small = self.tape.downsample(x, config.downsample_padding);
            self.end_part(mark, x);
            x = small;
            self.skip(x);
        }
        x
    }

    /// A layer of the up block `index`, which the last skip is joined to.
    fn up_layer(&mut self, x: Shape, index: usize, guided: Guided) -> Shape {
        let config = self.config;
        let output = config.block_out_channels[config.block_out_channels.len() - 1 - index];
        let skip = self.skips.pop().map_or(0, |skip| skip.channels);
        let joined = x.with_channels(x.channels + skip);
        self.tape.release(x.with_channels(skip).elements());
        self.tape.pass(joined.elements(), 1);
        let kept = x.elements() + joined.elements();
        self.tape.hold(kept);
        let out = self.convolutions(x, joined, output, false);
        self.attentions(out, self.there(config.up_attends[index]), guided);
        self.tape.release(kept);
        out
    }

    /// `index` counts from the coarsest level upwards.
    fn up_block(&mut self, x: Shape, index: usize, guided: Guided) -> Shape {
        let config = self.config;
        let mut x = x;
        for layer in 0..=config.layers_per_block {
            let is_last = guided.is_last && layer == config.layers_per_block;
            x = self.up_layer(x, index, Guided { is_last, ..guided });
        }
        if index + 1 < config.block_out_channels.len() && !guided.is_last {
            let size = self.skips.last().map_or(x.size, |skip| skip.size);
            let mark = self.tape.mark();
            let large = self.tape.upsample(x, size);
            self.end_part(mark, x);
            x = large;
        }
        x
    }
}
