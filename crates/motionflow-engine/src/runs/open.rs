//! From flags to what a run shall do: the settings file is read, or the stopped run is opened.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use motionflow::error::Error as Method;

use crate::args;
use crate::folder::damage;
use crate::failure::{self, Busy, Misuse, Stopped};
use crate::folder::inputs::Inputs;
use crate::out_of_memory::{self, Mend};
use crate::request::tables::{Program, Request};
use crate::folder::run_folder::{self, RunFolder};
use crate::session::Session;
use crate::stop;
use crate::terminal::typed;
use crate::folder::unfinished::Unfinished;

/// Where a run goes that is not told where.
const DEFAULT_FOLDER: &str = "out";

/// A run to be made, or to be gone on with, and the folder that it may use.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) folder: RunFolder,
}

impl Asked {
    /// What the flags of `command` ask for. `None` when it is a run that is finished already.
    pub(crate) fn of(
        command: &'static str,
        flags: Request,
        recall: &args::Recall,
        session: &mut Session,
    ) -> Result<Option<Self>> {
        if let Some(folder) = &recall.resume {
            let mut flags = flags;
            let cache = flags.program.cache.take();
            let program = Program { memory: None, ..session.flags().of_the_bytes() };
            let behaves_otherwise = !Request { program, ..Request::default() }.is_empty()?;
            if !flags.is_empty()? || behaves_otherwise {
                let message =
                    "--resume goes on with what the run was asked for; leave out the other settings";
                return Err(Misuse(message.to_owned()).into());
            }
            let mut resumed = Self::resumed(command, folder, session)?;
            if let Some(asked) = &mut resumed {
                asked.request.program.cache = cache;
            }
            return Ok(resumed);
        }
        let mut request =
            Request { program: Program { cache: flags.program.cache, ..session.flags().clone() }, ..flags };
        if let Some(path) = &recall.config {
            let mut file = Request::read(path)?;
            file.forget_generates_guidance();
            request = request.over(file)?;
        }
        session.behave(&request.program)?;
        let folder = request.output.folder.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER));
        run_folder::refuse_name_of_a_file(&folder)?;
        let inputs = Inputs::of(&request).and("the settings file", recall.config.as_deref());
        inputs.spared_by_run_in(&folder)?;
        let folder = RunFolder::claim(&folder, request.output.force.unwrap_or(false))?;
        Ok(Some(Self { request, folder }))
    }

    /// The stopped run in a folder, in another memory where the flags say so. `None` when the folder holds a finished run.
    pub(crate) fn resumed(command: &str, path: &Path, session: &mut Session) -> Result<Option<Self>> {
        if !Unfinished::is_recorded_in(path) && run_folder::holds_a_run(path) {
            damage::check(path, &mut |path| session.sha256_of(path))?;
            Unfinished::remove_from(path);
            session.progress.note(&format!("{}: this run is finished already", path.display()));
            return Ok(None);
        }
        let folder = RunFolder::resume(path, command)?;
        let mut request = Request::read(&folder.record_path())?;
        let began = request.program.command.as_deref().unwrap_or(command);
        if began != command {
            let path = typed(path);
            let message = format!(
                "--resume {path}: this run is of another command; go on with `motionflow {began} --resume {path}`"
            );
            return Err(Misuse(message).into());
        }
        if request.program.version.as_deref() != Some(env!("CARGO_PKG_VERSION")) {
            session.progress.warn(
                "the run was begun by another version of the program: its end may not be what an unbroken run gives",
            );
        }
        let Program { memory, quiet, json, .. } = session.flags().clone();
        let memory = memory.or(request.program.memory);
        request.program = Program { memory, quiet, json, ..request.program };
        session.behave(&request.program)?;
        Inputs::of(&request).spared_by_run_in(path)?;
        Ok(Some(Self { request, folder }))
    }
}

/// Does what the flags of `command` ask for, unless that is done already.
pub(crate) fn run(
    command: &'static str,
    flags: Request,
    recall: &args::Recall,
    session: &mut Session,
    work: impl FnOnce(Asked, &mut Session) -> Result<()>,
) -> Result<()> {
    match Asked::of(command, flags, recall, session)? {
        Some(asked) => attempt(command, asked, session, work),
        None => Ok(()),
    }
}

/// Does a run. Whatever ends it, what can be gone on with is kept, and the user is told how.
pub(crate) fn attempt(
    command: &str,
    asked: Asked,
    session: &mut Session,
    work: impl FnOnce(Asked, &mut Session) -> Result<()>,
) -> Result<()> {
    let path = asked.folder.path().to_owned();
    failure::catch(|| work(asked, session)).map_err(|error| ended(command, &path, error, session))
}

/// What becomes of an error in a run: its state is kept if that can help, and the user is told how to go on.
fn ended(command: &str, path: &Path, error: Error, session: &mut Session) -> Error {
    let go_on = run_folder::go_on(command, path);
    let can_go_on = Unfinished::is_in(path);
    match error.downcast_ref::<Method>() {
        Some(Method::Stopped) if Unfinished::is_recorded_in(path) => {
            Stopped(stop::goes_on_with(&go_on)).into()
        }
        Some(Method::Stopped) => Stopped(stop::NOTHING_KEPT.to_owned()).into(),
        Some(Method::NotFinite { .. } | Method::CodingNotFinite { .. }) => {
            Unfinished::remove_from(path);
            error
        }
        _ if error.is::<Busy>() => error,
        _ if out_of_memory::caused(&error) => {
            out_of_memory::explain(error, session, Mend::Run(can_go_on.then_some(&go_on)))
        }
        _ => {
            if can_go_on {
                session
                    .progress
                    .note(&format!("what is done is kept; when the cause is mended, go on with\n  {go_on}"));
            }
            error
        }
    }
}
