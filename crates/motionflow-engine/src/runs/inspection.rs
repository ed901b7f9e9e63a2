//! What `invert` and `inspect` have in common: a source, its prompt, and a model to look at it.

use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::prompt::Prompt;
use motionflow::settings::{MaskSource, Settings};
use motionflow_media::Ffmpeg;

use crate::cache::inversions::{self as inversion_cache, InversionCache, Made};
use crate::engine::{Engine, Stores};
use crate::estimate::{Task, Way};
use crate::folder::record::{
    ChoiceRecord, OutputRecord, ProgramRecord, PromptRecord, RunRecord, VideoRecord,
};
use crate::folder::run_folder::RunFolder;
use crate::models::store::LoadedModel;
use crate::models::suitability::warn_of_source;
use crate::motion::given;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::request::tables::required;
use crate::request::{MotionOptions, prompts, resolve};
use crate::runs::analysis::{InversionFrom, SourceAnalysis, analyze_source};
use crate::runs::compare::compare;
use crate::runs::encoding::Source;
use crate::runs::layer_choice;
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
    /// How the guidance blocks were chosen, where they were.
    pub(crate) layer_choice: Option<ChoiceRecord>,
}

/// What looks at a source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
}

/// Looks at the source of a run, and lets `write` make the run's files of it. `invert` inverts it in any case, `inspect`
/// where the masks are the inversion's.
pub(crate) fn inspect_source(
    command: Command,
    engine: &Engine,
    run: OpenRun,
    progress: &mut Progress,
    write: impl FnOnce(RunFolder, &Inspected, SourceAnalysis, &LoadedModel, &mut Progress) -> Result<()>,
) -> Result<()> {
    let resources = run.request.program.resources.clone();
    engine.on_device(&resources, progress, |compute, stores, progress| {
        let output = run.output().to_owned();
        open::attempt(command.name, &output, compute, progress, |progress| {
            inspect_on(command, engine, run, compute, stores, progress, write)
        })
    })
}

/// Checks what is cheap first, then loads and looks.
fn inspect_on(
    command: Command,
    engine: &Engine,
    run: OpenRun,
    compute: Compute,
    stores: &mut Stores,
    progress: &mut Progress,
    write: impl FnOnce(RunFolder, &Inspected, SourceAnalysis, &LoadedModel, &mut Progress) -> Result<()>,
) -> Result<()> {
    let OpenRun { request, mut folder } = run;
    let source_prompt = required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?;
    let path = source_path(&request)?;
    let prompt = prompts::parse("--source-prompt", &source_prompt)?;
    prompts::with_subject("the source prompt", &prompt)?;
    let ffmpeg = stores.sources.ffmpeg()?;
    let found = engine.find(&request.model, progress)?;
    found.prepare_record();
    let mut settings = request.settings.resolve(&found.recommended.settings);
    if command.way == Way::Inspect && (settings.guidance_layers.is_empty() || settings.chooses_layers()) {
        settings.guidance_layers = found.inspected_blocks()?;
    }
    given::settle(&mut settings, &MotionOptions::default())?;
    found.check_settings(&settings)?;
    found.check_inversion(&settings)?;
    found.check_subjects(&[&prompt])?;
    found.check_domain(&[("the source prompt", &prompt)], progress);
    settings.subject_map.check(prompt.subjects.len())?;
    let mut video = request.video.resolve(&found.recommended.video)?;
    found.check_size(&video, settings.context())?;
    let compute = found.compute(request.program.resources.precision, compute);
    let task = Task::new(&found, &settings, command.way, compute)?;
    engine.check_memory(&task, &video, &found, &mut stores.models)?;
    let cut = request.source.cut.resolve()?;
    let source = stores.sources.read(&path, cut, &video, progress);
    let source = source.map_err(|error| found.with_possible_frames(error, &video))?;
    video.fps = request.video.rate.fps.unwrap_or(source.record.fps);
    warn_of_source(&source.frames, &video, settings.context(), &found.recommended, progress);
    resolve::check_rate(video.fps)?;
    compare(
        &request,
        Some(&source.record),
        &MotionOptions::default(),
        &found,
        folder.is_resumed(),
        progress,
    )?;
    let began_in = folder.take_up(compute.memory, &found.recommended, progress)?;
    let inverts = command.way == Way::Invert || settings.mask_source == MaskSource::Inversion;
    let may_keep = inverts && request.program.cache.unwrap_or(true);
    let cache = if may_keep { inversion_cache::of_user(progress)? } else { None };
    let model = stores.models.load(&found, compute, progress)?;
    let text = model.encode(&prompt)?;
    text.warnings.iter().for_each(|warning| progress.warn(warning));
    let seen = Source { clip: &source, text: &text, encoded: None };
    let (chosen, encoded) =
        layer_choice::choose(model.nets(), Some(seen), &mut settings, &found, &request, progress)?;
    let record = RunRecord {
        program: ProgramRecord::new(command.name, &ffmpeg, compute),
        prompts: PromptRecord { source_prompt: Some(source_prompt), ..PromptRecord::default() },
        source: Some(source.record.clone()),
        motion: MotionOptions::default(),
        video: VideoRecord::of(&video),
        model: found.record()?,
        settings: settings.clone(),
        output: OutputRecord { metadata: true },
    };
    let cache = InversionCache::of(&Made::by(model.nets(), &record, began_in.as_deref())?, cache);
    let mut inspected = Inspected { ffmpeg, settings, video, source, prompt, record, layer_choice: None };

    let unfinished = folder.begin(&inspected.record)?;
    inspected.layer_choice = unfinished.layer_choice(chosen)?;
    let Inspected { settings, source, prompt, .. } = &inspected;
    let inverts = if inverts { InversionFrom::Source(cache) } else { InversionFrom::No };
    let source = Source { clip: source, text: &text, encoded: encoded.as_ref() };
    let subjects = prompts::subjects(prompt);
    let analysis =
        analyze_source(model.nets(), Some(source), &subjects, settings, inverts, unfinished, progress)?;
    write(folder, &inspected, analysis, model, progress)
}
