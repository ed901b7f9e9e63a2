//! What the net predicts in a sampling step: with classifier-free guidance or without, from deep features of an earlier step
//! or all anew.

use tch::{Kind, Tensor};

use crate::error::Error;
use crate::model::{EncodedPrompt, VideoModel};
use crate::nets::attention::NoObserver;
use crate::settings::Settings;
use crate::step_plan::{Features, StepPlan};
use crate::timestep::Timestep;
use crate::token_weight::{Weighing, token_weights};
use crate::windows::ContextOptions;

/// Classifier-free guidance: `ε = ε_negative + s·(ε_prompt − ε_negative)`, both in one batch where that fits; or `ε_prompt`
/// alone.
pub(crate) struct Predictor<'a> {
    model: &'a dyn VideoModel,
    /// The texts of both halves, together or each.
    halves: Vec<Text>,
    prompt: Text,
    guidance_scale: f64,
    context: ContextOptions,
    /// The deep features of each run of the net, window by window, in the last step that kept them.
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
        let (guidance_scale, context) = (settings.guidance_scale, settings.context());
        Ok(Self { model, halves, prompt, guidance_scale, context, kept: Vec::new() })
    }

    /// What the net predicts for latents [1, channels, frames, height, width]: the same shape, float32. Features that are
    /// reused were kept by the last step that kept them.
    pub(crate) fn predict(&mut self, latents: &Tensor, timestep: Timestep, plan: StepPlan) -> Option<Tensor> {
        let _no_gradients = tch::no_grad_guard();
        let texts = if plan.has_guidance { &self.halves[..] } else { std::slice::from_ref(&self.prompt) };
        let windows = self.context.windows(latents.size()[2]);
        let mut runs = 0..;
        let mut kept = Vec::new();
        let mut predictions = Vec::new();
        for latents in windows.parts(latents, 2) {
            let mut parts = Vec::new();
            for (text, run) in texts.iter().zip(&mut runs) {
                let reused = self.kept.get(run).filter(|_| plan.features == Features::Reused);
                let (part, deep) = self.run(&latents, timestep, text, plan.features, reused)?;
                kept.extend(deep);
                parts.push(part);
            }
            predictions.push(self.combined(&parts, plan));
        }
        self.kept = kept;
        Some(windows.mean(&predictions, 2))
    }

    /// One run of the net, and the deep features where they are kept.
    fn run(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Text,
        plan: Features,
        reused: Option<&Tensor>,
    ) -> Option<(Tensor, Option<Tensor>)> {
        let weights = text.weights.as_ref().map(Tensor::shallow_clone);
        let mut observer = Weighing { observer: &mut NoObserver, weights };
        let (model, features) = (self.model, &text.features);
        if plan == Features::Computed {
            let made = model.predict_noise(latents, timestep, features, &mut observer);
            return Some((made.continue_value()?, None));
        }
        model.predict_noise_with_features(latents, timestep, features, reused, &mut observer).continue_value()
    }

    /// Of the halves' predictions, in one part or each, that of classifier-free guidance; float32.
    fn combined(&self, parts: &[Tensor], plan: StepPlan) -> Tensor {
        let predicted = Tensor::cat(parts, 0).to_kind(Kind::Float);
        if !plan.has_guidance {
            return predicted;
        }
        let halves = predicted.chunk(2, 0);
        &halves[0] + (&halves[1] - &halves[0]) * self.guidance_scale
    }
}
