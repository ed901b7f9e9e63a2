//! Source video -> noise latents and motion masks.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::error::Error;
use crate::latents::{Latents, is_finite};
use crate::masks::{LayerMasks, MotionMasks, motion_mask, subject_map};
use crate::model::{EncodedPrompt, VideoModel};
use crate::observer::MapKeeper;
use crate::settings::Settings;

/// What an inversion leaves: the latents as noise, and where the subjects were at every timestep.
#[derive(Debug)]
pub struct Inversion {
    /// Latents at the highest noise level.
    pub latents: Latents,
    /// A mask for every timestep, subject, guidance layer and frame.
    pub masks: MotionMasks,
}

/// One step of an inversion, as it is reported.
#[derive(Debug)]
pub struct InversionStep<'a> {
    /// Counted from 1.
    pub step: usize,
    /// Number of steps.
    pub steps: usize,
    /// The net's timestep.
    pub timestep: i64,
    /// One entry a subject: layer name -> the subject's attention map, [frames, places].
    pub maps: &'a [BTreeMap<String, Tensor>],
    /// The masks made of them.
    pub masks: &'a [LayerMasks],
}

/// DDIM inversion under the source prompt, without classifier-free guidance. At every timestep each subject's
/// cross-attention in the guidance layers is turned into a mask.
///
/// # Errors
/// [`Error::NotFinite`] names the step at which the latents stopped being numbers; [`Error::Settings`] a setting that
/// is out of range.
pub fn invert(
    model: &dyn VideoModel,
    clean: &Latents,
    source: &EncodedPrompt,
    settings: &Settings,
    progress: &mut dyn FnMut(&InversionStep),
) -> Result<Inversion, Error> {
    let schedule = model.schedule();
    settings.validate(schedule.max_steps())?;
    let _no_gradients = tch::no_grad_guard();
    let mut latents = clean.tensor().shallow_clone();
    let mut masks = MotionMasks::default();
    for (index, step) in schedule.ascending(settings.steps).into_iter().enumerate() {
        let mut observer = MapKeeper::new(&model.guidance_layers().cross);
        let prediction =
            model.predict_noise(&latents, step.timestep, &source.features, &mut observer).continue_value();
        let Some(prediction) = prediction else { break };
        let maps: Vec<BTreeMap<String, Tensor>> =
            source.subjects.iter().map(|tokens| subject_maps(&observer, tokens)).collect();
        let step_masks: Vec<LayerMasks> = maps.iter().map(|maps| layer_masks(maps, settings.tau)).collect();
        latents = schedule.add_noise_step(&latents, &prediction, step).to_kind(clean.tensor().kind());
        if !is_finite(&latents) {
            return Err(Error::NotFinite {
                stage: "inversion",
                step: index + 1,
                steps: settings.steps,
                timestep: step.timestep,
                mend: "the checkpoint or the source frames are broken",
            });
        }
        progress(&InversionStep {
            step: index + 1,
            steps: settings.steps,
            timestep: step.timestep,
            maps: &maps,
            masks: &step_masks,
        });
        masks.at.insert(step.timestep, step_masks);
    }
    Ok(Inversion { latents: Latents::new(latents), masks })
}

fn subject_maps(observer: &MapKeeper, tokens: &[i64]) -> BTreeMap<String, Tensor> {
    observer.maps.iter().map(|(layer, map)| (layer.clone(), subject_map(map, tokens))).collect()
}

fn layer_masks(maps: &BTreeMap<String, Tensor>, tau: f64) -> LayerMasks {
    maps.iter().map(|(layer, map)| (layer.clone(), motion_mask(map, tau))).collect()
}
