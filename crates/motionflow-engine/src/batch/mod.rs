//! Many transfers from one file, one after the other.

pub mod jobs;
pub mod shard;
pub(crate) mod status;
pub(crate) mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::cancel;
use crate::engine::Engine;
use crate::error::Misuse;
use crate::folder::inputs::Inputs;
use crate::folder::record::write_json;
use crate::folder::run_folder;
use crate::folder_name;
use crate::progress::Progress;
use crate::request::Request;
use crate::toml_file;

use jobs::{Job, Jobs, Outcome};
use shard::Shard;

/// The file of jobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct File {
    /// What every job asks for where it says nothing itself.
    defaults: Request,
    /// The transfers, in their order.
    job: Vec<Named>,
}

/// One transfer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Named {
    /// Name of the job, and of its folder
    name: String,
    #[serde(flatten)]
    request: Request,
}

/// A file of jobs, read.
#[derive(Debug)]
pub struct Batch {
    file: PathBuf,
    output: PathBuf,
    jobs: Vec<Job>,
}

/// What became of the jobs of a shard.
#[derive(Debug)]
pub struct BatchOutcome {
    /// One a job.
    pub jobs: Vec<Outcome>,
    /// How many jobs the whole batch has.
    pub of: usize,
    file: PathBuf,
}

impl BatchOutcome {
    /// How the whole ends.
    ///
    /// # Errors
    /// When a job failed, or the batch was stopped.
    pub fn verdict(&self) -> Result<()> {
        jobs::verdict(&self.jobs, self.jobs.len(), &self.file)
    }
}

impl Batch {
    /// Reads a file of jobs, whose folders will be in `output`.
    ///
    /// # Errors
    /// When the file cannot be read, or says what no job may.
    pub fn read(file: &Path, output: &Path, engine: &Engine, progress: &mut Progress) -> Result<Self> {
        let jobs = jobs(file, output, engine, progress)?;
        Ok(Self { file: file.to_owned(), output: output.to_owned(), jobs })
    }

    /// Its jobs, in the order of the file.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }
}

impl Engine {
    /// Makes the transfers of a shard of a batch, one after another. One that fails does not end the rest.
    ///
    /// # Errors
    /// When the folder or the summary cannot be written.
    pub fn batch(
        &self,
        batch: &Batch,
        shard: Shard,
        how: &Jobs,
        progress: &mut Progress,
    ) -> Result<BatchOutcome> {
        let Batch { file, output, jobs } = batch;
        run_folder::refuse_name_of_a_file(output)?;
        let inputs =
            jobs.iter().fold(Inputs::default().and("the file of jobs", Some(file)), |inputs, job| {
                inputs.and("the source", job.request.source.path.as_deref())
            });
        inputs.spared_in(output, |name| name == shard.summary_name())?;
        std::fs::create_dir_all(output).with_context(|| {
            format!("{}: cannot be made; give another folder (--output)", output.display())
        })?;
        let cancel = progress.cancel_token();
        let _part = cancel.tells(|| Some(cancel::RESUMABLE.to_owned()));
        let mine: Vec<&Job> =
            jobs.iter().enumerate().filter(|(index, _)| shard.has(*index)).map(|(_, job)| job).collect();
        let outcomes = how.run(&mine, self, progress, |_, _| Ok(()));
        write_json(&output.join(shard.summary_name()), &outcomes)?;
        Ok(BatchOutcome { jobs: outcomes, of: jobs.len(), file: file.clone() })
    }
}

/// Every job, the defaults filled in.
fn jobs(path: &Path, output: &Path, engine: &Engine, progress: &mut Progress) -> Result<Vec<Job>> {
    let File { mut defaults, job: jobs } = toml_file::read(path)?;
    let misuse = |what: String| Err(Misuse(format!("{}: {what}", path.display())).into());
    if jobs.is_empty() {
        return misuse(
            "has no [[job]]; give one for every transfer (`motionflow batch --help` shows an example)"
                .to_owned(),
        );
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    if let Some(what) = values::contradiction_in(&defaults)? {
        return misuse(what);
    }
    defaults.paths_from(folder);
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for (index, Named { name, mut request }) in jobs.into_iter().enumerate() {
        let folded = folder_name::folded(&name);
        let is_summary = folded.starts_with("summary")
            && Path::new(&folded).extension().is_some_and(|ending| ending == "json");
        if !folder_name::is_fit(&name) || is_summary {
            return misuse(format!(
                "job {} is named \"{name}\", but its name must do for a folder",
                index + 1
            ));
        }
        if !names.insert(folded) {
            return misuse(format!("two jobs are named \"{name}\", or nearly so"));
        }
        request.paths_from(folder);
        let contradiction = values::contradiction_in(&request)?;
        let request = request.over(defaults.clone())?;
        if let Err(what) = jobs::refuse_what_is_for_all(&request) {
            return misuse(what);
        }
        if let Some(what) = contradiction.or(values::check(&request, engine, progress).err()) {
            return misuse(format!("job \"{name}\": {what}"));
        }
        all.push(Job { folder: output.join(&name), name, requested: request.to_text()?, request });
    }
    Ok(all)
}
