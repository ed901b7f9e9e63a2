//! What the method needs of a text-to-video model, whatever its architecture.

use std::ops::ControlFlow;

use tch::{Device, Tensor};

use crate::clip::Clip;
use crate::error::Error;
use crate::latents::Latents;
use crate::nets::attention::AttentionObserver;
use crate::nets::trace::Trace;
use crate::prompt::Prompt;
use crate::schedule::Schedule;
use crate::settings::{Settings, SubjectMap};
use crate::timestep::Timestep;
use crate::wider::Coded;

/// A prompt as the net sees it.
#[derive(Debug)]
pub struct EncodedPrompt {
    /// The text encoder's features, [1, tokens, features].
    pub features: Tensor,
    /// For each subject of the prompt the positions of its tokens.
    pub subjects: Vec<Vec<i64>>,
    /// The position of the end-of-text token.
    pub end: i64,
    /// What is odd about the prompt without being an error, in words for the user.
    pub warnings: Vec<String>,
}

impl EncodedPrompt {
    /// The same, sharing its tensor.
    #[must_use]
    pub fn share(&self) -> Self {
        Self {
            features: self.features.shallow_clone(),
            subjects: self.subjects.clone(),
            end: self.end,
            warnings: self.warnings.clone(),
        }
    }

    /// For each subject the positions of the tokens whose attention shows where it is.
    ///
    /// # Errors
    /// As [`SubjectMap::check`].
    pub fn shown_by(&self, map: SubjectMap) -> Result<Vec<Vec<i64>>, Error> {
        map.check(self.subjects.len())?;
        Ok(match map {
            SubjectMap::Word => self.subjects.clone(),
            SubjectMap::End => vec![vec![self.end]; self.subjects.len()],
        })
    }
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

impl GuidanceLayers {
    /// The layers of some blocks alone; of all where none is named.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] with the blocks that there are.
    pub fn of_blocks(&self, names: &[String]) -> Result<Self, Error> {
        let mut known: Vec<&str> = self.cross.iter().map(|layer| layer.block.as_str()).collect();
        known.dedup();
        check_blocks(names, &known)?;
        let chosen = |layers: &[GuidanceLayer]| {
            layers.iter().filter(|layer| names.is_empty() || names.contains(&layer.block)).cloned().collect()
        };
        Ok(Self {
            cross: chosen(&self.cross),
            spatial: chosen(&self.spatial),
            temporal: chosen(&self.temporal),
        })
    }
}

/// Checks that every block that is named is one of those that there are.
///
/// # Errors
/// [`Error::UnknownBlock`].
pub fn check_blocks(names: &[String], known: &[&str]) -> Result<(), Error> {
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Error::UnknownBlock { name: name.clone(), known: known.join(", ") }),
        None => Ok(()),
    }
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
    /// Tokens and features of prompts, and where their subjects are in them. A large text encoder may be read from its files
    /// for each call: give all prompts at once.
    ///
    /// # Errors
    /// When a subject lies behind the text encoder's length limit, or weights that left memory cannot be read again.
    fn encode_prompts(&self, prompts: &[&Prompt]) -> Result<Vec<EncodedPrompt>, Error>;

    /// [`VideoModel::encode_prompts`] of one.
    ///
    /// # Errors
    /// As there.
    fn encode_prompt(&self, prompt: &Prompt) -> Result<EncodedPrompt, Error> {
        Ok(self.encode_prompts(&[prompt])?.remove(0))
    }

    /// Frames to latents, scaled as the net was trained with.
    ///
    /// # Errors
    /// [`Error::CodingNotFinite`] when values are not finite in float32 either.
    fn encode_clip(&self, clip: &Clip) -> Result<Coded<Latents>, Error>;

    /// Latents to frames.
    ///
    /// # Errors
    /// As [`VideoModel::encode_clip`].
    fn decode_latents(&self, latents: &Latents) -> Result<Coded<Clip>, Error>;

    /// Predicts the noise in latents [batch or 1, channels, frames, height, width] under features [batch, tokens, features],
    /// the same latents under each where there are those of one video, or stops where the observer says so.
    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor>;

    /// Whether [`VideoModel::predict_noise_with_features`] knows deep features.
    fn has_deep_features(&self) -> bool {
        false
    }

    /// As [`VideoModel::predict_noise`]: with `features` the net's deep part is left out and they take its place, and without
    /// them they are given back, for a step soon after this one (<https://arxiv.org/abs/2312.00858>).
    fn predict_noise_with_features(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        features: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), (Tensor, Option<Tensor>)> {
        let _ = features;
        ControlFlow::Continue((self.predict_noise(latents, timestep, text, observer)?, None))
    }

    /// Runs the net on latents [1, channels, frames, height, width] as far as the observer wants, so that the gradient of a
    /// loss on what it saw can be taken with respect to them.
    fn trace<'a>(
        &'a self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> Box<dyn Traced + 'a>;

    /// Whether the two halves of classifier-free guidance go through the net together.
    fn takes_two_videos(&self) -> bool {
        true
    }

    /// What computes. Latents and maps may lie elsewhere: the method brings them here.
    fn device(&self) -> Device;

    /// The attentions that the method reads, in the order in which they run.
    fn guidance_layers(&self) -> &GuidanceLayers;

    /// The attentions that a run with these settings reads: those of the blocks that they name, or of all guidance blocks.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] with the blocks that there are.
    fn layers_for(&self, settings: &Settings) -> Result<GuidanceLayers, Error> {
        self.guidance_layers().of_blocks(&settings.guidance_layers)
    }

    /// The cross-attentions whose maps are kept of the source, for whichever of them guides later.
    ///
    /// # Errors
    /// As [`VideoModel::layers_for`].
    fn kept_layers(&self, settings: &Settings) -> Result<Vec<GuidanceLayer>, Error> {
        let _ = settings;
        Ok(self.guidance_layers().cross.clone())
    }

    /// How many times the sides of the latents are halved, rounded up, on the way to the places of a guidance layer.
    fn halvings(&self, layer: &GuidanceLayer) -> usize;

    /// Frames that the latents of a clip of so many frames have.
    fn latent_frames(&self, frames: i64) -> i64 {
        frames
    }

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

