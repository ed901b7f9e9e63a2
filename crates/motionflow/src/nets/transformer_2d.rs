//! The spatial transformer: every frame by itself, attending to its own places and to the text.

use std::ops::ControlFlow;

use tch::Tensor;

use super::attention::{AttentionObserver, TransformerBlock, repeated};
use super::layers::{GroupNorm, Linear, Projection};
use crate::checkpoint::Loader;
use crate::kernels;

/// Group norm, projection in, one transformer block, projection out, input added.
#[derive(Debug)]
pub struct Transformer2D {
    norm: GroupNorm,
    proj_in: Linear,
    block: TransformerBlock,
    proj_out: Linear,
}

impl Transformer2D {
    /// Loads a transformer of `heads` (their number and their size) over `channels` channels, which attends to a text of
    /// `context` features.
    pub fn new(
        weights: &Loader,
        channels: i64,
        (heads, head_dim): (i64, i64),
        groups: i64,
        context: i64,
        projection: Projection,
    ) -> Self {
        let inner = heads * head_dim;
        let linear =
            |name: &str, input, output| Linear::projection(&weights.sub(name), input, output, projection);
        Self {
            norm: GroupNorm::new(&weights.sub("norm"), groups, channels, 1e-6),
            proj_in: linear("proj_in", channels, inner),
            block: TransformerBlock::new(
                &weights.sub("transformer_blocks.0"),
                inner,
                heads,
                Some(context),
                None,
            ),
            proj_out: linear("proj_out", inner, channels),
        }
    }

    /// The names of self-attention and cross-attention.
    pub fn attention_names(&self) -> [&str; 2] {
        self.block.attention_names()
    }

    /// x [images, channels, height, width], text [videos, tokens, context] -> [videos·frames, channels, height, width]; x
    /// may be of one video that is so far the same for all texts.
    pub fn forward(
        &self,
        x: &Tensor,
        text: &Tensor,
        frames: i64,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let size = x.size();
        let (images, channels, height, width) = (size[0], size[1], size[2], size[3]);
        let times = text.size()[0] * frames / images;
        let hidden = self.norm.forward(x).permute([0, 2, 3, 1]).reshape([images, -1, channels]);
        let hidden = self.block.forward(&self.proj_in.forward(&hidden), Some(text), times, observer)?;
        let hidden = self.proj_out.forward(&hidden).view([times * images, height, width, channels]);
        let residual = repeated(x.shallow_clone(), times);
        ControlFlow::Continue(kernels::add(&hidden.permute([0, 3, 1, 2]), None, &residual))
    }
}
