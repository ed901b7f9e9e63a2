//! What else is in the queue whose workers do the studio's jobs: its workers, and the jobs of others.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::problem::Problem;
use crate::remote::id_in_queue;
use crate::route::{Json, NoBody, NoQuery, Route, Shared};

/// Jobs of others that are told, the newest.
const MOST: usize = 200;

/// The queue of many machines.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Cluster {
    /// Whether the studio has one (`--queue`)
    is_there: bool,
    /// How many jobs there are, by state
    states: BTreeMap<&'static str, usize>,
    /// Those of the last minute
    workers: Vec<ClusterWorker>,
    /// Jobs that others put there, the newest first
    others: Vec<ClusterJob>,
}

/// A worker.
#[derive(Debug, Serialize, JsonSchema)]
struct ClusterWorker {
    name: String,
    device: String,
    /// What it is at work on
    job: Option<String>,
    /// What it leaves to others, and why
    leaves: Vec<String>,
}

/// A job of somebody else.
#[derive(Debug, Serialize, JsonSchema)]
struct ClusterJob {
    id: String,
    name: String,
    state: &'static str,
    worker: Option<String>,
    /// Seconds since 1970
    created: f64,
    error: Option<String>,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(&Method::GET, "/api/cluster", "Workers and jobs of the queue of many machines", cluster)]
}

fn cluster(studio: &Shared, (): (), _: NoQuery, _: NoBody) -> Result<Json<Cluster>, Problem> {
    let Some(queue) = &studio.options.queue else { return Ok(Json(Cluster::default())) };
    let told = |error| Problem::of(&anyhow::Error::from(error));
    let jobs = queue.jobs().map_err(told)?;
    let workers = queue.workers().map_err(told)?;
    let own: BTreeSet<String> = studio.queue.all()?.iter().map(id_in_queue).collect();
    let mut states = BTreeMap::new();
    for job in &jobs {
        *states.entry(job.state.words()).or_default() += 1;
    }
    let others = jobs.into_iter().rev().filter(|job| !own.contains(&job.id)).take(MOST);
    Ok(Json(Cluster {
        is_there: true,
        states,
        workers: workers
            .into_iter()
            .map(|worker| ClusterWorker {
                name: worker.name,
                device: worker.device,
                job: worker.job,
                leaves: worker.unable.iter().map(|(what, why)| format!("{what}: {why}")).collect(),
            })
            .collect(),
        others: others
            .map(|job| ClusterJob {
                id: job.id,
                name: job.name,
                state: job.state.words(),
                worker: job.worker,
                created: job.created,
                error: job.error,
            })
            .collect(),
    }))
}
