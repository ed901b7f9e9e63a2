//! What a transfer is made of, checked before anything is loaded, and what it leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::Compute;
use motionflow::generation::GuidedUpdate;
use motionflow::inversion::Inversion;
use motionflow::latents::Latents;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::prompt::Prompt;
use motionflow::settings::{Init, MaskSource, Settings};
use motionflow_media::compare::{Pane, side_by_side};
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet};
use motionflow_media::image::{Rgb, RgbImage};
use motionflow_media::{Ffmpeg, gif, picture, plot, video};

use crate::engine::{Engine, Stores};
use crate::estimate::{Estimate, Task, Way};
use crate::folder::inversion_file::SavedInversion;
use crate::folder::mask_folder;
use crate::folder::metadata::Notes;
use crate::folder::outputs::{self, LeftOut, Output};
use crate::folder::record::{
    ModelRecord, OutputRecord, ProgramRecord, PromptRecord, RunRecord, SourceRecord, VideoRecord,
};
use crate::models::found::FoundModel;
use crate::models::store::LoadedModel;
use crate::models::suitability::{warn_of_frames, warn_of_levels, warn_of_source};
use crate::motion::given::{self, Given};
use crate::plan::{Plan, Preview, tokens};
use crate::progress::Progress;
use crate::request::recommended::{Recommended, Video};
use crate::request::resolve::{self};
use crate::request::tables::required;
use crate::request::{MotionOptions, Request, prompts};
use crate::runs::analysis::SourceAnalysis;
use crate::runs::given_masks::For;
use crate::runs::layer_choice;
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

/// What masks are drawn over where there is no source.
const GROUND: Rgb<u8> = Rgb([39, 39, 42]);

/// What a transfer among many leaves.
pub(super) const FEW_FILES: [&str; 4] = ["contact-sheet.png", "result.mp4", "run.toml", "run.json"];

