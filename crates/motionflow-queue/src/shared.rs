//! A queue over any side: who may write what, and when.
//!
//! The record of a job is the truth, and is written with revision checks. The message in the line only says that there is
//! something to do: one that comes twice, late, or for a job that is over, is dropped. So a queue that lost its messages
//! loses no job, and a worker that lost its lease changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use motionflow_engine::queue::job::is_id;
use motionflow_engine::queue::{
    Cleaned, FileRef, Job, Lease, Needs, Place, Queue, QueueError, Result, State, Worker,
};
use motionflow_engine::source::{hex, sha256_at};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::broker::{Broker, Delivery, Record};
use crate::leases::Leased;

/// Workers that end in a row without a word and without a new step: then a job is given up.
pub(crate) const MOST_DEATHS: u32 = 4;
/// How often it is looked for new lines.
const LOOK: Duration = Duration::from_secs(2);
/// Jobs whose messages are sent together.
const TOGETHER: usize = 500;

/// A queue over a side.
pub(crate) struct Shared<B> {
    pub(crate) broker: Arc<B>,
    /// Where it is, without secrets.
    place: String,
    /// The lines that are known.
    lines: Mutex<Option<(Instant, BTreeMap<String, Needs>)>>,
}

impl<B> std::fmt::Debug for Shared<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A text that no other call gives.
pub(crate) fn unique() -> String {
    let mut bytes = [0_u8; 12];
    // Where the system has no randomness, the time and the process tell calls apart.
    if getrandom::fill(&mut bytes).is_err() {
        let text = format!("{:?} {}", Instant::now(), std::process::id());
        bytes.copy_from_slice(&Sha256::digest(text)[..12]);
    }
    hex(&bytes)
}

pub(crate) fn line_key(line: &str) -> String {
    format!("line.{line}")
}

pub(crate) fn key_of(id: &str) -> String {
    format!("job.{id}")
}

impl<B: Broker> Shared<B> {
    pub(crate) fn new(broker: B, place: String) -> Self {
        Self { broker: Arc::new(broker), place, lines: Mutex::default() }
    }

    fn parsed<T: DeserializeOwned>(&self, record: &Record) -> Result<T> {
        serde_json::from_slice(&record.value).map_err(|error| QueueError::Damaged {
            place: self.place.clone(),
            reason: format!("{}: {error}", record.key),
        })
    }

    /// The job with an id; none where its record is damaged or somebody else's, too.
    pub(crate) fn known(&self, id: &str) -> Result<Option<Job>> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.broker.get(&key_of(id))?.as_ref().and_then(job_of))
    }

    fn found(&self, id: &str) -> Result<(Job, u64)> {
        if !is_id(id) {
            return Err(QueueError::NoJob { id: id.to_owned() });
        }
        let record = self.broker.get(&key_of(id))?.ok_or_else(|| QueueError::NoJob { id: id.to_owned() })?;
        Ok((self.parsed(&record)?, record.revision))
    }

    /// Changes a job, whoever else changes it meanwhile.
    fn change(&self, id: &str, change: impl Fn(&mut Job) -> Result<()>) -> Result<Job> {
        loop {
            let (mut job, revision) = self.found(id)?;
            change(&mut job)?;
            if self.broker.put(&key_of(id), &text(&job), revision)?.is_some() {
                return Ok(job);
            }
        }
    }

    /// Writes a job that is not there yet. Returns it as it is there.
    fn added(&self, job: &Job) -> Result<Job> {
        let key = key_of(&job.id);
        let mut revision = 0;
        loop {
            if self.broker.put(&key, &text(job), revision)?.is_some() {
                return Ok(job.clone());
            }
            let Some(record) = self.broker.get(&key)? else {
                revision = 0;
                continue;
            };
            match job_of(&record) {
                Some(known) => return is_same(&known, job).map(|()| known),
                // What is damaged is in nobody's way.
                None => revision = record.revision,
            }
        }
    }

    /// The lines, looked for anew now and then.
    pub(crate) fn lines(&self) -> Result<BTreeMap<String, Needs>> {
        let mut known = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, lines)) = known.as_ref()
            && when.elapsed() < LOOK
        {
            return Ok(lines.clone());
        }
        let mut lines = BTreeMap::new();
        for record in self.broker.all("line.")? {
            let line = record.key.trim_start_matches("line.").to_owned();
            // A record that is damaged or somebody else's stops nothing; `clean` removes it.
            if let Ok(needs) = serde_json::from_slice(&record.value) {
                lines.insert(line, needs);
            }
        }
        *known = Some((Instant::now(), lines.clone()));
        Ok(lines)
    }

    /// A lease on the job of a message; none where there is nothing to do for it.
    fn lease(&self, delivery: &Delivery, worker: &str) -> Result<Option<Box<dyn Lease>>> {
        // Somebody else's message.
        if !is_id(&delivery.id) {
            return self.broker.acknowledge(delivery).map(|()| None);
        }
        let token = unique();
        loop {
            let Some(record) = self.broker.get(&key_of(&delivery.id))? else {
                return self.broker.acknowledge(delivery).map(|()| None);
            };
            let Some(job) = job_of(&record) else {
                return self.broker.acknowledge(delivery).map(|()| None);
            };
            if job.lease.as_deref() == Some(&token) && job.state == State::Running {
                return Ok(Some(Box::new(Leased::new(&self.broker, job, record.revision, delivery.clone()))));
            }
            if job.state.is_over() {
                tidy(&*self.broker, &job)?;
                return self.broker.acknowledge(delivery).map(|()| None);
            }
            // Another message of the same job, whose worker has its lease by the first one; unless that was lost.
            if job.state == State::Running
                && job.delivery != delivery.number
                && self.broker.has_message(&job.needs.line(), job.delivery)?
            {
                return self.broker.acknowledge(delivery).map(|()| None);
            }
            let taken = taken(job, worker, &token, delivery.number);
            let revision = self.broker.put(&record.key, &text(&taken), record.revision)?;
            if let (Some(revision), State::Running) = (revision, taken.state) {
                return Ok(Some(Box::new(Leased::new(&self.broker, taken, revision, delivery.clone()))));
            }
        }
    }
}

