//! From a request to a job: what it reads goes into the queue with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use motionflow_engine::engine::Engine;
use motionflow_engine::progress::Progress;
use motionflow_engine::queue::job::id_of;
use motionflow_engine::queue::{FileRef, Input, Job, Needs, Place, Queue, QueueError, Task};
use motionflow_engine::request::Request;
use motionflow_engine::source::sha256_at;

use crate::shared::{now, unique};

/// Makes jobs for a queue. What several of them read is brought there once.
pub struct Submission<'a> {
    queue: &'a dyn Queue,
    engine: &'a Engine,
    inputs: BTreeMap<PathBuf, Input>,
}

impl std::fmt::Debug for Submission<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Submission").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

/// How a transfer is made.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// What a batch or an experiment asks for, word for word.
    pub requested: Option<String>,
    /// Whether it leaves the most important files alone.
    pub quick: bool,
}

impl<'a> Submission<'a> {
    /// For a queue.
    pub fn to(queue: &'a dyn Queue, engine: &'a Engine) -> Self {
        Self { queue, engine, inputs: BTreeMap::new() }
    }

    /// The job of a transfer; it is not submitted yet, but what it reads is in the queue.
    ///
    /// # Errors
    /// When what it reads is not there, or cannot be brought to the queue.
    pub fn job(
        &mut self,
        name: &str,
        request: &Request,
        manner: Manner,
        progress: &mut Progress,
    ) -> Result<Job> {
        let mut request = request.clone();
        let whole = |path: &Path| {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            // `..` names nothing on another machine.
            let named = if whole.file_name().is_none() { whole.canonicalize().ok() } else { None };
            named.unwrap_or(whole)
        };
        for name in request.model.chosen.names().into_iter().flatten() {
            if Path::new(name.as_str()).is_dir() {
                *name = whole(Path::new(name.as_str())).display().to_string();
            }
        }
        let mut inputs = Vec::new();
        for path in request.files_mut() {
            *path = whole(path);
            let input = self.input(path)?;
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
        let needs = Needs::of(&request, self.engine, progress)?;
        let Manner { requested, quick } = manner;
        let task = Task { request: request.to_text_as_said()?, inputs, requested, quick };
        Ok(Job::new(id_of(name), name.to_owned(), task, needs, now()))
    }

    fn input(&mut self, path: &Path) -> Result<Input> {
        if let Some(known) = self.inputs.get(path) {
            return Ok(known.clone());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_folder = path.is_dir();
        let file = if is_folder {
            let mut files = Vec::new();
            for inner in files_in(path)? {
                files.push(self.queue.keep_file(&Place::Input, &inner, &path.join(&inner))?);
            }
            let mut list =
                tempfile::NamedTempFile::new().context("the list of a folder cannot be written")?;
            list.write_all(&serde_json::to_vec(&files)?)?;
            self.queue.keep_file(&Place::Input, &name, list.path())?
        } else {
            self.queue.keep_file(&Place::Input, &name, path)?
        };
        let input = Input { path: path.to_owned(), file, is_folder };
        self.inputs.insert(path.to_owned(), input.clone());
        Ok(input)
    }
}

/// Every file below a folder, as paths in it with `/`.
pub(crate) fn files_in(folder: &Path) -> Result<Vec<String>, QueueError> {
    fn into(folder: &Path, prefix: &str, files: &mut Vec<String>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                into(&entry.path(), &format!("{name}/"), files)?;
            } else {
                files.push(name);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    into(folder, "", &mut files).map_err(|source| QueueError::File { path: folder.to_owned(), source })?;
    files.sort();
    Ok(files)
}

/// A name for a job of this prompt, which no other one has.
pub fn name_of(prompt: &str) -> String {
    let words: Vec<String> = prompt
        .split(|sign: char| !sign.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let words: String = words.join("-").chars().take(40).collect();
    let words = if words.is_empty() { "transfer" } else { words.trim_end_matches('-') };
    format!("{words}-{}", &unique()[..6])
}

/// Writes the result of a job to a folder.
///
/// # Errors
/// [`QueueError::NoResult`] where it is not finished.
pub fn fetch(queue: &dyn Queue, job: &Job, folder: &Path) -> Result<(), QueueError> {
    if job.state != motionflow_engine::queue::State::Finished {
        let (id, state, error) = (job.id.clone(), job.state, job.error.clone());
        return Err(QueueError::NoResult { id, state, error });
    }
    bring(queue, &job.result, folder)
}

/// Whether a folder has the result of a job as it was fetched before.
pub fn is_fetched(job: &Job, folder: &Path) -> bool {
    let is_same = |file: &FileRef| {
        let path = folder.join(&file.name);
        let has_size = path.metadata().is_ok_and(|metadata| metadata.len() == file.bytes);
        has_size && (file.name != "run.json" || sha256_at(&path).is_ok_and(|sha256| sha256 == file.sha256))
    };
    !job.result.is_empty() && job.result.iter().all(is_same)
}

/// Writes files to a folder.
pub(crate) fn bring(queue: &dyn Queue, files: &[FileRef], folder: &Path) -> Result<(), QueueError> {
    for file in files {
        queue.bring_file(file, &folder.join(&file.name))?;
    }
    Ok(())
}
