//! The state of a server, which every handler shares.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use motionflow_engine::engine::Engine;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::Request;
use motionflow_engine::request::tables::Program;
use motionflow_engine::runs::open::OpenRun;

use crate::clips::ClipStore;
use crate::events::Events;
use crate::guard::Door;
use crate::looks::Looks;
use crate::place::Place;
use crate::problem::{Code, Problem};
use crate::queue::Queue;
use crate::request::Asked;
use crate::watch::{Expected, Watches};
use crate::work::Work;

/// The queue's file.
const QUEUE: &str = "queue.sqlite";
/// Uploads at once.
const MOST_UPLOADS: usize = 4;
/// Estimates that are kept.
const KEPT_ESTIMATES: usize = 64;

/// How a studio is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens: an address, or a name for one.
    pub host: String,
    /// 0 for any that is free.
    pub port: u16,
    /// Where the run folders are.
    pub runs: PathBuf,
    /// The checkpoint of requests that name none.
    pub model: Option<String>,
    /// What jobs compute with that do not say it.
    pub program: Program,
    /// The largest upload, in bytes.
    pub max_upload: u64,
    /// The queue whose workers do the jobs; without one, the studio does them itself.
    pub queue: Option<Arc<dyn motionflow_engine::queue::Queue>>,
    /// Whether runs are begun that are estimated to take more memory than there is.
    pub ignore_memory: bool,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Studio {
    pub(crate) options: Options,
    pub(crate) place: Place,
    pub(crate) door: Door,
    /// Does the jobs and looks.
    pub(crate) engine: Engine,
    /// Answers what needs no weights while a job runs.
    pub(crate) planner: Engine,
    pub(crate) queue: Queue,
    pub(crate) events: Events,
    pub(crate) watches: Watches,
    pub(crate) looks: Looks,
    pub(crate) clips: ClipStore,
    pub(crate) work: Work,
    pub(crate) disk: crate::general::DiskWatch,
    /// Held while the queue is changed by what was read of it.
    changing: Mutex<()>,
    uploads: Arc<AtomicUsize>,
    pub(crate) is_ready: AtomicBool,
    problem: Mutex<Option<String>>,
    estimates: Mutex<BTreeMap<String, Expected>>,
}

/// One of the uploads that go on at once.
#[derive(Debug)]
pub(crate) struct Uploading(Arc<AtomicUsize>);

impl Drop for Uploading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Studio {
    /// Opens the folders and the queue.
    pub(crate) fn open(options: Options, address: IpAddr, port: u16) -> Result<Self> {
        let place = Place::open(&options.runs)?;
        let queue = Queue::open(&place.own(QUEUE)).with_context(|| {
            format!(
                "{}: the queue in it cannot be opened; give another folder (--runs)",
                place.runs().display()
            )
        })?;
        let token = if address.is_loopback() { None } else { Some(random_id(16)?) };
        let mut names = vec![options.host.trim_matches(['[', ']']).to_lowercase(), address.to_string()];
        if address.is_loopback() || address.is_unspecified() {
            names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        }
        let door = Door { names, port, token, is_everywhere: address.is_unspecified() };
        Ok(Self {
            engine: Engine::new().ignoring_memory(options.ignore_memory),
            planner: Engine::new(),
            options,
            place,
            door,
            queue,
            events: Events::new(),
            watches: Watches::default(),
            looks: Looks::default(),
            clips: ClipStore::default(),
            work: Work::default(),
            disk: crate::general::DiskWatch::default(),
            changing: Mutex::default(),
            uploads: Arc::default(),
            is_ready: AtomicBool::new(false),
            problem: Mutex::default(),
            estimates: Mutex::default(),
        })
    }

    /// While this is held, nobody else changes the queue.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the places for uploads.
    pub(crate) fn uploading(&self) -> Result<Uploading, Problem> {
        let before = self.uploads.fetch_add(1, Ordering::Relaxed);
        let place = Uploading(Arc::clone(&self.uploads));
        if before < MOST_UPLOADS {
            return Ok(place);
        }
        Err(Problem::new(
            Code::TooMany,
            format!("{MOST_UPLOADS} uploads go on already; wait until one is done"),
        ))
    }

    /// Something of the server itself does not work.
    pub(crate) fn trouble(&self, problem: &Problem) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem.detail.clone());
    }

    /// It works again.
    pub(crate) fn no_trouble(&self) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Refuses what would be written into a queue that somebody has removed.
    pub(crate) fn check_place(&self) -> Result<(), Problem> {
        if self.place.own(QUEUE).is_file() {
            return Ok(());
        }
        let message = "the runs folder was removed, and the queue with it: start the studio again";
        Err(Problem::new(Code::Failed, message))
    }

    pub(crate) fn problem(&self) -> Option<String> {
        if let Err(problem) = self.check_place() {
            return Some(problem.detail);
        }
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks a request as far as that takes no weights and no source.
    pub(crate) fn check_request(&self, asked: &Asked) -> Result<(), Problem> {
        let request = self.read(asked)?;
        Ok(self.planner.check_values(&request, &mut Progress::silent())?)
    }

    /// What a transfer would take.
    pub(crate) fn plan(
        &self,
        request: &Request,
        progress: &mut Progress,
    ) -> Result<motionflow_engine::plan::Plan> {
        self.refuse_to_fetch(&request.model)?;
        let mut request = request.clone();
        // Nothing is made there.
        request.output.folder = Some(self.place.incoming().join(random_id(8)?));
        let run = OpenRun::claim(request, progress)?;
        self.planner.plan_transfer(&run, progress)
    }

    /// The stages that a run will have, with their estimated seconds; none where that is not known.
    pub(crate) fn expected(&self, request: &Request) -> Expected {
        let key = request.to_text_as_said().unwrap_or_default();
        let known = self.estimates.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return known;
        }
        let expected = self.plan(request, &mut Progress::silent()).map(|plan| {
            let settings = &plan.resolved.settings;
            Expected {
                stages: plan
                    .estimate
                    .stages()
                    .iter()
                    .map(|(name, seconds)| ((*name).to_owned(), *seconds))
                    .collect(),
                guided: if settings.updates { settings.guided_steps } else { 0 },
                updates: settings.updates_per_step,
            }
        });
        let expected = expected.unwrap_or_default();
        let mut estimates = self.estimates.lock().unwrap_or_else(PoisonError::into_inner);
        if estimates.len() >= KEPT_ESTIMATES {
            estimates.clear();
        }
        estimates.insert(key, expected.clone());
        expected
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    seconds_of(SystemTime::now())
}

pub(crate) fn seconds_of(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}

/// So many random bytes in hex.
pub(crate) fn random_id(bytes: usize) -> Result<String, Problem> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| {
        Problem::new(Code::Failed, format!("the system gives no random numbers: {error}"))
    })?;
    let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
}

impl std::error::Error for Problem {}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.detail)
    }
}
