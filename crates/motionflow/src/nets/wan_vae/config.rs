//! The settings of diffusers' `AutoencoderKLWan`.

use serde::Deserialize;

use crate::nets::config::{ConfigError, count};

/// Times that a clip may be halved on its way to the latents: diffusers' encoder takes four frames at a time.
const MOST_HALVINGS: usize = 2;

/// The settings of diffusers' `AutoencoderKLWan` that change the arithmetic; the defaults are diffusers' own, which are
/// those of Wan 2.1.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct WanVaeConfig {
    /// Must be `AutoencoderKLWan`.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Channels that the factors of [`WanVaeConfig::dim_mult`] multiply.
    pub base_dim: i64,
    /// Must be null or [`WanVaeConfig::base_dim`].
    pub decoder_base_dim: Option<i64>,
    /// Channels of the latents.
    pub z_dim: i64,
    /// Channels of each level, from fine to coarse, in [`WanVaeConfig::base_dim`].
    pub dim_mult: Vec<i64>,
    /// Residual blocks of a level in the encoder; one more in the decoder.
    pub num_res_blocks: i64,
    /// Must be empty: attention is in the middle alone.
    pub attn_scales: Vec<f64>,
    /// Whether the encoder halves the clip after a level, for every level but the coarsest; so spelt in the files.
    pub temperal_downsample: Vec<bool>,
    /// Mean of each channel of the latents.
    pub latents_mean: Vec<f64>,
    /// Standard deviation of each channel of the latents.
    pub latents_std: Vec<f64>,
    /// Must be false; Wan 2.2's 5B model has it.
    pub is_residual: bool,
    /// Colours that come in: 3.
    pub in_channels: i64,
    /// Colours that go out: 3.
    pub out_channels: i64,
    /// Must be null; Wan 2.2's 5B model has one.
    pub patch_size: Option<i64>,
    /// Frames that a latent frame spans, or null: as [`WanVaeConfig::temperal_downsample`] has it.
    pub scale_factor_temporal: Option<i64>,
    /// Pixels that a latent spans in each direction, or null: as [`WanVaeConfig::dim_mult`] has it.
    pub scale_factor_spatial: Option<i64>,
    /// Must be true: frames are clamped to -1..1.
    pub clip_output: bool,
}

impl Default for WanVaeConfig {
    fn default() -> Self {
        Self {
            class_name: "AutoencoderKLWan".into(),
            base_dim: 96,
            decoder_base_dim: None,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temperal_downsample: vec![false, true, true],
            latents_mean: vec![
                -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
                -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
            ],
            latents_std: vec![
                2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652,
                1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
            ],
            is_residual: false,
            in_channels: 3,
            out_channels: 3,
            patch_size: None,
            scale_factor_temporal: None,
            scale_factor_spatial: None,
            clip_output: true,
        }
    }
}

