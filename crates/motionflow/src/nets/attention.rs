//! Multi-head attention that can show its probabilities, and the transformer block around it.
//!
//! "Attention Is All You Need" (<https://arxiv.org/abs/1706.03762>), in diffusers' arrangement.

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use super::feed_forward::FeedForward;
use super::layers::{LayerNorm, Linear};
use super::of_texts::OfTexts;
use crate::checkpoint::Loader;
use crate::kernels;
use crate::native;

/// Sequences of so many tokens are faster in another of libtorch's fused attentions (measured on an H200).
const SHORT: i64 = 64;

/// From so many tokens on, cuDNN's attention is faster than FlashAttention-2 (measured on an H200). For shorter ones, and for
/// texts, it takes a process longer to prepare cuDNN's for each shape, some 0.1 s, than it saves in a transfer.
const LONG: i64 = 512;

/// Somebody who looks at attention while a net runs, and may weigh the words of its text.
pub trait AttentionObserver {
    /// Whether the probabilities of the layer of this name are to be computed and shown.
    fn wants(&self, layer: &str) -> bool;

    /// Receives a layer's probabilities [batch, query, key], averaged over its heads, or their product with
    /// [`AttentionObserver::values`]. `Break` ends the net's run here.
    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()>;

    /// Where their product with values of the keys, [batch, key, values] in float32, is enough to see of a layer's
    /// probabilities: those values. The product is [batch, query, values].
    fn values(&self, _layer: &str) -> Option<&Tensor> {
        None
    }

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

/// softmax(Q·Kᵀ/√d)·V with `heads` heads; keys and values come from the text, or from the input itself.
#[derive(Debug)]
pub struct Attention {
    name: String,
    heads: i64,
    projections: Projections,
    to_out: Linear,
}

/// Queries, keys and values, with those of the same input in one product.
#[derive(Debug)]
enum Projections {
    ToItself { to_qkv: Linear },
    ToText { to_q: Linear, text: TextProjection },
}

impl Attention {
    /// Loads `to_q`, `to_k`, `to_v` (no bias) and `to_out.0`; `context` is the size of the text's features, where it
    /// attends to a text.
    pub fn new(weights: &Loader, channels: i64, heads: i64, context: Option<i64>) -> Self {
        let linear = |name: &str, input| Linear::without_bias(&weights.sub(name), input, channels);
        let projections = match context {
            None => {
                let layers = ["to_q", "to_k", "to_v"].map(|name| linear(name, channels));
                Projections::ToItself { to_qkv: Linear::joined(weights, &layers) }
            }
            Some(context) => {
                let layers = ["to_k", "to_v"].map(|name| linear(name, context));
                let text = TextProjection::new(Linear::joined(weights, &layers), heads);
                Projections::ToText { to_q: linear("to_q", channels), text }
            }
        };
        let to_out = Linear::new(&weights.sub("to_out.0"), channels, channels);
        Self { name: weights.path(), heads, projections, to_out }
    }

    /// The checkpoint's name of this layer, e.g. `mid_block.attentions.0.transformer_blocks.0.attn2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// x [batch, query, channels], text [videos, key, context] for the layers that attend to one, each video's the same
    /// for its share of the batch -> [batch, query, channels]
    pub fn forward(
        &self,
        x: &Tensor,
        text: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let size = x.size();
        let [q, k, v] = match (&self.projections, text) {
            (Projections::ToItself { to_qkv }, _) if kernels::are_used(x) && !observer.wants(&self.name) => {
                let attended = self_attention(&to_qkv.forward(x), self.heads);
                return ControlFlow::Continue(self.to_out.forward(&attended));
            }
            (Projections::ToItself { to_qkv }, _) => split(to_qkv.forward_joined(x, 3), self.heads),
            (Projections::ToText { to_q, text }, Some(features)) => {
                let [k, v] = text.keys_and_values(features);
                let v = match observer.token_weights() {
                    Some(weights) => v * weights.unsqueeze(1),
                    None => v,
                };
                let (videos, frames) = (features.size()[0], size[0] / features.size()[0]);
                let q = to_q.forward(x);
                // All queries of a video in one sequence, so that its text need not be repeated for every frame. By frames on
                // the CPU, as diffusers has it, and for a gradient, which the GPU has sooner of many sequences of queries.
                let traced = native::grad_enabled() && q.requires_grad();
                let batch = if kernels::are_used(x) && !traced { videos } else { size[0] };
                let [q] = split(vec![q.view([batch, -1, size[2]])], self.heads);
                let repeated = |x: Tensor| {
                    if batch == videos { x } else { x.repeat_interleave_self_int(frames, 0, batch) }
                };
                let (k, v) = (repeated(k), repeated(v));
                [q, k, v]
            }
            (Projections::ToText { .. }, None) => unreachable!("a layer that attends to a text is given one"),
        };
        let attended = if observer.wants(&self.name) {
            let probabilities = attention_probabilities(&q, &k);
            let seen = probabilities.mean_dim(1, false, None).view([size[0], size[1], -1]);
            let seen = match observer.values(&self.name) {
                Some(values) => product(&seen, values),
                None => seen,
            };
            observer.observe(&self.name, seen)?;
            probabilities.to_kind(v.kind()).matmul(&v)
        } else {
            scaled_dot_product_attention(&q, &k, &v)
        };
        let joined = attended.transpose(1, 2).reshape(size);
        ControlFlow::Continue(self.to_out.forward(&joined))
    }
}

/// [batch, tokens, channels] -> [batch, heads, tokens, channels / heads], each of N
fn split<const N: usize>(joined: Vec<Tensor>, heads: i64) -> [Tensor; N] {
    let mut parts = joined.into_iter();
    std::array::from_fn(|_| {
        let x = parts.next().unwrap_or_default();
        let size = x.size();
        x.view([size[0], size[1], heads, size[2] / heads]).transpose(1, 2)
    })
}

/// Keys and values of texts, computed once for each.
#[derive(Debug)]
struct TextProjection {
    to_kv: Linear,
    heads: i64,
    known: OfTexts<2>,
}

impl TextProjection {
    fn new(to_kv: Linear, heads: i64) -> Self {
        Self { to_kv, heads, known: OfTexts::default() }
    }

