//! What a transfer is made of, checked before anything is loaded, and what it leaves.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::generation::GuidedUpdate;
use motionflow::inversion::Inversion;
use motionflow::latents::Latents;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::prompt::Prompt;
use motionflow::settings::{Init, Settings};
use motionflow_media::compare::{Pane, side_by_side};
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::image::RgbImage;
use motionflow_media::{Ffmpeg, gif, picture, plot, video};

use crate::engine::{Engine, Stores};
use crate::estimate::{Estimate, Task, Way};
use crate::folder::inversion_file::SavedInversion;
use crate::folder::metadata::Notes;
use crate::folder::outputs::{self, LeftOut};
use crate::folder::record::{OutputRecord, ProgramRecord, PromptRecord, RunRecord, VideoRecord};
use crate::models::found::FoundModel;
use crate::models::store::LoadedModel;
use crate::models::suitability::warn_of_source;
use crate::motion::mask_files;
use crate::plan::{Plan, Preview, tokens};
use crate::progress::Progress;
use crate::request::recommended::{Recommended, Video};
use crate::request::resolve::{self};
use crate::request::tables::required;
use crate::request::{Request, prompts};
use crate::runs::analysis::SourceAnalysis;
use crate::runs::pictures::legend;
use crate::source::{SourceClip, source_path};

pub(super) const COMMAND: &str = "transfer";

/// What the folder holds, besides masks.mp4, which needs a subject.
pub(super) const FILES: [(&str, &str); 7] = [
    ("contact-sheet.png", "source, motion mask and result, frame by frame"),
    ("compare.mp4", "the source beside the result"),
    ("result.mp4", "the new video"),
    ("result.gif", "the same, for a page"),
    ("loss.svg", "how the guidance went"),
    ("run.toml", "every setting"),
    ("run.json", "every step, and the warnings"),
];
pub(super) const MASKS_FILE: (&str, &str) = ("masks.mp4", "where the model saw the subject in the source");

/// What a transfer among many leaves.
pub(super) const FEW_FILES: [&str; 4] = ["contact-sheet.png", "result.mp4", "run.toml", "run.json"];

/// What the nets make of the prompts.
pub(super) struct Texts {
    pub(super) source: EncodedPrompt,
    pub(super) target: EncodedPrompt,
    pub(super) negative: EncodedPrompt,
}

/// What a transfer depends on besides its source and prompts, filled in.
pub(super) struct Resolved {
    pub(super) settings: Settings,
    /// Frames per second are those of the source where the request does not say them.
    pub(super) video: Video,
    pub(super) negative_prompt: String,
    pub(super) metadata: bool,
}

impl Resolved {
    pub(super) fn of(
        request: &Request,
        saved: Option<&SavedInversion>,
        recommended: &Recommended,
    ) -> Result<Self> {
        let mut requested = request.settings.clone();
        if let Some(saved) = saved {
            requested.steps.steps = Some(saved.record.steps);
        }
        let mut settings = requested.resolve(&recommended.settings);
        let mut video = request.video.resolve(&recommended.video)?;
        if let Some(saved) = saved {
            saved.fix_subject_map(&mut settings, requested.masks.subject_map)?;
            let VideoRecord { width, height, frames, .. } = saved.record.video;
            video = Video { width, height, frames, ..video };
        }
        let negative_prompt = request.prompts.new.negative_prompt.as_ref();
        Ok(Self {
            settings,
            video,
            negative_prompt: negative_prompt.unwrap_or(&recommended.negative_prompt).clone(),
            metadata: request.output.metadata.unwrap_or(true),
        })
    }
}

/// A transfer of which all that can be checked without the weights is checked.
pub(super) struct Job {
    pub(super) ffmpeg: Ffmpeg,
    pub(super) compute: Compute,
    pub(super) found: Arc<FoundModel>,
    pub(super) settings: Settings,
    pub(super) video: Video,
    pub(super) source: Arc<SourceClip>,
    pub(super) source_prompt: Prompt,
    pub(super) source_text: String,
    pub(super) inversion: Option<Inversion>,
    pub(super) prompt: Prompt,
    pub(super) text: String,
    pub(super) negative_prompt: String,
    pub(super) metadata: bool,
}

