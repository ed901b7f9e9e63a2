//! The commands that make runs: `transfer`, `generate`, `invert`, `inspect`, `batch`, `eval` and `sweep`.

use anyhow::{Context, Result};
use motionflow_engine::batch::Batch;
use motionflow_engine::batch::BatchOutcome;
use motionflow_engine::batch::jobs::{Ending, Jobs, Outcome};
use motionflow_engine::columns::columns;
use motionflow_engine::error::FAULT;
use motionflow_engine::eval::pair::{Pair, PairFigures};
use motionflow_engine::experiment::{Experiment, suite, sweep};
use motionflow_engine::motion::command;
use motionflow_engine::motion::track::Track;
use motionflow_engine::request::tables::Program;
use motionflow_engine::request::{Request, reference};
use motionflow_engine::runs::open::{OpenRun, Recall};
use motionflow_engine::runs::transfer::TransferOptions;
use motionflow_engine::units::brief;
use serde_json::json;

use crate::app::App;
use crate::args;
use crate::console::OutputMode;
use crate::plan;
use crate::queue;
use crate::spread;

pub(crate) fn transfer(args: &args::Transfer, app: &mut App) -> Result<()> {
    let Some(run) = open("transfer", args.request(), &args.recall, app)? else { return Ok(()) };
    if args.dry_run {
        let plan = app.engine.plan_transfer(&run, &mut app.progress)?;
        return plan::show(&plan, &app.console);
    }
    app.engine.transfer(run, &TransferOptions::default(), &mut app.progress)
}

pub(crate) fn generate(args: &args::Generate, app: &mut App) -> Result<()> {
    match open("generate", args.request(), &args.recall, app)? {
        Some(run) => app.engine.generate(run, &mut app.progress),
        None => Ok(()),
    }
}

pub(crate) fn invert(args: &args::Invert, app: &mut App) -> Result<()> {
    match open("invert", args.looking.request(), &args.looking.recall, app)? {
        Some(run) => app.engine.invert(run, &mut app.progress),
        None => Ok(()),
    }
}

pub(crate) fn inspect(args: &args::Inspect, app: &mut App) -> Result<()> {
    match open("inspect", args.looking.request(), &args.looking.recall, app)? {
        Some(run) => app.engine.inspect(run, &mut app.progress),
        None => Ok(()),
    }
}

/// Opens a run, and reports progress as the request says.
fn open(command: &str, request: Request, recall: &args::Recall, app: &mut App) -> Result<Option<OpenRun>> {
    let program = Program { cache: request.program.cache, ..app.flags.clone() };
    let recall = Recall { config: recall.config.clone(), resume: recall.resume.clone() };
    let run = OpenRun::new(command, Request { program, ..request }, &recall, &app.engine, &mut app.progress)?;
    if let Some(run) = &run {
        app.console.set_mode(OutputMode::of(&run.request.program));
    }
    Ok(run)
}

pub(crate) fn batch(args: &args::Batch, app: &mut App) -> Result<()> {
    let batch = Batch::read(&args.jobs, &args.output, &app.engine, &mut app.progress)?;
    let how = Jobs { program: app.flags.clone(), force: args.force, ..Jobs::default() };
    let outcome = app.engine.batch(&batch, args.shard, &how, &mut app.progress)?;
    tell_batch(&outcome, app);
    outcome.verdict()
}

fn tell_batch(outcome: &BatchOutcome, app: &App) {
    let longest = outcome.jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    for Outcome { name, ending, seconds, folder, error } in &outcome.jobs {
        let time = if *ending == Ending::Done { brief(*seconds) } else { String::new() };
        let what = error.as_deref().map_or(folder.as_str(), |error| error.lines().next().unwrap_or_default());
        app.console.result(&format!("{name:longest$}  {:11}  {time:>12}  {what}", ending.words()));
    }
    if outcome.jobs.len() < outcome.of {
        app.console.result(&format!("{} of {} jobs are this shard's", outcome.jobs.len(), outcome.of));
    }
}

pub(crate) fn eval(args: &args::Eval, app: &mut App) -> Result<()> {
    let suite = &args.suite;
    if let Some(file) = &suite.suite {
        let output = suite.output.clone().unwrap_or_else(|| "report".into());
        let experiment = suite::read(file, output, &args.judges, &app.engine, &mut app.progress)?;
        spread_over(&args.access, &experiment, app)?;
        return run_experiment(&experiment, suite.shard, app);
    }
    let (Some(source), Some(result)) = (&args.pair.source, &args.pair.result) else {
        anyhow::bail!("{FAULT}: a flag of eval is not there");
    };
    let pair = Pair {
        source: source.clone(),
        result: result.clone(),
        prompt: args.pair.prompt.clone(),
        truth: args.pair.truth.clone(),
        source_tracks: args.pair.source_tracks.clone(),
        result_tracks: args.pair.result_tracks.clone(),
    };
    let figures = app.engine.evaluate(&pair, &args.judges, &app.flags.resources, &mut app.progress)?;
    tell_figures(&figures, app);
    Ok(())
}

fn tell_figures(measured: &PairFigures, app: &App) {
    app.console.row("figures", &json!(measured));
    let mut rows = vec![["figure", "value", "made with"].map(str::to_owned)];
    rows.extend(measured.figures.iter().map(|figure| {
        let subject = figure.subject.as_ref().map(|subject| format!(" ({subject})")).unwrap_or_default();
        let name = format!("{}{subject}", figure.name);
        [name, format!("{:.4}", figure.value), figure.made_with.clone()]
    }));
    for line in columns(&rows) {
        app.console.result(&line);
    }
}

pub(crate) fn sweep(args: &args::Sweep, app: &mut App) -> Result<()> {
    let experiment = sweep::read(&args.config, &args.set, &args.output, &app.engine, &mut app.progress)?;
    spread_over(&args.access, &experiment, app)?;
    run_experiment(&experiment, None, app)
}

/// Lets the workers of a queue make the transfers, where one is named.
fn spread_over(access: &args::QueueAccess, experiment: &Experiment, app: &mut App) -> Result<()> {
    if access.queue.is_none() {
        return Ok(());
    }
    let queue = queue::open(access, false, app)?;
    spread::spread(experiment, &*queue, app)
}

fn run_experiment(
    experiment: &Experiment,
    shard: Option<motionflow_engine::batch::shard::Shard>,
    app: &mut App,
) -> Result<()> {
    let outcome = app.engine.experiment(experiment, shard, &app.flags, &mut app.progress)?;
    if let Some(results) = &outcome.results {
        results.rows().iter().for_each(|row| app.console.row("variant", row));
        results.table().iter().for_each(|line| app.console.result(line));
    }
    if let Some((path, shows)) = &outcome.report {
        app.console.result(&format!("{}: {shows}", path.display()));
    }
    outcome.verdict()
}

/// Draws motions, or turns them into key frames, masks or places.
pub(crate) fn track(args: &args::Track, app: &mut App) -> Result<()> {
    command::track(&args.request(), &mut app.progress)?;
    app.console.result(&format!("{}: made", args.output.display()));
    Ok(())
}

/// The JSON schema of settings files, or the reference of all settings.
pub(crate) fn schema(args: &args::Schema, app: &App) -> Result<()> {
    if args.reference {
        app.console.product("reference", reference::page().trim_end());
        return Ok(());
    }
    let schema = if args.track {
        motionflow_engine::schema::schema::<Track>()
    } else {
        motionflow_engine::schema::schema::<Request>()
    };
    let text = serde_json::to_string_pretty(&schema).context("the schema cannot be written as JSON")?;
    app.console.product("schema", &text);
    Ok(())
}
