//! Finding a checkpoint by name or folder, and loading it.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use motionflow::animatediff::ADAPTERS_BETA_SCHEDULE;
use motionflow::architecture::Architecture;
use motionflow::checkpoint::{Checkpoint, CheckpointError};
use motionflow::compute::{Compute, Precision};
use motionflow::cost::Costs;
use motionflow::error::Error;
use motionflow::model::VideoModel;
use motionflow::prompt::{Prompt, subject_positions};
use motionflow::registry;
use motionflow::sampler::Sampler;
use motionflow::schedule::Schedule;
use motionflow::settings::Settings;
use motionflow::tokenizer::Tokenizer;
use motionflow::windows::ContextOptions;

use crate::error::Misuse;
use crate::folder::record::ModelRecord;
use crate::hub::Layout;
use crate::models::identity::identity_of;
use crate::models::known::Known;
use crate::models::lookup::{CHECKPOINT, Found, MOTION_ADAPTER, is_on_hub};
use crate::progress::Progress;
use crate::request::ModelChoice;
use crate::request::recommended::{Recommended, Video};
use crate::request::resolve;
use crate::request::tables as request;
use crate::threads;

/// The checkpoint that comes with the program.
pub const SHIPPED: &str = "demo";

/// A checkpoint that was found whole; its weights are not loaded yet.
#[derive(Debug)]
pub struct FoundModel {
    place: Found,
    /// Its motion adapter, where it needs one.
    adapter: Option<Found>,
    checkpoint: Checkpoint,
    /// Made at the first call of [`FoundModel::record`].
    record: OnceLock<ModelRecord>,
    /// Reads every file for it.
    identity: Mutex<Option<JoinHandle<Result<String, CheckpointError>>>>,
    /// What it recommends.
    pub recommended: Recommended,
}

impl FoundModel {
    /// Finds what `--model` names, on disk or on the hub.
    ///
    /// # Errors
    /// When there is no such checkpoint, it is not whole, or it cannot be fetched.
    pub fn find(requested: &request::Model, progress: &mut Progress) -> Result<Self> {
        let ModelChoice { name, revision, motion_adapter, motion_adapter_revision } = &requested.chosen;
        let said = name.as_deref().unwrap_or(SHIPPED);
        let sought = (CHECKPOINT, Layout::Checkpoint);
        let place = Found::of(said, revision.as_deref(), requested.path.clone(), sought, progress)?;
        let adapter = motion_adapter.as_deref().map(|said| {
            let recorded = requested.motion_adapter_path.clone();
            let sought = (MOTION_ADAPTER, Layout::MotionAdapter);
            Found::of(said, motion_adapter_revision.as_deref(), recorded, sought, progress)
        });
        let adapter = adapter.transpose()?;
        let known = Known::find(&place.name).filter(|_| is_on_hub(&place.name)).and_then(Known::recommended);
        let checkpoint = registry::open(&place.folder);
        // A scheduler that cannot be read is reported with the schedule.
        let architecture = checkpoint.as_ref().ok().map(registry::architecture_of);
        let checkpoint = checkpoint.and_then(|checkpoint| match &adapter {
            Some(adapter) => checkpoint.with_motion_adapter(&adapter.folder),
            None => checkpoint.motion_adapter().map(drop).map(|()| checkpoint),
        });
        let schedule = checkpoint.as_ref().ok().zip(architecture).map(|(found, kind)| kind.schedule(found));
        let sampler = schedule.and_then(Result::ok).map(|schedule| schedule.sampler()).unwrap_or_default();
        let general =
            || architecture.map_or_else(Recommended::default, |kind| Recommended::general(kind, sampler));
        let recommended = Recommended::of(&place.folder, sampler)?.or(known).unwrap_or_else(general);
        let checkpoint = checkpoint.map_err(Error::from)?;
        let (record, identity) = (OnceLock::new(), Mutex::default());
        Ok(Self { place, adapter, checkpoint, record, identity, recommended })
    }

    /// Its noise schedule, read from its config alone.
    ///
    /// # Errors
    /// When its config is damaged, or is of a schedule that cannot be run.
    pub fn schedule(&self) -> Result<Schedule> {
        self.explained(self.architecture().schedule(&self.checkpoint))
    }

    /// Checks the ranges of settings, and that their sampler can run on the noise schedule.
    ///
    /// # Errors
    /// A [`Misuse`] that names the flag, or an error of a key in the scheduler's config.
    pub fn check_settings(&self, settings: &Settings) -> Result<()> {
        let schedule = self.schedule()?;
        resolve::check(settings, &schedule)?;
        self.with_flag(Sampler::new(&schedule, settings).map(drop))
    }

