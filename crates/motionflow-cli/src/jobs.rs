//! Transfers in a row, each in a folder of its own: none is made twice, and one that fails does not end the rest.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::asked::Asked;
use crate::event::Event;
use crate::failure::{self, Busy, STOPPED, Stopped};
use crate::inputs::Inputs;
use crate::out_of_memory::{self, Mend};
use crate::progress::{Voice, brief};
use crate::request::{Program, Request};
use crate::run_folder::RunFolder;
use crate::session::Session;
use crate::standing::Standing;
use crate::stop;
use crate::transfer::{self, Manner};
use crate::unfinished::Unfinished;

/// How often it is looked whether another process is done with a job.
const LOOK: Duration = Duration::from_millis(300);

/// One transfer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) request: Request,
    /// The same as text: it stays with the results, so that a changed job is not taken for done.
    pub(crate) asked: String,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Done,
    /// It was done before.
    AlreadyDone,
    Failed,
    /// The program was stopped before or in it.
    NotDone,
}

impl Ending {
    pub(crate) fn words(self) -> &'static str {
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
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) ending: Ending,
    pub(crate) seconds: f64,
    pub(crate) folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// How jobs are done.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// Whether what is done already is done again.
    pub(crate) force: bool,
    /// Whether a person reads one line a job instead of all that happens in it.
    pub(crate) brief: bool,
    pub(crate) manner: Manner,
}

impl Jobs {
    /// Does the jobs in their order; one that another process is at work on is looked at again after the others. `after`
    /// is called with the place of each one that is done, and may fail it.
    pub(crate) fn run(
        &self,
        jobs: &[&Job],
        session: &mut Session,
        mut after: impl FnMut(usize, &mut Session) -> Result<()>,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = jobs.iter().map(|job| job.outcome()).collect();
        let mut queue: VecDeque<usize> = (0..jobs.len()).collect();
        // Jobs in a row that other processes are at work on.
        let mut busy = 0;
        let mut waited_for = BTreeSet::new();
        let mut stopped = false;
        let _part = stop::by_step(|| None);
        while let Some(index) = queue.pop_front() {
            let (job, outcome) = (jobs[index], &mut outcomes[index]);
            stopped |= stop::requested();
            if !stopped {
                session.progress.restart();
                let did = failure::catch(|| {
                    Unfinished::check_free(&job.folder)?;
                    if !self.brief {
                        session.progress.note(&format!("job {}: {}", index + 1, job.name));
                    }
                    self.hush(session);
                    let did = self.one(job, session)?;
                    after(index, session)?;
                    Ok(did)
                })
                .map_err(|error| out_of_memory::explain(error, session, Mend::OtherDevice));
                outcome.seconds = session.progress.seconds();
                if self.brief {
                    session.speak_as_told();
                }
                if did.as_ref().is_err_and(is_busy) {
                    if waited_for.insert(index) {
                        let name = &job.name;
                        session.progress.note(&format!(
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
                (outcome.ending, outcome.error) = ending(did, &job.name, session);
                stopped |= outcome.ending == Ending::NotDone;
                if self.brief {
                    let words = outcome.ending.words();
                    session.progress.note(&format!(
                        "{}/{} {}: {words} in {}",
                        index + 1,
                        jobs.len(),
                        job.name,
                        brief(outcome.seconds)
                    ));
                } else if outcome.ending == Ending::AlreadyDone {
                    session.progress.note("done before");
                }
            }
            let Outcome { name, ending, seconds, .. } = &*outcome;
            session.progress.event(&Event::Job { name, ending: *ending, seconds: *seconds });
        }
        outcomes
    }

    /// Does a job, goes on with it, or sees that it is done. Returns whether there was anything to do.
    fn one(&self, job: &Job, session: &mut Session) -> Result<bool> {
        let folder = &job.folder;
        let request = job.with_flags(session)?;
        session.behave(&request.program)?;
        self.hush(session);
        if !self.force {
            match job.standing(&request, session)? {
                Standing::Done(last_bits) => {
                    if let Some(told) = last_bits {
                        session.progress.warn(told);
                    }
                    return Ok(false);
                }
                Standing::Begun => {
                    let Some(asked) = Asked::resumed("transfer", folder, session)? else { return Ok(false) };
                    self.hush(session);
                    return transfer::transfer(asked, &self.manner, session).map(|()| true);
                }
                Standing::ToDo(given_up) => {
                    if let Some(told) = given_up {
                        session.progress.note(&told);
                    }
                }
            }
        }
        // What is left of an unfinished run of other settings may go.
        let force = self.force || Unfinished::is_in(folder);
        Inputs::of(&request).spared_by_run_in(folder)?;
        let mut folder = RunFolder::claim(folder, force)?;
        folder.keep_asked(job.asked.clone());
        transfer::transfer(Asked { request, folder }, &self.manner, session).map(|()| true)
    }

    fn hush(&self, session: &mut Session) {
        if self.brief && session.progress.voice() == Voice::Plain {
            session.progress.set_voice(Voice::Quiet);
        }
    }
}

impl Job {
    /// What it asks for, the flags of the command before it.
    pub(crate) fn with_flags(&self, session: &Session) -> Result<Request> {
        let flags = Request { program: session.flags().clone(), ..Request::default() };
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

fn ending(outcome: Result<bool>, name: &str, session: &Session) -> (Ending, Option<String>) {
    let error = match outcome {
        Ok(true) => return (Ending::Done, None),
        Ok(false) => return (Ending::AlreadyDone, None),
        Err(error) => error,
    };
    if failure::exit_code(&error) == STOPPED {
        return (Ending::NotDone, None);
    }
    let message = failure::message(&error);
    // Elsewhere the name stands above or below it.
    let error = match session.progress.voice() {
        Voice::Plain => error,
        Voice::Quiet | Voice::Json => error.context(format!("job {name}: {message}")),
    };
    failure::tell(&error, session.progress.voice());
    (Ending::Failed, Some(message))
}

/// How the whole command ends: well, stopped, or with failed jobs. `file` is where they stand.
pub(crate) fn verdict(outcomes: &[Outcome], of: usize, file: &Path) -> Result<()> {
    let count = |ending| outcomes.iter().filter(|outcome| outcome.ending == ending).count();
    if count(Ending::NotDone) > 0 {
        return Err(Stopped(stop::GOES_ON.to_owned()).into());
    }
    match count(Ending::Failed) {
        0 => Ok(()),
        failed => Err(anyhow!(
            "{}: {failed} of {of} jobs failed; when their causes are mended, the same command does those alone",
            file.display(),
        )),
    }
}
