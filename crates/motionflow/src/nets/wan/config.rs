//! `transformer/config.json`.

use serde::Deserialize;
use serde_json::Value;

use crate::nets::config::{ConfigError, count, epsilon};

/// The settings of diffusers' `WanTransformer3DModel` that change the arithmetic; the defaults are diffusers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct WanConfig {
    /// Must be `WanTransformer3DModel`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Latent frames, rows and columns of a patch; must be 1, 2, 2.
    pub patch_size: Vec<i64>,
    /// Heads of every attention.
    pub num_attention_heads: i64,
    /// Features of a head.
    pub attention_head_dim: i64,
    /// Channels of the latents that come in.
    pub in_channels: i64,
    /// Channels of the velocity that goes out.
    pub out_channels: i64,
    /// Features of the text.
    pub text_dim: i64,
    /// Sines and cosines of the timestep.
    pub freq_dim: i64,
    /// Features in the middle of the feed-forward nets.
    pub ffn_dim: i64,
    /// Transformer blocks.
    pub num_layers: i64,
    /// Must be true: a norm before the cross-attention.
    pub cross_attn_norm: bool,
    /// Must be `rms_norm_across_heads`.
    pub qk_norm: Option<String>,
    /// Epsilon of every norm.
    pub eps: f64,
    /// Must be null: else it is an image-to-video net.
    pub image_dim: Option<Value>,
    /// Must be null: else it is an image-to-video net.
    pub added_kv_proj_dim: Option<Value>,
    /// Patches along an axis at most.
    pub rope_max_seq_len: i64,
    /// Must be null: else it is an image-to-video net.
    pub pos_embed_seq_len: Option<Value>,
}

impl Default for WanConfig {
    fn default() -> Self {
        Self {
            class_name: "WanTransformer3DModel".into(),
            patch_size: vec![1, 2, 2],
            num_attention_heads: 40,
            attention_head_dim: 128,
            in_channels: 16,
            out_channels: 16,
            text_dim: 4096,
            freq_dim: 256,
            ffn_dim: 13824,
            num_layers: 40,
            cross_attn_norm: true,
            qk_norm: Some("rms_norm_across_heads".into()),
            eps: 1e-6,
            image_dim: None,
            added_kv_proj_dim: None,
            rope_max_seq_len: 1024,
            pos_embed_seq_len: None,
        }
    }
}

impl WanConfig {
    /// Features of a token.
    pub fn channels(&self) -> i64 {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Checks that the net can be built.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(ConfigError::new("transformer", key, found, expected))
        };
        if self.class_name != "WanTransformer3DModel" {
            return wrong("_class_name", &self.class_name, "WanTransformer3DModel");
        }
        if self.patch_size != [1, 2, 2] {
            return wrong("patch_size", &self.patch_size.get(..8.min(self.patch_size.len())), "[1, 2, 2]");
        }
        for (key, value) in [
            ("image_dim", &self.image_dim),
            ("added_kv_proj_dim", &self.added_kv_proj_dim),
            ("pos_embed_seq_len", &self.pos_embed_seq_len),
        ] {
            if value.is_some() {
                return wrong(key, value, "null: text-to-video alone");
            }
        }
        if !self.cross_attn_norm {
            return wrong("cross_attn_norm", &false, "true");
        }
        if self.qk_norm.as_deref() != Some("rms_norm_across_heads") {
            return wrong("qk_norm", &self.qk_norm, "rms_norm_across_heads");
        }
        for (key, value) in [
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("text_dim", self.text_dim),
            ("freq_dim", self.freq_dim),
            ("ffn_dim", self.ffn_dim),
            ("num_layers", self.num_layers),
            ("rope_max_seq_len", self.rope_max_seq_len),
        ] {
            count("transformer", key, value)?;
        }
        epsilon("transformer", "eps", self.eps)?;
        if self.num_layers > 256 {
            return wrong("num_layers", &self.num_layers, "1 to 256");
        }
        if self.attention_head_dim % 2 != 0 || self.attention_head_dim > 4096 {
            return wrong("attention_head_dim", &self.attention_head_dim, "an even number of at most 4096");
        }
        if self.num_attention_heads > 4096 {
            return wrong("num_attention_heads", &self.num_attention_heads, "1 to 4096");
        }
        if self.rope_max_seq_len > 65_536 {
            return wrong("rope_max_seq_len", &self.rope_max_seq_len, "1 to 65536");
        }
        Ok(())
    }
}
