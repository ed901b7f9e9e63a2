//! `CLIPTextModel`: the text encoder.
//!
//! "Learning Transferable Visual Models From Natural Language Supervision" (<https://arxiv.org/abs/2103.00020>).

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::config::{ConfigError, count, divides, epsilon};
use super::layers::{Activation, LayerNorm, Linear};
use crate::checkpoint::Loader;

/// The settings of transformers' `CLIPTextModel` that change the arithmetic; the defaults are transformers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Size of the vocabulary.
    pub vocab_size: i64,
    /// Features of a token.
    pub hidden_size: i64,
    /// Features between the two layers of the feed-forward nets.
    pub intermediate_size: i64,
    /// Number of layers.
    pub num_hidden_layers: i64,
    /// Heads of each attention.
    pub num_attention_heads: i64,
    /// Tokens of a text at most.
    pub max_position_embeddings: i64,
    /// Activation of the feed-forward nets.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipTextConfig {
    /// Checks that the net can be built.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            count("text_encoder", key, value)?;
        }
        epsilon("text_encoder", "layer_norm_eps", self.layer_norm_eps)?;
        if self.num_hidden_layers > 256 {
            return Err(ConfigError::new(
                "text_encoder",
                "num_hidden_layers",
                self.num_hidden_layers,
                "1 to 256",
            ));
        }
        divides("text_encoder", "num_attention_heads", self.num_attention_heads, self.hidden_size)
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
}

impl EncoderLayer {
    fn new(weights: &Loader, config: &ClipTextConfig) -> Self {
        let hidden = config.hidden_size;
        let norm = |name: &str| LayerNorm::new(&weights.sub(name), hidden, config.layer_norm_eps);
        let projection = |name: &str| Linear::new(&weights.sub("self_attn").sub(name), hidden, hidden);
        Self {
            layer_norm1: norm("layer_norm1"),
            q_proj: projection("q_proj"),
            k_proj: projection("k_proj"),
            v_proj: projection("v_proj"),
            out_proj: projection("out_proj"),
            layer_norm2: norm("layer_norm2"),
            fc1: Linear::new(&weights.sub("mlp.fc1"), hidden, config.intermediate_size),
            fc2: Linear::new(&weights.sub("mlp.fc2"), config.intermediate_size, hidden),
            heads: config.num_attention_heads,
            activation: config.hidden_act,
        }
    }

    /// [batch, tokens, hidden], same shape out; a token sees itself and those before it
    fn forward(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let normed = self.layer_norm1.forward(x);
        let split = |layer: &Linear| {
            layer.forward(&normed).view([size[0], size[1], self.heads, size[2] / self.heads]).transpose(1, 2)
        };
        let (q, k, v) = (split(&self.q_proj), split(&self.k_proj), split(&self.v_proj));
        let attended =
            Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, true, None, false);
        let x = self.out_proj.forward(&attended.transpose(1, 2).flatten(2, 3)) + x;
        let hidden = self.activation.forward(&self.fc1.forward(&self.layer_norm2.forward(&x)));
        self.fc2.forward(&hidden) + x
    }
}

/// The text encoder, ready to run.
#[derive(Debug)]
pub struct ClipText {
    config: ClipTextConfig,
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
}

impl ClipText {
    /// Builds the net that `config` describes from the weights of a checkpoint's `text_encoder` folder, in which
    /// names stand without the prefix `text_model.`.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: ClipTextConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let hidden = config.hidden_size;
        let embeddings = weights.sub("embeddings");
        let layers = weights.sub("encoder.layers");
        Ok(Self {
            token_embedding: embeddings.tensor("token_embedding.weight", &[config.vocab_size, hidden]),
            position_embedding: embeddings
                .tensor("position_embedding.weight", &[config.max_position_embeddings, hidden]),
            layers: (0..config.num_hidden_layers)
                .map(|index| EncoderLayer::new(&layers.sub(index), &config))
                .collect(),
            final_layer_norm: LayerNorm::new(&weights.sub("final_layer_norm"), hidden, config.layer_norm_eps),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// The last hidden state after the final layer norm: token ids -> [1, tokens, hidden]. The ids must lie inside
    /// the vocabulary and be no more than `max_position_embeddings`.
    pub fn forward(&self, ids: &[i64]) -> Tensor {
        let index = Tensor::from_slice(ids).to_device(self.token_embedding.device()).to_kind(Kind::Int64);
        let tokens = self.token_embedding.index_select(0, &index);
        let mut x = (tokens + self.position_embedding.narrow(0, 0, ids.len() as i64)).unsqueeze(0);
        for layer in &self.layers {
            x = layer.forward(&x);
        }
        self.final_layer_norm.forward(&x)
    }
}