    /// Checks that an inversion with these settings can be made on the noise schedule.
    ///
    /// # Errors
    /// As [`FoundModel::check_settings`].
    pub fn check_inversion(&self, settings: &Settings) -> Result<()> {
        self.with_flag(self.schedule()?.check_inversion(settings.steps))
    }

    /// Names the flag of a setting, and the checkpoint of a config.
    fn with_flag(&self, checked: Result<(), Error>) -> Result<()> {
        match checked {
            Err(Error::Settings(error)) => Err(resolve::misuse(error)),
            checked => self.explained(checked),
        }
    }

    /// Checks, without the weights, that the nets can take a video of this size, window by window.
    ///
    /// # Errors
    /// When they cannot; says which sizes they can.
    pub fn check_size(&self, video: &Video, context: ContextOptions) -> Result<()> {
        let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
        let at_once = context.frames_at_once(frames);
        if at_once < frames && !self.architecture().takes_context_windows() {
            let message = "--context-frames: this kind of model sees a clip as a whole, whose latents have several frames in \
                           one; leave it out";
            return Err(Misuse(message.to_owned()).into());
        }
        let frames = at_once;
        self.explained(self.architecture().check_size(&self.checkpoint, frames, height, width))
    }

    /// Lets the error of a source that is too short name a number of frames that the model can make.
    pub(crate) fn with_possible_frames(&self, mut error: anyhow::Error, video: &Video) -> anyhow::Error {
        if let Some(motionflow_media::Error::TooFewFrames(shortage)) = error.downcast_mut() {
            let [frames, height, width] =
                [shortage.most_frames() as i64, video.height.into(), video.width.into()];
            let checked = self.architecture().check_size(&self.checkpoint, frames, height, width);
            if let Err(Error::Frames { below, .. }) = checked {
                shortage.possible = usize::try_from(below).ok();
            }
        }
        error
    }

    /// The size of its files that are used, without its motion adapter's.
    pub fn size_bytes(&self) -> u64 {
        self.checkpoint.size_bytes()
    }

    /// Its name and its folder.
    pub fn describe(&self) -> String {
        let of = |Found { name, folder, .. }: &Found| match folder.display().to_string() {
            folder if folder == *name => folder,
            folder => format!("{name} ({folder})"),
        };
        let adapter = self.adapter.as_ref().map(|adapter| format!(" with {}", of(adapter)));
        of(&self.place) + &adapter.unwrap_or_default()
    }

    /// What its nets cost, guided by these blocks; by all where none is named.
    pub(crate) fn costs(&self, guidance_blocks: &[String]) -> Result<Box<dyn Costs>> {
        self.explained(self.architecture().costs(&self.checkpoint, guidance_blocks))
    }

    /// How it computes, where `requested` may leave the precision to it.
    pub fn compute(&self, requested: Option<Precision>, compute: Compute) -> Compute {
        let suits = self.architecture().suited().precision;
        match requested.unwrap_or_default() {
            Precision::Auto if compute.device.is_cuda() => {
                Compute { kind: suits.kind(compute.device), ..compute }
            }
            _ => compute,
        }
    }

