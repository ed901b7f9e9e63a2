//! `motionflow worker`, `submit` and `queue`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use motionflow_engine::batch::Batch;
use motionflow_engine::columns::columns;
use motionflow_engine::engine::Engine;
use motionflow_engine::error::Misuse;
use motionflow_engine::folder::run_folder::holds_a_run;
use motionflow_engine::folder_name;
use motionflow_engine::progress::Progress;
use motionflow_engine::queue::{self as jobs, Job, Needs, Queue, State};
use motionflow_engine::request::Request;
use motionflow_engine::request::tables::Program;
use motionflow_engine::runs::open::OpenRun;
use motionflow_engine::units::{brief, readable};
use motionflow_queue::submission::{self, Manner, Submission};
use motionflow_queue::{Access, Address, worker};
use serde_json::json;

use crate::app::App;
use crate::args::{self, QueueAccess, QueueAction};

/// How often it is looked whether a job is over.
const LOOK: Duration = Duration::from_millis(500);
/// An idle worker sees to the queue's messages once in the time of so many leases.
const LEASES_TO_REPAIR: u32 = 5;
/// A day.
const DAY: f64 = 24.0 * 60.0 * 60.0;
/// The last words of a program that waited for jobs.
const GOES_ON: &str = "stopped; the jobs go on, and can be fetched later";
const NO_QUEUE: &str = "give the queue (--queue): nats://HOST, or a folder on this machine";

/// Opens the queue that the flags name. A worker waits for it without end, other commands do not.
pub(crate) fn open(access: &QueueAccess, is_worker: bool, app: &App) -> Result<Arc<dyn Queue>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let file = |flag: &Option<std::path::PathBuf>, name: &str| {
        flag.clone().or_else(|| variable(name).map(Into::into))
    };
    let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
    let address = access.queue.clone().ok_or_else(|| Misuse(NO_QUEUE.to_owned()))?;
    let access = Access {
        creds: file(&access.creds, "NATS_CREDS"),
        nkey: file(&access.nkey, "NATS_NKEY"),
        tls_ca: file(&access.tlsca, "NATS_CA"),
        tls_cert: file(&access.tlscert, "NATS_CERT"),
        tls_key: file(&access.tlskey, "NATS_KEY"),
        user: text("NATS_USER"),
        password: text("NATS_PASSWORD"),
        lease: access.lease,
        patience: if is_worker { None } else { Access::default().patience },
        stop: app.cancel.clone(),
    };
    Ok(motionflow_queue::open(&Address::parse(&address)?, &access)?)
}

/// Works on the jobs of a queue.
pub(crate) fn work(args: &args::Worker, app: &mut App) -> Result<()> {
    let devices = args.devices();
    if devices.len() > 1 {
        return crate::workers::run(&devices, app);
    }
    let program = app.flags.clone();
    let device = program.resources.device.unwrap_or_default().to_string();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let worker = worker::Worker {
        name: format!("{}-{}-{device}", host.trim(), std::process::id()),
        device,
        program,
        work: args.work.clone().unwrap_or_else(|| std::env::temp_dir().join("motionflow-work")),
        keep_every: args.keep_every,
        repair_every: args.access.lease * LEASES_TO_REPAIR,
        until_empty: args.until_empty,
    };
    let queue = open(&args.access, true, app)?;
    app.console.result(&format!("{} takes jobs", worker.name));
    let done = worker.run(&queue, &app.engine, &app.cancel, &app.console.observer())?;
    app.console.result(&format!("{} jobs finished, {} failed", done.finished, done.failed));
    Ok(())
}

