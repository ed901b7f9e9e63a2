//! Source frames -> noise latents and attention maps, with progress and measures.

use anyhow::Result;
use motionflow::diagnostics::coverage;
use motionflow::inversion::{Inversion, Inverting, invert};
use motionflow::latents::Latents;
use motionflow::model::VideoModel;
use motionflow::settings::Settings;

use crate::cache::inversions::InversionCache;
use crate::folder::record::{Origin, StepRecord};
use crate::folder::unfinished::Unfinished;
use crate::progress::Progress;
use crate::runs::encoding::{Source, encode};
use crate::runs::kept_steps::KeptSteps;

/// An inversion, how it was come by, and the steps that were made for it.
#[derive(Debug)]
pub(crate) struct Inverted {
    pub(crate) inversion: Inversion,
    pub(crate) origin: Origin,
    pub(crate) steps: Vec<StepRecord>,
}

/// Inverts the source from its clean latents, for which it is encoded where there are none yet. Or goes on where
/// `unfinished` says, or finds the inversion in the cache.
pub(crate) fn invert_source(
    model: &dyn VideoModel,
    source: Source,
    clean: Option<Latents>,
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
    let (from, records) = if let Some((from, records)) = begun {
        progress.note(&format!("invert: goes on after step {} of {}", from.done, settings.steps));
        source.warn_of_recorded(records.first(), progress);
        (from, records)
    } else if let Some(clean) = clean {
        (Inverting::new(clean), Vec::new())
    } else {
        let (clean, wider) = encode(model, source, progress)?;
        encoded_in = wider;
        (Inverting::new(clean), Vec::new())
    };
    let cancel = progress.cancel_token();
    let mut stage = progress.stage("invert", settings.steps);
    stage.resumes_after(from.done);
    let mut kept = KeptSteps::new(unfinished, stage, cancel, records);
    let inversion = invert(model, from, source.text, settings, &mut |step| {
        let record = StepRecord::Inversion {
            step: step.step,
            timestep: step.timestep,
            mask_coverage: step.masks.iter().map(coverage).collect(),
            seconds: kept.seconds(),
            encoded_in: encoded_in.take().map(|precision| precision.to_string()),
        };
        kept.keep(step.step, record, |unfinished, record| unfinished.save_inversion(step, record))
    });
    let (inversion, steps) = kept.finish(inversion)?;
    cache.put(&inversion, progress);
    Ok(Inverted { inversion, origin: Origin::Made, steps })
}