impl Job {
    /// Checks what is cheap first, so that a mistake is reported at once. Where it `will_run`, its record is prepared.
    pub(super) fn check(
        request: &Request,
        will_run: bool,
        engine: &Engine,
        compute: Compute,
        stores: &mut Stores,
        progress: &mut Progress,
    ) -> Result<Self> {
        let text = required(request.prompts.new.prompt.as_ref(), prompts::PROMPT_MISSING)?;
        let prompt = prompts::parse("--prompt", &text)?;
        let saved = request.source.inversion.as_deref().map(SavedInversion::open).transpose()?;
        let source_text = if let Some(saved) = &saved {
            saved.record.source_prompt.clone()
        } else {
            source_path(request)?;
            required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?
        };
        let source_prompt = prompts::parse("--source-prompt", &source_text)?;
        let guidance = &request.settings.guidance;
        if guidance.updates != Some(false) && guidance.guided_steps != Some(0) {
            prompts::check_pair(&source_prompt, &prompt)?;
        }
        let ffmpeg = stores.sources.ffmpeg()?;
        let found = engine.find(&request.model, progress)?;
        if will_run {
            found.prepare_record();
        }
        let Resolved { settings, mut video, negative_prompt, metadata } =
            Resolved::of(request, saved.as_ref(), &found.recommended)?;
        found.check_settings(&settings)?;
        if saved.is_none() {
            found.check_inversion(&settings)?;
        }
        found.check_subjects(&[&source_prompt, &prompt])?;
        found.check_domain(&[("the source prompt", &source_prompt), ("the prompt", &prompt)], progress);
        found.check_blocks(&settings.guidance_layers)?;
        settings.subject_map.check(source_prompt.subjects.len())?;
        let context = settings.context();
        found.check_size(&video, context)?;
        let (source, inversion) = if let Some(saved) = saved {
            let (source, inversion) = saved.load(&found.record()?)?;
            (Arc::new(source), Some(inversion))
        } else {
            let cut = request.source.cut.resolve()?;
            (stores.sources.read(&source_path(request)?, cut, &video, progress)?, None)
        };
        video.fps = request.video.rate.fps.unwrap_or(source.record.fps);
        resolve::check_rate(video.fps)?;
        warn_of_source(&source.frames, &video, context, &found.recommended, progress);
        Ok(Self {
            ffmpeg,
            compute,
            found,
            settings,
            video,
            source,
            source_prompt,
            source_text,
            inversion,
            prompt,
            text,
            negative_prompt,
            metadata,
        })
    }

    pub(super) fn prompts(&self) -> PromptRecord {
        PromptRecord {
            source_prompt: Some(self.source_text.clone()),
            prompt: Some(self.text.clone()),
            negative_prompt: Some(self.negative_prompt.clone()),
        }
    }

    /// What takes time and memory.
    pub(super) fn task(&self) -> Result<Task> {
        let way = if self.inversion.is_some() { Way::FromInversion } else { Way::Transfer };
        Task::new(&self.found, &self.settings, way, self.compute)
    }

    /// What the nets make of the prompts.
    pub(super) fn encode(&self, model: &LoadedModel) -> Result<Texts> {
        Ok(Texts {
            source: model.encode(&self.source_prompt)?,
            target: model.encode(&self.prompt)?,
            negative: model.encode(&Prompt::literal(&self.negative_prompt))?,
        })
    }

    /// What the sampling starts from.
    pub(super) fn start_latents(&self, analysis: &SourceAnalysis, nets: &dyn VideoModel) -> Result<Latents> {
        let [frames, height, width] = [self.video.frames, self.video.height, self.video.width].map(i64::from);
        Ok(match self.settings.init {
            Init::Inverted => analysis.inversion()?.0.latents.share(),
            Init::Noise => {
                self.settings.context().noise(nets, [frames, height, width], self.settings.seed)?
            }
        })
    }