/// What the nets make of the prompts.
pub(super) struct Texts {
    /// Where the source is looked at.
    pub(super) source: Option<EncodedPrompt>,
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
        given::settle(&mut settings, &request.motion)?;
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
    /// Where there is one.
    pub(super) source: Option<Arc<SourceClip>>,
    pub(super) source_prompt: Option<Prompt>,
    source_text: Option<String>,
    /// The motion that is given, or changed.
    pub(super) given: Option<Given>,
    looked_at: usize,
    pub(super) inversion: Option<Inversion>,
    pub(super) prompt: Prompt,
    pub(super) text: String,
    pub(super) negative_prompt: String,
    pub(super) metadata: bool,
    /// What the record calls files that were brought here.
    elsewhere: BTreeMap<PathBuf, PathBuf>,
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
        let gives_all = request.motion.gives_all();
        let source_text = match &saved {
            Some(saved) => Some(saved.record.source_prompt.clone()),
            None if gives_all => request.prompts.source_prompt.clone(),
            None => {
                source_path(request)?;
                Some(required(request.prompts.source_prompt.as_ref(), prompts::SOURCE_PROMPT_MISSING)?)
            }
        };
        let source_prompt =
            source_text.as_deref().map(|text| prompts::parse("--source-prompt", text)).transpose()?;
        let guidance = &request.settings.guidance;
        if gives_all {
            prompts::with_subject("the prompt", &prompt)?;
        } else if let Some(source_prompt) = source_prompt.as_ref()
            && guidance.updates != Some(false)
            && guidance.guided_steps != Some(0)
        {
            prompts::check_pair(source_prompt, &prompt)?;
        }
        let ffmpeg = stores.sources.ffmpeg()?;
        let found = engine.find(&request.model, progress)?;
        if will_run {
            found.prepare_record();
        }
        let Resolved { settings, mut video, negative_prompt, metadata } =
            Resolved::of(request, saved.as_ref(), &found.recommended)?;
        layer_choice::check(&settings, request)?;
        found.check_settings(&settings)?;
        if saved.is_none() {
            found.check_inversion(&settings)?;
        }
        if settings.init == Init::Inverted && saved.is_none() && gives_all {
            required(request.source.path.as_ref(), prompts::START_MISSING)?;
            required(source_text.as_ref(), prompts::SOURCE_PROMPT_MISSING)?;
        }
        let named = source_prompt.iter().map(|prompt| ("the source prompt", prompt));
        let named: Vec<(&str, &Prompt)> = named.chain([("the prompt", &prompt)]).collect();
        found.check_subjects(&named.iter().map(|(_, prompt)| *prompt).collect::<Vec<_>>())?;
        found.check_domain(&named, progress);
        found.check_blocks(&settings)?;
        settings.subject_map.check(source_prompt.as_ref().unwrap_or(&prompt).subjects.len())?;
        let context = settings.context();
        found.check_size(&video, context)?;
        let cut = request.source.cut.resolve()?;
        let (source, inversion) = if let Some(saved) = saved {
            let (source, inversion) = saved.load(&found.record()?)?;
            (Some(Arc::new(source)), Some(inversion))
        } else if gives_all && request.source.path.is_none() {
            (None, None)
        } else {
            let source = stores.sources.read(&source_path(request)?, cut, &video, progress);
            (Some(source.map_err(|error| found.with_possible_frames(error, &video))?), None)
        };
        if let Some(source) = &source {
            video.fps = request.video.rate.fps.unwrap_or(source.record.fps);
            warn_of_source(&source.frames, &video, context, &found.recommended, progress);
        } else {
            warn_of_frames(&video, context, &found.recommended, progress);
        }
        warn_of_levels(&found.schedule()?, &settings, progress);
        resolve::check_rate(video.fps)?;
        let given =
            Given::read(&request.motion, prompt.subjects.len(), &video, cut, &mut stores.sources, progress)?;
        Ok(Self {
            ffmpeg,
            compute: found.compute(request.program.resources.precision, compute),
            found,
            settings,
            video,
            source,
            source_prompt,
            source_text,
            inversion,
            given,
            looked_at: given::clips(&request.motion),
            prompt,
            text,
            negative_prompt,
            metadata,
            elsewhere: request.elsewhere.clone(),
        })
    }

    pub(super) fn prompts(&self) -> PromptRecord {
        PromptRecord {
            source_prompt: self.source_text.clone(),
            prompt: Some(self.text.clone()),
            negative_prompt: Some(self.negative_prompt.clone()),
        }
    }

    /// What takes time and memory.
    pub(super) fn task(&self) -> Result<Task> {
        let way = if self.inversion.is_some() { Way::FromInversion } else { Way::Transfer };
        let task = Task::new(&self.found, &self.settings, way, self.compute)?;
        Ok(task.looking_at(self.looked_at, &self.settings))
    }

    /// What the nets make of the prompts.
    pub(super) fn encode(&self, model: &LoadedModel) -> Result<Texts> {
        let negative = Prompt::literal(&self.negative_prompt);
        let of_clips = self.given.iter().flat_map(Given::prompts);
        let prompts = self.source_prompt.iter().chain([&self.prompt, &negative]).chain(of_clips);
        model.encode_ahead(&prompts.collect::<Vec<_>>())?;
        Ok(Texts {
            source: self.source_prompt.as_ref().map(|prompt| model.encode(prompt)).transpose()?,
            target: model.encode(&self.prompt)?,
            negative: model.encode(&negative)?,
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
        if !self.subjects().is_empty() {
            files.extend([MASKS_FILE, mask_folder::FOLDER, mask_folder::ARRAYS]);
        }
        let negative = Prompt::literal(&self.negative_prompt);
        let source_prompt = self.source_prompt.iter().map(|prompt| ("source prompt", prompt));
        let prompts: Vec<(&str, &Prompt)> =
            source_prompt.chain([("prompt", &self.prompt), ("negative prompt", &negative)]).collect();
        let resolved = Preview {
            prompts: self.prompts(),
            source: self.source_record(),
            motion: self.motion(),
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

    fn source_record(&self) -> Option<SourceRecord> {
        let mut record = self.source.as_ref().map(|source| source.record.clone())?;
        for path in [&mut record.path].into_iter().chain(&mut record.inversion) {
            if let Some(said) = self.elsewhere.get(Path::new(path.as_str())) {
                *path = said.display().to_string();
            }
        }
        Some(record)
    }

    /// What is recorded of the motion that is given.
    pub(super) fn motion(&self) -> MotionOptions {
        let mut record = self.given.as_ref().map(|given| given.record.clone()).unwrap_or_default();
        for path in record.paths_mut() {
            if let Some(said) = self.elsewhere.get(path) {
                path.clone_from(said);
            }
        }
        record
    }

    /// The words of the subjects whose masks guide.
    pub(super) fn subjects(&self) -> Vec<&str> {
        let source = self.source_prompt.as_ref().filter(|_| self.settings.mask_source != MaskSource::Given);
        prompts::subjects(source.unwrap_or(&self.prompt))
    }

    /// What masks that are given are made for.
    pub(super) fn led<'a>(
        &'a self,
        model: &'a LoadedModel,
        record: &'a ModelRecord,
        timesteps: &'a [i64],
        latents: &'a Latents,
        subjects: &'a [&'a str],
    ) -> For<'a> {
        For { model, record, settings: &self.settings, video: &self.video, timesteps, latents, subjects }
    }

    /// What masks are drawn over: the source, or a dark ground.
    pub(super) fn ground(&self) -> Vec<RgbImage> {
        let plain = || {
            let Video { width, height, frames, .. } = self.video;
            vec![RgbImage::from_pixel(width, height, GROUND); frames as usize]
        };
        self.source.as_ref().map_or_else(plain, |source| source.frames.clone())
    }

    pub(super) fn record(&self) -> Result<RunRecord> {
        Ok(RunRecord {
            program: ProgramRecord::new(COMMAND, &self.ffmpeg, self.compute),
            prompts: self.prompts(),
            source: self.source_record(),
            motion: self.motion(),
            video: VideoRecord::of(&self.video),
            model: self.found.record()?,
            settings: self.settings.clone(),
            output: OutputRecord { metadata: self.metadata },
        })
    }

    /// Writes the results, and `further` files, side by side: most of that is waiting for one ffmpeg each. Without those, only the
    /// few that are wanted of a quick run.
    pub(super) fn write(
        &self,
        folder: &Path,
        result: &[RgbImage],
        masked: Option<&[RgbImage]>,
        updates: &[GuidedUpdate],
        notes: &Notes,
        further: Option<Vec<Output>>,
    ) -> Result<LeftOut> {
        let (ffmpeg, fps) = (&self.ffmpeg, self.video.fps);
        let source = self.source.as_ref().map(|source| source.frames.as_slice());
        let mp4 = |path: &Path, frames: &[RgbImage], notes: &[(&str, &str)]| {
            Ok(video::write_mp4(ffmpeg, path, frames, fps, notes)?)
        };
        let shown = self.source_prompt.as_ref().map_or("", |prompt| prompt.text.as_str());
        let source_label = format!("source: {shown}");
        let mask_label = format!("motion mask: {}", legend(&self.subjects()));
        let result_label = format!("result: {}", self.prompt.text);
        let mut rows: Vec<Row> = source.iter().map(|frames| Row { label: &source_label, frames }).collect();
        rows.extend(masked.map(|frames| Row { label: &mask_label, frames }));
        rows.push(Row { label: &result_label, frames: result });
        let write_sheet = |path: &Path| Ok(picture::write_png(path, &contact_sheet(&rows, COLUMNS)?)?);
        let pairs = notes.pairs();
        let write_result = |path: &Path| mp4(path, result, &pairs);
        let mut files_to_write = vec![
            outputs::essential("result.mp4", &write_result),
            outputs::picture("contact-sheet.png", &write_sheet),
        ];
        let Some(further) = further else { return outputs::write(folder, &files_to_write) };
        let write_gif = |path: &Path| Ok(gif::write_gif(ffmpeg, path, result, fps, notes.comment())?);
        let beside = match (source, masked) {
            (Some(source), _) => Pane { label: "source", frames: source },
            (None, Some(masked)) => Pane { label: "motion", frames: masked },
            (None, None) => Pane { label: "result", frames: result },
        };
        let panes = [beside, Pane { label: "result", frames: result }];
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
        files_to_write.extend(further);
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
