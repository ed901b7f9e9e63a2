//! `AutoencoderKL`: frames to latents and back, every frame by itself.
//!
//! "High-Resolution Image Synthesis with Latent Diffusion Models" (<https://arxiv.org/abs/2112.10752>).

use serde::Deserialize;
use tch::Tensor;

use super::attention::scaled_dot_product_attention;
use super::config::{ConfigError, count, divides};
use super::layers::{Activation, Conv2d, GroupNorm, Linear};
use super::resnet::{Downsample2D, ResnetBlock2D, ResnetOptions, Upsample2D};
use crate::checkpoint::Loader;

/// Frames that go through the VAE at once: bounds the memory and does not change the result.
pub const FRAMES_AT_ONCE: i64 = 4;

/// The settings of diffusers' `AutoencoderKL` that change the arithmetic; the defaults are diffusers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Must be `AutoencoderKL`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Colours that come in: 3.
    pub in_channels: i64,
    /// Colours that go out: 3.
    pub out_channels: i64,
    /// All `DownEncoderBlock2D`.
    pub down_block_types: Vec<String>,
    /// All `UpDecoderBlock2D`.
    pub up_block_types: Vec<String>,
    /// Channels of each level, from fine to coarse.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks of a level in the encoder; one more in the decoder.
    pub layers_per_block: i64,
    /// Activation of the residual blocks.
    pub act_fn: Activation,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Groups of every group norm.
    pub norm_num_groups: i64,
    /// The latents that the UNet sees are the posterior's mean times this.
    pub scaling_factor: f64,
    /// Must be absent.
    pub shift_factor: Option<f64>,
    /// Must be absent.
    pub latents_mean: Option<Vec<f64>>,
    /// Must be absent.
    pub latents_std: Option<Vec<f64>>,
    /// Whether a pointwise convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a pointwise convolution goes before the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle has an attention.
    pub mid_block_add_attention: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            class_name: "AutoencoderKL".into(),
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".into()],
            up_block_types: vec!["UpDecoderBlock2D".into()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl VaeConfig {
    /// Checks that the net can be built.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: &dyn std::fmt::Debug, expected: &str| {
            ConfigError::new("vae", key, found, expected)
        };
        if self.class_name != "AutoencoderKL" {
            return Err(wrong("_class_name", &self.class_name, "AutoencoderKL"));
        }
        let levels = self.block_out_channels.len();
        if !(1..=16).contains(&levels) {
            return Err(wrong("block_out_channels", &self.block_out_channels, "1 to 16 levels"));
        }
        let all = |types: &[String], name: &str| types.len() == levels && types.iter().all(|t| t == name);
        if !all(&self.down_block_types, "DownEncoderBlock2D") {
            return Err(wrong("down_block_types", &self.down_block_types, "one DownEncoderBlock2D a level"));
        }
        if !all(&self.up_block_types, "UpDecoderBlock2D") {
            return Err(wrong("up_block_types", &self.up_block_types, "one UpDecoderBlock2D a level"));
        }
        if self.in_channels != 3 || self.out_channels != 3 {
            return Err(wrong(
                "in_channels, out_channels",
                &(self.in_channels, self.out_channels),
                "3 and 3",
            ));
        }
        if self.shift_factor.is_some_and(|shift| shift != 0.0) {
            return Err(wrong("shift_factor", &self.shift_factor, "null"));
        }
        if self.latents_mean.is_some() || self.latents_std.is_some() {
            return Err(wrong("latents_mean, latents_std", &"numbers", "null"));
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.0) {
            return Err(wrong("scaling_factor", &self.scaling_factor, "a positive number"));
        }
        for (key, value) in [
            ("layers_per_block", self.layers_per_block),
            ("latent_channels", self.latent_channels),
            ("norm_num_groups", self.norm_num_groups),
        ] {
            count("vae", key, value)?;
        }
        if self.layers_per_block > 64 {
            return Err(wrong("layers_per_block", &self.layers_per_block, "1 to 64"));
        }
        for channels in &self.block_out_channels {
            count("vae", "block_out_channels", *channels)?;
            divides("vae", "norm_num_groups", self.norm_num_groups, *channels)?;
        }
        Ok(())
    }

    /// How many pixels a latent spans in each direction.
    pub fn downscale(&self) -> i64 {
        1 << (self.block_out_channels.len() - 1)
    }

    fn resnet_options(&self) -> ResnetOptions {
        ResnetOptions {
            groups: self.norm_num_groups,
            epsilon: 1e-6,
            activation: self.act_fn,
            time_channels: None,
            output_scale: 1.0,
        }
    }
}

