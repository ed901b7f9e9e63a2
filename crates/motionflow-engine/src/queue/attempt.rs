//! One attempt at a job: its run, begun or resumed, in a folder of the worker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::cache::inversions::SharedCache;
use crate::engine::Engine;
use crate::error::Misuse;
use crate::folder::run_folder::holds_a_run;
use crate::folder::unfinished::{self, Unfinished};
use crate::progress::Progress;
use crate::queue::Task;
use crate::request::Request;
use crate::request::tables::Program;
use crate::runs::open::OpenRun;
use crate::runs::transfer::TransferOptions;
use crate::toml_file;

/// Which command a job is.
const COMMAND: &str = "transfer";

/// A job's run in a folder here.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// What is to be done.
    pub task: &'a Task,
    /// The run folder. Steps that were kept lie in it already.
    pub folder: &'a Path,
    /// Where the inputs are here, by where they were on the machine that submitted the job.
    pub inputs: &'a BTreeMap<PathBuf, PathBuf>,
    /// What this worker computes with; it goes before what the job says.
    pub program: &'a Program,
    /// What other machines have made.
    pub shared: Option<Arc<dyn SharedCache>>,
}

impl Attempt<'_> {
    /// Makes the run, from where it is.
    ///
    /// # Errors
    /// As the engine's runs.
    pub fn run(&self, engine: &Engine, progress: &mut Progress) -> Result<()> {
        let Self { task, folder, program, .. } = self;
        let run = if Unfinished::is_recorded_in(folder) {
            match OpenRun::resumed(COMMAND, folder, program, engine, progress)? {
                Some(run) => run,
                None => return Ok(()),
            }
        } else if holds_a_run(folder) {
            return Ok(());
        } else {
            let request: Request = toml_file::parse(&task.request, "the job")?;
            let flags = Request { program: (*program).clone(), ..Request::default() };
            let mut request = flags.over(request)?;
            request.output.folder = Some(folder.to_path_buf());
            request.output.force = Some(true);
            let mut run = OpenRun::claim(request, progress)?;
            if let Some(requested) = &task.requested {
                run.folder.keep_request(requested.clone());
            }
            run
        };
        let run = self.with_inputs(run)?;
        let options =
            TransferOptions { quick: task.quick, shared: self.shared.clone(), ..TransferOptions::default() };
        engine.transfer(run, &options, progress)
    }

    /// Lets it read its inputs where they are here, and record where they were.
    fn with_inputs(&self, mut run: OpenRun) -> Result<OpenRun> {
        for path in run.request.files_mut() {
            let Some(here) = self.inputs.get(path) else {
                let path = path.display();
                let message =
                    format!("{path}: the job names it, but it did not come with the job; submit it anew");
                return Err(Misuse(message).into());
            };
            *path = here.clone();
        }
        let said = self.inputs.iter().map(|(said, here)| (here.clone(), said.clone()));
        run.request.elsewhere = said.collect();
        Ok(run)
    }
}

/// The steps that a run in a folder has kept so far, as paths in that folder. Each is whole.
///
/// # Errors
/// When the folder cannot be read.
pub fn kept_in(folder: &Path) -> Result<Vec<String>> {
    if !Unfinished::is_recorded_in(folder) {
        return Ok(Vec::new());
    }
    let place = folder.join(unfinished::FOLDER);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&place).with_context(|| format!("{}: cannot be read", place.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if unfinished::is_kept(&name) && entry.file_type()?.is_file() {
            names.push(format!("{}/{name}", unfinished::FOLDER));
        }
    }
    names.sort();
    Ok(names)
}
