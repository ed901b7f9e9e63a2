//! Source frames -> the attention maps of forward passes on the noised source, with progress and measures.

use std::ops::ControlFlow;

use anyhow::Result;
use motionflow::diagnostics::coverage;
use motionflow::latents::Latents;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::noised::{NoisedSource, observe};
use motionflow::settings::Settings;

use crate::folder::record::StepRecord;
use crate::folder::unfinished::Unfinished;
use crate::progress::Progress;
use crate::runs::encoding::{Source, encode};
use crate::runs::kept_steps::KeptSteps;

/// Encodes the source and runs the passes on it, or goes on where `unfinished` says.
pub(crate) fn run_noised_passes(
    model: &dyn VideoModel,
    source: Source,
    settings: &Settings,
    unfinished: &mut Unfinished,
    progress: &mut Progress,
) -> Result<(NoisedSource, Vec<StepRecord>)> {
    let passes = settings.pass_timesteps().len();
    let mut encoded_in = None;
    let (from, records) = if let Some((from, records)) = unfinished.noised() {
        progress.note(&format!("masks: goes on after pass {} of {passes}", from.passes.len()));
        source.warn_of_recorded(records.first(), progress);
        (from, records)
    } else {
        let (clean, wider) = encode(model, source, progress)?;
        encoded_in = wider;
        (NoisedSource::new(clean), Vec::new())
    };
    let cancel = progress.cancel_token();
    let mut stage = progress.stage_in("passes", "masks", passes);
    stage.resumes_after(from.passes.len());
    let mut kept = KeptSteps::new(unfinished, stage, cancel, records);
    let observed = observe(model, from, source.text, settings, &mut |report| {
        let record = StepRecord::Noised {
            step: report.number,
            timestep: report.pass.timestep.into(),
            mask_coverage: report.masks.iter().map(coverage).collect(),
            seconds: kept.seconds(),
            encoded_in: encoded_in.take().map(|precision| precision.to_string()),
        };
        kept.keep(report.number, record, |unfinished, record| unfinished.save_noised(report, record))
    });
    kept.finish(observed)
}

/// Runs the passes that `settings` ask for on a clip that is encoded, in a stage of this name. Nothing of them is kept.
pub(crate) fn look(
    model: &dyn VideoModel,
    clean: Latents,
    text: &EncodedPrompt,
    settings: &Settings,
    name: &'static str,
    progress: &mut Progress,
) -> Result<NoisedSource> {
    let cancel = progress.cancel_token();
    let mut stage = progress.stage_in("passes", name, settings.all_pass_timesteps().len());
    let seen = observe(model, NoisedSource::new(clean), text, settings, &mut |report| {
        stage.step(report.number, "");
        if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    stage.finish();
    Ok(seen)
}
