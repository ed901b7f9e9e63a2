//! `CLIPVisionModel`: the picture encoder.
//!
//! "Learning Transferable Visual Models From Natural Language Supervision" (<https://arxiv.org/abs/2103.00020>).

use serde::Deserialize;
use tch::Tensor;

use super::clip_encoder::{Encoder, EncoderShape};
use super::config::{ConfigError, count};
use super::layers::{Activation, LayerNorm};
use crate::checkpoint::Loader;

/// How this config is called in messages.
const COMPONENT: &str = "vision_config";

/// The settings of transformers' `CLIPVisionModel` that change the arithmetic; the defaults are transformers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// Features of a patch.
    pub hidden_size: i64,
    /// Features between the two layers of the feed-forward nets.
    pub intermediate_size: i64,
    /// Number of layers.
    pub num_hidden_layers: i64,
    /// Heads of each attention.
    pub num_attention_heads: i64,
    /// Channels of a picture.
    pub num_channels: i64,
    /// Side of a picture in pixels.
    pub image_size: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Activation of the feed-forward nets.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipVisionConfig {
    /// The largest side of a picture: attention grows with the fourth power of it.
    const MAX_IMAGE: i64 = 4096;

    /// Checks that the net can be built.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        count(COMPONENT, "image_size", self.image_size)?;
        count(COMPONENT, "patch_size", self.patch_size)?;
        if self.image_size > Self::MAX_IMAGE {
            let expected = format!("1 to {}", Self::MAX_IMAGE);
            return Err(ConfigError::new(COMPONENT, "image_size", self.image_size, expected));
        }
        if self.patch_size > self.image_size {
            let expected = format!("1 to the image_size, {}", self.image_size);
            return Err(ConfigError::new(COMPONENT, "patch_size", self.patch_size, expected));
        }
        if self.num_channels != 3 {
            return Err(ConfigError::new(COMPONENT, "num_channels", self.num_channels, "3"));
        }
        self.shape().check(COMPONENT)
    }

    /// How many patches a picture has. What is left over at the right and at the bottom is not seen.
    fn patches(&self) -> i64 {
        (self.image_size / self.patch_size).pow(2)
    }

    fn shape(&self) -> EncoderShape {
        EncoderShape {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            activation: self.hidden_act,
            epsilon: self.layer_norm_eps,
            causal: false,
        }
    }
}

/// The picture encoder, ready to run.
#[derive(Debug)]
pub struct ClipVision {
    config: ClipVisionConfig,
    class_embedding: Tensor,
    patch_embedding: Tensor,
    position_embedding: Tensor,
    pre_layer_norm: LayerNorm,
    encoder: Encoder,
    post_layer_norm: LayerNorm,
}

impl ClipVision {
    /// Builds the net that `config` describes from the weights at `vision_model`.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: ClipVisionConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let hidden = config.hidden_size;
        let embeddings = weights.sub("embeddings");
        let patch = [hidden, config.num_channels, config.patch_size, config.patch_size];
        let norm = |name: &str| LayerNorm::new(&weights.sub(name), hidden, config.layer_norm_eps);
        Ok(Self {
            class_embedding: embeddings.tensor("class_embedding", &[hidden]),
            patch_embedding: embeddings.tensor("patch_embedding.weight", &patch),
            position_embedding: embeddings
                .tensor("position_embedding.weight", &[config.patches() + 1, hidden]),
            // Published checkpoints spell it so.
            pre_layer_norm: norm("pre_layrnorm"),
            encoder: Encoder::new(&weights.sub("encoder"), config.shape()),
            post_layer_norm: norm("post_layernorm"),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    /// The features of whole pictures: [pictures, 3, side, side] -> [pictures, hidden]
    pub fn forward(&self, pictures: &Tensor) -> Tensor {
        let stride = [self.config.patch_size; 2];
        let patches = pictures.conv2d(&self.patch_embedding, None::<Tensor>, stride, [0, 0], [1, 1], 1);
        let patches = patches.flatten(2, 3).transpose(1, 2);
        let class = self.class_embedding.expand([patches.size()[0], 1, -1], false);
        let x = Tensor::cat(&[class, patches], 1) + &self.position_embedding;
        let x = self.encoder.forward(self.pre_layer_norm.forward(&x));
        self.post_layer_norm.forward(&x.select(1, 0))
    }
}
