//! What goes on beside a run: its lease is kept, and its steps are brought to the queue.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use motionflow_engine::cancel::CancelToken;
use motionflow_engine::queue::{self, FileRef, Held, Lease, Place, Queue};

use crate::shared::now;

/// How often it is looked whether the run is to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// How often a worker says that it is there.
pub(crate) const ANNOUNCE: Duration = Duration::from_secs(15);

/// Keeps a lease while its run works, and brings its steps to the queue.
pub(crate) struct Keeper {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) lease: Arc<dyn Lease>,
    pub(crate) folder: PathBuf,
    /// What the queue has.
    pub(crate) files: Mutex<Vec<FileRef>>,
    pub(crate) lost: AtomicBool,
    pub(crate) cancelled: AtomicBool,
}

/// A thread that works until it is told to end.
pub(crate) struct Thread(Arc<AtomicBool>, JoinHandle<()>);

impl Thread {
    pub(crate) fn begin(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        Self(is_over, thread::spawn(move || work(&seen)))
    }

    pub(crate) fn end(self) {
        self.0.store(true, Ordering::Relaxed);
        // A panic in it has been told as one.
        let _ = self.1.join();
    }
}

impl Keeper {
    fn heard(&self, held: Held, token: &CancelToken) {
        match held {
            Held::Yes => return,
            Held::Cancelled => self.cancelled.store(true, Ordering::Relaxed),
            Held::Lost => self.lost.store(true, Ordering::Relaxed),
        }
        token.cancel();
    }

    /// Extends the lease, and stops the run where that is to be.
    pub(crate) fn watch(
        self: &Arc<Self>,
        token: CancelToken,
        stop: CancelToken,
        said: queue::Worker,
    ) -> Thread {
        let keeper = Arc::clone(self);
        Thread::begin(move |is_over| {
            let every = keeper.lease.lasts() / 3;
            let (mut extended, mut announced) = (Instant::now(), Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                let before = Instant::now();
                keeper.lease.wait(LOOK.min(every));
                if stop.is_cancelled() {
                    token.cancel();
                }
                let was_told = before.elapsed() < LOOK.min(every);
                if was_told || extended.elapsed() >= every {
                    // Where the queue cannot be reached, the run goes on: the lease may hold.
                    if let Ok(held) = keeper.lease.extend() {
                        keeper.heard(held, &token);
                    }
                    extended = Instant::now();
                }
                if announced.elapsed() >= ANNOUNCE {
                    let _ = keeper.queue.announce(&queue::Worker { seen: now(), ..said.clone() });
                    announced = Instant::now();
                }
            }
        })
    }

    /// Brings steps to the queue now and then.
    pub(crate) fn upload(self: &Arc<Self>, every: Duration, token: CancelToken) -> Thread {
        let keeper = Arc::clone(self);
        Thread::begin(move |is_over| {
            let mut last = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(LOOK.min(every.max(LOOK / 5)));
                if last.elapsed() >= every && !token.is_cancelled() {
                    if let Ok(held) = keeper.sync() {
                        keeper.heard(held, &token);
                    }
                    last = Instant::now();
                }
            }
        })
    }

    /// Brings to the queue what it has not of the steps.
    pub(crate) fn sync(&self) -> Result<Held> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let job = self.lease.job();
        let names = queue::attempt::kept_in(&self.folder)?;
        let mut all = files.clone();
        for name in names.into_iter().filter(|name| !files.iter().any(|file| file.name == *name)) {
            all.push(self.queue.keep_file(&Place::Kept(&job), &name, &self.folder.join(&name))?);
        }
        if all.len() == files.len() {
            return Ok(Held::Yes);
        }
        let held = self.lease.keep(all.clone())?;
        if held == Held::Lost {
            self.lost.store(true, Ordering::Relaxed);
        } else {
            *files = all;
        }
        Ok(held)
    }
}
