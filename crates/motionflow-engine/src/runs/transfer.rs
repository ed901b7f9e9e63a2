//! A transfer: the motion of a source video in a new video.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::{Compute, Precision};
use motionflow::device::DeviceChoice;
use motionflow::diagnostics::loss_warning;
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

use crate::cache::inversions::{self as inversion_cache, InversionCache};
use crate::engine::{Engine, Stores};
use crate::estimate::{Estimate, Task, Way};
use crate::folder::checksums::files_in;
use crate::folder::inversion_file::{SavedInversion, check_fit};
use crate::folder::metadata::Notes;
use crate::folder::outputs::{self, LeftOut};
use crate::folder::record::{
    ModelRecord, OutputRecord, ProgramRecord, PromptRecord, RunHistory, RunRecord, SourceRecord, Totals,
    VideoRecord, write_json,
};
use crate::folder::report;
use crate::models::found::FoundModel;
use crate::models::store::LoadedModel;
use crate::models::suitability::warn_of_source;
use crate::plan::{Plan, Preview, tokens};
use crate::progress::Progress;
use crate::request::recommended::{Recommended, Video};
use crate::request::resolve::{self, Cut};
use crate::request::tables::required;
use crate::request::{Request, prompts};
use crate::runs::compare::compare;
use crate::runs::encoding::Source;
use crate::runs::open::{self, OpenRun};
use crate::runs::pictures::{legend, with_masks};
use crate::runs::sampling::{Start, make_video};
use crate::runs::seeing::{Inverts, Seen, see_source};
use crate::source::{SourceClip, SourceStore, source_path};

const COMMAND: &str = "transfer";

/// What the folder holds, besides masks.mp4, which needs a subject.
const FILES: [(&str, &str); 7] = [
    ("contact-sheet.png", "source, motion mask and result, frame by frame"),
    ("compare.mp4", "the source beside the result"),
    ("result.mp4", "the new video"),
    ("result.gif", "the same, for a page"),
    ("loss.svg", "how the guidance went"),
    ("run.toml", "every setting"),
    ("run.json", "every step, and the warnings"),
];
const MASKS_FILE: (&str, &str) = ("masks.mp4", "where the model saw the subject in the source");

/// What a transfer among many leaves.
const FEW_FILES: [&str; 4] = ["contact-sheet.png", "result.mp4", "run.toml", "run.json"];

/// How a transfer is made, as far as its result does not depend on it.
#[derive(Debug, Default)]
pub struct TransferOptions {
    /// Whether it leaves the most important files alone, and does not wait for the disk after a step: where there are
    /// many, both can take longer than the transfers.
    pub quick: bool,
    /// Where the inversions are kept; in the user's cache where nothing is said.
    pub inversions: Option<PathBuf>,
}

impl Engine {
    /// Transfers the motion of a source video to a new video.
    ///
    /// # Errors
    /// Of whatever kind; [`ErrorKind::of`](crate::error::ErrorKind::of) tells which.
    pub fn transfer(&self, run: OpenRun, options: &TransferOptions, progress: &mut Progress) -> Result<()> {
        let resources = run.request.program.resources.clone();
        self.on_device(&resources, progress, |compute, stores, progress| {
            let output = run.output().to_owned();
            open::attempt(COMMAND, &output, compute, progress, |progress| {
                self.make_transfer(run, options, compute, stores, progress)
            })
        })
    }

    /// What a transfer would do, take and leave. Nothing is made.
    ///
    /// # Errors
    /// As [`Engine::transfer`], as far as that is known without the weights.
    pub fn plan_transfer(&self, run: &OpenRun, progress: &mut Progress) -> Result<Plan> {
        self.on_device(&run.request.program.resources, progress, |compute, stores, progress| {
            Job::check(&run.request, false, self, compute, stores, progress)?.plan(run.output(), progress)
        })
    }

    /// The record that a run would have if it were made now.
    pub(crate) fn record_now(
        &self,
        then: &RunRecord,
        request: &Request,
        progress: &mut Progress,
    ) -> Result<RunRecord> {
        self.with_sources(|sources| record_now(then, request, self, sources, progress))
    }

