//! A transformer block, scaled and shifted by the timestep (<https://arxiv.org/abs/2212.09748>).

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use super::attention::{Attention, KeptProduct, same_frame, same_place};
use super::config::WanConfig;
use super::rope::Rotation;
use super::text::Text;
use crate::checkpoint::Loader;
use crate::kernels::{Scaling, gated, gated_add, gated_add_scaled_norm, scaled_norm};
use crate::native;
use crate::nets::attention::AttentionObserver;
use crate::nets::layers::Linear;
use crate::nets::parts::Part;

/// What every block is given besides the tokens.
pub(super) struct Conditions<'a> {
    /// The timestep's embedding, [1, 6, channels], float32.
    pub(super) time: &'a Tensor,
    /// The text.
    pub(super) text: &'a Text,
    /// Positions of the tokens.
    pub(super) rotation: &'a Rotation,
    /// Latent frames.
    pub(super) frames: i64,
    /// Where the product of the self-attention is kept for a run with a graph.
    pub(super) kept: Option<&'a KeptProduct>,
    /// Whether the block ran before, so that its gradient is wanted and its output is not.
    pub(super) is_again: bool,
}

/// Self-attention, cross-attention and a feed-forward net, each with its norm before and its input added after.
#[derive(Debug)]
pub(super) struct Block {
    attn1: Attention,
    attn2: Attention,
    /// Weight and bias of the norm before the cross-attention, float32.
    norm2: [Tensor; 2],
    project_in: Linear,
    project_out: Linear,
    /// [1, 6, channels], float32
    scale_shift_table: Tensor,
    epsilon: f64,
}

impl Block {
    pub(super) fn new(weights: &Loader, config: &WanConfig) -> Self {
        let (channels, heads, epsilon) = (config.channels(), config.num_attention_heads, config.eps);
        let wide = weights.in_kind(Kind::Float);
        Self {
            attn1: Attention::new(&weights.sub("attn1"), channels, heads, epsilon),
            attn2: Attention::new(&weights.sub("attn2"), channels, heads, epsilon),
            norm2: ["weight", "bias"].map(|name| wide.sub("norm2").tensor(name, &[channels])),
            project_in: Linear::new(&weights.sub("ffn.net.0.proj"), channels, config.ffn_dim),
            project_out: Linear::new(&weights.sub("ffn.net.2"), config.ffn_dim, channels),
            scale_shift_table: wide.tensor("scale_shift_table", &[1, 6, channels]),
            epsilon,
        }
    }

    /// The name of its cross-attention.
    pub(super) fn cross(&self) -> &str {
        self.attn2.name()
    }

    /// The names under which its self-attention is shown: of one frame, and of one place.
    pub(super) fn of_video(&self) -> [String; 2] {
        [same_frame(self.attn1.name()), same_place(self.attn1.name())]
    }

    /// x [1, tokens, channels], same shape and kind out
    pub(super) fn forward(
        &self,
        x: &Tensor,
        conditions: &Conditions,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let Conditions { text, rotation, frames, kept, is_again, .. } = *conditions;
        let time = (&self.scale_shift_table + conditions.time).chunk(6, 1);
        let [of_attention, of_forward] = [1, 4].map(|scale| &time[scale] + 1.0);
        let normed = scaled_norm(x, Scaling::Modulated([&of_attention, &time[0]]), self.epsilon);
        let attended = self.attn1.to_video(&normed, rotation, frames, kept, observer)?;
        drop(normed);
        let [weight, bias] = &self.norm2;
        let affine = Scaling::Affine([weight, bias]);
        let (x, normed) = gated_add_scaled_norm(&attended, Some(&time[2]), x, affine, self.epsilon);
        drop(attended);
        let attended = self.attn2.to_text(&normed, text, frames, observer)?;
        drop(normed);
        let modulated = Scaling::Modulated([&of_forward, &time[3]]);
        let (x, normed) = gated_add_scaled_norm(&attended, None, &x, modulated, self.epsilon);
        drop(attended);
        let middle = self.project_in.forward_gelu(&normed);
        drop(normed);
        ControlFlow::Continue(if is_again {
            self.gradient_alone(&middle, &time[5], &x)
        } else {
            gated_add(&self.project_out.forward(&middle), &time[5], &x)
        })
    }

    /// What depends on the middle of the feed-forward net and on the sum before it as the block's output does, without the last
    /// product: it has another value. All [1, tokens, ..]
    fn gradient_alone(&self, middle: &Tensor, gate: &Tensor, x: &Tensor) -> Tensor {
        let saved = [gate.shallow_clone(), self.project_out.weight().shallow_clone()];
        let gradient = |saved: &[Tensor], gradients: &[Tensor]| {
            let of_product = gated(&gradients[0], &saved[0]);
            [Some(of_product.matmul(&saved[1])), Some(gradients[0].shallow_clone())]
        };
        native::record(middle, Some(x), &[x.detach()], &saved, Box::new(gradient)).swap_remove(0)
    }
}

impl Part for Block {
    fn weights_mut(&mut self) -> Vec<&mut Tensor> {
        let mut weights = self.attn1.weights_mut();
        weights.extend(self.attn2.weights_mut());
        weights.extend(&mut self.norm2);
        weights.extend(self.project_in.weights_mut().chain(self.project_out.weights_mut()));
        weights.push(&mut self.scale_shift_table);
        weights
    }
}
