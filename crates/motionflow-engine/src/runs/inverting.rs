//! The first half of a transfer: source frames -> noise latents and motion masks, with progress and measures.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use motionflow::compute::Precision;
use motionflow::diagnostics::{coverage, mask_figures, mask_warnings};
use motionflow::inversion::{Inversion, Inverting, invert};
use motionflow::latents::Latents;
use motionflow::masks::MotionMasks;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::settings::Settings;
use motionflow::wider::Wider;
use motionflow_media::Mask;

use crate::cache::inversions::InversionCache;
use crate::event::Event;
use crate::folder::record::{MaskRecord, Origin, StepRecord};
use crate::folder::unfinished::Unfinished;
use crate::progress::Progress;
use crate::runs::pictures::masks_of;
use crate::source::SourceClip;

/// An inversion, how it was come by, and the steps that were made for it.
#[derive(Debug)]
pub(crate) struct Inverted {
    pub(crate) inversion: Inversion,
    pub(crate) origin: Origin,
    pub(crate) steps: Vec<StepRecord>,
}

/// Encodes the source and inverts it, or goes on where `unfinished` says; or finds the inversion in the cache.
pub(crate) fn invert_source(
    model: &dyn VideoModel,
    source: &SourceClip,
    prompt: &EncodedPrompt,
    settings: &Settings,
    cache: &InversionCache,
    unfinished: &mut Unfinished,
    progress: &mut Progress,
) -> Result<Inverted> {
    let _turn = cache.turn(progress)?;
    let begun = unfinished.inversion();
    if (begun.is_none() || cache.is_store())
        && let Some(inversion) = cache.get(progress)
    {
        return Ok(Inverted { inversion, origin: Origin::Cached, steps: Vec::new() });
    }
    let mut encoded_in = None;
    let (from, mut records) = if let Some((from, records)) = begun {
        progress.note(&format!("invert: goes on after step {} of {}", from.done, settings.steps));
        if let Some(StepRecord::Inversion { encoded_in: Some(to), .. }) = records.first() {
            warn_of_wider(prompt, to.parse().ok(), progress);
        }
        (from, records)
    } else {
        let stage = progress.stage("encode", 1);
        let clean = model.encode_clip(&source.clip())?;
        stage.finish();
        encoded_in = clean.wider.map(|wider| wider.to);
        warn_of_wider(prompt, encoded_in, progress);
        (Inverting::new(clean.value), Vec::new())
    };
    let cancel = progress.cancel_token();
    let mut stage = progress.stage("invert", settings.steps);
    stage.resumes_after(from.done);
    let mut since = Instant::now();
    let mut saved = Ok(());
    let inversion = invert(model, from, prompt, settings, &mut |step| {
        let record = StepRecord::Inversion {
            step: step.step,
            timestep: step.timestep,
            mask_coverage: step.masks.iter().map(coverage).collect(),
            seconds: since.elapsed().as_secs_f64(),
            encoded_in: encoded_in.take().map(|precision: Precision| precision.to_string()),
        };
        saved = unfinished.save_inversion(step, &record);
        stage.step(step.step, "");
        stage.event(&Event::Step { step: &record });
        records.push(record);
        since = Instant::now();
        if saved.is_err() || cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    saved.and_then(|()| unfinished.settle())?;
    let inversion = inversion?;
    stage.finish();
    cache.put(&inversion, progress);
    Ok(Inverted { inversion, origin: Origin::Made, steps: records })
}

/// Tells that the source was encoded in a wider precision than the prompt.
fn warn_of_wider(prompt: &EncodedPrompt, to: Option<Precision>, progress: &mut Progress) {
    if let Some(to) = to {
        let from = Precision::of(prompt.features.kind());
        progress.warn(Wider { stage: "encoding", from, to }.to_string());
    }
}

/// Figures of every subject's masks; warns where they look wrong.
pub(crate) fn judge_masks(
    masks: &MotionMasks,
    timesteps: &[i64],
    subjects: &[&str],
    progress: &mut Progress,
) -> Vec<MaskRecord> {
    let figures = mask_figures(masks, |timestep| timesteps.contains(&timestep));
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
pub(crate) fn shown_masks(
    masks: &MotionMasks,
    latents: &Latents,
    timesteps: &[i64],
) -> Result<Vec<Vec<Mask>>> {
    (0..masks.subjects())
        .filter_map(|subject| masks.average(subject, |timestep| timesteps.contains(&timestep)))
        .map(|mask| masks_of(&mask, latents))
        .collect()
}
