//! A worker: it takes jobs one after another, makes their runs in a folder of its own, and tells the queue how far they are.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use motionflow_engine::cache::inversions::SharedCache;
use motionflow_engine::cancel::CancelToken;
use motionflow_engine::engine::Engine;
use motionflow_engine::error::{self, ErrorKind, Stopped};
use motionflow_engine::progress::{Observer, Progress};
use motionflow_engine::queue::{
    self, Attempt, Ending, FileRef, Held, Job, Lease, Needs, Place, Queue, QueueError,
};
use motionflow_engine::request::tables::Program;

use crate::keeper::{ANNOUNCE, Keeper, LOOK, Thread};
use crate::shared::now;
use crate::submission::{bring, files_in};

/// How long a new job is waited for at once.
const WAIT: Duration = Duration::from_secs(2);
/// How long a line or a job is left alone that cannot be done, for what it lacks may come.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// How long a worker waits where the queue has a fault.
const REST: Duration = Duration::from_secs(5);
/// How long the queue is out of reach until that is told.
const AWAY: Duration = Duration::from_secs(10);
/// The message where a worker was asked to stop.
const STOPPED: &str = "stopped; a job that was at work is given back with its last step";

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Unlike that of any other worker.
    pub name: String,
    /// On which device it computes, to read.
    pub device: String,
    /// What it computes with; it goes before what jobs say.
    pub program: Program,
    /// Folder for what it is at work on.
    pub work: PathBuf,
    /// How often kept steps are brought to the queue, at most.
    pub keep_every: Duration,
    /// How often it sees, when there is nothing to do, that no job was forgotten.
    pub repair_every: Duration,
    /// Whether it ends when there is nothing more that it could do.
    pub until_empty: bool,
}

/// What a worker did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Jobs that are finished.
    pub finished: usize,
    /// Jobs that failed.
    pub failed: usize,
}

/// What keeps a worker busy.
struct Working<'a> {
    how: &'a Worker,
    queue: Arc<dyn Queue>,
    engine: &'a Engine,
    stop: CancelToken,
    observer: Observer,
    folder: PathBuf,
    /// Why a line cannot be done, and since when that is known.
    unable: BTreeMap<String, (Instant, Needs, Option<String>)>,
    /// Jobs that were tried and cannot be done, and why; others of their lines may be done.
    left: BTreeMap<String, (Instant, String)>,
    /// The fault of the queue that was told.
    trouble: Option<String>,
    announced: Option<Instant>,
}

impl Worker {
    /// Works until it is asked to stop.
    ///
    /// # Errors
    /// [`Stopped`] where it was, and where the queue or the folder cannot be used.
    pub fn run(
        &self,
        queue: &Arc<dyn Queue>,
        engine: &Engine,
        stop: &CancelToken,
        observer: &Observer,
    ) -> Result<Done> {
        let _part = stop.by_step(|| Some(STOPPED.to_owned()));
        let (folder, _lock) = own_folder(&self.work)?;
        let mut working = Working {
            how: self,
            queue: Arc::clone(queue),
            engine,
            stop: stop.clone(),
            observer: Arc::clone(observer),
            folder: folder.clone(),
            unable: BTreeMap::new(),
            left: BTreeMap::new(),
            trouble: None,
            announced: None,
        };
        let away = working.tells_of_being_away();
        let done = working.all();
        away.end();
        let _ = fs::remove_dir_all(&folder);
        done
    }
}

/// A folder that no other worker uses. Those of workers that are gone are removed.
fn own_folder(work: &Path) -> Result<(PathBuf, File)> {
    const PREFIX: &str = "worker-";
    let cannot = || format!("{}: cannot be written to; give another folder (--work)", work.display());
    fs::create_dir_all(work).with_context(cannot)?;
    for entry in fs::read_dir(work).with_context(cannot)?.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let lock = File::open(entry.path().join("lock")).ok().filter(|_| is_ours);
        if lock.is_some_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(work).with_context(cannot)?;
    let folder = std::path::absolute(made.keep())?;
    let lock = File::create(folder.join("lock")).with_context(cannot)?;
    let _ = lock.try_lock();
    Ok((folder, lock))
}

