//! `config.json` of the nets that AnimateDiff is made of: `UNetMotionModel`, or Stable Diffusion's `UNet2DConditionModel`
//! and a `MotionAdapter` for it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::config::{attends, check_class};
use super::shape::{Heads, MotionModules, Temporal, UNetShape};
use crate::error::Error;
use crate::nets::config::{ConfigError, count};
use crate::nets::layers::{Activation, Projection};
use crate::printable::printable;

/// A block of one of the two nets: whether it has cross-attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum MotionBlockType {
    /// Without.
    #[serde(alias = "UpBlockMotion", alias = "DownBlock2D", alias = "UpBlock2D")]
    DownBlockMotion,
    /// With it.
    #[serde(alias = "CrossAttnUpBlockMotion", alias = "CrossAttnDownBlock2D", alias = "CrossAttnUpBlock2D")]
    CrossAttnDownBlockMotion,
}

/// The settings of Stable Diffusion's `UNet2DConditionModel` that change the arithmetic; the defaults are diffusers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UNet2DConfig {
    /// Must be `UNet2DConditionModel`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// What it shares with `UNetMotionModel`.
    #[serde(flatten)]
    pub spatial: SpatialConfig,
    /// Heads of the spatial attentions: their number, whatever the name says. `num_attention_heads` goes before it.
    #[serde(deserialize_with = "one_for_all")]
    pub attention_head_dim: i64,
    /// All other keys.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The settings of diffusers' `UNetMotionModel` that change the arithmetic; the defaults are diffusers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UNetMotionConfig {
    /// Must be `UNetMotionModel`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// What it shares with `UNet2DConditionModel`.
    #[serde(flatten)]
    pub spatial: SpatialConfig,
    /// Heads of the motion modules.
    #[serde(deserialize_with = "one_for_all")]
    pub motion_num_attention_heads: i64,
    /// Frames that the motion modules' positional embedding has.
    pub motion_max_seq_length: i64,
    /// Whether the middle has a motion module.
    pub use_motion_mid_block: bool,
    /// All other keys.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The settings of a `MotionAdapter` that change the arithmetic; the defaults are diffusers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct MotionAdapterConfig {
    /// Must be `MotionAdapter`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Channels of each level of the net that it is for.
    pub block_out_channels: Vec<i64>,
    /// Layers of a block of that net.
    #[serde(deserialize_with = "one_for_all")]
    pub motion_layers_per_block: i64,
    /// Heads of the motion modules.
    #[serde(deserialize_with = "one_for_all")]
    pub motion_num_attention_heads: i64,
    /// Frames that their positional embedding has.
    pub motion_max_seq_length: i64,
    /// Whether the middle has one.
    pub use_motion_mid_block: bool,
    /// All other keys.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What the configs of both nets say alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct SpatialConfig {
    /// Channels of the latents that come in.
    pub in_channels: i64,
    /// Channels of the noise that goes out.
    pub out_channels: i64,
    /// Blocks on the way down, from fine to coarse.
    pub down_block_types: Vec<MotionBlockType>,
    /// Blocks on the way up, from coarse to fine.
    pub up_block_types: Vec<MotionBlockType>,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<i64>,
    /// Layers of a block on the way down; one more on the way up.
    #[serde(deserialize_with = "one_for_all")]
    pub layers_per_block: i64,
    /// Must be 1.
    pub downsample_padding: i64,
    /// The residual blocks of the middle divide their output by this.
    pub mid_block_scale_factor: f64,
    /// Activation of residual blocks and of the timestep's embedding.
    pub act_fn: Activation,
    /// Groups of every group norm, the motion modules' too.
    pub norm_num_groups: i64,
    /// Epsilon of the residual blocks' norms.
    pub norm_eps: f64,
    /// Features of the text; each net has its own default.
    #[serde(deserialize_with = "some_for_all")]
    pub cross_attention_dim: Option<i64>,
    /// Heads of the spatial attentions.
    #[serde(deserialize_with = "some_for_all")]
    pub num_attention_heads: Option<i64>,
    /// Whether the projections of the spatial transformers are linear layers, and no 1×1 convolutions.
    pub use_linear_projection: bool,
    /// Input size of a projection that is in the weights but that text-to-video never uses.
    pub time_cond_proj_dim: Option<i64>,
}

impl Default for UNet2DConfig {
    fn default() -> Self {
        Self {
            class_name: "UNet2DConditionModel".into(),
            spatial: SpatialConfig::default(),
            attention_head_dim: 8,
            others: Map::new(),
        }
    }
}

impl Default for UNetMotionConfig {
    fn default() -> Self {
        Self {
            class_name: "UNetMotionModel".into(),
            spatial: SpatialConfig::default(),
            motion_num_attention_heads: 8,
            motion_max_seq_length: 32,
            use_motion_mid_block: true,
            others: Map::new(),
        }
    }
}