/// The job as a worker takes it, or as it is over instead.
fn taken(job: Job, worker: &str, token: &str, delivery: u64) -> Job {
    let deaths = job.deaths + u32::from(job.state == State::Running);
    if job.cancel {
        return Job { state: State::Cancelled, finished: Some(now()), deaths, ..job };
    }
    if deaths >= MOST_DEATHS {
        let last = job.worker.as_deref().unwrap_or("unknown");
        let error = format!(
            "{deaths} workers in a row ended without a word while they had it, the last one was {last}; look into what they \
             wrote, then try it again (motionflow queue retry)"
        );
        return Job { state: State::Dead, finished: Some(now()), deaths, error: Some(error), ..job };
    }
    Job {
        state: State::Running,
        started: job.started.or(Some(now())),
        worker: Some(worker.to_owned()),
        lease: Some(token.to_owned()),
        delivery,
        takes: job.takes + 1,
        deaths,
        ..job
    }
}

/// Whether a job is the one that is there under its id.
fn is_same(known: &Job, job: &Job) -> Result<()> {
    let (one, other) = (&known.task, &job.task);
    // Who has no checkpoint cannot say which it is.
    let hashes = known.needs.sha256.as_ref().zip(job.needs.sha256.as_ref());
    let differs = if one.inputs != other.inputs {
        "other input files"
    } else if hashes.is_some_and(|(one, other)| one != other) {
        "another checkpoint"
    } else if one != other {
        "other settings"
    } else {
        return Ok(());
    };
    Err(QueueError::OtherJob { id: job.id.clone(), differs: differs.to_owned() })
}

/// The job that a record tells of; none where it is damaged or somebody else's.
pub(crate) fn job_of(record: &Record) -> Option<Job> {
    let job: Job = serde_json::from_slice(&record.value).ok()?;
    (is_id(&job.id) && key_of(&job.id) == record.key).then_some(job)
}

/// Removes what a job that is over does not need any more.
pub(crate) fn tidy(broker: &dyn Broker, job: &Job) -> Result<()> {
    if job.state == State::Finished { broker.discard(&format!("kept.{}.", job.id)) } else { Ok(()) }
}

pub(crate) fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

impl<B: Broker> Queue for Shared<B> {
    fn submit(&self, jobs: &[Job]) -> Result<()> {
        // All or nothing: whatever is in the way of one is seen before any is written.
        for job in jobs {
            if let Some(known) = self.known(&job.id)? {
                is_same(&known, job)?;
            }
        }
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut needs = BTreeSet::new();
        for job in jobs {
            let line = job.needs.line();
            if needs.insert(line.clone()) {
                self.broker.set(&line_key(&line), &text(&job.needs), false)?;
            }
            let known = self.added(job)?;
            // Once more where it waits: who submitted it first may have ended before its message was sent.
            if known.state == State::Queued {
                let line = known.needs.line();
                let ids = lines.entry(line.clone()).or_default();
                ids.push(known.id);
                if ids.len() == TOGETHER {
                    self.broker.push(&line, ids)?;
                    ids.clear();
                }
            }
        }
        lines
            .iter()
            .filter(|(_, ids)| !ids.is_empty())
            .try_for_each(|(line, ids)| self.broker.push(line, ids))
    }

    fn take(
        &self,
        worker: &str,
        able: &mut dyn FnMut(&Needs) -> bool,
        wait: Duration,
    ) -> Result<Option<Box<dyn Lease>>> {
        let lines = self.lines()?;
        let mine: Vec<String> =
            lines.iter().filter(|(_, needs)| able(needs)).map(|(line, _)| line.clone()).collect();
        match self.broker.pull(&mine, wait)? {
            Some(delivery) => self.lease(&delivery, worker),
            None => Ok(None),
        }
    }

