//! Finding a checkpoint by name or folder, and loading it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use motionflow::architecture::Architecture;
use motionflow::checkpoint::{Checkpoint, CheckpointError};
use motionflow::compute::Compute;
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

use crate::error::{Missing, Misuse};
use crate::folder::record::ModelRecord;
use crate::hub::{self, Address, Hub};
use crate::models::identity::identity_of;
use crate::models::known::Known;
use crate::progress::Progress;
use crate::request::recommended::{Recommended, Video};
use crate::request::resolve;
use crate::request::tables as request;
use crate::threads;

/// The checkpoint that comes with the program.
pub const SHIPPED: &str = "demo";

/// A folder of checkpoints, each in a folder of its name.
const FOLDER: &str = "models";
/// Names a folder of checkpoints.
pub const FOLDER_VARIABLE: &str = "MOTIONFLOW_MODELS";

/// A checkpoint that was found whole; its weights are not loaded yet.
#[derive(Debug)]
pub struct FoundModel {
    name: String,
    /// The commit, where it is from the hub.
    revision: Option<String>,
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
        let said = requested.chosen.name.as_deref().unwrap_or(SHIPPED);
        let (name, revision) = named(CHECKPOINT.flag, said, requested.chosen.revision.as_deref())?;
        let (name, revision) = (name.as_str(), revision);
        let is_on_hub = self::is_on_hub(name);
        // A run is done again with the checkpoint of its record, wherever it is done.
        let recorded = requested.path.clone().filter(|path| path.is_dir());
        let (folder, revision) = match (&revision, recorded) {
            (revision, Some(recorded)) if is_on_hub => (recorded, revision.clone()),
            (revision, None) if is_on_hub => {
                let revision = revision.as_deref().unwrap_or(hub::REVISION);
                let snapshot = Hub::new()?.get(name, revision, progress)?;
                (snapshot.folder, Some(snapshot.commit))
            }
            (Some(revision), _) => {
                let only = "only a checkpoint from the hub has revisions";
                return Err(Misuse(format!("--revision {revision}: {only}, not {name}")).into());
            }
            (None, recorded) => (folder_of(name, CHECKPOINT).or_else(|error| recorded.ok_or(error))?, None),
        };
        let known = Known::find(name).filter(|_| is_on_hub).map(Known::recommended);
        let checkpoint = registry::open(&folder);
        // A scheduler that cannot be read is reported with the schedule.
        let schedule = checkpoint.as_ref().ok().map(|found| registry::architecture_of(found).schedule(found));
        let sampler = schedule.and_then(Result::ok).map(|schedule| schedule.sampler()).unwrap_or_default();
        let general = || Recommended {
            settings: Settings { sampler, ..Settings::default() },
            ..Recommended::default()
        };
        let recommended = Recommended::of(&folder, sampler)?.or(known).unwrap_or_else(general);
        let checkpoint = checkpoint.map_err(Error::from)?;
        let (name, record, identity) = (name.to_owned(), OnceLock::new(), Mutex::default());
        Ok(Self { name, revision, checkpoint, record, identity, recommended })
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
        let frames = context.frames_at_once(frames);
        self.explained(self.architecture().check_size(&self.checkpoint, frames, height, width))
    }

    /// Its name and its folder.
    pub fn describe(&self) -> String {
        let folder = self.checkpoint.folder().display().to_string();
        if folder == self.name { folder } else { format!("{} ({folder})", self.name) }
    }

    /// What its nets cost, guided by these blocks; by all where none is named.
    pub(crate) fn costs(&self, guidance_blocks: &[String]) -> Result<Box<dyn Costs>> {
        self.explained(self.architecture().costs(&self.checkpoint, guidance_blocks))
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
        format!("cannot load the checkpoint {}", self.checkpoint.folder().display())
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

    /// Checks, without the weights, that the nets have the guidance blocks of these names.
    ///
    /// # Errors
    /// Names the block that is not there, and those that are.
    pub fn check_blocks(&self, names: &[String]) -> Result<()> {
        Ok(self.architecture().check_blocks(&self.checkpoint, names)?)
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
        let folder = self.checkpoint.folder();
        let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let begun = self.identity.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sha256 =
            begun.map_or_else(|| identity_of(&self.checkpoint), threads::join).map_err(Error::from)?;
        let (name, revision) = (self.name.clone(), self.revision.clone());
        let record = ModelRecord { name, path: path.display().to_string(), revision, sha256 };
        Ok(self.record.get_or_init(|| record).clone())
    }
}

/// What a name may stand for, in messages.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// The flag that the name came from.
    pub flag: &'static str,
    /// What it is called.
    pub noun: &'static str,
    /// What else can be given.
    pub instead: &'static str,
}

