//! What the net predicts in a sampling step: with classifier-free guidance or without, from deep features of an earlier step
//! or all anew.

use tch::{Kind, Tensor};

use crate::error::Error;
use crate::model::{EncodedPrompt, VideoModel};
use crate::nets::attention::NoObserver;
use crate::settings::Settings;
use crate::step_plan::{Features, StepPlan};
use crate::token_weight::{Weighing, token_weights};

/// Classifier-free guidance: `ε = ε_negative + s·(ε_prompt − ε_negative)`, both in one batch where that fits; or `ε_prompt`
/// alone.
pub(crate) struct Predictor<'a> {
    model: &'a dyn VideoModel,
    /// The texts of both halves, together or each.
    halves: Vec<Text>,
    prompt: Text,
    guidance_scale: f64,
    /// The deep features of each run of the net in the last step that kept them.
    kept: Vec<Tensor>,
}

/// A text of one video or several, and the weights of its tokens.
struct Text {
    /// [videos, tokens, features]
    features: Tensor,
    weights: Option<Tensor>,
}

impl<'a> Predictor<'a> {
    /// # Errors
    /// [`Error::NoDeepFeatures`] where the settings want them reused and the model has none.
    pub(crate) fn new(
        model: &'a dyn VideoModel,
        target: &EncodedPrompt,
        negative: &EncodedPrompt,
        settings: &Settings,
    ) -> Result<Self, Error> {
        if settings.deepcache_interval > 1 && !model.has_deep_features() {
            return Err(Error::NoDeepFeatures);
        }
        let (target_features, negative_features) = (&target.features, &negative.features);
        let weights = token_weights(target, settings.token_weight);
        let text = |features: &Tensor, weights: Option<&Tensor>| Text {
            features: features.shallow_clone(),
            weights: weights.map(Tensor::shallow_clone),
        };
        let prompt = text(target_features, weights.as_ref());
        let halves = if model.takes_two_videos() {
            let weights = weights.map(|weights| Tensor::cat(&[&weights.ones_like(), &weights], 0));
            vec![Text { features: Tensor::cat(&[negative_features, target_features], 0), weights }]
        } else {
            vec![text(negative_features, None), text(target_features, weights.as_ref())]
        };
        let guidance_scale = settings.guidance_scale;
        Ok(Self { model, halves, prompt, guidance_scale, kept: Vec::new() })
    }

    /// What the net predicts for latents [1, channels, frames, height, width]: the same shape, float32. Features that are
    /// reused were kept by the last step that kept them.
    pub(crate) fn predict(&mut self, latents: &Tensor, timestep: i64, plan: StepPlan) -> Option<Tensor> {
        let _no_gradients = tch::no_grad_guard();
        let texts = if plan.has_guidance { &self.halves[..] } else { std::slice::from_ref(&self.prompt) };
        let mut kept = Vec::new();
        let mut parts = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let weights = text.weights.as_ref().map(Tensor::shallow_clone);
            let mut observer = Weighing { observer: &mut NoObserver, weights };
            let (model, features) = (self.model, &text.features);
            parts.push(if plan.features == Features::Computed {
                model.predict_noise(latents, timestep, features, &mut observer).continue_value()?
            } else {
                let reused = self.kept.get(index).filter(|_| plan.features == Features::Reused);
                let made =
                    model.predict_noise_with_features(latents, timestep, features, reused, &mut observer);
                let (part, deep) = made.continue_value()?;
                kept.extend(deep);
                part
            });
        }
        self.kept = kept;
        let predicted = Tensor::cat(&parts, 0).to_kind(Kind::Float);
        if !plan.has_guidance {
            return Some(predicted);
        }
        let halves = predicted.chunk(2, 0);
        Some(&halves[0] + (&halves[1] - &halves[0]) * self.guidance_scale)
    }
}
