//! Source video -> noise latents and the attention maps of its subjects.

use std::ops::ControlFlow;

use tch::Tensor;

use crate::error::{Error, not_finite_hint};
use crate::latents::{Latents, is_finite};
use crate::masking::motion_masks;
use crate::masks::{LayerMaps, LayerMasks, MotionMasks, SubjectMaps, layer_masks, subject_map};
use crate::model::{EncodedPrompt, GuidanceLayer, VideoModel};
use crate::observer::MapKeeper;
use crate::settings::Settings;
use crate::timestep::Timestep;
use crate::windows::Windows;

/// What an inversion leaves: the latents as noise, and where the model saw the subjects at every timestep.
#[derive(Debug)]
pub struct Inversion {
    /// Latents at the highest noise level.
    pub latents: Latents,
    /// A map for every timestep, subject, guidance layer and frame.
    pub maps: SubjectMaps,
}

impl Inversion {
    /// The motion masks; `guided` as in [`motion_masks`].
    ///
    /// # Errors
    /// [`Error::Inversion`] when its maps are of a size that the masks cannot be made of, or hold values that are not
    /// finite.
    pub fn masks(&self, guided: &[i64], settings: &Settings) -> Result<MotionMasks, Error> {
        let mut of_maps = self.maps.at.values().flatten().flat_map(LayerMaps::values);
        if !self.latents.is_finite() || !of_maps.all(is_finite) {
            return Err(Error::Inversion("it holds values that are not finite; invert again".to_owned()));
        }
        motion_masks(&self.maps, &self.latents, guided, settings)
    }
}

/// How far an inversion is: where it begins, or goes on.
#[derive(Debug)]
pub struct Inverting {
    /// Steps that are done.
    pub done: usize,
    /// Latents after those.
    pub latents: Latents,
    /// The maps of those.
    pub maps: SubjectMaps,
}

impl Inverting {
    /// Before the first step, from clean latents.
    pub fn new(clean: Latents) -> Self {
        Self { done: 0, latents: clean, maps: SubjectMaps::default() }
    }
}

/// One step of an inversion that is done, as it is reported.
#[derive(Debug)]
pub struct InversionStep<'a> {
    /// Counted from 1.
    pub step: usize,
    /// Number of steps.
    pub steps: usize,
    /// The net's timestep.
    pub timestep: Timestep,
    /// Names the step among the maps of the inversion.
    pub key: i64,
    /// Latents after the step.
    pub latents: &'a Latents,
    /// One entry a subject: its attention maps.
    pub maps: &'a [LayerMaps],
    /// The masks that they make by themselves.
    pub masks: &'a [LayerMasks],
}

/// DDIM inversion under the source prompt, without classifier-free guidance. At every timestep each subject's
/// cross-attention in the guidance layers is kept.
///
/// # Errors
/// As [`Schedule::check_inversion`](crate::schedule::Schedule::check_inversion); [`Error::NotFinite`] names the step at which the latents stopped being numbers; [`Error::Settings`] a setting that
/// is out of range; [`Error::EndOfSeveral`] when the end-of-text token cannot show the subjects; [`Error::Stopped`] when
/// `progress` breaks off after a step.
pub fn invert(
    model: &dyn VideoModel,
    from: Inverting,
    source: &EncodedPrompt,
    settings: &Settings,
    progress: &mut dyn FnMut(&InversionStep) -> ControlFlow<()>,
) -> Result<Inversion, Error> {
    let schedule = model.schedule();
    settings.validate(schedule.max_steps())?;
    schedule.check_inversion(settings.steps)?;
    let shown_by = source.shown_by(settings.subject_map)?;
    let _no_gradients = tch::no_grad_guard();
    let Inverting { done, mut latents, mut maps } = from;
    (latents, maps) = (latents.on(model.device()), maps.on(model.device()));
    let layers = model.kept_layers(settings)?;
    let windows = settings.context().windows(latents.frames());
    for (index, step) in schedule.ascending(settings.steps).into_iter().enumerate().skip(done) {
        let seen =
            predict(model, &windows, latents.tensor(), step.timestep, &source.features, (&layers, &shown_by));
        let Some((prediction, step_maps)) = seen else { break };
        latents = Latents::new(schedule.add_noise_step(latents.tensor(), &prediction, step));
        let mut of_maps = step_maps.iter().flat_map(LayerMaps::values);
        if !is_finite(latents.tensor()) || !of_maps.all(is_finite) {
            return Err(Error::NotFinite {
                stage: "inversion",
                step: index + 1,
                steps: settings.steps,
                timestep: step.timestep,
                hint: not_finite_hint(
                    source.features.kind(),
                    "the checkpoint or the source frames are broken",
                ),
            });
        }
        let masks: Vec<LayerMasks> = step_maps.iter().map(|maps| layer_masks(maps, settings.tau)).collect();
        let after = progress(&InversionStep {
            step: index + 1,
            steps: settings.steps,
            timestep: step.timestep,
            key: step.key,
            latents: &latents,
            maps: &step_maps,
            masks: &masks,
        });
        maps.at.insert(step.key, step_maps);
        if after.is_break() {
            return Err(Error::Stopped);
        }
    }
    Ok(Inversion { latents, maps })
}

/// The noise in latents, in all windows, and every subject's maps.
fn predict(
    model: &dyn VideoModel,
    windows: &Windows,
    latents: &Tensor,
    timestep: Timestep,
    features: &Tensor,
    (layers, shown_by): (&[GuidanceLayer], &[Vec<i64>]),
) -> Option<(Tensor, Vec<LayerMaps>)> {
    let (mut predictions, mut maps) = (Vec::new(), Vec::new());
    for latents in windows.parts(latents, 2) {
        let mut observer = MapKeeper::new(layers);
        let prediction = model.predict_noise(&latents, timestep, features, &mut observer);
        predictions.push(prediction.continue_value()?);
        maps.push(shown_by.iter().map(|tokens| subject_maps(&observer, tokens)).collect());
    }
    Some((windows.mean(&predictions, 2), windows.mean_of_maps(maps)))
}

/// What the observer has kept of one subject.
pub(crate) fn subject_maps(observer: &MapKeeper, tokens: &[i64]) -> LayerMaps {
    observer.maps.iter().map(|(layer, map)| (layer.clone(), subject_map(map, tokens))).collect()
}
