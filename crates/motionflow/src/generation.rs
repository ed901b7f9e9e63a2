//! Noise latents and a prompt -> the latents of a new video, guided by motion masks.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::Error;
use crate::latents::{Latents, is_finite, norm};
use crate::losses::{LossParts, guidance_loss};
use crate::masks::{LayerMasks, MotionMasks};
use crate::model::{EncodedPrompt, GuidanceLayer, VideoModel};
use crate::nets::attention::NoObserver;
use crate::observer::MapKeeper;
use crate::schedule::Step;
use crate::settings::Settings;

/// One guided update: the loss before it, and how steep it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GuidedUpdate {
    /// Sampling step, counted from 1.
    pub step: usize,
    /// Number of sampling steps.
    pub steps: usize,
    /// Update within the step, counted from 1.
    pub update: usize,
    /// The net's timestep.
    pub timestep: i64,
    /// The weighted sum of the parts.
    pub loss: f64,
    /// The parts.
    pub parts: LossParts,
    /// ‖∇L‖₂ over all latents.
    pub gradient_norm: f64,
    /// ‖Δz‖/‖z‖ of the move.
    pub relative_move: f64,
}

/// What generation reports while it runs.
#[derive(Debug)]
pub enum GenerationEvent<'a> {
    /// The latents were corrected.
    Updated(&'a GuidedUpdate),
    /// A sampling step is done.
    Denoised {
        /// Counted from 1.
        step: usize,
        /// Number of steps.
        steps: usize,
        /// The net's timestep.
        timestep: i64,
        /// Latents after the step.
        latents: &'a Latents,
    },
}

/// How far a generation is: where it begins, or goes on.
#[derive(Debug)]
pub struct Generating {
    /// Sampling steps that are done.
    pub done: usize,
    /// Latents after those.
    pub latents: Latents,
    /// The guided updates of those.
    pub updates: Vec<GuidedUpdate>,
}

impl Generating {
    /// Before the first step, from noise latents.
    pub fn new(start: Latents) -> Self {
        Self { done: 0, latents: start, updates: Vec::new() }
    }
}

/// The latents of the new video and how they came about.
#[derive(Debug)]
pub struct Generation {
    /// Clean latents.
    pub latents: Latents,
    /// Every guided update in order.
    pub updates: Vec<GuidedUpdate>,
}

/// DDIM sampling with classifier-free guidance. While `settings` ask for it and there are `masks`, each of the first
/// steps is preceded by updates that pull the subjects' attention into the masks taken at the same timestep.
///
/// # Errors
/// [`Error::Inversion`] when the masks are of other timesteps, subjects or frames; [`Error::NotFinite`] names the step
/// at which the latents stopped being numbers; [`Error::Settings`] a setting that is out of range; [`Error::Stopped`]
/// when `progress` breaks off, after an update or after a step.
pub fn generate(
    model: &dyn VideoModel,
    from: Generating,
    masks: Option<&MotionMasks>,
    target: &EncodedPrompt,
    negative: &EncodedPrompt,
    settings: &Settings,
    progress: &mut dyn FnMut(&GenerationEvent) -> ControlFlow<()>,
) -> Result<Generation, Error> {
    let schedule = model.schedule();
    settings.validate(schedule.max_steps())?;
    let Generating { done, mut latents, mut updates } = from;
    latents = latents.on(model.device());
    let masks = masks.map(|masks| masks.on(model.device()));
    let mut report = |event: &GenerationEvent| match progress(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    };
    for (index, step) in schedule.descending(settings.steps).into_iter().enumerate().skip(done) {
        if let Some(masks) = masks.as_ref().filter(|_| settings.is_guided() && index < settings.guided_steps)
        {
            let masks = masks_at(masks, step.timestep, target, latents.frames())?;
            for update in 1..=settings.updates_per_step {
                let position = (index, update);
                let (moved, record) =
                    guided_update(model, latents.tensor(), masks, target, settings, step, position)?;
                latents = Latents::new(moved);
                report(&GenerationEvent::Updated(&record))?;
                updates.push(record);
            }
        }
        let denoised = sampling_step(model, latents.tensor(), target, negative, settings, step);
        finite(&denoised, "sampling", index, settings, step)?;
        latents = Latents::new(denoised);
        let (steps, timestep) = (settings.steps, step.timestep);
        report(&GenerationEvent::Denoised { step: index + 1, steps, timestep, latents: &latents })?;
    }
    Ok(Generation { latents, updates })
}