    /// [videos, tokens, context] -> twice [videos, heads, tokens, d]
    fn keys_and_values(&self, features: &Tensor) -> [Tensor; 2] {
        self.known.of(features, || split(self.to_kv.forward_joined(features, 2), self.heads))
    }
}

/// [batch, query, key] · [batch, key, values], the values one after the other, so that each is to the last bit what it is alone.
fn product(probabilities: &Tensor, values: &Tensor) -> Tensor {
    let of_each = values.split(1, -1);
    Tensor::cat(&of_each.iter().map(|values| probabilities.matmul(values)).collect::<Vec<_>>(), -1)
}

/// softmax(Q·Kᵀ/√d), in float32: [batch, heads, query, d] and [batch, heads, key, d] -> [batch, heads, query, key]
pub fn attention_probabilities(q: &Tensor, k: &Tensor) -> Tensor {
    let scale = (q.size()[3] as f64).powf(-0.5);
    let (q, k) = (q.to_kind(Kind::Float), k.to_kind(Kind::Float));
    (q.matmul(&k.transpose(-1, -2)) * scale).softmax(-1, None)
}

/// Attention of tokens to one another: queries, keys and values [batch, tokens, 3·channels], after one another ->
/// [batch, tokens, channels]
pub fn self_attention(joined: &Tensor, heads: i64) -> Tensor {
    if let Some(attended) = kernels::short_attention(joined, heads) {
        return attended;
    }
    let [q, k, v] = split(joined.unflatten(2, [3, -1]).unbind(2), heads);
    scaled_dot_product_attention(&q, &k, &v).transpose(1, 2).flatten(2, 3)
}

/// libtorch's fused attention over [batch, heads, tokens, d].
pub fn scaled_dot_product_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    if q.device().is_cuda() && q.size()[2].max(k.size()[2]) <= SHORT {
        let traced = [q, k, v].iter().any(|tensor| tensor.requires_grad());
        let none = None::<Tensor>;
        let attended = Tensor::f_internal_scaled_dot_product_efficient_attention(
            q, k, v, none, traced, 0.0, false, None,
        );
        // Not every device has it for every type of numbers.
        if let Ok((attended, ..)) = attended {
            return attended;
        }
    } else if q.device().is_cuda()
        && q.kind() != Kind::Float
        && q.size()[2].min(k.size()[2]) < LONG
        && let Some(attended) = native::flash_attention(q, k, v)
    {
        return attended;
    }
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, false, None, false)
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
    /// Added to what goes into both attentions, [1, longest sequence, channels].
    positions: Option<Tensor>,
}

impl TransformerBlock {
    /// `context` is the size of the text's features, or `None` where both attentions look at the input itself; `longest`
    /// the length of the positional embedding, where the block has one.
    pub fn new(
        weights: &Loader,
        channels: i64,
        heads: i64,
        context: Option<i64>,
        longest: Option<i64>,
    ) -> Self {
        let norm = |name: &str| LayerNorm::new(&weights.sub(name), channels, 1e-5);
        Self {
            positions: longest.map(|longest| weights.tensor("pos_embed.pe", &[1, longest, channels])),
            norm1: norm("norm1"),
            attn1: Attention::new(&weights.sub("attn1"), channels, heads, None),
            norm2: norm("norm2"),
            attn2: Attention::new(&weights.sub("attn2"), channels, heads, context),
            norm3: norm("norm3"),
            ff: FeedForward::new(&weights.sub("ff"), channels),
        }
    }

    /// The names of the two attentions.
    pub fn attention_names(&self) -> [&str; 2] {
        [self.attn1.name(), self.attn2.name()]
    }

    /// x [batch, tokens, channels], text [videos, key, context] -> [batch, tokens, channels]. A batch that is so far the same
    /// for all texts is given once, and repeated for each: `times` the batch comes out.
    pub fn forward(
        &self,
        x: &Tensor,
        text: Option<&Tensor>,
        times: i64,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let tokens = x.size()[1];
        let positions = self.positions.as_ref().map(|positions| positions.narrow(1, 0, tokens));
        let positions = positions.as_ref();
        let attended = self.attn1.forward(&self.norm1.forward_positioned(x, positions), None, observer)?;
        let (x, normed) = self.norm2.forward_added(&attended, x, positions);
        let (x, normed) = (repeated(x, times), repeated(normed, times));
        let attended = self.attn2.forward(&normed, text, observer)?;
        let (x, normed) = self.norm3.forward_added(&attended, &x, None);
        ControlFlow::Continue(self.ff.forward(&normed) + x)
    }
}

/// [batch, ..] -> [times·batch, ..]
pub fn repeated(x: Tensor, times: i64) -> Tensor {
    if times == 1 { x } else { Tensor::cat(&vec![&x; times as usize], 0) }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn weighing_values_is_weighing_probabilities() {
        let (probabilities, values) = (random(&[2, 1, 6, 3]).softmax(-1, None), random(&[2, 1, 3, 5]));
        let weights = Tensor::from_slice(&[1f32, 1.0, 1.0, 1.0, 2.5, 0.0]).view([2, 3, 1]);
        let expected = (&probabilities * weights.transpose(1, 2).unsqueeze(1)).matmul(&values);
        let found = probabilities.matmul(&(values * weights.unsqueeze(1)));
        assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
    }
}