/// One-head attention over the places of a frame.
#[derive(Debug)]
struct MidAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl MidAttention {
    fn new(weights: &Loader, channels: i64, groups: i64) -> Self {
        let linear = |name: &str| Linear::new(&weights.sub(name), channels, channels);
        Self {
            group_norm: GroupNorm::new(&weights.sub("group_norm"), groups, channels, 1e-6),
            to_q: linear("to_q"),
            to_k: linear("to_k"),
            to_v: linear("to_v"),
            to_out: linear("to_out.0"),
        }
    }

    /// [images, channels, height, width], same shape out
    fn forward(&self, x: &Tensor) -> Tensor {
        let hidden = self.group_norm.forward(x).flatten(2, 3).transpose(1, 2);
        let head = |layer: &Linear| layer.forward(&hidden).unsqueeze(1);
        let attended = scaled_dot_product_attention(&head(&self.to_q), &head(&self.to_k), &head(&self.to_v));
        self.to_out.forward(&attended.squeeze_dim(1)).transpose(1, 2).reshape(x.size()) + x
    }
}

/// Residual block, attention, residual block at the coarsest level.
#[derive(Debug)]
struct MidBlock {
    first: ResnetBlock2D,
    attention: Option<MidAttention>,
    second: ResnetBlock2D,
}

impl MidBlock {
    fn new(weights: &Loader, channels: i64, config: &VaeConfig) -> Self {
        let resnet = |index: i64| {
            ResnetBlock2D::new(
                &weights.sub("resnets").sub(index),
                channels,
                channels,
                config.resnet_options(),
            )
        };
        Self {
            first: resnet(0),
            attention: config
                .mid_block_add_attention
                .then(|| MidAttention::new(&weights.sub("attentions.0"), channels, config.norm_num_groups)),
            second: resnet(1),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = self.first.forward(x, None);
        if let Some(attention) = &self.attention {
            x = attention.forward(&x);
        }
        self.second.forward(&x, None)
    }
}

fn level_resnets(
    weights: &Loader,
    count: i64,
    input: i64,
    output: i64,
    config: &VaeConfig,
) -> Vec<ResnetBlock2D> {
    let resnet = |index: i64| {
        let input = if index == 0 { input } else { output };
        ResnetBlock2D::new(&weights.sub("resnets").sub(index), input, output, config.resnet_options())
    };
    (0..count).map(resnet).collect()
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<(Vec<ResnetBlock2D>, Option<Downsample2D>)>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(weights: &Loader, config: &VaeConfig) -> Self {
        let channels = &config.block_out_channels;
        let coarsest = channels[channels.len() - 1];
        let down_block = |level: usize| {
            let weights = weights.sub("down_blocks").sub(level);
            let (input, output) = (channels[level.saturating_sub(1)], channels[level]);
            let resnets = level_resnets(&weights, config.layers_per_block, input, output, config);
            let downsampler = (level + 1 < channels.len())
                .then(|| Downsample2D::new(&weights.sub("downsamplers.0"), output, 0));
            (resnets, downsampler)
        };
        Self {
            conv_in: Conv2d::same(&weights.sub("conv_in"), config.in_channels, channels[0]),
            down_blocks: (0..channels.len()).map(down_block).collect(),
            mid_block: MidBlock::new(&weights.sub("mid_block"), coarsest, config),
            conv_norm_out: GroupNorm::new(
                &weights.sub("conv_norm_out"),
                config.norm_num_groups,
                coarsest,
                1e-6,
            ),
            conv_out: Conv2d::same(&weights.sub("conv_out"), coarsest, 2 * config.latent_channels),
        }
    }

    fn forward(&self, frames: &Tensor) -> Tensor {
        let mut x = self.conv_in.forward(frames);
        for (resnets, downsampler) in &self.down_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward(&x, None));
            if let Some(downsampler) = downsampler {
                x = downsampler.forward(&x);
            }
        }
        let x = self.mid_block.forward(&x);
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x))
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<(Vec<ResnetBlock2D>, Option<Upsample2D>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(weights: &Loader, config: &VaeConfig) -> Self {
        let channels: Vec<i64> = config.block_out_channels.iter().rev().copied().collect();
        let finest = channels[channels.len() - 1];
        let up_block = |index: usize| {
            let weights = weights.sub("up_blocks").sub(index);
            let (input, output) = (channels[index.saturating_sub(1)], channels[index]);
            let resnets = level_resnets(&weights, config.layers_per_block + 1, input, output, config);
            let upsampler =
                (index + 1 < channels.len()).then(|| Upsample2D::new(&weights.sub("upsamplers.0"), output));
            (resnets, upsampler)
        };
        Self {
            conv_in: Conv2d::same(&weights.sub("conv_in"), config.latent_channels, channels[0]),
            mid_block: MidBlock::new(&weights.sub("mid_block"), channels[0], config),
            up_blocks: (0..channels.len()).map(up_block).collect(),
            conv_norm_out: GroupNorm::new(
                &weights.sub("conv_norm_out"),
                config.norm_num_groups,
                finest,
                1e-6,
            ),
            conv_out: Conv2d::same(&weights.sub("conv_out"), finest, config.out_channels),
        }
    }

    fn forward(&self, latents: &Tensor) -> Tensor {
        let mut x = self.mid_block.forward(&self.conv_in.forward(latents));
        for (resnets, upsampler) in &self.up_blocks {
            x = resnets.iter().fold(x, |x, resnet| resnet.forward(&x, None));
            if let Some(upsampler) = upsampler {
                x = upsampler.forward(&x, None);
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x))
    }
}

