//! A queue of runs that processes on one machine or on many take from: what a job is, and what a queue does.
//!
//! A worker takes a job and gets a [`Lease`] on it, which it extends while it works. A lease that is not extended in time goes
//! to another worker, which goes on from the last steps that were kept. Only who has the lease can write what becomes of the
//! job: a worker that was away and comes back is told [`Held::Lost`], and has changed nothing.

pub mod attempt;
pub mod error;
pub mod job;
pub mod needs;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use attempt::Attempt;
pub use error::QueueError;
pub use job::{FileRef, Input, Job, State, Task};
pub use needs::Needs;
use serde::{Deserialize, Serialize};

/// What fails of a queue.
pub type Result<T> = std::result::Result<T, QueueError>;

/// Jobs in their order, and the files that belong to them.
pub trait Queue: fmt::Debug + Send + Sync {
    /// Adds jobs. One that is there already with the same task is left as it is, so that the same call can be made again.
    ///
    /// # Errors
    /// [`QueueError::OtherJob`] where a job of that id has another task.
    fn submit(&self, jobs: &[Job]) -> Result<()>;

    /// Takes the next job of those whose needs `able` says yes to; none where none comes within `wait`.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn take(
        &self,
        worker: &str,
        able: &mut dyn FnMut(&Needs) -> bool,
        wait: Duration,
    ) -> Result<Option<Box<dyn Lease>>>;

    /// A job.
    ///
    /// # Errors
    /// [`QueueError::NoJob`] where there is none of that id.
    fn job(&self, id: &str) -> Result<Job>;

    /// All jobs, in the order in which they were added.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn jobs(&self) -> Result<Vec<Job>>;

    /// Ends a job: at once where it waits, after its step where it runs.
    ///
    /// # Errors
    /// [`QueueError::IsOver`] where it is over.
    fn cancel(&self, id: &str) -> Result<Job>;

    /// Lets a job that failed, was cancelled or given up wait again; it goes on from the steps that were kept.
    ///
    /// # Errors
    /// [`QueueError::NotOver`] where it waits, runs or is finished.
    fn retry(&self, id: &str) -> Result<Job>;

    /// Keeps a file in the queue under a name that consists of `place` and its content.
    ///
    /// # Errors
    /// When it cannot be read or kept.
    fn keep_file(&self, place: &Place<'_>, name: &str, path: &Path) -> Result<FileRef>;

    /// Writes a file that is kept to `path`, checked.
    ///
    /// # Errors
    /// [`QueueError::NoFile`] where it is gone or damaged.
    fn bring_file(&self, file: &FileRef, path: &Path) -> Result<()>;

    /// What is known under a key of the cache that all workers share.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn cached(&self, key: &str) -> Result<Option<Vec<FileRef>>>;

    /// Lets all workers know files under a key of the cache.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn cache(&self, key: &str, files: &[FileRef]) -> Result<()>;

    /// Says that a worker is there, and what it cannot do. It is forgotten some time after the last such call.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn announce(&self, worker: &Worker) -> Result<()>;

    /// The workers that are there.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn workers(&self) -> Result<Vec<Worker>>;

    /// For how long the queue has been out of reach while something was asked of it; none where it is there.
    fn away(&self) -> Option<Duration>;

    /// Sees that every job that waits is also told to workers, and no job that is over, whatever a crash of the queue has lost
    /// or brought back; nothing is done where somebody has seen to it within `every`. Where that is zero, each message is looked at.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn repair(&self, every: Duration) -> Result<()>;

    /// Removes jobs that have been over for so long with all that belongs to them, then results of the oldest until the files
    /// have at most `most_bytes`; and what no job needs any more.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn clean(&self, over_for: Duration, most_bytes: u64) -> Result<Cleaned>;
}

/// Where a file of the queue belongs.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// What jobs read; shared by all.
    Input,
    /// What is computed once for many runs; shared by all.
    Cache,
    /// What a lease on a job keeps of its steps.
    Kept(&'a Job),
    /// What a lease on a job has as its result.
    Result(&'a Job),
}

/// The right to work on a job, for as long as it is extended.
pub trait Lease: Send + Sync {
    /// The job as this lease knows it.
    fn job(&self) -> Job;

    /// How long it holds without being extended.
    fn lasts(&self) -> Duration;

    /// Extends it.
    ///
    /// # Errors
    /// When the queue cannot be reached; the lease may hold nevertheless.
    fn extend(&self) -> Result<Held>;

    /// Waits for a moment in which the job may have been cancelled, `wait` at most.
    fn wait(&self, wait: Duration);

    /// From these files another worker could go on.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn keep(&self, files: Vec<FileRef>) -> Result<Held>;

    /// Ends the job or gives it back.
    ///
    /// # Errors
    /// When the queue cannot be reached.
    fn end(&self, ending: Ending) -> Result<Held>;
}

/// Whether a lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It does.
    Yes,
    /// It does, and the job is to be stopped.
    Cancelled,
    /// Another worker has the job, or it is over; nothing was changed.
    Lost,
}

/// How the work on a job ends.
#[derive(Debug, Clone)]
pub enum Ending {
    /// It is finished, with these files.
    Finished(Vec<FileRef>),
    /// It failed; again it would fail again.
    Failed(String),
    /// It stopped because it was cancelled.
    Cancelled,
    /// The worker stops; another one goes on at once.
    GivenBack,
    /// This worker cannot do it; another one may.
    Unable,
}

/// A worker, as it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Host, process and device.
    pub name: String,
    /// On which device it computes.
    pub device: String,
    /// The id of the job that it works on.
    pub job: Option<String>,
    /// What it cannot do and why, by the name of what is needed.
    pub unable: Vec<(String, String)>,
    /// Seconds since 1970 when it said so.
    pub seen: f64,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Jobs, and damaged records in their places.
    pub jobs: usize,
    /// Files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
    /// The size of what is left.
    pub left_bytes: u64,
}
