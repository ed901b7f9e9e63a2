//! Multi-head attention that can show its probabilities, and the transformer block around it.
//!
//! "Attention Is All You Need" (<https://arxiv.org/abs/1706.03762>), in diffusers' arrangement.

use std::ops::ControlFlow;

use tch::Tensor;

use super::layers::{LayerNorm, Linear};
use crate::checkpoint::Loader;

/// Somebody who looks at attention while a net runs, and may weigh the words of its text.
pub trait AttentionObserver {
    /// Whether the probabilities of the layer of this name are to be computed and shown.
    fn wants(&self, layer: &str) -> bool;

    /// Receives a layer's probabilities [batch, query, key], averaged over its heads. `Break` ends the net's run here.
    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()>;

    /// Factors of the values of the text's tokens, [videos, tokens, 1]; without them every value counts as it is.
    fn token_weights(&self) -> Option<&Tensor> {
        None
    }
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoObserver;

impl AttentionObserver for NoObserver {
    fn wants(&self, _layer: &str) -> bool {
        false
    }

    fn observe(&mut self, _layer: &str, _probabilities: Tensor) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// softmax(Q·Kᵀ/√d)·V with `heads` heads; keys and values come from the context, or from the input itself.
#[derive(Debug)]
pub struct Attention {
    name: String,
    heads: i64,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    /// Loads `to_q`, `to_k`, `to_v` (no bias) and `to_out.0`; `context` is the size of the keys' and values' source.
    pub fn new(weights: &Loader, channels: i64, heads: i64, context: i64) -> Self {
        Self {
            name: weights.path(),
            heads,
            to_q: Linear::without_bias(&weights.sub("to_q"), channels, channels),
            to_k: Linear::without_bias(&weights.sub("to_k"), context, channels),
            to_v: Linear::without_bias(&weights.sub("to_v"), context, channels),
            to_out: Linear::new(&weights.sub("to_out.0"), channels, channels),
        }
    }

    /// The checkpoint's name of this layer, e.g. `mid_block.attentions.0.transformer_blocks.0.attn2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// x [batch, query, channels], context [batch, key, context] -> [batch, query, channels]
    pub fn forward(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let weights = context.and(observer.token_weights()).map(Tensor::shallow_clone);
        let context = context.unwrap_or(x);
        let (q, k) = (self.split(&self.to_q.forward(x)), self.split(&self.to_k.forward(context)));
        let v = || {
            let values = self.to_v.forward(context);
            self.split(&match &weights {
                Some(weights) => weighed(&values, weights),
                None => values,
            })
        };
        let attended = if observer.wants(&self.name) {
            let probabilities = attention_probabilities(&q, &k);
            observer.observe(&self.name, probabilities.mean_dim(1, false, None))?;
            probabilities.matmul(&v())
        } else {
            scaled_dot_product_attention(&q, &k, &v())
        };
        ControlFlow::Continue(self.to_out.forward(&attended.transpose(1, 2).flatten(2, 3)))
    }

    /// [batch, tokens, channels] -> [batch, heads, tokens, channels / heads]
    fn split(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
    }
}

/// Values [videos · frames, tokens, channels] times the weights of their tokens [videos, tokens, 1], the same in all frames
/// of a video.
fn weighed(values: &Tensor, weights: &Tensor) -> Tensor {
    let frames = values.size()[0] / weights.size()[0];
    values * weights.repeat_interleave_self_int(frames, 0, values.size()[0])
}

/// softmax(Q·Kᵀ/√d): [batch, heads, query, d] and [batch, heads, key, d] -> [batch, heads, query, key]
pub fn attention_probabilities(q: &Tensor, k: &Tensor) -> Tensor {
    let scale = (q.size()[3] as f64).powf(-0.5);
    (q.matmul(&k.transpose(-1, -2)) * scale).softmax(-1, None)
}

/// libtorch's fused attention over [batch, heads, tokens, d].
pub fn scaled_dot_product_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, false, None, false)
}

/// Two linear layers with a gated GELU between them (GEGLU, <https://arxiv.org/abs/2002.05202>).
#[derive(Debug)]
struct FeedForward {
    project_in: Linear,
    project_out: Linear,
}

impl FeedForward {
    fn new(weights: &Loader, channels: i64) -> Self {
        let inner = 4 * channels;
        Self {
            project_in: Linear::new(&weights.sub("net.0.proj"), channels, 2 * inner),
            project_out: Linear::new(&weights.sub("net.2"), inner, channels),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let projected = self.project_in.forward(x).chunk(2, -1);
        self.project_out.forward(&(&projected[0] * projected[1].gelu("none")))
    }
}

/// Self-attention, then attention to the context (or a second self-attention), then the feed-forward net, each with
/// its layer norm before and its input added after.
#[derive(Debug)]
pub struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    /// `context` is the size of the text's features, or `None` where both attentions look at the input itself.
    pub fn new(weights: &Loader, channels: i64, heads: i64, context: Option<i64>) -> Self {
        let norm = |name: &str| LayerNorm::new(&weights.sub(name), channels, 1e-5);
        Self {
            norm1: norm("norm1"),
            attn1: Attention::new(&weights.sub("attn1"), channels, heads, channels),
            norm2: norm("norm2"),
            attn2: Attention::new(&weights.sub("attn2"), channels, heads, context.unwrap_or(channels)),
            norm3: norm("norm3"),
            ff: FeedForward::new(&weights.sub("ff"), channels),
        }
    }

    /// The names of the two attentions.
    pub fn attention_names(&self) -> [&str; 2] {
        [self.attn1.name(), self.attn2.name()]
    }

    /// x [batch, tokens, channels], context [batch, key, context] -> [batch, tokens, channels]
    pub fn forward(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let x = self.attn1.forward(&self.norm1.forward(x), None, observer)? + x;
        let x = self.attn2.forward(&self.norm2.forward(&x), context, observer)? + x;
        let x = self.ff.forward(&self.norm3.forward(&x)) + x;
        ControlFlow::Continue(x)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn weighing_values_is_weighing_probabilities() {
        let random = |shape: [i64; 3]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        // Two videos of two frames.
        let (probabilities, values) = (random([4, 6, 3]).softmax(-1, None), random([4, 3, 5]));
        let weights = Tensor::from_slice(&[1f32, 1.0, 1.0, 1.0, 2.5, 0.0]).view([2, 3, 1]);
        let by_frame = weights.repeat_interleave_self_int(2, 0, 4).transpose(1, 2);
        let expected = (&probabilities * by_frame).matmul(&values);
        let found = probabilities.matmul(&weighed(&values, &weights));
        assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
    }
}
