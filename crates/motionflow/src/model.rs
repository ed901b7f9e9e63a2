//! What the method needs of a text-to-video model, whatever its architecture.

use std::ops::ControlFlow;

use tch::{Device, Tensor};

use crate::clip::Clip;
use crate::error::Error;
use crate::latents::Latents;
use crate::nets::attention::AttentionObserver;
use crate::prompt::Prompt;
use crate::schedule::Schedule;

/// A prompt as the net sees it.
#[derive(Debug)]
pub struct EncodedPrompt {
    /// The text encoder's features, [1, tokens, features].
    pub features: Tensor,
    /// For each subject of the prompt the positions of its tokens.
    pub subjects: Vec<Vec<i64>>,
    /// What is odd about the prompt without being an error, in words for the user.
    pub warnings: Vec<String>,
}

/// The attentions that the method reads, by the names that the model gives them.
#[derive(Debug, Clone, Default)]
pub struct GuidanceLayers {
    /// Places to text.
    pub cross: Vec<GuidanceLayer>,
    /// Places to places of the same frame.
    pub spatial: Vec<GuidanceLayer>,
    /// Frames to frames at the same place.
    pub temporal: Vec<GuidanceLayer>,
}

/// One attention that the method reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuidanceLayer {
    /// The model's name for it.
    pub name: String,
    /// The block that it belongs to: masks are shared inside a block.
    pub block: String,
}

/// A text-to-video diffusion model over latents [1, channels, frames, height, width].
pub trait VideoModel {
    /// Tokens and features of a prompt, and where its subjects are in them.
    ///
    /// # Errors
    /// When a subject lies behind the text encoder's length limit.
    fn encode_prompt(&self, prompt: &Prompt) -> Result<EncodedPrompt, Error>;

    /// Frames to latents, scaled as the net was trained with.
    fn encode_clip(&self, clip: &Clip) -> Latents;

    /// Latents to frames.
    fn decode_latents(&self, latents: &Latents) -> Clip;

    /// Predicts the noise in latents [batch, channels, frames, height, width] under features [batch, tokens, features],
    /// or stops where the observer says so.
    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: i64,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor>;

    /// What computes. Latents and maps may lie elsewhere: the method brings them here.
    fn device(&self) -> Device;

    /// The attentions that the method reads, in the order in which they run.
    fn guidance_layers(&self) -> &GuidanceLayers;

    /// The noise schedule that the net was trained with.
    fn schedule(&self) -> &Schedule;

    /// Latents of pure noise for a video of this size in pixels, the same for the same seed.
    ///
    /// # Errors
    /// When the net cannot make that size; says which it can.
    fn noise(&self, frames: i64, height: i64, width: i64, seed: u64) -> Result<Latents, Error>;

    /// Checks that the net can take a video of this size in pixels.
    ///
    /// # Errors
    /// When it cannot; says which sizes it can.
    fn check_size(&self, frames: i64, height: i64, width: i64) -> Result<(), Error>;
}
