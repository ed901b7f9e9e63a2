//! A transfer: the motion of a source video in a new video.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use motionflow::compute::{Compute, Precision};
use motionflow::device::DeviceChoice;
use motionflow::diagnostics::loss_warning;
use tch::Device;

use crate::cache::inversions::{self as inversion_cache, InversionCache, Made, SharedCache};
use crate::engine::{Engine, Stores};
use crate::folder::checksums::files_in;
use crate::folder::inversion_file::{SavedInversion, check_fit};
use crate::folder::mask_folder;
use crate::folder::metadata::Notes;
use crate::folder::outputs::{self};
use crate::folder::record::{
    ModelRecord, OutputRecord, PromptRecord, RunHistory, RunRecord, SourceRecord, Totals, VideoRecord,
    write_json,
};
use crate::folder::report;
use crate::motion::given::Given;
use crate::motion::mask_files;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::request::resolve::Cut;
use crate::request::{Request, prompts};
use crate::runs::analysis::{InversionFrom, analyze_source};
use crate::runs::compare::compare;
use crate::runs::encoding::Source;
use crate::runs::layer_choice;
use crate::runs::open::{self, OpenRun};
use crate::runs::pictures::with_masks;
use crate::runs::sampling::{Start, make_video};
use crate::source::{SourceStore, source_path};

use crate::runs::job::{COMMAND, FEW_FILES, FILES, Job, MASKS_FILE, Resolved};

/// How a transfer is made, as far as its result does not depend on it.
#[derive(Debug, Default)]
pub struct TransferOptions {
    /// Whether it leaves the most important files alone, and does not wait for the disk after a step: where there are
    /// many, both can take longer than the transfers.
    pub quick: bool,
    /// Whether [`Event::Masks`](crate::event::Event::Masks) and [`Event::Preview`](crate::event::Event::Preview) are told. A preview takes a product of small matrices a step.
    pub previews: bool,
    /// Where the inversions are kept; in the user's cache where nothing is said.
    pub inversions: Option<PathBuf>,
    /// What other machines have made, behind the user's cache.
    pub shared: Option<Arc<dyn SharedCache>>,
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
        let source_record = job.source.as_ref().map(|source| &source.record);
        compare(&request, source_record, &job.motion(), &job.found, folder.is_resumed(), progress)?;
        let began_in = folder.take_up(compute.memory, &job.found.recommended, progress)?;
        let inverts = job.inversion.is_none() && job.settings.takes_inversion();
        let may_keep = inverts && options.inversions.is_none() && request.program.cache.unwrap_or(true);
        let cache = if may_keep { inversion_cache::of_user(progress)? } else { None };
        let model = stores.models.load(&job.found, job.compute, progress)?;
        let texts = job.encode(model)?;
        let nets = model.nets();
        for text in texts.source.iter().chain([&texts.target, &texts.negative]) {
            text.warnings.iter().for_each(|warning| progress.warn(warning));
        }

        let clip = job.source.clone();
        let seen = clip.as_ref().zip(texts.source.as_ref());
        let source = seen.map(|(clip, text)| Source { clip, text, encoded: None });
        let (chosen, encoded) =
            layer_choice::choose(nets, source, &mut job.settings, &job.found, &request, progress)?;
        let record = job.record()?;
        let made = Made::by(nets, &record, began_in.as_deref())?;
        let cache = match &options.inversions {
            Some(folder) => InversionCache::store(&made, folder),
            None => InversionCache::of(&made, cache).before(options.shared.clone()),
        };
        let unfinished = folder.begin(&record)?;
        unfinished.keep_quickly(options.quick);
        let chosen = unfinished.layer_choice(chosen)?;
        let inverts = match job.inversion.take() {
            Some(inversion) => {
                check_fit(&inversion, nets, &job.video, &job.settings)?;
                InversionFrom::Given(inversion)
            }
            None if inverts => InversionFrom::Source(cache),
            None => InversionFrom::No,
        };
        let source = source.map(|source| Source { encoded: encoded.as_ref(), ..source });
        let subjects = job.subjects();
        let mut analysis =
            analyze_source(nets, source, &subjects, &job.settings, inverts, unfinished, progress)?;
        let latents = job.start_latents(&analysis, nets)?;
        if let Some(given) = &job.given {
            let timesteps = analysis.timesteps.clone();
            let of = job.led(model, &record.model, &timesteps, &latents, &subjects);
            analysis.lead(given, &of, progress)?;
        }

