//! A lease: what its holder may write, and how it learns that it holds it no longer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use motionflow_engine::queue::{Ending, FileRef, Held, Job, Lease, Result, State};

use crate::broker::{Broker, Delivery};
use crate::shared::{key_of, now, text, tidy};

/// How long a job that a worker cannot do stays away.
const UNABLE: Duration = Duration::from_secs(5);

/// A lease over a side of the queue.
pub(crate) struct Leased<B> {
    broker: Arc<B>,
    id: String,
    token: Option<String>,
    /// The job as it was last written by this lease, and its revision.
    last: Mutex<(Job, u64)>,
    ended: AtomicBool,
    delivery: Delivery,
}

impl<B: Broker> Leased<B> {
    pub(crate) fn new(broker: &Arc<B>, job: Job, revision: u64, delivery: Delivery) -> Self {
        let (id, token) = (job.id.clone(), job.lease.clone());
        Self {
            broker: Arc::clone(broker),
            id,
            token,
            last: Mutex::new((job, revision)),
            ended: AtomicBool::new(false),
            delivery,
        }
    }

    /// Writes a change, unless the lease is lost.
    fn change(&self, change: impl Fn(&mut Job)) -> Result<Held> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key_of(&self.id);
        if self.ended.load(Ordering::Relaxed) {
            return Ok(Held::Lost);
        }
        loop {
            let mut job = last.0.clone();
            change(&mut job);
            if let Some(revision) = self.broker.put(&key, &text(&job), last.1)? {
                *last = (job, revision);
                break;
            }
            let Some(record) = self.broker.get(&key)? else { return Ok(Held::Lost) };
            let Ok(found) = serde_json::from_slice::<Job>(&record.value) else { return Ok(Held::Lost) };
            // The answer to an earlier try was lost, but not the try.
            if found == job {
                *last = (job, record.revision);
                break;
            }
            if found.lease != self.token || found.state != State::Running {
                return Ok(Held::Lost);
            }
            *last = (found, record.revision);
        }
        Ok(if last.0.cancel { Held::Cancelled } else { Held::Yes })
    }

    /// Nobody will ask for what this lease has written any more.
    fn lose(&self) -> Result<()> {
        let token = self.token.as_deref().unwrap_or_default();
        let record = self.broker.get(&key_of(&self.id))?;
        let job: Option<Job> = record.and_then(|record| serde_json::from_slice(&record.value).ok());
        let is_used = |name: String| {
            job.iter()
                .flat_map(|job| job.kept.iter().chain(&job.result))
                .any(|file| file.object.starts_with(&name))
        };
        for prefix in [format!("kept.{}.{token}.", self.id), format!("result.{}.{token}.", self.id)] {
            if !is_used(prefix.clone()) {
                self.broker.discard(&prefix)?;
            }
        }
        Ok(())
    }
}

impl<B: Broker> Lease for Leased<B> {
    fn job(&self) -> Job {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn lasts(&self) -> Duration {
        self.broker.lasts()
    }

    fn extend(&self) -> Result<Held> {
        // First it is seen that the lease holds: another worker's message is not to be extended.
        let Some(record) = self.broker.get(&key_of(&self.id))? else { return Ok(Held::Lost) };
        let job: Option<Job> = serde_json::from_slice(&record.value).ok();
        match job.filter(|job| job.lease == self.token && job.state == State::Running) {
            None => Ok(Held::Lost),
            Some(job) => {
                self.broker.extend(&self.delivery)?;
                Ok(if job.cancel { Held::Cancelled } else { Held::Yes })
            }
        }
    }

    fn wait(&self, wait: Duration) {
        self.broker.wait(&self.id, wait);
    }

    fn keep(&self, files: Vec<FileRef>) -> Result<Held> {
        let held = self.change(|job| {
            job.kept.clone_from(&files);
            job.deaths = 0;
        })?;
        if held == Held::Lost {
            self.lose()?;
        }
        Ok(held)
    }

    fn end(&self, ending: Ending) -> Result<Held> {
        let held = self.change(|job| {
            let state = match &ending {
                Ending::Finished(_) => State::Finished,
                Ending::Failed(_) => State::Failed,
                Ending::Cancelled => State::Cancelled,
                // What was cancelled meanwhile is not given to another worker.
                Ending::GivenBack | Ending::Unable if job.cancel => State::Cancelled,
                Ending::GivenBack | Ending::Unable => State::Queued,
            };
            if let Ending::Finished(files) = &ending {
                job.result.clone_from(files);
                job.kept.clear();
            }
            if let Ending::Failed(error) = &ending {
                job.error = Some(error.clone());
            }
            if matches!(ending, Ending::Unable) {
                job.takes -= job.takes.min(1);
            }
            job.state = state;
            job.finished = state.is_over().then(now);
        })?;
        if held == Held::Lost {
            self.lose()?;
            return Ok(held);
        }
        self.ended.store(true, Ordering::Relaxed);
        let job = self.job();
        if job.state != State::Finished {
            // What was brought of a result that could not be brought whole.
            let token = self.token.as_deref().unwrap_or_default();
            self.broker.discard(&format!("result.{}.{token}.", self.id))?;
        }
        if job.state.is_over() {
            tidy(&*self.broker, &job)?;
            self.broker.acknowledge(&self.delivery)?;
        } else {
            let after = if matches!(ending, Ending::Unable) { UNABLE } else { Duration::ZERO };
            self.broker.give_back(&self.delivery, after)?;
        }
        Ok(held)
    }
}