impl Working<'_> {
    fn all(&mut self) -> Result<Done> {
        let mut done = Done::default();
        loop {
            if self.stop.is_cancelled() {
                return Err(Stopped(STOPPED.to_owned()).into());
            }
            self.announce(None);
            let lease = match self.next() {
                Ok(Some(lease)) => lease,
                Ok(None) => {
                    match self.how.until_empty.then(|| self.is_empty()) {
                        Some(Ok(true)) => return Ok(done),
                        Some(Err(error)) => self.rest(error)?,
                        Some(Ok(false)) | None => {}
                    }
                    // Nothing depends on it now.
                    let _ = self.queue.repair(self.how.repair_every);
                    continue;
                }
                Err(error) if self.stop.is_cancelled() && error.passes() => continue,
                Err(error) => {
                    self.rest(error)?;
                    continue;
                }
            };
            let id = lease.job().id;
            if self.left.get(&id).is_some_and(|(since, _)| since.elapsed() < LEFT_ALONE) {
                if let Err(error) = lease.end(Ending::Unable) {
                    self.rest(error)?;
                }
                continue;
            }
            self.announced = None;
            let did = self.one(&Arc::from(lease));
            self.announced = None;
            match did {
                Ok(Some(true)) => done.finished += 1,
                Ok(Some(false)) => done.failed += 1,
                Ok(None) => {}
                // The lease ends by itself; what is kept goes on elsewhere.
                Err(error) if self.stop.is_cancelled() => {
                    self.note(&format!("the job could not be given back, and goes on elsewhere when its lease ends: {error:#}"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a while where the queue has a fault that may be repaired, and says so once.
    fn rest(&mut self, error: QueueError) -> queue::Result<()> {
        if !error.is_of_the_queue() {
            return Err(error);
        }
        self.tell_trouble(&error);
        self.pause();
        Ok(())
    }

    fn pause(&self) {
        let since = Instant::now();
        while since.elapsed() < REST && !self.stop.is_cancelled() {
            thread::sleep(LOOK);
        }
    }

    fn tell_trouble(&mut self, error: &QueueError) {
        let why = error.to_string();
        if self.trouble.as_ref() != Some(&why) {
            self.note(&format!("waits for the queue: {why}"));
            self.trouble = Some(why);
        }
    }

    /// Says when the queue is out of reach for long, and when it is there again.
    fn tells_of_being_away(&self) -> Thread {
        let (queue, progress) = (Arc::clone(&self.queue), self.progress(CancelToken::default()));
        Thread::begin(move |is_over| {
            let mut is_told = false;
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                let away = queue.away();
                if away.is_some_and(|away| away >= AWAY) && !is_told {
                    progress.note("the queue is out of reach; the worker waits until it is back");
                    is_told = true;
                } else if away.is_none() && is_told {
                    progress.note("the queue is back");
                    is_told = false;
                }
            }
        })
    }

    fn progress(&self, token: CancelToken) -> Progress {
        Progress::new(Arc::clone(&self.observer), token)
    }

    fn note(&self, message: &str) {
        self.progress(CancelToken::default()).note(message);
    }

    fn next(&mut self) -> queue::Result<Option<Box<dyn Lease>>> {
        let (queue, engine) = (Arc::clone(&self.queue), self.engine);
        self.left.retain(|_, (since, _)| since.elapsed() < LEFT_ALONE * 2);
        let unable = &mut self.unable;
        let mut able = |needs: &Needs| {
            let line = needs.line();
            let known = unable.get(&line).filter(|(since, ..)| since.elapsed() < LEFT_ALONE);
            if let Some((_, _, lacking)) = known {
                return lacking.is_none();
            }
            let lacking = needs.lacking(engine, &mut Progress::silent());
            let is_able = lacking.is_none();
            unable.insert(line, (Instant::now(), needs.clone(), lacking));
            is_able
        };
        let wait = if self.how.until_empty { WAIT / 8 } else { WAIT };
        queue.take(&self.how.name, &mut able, wait)
    }

    /// Whether no job waits or runs that this worker could do.
    fn is_empty(&self) -> queue::Result<bool> {
        let is_able =
            |needs: &Needs| self.unable.get(&needs.line()).is_none_or(|(_, _, lacking)| lacking.is_none());
        let is_mine =
            |job: &Job| !job.state.is_over() && is_able(&job.needs) && !self.left.contains_key(&job.id);
        Ok(!self.queue.jobs()?.iter().any(is_mine))
    }

    /// Says that this worker is there. Nothing depends on it.
    fn announce(&mut self, job: Option<&str>) {
        if self.announced.is_some_and(|when| when.elapsed() < ANNOUNCE) {
            return;
        }
        self.announced = Some(Instant::now());
        let _ = self.queue.announce(&self.said(job));
    }

    fn said(&self, job: Option<&str>) -> queue::Worker {
        let lines = self.unable.values();
        let lines = lines.filter_map(|(_, needs, lacking)| Some((needs.words(), lacking.clone()?)));
        let jobs = self.left.iter().map(|(id, (_, why))| (format!("job {id}"), why.clone()));
        queue::Worker {
            name: self.how.name.clone(),
            device: self.how.device.clone(),
            job: job.map(str::to_owned),
            unable: lines.chain(jobs).collect(),
            seen: now(),
        }
    }

    /// Does a job. Returns whether it is finished or failed; none where it is neither.
    fn one(&mut self, lease: &Arc<dyn Lease>) -> Result<Option<bool>> {
        let job = lease.job();
        self.note(&format!("job {}: {}", job.id, if job.takes > 1 { "goes on" } else { "begins" }));
        self.announce(Some(&job.id));
        let folder = self.folder.join("run");
        let _ = fs::remove_dir_all(&folder);
        let token = CancelToken::default();
        let keeper = Arc::new(Keeper {
            queue: Arc::clone(&self.queue),
            lease: Arc::clone(lease),
            folder: folder.clone(),
            files: Mutex::new(job.kept.clone()),
            lost: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
        });
        let watch = keeper.watch(token.clone(), self.stop.clone(), self.said(Some(&job.id)));
        let upload = keeper.upload(self.how.keep_every, token.clone());
        let did = error::catch(|| {
            let inputs = self.inputs(&job)?;
            self.restore(&job, &folder)?;
            token_check(&token)?;
            let shared = Arc::new(Found(Arc::clone(&self.queue)));
            let attempt = Attempt {
                task: &job.task,
                folder: &folder,
                inputs: &inputs,
                program: &self.how.program,
                shared: Some(shared),
            };
            attempt.run(self.engine, &mut self.progress(token.clone()))
        });
        let did = did.map_err(|error| {
            self.engine.explain(error, &self.how.program.resources, &self.progress(token.clone()))
        });
        upload.end();
        let ended = match self.ended(&job, &keeper, did) {
            Err(error) => self.given_back(&keeper, error),
            ended => {
                self.trouble = None;
                ended
            }
        };
        watch.end();
        let _ = fs::remove_dir_all(&folder);
        ended
    }

    /// Gives a job back that could not be ended because of a fault of the queue, as soon as that can be done.
    fn given_back(&mut self, keeper: &Keeper, error: anyhow::Error) -> Result<Option<bool>> {
        let fault = error.chain().find_map(|cause| cause.downcast_ref::<QueueError>());
        match fault.filter(|fault| fault.is_of_the_queue()) {
            Some(fault) => self.tell_trouble(fault),
            None => return Err(error),
        }
        loop {
            let did = keeper.lease.end(Ending::GivenBack);
            self.pause();
            match did {
                Ok(_) => return Ok(None),
                Err(fault) if fault.is_of_the_queue() && !self.stop.is_cancelled() => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// Tells the queue what became of a job.
    fn ended(&mut self, job: &Job, keeper: &Keeper, did: Result<()>) -> Result<Option<bool>> {
        let (ending, is_finished) = match did {
            _ if keeper.lost.load(Ordering::Relaxed) => {
                self.note(&format!(
                    "job {}: another worker has it by now; this one has changed nothing",
                    job.id
                ));
                return Ok(None);
            }
            Ok(()) => (Ending::Finished(self.result(job, keeper)?), Some(true)),
            Err(error) => match ErrorKind::of(&error) {
                ErrorKind::Stopped if keeper.cancelled.load(Ordering::Relaxed) => {
                    self.note(&format!("job {}: cancelled", job.id));
                    keeper.sync()?;
                    (Ending::Cancelled, None)
                }
                ErrorKind::Stopped => {
                    keeper.sync()?;
                    (Ending::GivenBack, None)
                }
                ErrorKind::Missing | ErrorKind::DoesNotFit | ErrorKind::OutOfMemory => {
                    let why = error::message(&error);
                    self.note(&format!("job {}: is left to others: {why}", job.id));
                    self.left.insert(job.id.clone(), (Instant::now(), why));
                    (Ending::Unable, None)
                }
                _ if error
                    .chain()
                    .any(|cause| cause.downcast_ref().is_some_and(QueueError::is_of_the_queue)) =>
                {
                    return Err(error);
                }
                _ => {
                    let why = error::message(&error);
                    self.note(&format!("job {}: failed: {why}", job.id));
                    (Ending::Failed(why), Some(false))
                }
            },
        };
        let held = keeper.lease.end(ending)?;
        if held == Held::Lost {
            self.note(&format!("job {}: another worker has it by now; this one has changed nothing", job.id));
            return Ok(None);
        }
        if is_finished == Some(true) {
            self.note(&format!("job {}: finished", job.id));
        }
        Ok(is_finished)
    }

    /// Brings the result to the queue.
    fn result(&self, job: &Job, keeper: &Keeper) -> Result<Vec<FileRef>> {
        let since = Instant::now();
        let bring = || -> Result<Vec<FileRef>> {
            let names = files_in(&keeper.folder)?.into_iter().filter(|name| !name.starts_with('.'));
            let keep = |name: String| {
                Ok(self.queue.keep_file(&Place::Result(job), &name, &keeper.folder.join(&name))?)
            };
            names.map(keep).collect()
        };
        let files = bring()?;
        // What a worker wrote that was away for so long may have been cleaned away.
        if since.elapsed() < keeper.lease.lasts() { Ok(files) } else { bring() }
    }

    /// Where the inputs of a job are here. Those of other jobs are removed.
    fn inputs(&self, job: &Job) -> Result<BTreeMap<PathBuf, PathBuf>> {
        let place = self.folder.join("inputs");
        let wanted: Vec<&str> = job.task.inputs.iter().map(|input| input.file.sha256.as_str()).collect();
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            if !wanted.contains(&entry.file_name().to_string_lossy().as_ref()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let mut inputs = BTreeMap::new();
        for input in &job.task.inputs {
            ensure!(input.file.is_inside(), "an input of the job is damaged; submit it anew");
            let own = place.join(&input.file.sha256);
            let name = input.path.file_name().context("an input has no name")?;
            let path = own.join(name);
            if !path.exists() {
                if input.is_folder {
                    let list = own.join("list.json");
                    self.queue.bring_file(&input.file, &list)?;
                    let files: Vec<FileRef> = serde_json::from_slice(&fs::read(&list)?)
                        .map_err(|error| anyhow!("{}: is damaged: {error}", input.file.name))?;
                    let passing = own.join("passing");
                    let _ = fs::remove_dir_all(&passing);
                    fs::create_dir_all(&passing)?;
                    bring(&*self.queue, &files, &passing)?;
                    fs::rename(&passing, &path)?;
                } else {
                    self.queue.bring_file(&input.file, &path)?;
                }
            }
            inputs.insert(input.path.clone(), path);
        }
        Ok(inputs)
    }

    /// Puts steps that another worker has kept into the run folder.
    fn restore(&self, job: &Job, folder: &Path) -> Result<()> {
        match bring(&*self.queue, &job.kept, folder) {
            Err(QueueError::NoFile { .. }) => {
                self.note(&format!("job {}: its kept steps are damaged, and it begins anew", job.id));
                Ok(fs::remove_dir_all(folder)?)
            }
            brought => Ok(brought?),
        }
    }
}

/// What is cached in the queue for all workers.
struct Found(Arc<dyn Queue>);

impl fmt::Debug for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Found").finish_non_exhaustive()
    }
}

impl SharedCache for Found {
    fn bring(&self, key: &str, folder: &Path) -> Result<bool> {
        let Some(files) = self.0.cached(key)? else { return Ok(false) };
        bring(&*self.0, &files, folder)?;
        Ok(true)
    }

    fn keep(&self, key: &str, folder: &Path) -> Result<()> {
        // The entry's own file is written anew where the others are brought to.
        let names = files_in(folder)?.into_iter().filter(|name| name != "entry.toml");
        let files: Vec<FileRef> = names
            .map(|name| self.0.keep_file(&Place::Cache, &name, &folder.join(&name)))
            .collect::<queue::Result<_>>()?;
        Ok(self.0.cache(key, &files)?)
    }
}

fn token_check(token: &CancelToken) -> Result<()> {
    if token.is_cancelled() { Err(Stopped(STOPPED.to_owned()).into()) } else { Ok(()) }
}
