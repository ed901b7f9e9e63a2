//! Opening a run: the settings file is read and the folder claimed, or the stopped run is opened.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use motionflow::compute::Compute;
use motionflow::error::Error as Method;

use crate::cancel;
use crate::engine::Engine;
use crate::error::{self, Busy, Misuse, Stopped};
use crate::folder::damage;
use crate::folder::inputs::Inputs;
use crate::folder::run_folder::{self, RunFolder};
use crate::folder::unfinished::Unfinished;
use crate::out_of_memory::{self, Hint};
use crate::progress::Progress;
use crate::request::Request;
use crate::request::tables::Program;
use crate::shell;

/// Where a run goes that is not told where.
const DEFAULT_FOLDER: &str = "out";

/// Where the settings of a run come from, besides the request.
#[derive(Debug, Clone, Default)]
pub struct Recall {
    /// A settings file, or the record of a run; the request goes before it.
    pub config: Option<PathBuf>,
    /// The folder of a stopped run, to resume it.
    pub resume: Option<PathBuf>,
}

/// A run to be made or resumed, and the folder that it may use.
#[derive(Debug)]
pub struct OpenRun {
    /// The request.
    pub request: Request,
    pub(crate) folder: RunFolder,
}

impl OpenRun {
    /// The run that a request to `command` asks for. `None` when it is a run that is finished already.
    ///
    /// # Errors
    /// When the settings file cannot be read, or the folder cannot be written to or holds another run.
    pub fn new(
        command: &str,
        request: Request,
        recall: &Recall,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Option<Self>> {
        if let Some(folder) = &recall.resume {
            let mut rest = request.clone();
            let cache = rest.program.cache.take();
            rest.program = Program { cache: None, ..rest.program.of_the_bytes() };
            rest.program.resources.memory = None;
            if !rest.is_empty()? {
                let message =
                    "--resume goes on with what the run was asked for; leave out the other settings";
                return Err(Misuse(message.to_owned()).into());
            }
            let mut resumed = Self::resumed(command, folder, &request.program, engine, progress)?;
            if let Some(run) = &mut resumed {
                run.request.program.cache = cache;
            }
            return Ok(resumed);
        }
        let mut request = request;
        if let Some(path) = &recall.config {
            let mut file = Request::read(path)?;
            file.forget_generates_guidance();
            request = request.over(file)?;
        }
        let folder = request.output.folder.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER));
        run_folder::refuse_name_of_a_file(&folder)?;
        let inputs = Inputs::of(&request).and("the settings file", recall.config.as_deref());
        inputs.spared_by_run_in(&folder)?;
        Self::claim(request, progress).map(Some)
    }

    /// A request in the folder that it names.
    ///
    /// # Errors
    /// When the folder cannot be written to, or holds another run.
    pub fn claim(request: Request, progress: &Progress) -> Result<Self> {
        let folder = request.output.folder.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER));
        let folder =
            RunFolder::claim(&folder, request.output.force.unwrap_or(false), &progress.cancel_token())?;
        Ok(Self { request, folder })
    }

    /// The stopped run in a folder, in another memory where `program` says so. `None` when the folder holds a finished run.
    ///
    /// # Errors
    /// When there is no run, or one of another command.
    pub fn resumed(
        command: &str,
        path: &Path,
        program: &Program,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Option<Self>> {
        if !Unfinished::is_recorded_in(path) && run_folder::holds_a_run(path) {
            damage::check(path, &mut |path| engine.sha256_of(path))?;
            Unfinished::remove_from(path);
            progress.note(&format!("{}: this run is finished already", path.display()));
            return Ok(None);
        }
        let folder = RunFolder::resume(path, command, &progress.cancel_token())?;
        let mut request = Request::read(&folder.record_path())?;
        let began = request.program.command.as_deref().unwrap_or(command);
        if began != command {
            let path = shell::typed(path);
            let message = format!(
                "--resume {path}: this run is of another command; go on with `motionflow {began} --resume {path}`"
            );
            return Err(Misuse(message).into());
        }
        if request.program.version.as_deref() != Some(env!("CARGO_PKG_VERSION")) {
            progress.warn(
                "the run was begun by another version of the program: its end may not be what an unbroken run gives",
            );
        }
        let recorded = &mut request.program;
        recorded.resources.memory = program.resources.memory.or(recorded.resources.memory);
        (recorded.quiet, recorded.json) = (program.quiet, program.json);
        Inputs::of(&request).spared_by_run_in(path)?;
        Ok(Some(Self { request, folder }))
    }

    /// Where its files will be.
    pub fn output(&self) -> &Path {
        self.folder.path()
    }
}

/// Does a run. Whatever ends it, what can be resumed is kept, and the error says how.
pub(crate) fn attempt<T>(
    command: &str,
    folder: &Path,
    compute: Compute,
    progress: &mut Progress,
    work: impl FnOnce(&mut Progress) -> Result<T>,
) -> Result<T> {
    error::catch(|| work(progress)).map_err(|error| ended(command, folder, error, compute, progress))
}

/// What becomes of an error in a run: its state is kept if that can help, and the user learns how to resume.
fn ended(command: &str, path: &Path, error: Error, compute: Compute, progress: &Progress) -> Error {
    let resume = shell::resume(command, path);
    let can_resume = Unfinished::is_in(path);
    match error.downcast_ref::<Method>() {
        Some(Method::Stopped) if Unfinished::is_recorded_in(path) => {
            Stopped(cancel::goes_on_with(&resume)).into()
        }
        Some(Method::Stopped) => Stopped(cancel::NOTHING_KEPT.to_owned()).into(),
        Some(Method::NotFinite { .. } | Method::CodingNotFinite { .. }) => {
            Unfinished::remove_from(path);
            error
        }
        _ if error.is::<Busy>() => error,
        _ if out_of_memory::caused(&error) => {
            let hint = Hint::Run(compute.memory, can_resume.then_some(&resume));
            out_of_memory::explain(error, compute.device, progress, hint)
        }
        _ => {
            if can_resume {
                progress.note(&format!(
                    "what is done is kept; when the cause is removed, go on with\n  {resume}"
                ));
            }
            error
        }
    }
}
