//! The transfers of a suite or a sweep, spread over the workers of a queue.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use motionflow_engine::experiment::Experiment;
use motionflow_engine::queue::job::id_of;
use motionflow_engine::queue::{Queue, State};
use motionflow_queue::submission::{self, Manner, Submission};

use crate::app::App;

/// How often it is looked how far they are.
const LOOK: Duration = Duration::from_secs(1);
const GOES_ON: &str = "stopped; the jobs go on, and the same command takes what they give";

/// Has all transfers made that are not done yet, and puts each into its place.
pub(crate) fn spread(experiment: &Experiment, queue: &dyn Queue, app: &mut App) -> Result<()> {
    let _part = app.cancel.tells(|| Some(GOES_ON.to_owned()));
    let left = app.engine.transfers_left(experiment, &app.flags, &mut app.progress)?;
    let mut submission = Submission::to(queue, &app.engine);
    let (mut jobs, mut folders) = (Vec::new(), BTreeMap::new());
    for (job, request) in &left {
        let manner = Manner { requested: Some(job.requested.clone()), quick: true };
        let mut asked = submission.job(&job.name, request, manner, &mut app.progress)?;
        // The same transfer of another experiment is the same job; with another checkpoint, source or flag it is another one.
        asked.id = id_of(&format!("{}-{}", job.name, &asked.identity()[..16]));
        folders.insert(asked.id.clone(), &job.folder);
        jobs.push(asked);
    }
    queue.submit(&jobs)?;
    let of = jobs.len();
    let mut lost = Vec::new();
    let mut stage = app.progress.stage_in("transfers", "queue", of);
    while !folders.is_empty() {
        for job in queue.jobs()?.into_iter().filter(|job| job.state.is_over()) {
            let Some(folder) = folders.remove(&job.id) else { continue };
            if job.state == State::Finished {
                submission::fetch(queue, &job, folder)?;
            } else {
                lost.push(job.id);
            }
        }
        stage.step(of - folders.len(), "");
        thread::sleep(if folders.is_empty() { Duration::ZERO } else { LOOK });
    }
    stage.finish();
    match lost.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(anyhow!(
            "{} of {of} transfers have no result, such as \"{first}\"; `motionflow queue list` says why, and \
             `motionflow queue retry` lets them be made again",
            lost.len()
        )),
    }
}
