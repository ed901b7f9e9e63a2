//! Transfers in a row, each in a folder of its own: none is made twice, and one that fails does not end the rest.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::asked::Asked;
use crate::event::Event;
use crate::failure::{self, Misuse, STOPPED, Stopped};
use crate::inputs::Inputs;
use crate::out_of_memory::{self, Mend};
use crate::progress::{Voice, brief};
use crate::request::{Program, Request};
use crate::run_folder::{self, RunFolder};
use crate::session::Session;
use crate::stop;
use crate::transfer::{self, Manner};
use crate::unfinished::{self, ASKED, Unfinished};

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
    /// Does the jobs in their order. `after` is called with the place of each one that is done, and may fail it.
    pub(crate) fn run(
        &self,
        jobs: &[&Job],
        session: &mut Session,
        mut after: impl FnMut(usize, &mut Session) -> Result<()>,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut stopped = false;
        let _part = stop::by_step(|| None);
        for (index, job) in jobs.iter().enumerate() {
            let mut outcome = Outcome {
                name: job.name.clone(),
                ending: Ending::NotDone,
                seconds: 0.0,
                folder: job.folder.display().to_string(),
                error: None,
            };
            stopped |= stop::requested();
            if !stopped {
                session.progress.restart();
                if !self.brief {
                    session.progress.note(&format!("job {}: {}", index + 1, job.name));
                }
                self.hush(session);
                let did = failure::catch(|| {
                    let did = self.one(job, session)?;
                    after(index, session)?;
                    Ok(did)
                })
                .map_err(|error| out_of_memory::explain(error, session, Mend::OtherDevice));
                outcome.seconds = session.progress.seconds();
                if self.brief {
                    session.speak_as_told();
                }
                (outcome.ending, outcome.error) = ending(did, session);
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
            let Outcome { name, ending, seconds, .. } = &outcome;
            session.progress.event(&Event::Job { name, ending: *ending, seconds: *seconds });
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Does a job, goes on with it, or sees that it is done. Returns whether there was anything to do.
    fn one(&self, job: &Job, session: &mut Session) -> Result<bool> {
        let Job { folder, request, asked: text, .. } = job;
        let begun = Unfinished::is_recorded_in(folder)
            && !self.force
            && was_asked_in(&folder.join(unfinished::FOLDER), text);
        if begun {
            let Some(asked) = Asked::resumed("transfer", folder, session)? else { return Ok(false) };
            self.hush(session);
            return transfer::transfer(asked, &self.manner, session).map(|()| true);
        }
        if run_folder::holds_a_run(folder) && !self.force {
            if was_asked_in(folder, text) {
                return Ok(false);
            }
            let message = format!(
                "{}: holds a run of other settings; remove that folder, or give another name or folder",
                folder.display()
            );
            return Err(Misuse(message).into());
        }
        // What is left of an unfinished run of other settings may go.
        let force = self.force || Unfinished::is_in(folder);
        let flags = Request { program: session.flags().clone(), ..Request::default() };
        let request = flags.over(request.clone())?;
        session.behave(&request.program)?;
        self.hush(session);
        Inputs::of(&request).spared_by_run_in(folder)?;
        let mut folder = RunFolder::claim(folder, force)?;
        folder.keep_asked(text.clone());
        transfer::transfer(Asked { request, folder }, &self.manner, session).map(|()| true)
    }

    fn hush(&self, session: &mut Session) {
        if self.brief && session.progress.voice() == Voice::Plain {
            session.progress.set_voice(Voice::Quiet);
        }
    }
}

impl Job {
    /// Whether its folder holds what it asks for, finished.
    pub(crate) fn is_done(&self) -> bool {
        let folder = &self.folder;
        run_folder::holds_a_run(folder)
            && !Unfinished::is_recorded_in(folder)
            && was_asked_in(folder, &self.asked)
    }
}

fn was_asked_in(folder: &Path, text: &str) -> bool {
    std::fs::read_to_string(folder.join(ASKED)).is_ok_and(|asked| asked == text)
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

fn ending(outcome: Result<bool>, session: &Session) -> (Ending, Option<String>) {
    let error = match outcome {
        Ok(true) => return (Ending::Done, None),
        Ok(false) => return (Ending::AlreadyDone, None),
        Err(error) => error,
    };
    if failure::exit_code(&error) == STOPPED {
        return (Ending::NotDone, None);
    }
    failure::tell(&error, session.progress.voice());
    (Ending::Failed, Some(failure::message(&error)))
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
