//! CLIP: texts and pictures as vectors that are near each other where they mean the same.
//!
//! "Learning Transferable Visual Models From Natural Language Supervision" (<https://arxiv.org/abs/2103.00020>).

use std::path::Path;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::clip::pictures::{Preprocessor, PreprocessorConfig};
use motionflow::checkpoint::{ClipCheckpoint, Loader};
use motionflow::error::Error;
use motionflow::nets::clip_text::{ClipText, ClipTextConfig};
use motionflow::nets::clip_vision::{ClipVision, ClipVisionConfig};
use motionflow::nets::config::count;
use motionflow::nets::layers::Linear;
use motionflow::tokenizer::Tokenizer;

/// How many pictures are encoded at once.
const BATCH: usize = 16;

/// `config.json` of a `CLIPModel`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct ClipConfig {
    text_config: TextConfig,
    vision_config: ClipVisionConfig,
    /// Features of an embedding.
    projection_dim: i64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            text_config: TextConfig::default(),
            vision_config: ClipVisionConfig::default(),
            projection_dim: 512,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct TextConfig {
    #[serde(flatten)]
    net: ClipTextConfig,
    /// The token that ends a text; its features are the text's.
    eos_token_id: i64,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { net: ClipTextConfig::default(), eos_token_id: 49407 }
    }
}

/// What configs say that were written before transformers 4.31, whatever the token: there it is the largest id.
const LEGACY_EOS: i64 = 2;

/// `CLIPModel`: both towers, and their projections into one space.
#[derive(Debug)]
pub struct ClipModel {
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    text_model: ClipText,
    vision_model: ClipVision,
    text_projection: Linear,
    visual_projection: Linear,
    eos_token_id: i64,
    device: Device,
    kind: Kind,
}

impl ClipModel {
    /// Loads a model in the Hugging Face layout (see [`ClipCheckpoint`]) onto a device, computing in `kind`.
    ///
    /// # Errors
    /// Says which file or config is missing or wrong, and lists all tensors that are.
    pub fn load(folder: &Path, device: Device, kind: Kind) -> Result<Self, Error> {
        let _no_gradients = tch::no_grad_guard();
        let checkpoint = ClipCheckpoint::open(folder)?;
        let config: ClipConfig = checkpoint.config()?;
        let preprocessor: PreprocessorConfig = checkpoint.preprocessor()?;
        count("config", "projection_dim", config.projection_dim)?;
        config.text_config.net.check("text_config")?;
        let (text, vision) = (config.text_config, config.vision_config);
        let preprocessor = Preprocessor::new(&preprocessor, vision.image_size)?;
        let tokenizer = checkpoint.tokenizer(text.net.max_position_embeddings)?;
        tokenizer.check_fit(&text.net)?;

        let weights = checkpoint.weights()?;
        let loader = Loader::new(&weights, "CLIP model", device, kind);
        let projection =
            |name: &str, input| Linear::without_bias(&loader.sub(name), input, config.projection_dim);
        let text_projection = projection("text_projection", text.net.hidden_size);
        let visual_projection = projection("visual_projection", vision.hidden_size);
        // The temperature of the training; a cosine does without.
        let _ = loader.tensor("logit_scale", &[]);
        let model = Self {
            tokenizer,
            preprocessor,
            text_model: ClipText::new(&loader.sub("text_model"), text.net)?,
            vision_model: ClipVision::new(&loader.sub("vision_model"), vision)?,
            text_projection,
            visual_projection,
            eos_token_id: text.eos_token_id,
            device,
            kind,
        };
        loader.finish()?;
        Ok(model)
    }

    /// The embedding of a text, of length 1: `[features]`, as floats on the CPU. What is longer than the model takes is left
    /// out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the text cannot be encoded.
    pub fn embed_text(&self, text: &str) -> Result<Tensor, Error> {
        let _no_gradients = tch::no_grad_guard();
        let tokens = self.tokenizer.encode(text)?;
        // A token sees none behind it: the padding changes nothing.
        let ids = &tokens.ids[..tokens.length];
        let end = match self.eos_token_id {
            LEGACY_EOS => *ids.iter().max().unwrap_or(&0),
            id => id,
        };
        let place = ids.iter().position(|id| *id == end).unwrap_or(0);
        let features = self.text_model.forward(ids).select(1, place as i64);
        Ok(normalised(&self.text_projection.forward(&features)).squeeze_dim(0))
    }

    /// The embeddings of pictures of `width`×`height` pixels, each of length 1: rows of RGB bytes -> [pictures, features],
    /// as floats on the CPU.
    ///
    /// # Panics
    /// When there is no picture, or one has not as many bytes as the size says.
    pub fn embed_images(&self, frames: &[&[u8]], width: usize, height: usize) -> Tensor {
        let _no_gradients = tch::no_grad_guard();
        let embedded = frames.chunks(BATCH).map(|frames| {
            let pictures = self.preprocessor.pictures(frames, width, height);
            let features = self.vision_model.forward(&pictures.to_device(self.device).to_kind(self.kind));
            normalised(&self.visual_projection.forward(&features))
        });
        let embedded: Vec<Tensor> = embedded.collect();
        Tensor::cat(&embedded, 0)
    }

    /// What the pictures become before they are encoded: [pictures, 3, side, side]
    ///
    /// # Panics
    /// As [`ClipModel::embed_images`].
    pub fn preprocess(&self, frames: &[&[u8]], width: usize, height: usize) -> Tensor {
        self.preprocessor.pictures(frames, width, height)
    }
}

/// [rows, features] -> the same of length 1, as floats on the CPU
fn normalised(features: &Tensor) -> Tensor {
    let features = features.to_device(Device::Cpu).to_kind(Kind::Float);
    let length = features.square().sum_dim_intlist(-1, true, Kind::Float).sqrt();
    features / length
}