impl WanVaeConfig {
    /// Checks that the net can be built.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.class_name != "AutoencoderKLWan" {
            return Err(wrong("_class_name", &self.class_name, "AutoencoderKLWan"));
        }
        if self.is_residual {
            return Err(wrong("is_residual", self.is_residual, "false"));
        }
        if self.patch_size.is_some() {
            return Err(wrong("patch_size", self.patch_size, "null"));
        }
        if !self.clip_output {
            return Err(wrong("clip_output", self.clip_output, "true"));
        }
        if !self.attn_scales.is_empty() {
            return Err(wrong("attn_scales", &self.attn_scales, "[]"));
        }
        for (key, colours) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            if colours != 3 {
                return Err(wrong(key, colours, "3"));
            }
        }
        for (key, value) in
            [("base_dim", self.base_dim), ("z_dim", self.z_dim), ("num_res_blocks", self.num_res_blocks)]
        {
            count("vae", key, value)?;
        }
        if self.num_res_blocks > 64 {
            return Err(wrong("num_res_blocks", self.num_res_blocks, "1 to 64"));
        }
        if self.decoder_base_dim.is_some_and(|channels| channels != self.base_dim) {
            return Err(wrong("decoder_base_dim", self.decoder_base_dim, "null"));
        }
        self.validate_levels()?;
        self.validate_statistics()
    }

    fn validate_levels(&self) -> Result<(), ConfigError> {
        let levels = self.dim_mult.len();
        if !(1..=16).contains(&levels) {
            return Err(wrong("dim_mult", &self.dim_mult, "1 to 16 levels"));
        }
        for &factor in &self.dim_mult {
            count("vae", "dim_mult", factor)?;
            count("vae", "dim_mult times base_dim", factor * self.base_dim)?;
        }
        if let Some(channels) = self.channels()[1..].iter().find(|&&channels| channels < 2) {
            return Err(wrong(
                "dim_mult times base_dim",
                channels,
                "2 or more where the decoder halves the channels",
            ));
        }
        let halvings = &self.temperal_downsample;
        if halvings.len() != levels - 1 {
            return Err(wrong("temperal_downsample", halvings, "one entry for every level but the last"));
        }
        if halvings.iter().filter(|&&halved| halved).count() > MOST_HALVINGS {
            return Err(wrong("temperal_downsample", halvings, "true at most twice"));
        }
        for (key, stated, actual) in [
            ("scale_factor_temporal", self.scale_factor_temporal, self.temporal_downscale()),
            ("scale_factor_spatial", self.scale_factor_spatial, self.downscale()),
        ] {
            if stated.is_some_and(|stated| stated != actual) {
                return Err(wrong(key, stated, &format!("{actual}, as its levels have it")));
            }
        }
        Ok(())
    }

    fn validate_statistics(&self) -> Result<(), ConfigError> {
        for (key, values) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            if values.len() as i64 != self.z_dim {
                return Err(wrong(key, values, &format!("{} numbers, as z_dim says", self.z_dim)));
            }
            if !values.iter().all(|value| value.abs() < 1e6) {
                return Err(wrong(key, values, "numbers below a million"));
            }
        }
        if self.latents_std.iter().any(|&deviation| deviation < 1e-6) {
            return Err(wrong("latents_std", &self.latents_std, "numbers above a millionth"));
        }
        Ok(())
    }

    /// Channels of each level, from fine to coarse.
    pub fn channels(&self) -> Vec<i64> {
        self.dim_mult.iter().map(|factor| factor * self.base_dim).collect()
    }

    /// How many pixels a latent spans in each direction.
    pub fn downscale(&self) -> i64 {
        1 << (self.dim_mult.len() - 1)
    }

    /// How many frames a latent frame spans; the first one spans the first frame alone.
    pub fn temporal_downscale(&self) -> i64 {
        1 << self.temperal_downsample.iter().filter(|&&halved| halved).count()
    }

    /// How many latent frames a clip of so many frames has; None where it cannot be that long: a clip has a first frame
    /// and any number of [`WanVaeConfig::temporal_downscale`] more.
    pub fn latent_frames(&self, frames: i64) -> Option<i64> {
        let scale = self.temporal_downscale();
        (frames >= 1 && (frames - 1) % scale == 0).then(|| 1 + (frames - 1) / scale)
    }

    /// How many frames so many latent frames stand for.
    pub fn frames(&self, latent_frames: i64) -> i64 {
        1 + (latent_frames - 1) * self.temporal_downscale()
    }
}

fn wrong(key: &str, found: impl std::fmt::Debug, expected: &str) -> ConfigError {
    ConfigError::new("vae", key, found, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_clips() {
        let config = WanVaeConfig::default();
        assert!(config.validate().is_ok());
        assert_eq!((config.downscale(), config.temporal_downscale()), (8, 4));
        let latent_frames = |frames| config.latent_frames(frames);
        assert_eq!([1, 5, 33, 81].map(latent_frames), [1, 2, 9, 21].map(Some));
        assert_eq!([-3, 0, 2, 4, 80].map(latent_frames), [None; 5]);
        assert_eq!([1, 2, 9, 21].map(|frames| config.frames(frames)), [1, 5, 33, 81]);
    }

    #[test]
    fn a_scale_that_is_stated_is_that_of_the_levels() {
        let of = |temporal, spatial| WanVaeConfig {
            scale_factor_temporal: temporal,
            scale_factor_spatial: spatial,
            ..WanVaeConfig::default()
        };
        assert!(of(Some(4), Some(8)).validate().is_ok());
        assert!(of(None, None).validate().is_ok());
        assert!(of(Some(8), None).validate().is_err());
        assert!(of(None, Some(16)).validate().is_err());
    }
}
