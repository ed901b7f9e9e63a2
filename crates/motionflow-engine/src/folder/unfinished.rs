//! A run that is not finished: the hidden folder `.unfinished` in its run folder keeps the request and what each
//! finished step left, so that the run can go on after whatever ended it.
//!
//! `run.toml` is the record of the run, with the memory in which it goes on. `noised-N.safetensors` has the source's
//! clean latents and the attention maps of pass N on the noised source, `inversion-N.safetensors` the latents after step N
//! of the inversion and the attention maps of that step, `sampling-N.safetensors` the latents after step N of the
//! sampling and what the sampler remembers then. Each holds the step's own record, and in which memory it was made, as
//! bytes of JSON. A step is written while the next one runs. `files/` is where the results are written before they are
//! moved into the run folder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use motionflow::checkpoint::Weights;
use motionflow::compute::MemoryUse;
use motionflow::generation::{Generating, GuidedUpdate};
use motionflow::inversion::{InversionStep, Inverting};
use motionflow::latents::Latents;
use motionflow::masks::SubjectMaps;
use motionflow::noised::{NoisedSource, Pass, PassReport};
use motionflow::sampler::History;
use motionflow_media::atomic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use toml::{Table, Value};

use crate::error::{Busy, Misuse};
use crate::folder::map_tensors::{self, map_tensors, maps_at};
use crate::folder::record::{ChoiceRecord, StepRecord};
use crate::threads;

/// The folder's name.
pub(crate) const FOLDER: &str = ".unfinished";
const RECORD: &str = "run.toml";
/// The request of a batch, word for word; it stays with the results, so that a changed job is not taken for done.
pub(crate) const REQUEST: &str = "asked.toml";
const LOCK: &str = "lock";
/// What the checkpoint recommended, filled in.
const RECOMMENDED: &str = "recommended.toml";
/// How the guidance blocks were chosen.
const LAYER_CHOICE: &str = "layer-choice.json";
/// Where the results are written before they are moved.
pub(crate) const FILES: &str = "files";
const NOISED: &str = "noised";
const INVERSION: &str = "inversion";
const SAMPLING: &str = "sampling";
/// What has steps, in the order of a run.
const PARTS: [&str; 3] = [NOISED, INVERSION, SAMPLING];
const LATENTS: &str = "latents";
/// The latents that the last step began with.
const BEGAN: &str = "history.began";

/// A run that is not finished, and that no other process works on.
#[derive(Debug)]
pub struct Unfinished {
    folder: PathBuf,
    /// In how much memory the next steps are made (`--memory`).
    memory: Option<String>,
    /// Whether anything is worth keeping.
    kept: bool,
    /// Whether a step is not waited for until it is on the disk.
    quick: bool,
    /// The step that is being written.
    writing: Option<JoinHandle<Result<()>>>,
    _lock: File,
}

/// What every step leaves besides its tensors.
#[derive(Serialize)]
struct Left<'a, T> {
    memory: Option<&'a str>,
    #[serde(flatten)]
    record: &'a T,
}

/// How a step was made.
#[derive(Deserialize)]
struct Made {
    memory: Option<String>,
}

/// What a sampling step leaves besides its latents.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sampled {
    records: Vec<StepRecord>,
    updates: Vec<GuidedUpdate>,
}

impl Unfinished {
    /// Whether a run folder holds an unfinished run with at least one finished step.
    pub fn is_in(run_folder: &Path) -> bool {
        let folder = run_folder.join(FOLDER);
        folder.join(RECORD).is_file() && PARTS.iter().any(|of| step_file(&folder, of, 1).is_file())
    }

    /// Whether a run folder holds the record of an unfinished run, however far that is.
    pub fn is_recorded_in(run_folder: &Path) -> bool {
        run_folder.join(FOLDER).join(RECORD).is_file()
    }