    /// What would be done.
    pub(super) fn plan(&self, output: &Path, progress: &mut Progress) -> Result<Plan> {
        let mut files = FILES.to_vec();
        if !self.source_prompt.subjects.is_empty() {
            files.extend([MASKS_FILE, mask_files::FOLDER, mask_files::ARRAYS]);
        }
        let negative = Prompt::literal(&self.negative_prompt);
        let prompts = [
            ("source prompt", &self.source_prompt),
            ("prompt", &self.prompt),
            ("negative prompt", &negative),
        ];
        let resolved = Preview {
            prompts: self.prompts(),
            source: self.source.record.clone(),
            video: VideoRecord::of(&self.video),
            settings: self.settings.clone(),
        };
        Ok(Plan {
            model: self.found.describe(),
            tokens: tokens::of_prompts(&self.found.tokenizer()?, &prompts, progress)?,
            estimate: Estimate::of(&self.task()?, &self.video),
            resolved,
            output: output.to_owned(),
            files: files.into_iter().map(|(name, _)| name).collect(),
        })
    }

    pub(super) fn record(&self) -> Result<RunRecord> {
        Ok(RunRecord {
            program: ProgramRecord::new(COMMAND, &self.ffmpeg, self.compute),
            prompts: self.prompts(),
            source: Some(self.source.record.clone()),
            video: VideoRecord::of(&self.video),
            model: self.found.record()?,
            settings: self.settings.clone(),
            output: OutputRecord { metadata: self.metadata },
        })
    }

    /// Writes the results side by side: most of that is waiting for one ffmpeg each.
    pub(super) fn write(
        &self,
        folder: &Path,
        result: &[RgbImage],
        masked: Option<&[RgbImage]>,
        updates: &[GuidedUpdate],
        notes: &Notes,
        quick: bool,
    ) -> Result<LeftOut> {
        let (ffmpeg, fps, source) = (&self.ffmpeg, self.video.fps, self.source.frames.as_slice());
        let mp4 = |path: &Path, frames: &[RgbImage], notes: &[(&str, &str)]| {
            Ok(video::write_mp4(ffmpeg, path, frames, fps, notes)?)
        };
        let source_label = format!("source: {}", self.source_prompt.text);
        let mask_label = format!("motion mask: {}", legend(&prompts::subjects(&self.source_prompt)));
        let result_label = format!("result: {}", self.prompt.text);
        let mut rows = vec![Row { label: &source_label, frames: source }];
        rows.extend(masked.map(|frames| Row { label: &mask_label, frames }));
        rows.push(Row { label: &result_label, frames: result });
        let write_sheet = |path: &Path| Ok(picture::write_png(path, &contact_sheet(&rows, COLUMNS)?)?);
        let pairs = notes.pairs();
        let write_result = |path: &Path| mp4(path, result, &pairs);
        let mut files_to_write = vec![
            outputs::essential("result.mp4", &write_result),
            outputs::picture("contact-sheet.png", &write_sheet),
        ];
        if quick {
            return outputs::write(folder, &files_to_write);
        }
        let write_gif = |path: &Path| Ok(gif::write_gif(ffmpeg, path, result, fps, notes.comment())?);
        let panes = [Pane { label: "source", frames: source }, Pane { label: "result", frames: result }];
        let write_comparison = |path: &Path| mp4(path, &side_by_side(&panes)?, &[]);
        let write_masks = |path: &Path| masked.map_or(Ok(()), |masked| mp4(path, masked, &[]));
        let updates: Vec<plot::Update> = updates.iter().map(plotted).collect();
        let write_loss = |path: &Path| Ok(plot::write_loss_svg(path, &updates)?);
        files_to_write.extend([
            outputs::picture("result.gif", &write_gif),
            outputs::picture("compare.mp4", &write_comparison),
            outputs::picture(MASKS_FILE.0, &write_masks),
            outputs::picture("loss.svg", &write_loss),
        ]);
        outputs::write(folder, &files_to_write)
    }
}

fn plotted(update: &GuidedUpdate) -> plot::Update {
    let part = |part: Option<f64>| part.unwrap_or(f64::NAN);
    plot::Update {
        total: update.loss,
        cross: part(update.parts.cross),
        self_attention: part(update.parts.spatial),
        temporal: part(update.parts.temporal),
        outside: part(update.parts.outside),
        other: part(update.parts.other),
        gradient_norm: Some(update.gradient_norm),
    }
}
