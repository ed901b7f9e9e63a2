//! What `invert` and `inspect` have in common: a source, its prompt, and a model to look at it.

use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::inversion::Inversion;
use motionflow::masks::MotionMasks;
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use motionflow_media::Ffmpeg;

use crate::cache::inversions::{self as inversion_cache, InversionCache};
use crate::engine::{Engine, Stores};
use crate::estimate::{Task, Way};
use crate::folder::record::{
    MaskRecord, Origin, OutputRecord, ProgramRecord, PromptRecord, RunRecord, StepRecord, VideoRecord,
};
use crate::folder::run_folder::RunFolder;
use crate::models::store::LoadedModel;
use crate::models::suitability::warn_of_source;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::request::tables::required;
use crate::request::{prompts, resolve};
use crate::runs::compare::compare;
use crate::runs::inverting::{Inverted, invert_source, judge_masks};
use crate::runs::open::{self, OpenRun};
use crate::source::{SourceClip, source_path};

/// A source with all that is known of it before it is looked at.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) ffmpeg: Ffmpeg,
    pub(crate) settings: Settings,
    pub(crate) video: Video,
    pub(crate) source: Arc<SourceClip>,
    pub(crate) prompt: Prompt,
    pub(crate) record: RunRecord,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) inversion: Inversion,
    pub(crate) origin: Origin,
    pub(crate) masks: MotionMasks,
    /// Timesteps that a transfer would be guided at.
    pub(crate) timesteps: Vec<i64>,
    pub(crate) figures: Vec<MaskRecord>,
    pub(crate) steps: Vec<StepRecord>,
}

/// Inverts the source of a run, and lets `write` make the run's files of it.
pub(crate) fn look(
    command: &str,
    engine: &Engine,
    run: OpenRun,
    progress: &mut Progress,
    write: impl FnOnce(RunFolder, &Inspected, Look, &LoadedModel, &mut Progress) -> Result<()>,
) -> Result<()> {
    let resources = run.request.program.resources.clone();
    engine.on_device(&resources, progress, |compute, stores, progress| {
        let output = run.output().to_owned();
        open::attempt(command, &output, compute, progress, |progress| {
            look_on(command, engine, run, compute, stores, progress, write)
        })
    })
}

/// Checks what is cheap first, then loads and looks.
fn look_on(
    command: &str,
    engine: &Engine,
    run: OpenRun,
    compute: Compute,
    stores: &mut Stores,
    progress: &mut Progress,
    write: impl FnOnce(RunFolder, &Inspected, Look, &LoadedModel, &mut Progress) -> Result<()>,
) -> Result<()> {
    let OpenRun { request, mut folder } = run;
    let source_prompt = required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?;
    let path = source_path(&request)?;
    let prompt = prompts::parse("--source-prompt", &source_prompt)?;
    prompts::with_subject("the source prompt", &prompt)?;
    let ffmpeg = stores.sources.ffmpeg()?;
    let found = engine.find(&request.model, progress)?;
    found.prepare_record();
    let settings = request.settings.resolve(&found.recommended.settings);
    found.check_settings(&settings)?;
    found.check_inversion(&settings)?;
    found.check_subjects(&[&prompt])?;
    found.check_domain(&[("the source prompt", &prompt)], progress);
    settings.subject_map.check(prompt.subjects.len())?;
    let mut video = request.video.resolve(&found.recommended.video)?;
    found.check_size(&video)?;
    let task = Task::new(&found, &settings, Way::Invert, compute)?;
    engine.check_memory(&task, &video, &found, &mut stores.models)?;
    let cut = request.source.cut.resolve()?;
    let source = stores.sources.read(&path, cut, &video, progress)?;
    video.fps = request.video.rate.fps.unwrap_or(source.record.fps);
    warn_of_source(&source.frames, &video, &found.recommended, progress);
    resolve::check_rate(video.fps)?;
    compare(&request, Some(&source.record), &found, folder.is_resumed(), progress)?;
    let began_in = folder.take_up(compute.memory, &found.recommended, progress)?;
    let may_keep = request.program.cache.unwrap_or(true);
    let cache = if may_keep { inversion_cache::of_user(progress)? } else { None };
    let model = stores.models.load(&found, compute, progress)?;
    let text = model.encode(&prompt)?;
    text.warnings.iter().for_each(|warning| progress.warn(warning));
    let record = RunRecord {
        program: ProgramRecord::new(command, &ffmpeg, compute),
        prompts: PromptRecord { source_prompt: Some(source_prompt), ..PromptRecord::default() },
        source: Some(source.record.clone()),
        video: VideoRecord::of(&video),
        model: found.record()?,
        settings: settings.clone(),
        output: OutputRecord { metadata: true },
    };
    let cache = InversionCache::of(&record, began_in.as_deref(), cache);
    let inspected = Inspected { ffmpeg, settings, video, source, prompt, record };

    let Inspected { settings, source, prompt, record, .. } = &inspected;
    let unfinished = folder.begin(record)?;
    let Inverted { inversion, origin, steps } =
        invert_source(model.nets(), source, &text, settings, &cache, unfinished, progress)?;
    let timesteps = settings.guided_timesteps(model.nets().schedule())?;
    let masks = inversion.masks(&timesteps, settings)?;
    let figures = judge_masks(&masks, &timesteps, &prompts::subjects(prompt), progress);
    let look = Look { inversion, origin, masks, timesteps, figures, steps };
    write(folder, &inspected, look, model, progress)
}
