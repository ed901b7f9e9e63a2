//! Pictures as CLIP wants them, by the arithmetic of transformers' `CLIPImageProcessor` on Pillow.
//!
//! Pillow's resampling (`Resample.c`): each pass rounds to bytes, the horizontal one comes first, and the filter is as
//! wide as the picture shrinks. The weights are whole numbers of 22 bits, so that the result is the same bit for bit; but
//! Pillow 13 begins with the vertical pass where a picture is more than twice as tall as wide.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tch::Tensor;

use motionflow::nets::config::ConfigError;

/// How this config is called in messages.
const COMPONENT: &str = "preprocessor";

/// `preprocessor_config.json`, as far as it changes the arithmetic; the defaults are transformers' own.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "it mirrors the file's keys")]
pub struct PreprocessorConfig {
    do_resize: bool,
    size: Size,
    resample: i64,
    do_center_crop: bool,
    crop_size: Size,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f64; 3],
    image_std: [f64; 3],
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Size::Side(224),
            resample: BICUBIC,
            do_center_crop: true,
            crop_size: Size::Side(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            image_std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
        }
    }
}

/// Pillow's number of the cubic filter.
const BICUBIC: i64 = 3;

/// A size in pixels, as older and newer versions write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(i64),
    Shortest { shortest_edge: i64 },
    Both { height: i64, width: i64 },
    Other(IgnoredAny),
}

impl Size {
    /// The one length that it has.
    fn side(&self) -> Option<i64> {
        match self {
            Self::Side(side) | Self::Shortest { shortest_edge: side } => Some(*side),
            Self::Both { height, width } if height == width => Some(*height),
            Self::Both { .. } | Self::Other(_) => None,
        }
    }
}

/// Brings pictures into the form that a CLIP takes.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    /// Length of the shorter side before the crop, in pixels.
    shorter: usize,
    /// Side of what is cut out of the middle, in pixels.
    side: usize,
    scale: f64,
    mean: [f64; 3],
    std: [f64; 3],
}

impl Preprocessor {
    /// As `config` says, for a net that takes pictures of this side.
    ///
    /// # Errors
    /// [`ConfigError`] for a config that asks for something else than what CLIP's do.
    pub fn new(config: &PreprocessorConfig, image_size: i64) -> Result<Self, ConfigError> {
        for (key, value) in [
            ("do_resize", config.do_resize),
            ("do_center_crop", config.do_center_crop),
            ("do_rescale", config.do_rescale),
            ("do_normalize", config.do_normalize),
        ] {
            if !value {
                return Err(ConfigError::new(COMPONENT, key, value, "true"));
            }
        }
        if config.resample != BICUBIC {
            return Err(ConfigError::new(COMPONENT, "resample", config.resample, "3, bicubic"));
        }
        let both = matches!(config.size, Size::Both { .. });
        let Some(shorter) = config.size.side().filter(|side| !both && (image_size..=1 << 14).contains(side))
        else {
            let expected = format!("a shortest edge of at least the model's image_size, {image_size}");
            return Err(ConfigError::new(COMPONENT, "size", &config.size, expected));
        };
        if config.crop_size.side() != Some(image_size) {
            let expected = format!("the model's image_size, {image_size}");
            return Err(ConfigError::new(COMPONENT, "crop_size", &config.crop_size, expected));
        }
        if !config.image_std.iter().all(|std| *std > 0.0) {
            return Err(ConfigError::new(COMPONENT, "image_std", config.image_std, "numbers over 0"));
        }
        Ok(Self {
            shorter: shorter as usize,
            side: image_size as usize,
            scale: config.rescale_factor,
            mean: config.image_mean,
            std: config.image_std,
        })
    }

    /// A picture of `width`×`height` pixels, at least 1 each, in rows of RGB bytes -> [3, side, side]
    ///
    /// # Panics
    /// When there are not as many bytes as the size says.
    pub fn picture(&self, rgb: &[u8], width: usize, height: usize) -> Tensor {
        assert!(width * height * 3 == rgb.len() && !rgb.is_empty(), "{} bytes, {width}x{height}", rgb.len());
        let long = |long: usize, short: usize| self.shorter * long / short;
        let (new_width, new_height) = if width <= height {
            (self.shorter, long(height, width))
        } else {
            (long(width, height), self.shorter)
        };
        let middle = |length: usize| {
            let first = (length - self.side) / 2;
            first..first + self.side
        };
        let columns = Weights::new(width, new_width, middle(new_width));
        let rows = Weights::new(height, new_height, middle(new_height));
        let cropped = rows.apply_down(&columns.apply_along(rgb, width), self.side * 3);
        let mut values = Vec::with_capacity(cropped.len());
        for channel in 0..3 {
            let value = |byte: u8| (f64::from(byte) * self.scale - self.mean[channel]) / self.std[channel];
            values.extend(cropped.iter().skip(channel).step_by(3).map(|byte| value(*byte) as f32));
        }
        Tensor::from_slice(&values).view([3, self.side as i64, self.side as i64])
    }

