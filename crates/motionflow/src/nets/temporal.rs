//! The layers that look along time: a stack of temporal convolutions and the temporal transformer.
//!
//! From ModelScope's text-to-video net (<https://arxiv.org/abs/2308.06571>); the transformer with a positional embedding
//! is AnimateDiff's motion module (<https://arxiv.org/abs/2307.04725>).

use std::ops::ControlFlow;

use tch::Tensor;

use super::attention::{AttentionObserver, TransformerBlock};
use super::layers::{Activation, Convolved, GroupNorm, Linear, NormedConvolution, TemporalConv};
use super::unet::{Heads, MotionModules};
use crate::checkpoint::Loader;
use crate::kernels;

/// [batch·frames, channels, height, width] -> [batch, channels, frames, height, width]
fn frames_behind_channels(x: &Tensor, frames: i64) -> Tensor {
    let size = x.size();
    x.reshape([size[0] / frames, frames, size[1], size[2], size[3]]).permute([0, 2, 1, 3, 4])
}

/// Four times norm, SiLU and a convolution over time; the input is added at the end.
#[derive(Debug)]
pub struct TemporalConvLayer {
    layers: [(GroupNorm, TemporalConv); 4],
}

impl TemporalConvLayer {
    /// Loads `conv1` to `conv4`; the first has no dropout between norm and convolution, hence other indices.
    pub fn new(weights: &Loader, channels: i64, groups: i64) -> Self {
        let layer = |name: &str, conv: &str| {
            let weights = weights.sub(name);
            let norm = GroupNorm::new(&weights.sub("0"), groups, channels, 1e-5);
            (norm, TemporalConv::new(&weights.sub(conv), channels))
        };
        Self { layers: [layer("conv1", "2"), layer("conv2", "3"), layer("conv3", "3"), layer("conv4", "3")] }
    }

    /// [batch·frames, channels, height, width], same shape out
    pub fn forward(&self, x: &Tensor, frames: i64) -> Tensor {
        let video = frames_behind_channels(x, frames);
        let mut hidden = Convolved { x: video.shallow_clone(), bias: None };
        for (norm, conv) in &self.layers {
            hidden = conv.after_norm(&hidden.x, hidden.bias, norm, Activation::Silu);
        }
        kernels::add(&hidden.x, hidden.bias, &video).permute([0, 2, 1, 3, 4]).reshape(x.size())
    }
}

/// Attention along time at every place by itself: norm, projection in, two self-attentions and a feed-forward net,
/// projection out, input added.
#[derive(Debug)]
pub struct TransformerTemporal {
    norm: GroupNorm,
    proj_in: Linear,
    block: TransformerBlock,
    proj_out: Linear,
}

impl TransformerTemporal {
    /// Loads a transformer of `heads` (their number and their size) over `channels` channels.
    pub fn new(weights: &Loader, channels: i64, (heads, head_dim): (i64, i64), groups: i64) -> Self {
        let inner = heads * head_dim;
        let block = TransformerBlock::new(&weights.sub("transformer_blocks.0"), inner, heads, None, None);
        Self::around(block, weights, channels, inner, groups)
    }

    /// Loads a motion module, which knows where in the clip a frame stands.
    pub fn motion_module(weights: &Loader, channels: i64, motion: MotionModules, groups: i64) -> Self {
        let (heads, head_dim) = Heads::Count(motion.heads).of(channels);
        let (inner, longest) = (heads * head_dim, Some(motion.max_frames));
        let block = TransformerBlock::new(&weights.sub("transformer_blocks.0"), inner, heads, None, longest);
        Self::around(block, weights, channels, inner, groups)
    }

    fn around(block: TransformerBlock, weights: &Loader, channels: i64, inner: i64, groups: i64) -> Self {
        Self {
            norm: GroupNorm::new(&weights.sub("norm"), groups, channels, 1e-6),
            proj_in: Linear::new(&weights.sub("proj_in"), channels, inner),
            block,
            proj_out: Linear::new(&weights.sub("proj_out"), inner, channels),
        }
    }

    /// The names of the two self-attentions.
    pub fn attention_names(&self) -> [&str; 2] {
        self.block.attention_names()
    }

    /// [batch·frames, channels, height, width], same shape out
    pub fn forward(
        &self,
        x: &Tensor,
        frames: i64,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let hidden = self.norm.forward_places_first(&frames_behind_channels(x, frames));
        let hidden = self.block.forward(&self.proj_in.forward(&hidden), None, 1, observer)?;
        ControlFlow::Continue(kernels::add_places_first(&self.proj_out.forward(&hidden), x))
    }
}