impl Default for MotionAdapterConfig {
    fn default() -> Self {
        Self {
            class_name: "MotionAdapter".into(),
            block_out_channels: vec![320, 640, 1280, 1280],
            motion_layers_per_block: 2,
            motion_num_attention_heads: 8,
            motion_max_seq_length: 32,
            use_motion_mid_block: true,
            others: Map::new(),
        }
    }
}

impl Default for SpatialConfig {
    fn default() -> Self {
        use MotionBlockType::{CrossAttnDownBlockMotion as Attending, DownBlockMotion as Plain};
        Self {
            in_channels: 4,
            out_channels: 4,
            down_block_types: vec![Attending, Attending, Attending, Plain],
            up_block_types: vec![Plain, Attending, Attending, Attending],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: None,
            num_attention_heads: None,
            use_linear_projection: false,
            time_cond_proj_dim: None,
        }
    }
}

/// What a key must be where it is there: each other value is another net.
enum Fixed {
    Null,
    False,
    True,
    Text(&'static str),
    /// The number, or a list of it for every level.
    Number(f64),
    NullOrNumber(f64),
}

const OF_UNET_2D: [(&str, Fixed); 24] = [
    ("addition_embed_type", Fixed::Null),
    ("attention_type", Fixed::Text("default")),
    ("center_input_sample", Fixed::False),
    ("class_embed_type", Fixed::Null),
    ("class_embeddings_concat", Fixed::False),
    ("conv_in_kernel", Fixed::Number(3.0)),
    ("conv_out_kernel", Fixed::Number(3.0)),
    ("cross_attention_norm", Fixed::Null),
    ("dual_cross_attention", Fixed::False),
    ("encoder_hid_dim", Fixed::Null),
    ("encoder_hid_dim_type", Fixed::Null),
    ("flip_sin_to_cos", Fixed::True),
    ("freq_shift", Fixed::Number(0.0)),
    ("mid_block_type", Fixed::Text("UNetMidBlock2DCrossAttn")),
    ("num_class_embeds", Fixed::Null),
    ("only_cross_attention", Fixed::False),
    ("resnet_out_scale_factor", Fixed::Number(1.0)),
    ("resnet_skip_time_act", Fixed::False),
    ("resnet_time_scale_shift", Fixed::Text("default")),
    ("time_embedding_act_fn", Fixed::Null),
    ("time_embedding_dim", Fixed::Null),
    ("time_embedding_type", Fixed::Text("positional")),
    ("timestep_post_act", Fixed::Null),
    ("transformer_layers_per_block", Fixed::Number(1.0)),
];

const OF_UNET_MOTION: [(&str, Fixed); 11] = [
    ("addition_embed_type", Fixed::Null),
    ("encoder_hid_dim", Fixed::Null),
    ("encoder_hid_dim_type", Fixed::Null),
    ("mid_block_layers", Fixed::Number(1.0)),
    ("reverse_motion_num_attention_heads", Fixed::Null),
    ("reverse_temporal_transformer_layers_per_block", Fixed::Null),
    ("reverse_transformer_layers_per_block", Fixed::Null),
    ("temporal_transformer_layers_per_block", Fixed::Number(1.0)),
    ("temporal_transformer_layers_per_mid_block", Fixed::Number(1.0)),
    ("transformer_layers_per_block", Fixed::Number(1.0)),
    ("transformer_layers_per_mid_block", Fixed::NullOrNumber(1.0)),
];

const OF_ADAPTER: [(&str, Fixed); 7] = [
    ("conv_in_channels", Fixed::Null),
    ("motion_activation_fn", Fixed::Text("geglu")),
    ("motion_attention_bias", Fixed::False),
    ("motion_cross_attention_dim", Fixed::Null),
    ("motion_mid_block_layers_per_block", Fixed::Number(1.0)),
    ("motion_transformer_layers_per_block", Fixed::Number(1.0)),
    ("motion_transformer_layers_per_mid_block", Fixed::Number(1.0)),
];

impl UNetMotionConfig {
    /// What the net is built from.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn shape(&self) -> Result<UNetShape, ConfigError> {
        check_class("unet", &self.class_name, "UNetMotionModel")?;
        check_fixed("unet", &self.others, &OF_UNET_MOTION)?;
        let motion = MotionModules {
            heads: self.motion_num_attention_heads,
            max_frames: self.motion_max_seq_length,
            in_middle: self.use_motion_mid_block,
        };
        let spatial = &self.spatial;
        let text = spatial.cross_attention_dim.unwrap_or(1280);
        spatial.shape(text, spatial.num_attention_heads.unwrap_or(8), motion)
    }
}

