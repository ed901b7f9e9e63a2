//! `CLIPEncoder`: the transformer that both towers of CLIP consist of.

use tch::Tensor;

use super::config::{ConfigError, count, divides, epsilon};
use super::layers::{Activation, LayerNorm, Linear};
use crate::checkpoint::Loader;

/// What both towers' configs say of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncoderShape {
    pub(super) hidden: i64,
    pub(super) intermediate: i64,
    pub(super) layers: i64,
    pub(super) heads: i64,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
    /// Whether a token sees itself and those before it alone.
    pub(super) causal: bool,
}

impl EncoderShape {
    /// Checks that it can be built; `component` is for messages.
    pub(super) fn check(&self, component: &'static str) -> Result<(), ConfigError> {
        for (key, value) in [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.intermediate),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
        ] {
            count(component, key, value)?;
        }
        epsilon(component, "layer_norm_eps", self.epsilon)?;
        if self.layers > 256 {
            return Err(ConfigError::new(component, "num_hidden_layers", self.layers, "1 to 256"));
        }
        divides(component, "num_attention_heads", self.heads, self.hidden)
    }
}

/// The layers, one after the other.
#[derive(Debug)]
pub(super) struct Encoder(Vec<EncoderLayer>);

impl Encoder {
    /// Loads `layers.0` and so on.
    pub(super) fn new(weights: &Loader, shape: EncoderShape) -> Self {
        let layers = weights.sub("layers");
        Self((0..shape.layers).map(|index| EncoderLayer::new(&layers.sub(index), shape)).collect())
    }

    /// [batch, tokens, hidden], same shape out
    pub(super) fn forward(&self, x: Tensor) -> Tensor {
        self.0.iter().fold(x, |x, layer| layer.forward(&x))
    }
}

#[derive(Debug)]
struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: i64,
    activation: Activation,
    causal: bool,
}

impl EncoderLayer {
    fn new(weights: &Loader, shape: EncoderShape) -> Self {
        let EncoderShape { hidden, intermediate, heads, activation, epsilon, causal, .. } = shape;
        let norm = |name: &str| LayerNorm::new(&weights.sub(name), hidden, epsilon);
        let projection = |name: &str| Linear::new(&weights.sub("self_attn").sub(name), hidden, hidden);
        Self {
            layer_norm1: norm("layer_norm1"),
            q_proj: projection("q_proj"),
            k_proj: projection("k_proj"),
            v_proj: projection("v_proj"),
            out_proj: projection("out_proj"),
            layer_norm2: norm("layer_norm2"),
            fc1: Linear::new(&weights.sub("mlp.fc1"), hidden, intermediate),
            fc2: Linear::new(&weights.sub("mlp.fc2"), intermediate, hidden),
            heads,
            activation,
            causal,
        }
    }

    /// [batch, tokens, hidden], same shape out
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let normed = self.layer_norm1.forward(x);
        let split = |layer: &Linear| {
            layer.forward(&normed).view([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
        };
        let (q, k, v) = (split(&self.q_proj), split(&self.k_proj), split(&self.v_proj));
        let attended =
            Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, self.causal, None, false);
        let x = self.out_proj.forward(&attended.transpose(1, 2).flatten(2, 3)) + x;
        let hidden = self.activation.forward(&self.fc1.forward(&self.layer_norm2.forward(&x)));
        self.fc2.forward(&hidden) + x
    }
}