/// Puts transfers into a queue.
pub(crate) fn submit(args: &args::Submit, app: &mut App) -> Result<()> {
    let request = args.transfer.request();
    let recall = &args.transfer.recall;
    if recall.resume.is_some() || request.output.folder.is_some() || args.transfer.dry_run {
        let message = "--resume, --output and --dry-run are for runs on this machine; `motionflow queue fetch` brings the results";
        return Err(Misuse(message.to_owned()).into());
    }
    let queue = open(&args.access, false, app)?;
    let mut submission = Submission::to(&*queue, &app.engine);
    let mut all = Vec::new();
    if let Some(file) = &args.jobs {
        if !request.is_empty()? || recall.config.is_some() {
            return Err(Misuse("a file of jobs says all of them; leave out the settings".to_owned()).into());
        }
        let batch = Batch::read(file, Path::new("out"), &app.engine, &mut app.progress)?;
        for job in batch.jobs() {
            let program = Program { resources: app.flags.resources.clone(), ..Program::default() };
            let request = Request { program, ..Request::default() }.over(job.request.clone())?;
            let manner = Manner { requested: Some(job.requested.clone()), quick: false };
            all.push(submission.job(&job.name, &request, manner, &mut app.progress)?);
        }
    } else {
        let program = Program { resources: app.flags.resources.clone(), ..request.program.clone() };
        let mut request = Request { program, ..request };
        if let Some(path) = &recall.config {
            let mut file = Request::read(path)?;
            file.forget_generates_guidance();
            file.output.folder = None;
            request = request.over(file)?;
        }
        let prompt = request.prompts.new.prompt.clone().unwrap_or_default();
        let name = args.job_name.clone().unwrap_or_else(|| submission::name_of(&prompt));
        if !folder_name::is_fit(&name) {
            return Err(Misuse(format!("--name {name}: must do for a folder")).into());
        }
        check(&request, &app.engine, &mut app.progress)?;
        all.push(submission.job(&name, &request, Manner::default(), &mut app.progress)?);
    }
    queue.submit(&all)?;
    for job in &all {
        app.console.row("job", &json!({ "id": job.id, "name": job.name }));
        app.console.result(&job.id);
    }
    Ok(())
}