        let colours = options.previews.then(|| analysis.show(clip.as_deref(), nets, progress)).transpose()?;
        let start = Start {
            latents,
            masks: job.settings.is_guided().then_some(&analysis.masks),
            prompt: &texts.target,
            negative: &texts.negative,
        };
        let (generation, result, sampled) =
            make_video(nets, start, &job.settings, colours.as_ref(), unfinished, progress)?;
        analysis.steps.extend(sampled);
        if let Some(warning) = loss_warning(&generation.updates) {
            progress.warn(warning);
        }

        let shown = analysis.shown_masks().unwrap_or_else(|error| {
            progress.warn(outputs::left_out(MASKS_FILE.0, &error));
            Vec::new()
        });
        let pictures = analysis.pictures(&job.video);
        let has_pictures = !options.quick && !shown.is_empty();
        let masked = (!shown.is_empty()).then(|| with_masks(&job.ground(), &shown));
        let path = folder.path().to_owned();
        let notes = Notes::of(&record, progress)?;
        let mut files = FILES.to_vec();
        files.extend(masked.as_ref().map(|_| MASKS_FILE));
        files.extend([mask_folder::FOLDER, mask_folder::ARRAYS].into_iter().filter(|_| has_pictures));
        files.retain(|(name, _)| !options.quick || FEW_FILES.contains(name));
        folder.publish(|folder| {
            let stage = progress.stage("write", 1);
            let write_masks = |path: &Path| mask_files::write_folder(path, &subjects, &pictures);
            let write_arrays = |path: &Path| mask_files::write_arrays(path, &pictures);
            let masks = [
                outputs::picture(mask_folder::FOLDER.0, &write_masks),
                outputs::picture(mask_folder::ARRAYS.0, &write_arrays),
            ];
            let further = (!options.quick).then(|| masks.into_iter().filter(|_| has_pictures).collect());
            let left_out =
                job.write(folder, &result, masked.as_deref(), &generation.updates, &notes, further)?;
            stage.finish();
            left_out.tell(progress);
            files.retain(|(name, _)| !left_out.has(name));
            record.write(folder)?;
            let history = RunHistory {
                inversion: analysis.origin(),
                layer_choice: chosen,
                steps: analysis.steps,
                masks: analysis.figures,
                totals: Totals::of(progress),
                files: files_in(folder, None)?,
            };
            write_json(&folder.join("run.json"), &history)
        })?;
        report::finished(&path, &files, &[], progress);
        Ok(())
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
    let has_source = request.source.path.is_some() || !request.motion.gives_all();
    let path = if saved.is_none() && has_source { Some(source_path(request)?) } else { None };
    let found = engine.find(&request.model, progress)?;
    found.prepare_record();
    let Resolved { mut settings, mut video, negative_prompt, metadata } =
        Resolved::of(request, saved.as_ref(), &found.recommended)?;
    layer_choice::repeat(&mut settings, &then.settings, request);
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
    let prompt = request.prompts.new.prompt.as_deref().unwrap_or_default();
    let subjects = prompts::parse("--prompt", prompt)?.subjects.len();
    let cut = request.source.cut.resolve()?;
    let given = Given::read(&request.motion, subjects, &video, cut, sources, &mut Progress::silent())?;
    let motion = given.map(|given| given.record).unwrap_or_default();
    let source_prompt = saved.map(|saved| saved.record.source_prompt);
    let mut program = then.program.clone();
    let resources = &request.program.resources;
    let precision = match (resources.precision, resources.device) {
        (Some(precision), _) if precision != Precision::Auto => precision,
        // What it computes with there is known without the device.
        (_, Some(DeviceChoice::Cuda(index))) => {
            found.compute(None, Compute::exact(Device::Cuda(index))).precision()
        }
        _ => found.compute(None, engine.compute(resources)?).precision(),
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
        motion,
        video: VideoRecord::of(&video),
        model: ModelRecord { sha256: found.record()?.sha256, ..then.model.clone() },
        settings,
        output: OutputRecord { metadata },
    })
}