/// The VAE, ready to run.
#[derive(Debug)]
pub struct AutoencoderKl {
    config: VaeConfig,
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
}

impl AutoencoderKl {
    /// Builds the net that `config` describes from the weights of a checkpoint's `vae` folder.
    ///
    /// # Errors
    /// [`ConfigError`] where the config is one that cannot be run. Wrong weights are the loader's to report.
    pub fn new(weights: &Loader, config: VaeConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let pointwise = |name: &str, channels: i64| Conv2d::pointwise(&weights.sub(name), channels, channels);
        let latent = config.latent_channels;
        Ok(Self {
            encoder: Encoder::new(&weights.sub("encoder"), &config),
            quant_conv: config.use_quant_conv.then(|| pointwise("quant_conv", 2 * latent)),
            post_quant_conv: config.use_post_quant_conv.then(|| pointwise("post_quant_conv", latent)),
            decoder: Decoder::new(&weights.sub("decoder"), &config),
            config,
        })
    }

    /// The config that the net was built from.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The mean of the posterior, not yet scaled.
    ///
    /// [frames, 3, height, width] in -1..1 -> [frames, latent channels, height / downscale, width / downscale]
    pub fn encode(&self, frames: &Tensor) -> Tensor {
        in_parts(frames, |part| {
            let moments = self.encoder.forward(part);
            let moments = match &self.quant_conv {
                Some(conv) => conv.forward(&moments),
                None => moments,
            };
            moments.narrow(1, 0, self.config.latent_channels)
        })
    }

    /// Frames of latents that are no longer scaled.
    ///
    /// [frames, latent channels, h, w] -> [frames, 3, h·downscale, w·downscale], about -1..1
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        in_parts(latents, |part| match &self.post_quant_conv {
            Some(conv) => self.decoder.forward(&conv.forward(part)),
            None => self.decoder.forward(part),
        })
    }
}

/// Applies `f` to a few frames at a time.
fn in_parts(frames: &Tensor, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    let parts: Vec<Tensor> = frames.split(FRAMES_AT_ONCE, 0).iter().map(f).collect();
    Tensor::cat(&parts, 0)
}
