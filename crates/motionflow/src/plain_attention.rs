//! A model whose guidance layers never use fused attention, as the reference of the method computes them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use tch::{Device, Tensor};

use crate::clip::Clip;
use crate::error::Error;
use crate::latents::Latents;
use crate::model::{EncodedPrompt, GuidanceLayer, GuidanceLayers, Traced, VideoModel};
use crate::nets::attention::AttentionObserver;
use crate::prompt::Prompt;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::timestep::Timestep;
use crate::wider::Coded;

/// Another model with plain softmax(Q·Kᵀ/√d)·V in all guidance layers. The result is the same but for rounding; over
/// many steps rounding grows, and a comparison with the reference is sharper without it.
pub(crate) struct PlainAttention<'a, M: VideoModel + ?Sized> {
    model: &'a M,
    layers: BTreeSet<String>,
}

impl<'a, M: VideoModel + ?Sized> PlainAttention<'a, M> {
    pub(crate) fn new(model: &'a M, layers: &GuidanceLayers) -> Self {
        let all = layers.cross.iter().chain(&layers.spatial).chain(&layers.temporal);
        Self { model, layers: all.map(|layer| layer.name.clone()).collect() }
    }
}

/// Wants the probabilities of all guidance layers and passes on those that the observer behind it wants.
struct Plain<'a> {
    layers: &'a BTreeSet<String>,
    observer: &'a mut dyn AttentionObserver,
}

impl AttentionObserver for Plain<'_> {
    fn wants(&self, layer: &str) -> bool {
        self.layers.contains(layer) || self.observer.wants(layer)
    }

    fn observe(&mut self, layer: &str, probabilities: Tensor) -> ControlFlow<()> {
        if self.observer.wants(layer) {
            return self.observer.observe(layer, probabilities);
        }
        ControlFlow::Continue(())
    }

    fn values(&self, layer: &str) -> Option<&Tensor> {
        self.observer.values(layer)
    }

    fn token_weights(&self) -> Option<&Tensor> {
        self.observer.token_weights()
    }
}

impl<M: VideoModel + ?Sized> VideoModel for PlainAttention<'_, M> {
    fn encode_prompts(&self, prompts: &[&Prompt]) -> Result<Vec<EncodedPrompt>, Error> {
        self.model.encode_prompts(prompts)
    }

    fn encode_clip(&self, clip: &Clip) -> Result<Coded<Latents>, Error> {
        self.model.encode_clip(clip)
    }

    fn decode_latents(&self, latents: &Latents) -> Result<Coded<Clip>, Error> {
        self.model.decode_latents(latents)
    }

    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        let mut plain = Plain { layers: &self.layers, observer };
        self.model.predict_noise(latents, timestep, features, &mut plain)
    }

    fn halvings(&self, layer: &GuidanceLayer) -> usize {
        self.model.halvings(layer)
    }

    fn has_deep_features(&self) -> bool {
        self.model.has_deep_features()
    }

    fn predict_noise_with_features(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        features: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), (Tensor, Option<Tensor>)> {
        let mut plain = Plain { layers: &self.layers, observer };
        self.model.predict_noise_with_features(latents, timestep, text, features, &mut plain)
    }

    fn trace<'b>(
        &'b self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> Box<dyn Traced + 'b> {
        let mut plain = Plain { layers: &self.layers, observer };
        self.model.trace(latents, timestep, features, &mut plain)
    }

    fn takes_two_videos(&self) -> bool {
        self.model.takes_two_videos()
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn guidance_layers(&self) -> &GuidanceLayers {
        self.model.guidance_layers()
    }

    fn layers_for(&self, settings: &Settings) -> Result<GuidanceLayers, Error> {
        self.model.layers_for(settings)
    }

    fn kept_layers(&self, settings: &Settings) -> Result<Vec<GuidanceLayer>, Error> {
        self.model.kept_layers(settings)
    }

    fn latent_frames(&self, frames: i64) -> i64 {
        self.model.latent_frames(frames)
    }

    fn schedule(&self) -> &Schedule {
        self.model.schedule()
    }

    fn noise(&self, frames: i64, height: i64, width: i64, seed: u64) -> Result<Latents, Error> {
        self.model.noise(frames, height, width, seed)
    }

    fn check_size(&self, frames: i64, height: i64, width: i64) -> Result<(), Error> {
        self.model.check_size(frames, height, width)
    }
}
