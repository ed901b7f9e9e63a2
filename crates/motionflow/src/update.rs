//! One guided update: the latents move so that the subjects' attention follows the masks.

use tch::Tensor;

use crate::error::Error;
use crate::generation::{GuidedUpdate, finite};
use crate::latents::norm;
use crate::loss_scale::{Unscaled, unscaled};
use crate::losses::{LossParts, guidance_loss};
use crate::masks::LayerMasks;
use crate::model::{EncodedPrompt, GuidanceLayer, GuidanceLayers, VideoModel};
use crate::observer::MapKeeper;
use crate::schedule::Step;
use crate::settings::Settings;
use crate::statistics::brought_back;
use crate::token_weight::{Weighing, token_weights};

/// What all updates of a generation have in common.
pub(crate) struct Guide<'a> {
    model: &'a dyn VideoModel,
    target: &'a EncodedPrompt,
    settings: &'a Settings,
    layers: GuidanceLayers,
    /// For each subject the tokens whose attention is led.
    shown_by: Vec<Vec<i64>>,
}

/// Which update it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) step: Step,
    /// Of the step, counted from 0.
    pub(crate) index: usize,
    /// Within the step, counted from 1.
    pub(crate) update: usize,
    /// What the loss is multiplied by for the backward pass, at most.
    pub(crate) loss_scale: f64,
}

impl<'a> Guide<'a> {
    pub(crate) fn new(
        model: &'a dyn VideoModel,
        target: &'a EncodedPrompt,
        settings: &'a Settings,
    ) -> Result<Self, Error> {
        let layers = model.guidance_layers().of_blocks(&settings.guidance_layers)?;
        let shown_by = target.shown_by(settings.subject_map)?;
        Ok(Self { model, target, settings, layers, shown_by })
    }

    /// z ← z − α·∇L, or a move of r·‖z‖ along the gradient; then what is kept of the latents' statistics is brought back.
    /// None where the loss is under its threshold already.
    pub(crate) fn update(
        &self,
        latents: &Tensor,
        masks: &[LayerMasks],
        at: Position,
    ) -> Result<Option<(Tensor, GuidedUpdate)>, Error> {
        let z = latents.detach().set_requires_grad(true);
        let gradient = unscaled(at.loss_scale, |scale| self.gradient(&z, masks, at.step.timestep, scale));
        let Some(Unscaled { gradient, along: (value, parts), scale }) = gradient else { return Ok(None) };
        let _no_gradients = tch::no_grad_guard();
        let (latent_norm, gradient_norm) = (norm(&z), norm(&gradient));
        let step_size = self.step_size(at.index, latent_norm, gradient_norm);
        let moved = latents - gradient * step_size;
        let moved = brought_back(moved, latents, self.settings.keep_statistics);
        let record = GuidedUpdate {
            step: at.index + 1,
            steps: self.settings.steps,
            update: at.update,
            timestep: at.step.timestep,
            loss: value,
            parts,
            gradient_norm,
            relative_move: step_size * gradient_norm / latent_norm,
            loss_scale: scale,
        };
        let kind = self.target.features.kind();
        finite(&moved, "guided update", at.index, self.settings, at.step, kind)?;
        Ok(Some((moved, record)))
    }

    /// ∇(`scale`·L), with L and its parts. None where L is under its threshold already.
    fn gradient(
        &self,
        z: &Tensor,
        masks: &[LayerMasks],
        timestep: i64,
        scale: f64,
    ) -> Option<(Tensor, (f64, LossParts))> {
        let (loss, parts) = self.loss(z, masks, timestep);
        let value = loss.detach().double_value(&[]);
        if value < self.settings.loss_threshold {
            return None;
        }
        let gradient = if loss.requires_grad() {
            Tensor::run_backward(&[&(loss * scale)], &[z], false, false).swap_remove(0)
        } else {
            z.zeros_like()
        };
        Some((gradient, (value, parts)))
    }

    /// The net runs only as far as the last layer that a loss reads.
    fn loss(&self, z: &Tensor, masks: &[LayerMasks], timestep: i64) -> (Tensor, LossParts) {
        let mut keeper = MapKeeper::stopping(self.needed_layers());
        let weights = token_weights(self.target, self.settings.token_weight);
        let mut observer = Weighing { observer: &mut keeper, weights };
        let _ = self.model.predict_noise(z, timestep, &self.target.features, &mut observer);
        let weights = self.settings.loss_weights();
        guidance_loss(&keeper.maps, masks, &self.layers, &self.shown_by, weights)
    }

    /// What the gradient is multiplied by.
    fn step_size(&self, index: usize, latent_norm: f64, gradient_norm: f64) -> f64 {
        let settings = self.settings;
        let decay = if settings.step_decay { 1.0 - index as f64 / settings.guided_steps as f64 } else { 1.0 };
        match settings.step_norm {
            Some(ratio) if gradient_norm > 0.0 => decay * ratio * latent_norm / gradient_norm,
            Some(_) => 0.0,
            None => decay * settings.step_size,
        }
    }

    /// The layers whose loss has a weight.
    fn needed_layers(&self) -> impl Iterator<Item = &GuidanceLayer> {
        let (layers, weights) = (&self.layers, self.settings.loss_weights());
        let when = |weight: f64, layers| if weight > 0.0 { layers } else { &[][..] };
        when(weights.cross + weights.outside + weights.other, &layers.cross[..])
            .iter()
            .chain(when(weights.spatial, &layers.spatial))
            .chain(when(weights.temporal, &layers.temporal))
    }
}
