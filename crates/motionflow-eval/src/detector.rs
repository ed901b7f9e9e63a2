//! The referee of the demo world: a small convolutional net that says what is where in a frame.
//!
//! Trained and described in `tools/demo-world/`; `detector.py` there is the same net.

use std::path::Path;

use motionflow::checkpoint::{CheckpointError, Loader, Weights};
use motionflow::nets::layers::{Conv2d, GroupNorm};
use motionflow::small_file;
use motionflow_media::fit::Fit;
use motionflow_media::image::RgbImage;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::detections::Detections;
use crate::file_error::FileError;

/// Frames that go through the net together.
const BATCH: usize = 16;

const EPSILON: f64 = 1e-5;

/// Finds the subjects that it was trained on in frames.
#[derive(Debug)]
pub struct Detector {
    name: String,
    subjects: Vec<String>,
    image_size: u32,
    net: Net,
    device: Device,
}

/// Why the detector cannot be used, or cannot say anything about a clip.
#[derive(Debug, thiserror::Error)]
pub enum DetectorError {
    /// Its weights cannot be read.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// Its `config.json` cannot be used.
    #[error(transparent)]
    Config(#[from] FileError),
    /// A subject that it was not trained on.
    #[error("the detector {detector} does not know \"{subject}\"; of what it knows, the nearest are {}", nearest.join(", "))]
    UnknownSubject {
        /// The detector's name.
        detector: String,
        /// The subject.
        subject: String,
        /// The names that it knows which are most like it.
        nearest: Vec<String>,
    },
    /// Pictures of a shape that it was not trained on.
    #[error("the detector {detector} looks at square pictures, and these are {width}×{height}")]
    NotSquare {
        /// The detector's name.
        detector: String,
        /// Of the pictures.
        width: u32,
        /// Of the pictures.
        height: u32,
    },
    /// Its net gave values that are no numbers.
    #[error(
        "the detector {detector} gave values that are not finite: get it anew, or give another (--detector)"
    )]
    NotFinite {
        /// The detector's name.
        detector: String,
    },
}

#[derive(Deserialize)]
struct Config {
    image_size: u32,
    channels: Vec<i64>,
    norm_num_groups: i64,
    subjects: Vec<String>,
}

impl Config {
    fn read(path: &Path) -> Result<Self, FileError> {
        let text = small_file::read_text(path, small_file::CONFIG)
            .map_err(|error| FileError::new(path, format!("cannot be read: {error}")))?;
        let config: Self =
            serde_json::from_str(&text).map_err(|error| FileError::new(path, error.to_string()))?;
        config.check().map_err(|reason| FileError::new(path, reason))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), &'static str> {
        let groups = self.norm_num_groups;
        if !(1..=1024).contains(&groups) {
            return Err("norm_num_groups must be 1 to 1024");
        }
        if !(2..=8).contains(&self.channels.len())
            || self.channels.iter().any(|&c| !(1..=4096).contains(&c) || c % groups != 0)
        {
            return Err("channels must be 2 to 8 multiples of norm_num_groups, each at most 4096");
        }
        // Each level halves the size, the stem too.
        if !(1..=1024).contains(&self.image_size) || !self.image_size.is_multiple_of(1 << self.channels.len())
        {
            return Err("image_size must be at most 1024 and divide by 2 once for each of channels");
        }
        if self.subjects.is_empty() || self.subjects.len() > 4096 {
            return Err("subjects must be 1 to 4096 names");
        }
        Ok(())
    }
}