/// The masks taken at a timestep, after a check that they belong to this run.
fn masks_at<'a>(
    masks: &'a MotionMasks,
    timestep: i64,
    target: &EncodedPrompt,
    frames: i64,
) -> Result<&'a [LayerMasks], Error> {
    let Some(masks) = masks.at.get(&timestep) else {
        let found: Vec<i64> = masks.at.keys().copied().collect();
        let found = format!(
            "it has masks for the timesteps {found:?} and none for {timestep}; invert with as many steps"
        );
        return Err(Error::Inversion(found));
    };
    if masks.len() != target.subjects.len() {
        return Err(Error::SubjectCount { source_count: masks.len(), target_count: target.subjects.len() });
    }
    match masks.iter().flat_map(|layers| layers.values()).find(|mask| mask.size()[0] != frames) {
        Some(mask) => Err(Error::Inversion(format!(
            "its masks have {} frames and the new video {frames}",
            mask.size()[0]
        ))),
        None => Ok(masks),
    }
}

/// z ← z − α·∇L, or a move of r·‖z‖ along the gradient. The net runs only as far as the last layer that a loss reads.
fn guided_update(
    model: &dyn VideoModel,
    latents: &Tensor,
    masks: &[LayerMasks],
    target: &EncodedPrompt,
    settings: &Settings,
    step: Step,
    (index, update): (usize, usize),
) -> Result<(Tensor, GuidedUpdate), Error> {
    let z = latents.detach().set_requires_grad(true);
    let layers = model.guidance_layers();
    let weights = settings.loss_weights();
    let mut observer = MapKeeper::stopping(needed_layers(model, settings));
    let _ = model.predict_noise(&z, step.timestep, &target.features, &mut observer);
    let (loss, parts) = guidance_loss(&observer.maps, masks, layers, &target.subjects, weights);
    drop(observer);
    let gradient = if loss.requires_grad() {
        Tensor::run_backward(&[&loss], &[&z], false, false).swap_remove(0)
    } else {
        z.zeros_like()
    };
    let _no_gradients = tch::no_grad_guard();
    let (latent_norm, gradient_norm) = (norm(&z), norm(&gradient));
    let decay = if settings.step_decay { 1.0 - index as f64 / settings.guided_steps as f64 } else { 1.0 };
    let step_size = match settings.step_norm {
        Some(ratio) if gradient_norm > 0.0 => decay * ratio * latent_norm / gradient_norm,
        Some(_) => 0.0,
        None => decay * settings.step_size,
    };
    let moved = (z.detach().to_kind(tch::Kind::Float) - gradient.to_kind(tch::Kind::Float) * step_size)
        .to_kind(latents.kind());
    let record = GuidedUpdate {
        step: index + 1,
        steps: settings.steps,
        update,
        timestep: step.timestep,
        loss: loss.detach().double_value(&[]),
        parts,
        gradient_norm,
        relative_move: step_size * gradient_norm / latent_norm,
    };
    finite(&moved, "guided update", index, settings, step)?;
    Ok((moved, record))
}

/// The guidance layers whose loss has a weight.
fn needed_layers<'a>(
    model: &'a dyn VideoModel,
    settings: &Settings,
) -> impl Iterator<Item = &'a GuidanceLayer> {
    let layers = model.guidance_layers();
    let weights = settings.loss_weights();
    let when = |weight: f64, layers: &'a [GuidanceLayer]| if weight > 0.0 { layers } else { &[] };
    when(weights.cross, &layers.cross)
        .iter()
        .chain(when(weights.spatial, &layers.spatial))
        .chain(when(weights.temporal, &layers.temporal))
}

/// One DDIM step with classifier-free guidance: `ε = ε_negative + s·(ε_prompt − ε_negative)`, both in one batch.
fn sampling_step(
    model: &dyn VideoModel,
    latents: &Tensor,
    target: &EncodedPrompt,
    negative: &EncodedPrompt,
    settings: &Settings,
    step: Step,
) -> Tensor {
    let _no_gradients = tch::no_grad_guard();
    let features = Tensor::cat(&[&negative.features, &target.features], 0);
    let both = Tensor::cat(&[latents, latents], 0);
    let prediction = model.predict_noise(&both, step.timestep, &features, &mut NoObserver).continue_value();
    let Some(prediction) = prediction else { return latents.shallow_clone() };
    let halves = prediction.to_kind(tch::Kind::Float).chunk(2, 0);
    let guided = &halves[0] + (&halves[1] - &halves[0]) * settings.guidance_scale;
    model.schedule().remove_noise_step(latents, &guided, step).to_kind(latents.kind())
}

fn finite(
    latents: &Tensor,
    stage: &'static str,
    index: usize,
    settings: &Settings,
    step: Step,
) -> Result<(), Error> {
    if is_finite(latents) {
        return Ok(());
    }
    let mend = "lower --step-size or --step-norm, or --guidance-scale";
    Err(Error::NotFinite { stage, step: index + 1, steps: settings.steps, timestep: step.timestep, mend })
}
