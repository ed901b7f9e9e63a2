//! `CLIPTextModel`: the text encoder.
//!
//! "Learning Transferable Visual Models From Natural Language Supervision" (<https://arxiv.org/abs/2103.00020>).

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::clip_encoder::{Encoder, EncoderShape};
use super::config::{ConfigError, count};
use super::layers::{Activation, LayerNorm};
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
        self.check("text_encoder")
    }

    /// As [`ClipTextConfig::validate`]; `component` is for messages.
    ///
    /// # Errors
    /// As [`ClipTextConfig::validate`].
    pub fn check(&self, component: &'static str) -> Result<(), ConfigError> {
        count(component, "vocab_size", self.vocab_size)?;
        count(component, "max_position_embeddings", self.max_position_embeddings)?;
        self.shape().check(component)
    }

    fn shape(&self) -> EncoderShape {
        EncoderShape {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            activation: self.hidden_act,
            epsilon: self.layer_norm_eps,
            causal: true,
        }
    }
}

/// The text encoder, ready to run.
#[derive(Debug)]
pub struct ClipText {
    config: ClipTextConfig,
    token_embedding: Tensor,
    position_embedding: Tensor,
    encoder: Encoder,
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
        Ok(Self {
            token_embedding: embeddings.tensor("token_embedding.weight", &[config.vocab_size, hidden]),
            position_embedding: embeddings
                .tensor("position_embedding.weight", &[config.max_position_embeddings, hidden]),
            encoder: Encoder::new(&weights.sub("encoder"), config.shape()),
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
        let x = (tokens + self.position_embedding.narrow(0, 0, ids.len() as i64)).unsqueeze(0);
        self.final_layer_norm.forward(&self.encoder.forward(x))
    }
}
