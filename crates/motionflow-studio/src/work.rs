//! The one thread on which jobs and looks are done: looks go before the next job.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use motionflow_engine::cancel::CancelToken;
use motionflow_engine::error::{self, ErrorKind};
use motionflow_engine::event::Event;
use motionflow_engine::folder::run_folder::holds_a_run;
use motionflow_engine::folder::unfinished::Unfinished;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::Resources;
use motionflow_engine::request::tables::Program;
use motionflow_engine::runs::open::OpenRun;
use motionflow_engine::runs::transfer::TransferOptions;
use serde_json::json;

use crate::problem::{Code, Problem};
use crate::queue::{Kept, State};
use crate::remote;
use crate::request::Asked;
use crate::route::Shared;
use crate::studio::{Studio, now};

/// How often it is looked for work that nobody told of.
const LOOK: Duration = Duration::from_secs(30);
/// Where the queue cannot be written.
const QUEUE_LOST: &str = "what became of a job cannot be written to the queue; free some space on the disk";
/// Which command a job is.
const COMMAND: &str = "transfer";

/// What is at work.
#[derive(Debug, Default)]
pub(crate) struct Work {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    woken: bool,
    /// The job or look that runs, and what stops it.
    running: Option<(String, CancelToken)>,
}

impl Work {
    /// There may be something to do.
    pub(crate) fn wake(&self) {
        self.locked().woken = true;
        self.changed.notify_all();
    }

    /// Stops what runs under an id.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some((_, token)) = self.locked().running.as_ref().filter(|(running, _)| running == id) {
            token.cancel();
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.locked().running.is_some()
    }

    fn locked(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, at_most: Duration) {
        let now = self.locked();
        let (mut now, _) = self
            .changed
            .wait_timeout_while(now, at_most, |now| !now.woken)
            .unwrap_or_else(PoisonError::into_inner);
        now.woken = false;
    }

    /// From now on this runs, and can be stopped.
    pub(crate) fn begin(&self, id: &str) -> CancelToken {
        let token = CancelToken::default();
        self.locked().running = Some((id.to_owned(), token.clone()));
        token
    }

    pub(crate) fn end(&self) {
        self.locked().running = None;
    }
}

/// Works until the program ends.
pub(crate) fn run(studio: &Shared) {
    loop {
        let did = studio.next_look()
            || match &studio.options.queue {
                Some(queue) => remote::turn(studio, &**queue),
                None => next_job(studio),
            };
        if !did {
            studio.work.wait(if studio.options.queue.is_some() { remote::LOOK } else { LOOK });
        }
    }
}

/// Does the next job, if there is one.
fn next_job(studio: &Shared) -> bool {
    let taken = {
        let _alone = studio.changing();
        take(studio).map(|job| job.map(|job| (studio.work.begin(&job.id), job)))
    };
    match taken {
        Ok(Some((token, job))) => {
            let is_kept = do_job(studio, job, &token);
            studio.work.end();
            is_kept
        }
        Ok(None) => false,
        Err(problem) => {
            // Such as a full disk: tried again later.
            studio.trouble(&problem);
            false
        }
    }
}

/// The job that goes on, or the first that waits.
fn take(studio: &Studio) -> Result<Option<Kept>, Problem> {
    studio.check_place()?;
    let going_on = studio.queue.running()?.into_iter().next();
    let next = match going_on {
        Some(job) => Some(job),
        None if studio.queue.is_paused()? => None,
        None => studio.queue.queued()?.into_iter().next(),
    };
    let Some(job) = next else { return Ok(None) };
    let job = Kept {
        state: State::Running,
        started: job.started.or(Some(now())),
        finished: None,
        error: None,
        ..job
    };
    studio.queue.put(&job)?;
    Ok(Some(job))
}

/// Does a job. Returns whether what became of it could be kept.
fn do_job(studio: &Shared, job: Kept, token: &CancelToken) -> bool {
    studio.tell_job(&job);
    studio.tell_order();
    let since = Instant::now();
    let outcome = error::catch(|| attempt(studio, &job, token));
    let seconds = job.seconds.unwrap_or(0.0) + since.elapsed().as_secs_f64();
    let warnings = studio.watches.end(&job.id);
    let warnings = json!(warnings).to_string();
    let ended = |state, error: Option<Problem>| Kept {
        state,
        finished: Some(now()),
        seconds: Some(seconds),
        error: error.and_then(|error| serde_json::to_string(&error).ok()),
        warnings: warnings.clone(),
        begun: studio.queue.get(&job.id).ok().flatten().and_then(|kept| kept.begun),
        ..job.clone()
    };
    let job = match outcome {
        Ok(()) => ended(State::Finished, None),
        Err(error) if ErrorKind::of(&error) == ErrorKind::Stopped => ended(State::Cancelled, None),
        Err(error) => ended(State::Failed, Some(Problem::of(&error).without(studio.place.runs()))),
    };
    let _alone = studio.changing();
    let kept = studio.queue.put(&job);
    match &kept {
        Ok(()) if job.state == State::Finished => studio.no_trouble(),
        Ok(()) => {}
        // It is found to be done when it is looked at again.
        Err(_) => studio.trouble(&Problem::new(Code::DiskFull, QUEUE_LOST)),
    }
    studio.tell_job(&job);
    studio.events.tell("runs", &json!({}));
    studio.look_at_disk();
    kept.is_ok()
}

fn attempt(studio: &Shared, job: &Kept, token: &CancelToken) -> Result<()> {
    let asked = Asked(serde_json::from_str(&job.request)?);
    let mut request = studio.read(&asked)?;
    let folder = studio.place.runs().join(&job.name);
    request.output.folder = Some(folder.clone());
    studio.watches.begin(&job.id, studio.expected(&request));
    let (id, told) = (job.id.clone(), Arc::clone(studio));
    let observer = Arc::new(move |event: &Event<'_>| told.watches.hear(&id, event, &told.events));
    let mut progress = Progress::new(observer, token.clone());
    // What an earlier attempt of the same request has left goes on; of another one it is given up.
    let is_own = job.begun.as_ref() == Some(&job.request);
    let run = if is_own && Unfinished::is_recorded_in(&folder) {
        let memory = request.program.resources.memory;
        let program =
            Program { resources: Resources { memory, ..Resources::default() }, ..Program::default() };
        let Some(mut run) = OpenRun::resumed(COMMAND, &folder, &program, &studio.engine, &mut progress)?
        else {
            return Ok(());
        };
        run.request.program.cache = request.program.cache;
        run
    } else if is_own && !Unfinished::is_in(&folder) && holds_a_run(&folder) {
        return Ok(());
    } else {
        request.output.force = Some(job.begun.is_some());
        OpenRun::claim(request, &progress)?
    };
    studio.queue.put(&Kept { begun: Some(job.request.clone()), ..job.clone() })?;
    let options = TransferOptions { previews: true, ..TransferOptions::default() };
    studio.engine.transfer(run, &options, &mut progress)
}

impl Problem {
    /// That what was asked for is in use.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(Code::Busy, detail)
    }
}
