//! `unet/config.json`.

use serde::Deserialize;

use crate::error::Error;
use crate::model::check_blocks;
use crate::nets::config::{ConfigError, count, divides, epsilon};
use crate::nets::layers::Activation;

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
pub struct UNetConfig {
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

impl Default for UNetConfig {
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

/// Which of a net's guidance blocks are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuidanceBlocks {
    /// The last block on the way down that has cross-attention.
    pub down: bool,
    /// The middle.
    pub middle: bool,
    /// The first block on the way up that has it.
    pub up: bool,
}

impl GuidanceBlocks {
    /// All of them.
    pub const ALL: Self = Self { down: true, middle: true, up: true };
}

impl UNetConfig {
    /// The guidance blocks' names, in the order in which they run. The config must be valid.
    pub fn guidance_blocks(&self) -> [String; 3] {
        let attends = |kind: &DownBlockType| *kind == DownBlockType::CrossAttnDownBlock3D;
        let down = self.down_block_types.iter().rposition(attends).unwrap_or_default();
        let attends = |kind: &UpBlockType| *kind == UpBlockType::CrossAttnUpBlock3D;
        let up = self.up_block_types.iter().position(attends).unwrap_or_default();
        [format!("down_blocks.{down}"), "mid_block".to_owned(), format!("up_blocks.{up}")]
    }

    /// Those of the guidance blocks that are named; all where none is.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] with the blocks that there are.
    pub fn named_blocks(&self, names: &[String]) -> Result<GuidanceBlocks, Error> {
        let known = self.guidance_blocks();
        check_blocks(names, &known.each_ref().map(String::as_str))?;
        let [down, middle, up] = known.map(|block| names.is_empty() || names.contains(&block));
        Ok(GuidanceBlocks { down, middle, up })
    }

    /// Checks that the net can be built: counts in range, blocks that match, groups that divide.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: &dyn std::fmt::Debug, expected: &str| {
            ConfigError::new("unet", key, found, expected)
        };
        if self.class_name != "UNet3DConditionModel" {
            return Err(wrong("_class_name", &self.class_name, "UNet3DConditionModel"));
        }
        let levels = self.block_out_channels.len();
        if !(1..=16).contains(&levels) {
            return Err(wrong("block_out_channels", &self.block_out_channels, "1 to 16 levels"));
        }
        if self.down_block_types.len() != levels {
            return Err(wrong("down_block_types", &self.down_block_types, "one block a level"));
        }
        if self.up_block_types.len() != levels {
            return Err(wrong("up_block_types", &self.up_block_types, "one block a level"));
        }
        if !self.down_block_types.contains(&DownBlockType::CrossAttnDownBlock3D) {
            return Err(wrong(
                "down_block_types",
                &self.down_block_types,
                "at least one with cross-attention",
            ));
        }
        if !self.up_block_types.contains(&UpBlockType::CrossAttnUpBlock3D) {
            return Err(wrong("up_block_types", &self.up_block_types, "at least one with cross-attention"));
        }
        if !(0..=1).contains(&self.downsample_padding) {
            return Err(wrong("downsample_padding", &self.downsample_padding, "0 or 1"));
        }
        if self.num_attention_heads.is_some() {
            return Err(wrong("num_attention_heads", &self.num_attention_heads, "null"));
        }
        for (key, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block),
            ("norm_num_groups", self.norm_num_groups),
            ("cross_attention_dim", self.cross_attention_dim),
            ("attention_head_dim", self.attention_head_dim),
            ("time_cond_proj_dim", self.time_cond_proj_dim.unwrap_or(1)),
        ] {
            count("unet", key, value)?;
        }
        epsilon("unet", "norm_eps", self.norm_eps)?;
        if !(self.mid_block_scale_factor.is_finite() && self.mid_block_scale_factor > 0.0) {
            return Err(wrong("mid_block_scale_factor", &self.mid_block_scale_factor, "a positive number"));
        }
        if self.layers_per_block > 64 {
            return Err(wrong("layers_per_block", &self.layers_per_block, "1 to 64"));
        }
        for channels in &self.block_out_channels {
            count("unet", "block_out_channels", *channels)?;
            divides("unet", "norm_num_groups", self.norm_num_groups, *channels)?;
        }
        for (level, channels) in self.block_out_channels.iter().enumerate() {
            let attends = self.down_block_types[level] == DownBlockType::CrossAttnDownBlock3D
                || self.up_block_types[levels - 1 - level] == UpBlockType::CrossAttnUpBlock3D
                || level == levels - 1;
            if attends && self.attention_head_dim > *channels {
                let expected = format!("at most the {channels} channels of a level with attention");
                return Err(wrong("attention_head_dim", &self.attention_head_dim, &expected));
            }
        }
        if self.block_out_channels[0] < 2 {
            return Err(wrong(
                "block_out_channels",
                &self.block_out_channels,
                "2 or more at the first level",
            ));
        }
        Ok(())
    }
}
