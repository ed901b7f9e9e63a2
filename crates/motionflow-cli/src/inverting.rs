//! The first half of a transfer: source frames -> noise latents and motion masks, with progress and measures.

use std::time::Instant;

use anyhow::Result;
use motionflow::diagnostics::{coverage, mask_figures, mask_warnings};
use motionflow::inversion::{Inversion, InversionStep, invert};
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::settings::Settings;
use motionflow_media::Mask;

use crate::pictures::masks_of;
use crate::progress::Progress;
use crate::record::{MaskRecord, StepRecord};
use crate::source::SourceClip;

/// Encodes the source and inverts it. `look` is shown every step.
pub(crate) fn invert_source(
    model: &dyn VideoModel,
    source: &SourceClip,
    prompt: &EncodedPrompt,
    settings: &Settings,
    progress: &mut Progress,
    look: &mut dyn FnMut(&InversionStep),
) -> Result<(Inversion, Vec<StepRecord>)> {
    let stage = progress.stage("encode", 1);
    let clean = model.encode_clip(&source.clip());
    stage.finish();
    let mut stage = progress.stage("invert", settings.steps);
    let mut records = Vec::new();
    let mut since = Instant::now();
    let inversion = invert(model, &clean, prompt, settings, &mut |step| {
        stage.step(step.step, "");
        records.push(StepRecord::Inversion {
            step: step.step,
            timestep: step.timestep,
            mask_coverage: step.masks.iter().map(coverage).collect(),
            seconds: since.elapsed().as_secs_f64(),
        });
        look(step);
        since = Instant::now();
    })?;
    stage.finish();
    Ok((inversion, records))
}

/// The timesteps whose masks guide: those of the first sampling steps. All where none is guided.
pub(crate) fn guided_timesteps(model: &dyn VideoModel, settings: &Settings) -> Vec<i64> {
    let count = if settings.guided_steps == 0 { settings.steps } else { settings.guided_steps };
    model.schedule().descending(settings.steps).into_iter().take(count).map(|step| step.timestep).collect()
}

/// Figures of every subject's masks; warns where they look wrong.
pub(crate) fn judge_masks(
    inversion: &Inversion,
    timesteps: &[i64],
    subjects: &[&str],
    progress: &mut Progress,
) -> Vec<MaskRecord> {
    let figures = mask_figures(&inversion.masks, |timestep| timesteps.contains(&timestep));
    for warning in mask_warnings(&figures, subjects) {
        progress.warn(warning);
    }
    let record = |(figures, subject): (&motionflow::diagnostics::MaskFigures, &&str)| MaskRecord {
        subject: (*subject).to_owned(),
        coverage: figures.coverage,
        overlap: figures.overlap,
    };
    figures.iter().zip(subjects).map(record).collect()
}

/// For every subject its mean mask over the timesteps, one a frame, to be shown.
pub(crate) fn shown_masks(inversion: &Inversion, timesteps: &[i64]) -> Result<Vec<Vec<Mask>>> {
    (0..inversion.masks.subjects())
        .filter_map(|subject| inversion.masks.average(subject, |timestep| timesteps.contains(&timestep)))
        .map(|mask| masks_of(&mask, &inversion.latents))
        .collect()
}
