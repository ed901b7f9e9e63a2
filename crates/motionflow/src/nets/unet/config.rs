//! `unet/config.json` of a `UNet3DConditionModel`.

use serde::Deserialize;

use super::shape::{Heads, Temporal, UNetShape};
use crate::nets::config::ConfigError;
use crate::nets::layers::{Activation, Projection};

/// The kind of a block on the way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// Residual and temporal layers alone.
    DownBlock3D,
    /// Residual, temporal and attention layers.
    CrossAttnDownBlock3D,
}

/// The kind of a block on the way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// Residual and temporal layers alone.
    UpBlock3D,
    /// Residual, temporal and attention layers.
    CrossAttnUpBlock3D,
}

/// The settings of diffusers' `UNet3DConditionModel` that change the arithmetic; the defaults are diffusers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UNet3DConfig {
    /// Must be `UNet3DConditionModel`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Channels of the latents that come in.
    pub in_channels: i64,
    /// Channels of the noise that goes out.
    pub out_channels: i64,
    /// Blocks on the way down, from fine to coarse.
    pub down_block_types: Vec<DownBlockType>,
    /// Blocks on the way up, from coarse to fine.
    pub up_block_types: Vec<UpBlockType>,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<i64>,
    /// Layers of a block on the way down; one more on the way up.
    pub layers_per_block: i64,
    /// Padding of the strided convolutions: 1, or 0 for padding below and to the right alone.
    pub downsample_padding: i64,
    /// The residual blocks of the middle divide their output by this.
    pub mid_block_scale_factor: f64,
    /// Activation of residual blocks and of the timestep's embedding.
    pub act_fn: Activation,
    /// Groups of every group norm.
    pub norm_num_groups: i64,
    /// Epsilon of the residual blocks' norms.
    pub norm_eps: f64,
    /// Features of the text.
    pub cross_attention_dim: i64,
    /// Features of one attention head (the name is right here, whatever older diffusers code says).
    pub attention_head_dim: i64,
    /// Must be absent.
    pub num_attention_heads: Option<i64>,
    /// Input size of a projection that is in the weights but that text-to-video never uses.
    pub time_cond_proj_dim: Option<i64>,
}

impl Default for UNet3DConfig {
    fn default() -> Self {
        use DownBlockType::{CrossAttnDownBlock3D, DownBlock3D};
        use UpBlockType::{CrossAttnUpBlock3D, UpBlock3D};
        Self {
            class_name: "UNet3DConditionModel".into(),
            in_channels: 4,
            out_channels: 4,
            down_block_types: vec![
                CrossAttnDownBlock3D,
                CrossAttnDownBlock3D,
                CrossAttnDownBlock3D,
                DownBlock3D,
            ],
            up_block_types: vec![UpBlock3D, CrossAttnUpBlock3D, CrossAttnUpBlock3D, CrossAttnUpBlock3D],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: 1024,
            attention_head_dim: 64,
            num_attention_heads: None,
            time_cond_proj_dim: None,
        }
    }
}

impl UNet3DConfig {
    /// What the net is built from.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn shape(&self) -> Result<UNetShape, ConfigError> {
        check_class("unet", &self.class_name, "UNet3DConditionModel")?;
        if self.num_attention_heads.is_some() {
            return Err(ConfigError::new("unet", "num_attention_heads", self.num_attention_heads, "null"));
        }
        UNetShape {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            block_out_channels: self.block_out_channels.clone(),
            down_attends: attends(&self.down_block_types, &DownBlockType::CrossAttnDownBlock3D),
            up_attends: attends(&self.up_block_types, &UpBlockType::CrossAttnUpBlock3D),
            layers_per_block: self.layers_per_block,
            downsample_padding: self.downsample_padding,
            mid_block_scale_factor: self.mid_block_scale_factor,
            act_fn: self.act_fn,
            norm_num_groups: self.norm_num_groups,
            norm_eps: self.norm_eps,
            cross_attention_dim: self.cross_attention_dim,
            heads: Heads::OfSize(self.attention_head_dim),
            projection: Projection::Linear,
            temporal: Temporal::ConvolutionsAndTransformers,
            time_cond_proj_dim: self.time_cond_proj_dim,
        }
        .checked()
    }
}

/// For each block whether it is of the kind that has attention.
pub(super) fn attends<Kind: PartialEq>(blocks: &[Kind], attending: &Kind) -> Vec<bool> {
    blocks.iter().map(|kind| kind == attending).collect()
}

/// Checks that a config is of the class that it is taken for.
pub(super) fn check_class(component: &'static str, found: &str, expected: &str) -> Result<(), ConfigError> {
    if found == expected {
        return Ok(());
    }
    Err(ConfigError::new(component, "_class_name", found, expected))
}
