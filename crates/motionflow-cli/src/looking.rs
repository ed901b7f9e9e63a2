//! What `invert` and `inspect` have in common: a source, its prompt, and a loaded model to look at it.

use anyhow::Result;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use motionflow::text_to_video::TextToVideo;
use motionflow_media::Ffmpeg;

use crate::args;
use crate::model::FoundModel;
use crate::progress::Progress;
use crate::prompts;
use crate::recommended::Video;
use crate::resolve::{self, SettingFlags};
use crate::run_folder::RunFolder;
use crate::source::{SourceClip, find_ffmpeg};

/// Everything that is needed to look.
#[derive(Debug)]
pub(crate) struct LookingJob {
    pub(crate) folder: RunFolder,
    pub(crate) ffmpeg: Ffmpeg,
    pub(crate) found: FoundModel,
    pub(crate) model: TextToVideo,
    pub(crate) settings: Settings,
    pub(crate) video: Video,
    pub(crate) source: SourceClip,
    pub(crate) prompt: Prompt,
    pub(crate) text: EncodedPrompt,
}

impl args::Looking {
    /// Checks what is cheap first, then loads.
    pub(crate) fn prepare(&self, progress: &mut Progress) -> Result<LookingJob> {
        let prompt = prompts::parse("--source-prompt", &self.source.source_prompt)?;
        prompts::with_subject("the source prompt", &prompt)?;
        let folder = RunFolder::claim(&self.output.output, self.output.force)?;
        let ffmpeg = find_ffmpeg()?;
        let found = FoundModel::find(&self.model, progress)?;
        let flags = SettingFlags { steps: self.steps.steps, tau: self.tau.tau, ..SettingFlags::default() };
        let settings = flags.resolve(&found.recommended.settings);
        resolve::check(&settings, &found.schedule()?)?;
        found.check_subjects(&[&prompt])?;
        let mut video = self.video.resolve(&found.recommended.video)?;
        found.check_size(&video)?;
        let source = SourceClip::read(&ffmpeg, &self.source.source, &self.source.cut, &video, progress)?;
        video.fps = self.video.fps.unwrap_or(source.record.fps);
        let model = found.load(progress)?;
        let text = model.encode_prompt(&prompt)?;
        text.warnings.iter().for_each(|warning| progress.warn(warning));
        Ok(LookingJob { folder, ffmpeg, found, model, settings, video, source, prompt, text })
    }
}
