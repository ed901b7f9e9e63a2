//! Noise latents and a prompt -> the latents of a new video, guided by motion masks.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::{Error, not_finite_hint};
use crate::latents::{Latents, is_finite};
use crate::loss_scale;
use crate::losses::LossParts;
use crate::masks::{LayerMasks, MotionMasks};
use crate::model::{EncodedPrompt, VideoModel};
use crate::predictor::Predictor;
use crate::sampler::{History, Sampler};
use crate::settings::Settings;
use crate::step_plan::{Features, step_plans};
use crate::timestep::Timestep;
use crate::update::{Guide, Position};

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
    pub timestep: Timestep,
    /// The weighted sum of the parts.
    pub loss: f64,
    /// The parts.
    pub parts: LossParts,
    /// ‖∇L‖₂ over all latents.
    pub gradient_norm: f64,
    /// ‖Δz‖/‖z‖ of the move, before any statistics of the latents are brought back.
    pub relative_move: f64,
    /// What the loss was multiplied by for the backward pass. The next update begins with it.
    #[serde(default = "unscaled")]
    pub loss_scale: f64,
}

/// Of updates from before there was a scale.
fn unscaled() -> f64 {
    1.0
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
        timestep: Timestep,
        /// Latents after the step.
        latents: &'a Latents,
        /// What the sampler remembers after the step.
        history: &'a History,
    },
}

/// How far a generation is: where it begins, or goes on.
#[derive(Debug)]
pub struct Generating {
    /// Sampling steps that are done.
    pub done: usize,
    /// Latents after those.
    pub latents: Latents,
    /// What the sampler remembers of those.
    pub history: History,
    /// The latents before each of those, the first one's first. Only where deep features are reused; else it may be empty.
    pub trail: Vec<Latents>,
    /// The guided updates of those.
    pub updates: Vec<GuidedUpdate>,
}

impl Generating {
    /// Before the first step, from noise latents.
    pub fn new(start: Latents) -> Self {
        Self { done: 0, latents: start, history: History::default(), trail: Vec::new(), updates: Vec::new() }
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

/// Sampling with classifier-free guidance. While `settings` ask for it and there are `masks`, each of the first steps is
/// preceded by updates that pull the subjects' attention into the masks of the nearest timestep of the inversion, which with
/// DDIM is the same one.
///
/// # Errors
/// As [`Sampler::new`]; [`Error::NoDeepFeatures`] where the model has none to reuse;
/// [`Error::Inversion`] when the masks are of other timesteps, subjects or frames; [`Error::NotFinite`] names the step
/// at which the latents stopped being numbers; [`Error::Settings`] a setting that is out of range,
/// [`Error::UnknownBlock`] and [`Error::EndOfSeveral`] one that does not suit the model or the prompt;
/// [`Error::Stopped`] when `progress` breaks off, after an update or after a step.
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
    let guide = match masks.filter(|_| settings.is_guided()) {
        Some(masks) => {
            let mut masks = masks.on(model.device());
            let guide = Guide::new(model, target, settings)?.avoiding(std::mem::take(&mut masks.avoid));
            Some((guide, masks))
        }
        None => None,
    };
    let sampler = Sampler::new(schedule, settings)?;
    let Generating { done, mut latents, history, trail, mut updates } = from;
    latents = latents.on(model.device());
    let mut history = history.on(model.device());
    let mut report = |event: &GenerationEvent| match progress(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    };
    let plans = step_plans(&sampler, settings);
    let mut predictor = Predictor::new(model, target, negative, settings)?;
    // Features that the next step reuses are made again.
    let is_reused = plans.get(done).is_some_and(|plan| plan.features == Features::Reused);
    let kept = plans[..done.min(plans.len())].iter().rposition(|plan| plan.features == Features::Kept);
    if let Some((kept, latents)) = kept.filter(|_| is_reused).and_then(|kept| Some((kept, trail.get(kept)?)))
    {
        let latents = latents.on(model.device());
        predictor.predict(latents.tensor(), sampler.timesteps()[kept], plans[kept]);
    }
    let steps = settings.steps;
    let timesteps = sampler.timesteps().iter().copied().zip(sampler.mask_keys()).zip(plans);
    for (index, ((timestep, mask_key), plan)) in timesteps.enumerate().skip(done) {
        let mut moved = false;
        if let Some((guide, masks)) = guide.as_ref().filter(|_| index < settings.guided_steps) {
            let masks = masks_at(masks, *mask_key, target, latents.frames())?;
            for update in 1..=settings.updates_per_step {
                let first_scale = || loss_scale::first(target.features.kind());
                let loss_scale = updates.last().map_or_else(first_scale, |last| last.loss_scale);
                let position = Position { timestep, index, update, loss_scale };
                let Some((after, record)) = guide.update(latents.tensor(), masks, position)? else { break };
                latents = Latents::new(after);
                moved = true;
                report(&GenerationEvent::Updated(&record))?;
                updates.push(record);
            }
        }
        let denoised = {
            let _no_gradients = tch::no_grad_guard();
            match predictor.predict(latents.tensor(), timestep, plan) {
                Some(prediction) => sampler.step(index, latents.tensor(), &prediction, moved, &mut history),
                None => latents.tensor().shallow_clone(),
            }
        };
        finite(&denoised, "sampling", index, settings, timestep, target.features.kind())?;
        latents = Latents::new(denoised);
        let (step, latents, history) = (index + 1, &latents, &history);
        report(&GenerationEvent::Denoised { step, steps, timestep, latents, history })?;
    }
    Ok(Generation { latents, updates })
}

/// The masks of a step of the inversion, after a check that they belong to this run.
fn masks_at<'a>(
    masks: &'a MotionMasks,
    key: i64,
    target: &EncodedPrompt,
    frames: i64,
) -> Result<&'a [LayerMasks], Error> {
    let Some(masks) = masks.at.get(&key) else {
        let found: Vec<i64> = masks.at.keys().copied().collect();
        let found =
            format!("it has masks for the timesteps {found:?} and none for {key}; invert with as many steps");
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

/// Checks that latents are numbers still; the nets compute in `kind`.
pub(crate) fn finite(
    latents: &Tensor,
    stage: &'static str,
    index: usize,
    settings: &Settings,
    timestep: Timestep,
    kind: Kind,
) -> Result<(), Error> {
    if is_finite(latents) {
        return Ok(());
    }
    let hint = if settings.is_guided() {
        "lower --step-size or --step-norm, or --guidance-scale"
    } else {
        "lower --guidance-scale; if that does not help, the checkpoint is broken: get it anew"
    };
    let hint = not_finite_hint(kind, hint);
    Err(Error::NotFinite { stage, step: index + 1, steps: settings.steps, timestep, hint })
}