impl UNet2DConfig {
    /// What the net is built from, with the motion modules of an adapter.
    ///
    /// # Errors
    /// [`Error::Config`] names the first key whose value this program cannot run; [`Error::Mismatch`] where the adapter is
    /// for another net.
    pub fn shape_with(&self, adapter: &MotionAdapterConfig) -> Result<UNetShape, Error> {
        check_class("unet", &self.class_name, "UNet2DConditionModel")?;
        check_fixed("unet", &self.others, &OF_UNET_2D)?;
        check_class("motion_adapter", &adapter.class_name, "MotionAdapter")?;
        check_fixed("motion_adapter", &adapter.others, &OF_ADAPTER)?;
        count("motion_adapter", "motion_num_attention_heads", adapter.motion_num_attention_heads)?;
        count("motion_adapter", "motion_max_seq_length", adapter.motion_max_seq_length)?;
        let spatial = &self.spatial;
        if adapter.block_out_channels != spatial.block_out_channels {
            let [its, own] = [&adapter.block_out_channels, &spatial.block_out_channels]
                .map(|channels| printable(&format!("{channels:?}")));
            return Err(Error::Mismatch(format!(
                "the motion adapter is for a UNet of block_out_channels {its}, the checkpoint's has {own}"
            )));
        }
        if adapter.motion_layers_per_block != spatial.layers_per_block {
            return Err(Error::Mismatch(format!(
                "the motion adapter is for a UNet of {} layers per block, the checkpoint's has {}",
                adapter.motion_layers_per_block, spatial.layers_per_block
            )));
        }
        let motion = MotionModules {
            heads: adapter.motion_num_attention_heads,
            max_frames: adapter.motion_max_seq_length,
            in_middle: adapter.use_motion_mid_block,
        };
        count("unet", "attention_head_dim", self.attention_head_dim)?;
        let heads = spatial.num_attention_heads.unwrap_or(self.attention_head_dim);
        if let Some(least) = adapter.block_out_channels.iter().min().filter(|least| **least < motion.heads) {
            let expected = format!("at most the {least} channels of a level");
            let key = "motion_num_attention_heads";
            return Err(ConfigError::new("motion_adapter", key, motion.heads, expected).into());
        }
        Ok(spatial.shape(spatial.cross_attention_dim.unwrap_or(1280), heads, motion)?)
    }
}

impl SpatialConfig {
    fn shape(&self, text: i64, heads: i64, motion: MotionModules) -> Result<UNetShape, ConfigError> {
        // Blocks without attention have this padding whatever the config says.
        if self.downsample_padding != 1 {
            return Err(ConfigError::new("unet", "downsample_padding", self.downsample_padding, "1"));
        }
        UNetShape {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            block_out_channels: self.block_out_channels.clone(),
            down_attends: attends(&self.down_block_types, &MotionBlockType::CrossAttnDownBlockMotion),
            up_attends: attends(&self.up_block_types, &MotionBlockType::CrossAttnDownBlockMotion),
            layers_per_block: self.layers_per_block,
            downsample_padding: self.downsample_padding,
            mid_block_scale_factor: self.mid_block_scale_factor,
            act_fn: self.act_fn,
            norm_num_groups: self.norm_num_groups,
            norm_eps: self.norm_eps,
            cross_attention_dim: text,
            heads: Heads::Count(heads),
            projection: if self.use_linear_projection { Projection::Linear } else { Projection::Convolution },
            temporal: Temporal::MotionModules(motion),
            time_cond_proj_dim: self.time_cond_proj_dim,
        }
        .checked()
    }
}

fn check_fixed(
    component: &'static str,
    found: &Map<String, Value>,
    fixed: &[(&str, Fixed)],
) -> Result<(), ConfigError> {
    for (key, fixed) in fixed {
        if let Some(value) = found.get(*key).filter(|value| !fixed.allows(value)) {
            return Err(ConfigError::new(component, *key, format_args!("{value}"), fixed.in_words()));
        }
    }
    Ok(())
}

impl Fixed {
    fn allows(&self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            // A `null` is Python's `None`, which is as false.
            Self::False => matches!(value, Value::Bool(false) | Value::Null),
            Self::True => *value == Value::Bool(true),
            Self::Text(text) => value.as_str() == Some(text),
            Self::Number(number) => match value {
                Value::Array(values) => values.iter().all(|value| value.as_f64() == Some(*number)),
                value => value.as_f64() == Some(*number),
            },
            Self::NullOrNumber(number) => value.is_null() || Self::Number(*number).allows(value),
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::False => "false".to_owned(),
            Self::True => "true".to_owned(),
            Self::Text(text) => format!("{text:?}"),
            Self::Number(number) => format!("{number}"),
            Self::NullOrNumber(number) => format!("null or {number}"),
        }
    }
}

/// One number, or a list with the same for every level.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of the same one for every level")]
enum Numbers {
    One(i64),
    Each(Vec<i64>),
}

impl Numbers {
    fn one<E: serde::de::Error>(self) -> Result<i64, E> {
        match self {
            Self::One(number) => Ok(number),
            Self::Each(numbers) => match numbers.as_slice() {
                [first, others @ ..] if others.iter().all(|number| number == first) => Ok(*first),
                numbers => {
                    let found = printable(&format!("{numbers:?}"));
                    Err(E::custom(format!("expected the same number for every level, found {found}")))
                }
            },
        }
    }
}

fn one_for_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Numbers::deserialize(deserializer)?.one()
}

fn some_for_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::<Numbers>::deserialize(deserializer)?.map(Numbers::one).transpose()
}