impl Detector {
    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// [`DetectorError::Config`] and [`DetectorError::Weights`].
    pub fn load(folder: &Path, device: Device) -> Result<Self, DetectorError> {
        let config = Config::read(&folder.join("config.json"))?;
        let weights = Weights::open(&folder.join("model.safetensors"))?;
        let loader = Loader::new(&weights, "detector", device, Kind::Float);
        let net = Net::new(&loader, &config);
        loader.finish()?;
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, subjects: config.subjects, image_size: config.image_size, net, device })
    }

    /// The name of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows, and columns, of its masks.
    pub fn grid(&self) -> usize {
        self.image_size as usize / 2
    }

    /// The class of a subject, from 1; class 0 is the scene.
    ///
    /// # Errors
    /// [`DetectorError::UnknownSubject`].
    pub fn class_of(&self, subject: &str) -> Result<usize, DetectorError> {
        let wanted = subject.trim().to_lowercase();
        if let Some(at) = self.subjects.iter().position(|known| *known == wanted) {
            return Ok(at + 1);
        }
        let mut nearest: Vec<_> =
            self.subjects.iter().map(|known| (strsim::jaro_winkler(&wanted, known), known)).collect();
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
        let nearest = nearest.into_iter().take(3).map(|(_, known)| known.clone()).collect();
        Err(DetectorError::UnknownSubject {
            detector: self.name.clone(),
            subject: subject.to_owned(),
            nearest,
        })
    }

    /// What is where in each frame. Square pictures of another size are brought to the net's.
    ///
    /// # Errors
    /// [`DetectorError::NotSquare`] and [`DetectorError::NotFinite`].
    pub fn look(&self, frames: &[RgbImage]) -> Result<Detections, DetectorError> {
        let mut seen = Detections::default();
        for part in frames.chunks(BATCH) {
            let pictures = part.iter().map(|frame| self.picture(frame)).collect::<Result<Vec<_>, _>>()?;
            let _no_gradients = tch::no_grad_guard();
            let logits = self.logits(&pictures);
            if logits.isfinite().all().int64_value(&[]) != 1 {
                return Err(DetectorError::NotFinite { detector: self.name.clone() });
            }
            seen.add(&logits.softmax(1, Kind::Float));
        }
        Ok(seen)
    }

    fn picture(&self, frame: &RgbImage) -> Result<RgbImage, DetectorError> {
        let (width, height) = frame.dimensions();
        if width != height {
            return Err(DetectorError::NotSquare { detector: self.name.clone(), width, height });
        }
        Ok(Fit::Stretch.apply(frame, self.image_size, self.image_size))
    }

    /// [frames, 1 + subjects, grid, grid]
    fn logits(&self, pictures: &[RgbImage]) -> Tensor {
        let side = i64::from(self.image_size);
        let bytes: Vec<u8> = pictures.iter().flat_map(|picture| picture.as_raw().iter().copied()).collect();
        let x = Tensor::from_slice(&bytes).view([-1, side, side, 3]).to_device(self.device);
        self.net.forward(&(x.to_kind(Kind::Float) / 127.5 - 1.0).permute([0, 3, 1, 2]).contiguous())
    }
}

/// A small U-Net: at half the picture's size in and out.
#[derive(Debug)]
struct Net {
    stem: Conv2d,
    down: Vec<Conv2d>,
    encoder: Vec<Block>,
    skip: Vec<Conv2d>,
    up: Vec<Conv2d>,
    decoder: Vec<Block>,
    norm: GroupNorm,
    head: Conv2d,
}

impl Net {
    fn new(weights: &Loader, config: &Config) -> Self {
        let (channels, groups) = (&config.channels, config.norm_num_groups);
        // The finest level of the decoder is as wide as the second, to have room for all classes.
        let mut wide = channels.clone();
        wide[0] = channels[1];
        let at = |name: &str, i: usize| weights.sub(name).sub(i);
        let last = channels.len() - 1;
        Self {
            stem: Conv2d::new(&weights.sub("stem"), 3, channels[0], 3, 2, 1),
            down: (0..last)
                .map(|i| Conv2d::new(&at("down", i), channels[i], channels[i + 1], 3, 2, 1))
                .collect(),
            encoder: (0..=last).map(|i| Block::new(&at("encoder", i), channels[i], groups)).collect(),
            skip: (0..last).map(|i| Conv2d::pointwise(&at("skip", i), channels[i], wide[i])).collect(),
            up: (0..last).map(|i| Conv2d::pointwise(&at("up", i), wide[i + 1], wide[i])).collect(),
            decoder: (0..last).map(|i| Block::new(&at("decoder", i), wide[i], groups)).collect(),
            norm: GroupNorm::new(&weights.sub("norm"), groups, wide[0], EPSILON),
            head: Conv2d::pointwise(&weights.sub("head"), wide[0], 1 + config.subjects.len() as i64),
        }
    }

    /// [frames, 3, size, size] in -1 to 1 -> [frames, classes, size / 2, size / 2]
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut x = self.encoder[0].forward(&self.stem.forward(x));
        let mut levels = Vec::new();
        for (down, block) in self.down.iter().zip(&self.encoder[1..]) {
            let coarser = block.forward(&down.forward(&x));
            levels.push(std::mem::replace(&mut x, coarser));
        }
        for (i, level) in levels.iter().enumerate().rev() {
            let up = self.up[i].forward(&x).upsample_nearest2d(&level.size()[2..], None, None);
            x = self.decoder[i].forward(&(up + self.skip[i].forward(level)));
        }
        self.head.forward(&self.norm.forward(&x).silu())
    }
}

/// A residual block: same size in and out.
#[derive(Debug)]
struct Block {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
}

impl Block {
    fn new(weights: &Loader, channels: i64, groups: i64) -> Self {
        Self {
            norm1: GroupNorm::new(&weights.sub("norm1"), groups, channels, EPSILON),
            conv1: Conv2d::same(&weights.sub("conv1"), channels, channels),
            norm2: GroupNorm::new(&weights.sub("norm2"), groups, channels, EPSILON),
            conv2: Conv2d::same(&weights.sub("conv2"), channels, channels),
        }
    }

    /// [frames, channels, height, width], same shape out
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.conv1.forward(&self.norm1.forward(x).silu());
        x + self.conv2.forward(&self.norm2.forward(&y).silu())
    }
}