const CHECKPOINT: Lookup = Lookup {
    flag: "--model",
    noun: "checkpoint",
    instead: "one in the diffusers text-to-video layout, a name, or OWNER/NAME on the Hugging Face hub",
};

/// What a name says, and which revision: an address of the hub's is taken apart. `flag` is where it came from.
///
/// # Errors
/// A [`Misuse`] where an address is none of a repository, or names another revision.
pub fn named(flag: &str, said: &str, revision: Option<&str>) -> Result<(String, Option<String>)> {
    let own = || Ok((said.to_owned(), revision.map(str::to_owned)));
    if Path::new(said).exists() {
        return own();
    }
    let Some(address) = Address::of(said).map_err(|what| Misuse(format!("{flag} {said}: {what}")))? else {
        return own();
    };
    match (revision, address.revision) {
        (Some(requested), Some(said_too)) if requested != said_too => Err(Misuse(format!(
            "{flag} {said}: names the revision {said_too}, and --revision {requested}; give one of them"
        ))
        .into()),
        (requested, said_too) => Ok((address.id, requested.map(str::to_owned).or(said_too))),
    }
}

/// The folder that a name or path stands for.
///
/// # Errors
/// [`Missing`], with where it was looked for.
pub fn folder_of(name: &str, sought: Lookup) -> Result<PathBuf> {
    let Lookup { flag, noun, instead } = sought;
    let is_name = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
    let path = PathBuf::from(name);
    let mut places =
        if is_name { model_folders().into_iter().map(|shelf| shelf.join(name)).collect() } else { vec![] };
    places.push(path);
    if let Some(folder) = places.iter().find(|place| place.is_dir()) {
        return Ok(folder.clone());
    }
    if is_one_file(Path::new(name)) {
        let whole = format!("single files are not read; give the folder of a whole {noun}");
        return Err(Misuse(format!("{flag} {name}: {whole}: {instead}")).into());
    }
    let mut message = if is_name {
        format!("there is no {noun} \"{name}\"; looked for the folders")
    } else {
        format!("{flag} {name}: there is no such folder; give {instead}")
    };
    if is_name {
        for place in &places {
            let _ = write!(message, "\n  {}", place.display());
        }
        let _ = write!(message, "\ngive the folder of a {noun} to {flag}, or set {FOLDER_VARIABLE}");
    }
    Err(Missing(message).into())
}

/// Whether a name is of the hub's, and nothing that lies here.
pub(crate) fn is_on_hub(name: &str) -> bool {
    // A repository may end in what other files end in, too.
    let is_weights = |ending: &str| ending == "safetensors" || ending == "ckpt";
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    hub::is_id(name) && !Path::new(name).exists() && !ending.is_some_and(is_weights)
}

/// Whether a name stands for a folder here, so that nothing needs to be fetched.
pub(crate) fn is_local(name: &str) -> bool {
    !is_on_hub(name) && folder_of(name, CHECKPOINT).is_ok()
}

/// Whether this is, or is named like, weights in one file.
fn is_one_file(path: &Path) -> bool {
    let endings = ["safetensors", "ckpt", "pt", "pth", "bin", "gguf", "onnx", "zip"];
    let is_named_so =
        path.extension().is_some_and(|found| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending)));
    path.is_file() || is_named_so && !path.is_dir()
}

/// The folders that hold checkpoints by name, the first to be looked into first.
pub fn model_folders() -> Vec<PathBuf> {
    let named = std::env::var_os(FOLDER_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut model_folders: Vec<PathBuf> = named.into_iter().collect();
    model_folders.extend(beside_program(FOLDER));
    model_folders.push(PathBuf::from(FOLDER));
    model_folders
}

/// A file or folder of this name beside the program or in a folder above it: so a build inside the source tree finds
/// what belongs to the tree, and an unpacked release what lies in its folder.
pub fn beside_program(name: impl AsRef<Path>) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let program = program.canonicalize().unwrap_or(program);
    program.ancestors().skip(1).map(|folder| folder.join(&name)).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_where_it_was_looked_for() {
        let message = folder_of("no-such-checkpoint", CHECKPOINT).unwrap_err().to_string();
        assert!(
            message.contains("models/no-such-checkpoint") && message.contains(FOLDER_VARIABLE),
            "{message}"
        );
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(folder_of(folder.path().to_str().unwrap(), CHECKPOINT).unwrap(), folder.path());
        assert!(folder_of("./no/such", CHECKPOINT).unwrap_err().to_string().contains("./no/such"));
    }
}
