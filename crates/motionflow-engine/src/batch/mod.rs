//! `motionflow batch`: many transfers from one file, one after the other.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::args;
use crate::failure::Misuse;
use crate::folder_name;
use crate::folder::inputs::Inputs;
use crate::batch::jobs::{self, Ending, Job, Jobs, Outcome};
use crate::progress::brief;
use crate::folder::record::write_json;
use crate::request::tables::Request;
use crate::folder::run_folder;
use crate::session::Session;
use crate::stop;
use crate::toml_file;
use crate::request::values;

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

/// Runs the command.
pub(crate) fn run(args: &args::Batch, session: &mut Session) -> Result<()> {
    session.behave_as_told()?;
    let jobs = jobs(args, session)?;
    run_folder::refuse_name_of_a_file(&args.output)?;
    let inputs =
        jobs.iter().fold(Inputs::default().and("the file of jobs", Some(&args.jobs)), |inputs, job| {
            inputs.and("the source", job.request.source.path.as_deref())
        });
    inputs.spared_in(&args.output, |name| name == args.shard.summary_name())?;
    std::fs::create_dir_all(&args.output).with_context(|| {
        format!("{}: cannot be made; give another folder (--output)", args.output.display())
    })?;
    let _part = stop::tells(|| Some(stop::GOES_ON.to_owned()));
    let of = jobs.len();
    let mine: Vec<&Job> =
        jobs.iter().enumerate().filter(|(index, _)| args.shard.has(*index)).map(|(_, job)| job).collect();
    let outcomes = Jobs { force: args.force, ..Jobs::default() }.run(&mine, session, |_, _| Ok(()));
    write_json(&args.output.join(args.shard.summary_name()), &outcomes)?;
    tell(&outcomes, of, session);
    jobs::verdict(&outcomes, outcomes.len(), &args.jobs)
}

/// Every job, the defaults filled in.
fn jobs(args: &args::Batch, session: &mut Session) -> Result<Vec<Job>> {
    let path = &args.jobs;
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
        if let Some(what) = contradiction.or(values::check(&request, session).err()) {
            return misuse(format!("job \"{name}\": {what}"));
        }
        all.push(Job { folder: args.output.join(&name), name, asked: request.to_text()?, request });
    }
    Ok(all)
}

fn tell(outcomes: &[Outcome], of: usize, session: &Session) {
    let progress = &session.progress;
    let longest = outcomes.iter().map(|outcome| outcome.name.chars().count()).max().unwrap_or(0);
    for Outcome { name, ending, seconds, folder, error } in outcomes {
        let time = if *ending == Ending::Done { brief(*seconds) } else { String::new() };
        let what = error.as_deref().map_or(folder.as_str(), |error| error.lines().next().unwrap_or_default());
        progress.result(&format!("{name:longest$}  {:11}  {time:>12}  {what}", ending.words()));
    }
    if outcomes.len() < of {
        progress.result(&format!("{} of {of} jobs are this shard's", outcomes.len()));
    }
}
