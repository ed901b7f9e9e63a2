//! A run that is not finished: the hidden folder `.unfinished` in its run folder keeps what was asked and what each
//! finished step left, so that the run can go on after whatever ended it.
//!
//! `run.toml` is the record of the run, with the memory in which it goes on. `inversion-N.safetensors` has the latents
//! after step N of the inversion and the attention maps of that step, `sampling-N.safetensors` the latents after step N
//! of the sampling. Both hold the step's own record, and in which memory it was made, as bytes of JSON. `files/` is where
//! the results are written before they are moved into the run folder.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use motionflow::checkpoint::Weights;
use motionflow::generation::{Generating, GuidedUpdate};
use motionflow::inversion::{InversionStep, Inverting};
use motionflow::latents::Latents;
use motionflow::masks::SubjectMaps;
use motionflow_media::atomic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::failure::Misuse;
use crate::map_tensors::{self, map_tensors, maps_at};
use crate::record::{RunRecord, StepRecord};

/// The folder's name.
pub(crate) const FOLDER: &str = ".unfinished";
const RECORD: &str = "run.toml";
/// What a batch asked for, word for word; it stays with the results, so that a changed job is not taken for done.
pub(crate) const ASKED: &str = "asked.toml";
const FILES: &str = "files";
const INVERSION: &str = "inversion";
const SAMPLING: &str = "sampling";

/// A run that is not finished, and that no other process works on.
#[derive(Debug)]
pub(crate) struct Unfinished {
    folder: PathBuf,
    /// In how much memory the next steps are made (`--memory`).
    memory: Option<String>,
    /// Whether anything is worth keeping.
    kept: bool,
    /// Whether a step is not waited for until it is on the disk.
    quick: bool,
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
    pub(crate) fn is_in(run_folder: &Path) -> bool {
        let folder = run_folder.join(FOLDER);
        folder.join(RECORD).is_file()
            && [INVERSION, SAMPLING].iter().any(|of| step_file(&folder, of, 1).is_file())
    }

    /// Whether a run folder holds the record of an unfinished run, however far that is.
    pub(crate) fn is_recorded_in(run_folder: &Path) -> bool {
        run_folder.join(FOLDER).join(RECORD).is_file()
    }

    /// Removes an unfinished run that no process works on any more, and the run folder where nothing else is in it.
    pub(crate) fn remove_from(run_folder: &Path) {
        let _ = fs::remove_dir_all(run_folder.join(FOLDER));
        let _ = fs::remove_dir(run_folder);
    }

    /// Begins a run in a folder that exists. What an earlier unfinished run left there is removed.
    pub(crate) fn begin(run_folder: &Path, record: &RunRecord, asked: Option<&str>) -> Result<Self> {
        let text = record.to_toml()?;
        let folder = run_folder.join(FOLDER);
        let cannot = || cannot_be_written(run_folder);
        fs::create_dir_all(&folder).with_context(cannot)?;
        let lock = lock(&folder, run_folder)?;
        // The record goes first: without it what is left of a removal is no run.
        let _ = fs::remove_file(folder.join(RECORD));
        for entry in fs::read_dir(&folder).with_context(cannot)?.flatten() {
            if entry.file_name() != "lock" {
                remove(&entry.path()).with_context(cannot)?;
            }
        }
        if let Some(asked) = asked {
            atomic::write_atomically(&folder.join(ASKED), asked.as_bytes()).with_context(cannot)?;
        }
        atomic::write_atomically(&folder.join(RECORD), text.as_bytes()).with_context(cannot)?;
        let memory = record.program.memory.clone();
        Ok(Self { folder, memory, kept: false, quick: false, _lock: lock })
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
        Ok(Self { folder, memory: None, kept: true, quick: false, _lock: lock })
    }

    /// Makes the next steps in this memory, whoever goes on with them.
    pub(crate) fn go_on_in(&mut self, memory: Option<&str>) -> Result<()> {
        self.memory = memory.map(str::to_owned);
        let mut record = RunRecord::read(&self.folder)?;
        if record.program.memory != self.memory {
            record.program.memory.clone_from(&self.memory);
            record.write(&self.folder)?;
        }
        Ok(())
    }

    /// In which memory the first step was made, where not all steps are made in one.
    pub(crate) fn began_in(&self) -> Option<String> {
        let made = [INVERSION, SAMPLING].into_iter().flat_map(|of| self.steps::<Made>(of));
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
        let asked = self.folder.join(ASKED);
        if asked.exists() {
            fs::copy(&asked, files.join(ASKED)).with_context(cannot)?;
        }
        Ok(files)
    }

    /// Keeps a step of the inversion.
    pub(crate) fn save_inversion(&mut self, step: &InversionStep, record: &StepRecord) -> Result<()> {
        let mut tensors = vec![("latents".to_owned(), step.latents.tensor().contiguous())];
        tensors.extend(map_tensors(step.timestep, step.maps));
        self.save(INVERSION, step.step, tensors, record)
    }

    /// Keeps a step of the sampling, with the guided updates that came before it.
    pub(crate) fn save_sampling(
        &mut self,
        step: usize,
        latents: &Latents,
        records: Vec<StepRecord>,
        updates: Vec<GuidedUpdate>,
    ) -> Result<()> {
        let tensors = vec![("latents".to_owned(), latents.tensor().contiguous())];
        self.save(SAMPLING, step, tensors, &Sampled { records, updates })
    }

    fn save(
        &mut self,
        of: &str,
        step: usize,
        mut tensors: Vec<(String, Tensor)>,
        record: &impl Serialize,
    ) -> Result<()> {
        let path = step_file(&self.folder, of, step);
        let left = Left { memory: self.memory.as_deref(), record };
        tensors.push(("record".to_owned(), Tensor::from_slice(&serde_json::to_vec(&left)?)));
        if self.quick {
            map_tensors::write_unsynced(&path, &tensors)?;
        } else {
            map_tensors::write(&path, &tensors)?;
        }
        self.kept = true;
        Ok(())
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
            let Some(latents) = latents(&weights) else { break };
            all.records.extend(sampled.records);
            all.updates.extend(sampled.updates);
            (done, last) = (done + 1, Some(latents));
        }
        Some((Generating { done, latents: last?, updates: all.updates }, all.records))
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
        if !self.kept {
            // Without its record the folder is no unfinished run, wherever this ends.
            let _ = fs::remove_file(self.folder.join(RECORD));
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// What is told of a folder of a run that cannot be written to.
pub(crate) fn cannot_be_written(folder: &Path) -> String {
    format!("{}: cannot be written to; choose a folder that you may write to (--output)", folder.display())
}

fn lock(folder: &Path, run_folder: &Path) -> Result<File> {
    let cannot = || cannot_be_written(run_folder);
    let file = File::create(folder.join("lock")).with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!(
                "{}: another process is at work in this folder; wait for it, or give another folder (--output)",
                run_folder.display()
            );
            Err(Misuse(message).into())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

fn step_file(folder: &Path, of: &str, step: usize) -> PathBuf {
    folder.join(format!("{of}-{step:04}.safetensors"))
}

fn latents(weights: &Weights) -> Option<Latents> {
    let latents = weights.get("latents")?.to_tensor().ok()?;
    (latents.dim() == 5).then(|| Latents::new(latents))
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