    fn make_transfer(
        &self,
        run: OpenRun,
        options: &TransferOptions,
        compute: Compute,
        stores: &mut Stores,
        progress: &mut Progress,
    ) -> Result<()> {
        let OpenRun { request, mut folder } = run;
        let mut job = Job::check(&request, true, self, compute, stores, progress)?;
        self.check_memory(&job.task()?, &job.video, &job.found, &mut stores.models)?;
        compare(&request, Some(&job.source.record), &job.found, folder.is_resumed(), progress)?;
        let began_in = folder.take_up(compute.memory, &job.found.recommended, progress)?;
        let inverts = job.inversion.is_none() && job.settings.takes_inversion();
        let may_keep = inverts && options.inversions.is_none() && request.program.cache.unwrap_or(true);
        let cache = if may_keep { inversion_cache::of_user(progress)? } else { None };
        let model = stores.models.load(&job.found, compute, progress)?;
        let texts = job.encode(model)?;
        let nets = model.nets();
        for text in [&texts.source, &texts.target, &texts.negative] {
            text.warnings.iter().for_each(|warning| progress.warn(warning));
        }

        let record = job.record()?;
        let cache = match &options.inversions {
            Some(folder) => InversionCache::store(&record, began_in.as_deref(), folder),
            None => InversionCache::of(&record, began_in.as_deref(), cache),
        };
        let unfinished = folder.begin(&record)?;
        unfinished.keep_quickly(options.quick);
        let inverts = match job.inversion.take() {
            Some(inversion) => {
                check_fit(&inversion, nets, &job.video)?;
                Inverts::Given(inversion)
            }
            None if inverts => Inverts::Source(cache),
            None => Inverts::No,
        };
        let source = Source { clip: &job.source, text: &texts.source };
        let subjects = prompts::subjects(&job.source_prompt);
        let mut seen = see_source(nets, source, &subjects, &job.settings, inverts, unfinished, progress)?;

        let start = Start {
            latents: job.start_latents(&seen, nets)?,
            masks: job.settings.is_guided().then_some(&seen.masks),
            prompt: &texts.target,
            negative: &texts.negative,
        };
        let (generation, result, sampled) = make_video(nets, start, &job.settings, unfinished, progress)?;
        seen.steps.extend(sampled);
        if let Some(warning) = loss_warning(&generation.updates) {
            progress.warn(warning);
        }

        let shown = seen.shown_masks().unwrap_or_else(|error| {
            progress.warn(outputs::left_out(MASKS_FILE.0, &error));
            Vec::new()
        });
        let masked = (!shown.is_empty()).then(|| with_masks(&job.source.frames, &shown));
        let path = folder.path().to_owned();
        let notes = Notes::of(&record, progress)?;
        let mut files = FILES.to_vec();
        files.extend(masked.as_ref().map(|_| MASKS_FILE));
        files.retain(|(name, _)| !options.quick || FEW_FILES.contains(name));
        folder.publish(|folder| {
            let stage = progress.stage("write", 1);
            let left_out =
                job.write(folder, &result, masked.as_deref(), &generation.updates, &notes, options.quick)?;
            stage.finish();
            left_out.tell(progress);
            files.retain(|(name, _)| !left_out.has(name));
            record.write(folder)?;
            let history = RunHistory {
                inversion: seen.origin(),
                steps: seen.steps,
                masks: seen.figures,
                totals: Totals::of(progress),
                files: files_in(folder, None)?,
            };
            write_json(&folder.join("run.json"), &history)
        })?;
        report::finished(&path, &files, &[], progress);
        Ok(())
    }
}

/// What the nets make of the prompts.
struct Texts {
    source: EncodedPrompt,
    target: EncodedPrompt,
    negative: EncodedPrompt,
}

/// What a transfer depends on besides its source and prompts, filled in.
struct Resolved {
    settings: Settings,
    /// Frames per second are those of the source where the request does not say them.
    video: Video,
    negative_prompt: String,
    metadata: bool,
}

