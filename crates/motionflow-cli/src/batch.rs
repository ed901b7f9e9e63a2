//! `motionflow batch`: many transfers from one file, one after the other.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::args;
use crate::asked::Asked;
use crate::event::Event;
use crate::failure::{self, Misuse, STOPPED, Stopped};
use crate::progress::brief;
use crate::record::write_json;
use crate::request::Request;
use crate::run_folder::{self, RunFolder};
use crate::session::Session;
use crate::stop;
use crate::toml_file;
use crate::transfer;
use crate::unfinished::{self, ASKED, Unfinished};

/// The file of jobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Jobs {
    /// What every job asks for where it says nothing itself.
    defaults: Request,
    /// The transfers, in their order.
    job: Vec<Job>,
}

/// One transfer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Job {
    /// Name of the job, and of its folder
    name: String,
    #[serde(flatten)]
    request: Request,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Done,
    /// It was done before.
    AlreadyDone,
    Failed,
    /// The batch was stopped before or in it.
    NotDone,
}

impl Ending {
    fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyDone => "done before",
            Self::Failed => "failed",
            Self::NotDone => "not done",
        }
    }
}

/// A line of the summary.
#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    ending: Ending,
    seconds: f64,
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &args::Batch, session: &mut Session) -> Result<()> {
    session.behave_as_told()?;
    let jobs = jobs(&args.jobs)?;
    std::fs::create_dir_all(&args.output).with_context(|| {
        format!("{}: cannot be made; give another folder (--output)", args.output.display())
    })?;
    let of = jobs.len();
    let mine: Vec<(String, Request)> = jobs
        .into_iter()
        .enumerate()
        .filter(|(index, _)| args.shard.has(*index))
        .map(|(_, job)| job)
        .collect();
    let mut summaries: Vec<Summary> = Vec::new();
    for (index, (name, mut request)) in mine.into_iter().enumerate() {
        let folder = args.output.join(&name);
        let mut summary = Summary {
            name: name.clone(),
            ending: Ending::NotDone,
            seconds: 0.0,
            folder: folder.display().to_string(),
            error: None,
        };
        if !stop::requested() && summaries.last().is_none_or(|last| last.ending != Ending::NotDone) {
            session.progress.restart();
            session.progress.note(&format!("job {}: {name}", index + 1));
            request.output.folder = Some(folder.clone());
            let outcome = failure::catch(|| one(request, &folder, args.force, session));
            (summary.ending, summary.error) = ending(outcome, session);
            summary.seconds = session.progress.seconds();
        }
        session.progress.event(&Event::Job { name: &name, ending: summary.ending, seconds: summary.seconds });
        summaries.push(summary);
    }
    write_json(&args.output.join(args.shard.summary_name()), &summaries)?;
    tell(&summaries, of, session);
    verdict(&summaries, args)
}

/// Every job with its name, the defaults filled in.
fn jobs(path: &Path) -> Result<Vec<(String, Request)>> {
    let Jobs { mut defaults, job: jobs } = toml_file::read(path)?;
    let misuse = |what: String| Err(Misuse(format!("{}: {what}", path.display())).into());
    if jobs.is_empty() {
        return misuse(
            "has no [[job]]; give one for every transfer (`motionflow batch --help` shows an example)"
                .to_owned(),
        );
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    defaults.paths_from(folder);
    let mut names = BTreeSet::new();
    let mut named = Vec::new();
    for (index, Job { name, mut request }) in jobs.into_iter().enumerate() {
        let is_summary = name.starts_with("summary")
            && Path::new(&name).extension().is_some_and(|ending| ending == "json");
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) || is_summary {
            return misuse(format!(
                "job {} is named \"{name}\", but its name must do for a folder",
                index + 1
            ));
        }
        if !names.insert(name.clone()) {
            return misuse(format!("two jobs are named \"{name}\""));
        }
        request.paths_from(folder);
        let request = request.over(defaults.clone())?;
        let (output, program) = (&request.output, &request.program);
        let batchs = [
            ("output.folder", "--output", output.folder.is_some()),
            ("output.force", "--force", output.force.is_some()),
            ("program.quiet", "--quiet", program.quiet.is_some()),
            ("program.json", "--json", program.json.is_some()),
        ];
        if let Some((key, flag, _)) = batchs.into_iter().find(|(_, _, said)| *said) {
            return misuse(format!("{key} cannot be said in a job; it is the whole batch's: {flag}"));
        }
        named.push((name, request));
    }
    Ok(named)
}

/// Does a job, goes on with it, or sees that it is done. Returns whether there was anything to do.
fn one(request: Request, folder: &Path, force: bool, session: &mut Session) -> Result<bool> {
    let text = request.to_text()?;
    let asked_in =
        |folder: &Path| std::fs::read_to_string(folder.join(ASKED)).is_ok_and(|asked| asked == text);
    if Unfinished::is_recorded_in(folder) && !force && asked_in(&folder.join(unfinished::FOLDER)) {
        let Some(asked) = Asked::resumed("transfer", folder, session)? else { return Ok(false) };
        return transfer::transfer(asked, session).map(|()| true);
    }
    if run_folder::holds_a_run(folder) && !force {
        if asked_in(folder) {
            return Ok(false);
        }
        let message = format!(
            "{}: holds a run of other settings; give the job another name, or --force to replace it",
            folder.display()
        );
        return Err(Misuse(message).into());
    }
    // What is left of an unfinished run of other settings may go.
    let force = force || Unfinished::is_in(folder);
    let flags = Request { program: session.flags().clone(), ..Request::default() };
    let request = flags.over(request)?;
    session.behave(&request.program)?;
    let mut folder = RunFolder::claim(folder, force)?;
    folder.keep_asked(text);
    let asked = Asked { request, folder };
    transfer::transfer(asked, session).map(|()| true)
}

fn ending(outcome: Result<bool>, session: &mut Session) -> (Ending, Option<String>) {
    let error = match outcome {
        Ok(true) => return (Ending::Done, None),
        Ok(false) => {
            session.progress.note("done before");
            return (Ending::AlreadyDone, None);
        }
        Err(error) => error,
    };
    let code = failure::exit_code(&error);
    if code == STOPPED {
        return (Ending::NotDone, None);
    }
    failure::tell(&error, session.progress.voice());
    (Ending::Failed, Some(failure::message(&error)))
}

fn tell(summaries: &[Summary], of: usize, session: &Session) {
    let progress = &session.progress;
    let longest = summaries.iter().map(|summary| summary.name.chars().count()).max().unwrap_or(0);
    for Summary { name, ending, seconds, folder, error } in summaries {
        let time = if *ending == Ending::Done { brief(*seconds) } else { String::new() };
        let what = error.as_deref().map_or(folder.as_str(), |error| error.lines().next().unwrap_or_default());
        progress.result(&format!("{name:longest$}  {:11}  {time:>12}  {what}", ending.words()));
    }
    if summaries.len() < of {
        progress.result(&format!("{} of {of} jobs are this shard's", summaries.len()));
    }
}

fn verdict(summaries: &[Summary], args: &args::Batch) -> Result<()> {
    let count = |ending| summaries.iter().filter(|summary| summary.ending == ending).count();
    if count(Ending::NotDone) > 0 {
        return Err(Stopped("stopped; the same command goes on where this one ended".to_owned()).into());
    }
    match count(Ending::Failed) {
        0 => Ok(()),
        failed => Err(anyhow!(
            "{}: {failed} of {} jobs failed; when their causes are mended, the same command does those alone",
            args.jobs.display(),
            summaries.len()
        )),
    }
}