/// A run of a model, from which a gradient can be taken.
pub trait Traced {
    /// ∂loss/∂latents, of the latents' shape.
    fn gradient(self: Box<Self>, loss: &Tensor) -> Tensor;
}

impl Traced for Trace<'_> {
    fn gradient(self: Box<Self>, loss: &Tensor) -> Tensor {
        Trace::gradient(*self, loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(subjects: &[&[i64]]) -> EncodedPrompt {
        EncodedPrompt {
            features: Tensor::from(0f32),
            subjects: subjects.iter().map(|tokens| tokens.to_vec()).collect(),
            end: 7,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn the_end_token_shows_one_subject_and_no_more() {
        let one = prompt(&[&[2, 3]]);
        assert_eq!(one.shown_by(SubjectMap::Word).unwrap(), [[2, 3]]);
        assert_eq!(one.shown_by(SubjectMap::End).unwrap(), [[7]]);
        assert!(prompt(&[]).shown_by(SubjectMap::End).unwrap().is_empty());
        let message = prompt(&[&[2], &[5]]).shown_by(SubjectMap::End).unwrap_err().to_string();
        assert!(message.contains("marks 2"), "{message}");
    }

    #[test]
    fn blocks_are_chosen_by_name() {
        let layer = |block: &str, name: &str| GuidanceLayer { name: name.into(), block: block.into() };
        let layers = GuidanceLayers {
            cross: vec![layer("mid_block", "a"), layer("up_blocks.1", "b"), layer("up_blocks.1", "c")],
            spatial: vec![layer("mid_block", "d")],
            temporal: Vec::new(),
        };
        let of =
            |names: &[&str]| layers.of_blocks(&names.iter().map(|&name| name.into()).collect::<Vec<_>>());
        assert_eq!(of(&[]).unwrap().cross.len(), 3);
        let up = of(&["up_blocks.1"]).unwrap();
        assert_eq!((up.cross.len(), up.spatial.len()), (2, 0));
        let message = of(&["up_blocks.2"]).unwrap_err().to_string();
        assert!(
            message.contains("\"up_blocks.2\"") && message.contains("mid_block, up_blocks.1"),
            "{message}"
        );
    }
}
