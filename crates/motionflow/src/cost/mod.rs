//! What a run costs, from the configs alone: parameters, arithmetic and memory, without any weights.
//!
//! The nets are walked through layer by layer, as [`crate::nets`] runs them. A multiplication with its addition is
//! two FLOP. Counted are the matrix products: convolutions, linear layers, Q·Kᵀ and the product with V; norms,
//! activations, sums and copies count as [`Operation::Elementwise`] and have no FLOP. Memory is counted in elements of
//! a tensor, whatever their kind.

mod costs;
mod layers;
mod plan;
mod tape;
mod unet;
mod vae;
mod wan;
mod wan_vae;

use crate::nets::clip_text::ClipTextConfig;
use crate::nets::umt5::Umt5Config;

pub use costs::{Costs, Runs, VideoSize};
pub use plan::MemoryPlan;
pub use unet::{Recompute, UNetInput, UNetPart, unet};
pub use vae::{FRAMES_AT_ONCE, vae_decode, vae_encode};
pub use wan::{BlockPart, WanPart, wan_block_parameters, wan_transformer};
pub use wan_vae::{wan_vae_decode, wan_vae_decode_in_strips, wan_vae_encode, wan_vae_encode_in_strips};

/// Which layers compute. The arithmetic is the same; what they pass over and what they keep in memory is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// libtorch's own, one call each, as on the CPU.
    Plain,
    /// Those of CUDA devices: channels come last, and norms, activations and sums are one pass each. They keep for the
    /// gradient the inputs of norms and of the gated GELU, and the factors and the product of an attention, but no input
    /// of a convolution or linear layer. The text's keys and values are there before the run.
    Fused,
}

/// What one run of a net, or of a part of it, costs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NetCost {
    /// Elements of the weights that it uses.
    pub parameters: u64,
    /// What is computed, in order.
    pub operations: Vec<Operation>,
    /// Elements that the activations take at once at most, when nothing is kept for a gradient.
    pub forward_peak: u64,
    /// Elements that a forward keeps for the gradient with respect to its input.
    pub saved: u64,
    /// Elements that the activations take at once at most, when they are kept for that gradient.
    pub backward_peak: u64,
    /// What is computed once more on the way back, because it was not kept.
    pub recomputed: Vec<Operation>,
}

impl NetCost {
    /// FLOP of the forward.
    pub fn flops(&self) -> f64 {
        self.operations.iter().map(Operation::flops).sum()
    }

    /// FLOP of the gradient with respect to the net's input; weights, text and timestep get none.
    pub fn backward_flops(&self) -> f64 {
        self.operations.iter().map(Operation::backward_flops).sum()
    }
}

/// One call of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A 2D convolution.
    Convolution {
        /// Images.
        images: i64,
        /// Channels that go in.
        input: i64,
        /// Channels that come out.
        output: i64,
        /// Height and width of what comes out.
        size: [i64; 2],
        /// Height and width of the kernel.
        kernel: i64,
        /// Step of the kernel.
        stride: i64,
    },
    /// A convolution over three frames, channels kept.
    TemporalConvolution {
        /// Videos.
        videos: i64,
        /// Frames of a video.
        frames: i64,
        /// Channels.
        channels: i64,
        /// Height and width.
        size: [i64; 2],
    },
    /// A convolution over three frames, none of them later than its own, and over places around its own.
    CausalConvolution {
        /// Videos.
        videos: i64,
        /// Frames of what comes out.
        frames: i64,
        /// Channels that go in.
        input: i64,
        /// Channels that come out.
        output: i64,
        /// Height and width, which it keeps.
        size: [i64; 2],
        /// Height and width of the kernel.
        kernel: i64,
        /// Step of the kernel in time.
        stride: i64,
    },
    /// A linear layer.
    Linear {
        /// Vectors that go in.
        rows: i64,
        /// Their length.
        input: i64,
        /// Length of what comes out.
        output: i64,
        /// Whether what goes in depends on the latents; the text and the timestep do not, so no gradient flows there.
        on_latents: bool,
    },
    /// softmax(Q·Kᵀ)·V.
    Attention {
        /// Sequences.
        batch: i64,
        /// Heads.
        heads: i64,
        /// Queries of a sequence.
        queries: i64,
        /// Keys of a sequence.
        keys: i64,
        /// Features of a head.
        head_dim: i64,
        /// Whether keys and values come from the text.
        to_text: bool,
        /// Whether the probabilities are computed to be seen; libtorch's fused attention never holds them.
        plain: bool,
    },
    /// Work that passes once over so many elements: reads each, writes each.
    Elementwise {
        /// Elements.
        elements: i64,
    },
}

impl Operation {
    /// FLOP of the forward.
    pub fn flops(&self) -> f64 {
        let product = |factors: &[i64]| 2.0 * factors.iter().map(|&factor| factor as f64).product::<f64>();
        match *self {
            Self::Convolution { images, input, output, size, kernel, .. } => {
                product(&[images, size[0], size[1], input, output, kernel, kernel])
            }
            Self::TemporalConvolution { videos, frames, channels, size } => {
                product(&[videos, frames, size[0], size[1], channels, channels, 3])
            }
            Self::CausalConvolution { videos, frames, input, output, size, kernel, .. } => {
                product(&[videos, frames, size[0], size[1], input, output, 3, kernel, kernel])
            }
            Self::Linear { rows, input, output, .. } => product(&[rows, input, output]),
            Self::Attention { batch, heads, queries, keys, head_dim, .. } => {
                2.0 * product(&[batch, heads, queries, keys, head_dim])
            }
            Self::Elementwise { .. } => 0.0,
        }
    }

    /// FLOP of the gradient with respect to the input that depends on the latents.
    ///
    /// One product as large as the forward's for a convolution or a linear layer. Of an attention's two products each
    /// needs two more (towards both factors), or one where keys and values are the text's; the fused attention also
    /// computes Q·Kᵀ again, and always both factors' gradients.
    pub fn backward_flops(&self) -> f64 {
        let share = match self {
            Self::Linear { on_latents: false, .. } => 0.0,
            Self::Attention { plain: false, .. } => 2.5,
            Self::Attention { to_text: false, .. } => 2.0,
            _ => 1.0,
        };
        share * self.flops()
    }
}

/// Parameters of a text encoder.
pub fn text_encoder_parameters(config: &ClipTextConfig) -> u64 {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let embeddings = (config.vocab_size + config.max_position_embeddings) * hidden;
    let norm = 2 * hidden;
    let attention = 4 * (hidden * hidden + hidden);
    let feed_forward = 2 * hidden * inner + inner + hidden;
    (embeddings + config.num_hidden_layers * (2 * norm + attention + feed_forward) + norm) as u64
}

/// Parameters of a UMT5 encoder.
pub fn umt5_parameters(config: &Umt5Config) -> u64 {
    let (hidden, layers) = (config.d_model, config.num_layers as u64);
    (config.vocab_size * hidden + hidden) as u64 + layers * umt5_block_parameters(config)
}

/// Parameters of one of its blocks.
pub fn umt5_block_parameters(config: &Umt5Config) -> u64 {
    let hidden = config.d_model;
    let bias = config.relative_attention_num_buckets * config.num_heads;
    let attention = 4 * hidden * config.num_heads * config.d_kv + bias;
    let feed_forward = 3 * hidden * config.d_ff;
    (2 * hidden + attention + feed_forward) as u64
}