/// Tells a mistake at once, as far as it can be seen here.
fn check(request: &Request, engine: &Engine, progress: &mut Progress) -> Result<()> {
    if Needs::of(request, engine, progress)?.sha256.is_none() {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let mut request = request.clone();
    request.output.folder = Some(place.path().join("run"));
    let run = OpenRun::claim(request, progress)?;
    engine.plan_transfer(&run, progress).map(drop)
}

/// Shows and changes the jobs of a queue.
pub(crate) fn queue(args: &args::Queue, app: &mut App) -> Result<()> {
    let queue = open(&args.access, false, app)?;
    match &args.action {
        QueueAction::Status => status(&*queue, app),
        QueueAction::List { state } => list(&*queue, state.as_deref(), app),
        QueueAction::Cancel { ids } => each(ids, app, |id| queue.cancel(id)),
        QueueAction::Retry { ids } => each(ids, app, |id| queue.retry(id)),
        QueueAction::Fetch { ids, output, wait } => fetch(&*queue, ids, output, *wait, app),
        QueueAction::Clean { older_than, limit } => {
            let limit = limit.as_deref().map(bytes_of).transpose()?.unwrap_or(u64::MAX);
            let age = Duration::try_from_secs_f64(older_than * DAY)
                .map_err(|_| Misuse(format!("--older-than {older_than}: must be 0 days or more")))?;
            let cleaned = queue.clean(age, limit)?;
            app.console.row("cleaned", &json!(cleaned));
            let jobs::Cleaned { jobs, files, bytes: freed, left_bytes } = cleaned;
            app.console.result(&format!(
                "{jobs} jobs and {files} files removed, {}; {} are left",
                readable(freed),
                readable(left_bytes)
            ));
            Ok(())
        }
    }
}

/// Changes jobs, those behind one that cannot be changed, too.
fn each(ids: &[String], app: &App, change: impl Fn(&str) -> jobs::Result<Job>) -> Result<()> {
    let mut failed = Vec::new();
    for id in ids {
        match change(id) {
            Ok(job) => {
                let is_stopping = job.state == State::Running;
                let words = if is_stopping { "stops after its step" } else { job.state.words() };
                app.console.row("job", &json!({ "id": job.id, "name": job.name, "state": job.state }));
                app.console.result(&format!("{id}: {words}"));
            }
            Err(error) => failed.push((id, error.into())),
        }
    }
    all_of(ids.len(), failed, app)
}

/// The error of those of several ids that failed: of a single one its own.
fn all_of(many: usize, mut failed: Vec<(&String, anyhow::Error)>, app: &App) -> Result<()> {
    if many == 1
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    for (id, error) in &failed {
        app.progress.note(&format!("{id}: {error:#}"));
    }
    let count = failed.len();
    if count > 0 { Err(anyhow!("{count} of {many} jobs failed; the reasons stand above")) } else { Ok(()) }
}

fn bytes_of(text: &str) -> Result<u64> {
    let size: std::result::Result<bytesize::ByteSize, _> = text.parse();
    size.map(|size| size.0)
        .map_err(|_| Misuse(format!("--limit {text}: is no size; give one such as 500GiB")).into())
}

fn status(queue: &dyn Queue, app: &App) -> Result<()> {
    let (all, workers) = (queue.jobs()?, queue.workers()?);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for job in &all {
        *counts.entry(job.state.words()).or_default() += 1;
    }
    for (state, count) in &counts {
        app.console.row("state", &json!({ "state": state, "jobs": count }));
        app.console.result(&format!("{count} {state}"));
    }
    if counts.is_empty() {
        app.console.result("no jobs");
    }
    for worker in &workers {
        app.console.row("worker", &json!(worker));
        let job = worker.job.as_deref().map_or_else(|| "waits".to_owned(), |job| format!("has {job}"));
        app.console.result(&format!("{}: {job}", worker.name));
        for (what, why) in &worker.unable {
            app.console.result(&format!("  leaves {what} to others: {why}"));
        }
    }
    let waiting = all.iter().filter(|job| job.state == State::Queued).count();
    if workers.is_empty() && waiting > 0 {
        app.progress.note("no worker has been there in the last minute; start one with `motionflow worker`");
    }
    Ok(())
}

fn list(queue: &dyn Queue, state: Option<&str>, app: &App) -> Result<()> {
    let mut rows = vec![["id", "state", "worker", "taken", "took", "why"].map(str::to_owned)];
    for job in queue.jobs()?.into_iter().filter(|job| state.is_none_or(|state| state == job.state.words())) {
        let seconds = job.started.zip(job.finished).map(|(started, finished)| finished - started);
        app.console.row(
            "job",
            &json!({
                "id": job.id, "name": job.name, "state": job.state, "worker": job.worker, "takes": job.takes,
                "created": job.created, "started": job.started, "finished": job.finished, "error": job.error,
            }),
        );
        rows.push([
            job.id,
            job.state.words().to_owned(),
            job.worker.unwrap_or_default(),
            job.takes.to_string(),
            seconds.map(brief).unwrap_or_default(),
            job.error.as_deref().and_then(|error| error.lines().next()).unwrap_or_default().to_owned(),
        ]);
    }
    for line in columns(&rows) {
        app.console.result(&line);
    }
    Ok(())
}

fn fetch(queue: &dyn Queue, ids: &[String], output: &Path, wait: bool, app: &App) -> Result<()> {
    let _part = app.cancel.tells(|| Some(GOES_ON.to_owned()));
    let mut wanted = Vec::new();
    for id in ids {
        let mut job = queue.job(id)?;
        while wait && !job.state.is_over() {
            thread::sleep(LOOK);
            job = queue.job(id)?;
        }
        wanted.push(job);
    }
    if ids.is_empty() {
        wanted = queue.jobs()?.into_iter().filter(|job| job.state == State::Finished).collect();
    }
    let mut failed = Vec::new();
    for job in &wanted {
        let folder = output.join(if folder_name::is_fit(&job.name) { &job.name } else { &job.id });
        let fetched = if submission::is_fetched(job, &folder) {
            Ok(())
        } else if holds_a_run(&folder) {
            let message = format!("{}: holds another run; give another folder (--output)", folder.display());
            Err(Misuse(message).into())
        } else {
            submission::fetch(queue, job, &folder).map_err(anyhow::Error::from)
        };
        match fetched {
            Ok(()) => {
                app.console.row("fetched", &json!({ "id": job.id, "folder": folder }));
                app.console.result(&folder.display().to_string());
            }
            Err(error) => failed.push((&job.id, error)),
        }
    }
    all_of(wanted.len(), failed, app)
}
