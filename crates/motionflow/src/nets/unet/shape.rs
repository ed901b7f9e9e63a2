//! What a UNet is built from, whichever config describes it.

use std::fmt::Debug;

use crate::error::Error;
use crate::model::check_blocks;
use crate::nets::config::{ConfigError, count, divides, epsilon};
use crate::nets::layers::{Activation, Projection};

/// The shape of a UNet. Its fields have the names that the configs have for them.
#[derive(Debug, Clone)]
pub struct UNetShape {
    /// Channels of the latents that come in.
    pub in_channels: i64,
    /// Channels of the noise that goes out.
    pub out_channels: i64,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<i64>,
    /// Whether a level has attention on the way down, from fine to coarse.
    pub down_attends: Vec<bool>,
    /// Whether a level has attention on the way up, from coarse to fine.
    pub up_attends: Vec<bool>,
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
    /// Heads of the spatial attentions.
    pub heads: Heads,
    /// What leads into a spatial transformer and out of it.
    pub projection: Projection,
    /// The layers that look along time.
    pub temporal: Temporal,
    /// Input size of a projection that is in the weights but that text-to-video never uses.
    pub time_cond_proj_dim: Option<i64>,
}

/// How an attention's channels are split into heads. Where they do not divide, the heads do not fill the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// As many as there are, of so many features each.
    OfSize(i64),
    /// So many.
    Count(i64),
}

impl Heads {
    /// Their number and their size at a level of so many channels.
    pub fn of(self, channels: i64) -> (i64, i64) {
        match self {
            Self::OfSize(size) => (channels / size, size),
            Self::Count(heads) => (heads, channels / heads),
        }
    }
}

/// The layers that look along time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporal {
    /// `UNet3DConditionModel`: convolutions behind every residual block, a transformer behind every spatial one, and a
    /// transformer at the input.
    ConvolutionsAndTransformers,
    /// `UNetMotionModel`: motion modules behind every layer of a block.
    MotionModules(MotionModules),
}

/// The motion modules of a net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MotionModules {
    /// Heads of their attentions.
    pub heads: i64,
    /// Frames that their positional embedding has.
    pub max_frames: i64,
    /// Whether the middle has one.
    pub in_middle: bool,
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

impl UNetShape {
    /// The motion modules, where the net has them.
    pub fn motion(&self) -> Option<MotionModules> {
        match self.temporal {
            Temporal::ConvolutionsAndTransformers => None,
            Temporal::MotionModules(motion) => Some(motion),
        }
    }

    /// The guidance blocks' names, in the order in which they run.
    pub fn guidance_blocks(&self) -> [String; 3] {
        let down = self.down_attends.iter().rposition(|attends| *attends).unwrap_or_default();
        let up = self.up_attends.iter().position(|attends| *attends).unwrap_or_default();
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
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let wrong =
            |key: &str, found: &dyn Debug, expected: &str| ConfigError::new("unet", key, found, expected);
        let levels = self.block_out_channels.len();
        if !(1..=16).contains(&levels) {
            return Err(wrong("block_out_channels", &self.block_out_channels, "1 to 16 levels"));
        }
        for (key, attends) in [("down_block_types", &self.down_attends), ("up_block_types", &self.up_attends)]
        {
            if attends.len() != levels {
                return Err(wrong(key, &format_args!("{} blocks", attends.len()), "one block a level"));
            }
            if !attends.contains(&true) {
                let found = format_args!("{levels} blocks without cross-attention");
                return Err(wrong(key, &found, "at least one with cross-attention"));
            }
        }
        if !(0..=1).contains(&self.downsample_padding) {
            return Err(wrong("downsample_padding", &self.downsample_padding, "0 or 1"));
        }
        let (heads_key, heads) = match self.heads {
            Heads::OfSize(size) => ("attention_head_dim", size),
            Heads::Count(heads) => ("num_attention_heads", heads),
        };
        let motion = self.motion().unwrap_or(MotionModules { heads: 1, max_frames: 1, in_middle: false });
        for (key, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block),
            ("norm_num_groups", self.norm_num_groups),
            ("cross_attention_dim", self.cross_attention_dim),
            (heads_key, heads),
            ("motion_num_attention_heads", motion.heads),
            ("motion_max_seq_length", motion.max_frames),
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
            if motion.heads > *channels {
                let expected = format!("at most the {channels} channels of a level");
                return Err(wrong("motion_num_attention_heads", &motion.heads, &expected));
            }
        }
        for (level, channels) in self.block_out_channels.iter().enumerate() {
            let attends =
                self.down_attends[level] || self.up_attends[levels - 1 - level] || level == levels - 1;
            if attends && heads > *channels {
                let expected = format!("at most the {channels} channels of a level with attention");
                return Err(wrong(heads_key, &heads, &expected));
            }
        }
        if self.block_out_channels[0] < 2 {
            let expected = "2 or more at the first level";
            return Err(wrong("block_out_channels", &self.block_out_channels, expected));
        }
        Ok(self)
    }
}