    fn job(&self, id: &str) -> Result<Job> {
        Ok(self.found(id)?.0)
    }

    fn jobs(&self) -> Result<Vec<Job>> {
        let mut jobs: Vec<Job> = self.broker.all("job.")?.iter().filter_map(job_of).collect();
        jobs.sort_by(|one, other| one.created.total_cmp(&other.created));
        Ok(jobs)
    }

    fn cancel(&self, id: &str) -> Result<Job> {
        let job = self.change(id, |job| {
            match job.state {
                State::Queued => (job.state, job.finished) = (State::Cancelled, Some(now())),
                State::Running => job.cancel = true,
                state => return Err(QueueError::IsOver { id: id.to_owned(), state }),
            }
            Ok(())
        })?;
        if job.cancel {
            self.broker.nudge(id)?;
        }
        Ok(job)
    }

    fn retry(&self, id: &str) -> Result<Job> {
        let job = self.change(id, |job| match job.state {
            State::Failed | State::Cancelled | State::Dead => {
                let (kept, error) = (std::mem::take(&mut job.kept), None);
                *job = Job {
                    state: State::Queued,
                    finished: None,
                    lease: None,
                    deaths: 0,
                    cancel: false,
                    kept,
                    error,
                    ..job.clone()
                };
                Ok(())
            }
            // Its message may have been lost.
            State::Queued => Ok(()),
            state => Err(QueueError::NotOver { id: id.to_owned(), state }),
        })?;
        self.broker.push(&job.needs.line(), std::slice::from_ref(&job.id))?;
        Ok(job)
    }

    fn keep_file(&self, place: &Place<'_>, name: &str, path: &Path) -> Result<FileRef> {
        let file = |source| QueueError::File { path: path.to_owned(), source };
        let sha256 = sha256_at(path).map_err(file)?;
        let bytes = path.metadata().map_err(file)?.len();
        let lease = |job: &Job| job.lease.clone().unwrap_or_default();
        let object = match place {
            Place::Input => format!("input.{sha256}"),
            Place::Cache => format!("cache.{sha256}"),
            Place::Kept(job) => format!("kept.{}.{}.{sha256}", job.id, lease(job)),
            Place::Result(job) => format!("result.{}.{}.{sha256}", job.id, lease(job)),
        };
        if !self.broker.has(&object, bytes)? {
            self.broker.write(&object, path).inspect_err(|_| {
                // Of an input or a cached file another program may be writing the same.
                if let Place::Kept(_) | Place::Result(_) = place {
                    let _ = self.broker.discard(&object);
                }
            })?;
        }
        Ok(FileRef { name: name.to_owned(), bytes, sha256, object })
    }

    fn bring_file(&self, file: &FileRef, path: &Path) -> Result<()> {
        if !file.is_inside() {
            return Err(QueueError::NoFile { name: file.name.clone() });
        }
        let cannot = |source| QueueError::File { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(cannot)?;
        // Beside, then in its place: nobody finds half of it.
        let passing = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        let is_there = self.broker.read(&file.object, file.bytes, passing.path())?;
        let is_whole = is_there && sha256_at(passing.path()).map_err(cannot)? == file.sha256;
        // It can be brought again only where it is not there.
        if is_there && !is_whole && file.object.ends_with(&format!(".{}", file.sha256)) {
            self.broker.discard(&file.object)?;
        }
        if !is_whole {
            return Err(QueueError::NoFile { name: file.name.clone() });
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(passing.path(), std::fs::Permissions::from_mode(0o644))
                .map_err(cannot)?;
        }
        passing.persist(path).map_err(|error| cannot(error.error))?;
        Ok(())
    }

    fn cached(&self, key: &str) -> Result<Option<Vec<FileRef>>> {
        let record = self.broker.get(&format!("cache.{key}"))?;
        Ok(record.and_then(|record| serde_json::from_slice(&record.value).ok()))
    }

    fn cache(&self, key: &str, files: &[FileRef]) -> Result<()> {
        self.broker.set(&format!("cache.{key}"), &text(&files), false)
    }

    fn announce(&self, worker: &Worker) -> Result<()> {
        let key = hex(&Sha256::digest(&worker.name));
        self.broker.set(&format!("worker.{}", &key[..16]), &text(worker), true)
    }

    fn workers(&self) -> Result<Vec<Worker>> {
        let records = self.broker.all("worker.")?;
        let mut workers: Vec<Worker> =
            records.iter().filter_map(|record| serde_json::from_slice(&record.value).ok()).collect();
        workers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(workers)
    }

    fn away(&self) -> Option<Duration> {
        self.broker.away()
    }

    fn repair(&self, every: Duration) -> Result<()> {
        self.repair_messages(every)
    }

    fn clean(&self, over_for: Duration, most_bytes: u64) -> Result<Cleaned> {
        self.clean_up(over_for, most_bytes)
    }
}
