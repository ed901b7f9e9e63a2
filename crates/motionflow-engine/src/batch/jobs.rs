//! Transfers in a row, each in a folder of its own: none is made twice, and one that fails does not end the rest.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use motionflow_media::Ffmpeg;
use serde::Serialize;

use crate::batch::status::JobStatus;
use crate::cancel;
use crate::engine::Engine;
use crate::error::{self, Busy, ErrorKind, Stopped};
use crate::event::Event;
use crate::folder::inputs::Inputs;
use crate::folder::record::RunRecord;
use crate::folder::unfinished::Unfinished;
use crate::progress::Progress;
use crate::request::Request;
use crate::request::tables::Program;
use crate::runs::open::OpenRun;
use crate::runs::transfer::TransferOptions;
use crate::source::SourceClip;
use crate::units::brief;

/// How often it is looked whether another process is done with a job.
const LOOK: Duration = Duration::from_millis(300);

/// One transfer.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its run folder.
    pub folder: PathBuf,
    /// What it asks for.
    pub request: Request,
    /// The same as text: it stays with the results, so that a changed job is not taken for done.
    pub requested: String,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is done.
    Done,
    /// It was done before.
    AlreadyDone,
    /// It failed.
    Failed,
    /// The program was stopped before or in it.
    NotDone,
}

impl Ending {
    /// To read.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyDone => "done before",
            Self::Failed => "failed",
            Self::NotDone => "not done",
        }
    }
}

/// What became of a job.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub seconds: f64,
    /// Its run folder.
    pub folder: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How jobs are done.
#[derive(Debug, Default)]
pub struct Jobs {
    /// What all of them compute with, where it is said for all; it goes before what a job says.
    pub program: Program,
    /// Whether what is done already is done again.
    pub force: bool,
    /// Whether a person reads one line a job instead of all that happens in it.
    pub brief: bool,
    /// How the transfers are made.
    pub options: TransferOptions,
}

impl Jobs {
    /// Does the jobs in their order; one that another process is at work on is looked at again after the others. `after`
    /// is called with the place of each one that is done, and may fail it.
    pub(crate) fn run(
        &self,
        jobs: &[&Job],
        engine: &Engine,
        progress: &mut Progress,
        mut after: impl FnMut(usize, &mut Progress) -> Result<()>,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = jobs.iter().map(|job| job.outcome()).collect();
        let mut queue: VecDeque<usize> = (0..jobs.len()).collect();
        // Jobs in a row that other processes are at work on.
        let mut busy = 0;
        let mut waited_for = BTreeSet::new();
        let mut stopped = false;
        let cancel = progress.cancel_token();
        let _part = cancel.by_step(|| None);
        while let Some(index) = queue.pop_front() {
            let (job, outcome) = (jobs[index], &mut outcomes[index]);
            stopped |= progress.is_cancelled();
            if !stopped {
                progress.restart();
                let did = error::catch(|| {
                    Unfinished::check_free(&job.folder)?;
                    if !self.brief {
                        progress.note(&format!("job {}: {}", index + 1, job.name));
                    }
                    progress.event(&Event::JobBegins { name: &job.name, brief: self.brief });
                    let did = self.one(job, engine, progress)?;
                    after(index, progress)?;
                    Ok(did)
                })
                .map_err(|error| engine.explain(error, &self.program.resources, progress));
                outcome.seconds = progress.seconds();
                progress.event(&Event::JobEnds { name: &job.name });
                if did.as_ref().is_err_and(is_busy) {
                    if waited_for.insert(index) {
                        let name = &job.name;
                        progress.note(&format!(
                            "{name}: another process is at work on it; it is looked at again after the others"
                        ));
                    }
                    queue.push_back(index);
                    busy += 1;
                    if busy >= queue.len() {
                        thread::sleep(LOOK);
                        busy = 0;
                    }
                    continue;
                }
                busy = 0;
                (outcome.ending, outcome.error) = ending(did, &job.name, progress);
                stopped |= outcome.ending == Ending::NotDone;
                if self.brief {
                    let words = outcome.ending.words();
                    let time = brief(outcome.seconds);
                    progress.note(&format!("{}/{} {}: {words} in {time}", index + 1, jobs.len(), job.name));
                } else if outcome.ending == Ending::AlreadyDone {
                    progress.note("done before");
                }
            }
            let Outcome { name, ending, seconds, .. } = &*outcome;
            progress.event(&Event::Job { name, ending: *ending, seconds: *seconds });
        }
        outcomes
    }

