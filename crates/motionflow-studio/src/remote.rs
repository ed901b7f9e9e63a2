//! Jobs of the studio that the workers of a queue do: they are put there, and their results fetched when they are over.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use motionflow_engine::progress::Progress;
use motionflow_engine::queue::job::id_of;
use motionflow_engine::queue::{self, Queue, QueueError};
use motionflow_queue::submission::{self, Manner, Submission};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};
use crate::queue::{Kept, State};
use crate::request::Asked;
use crate::route::Shared;
use crate::studio::{Studio, now};

/// How often it is looked how far they are.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A job's id in the queue: another one for another request.
pub(crate) fn id_in_queue(job: &Kept) -> String {
    let digest = Sha256::digest(&job.request);
    let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
    id_of(&format!("{}-{:08x}", job.id, u32::from_be_bytes([a, b, c, d])))
}

/// Looks once after all jobs. Returns whether there is more to do at once.
pub(crate) fn turn(studio: &Shared, queue: &dyn Queue) -> bool {
    match look(studio, queue) {
        Ok(()) => studio.no_trouble(),
        Err(error) => studio.trouble(&Problem::of(&error)),
    }
    false
}

/// Stops a job in the queue.
pub(crate) fn cancel(queue: &dyn Queue, job: &Kept) -> Result<(), Problem> {
    match queue.cancel(&id_in_queue(job)) {
        Ok(_) | Err(QueueError::IsOver { .. }) => Ok(()),
        Err(error) => Err(Problem::of(&error.into())),
    }
}

fn look(studio: &Shared, queue: &dyn Queue) -> Result<()> {
    if !studio.queue.is_paused()? {
        for job in studio.queue.queued()? {
            submit(studio, queue, job)?;
        }
    }
    for job in studio.queue.running()? {
        follow(studio, queue, &job)?;
    }
    Ok(())
}

fn submit(studio: &Studio, queue: &dyn Queue, job: Kept) -> Result<()> {
    let asked = Asked(serde_json::from_str(&job.request)?);
    let id = id_in_queue(&job);
    let put = || -> Result<()> {
        let request = studio.read(&asked)?;
        let mut submission = Submission::to(queue, &studio.planner);
        let mut new = submission.job(&job.name, &request, Manner::default(), &mut Progress::silent())?;
        new.id.clone_from(&id);
        match queue.submit(std::slice::from_ref(&new)) {
            // The same, but for what its files are called.
            Err(QueueError::OtherJob { .. }) => {}
            submitted => submitted?,
        }
        // One that was stopped or failed before.
        if queue.job(&id)?.state.is_over() && queue.job(&id)?.state != queue::State::Finished {
            queue.retry(&id)?;
        }
        Ok(())
    };
    match put() {
        Ok(()) => {}
        Err(error) if error.downcast_ref().is_some_and(QueueError::passes) => return Err(error),
        Err(error) => {
            let problem = Problem::of(&error).without(studio.place.runs());
            return ended(studio, &job, State::Failed, Some(&problem));
        }
    }
    let _alone = studio.changing();
    let begun = Some(job.request.clone());
    let running =
        Kept { state: State::Running, started: Some(now()), finished: None, error: None, begun, ..job };
    studio.queue.put(&running)?;
    studio.tell_job(&running);
    studio.tell_order();
    Ok(())
}

fn follow(studio: &Studio, queue: &dyn Queue, job: &Kept) -> Result<()> {
    let there = match queue.job(&id_in_queue(job)) {
        // Somebody has removed it there.
        Err(QueueError::NoJob { .. }) => {
            let problem = Problem::new(
                Code::Failed,
                "the job is not in the queue any more; go on with it to put it there again",
            );
            return ended(studio, job, State::Failed, Some(&problem));
        }
        there => there?,
    };
    match there.state {
        queue::State::Queued | queue::State::Running => Ok(()),
        queue::State::Finished => {
            let folder = studio.place.runs().join(&job.name);
            // What is left of a fetch that was interrupted.
            let passing = studio.place.incoming().join(&there.id);
            let _ = fs::remove_dir_all(&passing);
            submission::fetch(queue, &there, &passing)?;
            if !folder.exists() {
                fs::rename(&passing, &folder)?;
            }
            ended(studio, job, State::Finished, None)
        }
        queue::State::Cancelled => ended(studio, job, State::Cancelled, None),
        queue::State::Failed | queue::State::Dead => {
            let why = there.error.unwrap_or_default();
            ended(studio, job, State::Failed, Some(&Problem::new(Code::Failed, why)))
        }
    }
}

fn ended(studio: &Studio, job: &Kept, state: State, error: Option<&Problem>) -> Result<()> {
    let _alone = studio.changing();
    let error = error.and_then(|error| serde_json::to_string(error).ok());
    let seconds = job.started.map(|started| now() - started);
    let over = Kept { state, finished: Some(now()), seconds, error, ..job.clone() };
    studio.queue.put(&over)?;
    studio.tell_job(&over);
    studio.tell_order();
    studio.events.tell("runs", &json!({}));
    studio.look_at_disk();
    Ok(())
}