impl Resolved {
    fn of(request: &Request, saved: Option<&SavedInversion>, recommended: &Recommended) -> Result<Self> {
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

/// The record that a run would have if it were made now, without loading anything for it. What says where its inputs
/// are, and what made it, is as `then`.
fn record_now(
    then: &RunRecord,
    request: &Request,
    engine: &Engine,
    sources: &mut SourceStore,
    progress: &mut Progress,
) -> Result<RunRecord> {
    let saved = request.source.inversion.as_deref().map(SavedInversion::open).transpose()?;
    let path = if saved.is_none() { Some(source_path(request)?) } else { None };
    let found = engine.find(&request.model, progress)?;
    found.prepare_record();
    let Resolved { settings, mut video, negative_prompt, metadata } =
        Resolved::of(request, saved.as_ref(), &found.recommended)?;
    let source = match (&saved, path, &then.source) {
        (Some(saved), ..) => {
            saved.check_tensors(|path| engine.sha256_of(path))?;
            Some(saved.source_record())
        }
        (None, Some(path), Some(source)) if path.is_file() => {
            let Cut { start, every, fit } = request.source.cut.resolve()?;
            let (sha256, fit) = (Some(engine.sha256_of(&path)?), fit.to_string());
            Some(SourceRecord { sha256, start, every, fit, inversion_sha256: None, ..source.clone() })
        }
        (None, Some(path), _) => {
            let cut = request.source.cut.resolve()?;
            Some(sources.read(&path, cut, &video, &mut Progress::silent())?.record.clone())
        }
        (None, None, _) => None,
    };
    if let Some(fps) = request.video.rate.fps.or(source.as_ref().map(|source| source.fps)) {
        video.fps = fps;
    }
    let source_prompt = saved.map(|saved| saved.record.source_prompt);
    let mut program = then.program.clone();
    let resources = &request.program.resources;
    let precision = match (resources.precision, resources.device) {
        (Some(precision), _) if precision != Precision::Auto => precision,
        // What it computes with there is known without the device.
        (_, Some(DeviceChoice::Cuda(_))) => Precision::F16,
        _ => engine.compute(resources)?.precision(),
    };
    // Runs from before there was a choice were made in float32.
    if program.precision.is_some() || precision != Precision::F32 {
        program.precision = Some(precision.to_string());
    }
    Ok(RunRecord {
        program,
        prompts: PromptRecord {
            source_prompt: source_prompt.or_else(|| request.prompts.source_prompt.clone()),
            prompt: request.prompts.new.prompt.clone(),
            negative_prompt: Some(negative_prompt),
        },
        source,
        video: VideoRecord::of(&video),
        model: ModelRecord { sha256: found.record()?.sha256, ..then.model.clone() },
        settings,
        output: OutputRecord { metadata },
    })
}

/// A transfer of which all that can be checked without the weights is checked.
struct Job {
    ffmpeg: Ffmpeg,
    compute: Compute,
    found: Arc<FoundModel>,
    settings: Settings,
    video: Video,
    source: Arc<SourceClip>,
    source_prompt: Prompt,
    source_text: String,
    inversion: Option<Inversion>,
    prompt: Prompt,
    text: String,
    negative_prompt: String,
    metadata: bool,
}

impl Job {
    /// Checks what is cheap first, so that a mistake is reported at once. Where it `will_run`, its record is prepared.
    fn check(
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
        let (source, inversion) = if let Some(saved) = saved {
            let (source, inversion) = saved.load(&found.record()?)?;
            (Arc::new(source), Some(inversion))
        } else {
            found.check_size(&video)?;
            let cut = request.source.cut.resolve()?;
            (stores.sources.read(&source_path(request)?, cut, &video, progress)?, None)
        };
        video.fps = request.video.rate.fps.unwrap_or(source.record.fps);
        resolve::check_rate(video.fps)?;
        warn_of_source(&source.frames, &video, &found.recommended, progress);
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

    fn prompts(&self) -> PromptRecord {
        PromptRecord {
            source_prompt: Some(self.source_text.clone()),
            prompt: Some(self.text.clone()),
            negative_prompt: Some(self.negative_prompt.clone()),
        }
    }

    /// What takes time and memory.
    fn task(&self) -> Result<Task> {
        let way = if self.inversion.is_some() { Way::FromInversion } else { Way::Transfer };
        Task::new(&self.found, &self.settings, way, self.compute)
    }

    /// What the nets make of the prompts.
    fn encode(&self, model: &LoadedModel) -> Result<Texts> {
        Ok(Texts {
            source: model.encode(&self.source_prompt)?,
            target: model.encode(&self.prompt)?,
            negative: model.encode(&Prompt::literal(&self.negative_prompt))?,
        })
    }

    /// What the sampling starts from.
    fn start_latents(&self, seen: &Seen, nets: &dyn VideoModel) -> Result<Latents> {
        let [frames, height, width] = [self.video.frames, self.video.height, self.video.width].map(i64::from);
        Ok(match self.settings.init {
            Init::Inverted => seen.inversion()?.0.latents.share(),
            Init::Noise => nets.noise(frames, height, width, self.settings.seed)?,
        })
    }

    /// What would be done.
    fn plan(&self, output: &Path, progress: &mut Progress) -> Result<Plan> {
        let mut files = FILES.to_vec();
        if !self.source_prompt.subjects.is_empty() {
            files.push(MASKS_FILE);
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

    fn record(&self) -> Result<RunRecord> {
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
    fn write(
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