    /// The size of its files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.checkpoint.size_bytes()
    }

    fn architecture(&self) -> &'static dyn Architecture {
        registry::architecture_of(&self.checkpoint)
    }

    /// An error of a config says which checkpoint it is of.
    fn explained<T>(&self, result: Result<T, Error>) -> Result<T> {
        match result {
            Err(error @ (Error::Config(_) | Error::Mismatch(_))) => {
                Err(error).with_context(|| self.cannot_load())
            }
            result => Ok(result?),
        }
    }

    /// Its tokenizer.
    ///
    /// # Errors
    /// When its files are damaged or of another tokenizer than CLIP's.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Ok(self.checkpoint.tokenizer().map_err(Error::from)?)
    }

    fn cannot_load(&self) -> String {
        let adapter = self.adapter.as_ref();
        let adapter = adapter.map(|adapter| format!(" with the motion adapter {}", adapter.folder.display()));
        let folder = self.checkpoint.folder().display();
        format!("cannot load the checkpoint {folder}{}", adapter.unwrap_or_default())
    }

    /// Checks, without the weights, that the tokenizer reaches every subject of the prompts.
    ///
    /// # Errors
    /// When a subject lies beyond the tokens that the text encoder takes.
    pub fn check_subjects(&self, prompts: &[&Prompt]) -> Result<()> {
        let tokenizer = self.tokenizer()?;
        for prompt in prompts {
            let tokens = tokenizer.encode(&prompt.text).map_err(Error::from)?;
            for subject in &prompt.subjects {
                subject_positions(&tokens, subject).map_err(Error::from)?;
            }
        }
        Ok(())
    }

    /// Warns of subjects that the checkpoint does not know. Each prompt comes with what messages call it.
    pub(crate) fn check_domain(&self, prompts: &[(&str, &Prompt)], progress: &mut Progress) {
        let domain = &self.recommended.domain;
        for warning in prompts.iter().filter_map(|(which, prompt)| domain.warning(which, prompt)) {
            progress.warn(warning);
        }
    }

    /// Checks, without the weights, that the nets have the guidance blocks that the settings name, or may name once they
    /// are chosen.
    ///
    /// # Errors
    /// Names the block that is not there, and those that are.
    pub fn check_blocks(&self, settings: &Settings) -> Result<()> {
        let blocks = self.possible_blocks(settings)?;
        self.explained(self.architecture().check_blocks(&self.checkpoint, &blocks))
    }

    /// The guidance blocks that the settings name; all that may be chosen where they are yet to be chosen.
    ///
    /// # Errors
    /// When a config is damaged.
    pub(crate) fn possible_blocks(&self, settings: &Settings) -> Result<Vec<String>> {
        if settings.chooses_layers() { self.inspected_blocks() } else { Ok(settings.guidance_layers.clone()) }
    }

    /// The blocks that are looked at where somebody wants to know which of them show the subjects; those that guide where
    /// empty.
    ///
    /// # Errors
    /// When a config is damaged.
    pub fn inspected_blocks(&self) -> Result<Vec<String>> {
        self.explained(self.architecture().inspected_blocks(&self.checkpoint))
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// When the weights are damaged, do not fit the configs, or do not fit into memory.
    pub fn load(&self, compute: Compute, progress: &mut Progress) -> Result<Box<dyn VideoModel + Send>> {
        let stage = progress.stage("load", 1);
        let model =
            self.architecture().load(&self.checkpoint, compute).with_context(|| self.cannot_load())?;
        stage.finish();
        Ok(model)
    }

    /// Begins to read, aside, what [`FoundModel::record`] will wait for: every byte of its files.
    pub fn prepare_record(&self) {
        if self.record.get().is_none() {
            let checkpoint = self.checkpoint.clone();
            let begin = || thread::spawn(move || identity_of(&checkpoint));
            self.identity.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(begin);
        }
    }

    /// What a run's record says of it.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn record(&self) -> Result<ModelRecord> {
        if let Some(record) = self.record.get() {
            return Ok(record.clone());
        }
        let absolute = |place: &Found| {
            let path = std::path::absolute(&place.folder).unwrap_or_else(|_| place.folder.clone());
            path.display().to_string()
        };
        let begun = self.identity.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sha256 =
            begun.map_or_else(|| identity_of(&self.checkpoint), threads::join).map_err(Error::from)?;
        let adapter = self.adapter.as_ref();
        let record = ModelRecord {
            name: self.place.name.clone(),
            path: absolute(&self.place),
            revision: self.place.revision.clone(),
            motion_adapter: adapter.map(|adapter| adapter.name.clone()),
            motion_adapter_path: adapter.map(absolute),
            motion_adapter_revision: adapter.and_then(|adapter| adapter.revision.clone()),
            beta_schedule: adapter.map(|_| ADAPTERS_BETA_SCHEDULE.to_owned()),
            sha256,
        };
        Ok(self.record.get_or_init(|| record).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use motionflow::compute::MemoryUse;
    use tch::{Device, Kind};

    use super::*;

    fn computes(case: &str, requested: Option<Precision>, device: Device) -> Kind {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../motionflow/tests/cases");
        let mut model = request::Model::default();
        model.chosen.name = Some(cases.join(case).join("model").display().to_string());
        let found = FoundModel::find(&model, &mut Progress::silent()).unwrap();
        let kind = requested.unwrap_or_default().kind(device);
        found.compute(requested, Compute { device, kind, memory: MemoryUse::default() }).kind
    }

    #[test]
    fn a_gpu_computes_with_what_suits_the_checkpoint_unless_something_is_requested() {
        let gpu = Device::Cuda(0);
        for (case, suits) in [("tiny", Kind::Half), ("wan-tiny", Kind::BFloat16)] {
            assert_eq!(computes(case, None, gpu), suits);
            assert_eq!(computes(case, Some(Precision::Auto), gpu), suits);
            assert_eq!(computes(case, Some(Precision::F32), gpu), Kind::Float);
            assert_eq!(computes(case, Some(Precision::F16), gpu), Kind::Half);
            assert_eq!(computes(case, None, Device::Cpu), Kind::Float);
        }
    }
}