    /// Does a job, goes on with it, or sees that it is done. Returns whether there was anything to do.
    fn one(&self, job: &Job, engine: &Engine, progress: &mut Progress) -> Result<bool> {
        let folder = &job.folder;
        let mut request = job.with_flags(&self.program)?;
        if !self.force {
            match job.status(&request, engine, progress)? {
                JobStatus::Done(last_bits) => {
                    if let Some(text) = last_bits {
                        progress.warn(text);
                    }
                    return Ok(false);
                }
                JobStatus::Begun => {
                    let run = OpenRun::resumed("transfer", folder, &self.program, engine, progress)?;
                    let Some(run) = run else { return Ok(false) };
                    return engine.transfer(run, &self.options, progress).map(|()| true);
                }
                JobStatus::ToDo(given_up) => {
                    if let Some(text) = given_up {
                        progress.note(&text);
                    }
                }
            }
        }
        request.output.folder = Some(folder.clone());
        // What is left of an unfinished run of other settings may go.
        Inputs::of(&request).spared_by_run_in(folder)?;
        request.output.force = Some(self.force || Unfinished::is_in(folder));
        let mut run = OpenRun::claim(request, progress)?;
        run.folder.keep_request(job.requested.clone());
        engine.transfer(run, &self.options, progress).map(|()| true)
    }
}

impl Job {
    /// What it asks for, the flags of the whole command before it.
    pub(crate) fn with_flags(&self, program: &Program) -> Result<Request> {
        let flags = Request { program: program.clone(), ..Request::default() };
        flags.over(self.request.clone())
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            name: self.name.clone(),
            ending: Ending::NotDone,
            seconds: 0.0,
            folder: self.folder.display().to_string(),
            error: None,
        }
    }

    /// The frames that its run was made of, where there are any, and the ffmpeg that reads them.
    pub(crate) fn source(
        &self,
        record: &RunRecord,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<(Option<Arc<SourceClip>>, Ffmpeg)> {
        let resources = &self.request.program.resources;
        engine.on_device(resources, progress, |_, stores, progress| {
            let path = self.request.source.path.as_deref();
            let read = |_| stores.sources.read_recorded(record, path, progress);
            let source = record.source.as_ref().map(read).transpose()?;
            Ok((source, stores.sources.ffmpeg()?))
        })
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Busy>().is_some()
}

/// Every key of `[output]` and `[program]` that is the whole command's and no single transfer's, with the flag for it.
pub(crate) fn refuse_what_is_for_all(request: &Request) -> std::result::Result<(), String> {
    let Request { output, program: Program { quiet, json, .. }, .. } = request;
    let said = [
        ("output.folder", "--output", output.folder.is_some()),
        ("output.force", "--force", output.force.is_some()),
        ("program.quiet", "--quiet", quiet.is_some()),
        ("program.json", "--json", json.is_some()),
    ];
    match said.into_iter().find(|(_, _, said)| *said) {
        Some((key, flag, _)) => {
            Err(format!("{key} cannot be said here; it is for all transfers alike: {flag}"))
        }
        None => Ok(()),
    }
}

fn ending(outcome: Result<bool>, name: &str, progress: &Progress) -> (Ending, Option<String>) {
    let error = match outcome {
        Ok(true) => return (Ending::Done, None),
        Ok(false) => return (Ending::AlreadyDone, None),
        Err(error) => error,
    };
    if ErrorKind::of(&error) == ErrorKind::Stopped {
        return (Ending::NotDone, None);
    }
    let message = error::message(&error);
    let kind = ErrorKind::of(&error);
    progress.event(&Event::Error {
        message: &format!("job {name}: {message}"),
        kind,
        exit_code: kind.exit_code(),
        job: Some(name),
    });
    (Ending::Failed, Some(message))
}

/// How the whole command ends: well, stopped, or with failed jobs. `file` is where they stand.
///
/// # Errors
/// When a job failed, or the shard is not done.
pub fn verdict(outcomes: &[Outcome], of: usize, file: &Path) -> Result<()> {
    let count = |ending| outcomes.iter().filter(|outcome| outcome.ending == ending).count();
    if count(Ending::NotDone) > 0 {
        return Err(Stopped(cancel::RESUMABLE.to_owned()).into());
    }
    match count(Ending::Failed) {
        0 => Ok(()),
        failed => Err(anyhow!(
            "{}: {failed} of {of} jobs failed; when their causes are removed, the same command does those alone",
            file.display(),
        )),
    }
}