    /// Looks, without taking it, whether no process works in a run folder.
    pub(crate) fn check_free(run_folder: &Path) -> Result<()> {
        let Ok(lock) = File::open(run_folder.join(FOLDER).join(LOCK)) else { return Ok(()) };
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(busy(run_folder)),
            _ => Ok(()),
        }
    }

    /// Removes an unfinished run that no process works on any more, and the run folder where nothing else is in it.
    pub(crate) fn remove_from(run_folder: &Path) {
        let _ = fs::remove_dir_all(run_folder.join(FOLDER));
        let _ = fs::remove_dir(run_folder);
    }

    /// Begins a run in a folder that exists. What an earlier unfinished run left there is removed.
    pub(crate) fn begin(
        run_folder: &Path,
        record: &str,
        memory: Option<&str>,
        requested: Option<&str>,
    ) -> Result<Self> {
        let folder = run_folder.join(FOLDER);
        let cannot = || cannot_be_written(run_folder);
        fs::create_dir_all(&folder).with_context(cannot)?;
        let lock = lock(&folder, run_folder)?;
        // The record goes first: without it what is left of a removal is no run.
        let _ = fs::remove_file(folder.join(RECORD));
        for entry in fs::read_dir(&folder).with_context(cannot)?.flatten() {
            if entry.file_name() != LOCK {
                remove(&entry.path()).with_context(cannot)?;
            }
        }
        if let Some(requested) = requested {
            atomic::write_atomically(&folder.join(REQUEST), requested.as_bytes()).with_context(cannot)?;
        }
        atomic::write_atomically(&folder.join(RECORD), record.as_bytes()).with_context(cannot)?;
        let memory = memory.map(str::to_owned);
        Ok(Self { folder, memory, kept: false, quick: false, writing: None, _lock: lock })
    }

    /// Opens the unfinished run of a run folder, to go on with it.
    pub(crate) fn open(run_folder: &Path) -> Result<Self> {
        let folder = run_folder.join(FOLDER);
        if !folder.join(RECORD).is_file() {
            let message = format!(
                "--resume {}: holds no unfinished run; start it with its own flags",
                run_folder.display()
            );
            return Err(Misuse(message).into());
        }
        let lock = lock(&folder, run_folder)?;
        if !folder.join(RECORD).is_file() {
            return Err(busy(run_folder));
        }
        Ok(Self { folder, memory: None, kept: true, quick: false, writing: None, _lock: lock })
    }

    /// Makes the next steps in this memory, whoever goes on with them.
    pub(crate) fn continue_in(&mut self, memory: MemoryUse) -> Result<()> {
        let path = self.folder.join(RECORD);
        let cannot = || format!("{}: cannot be read", path.display());
        let text = fs::read_to_string(&path).with_context(cannot)?;
        let mut record: Table = toml::from_str(&text).with_context(cannot)?;
        let program = record.entry("program").or_insert_with(|| Table::new().into());
        let memory = memory.to_string();
        if program.get("memory").and_then(Value::as_str) != Some(&memory)
            && let Some(program) = program.as_table_mut()
        {
            program.insert("memory".to_owned(), memory.clone().into());
            atomic::write_atomically(&path, toml::to_string(&record)?.as_bytes())?;
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// Keeps what the checkpoint recommends.
    pub(crate) fn keep_recommended(&self, recommended: &Table) -> Result<()> {
        let path = self.folder.join(RECOMMENDED);
        Ok(atomic::write_atomically(&path, toml::to_string(recommended)?.as_bytes())?)
    }

    /// What the checkpoint recommended when the run was begun; runs of earlier versions do not know.
    pub(crate) fn recommended(&self) -> Option<Table> {
        fs::read_to_string(self.folder.join(RECOMMENDED)).ok()?.parse().ok()
    }

    /// Keeps how the guidance blocks were chosen just now, or tells how they were when the run was begun.
    pub(crate) fn layer_choice(&self, now: Option<ChoiceRecord>) -> Result<Option<ChoiceRecord>> {
        let path = self.folder.join(LAYER_CHOICE);
        let Some(choice) = now else {
            return Ok(fs::read(path).ok().and_then(|kept| serde_json::from_slice(&kept).ok()));
        };
        atomic::write_atomically(&path, &serde_json::to_vec(&choice)?)?;
        Ok(Some(choice))
    }

    /// In which memory the first step was made, where not all steps are made in one.
    pub(crate) fn began_in(&self) -> Option<String> {
        let made = PARTS.into_iter().flat_map(|of| self.steps::<Made>(of));
        let memories: Vec<String> = made.filter_map(|(_, made)| made.memory).collect();
        let is_mixed = memories.iter().any(|memory| Some(memory) != self.memory.as_ref());
        memories.into_iter().next().filter(|_| is_mixed)
    }

    /// Whether steps survive the end of the program alone, not that of the machine.
    pub(crate) fn keep_quickly(&mut self, quick: bool) {
        self.quick = quick;
    }

    /// An empty folder for the results.
    pub(crate) fn files(&self) -> Result<PathBuf> {
        let files = self.folder.join(FILES);
        let cannot = || cannot_be_written(&files);
        if files.exists() {
            fs::remove_dir_all(&files).with_context(cannot)?;
        }
        fs::create_dir(&files).with_context(cannot)?;
        let requested = self.folder.join(REQUEST);
        if requested.exists() {
            fs::copy(&requested, files.join(REQUEST)).with_context(cannot)?;
        }
        Ok(files)
    }

    /// Keeps a pass on the noised source.
    pub(crate) fn save_noised(&mut self, report: &PassReport, record: &StepRecord) -> Result<()> {
        let mut tensors = vec![("latents".to_owned(), report.latents.tensor().contiguous())];
        tensors.extend(map_tensors(report.pass.timestep, &report.pass.maps));
        self.save(NOISED, report.number, tensors, record)
    }

    /// Keeps a step of the inversion.
    pub(crate) fn save_inversion(&mut self, step: &InversionStep, record: &StepRecord) -> Result<()> {
        let mut tensors = vec![(LATENTS.to_owned(), step.latents.tensor().contiguous())];
        tensors.extend(map_tensors(step.key, step.maps));
        self.save(INVERSION, step.step, tensors, record)
    }

    /// Keeps a step of the sampling, with the guided updates that came before it.
    pub(crate) fn save_sampling(
        &mut self,
        step: usize,
        (latents, history): (&Latents, &History),
        records: Vec<StepRecord>,
        updates: Vec<GuidedUpdate>,
    ) -> Result<()> {
        let mut tensors = vec![(LATENTS.to_owned(), latents.tensor().contiguous())];
        let clean = history.clean.iter().enumerate();
        tensors.extend(clean.map(|(index, clean)| (clean_name(index), clean.contiguous())));
        tensors.extend(history.began.iter().map(|began| (BEGAN.to_owned(), began.contiguous())));
        self.save(SAMPLING, step, tensors, &Sampled { records, updates })
    }

    /// Begins to write a step, once the one before it is written.
    fn save(
        &mut self,
        of: &str,
        step: usize,
        tensors: Vec<(String, Tensor)>,
        record: &impl Serialize,
    ) -> Result<()> {
        let path = step_file(&self.folder, of, step);
        // Copies, since the run goes on with its own.
        let copied = |tensor: Tensor| tensor.to_device_(Device::Cpu, tensor.kind(), false, true);
        let mut tensors: Vec<_> = tensors.into_iter().map(|(name, tensor)| (name, copied(tensor))).collect();
        let left = Left { memory: self.memory.as_deref(), record };
        tensors.push(("record".to_owned(), Tensor::from_slice(&serde_json::to_vec(&left)?)));
        let write = if self.quick { map_tensors::write_unsynced } else { map_tensors::write };
        self.settle()?;
        self.writing = Some(thread::spawn(move || write(&path, &tensors)));
        Ok(())
    }

    /// Waits until the last step is written, and tells if it could not be.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if let Some(writing) = self.writing.take() {
            threads::join(writing)?;
            self.kept = true;
        }
        Ok(())
    }

    /// The passes on the noised source, if they were begun.
    pub(crate) fn noised(&self) -> Option<(NoisedSource, Vec<StepRecord>)> {
        let (mut records, mut passes, mut clean) = (Vec::new(), Vec::new(), None);
        for (weights, record) in self.steps::<StepRecord>(NOISED) {
            let Some((latents, maps)) = latents(&weights).zip(maps_at(&weights).ok()) else { break };
            passes.extend(maps.at.into_iter().map(|(timestep, maps)| Pass { timestep, maps }));
            records.push(record);
            clean = Some(latents);
        }
        Some((NoisedSource { latents: clean?, passes }, records))
    }

    /// How far the inversion was, if it was begun.
    pub(crate) fn inversion(&self) -> Option<(Inverting, Vec<StepRecord>)> {
        let (mut records, mut maps) = (Vec::new(), SubjectMaps::default());
        let mut last = None;
        for (weights, record) in self.steps::<StepRecord>(INVERSION) {
            let Some((latents, step_maps)) = latents(&weights).zip(maps_at(&weights).ok()) else { break };
            maps.at.extend(step_maps.at);
            records.push(record);
            last = Some(latents);
        }
        let latents = last?;
        Some((Inverting { done: records.len(), latents, maps }, records))
    }

    /// How far the sampling was, if it was begun.
    pub(crate) fn sampling(&self) -> Option<(Generating, Vec<StepRecord>)> {
        let (mut done, mut last, mut all) = (0, None, Sampled::default());
        for (weights, sampled) in self.steps::<Sampled>(SAMPLING) {
            let Some(latents) = latents(&weights).map(|latents| (latents, history(&weights))) else { break };
            all.records.extend(sampled.records);
            all.updates.extend(sampled.updates);
            (done, last) = (done + 1, Some(latents));
        }
        let (latents, history) = last?;
        let trail = Vec::new();
        Some((Generating { done, latents, history, trail, updates: all.updates }, all.records))
    }

    /// The latents after each sampling step that is done.
    pub(crate) fn sampled(&self) -> Vec<Latents> {
        self.steps::<Sampled>(SAMPLING).map_while(|(weights, _)| latents(&weights)).collect()
    }

    /// The steps from the first on, as far as their files are whole.
    fn steps<T: DeserializeOwned>(&self, of: &'static str) -> impl Iterator<Item = (Weights, T)> {
        (1..).map_while(move |step| {
            let weights = Weights::open(&step_file(&self.folder, of, step)).ok()?;
            let record = Vec::<u8>::try_from(weights.get("record")?.to_tensor().ok()?).ok()?;
            Some((weights, serde_json::from_slice(&record).ok()?))
        })
    }

    /// Leaves nothing to go on with: the run is finished, or can only fail again.
    pub(crate) fn remove(mut self) {
        self.kept = false;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            self.kept |= matches!(writing.join(), Ok(Ok(())));
        }
        if !self.kept {
            // Without its record the folder is no unfinished run, wherever this ends.
            let _ = fs::remove_file(self.folder.join(RECORD));
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The message about a folder of a run that cannot be written to.
pub(crate) fn cannot_be_written(folder: &Path) -> String {
    format!("{}: cannot be written to; choose a folder that you may write to (--output)", folder.display())
}

fn lock(folder: &Path, run_folder: &Path) -> Result<File> {
    let cannot = || cannot_be_written(run_folder);
    let file = match File::create(folder.join(LOCK)) {
        // Another process is just done, and takes the folder away.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(busy(run_folder)),
        file => file.with_context(cannot)?,
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(busy(run_folder)),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

/// The message where another process works in a run folder.
pub(crate) fn busy(run_folder: &Path) -> anyhow::Error {
    let folder = run_folder.display();
    Busy(format!(
        "{folder}: another process is at work in this folder; wait for it, or give another folder (--output)"
    ))
    .into()
}

/// Whether a file of this name in the folder is what another process would go on from.
pub(crate) fn is_kept(name: &str) -> bool {
    let is_step = PARTS.iter().any(|of| name.strip_prefix(of).is_some_and(|rest| rest.starts_with('-')));
    [RECORD, REQUEST, RECOMMENDED, LAYER_CHOICE].contains(&name)
        || (is_step && name.ends_with(".safetensors"))
}

fn step_file(folder: &Path, of: &str, step: usize) -> PathBuf {
    folder.join(format!("{of}-{step:04}.safetensors"))
}

fn latents(weights: &Weights) -> Option<Latents> {
    let latents = weights.get(LATENTS)?.to_tensor().ok()?;
    (latents.dim() == 5).then(|| Latents::new(latents))
}

/// x₀ of an earlier step, the earliest first.
fn clean_name(index: usize) -> String {
    format!("history.clean.{index}")
}

fn history(weights: &Weights) -> History {
    let tensor = |name: &str| weights.get(name)?.to_tensor().ok();
    History { clean: (0..).map_while(|index| tensor(&clean_name(index))).collect(), began: tensor(BEGAN) }
}

/// Removes a file, or a folder with all that is in it.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn save(unfinished: &mut Unfinished, step: usize) -> Result<()> {
        let latents = Latents::new(Tensor::full([1, 1, 1, 1, 2], step as f64, (Kind::Float, Device::Cpu)));
        unfinished.save_sampling(step, (&latents, &History::default()), Vec::new(), Vec::new())
    }

    #[test]
    fn whatever_ends_a_run_its_last_step_is_written_first() {
        let place = tempfile::tempdir().unwrap();
        let mut unfinished = Unfinished::begin(place.path(), "", None, None).unwrap();
        for step in 1..=3 {
            save(&mut unfinished, step).unwrap();
        }
        drop(unfinished);
        let (from, _) = Unfinished::open(place.path()).unwrap().sampling().unwrap();
        assert_eq!((from.done, from.latents.tensor().double_value(&[0, 0, 0, 0, 1])), (3, 3.0));
    }

    #[test]
    fn a_step_that_cannot_be_written_is_told_and_none_is_written_after_it() {
        let place = tempfile::tempdir().unwrap();
        let mut unfinished = Unfinished::begin(place.path(), "", None, None).unwrap();
        let folder = place.path().join(FOLDER);
        fs::create_dir(step_file(&folder, SAMPLING, 2)).unwrap();
        save(&mut unfinished, 1).unwrap();
        save(&mut unfinished, 2).unwrap();
        let message = format!("{:#}", save(&mut unfinished, 3).unwrap_err());
        assert!(message.contains("sampling-0002.safetensors: cannot be written"), "{message}");
        drop(unfinished);
        assert!(!step_file(&folder, SAMPLING, 3).exists());
        assert_eq!(Unfinished::open(place.path()).unwrap().sampling().unwrap().0.done, 1);
    }

    #[test]
    fn a_first_step_that_cannot_be_written_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let mut unfinished = Unfinished::begin(place.path(), "", None, None).unwrap();
        fs::create_dir(step_file(&place.path().join(FOLDER), SAMPLING, 1)).unwrap();
        save(&mut unfinished, 1).unwrap();
        drop(unfinished);
        assert!(!place.path().join(FOLDER).exists());
    }
}