    /// Pictures of one size, at least one -> [pictures, 3, side, side]
    ///
    /// # Panics
    /// As [`Preprocessor::picture`], and when there is none.
    pub fn pictures(&self, frames: &[&[u8]], width: usize, height: usize) -> Tensor {
        let pictures: Vec<Tensor> = frames.iter().map(|frame| self.picture(frame, width, height)).collect();
        Tensor::stack(&pictures, 0)
    }
}

/// Bits behind the point of a weight.
const PRECISION: u32 = 32 - 8 - 2;

/// The sum of bytes by their weights, rounded to a byte.
fn weighted(taps: &[i32], byte: impl Fn(usize) -> u8) -> u8 {
    let half = 1_i64 << (PRECISION - 1);
    let sum: i64 =
        taps.iter().enumerate().map(|(tap, weight)| i64::from(*weight) * i64::from(byte(tap))).sum();
    ((half + sum) >> PRECISION).clamp(0, 255) as u8
}

/// Of each kept pixel of a resized row: its first source pixel, and the weights from there on.
struct Weights(Vec<(usize, Vec<i32>)>);

impl Weights {
    /// A row of `from` pixels brought to `to` pixels, `kept` of them.
    fn new(from: usize, to: usize, kept: Range<usize>) -> Self {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = 2.0 * filter_scale;
        let pixel = |x: usize| {
            let center = (x as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let raw = |tap: usize| cubic((tap as f64 - center + 0.5) / filter_scale);
            let weights: Vec<f64> = (first..end).map(raw).collect();
            let sum: f64 = weights.iter().sum();
            let whole = |weight: &f64| (weight / sum * f64::from(1 << PRECISION)).round() as i32;
            (first, weights.iter().map(whole).collect())
        };
        Self(kept.map(pixel).collect())
    }

    /// Rows of `width` RGB pixels -> rows of the kept pixels
    fn apply_along(&self, rgb: &[u8], width: usize) -> Vec<u8> {
        let rows = rgb.chunks_exact(width * 3);
        let along = rows.flat_map(|row| {
            self.0.iter().flat_map(move |(first, taps)| {
                (0..3).map(move |channel| weighted(taps, |tap| row[(first + tap) * 3 + channel]))
            })
        });
        along.collect()
    }

    /// Rows of `row` bytes -> the kept rows
    fn apply_down(&self, bytes: &[u8], row: usize) -> Vec<u8> {
        let down = self.0.iter().flat_map(|(first, taps)| {
            (0..row).map(move |at| weighted(taps, |tap| bytes[(first + tap) * row + at]))
        });
        down.collect()
    }
}

/// Keys' cubic with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> PreprocessorConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn old_and_new_ways_to_write_a_size_are_read() {
        for json in [
            r#"{"size": 64, "crop_size": 64}"#,
            r#"{"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}"#,
        ] {
            assert_eq!(Preprocessor::new(&config(json), 64).unwrap().shorter, 64);
        }
    }

    #[test]
    fn other_ways_are_refused() {
        for (json, key) in [
            (r#"{"do_resize": false}"#, "do_resize"),
            (r#"{"resample": 2}"#, "resample"),
            (r#"{"size": {"height": 224, "width": 224}}"#, "size"),
            (r#"{"size": {"longest_edge": 224}}"#, "size"),
            (r#"{"size": 100}"#, "size"),
            (r#"{"crop_size": 200}"#, "crop_size"),
            (r#"{"image_std": [0.5, 0, 0.5]}"#, "image_std"),
        ] {
            let error = Preprocessor::new(&config(json), 224).unwrap_err();
            assert_eq!(error.key, key, "{error}");
            assert!(error.to_string().starts_with("preprocessor_config.json: "), "{error}");
        }
    }

    #[test]
    fn an_even_picture_stays_even() {
        let preprocessor = Preprocessor::new(&config(r#"{"size": 8, "crop_size": 8}"#), 8).unwrap();
        for (width, height) in [(8, 8), (3, 5), (100, 30), (1, 1), (7, 300)] {
            let picture = preprocessor.picture(&vec![51; width * height * 3], width, height);
            assert_eq!(picture.size(), [3, 8, 8]);
            let expected = (0.2 - 0.481_454_66) / 0.268_629_54;
            let error = f64::try_from((picture.select(0, 0) - expected).abs().max()).unwrap();
            assert!(error < 1e-6, "{width}x{height}: {error}");
        }
    }
}
