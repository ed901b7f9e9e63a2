//! What `invert` and `inspect` have in common: a source, its prompt, and a loaded model to look at it.

use std::rc::Rc;

use anyhow::Result;
use motionflow::inversion::Inversion;
use motionflow::masks::MotionMasks;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use motionflow::text_to_video::TextToVideo;
use motionflow_media::Ffmpeg;

use crate::runs::open::Asked;
use crate::folder::changes::compare;
use crate::estimate::{Task, Way};
use crate::cache::inversions::{self as inversion_cache, InversionCache};
use crate::runs::inverting::{Inverted, Origin, invert_source, judge_masks};
use crate::progress::Progress;
use crate::request::prompts;
use crate::request::recommended::Video;
use crate::folder::record::{
    MaskRecord, OutputRecord, ProgramRecord, PromptRecord, RunRecord, StepRecord, VideoRecord,
};
use crate::request::tables::required;
use crate::request::resolve;
use crate::folder::run_folder::RunFolder;
use crate::session::Session;
use crate::source::{SourceClip, find_ffmpeg, source_path};
use crate::models::suitability::warn_of_source;
use crate::folder::unfinished::Unfinished;

/// Everything that is needed to look.
#[derive(Debug)]
pub(crate) struct LookingJob {
    pub(crate) ffmpeg: Ffmpeg,
    pub(crate) model: Rc<TextToVideo>,
    pub(crate) settings: Settings,
    pub(crate) video: Video,
    pub(crate) source: SourceClip,
    pub(crate) prompt: Prompt,
    pub(crate) record: RunRecord,
    text: EncodedPrompt,
    cache: InversionCache,
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

impl LookingJob {
    /// Checks what is cheap first, then loads.
    pub(crate) fn prepare(command: &str, asked: Asked, session: &mut Session) -> Result<(RunFolder, Self)> {
        let Asked { request, mut folder } = asked;
        let source_prompt = required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?;
        let path = source_path(&request)?;
        let prompt = prompts::parse("--source-prompt", &source_prompt)?;
        prompts::with_subject("the source prompt", &prompt)?;
        let ffmpeg = find_ffmpeg()?;
        let found = session.find(&request.model)?;
        found.prepare_record();
        let settings = request.settings.resolve(&found.recommended.settings);
        resolve::check(&settings, &found.schedule()?)?;
        found.check_subjects(&[&prompt])?;
        settings.subject_map.check(prompt.subjects.len())?;
        let mut video = request.video.resolve(&found.recommended.video)?;
        found.check_size(&video)?;
        session.check_memory(
            &Task::new(found.configs()?, &settings, Way::Invert, session.compute()?)?,
            &video,
        )?;
        let cut = request.source.cut.resolve()?;
        let source = SourceClip::read(&ffmpeg, &path, cut, &video, &mut session.progress)?;
        video.fps = request.video.fps.unwrap_or(source.record.fps);
        warn_of_source(&source.frames, &video, &found.recommended, &mut session.progress);
        resolve::check_rate(video.fps)?;
        compare(&request, Some(&source.record), &found, folder.is_resumed(), &mut session.progress)?;
        let began_in = folder.take_up(session.memory(), &found.recommended, &mut session.progress)?;
        let may_keep = request.program.cache.unwrap_or(true);
        let cache = if may_keep { inversion_cache::of_user(&mut session.progress)? } else { None };
        let model = session.load(&found)?;
        let text = model.encode_prompt(&prompt)?;
        text.warnings.iter().for_each(|warning| session.progress.warn(warning));
        let record = RunRecord {
            program: ProgramRecord::new(command, &ffmpeg, session.compute()?),
            prompts: PromptRecord { source_prompt: Some(source_prompt), ..PromptRecord::default() },
            source: Some(source.record.clone()),
            video: VideoRecord::of(&video),
            model: found.record()?,
            settings: settings.clone(),
            output: OutputRecord { metadata: true },
        };
        let cache = InversionCache::of(&record, began_in.as_deref(), cache);
        Ok((folder, Self { ffmpeg, model, settings, video, source, prompt, record, text, cache }))
    }

    /// Inverts the source and judges its masks.
    pub(crate) fn look(&self, unfinished: &mut Unfinished, progress: &mut Progress) -> Result<Look> {
        let (model, source, text) = (&*self.model, &self.source, &self.text);
        let Inverted { inversion, origin, steps } =
            invert_source(model, source, text, &self.settings, &self.cache, unfinished, progress)?;
        let timesteps = self.settings.guided_timesteps(model.schedule());
        let masks = inversion.masks(&timesteps, &self.settings)?;
        let figures = judge_masks(&masks, &timesteps, &prompts::subjects(&self.prompt), progress);
        Ok(Look { inversion, origin, masks, timesteps, figures, steps })
    }
}
