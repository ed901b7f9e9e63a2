//! One guided update: the latents move so that the subjects' attention follows the masks.

use tch::Tensor;

use crate::error::Error;
use crate::generation::{GuidedUpdate, finite};
use crate::latents::norm;
use crate::loss_scale::{self, Unscaled, unscaled};
use crate::losses::{LossParts, UnreadParts, guidance_loss, mask_values};
use crate::masks::LayerMasks;
use crate::model::{EncodedPrompt, GuidanceLayer, GuidanceLayers, VideoModel};
use crate::observer::MapKeeper;
use crate::settings::Settings;
use crate::statistics::brought_back;
use crate::timestep::Timestep;
use crate::token_weight::{Weighing, token_weights};

/// ∇L of the guidance loss with respect to the latents, as the first update of a generation takes it: float32, of the
/// latents' shape.
///
/// # Errors
/// [`Error::UnknownBlock`] and [`Error::EndOfSeveral`] for settings that do not suit the model or the prompt.
pub fn guidance_gradient(
    model: &dyn VideoModel,
    latents: &Tensor,
    masks: &[LayerMasks],
    target: &EncodedPrompt,
    settings: &Settings,
    timestep: Timestep,
) -> Result<Tensor, Error> {
    let settings = Settings { loss_threshold: 0.0, ..settings.clone() };
    let guide = Guide::new(model, target, &settings)?;
    let scale = loss_scale::first(target.features.kind());
    let found = unscaled(scale, |scale| guide.gradient(latents, masks, timestep, scale));
    Ok(found.map_or_else(|| latents.zeros_like(), |found| found.gradient))
}

/// What all updates of a generation have in common.
pub(crate) struct Guide<'a> {
    model: &'a dyn VideoModel,
    target: &'a EncodedPrompt,
    settings: &'a Settings,
    layers: GuidanceLayers,
    /// For each subject the tokens whose attention is led.
    shown_by: Vec<Vec<i64>>,
    /// The region to avoid.
    avoid: LayerMasks,
}

/// Which update it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    /// The net's.
    pub(crate) timestep: Timestep,
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
        let layers = model.layers_for(settings)?;
        let shown_by = target.shown_by(settings.subject_map)?;
        Ok(Self { model, target, settings, layers, shown_by, avoid: LayerMasks::new() })
    }

    /// With a region to avoid.
    pub(crate) fn avoiding(self, avoid: LayerMasks) -> Self {
        Self { avoid, ..self }
    }

    /// z ← z − α·∇L, or a move of r·‖z‖ along the gradient; then what is kept of the latents' statistics is brought back.
    /// None where the loss is under its threshold already.
    pub(crate) fn update(
        &self,
        latents: &Tensor,
        masks: &[LayerMasks],
        at: Position,
    ) -> Result<Option<(Tensor, GuidedUpdate)>, Error> {
        let gradient = unscaled(at.loss_scale, |scale| self.gradient(latents, masks, at.timestep, scale));
        let Some(Unscaled { gradient, along: (value, parts), scale }) = gradient else { return Ok(None) };
        let _no_gradients = tch::no_grad_guard();
        let (latent_norm, gradient_norm) = (norm(latents), norm(&gradient));
        let step_size = self.step_size(at.index, latent_norm, gradient_norm);
        let moved = latents - gradient * step_size;
        let moved = brought_back(moved, latents, self.settings.keep_statistics);
        let record = GuidedUpdate {
            step: at.index + 1,
            steps: self.settings.steps,
            update: at.update,
            timestep: at.timestep,
            loss: value,
            parts,
            gradient_norm,
            relative_move: step_size * gradient_norm / latent_norm,
            loss_scale: scale,
        };
        let kind = self.target.features.kind();
        // A norm can leave the range of float32 where no value does; nothing would move then.
        let figures = Tensor::from_slice(&[value, gradient_norm, latent_norm]);
        for tensor in [&moved, &figures] {
            finite(tensor, "guided update", at.index, self.settings, at.timestep, kind)?;
        }
        Ok(Some((moved, record)))
    }

    /// ∇(`scale`·L), with L and its parts: of the windows one after another, so that there is one window's graph at a time. L is
    /// their mean, and a frame's gradient the mean over the windows that hold it. None where L is under its threshold already.
    fn gradient(
        &self,
        latents: &Tensor,
        masks: &[LayerMasks],
        timestep: Timestep,
        scale: f64,
    ) -> Option<(Tensor, (f64, LossParts))> {
        let windows = self.settings.context().windows(latents.size()[2]);
        let (mut losses, mut parts, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        let avoided = windows.parts_of_masks(std::slice::from_ref(&self.avoid));
        let masks = windows.parts_of_masks(masks).zip(avoided);
        for (latents, (masks, avoid)) in windows.parts(latents, 2).zip(masks) {
            // The net runs only as far as the last layer that a loss reads.
            let values = mask_values(&masks, &self.layers);
            let mut keeper = MapKeeper::stopping(self.needed_layers()).with_values(values);
            let weights = token_weights(self.target, self.settings.token_weight);
            let mut observer = Weighing { observer: &mut keeper, weights };
            let traced = self.model.trace(&latents, timestep, &self.target.features, &mut observer);
            let weights = self.settings.loss_weights();
            let (loss, of_loss) =
                guidance_loss(&keeper.maps, &masks, &avoid[0], &self.layers, &self.shown_by, weights);
            drop(keeper);
            losses.push(loss.detach());
            parts.push(of_loss);
            if losses.len() == windows.len() && self.is_under_threshold(&losses) {
                return None;
            }
            gradients.push(traced.gradient(&(&loss * scale)));
        }
        // Read after all is requested: a read waits for the device, which would wait for us then.
        let parts: Vec<LossParts> = parts.iter().map(UnreadParts::read).collect();
        Some((windows.mean(&gradients, 2), (mean(&losses), LossParts::mean(&parts))))
    }

    /// Whether the losses of all windows are, in the mean.
    fn is_under_threshold(&self, losses: &[Tensor]) -> bool {
        let threshold = self.settings.loss_threshold;
        threshold > 0.0 && mean(losses) < threshold
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
        let avoid = if self.avoid.is_empty() { 0.0 } else { weights.avoid };
        when(weights.cross + weights.outside + weights.other + avoid, &layers.cross[..])
            .iter()
            .chain(when(weights.spatial, &layers.spatial))
            .chain(when(weights.temporal, &layers.temporal))
    }
}

fn mean(losses: &[Tensor]) -> f64 {
    losses.iter().map(|loss| loss.double_value(&[])).sum::<f64>() / losses.len() as f64
}
