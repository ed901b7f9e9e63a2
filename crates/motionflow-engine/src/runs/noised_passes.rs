//! Source frames -> the attention maps of forward passes on the noised source, with progress and measures.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use motionflow::diagnostics::coverage;
use motionflow::model::VideoModel;
use motionflow::noised::{NoisedSource, observe};
use motionflow::settings::Settings;

use crate::event::Event;
use crate::folder::record::StepRecord;
use crate::folder::unfinished::Unfinished;
use crate::progress::Progress;
use crate::runs::encoding::{Source, encode};

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
    let (from, mut records) = if let Some((from, records)) = unfinished.noised() {
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
    let mut since = Instant::now();
    let mut saved = Ok(());
    let passes = observe(model, from, source.text, settings, &mut |report| {
        let record = StepRecord::Noised {
            step: report.number,
            timestep: report.pass.timestep,
            mask_coverage: report.masks.iter().map(coverage).collect(),
            seconds: since.elapsed().as_secs_f64(),
            encoded_in: encoded_in.take().map(|precision| precision.to_string()),
        };
        saved = unfinished.save_noised(report, &record);
        stage.step(report.number, "");
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
    let passes = passes?;
    stage.finish();
    Ok((passes, records))
}
