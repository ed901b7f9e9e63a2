//! What a job has told since the server began: for pages that watch it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use motionflow_engine::cancel::CancelToken;
use motionflow_engine::clips::{self, Tiling};
use motionflow_engine::event::{Event, ShownMask};
use motionflow_engine::folder::record::StepRecord;
use motionflow_engine::progress;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::events::Events;
use crate::problem::Problem;
use crate::route::{Blob, Json, NoBody, NoQuery, Route, Shared};
use axum::http::Method;

/// Jobs of which this is kept.
const KEPT: usize = 32;

/// All that was told of a job.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct Watch {
    /// In their order
    pub(crate) stages: Vec<Stage>,
    /// One an update
    losses: Vec<Value>,
    /// Once they are known
    masks: Option<WatchMasks>,
    /// Of the last step
    preview: Option<Preview>,
    /// What is probably wrong
    pub(crate) warnings: Vec<String>,
    /// What is good to know
    notes: Vec<String>,
    /// The last event
    event: u64,
    #[serde(skip)]
    picture: Vec<u8>,
    #[serde(skip)]
    pub(crate) progress: Option<Progress>,
    #[serde(skip)]
    clock: Clock,
}

/// A part of a run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Stage {
    /// Its name
    pub(crate) stage: String,
    /// Of how many steps
    steps: usize,
    /// Steps that are done
    done: usize,
    /// How long it took, once it is done
    seconds: Option<f64>,
}

/// The subjects' masks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct WatchMasks {
    frames: usize,
    width: usize,
    height: usize,
    subjects: Vec<WatchMask>,
}

/// One subject's mask.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct WatchMask {
    /// The subject's words
    text: String,
    /// base64 of uint8 0/1 [frames, height, width]
    mask: String,
    /// Mean share of the frame, 0..1
    coverage: f64,
    /// Mean `IoU` of neighbouring frames, 0..1
    overlap: f64,
}

/// The new video on its way.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Preview {
    step: usize,
    /// Of a PNG sheet
    url: String,
    tile_width: u32,
    tile_height: u32,
    columns: u32,
    rows: u32,
    frames: usize,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Progress {
    stage: String,
    done: usize,
    of: usize,
    /// Of the whole run, 0..1
    part: f64,
    seconds_left: Option<f64>,
    /// Of the last update
    loss: Option<f64>,
}

/// What a run is expected to take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Every stage with its estimated seconds.
    pub(crate) stages: Vec<(String, f64)>,
    /// The first steps of the sampling that are guided, and the updates of each.
    pub(crate) guided: usize,
    pub(crate) updates: usize,
}

impl Expected {
    /// The share of a stage's time that so many of its steps take.
    fn share(&self, stage: &str, done: usize, of: usize) -> f64 {
        let guided = if stage == SAMPLING { self.guided.min(of) } else { 0 };
        let weight = UPDATE * self.updates as f64;
        let of_steps = |steps: usize| steps as f64 + weight * steps.min(guided) as f64;
        of_steps(done.min(of)) / of_steps(of).max(1.0)
    }
}

/// The stage whose steps are guided.
const SAMPLING: &str = "generate";
/// What an update takes, in steps without one. Measured on the shipped checkpoint.
const UPDATE: f64 = 1.7;

/// How far a run is in time.
#[derive(Debug, Clone, Default)]
struct Clock {
    expected: Expected,
    /// When the stage began, and how many of its steps were done then.
    began: Option<(Instant, usize)>,
}

impl Clock {
    /// The part that is done, and the seconds that are left.
    fn at(&self, stage: &str, done: usize, of: usize) -> (f64, Option<f64>) {
        let Expected { stages, .. } = &self.expected;
        let total: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
        let Some(index) = stages.iter().position(|(name, _)| name == stage) else { return (0.0, None) };
        let before: f64 = stages[..index].iter().map(|(_, seconds)| seconds).sum();
        let own = stages[index].1;
        let share = self.expected.share(stage, done, of);
        let part = if total > 0.0 { ((before + own * share) / total).min(1.0) } else { 0.0 };
        // This stage as fast as it was so far, the others as estimated and slower or faster by the same factor.
        let factor = match self.began {
            Some((since, from)) if done > from && own > 0.0 => {
                let did = share - self.expected.share(stage, from, of);
                since.elapsed().as_secs_f64() / (did * own)
            }
            _ => 1.0,
        };
        let rest: f64 = stages[index + 1..].iter().map(|(_, seconds)| seconds).sum();
        (part, Some((own * (1.0 - share) + rest) * factor))
    }
}

/// What is kept of jobs.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    of: BTreeMap<String, Watch>,
    order: VecDeque<String>,
}

impl Watches {
    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job begins, with the stages that it is expected to have.
    pub(crate) fn begin(&self, job: &str, expected: Expected) {
        let mut kept = self.locked();
        let watch = Watch { clock: Clock { expected, began: None }, ..Watch::default() };
        kept.order.retain(|known| known != job);
        kept.order.push_back(job.to_owned());
        kept.of.insert(job.to_owned(), watch);
        while kept.order.len() > KEPT {
            if let Some(oldest) = kept.order.pop_front() {
                kept.of.remove(&oldest);
            }
        }
    }

    pub(crate) fn forget(&self, job: &str) {
        let mut kept = self.locked();
        kept.order.retain(|known| known != job);
        kept.of.remove(job);
    }

    /// A job is over.
    pub(crate) fn end(&self, job: &str) -> Vec<String> {
        let mut kept = self.locked();
        let Some(watch) = kept.of.get_mut(job) else { return Vec::new() };
        watch.progress = None;
        watch.warnings.clone()
    }

    pub(crate) fn of(&self, job: &str) -> Option<Watch> {
        self.locked().of.get(job).cloned()
    }

    pub(crate) fn progress(&self, job: &str) -> Option<Progress> {
        self.locked().of.get(job)?.progress.clone()
    }

    fn picture(&self, job: &str) -> Option<Vec<u8>> {
        self.locked().of.get(job).map(|watch| watch.picture.clone()).filter(|picture| !picture.is_empty())
    }

    /// Keeps what a job tells, and tells it on.
    pub(crate) fn hear(&self, job: &str, event: &Event, events: &Events) {
        let mut kept = self.locked();
        let Some(watch) = kept.of.get_mut(job) else { return };
        watch.hear(job, event, events);
        watch.event = events.last();
    }
}

impl Watch {
    fn hear(&mut self, job: &str, event: &Event, events: &Events) {
        match event {
            Event::Stage { stage, steps, .. } => {
                self.clock.began = Some((Instant::now(), 0));
                let name = (*stage).to_owned();
                self.stages.push(Stage { stage: name, steps: *steps, done: 0, seconds: None });
                events.tell_of(job, "stage", &json!({ "job": job, "stage": stage, "steps": steps }));
                self.moved(job, stage, 0, *steps, events);
            }
            Event::Progress { stage, done, of, .. } => {
                if let Some(known) = self.stages.last_mut() {
                    known.done = *done;
                }
                if let Some((since, from @ 0)) = &mut self.clock.began
                    && *done > 1
                    && self.progress.as_ref().is_some_and(|progress| progress.done == 0)
                {
                    // The steps before were another process's.
                    (*since, *from) = (Instant::now(), *done);
                }
                self.moved(job, stage, *done, *of, events);
            }
            Event::StageDone { stage, seconds } => {
                if let Some(known) = self.stages.last_mut() {
                    (known.done, known.seconds) = (known.steps, Some(*seconds));
                }
                let told = json!({ "job": job, "stage": stage, "seconds": seconds });
                events.tell_of(job, "stage_done", &told);
            }
            Event::Step { step: StepRecord::Update { step, update, timestep, loss, .. } } => {
                let mut told = serde_json::to_value(loss).unwrap_or_default();
                told["step"] = (*step).into();
                told["update"] = (*update).into();
                told["timestep"] = serde_json::to_value(timestep).unwrap_or_default();
                events.tell_of(job, "loss", &json!({ "job": job, "loss": told }));
                self.losses.push(told);
                if let Some(progress) = &mut self.progress {
                    progress.loss = Some(loss.total);
                }
            }
            Event::Masks { subjects } => {
                let masks = WatchMasks::of(subjects);
                events.tell_of(job, "masks", &json!({ "job": job, "masks": masks }));
                self.masks = Some(masks);
            }
            Event::Preview { step, frames } => {
                let Ok(picture) = clips::png(&clips::sheet(frames)) else { return };
                let (tile_width, tile_height) = frames.first().map_or((0, 0), clips::size_of);
                let Tiling { columns, rows } = Tiling::of(frames.len());
                let url = format!("/api/jobs/{job}/preview?step={step}");
                let (step, frames) = (*step, frames.len());
                let preview = Preview { step, url, tile_width, tile_height, columns, rows, frames };
                events.tell_of(job, "preview", &json!({ "job": job, "preview": preview }));
                (self.preview, self.picture) = (Some(preview), picture);
            }
            Event::Note { message } => {
                self.notes.push((*message).to_owned());
                events.tell_of(job, "note", &json!({ "job": job, "message": message }));
            }
            Event::Warning { message } => {
                self.warnings.push((*message).to_owned());
                events.tell_of(job, "warning", &json!({ "job": job, "message": message }));
            }
            _ => {}
        }
    }

    fn moved(&mut self, job: &str, stage: &str, done: usize, of: usize, events: &Events) {
        let (part, seconds_left) = self.clock.at(stage, done, of);
        let before = self.progress.take();
        let loss = before.as_ref().and_then(|progress| progress.loss);
        let part = before.map_or(part, |progress| progress.part.max(part));
        let progress = Progress { stage: stage.to_owned(), done, of, part, seconds_left, loss };
        events.tell_of(job, "progress", &json!({ "job": job, "progress": progress }));
        self.progress = Some(progress);
    }
}

impl WatchMasks {
    fn of(subjects: &[ShownMask]) -> Self {
        let [frames, height, width] = subjects.first().map_or([0; 3], |subject| subject.shape);
        let subject = |subject: &ShownMask| WatchMask {
            text: subject.text.clone(),
            mask: of_bits(&subject.mask),
            coverage: subject.coverage,
            overlap: subject.overlap,
        };
        Self { frames, width, height, subjects: subjects.iter().map(subject).collect() }
    }
}

/// base64 of one byte a place.
pub(crate) fn of_bits(mask: &[bool]) -> String {
    of_bytes(&mask.iter().map(|is_in| u8::from(*is_in)).collect::<Vec<u8>>())
}

/// base64
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64.
pub(crate) fn to_bytes(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Which preview; it makes addresses differ, so that a browser asks again.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichPreview {
    #[serde(rename = "step")]
    _step: Option<usize>,
}

/// Warnings that were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Progress of which the warnings are kept, and nothing else.
pub(crate) fn hearing_warnings(token: CancelToken) -> (progress::Progress, Warnings) {
    let warnings = Warnings::default();
    let heard = warnings.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::Warning { message } = event {
            heard.0.lock().unwrap_or_else(PoisonError::into_inner).push((*message).to_owned());
        }
    });
    (progress::Progress::new(observer, token), warnings)
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/jobs/{id}/watch", "All that was told of a job", watched),
        Route::new(&Method::GET, "/api/jobs/{id}/preview", "The new video on its way", preview)
            .gives("image/png"),
        Route::raw(
            "/api/events",
            "What happens, as server-sent events",
            "text/event-stream",
            crate::events::stream,
        ),
    ]
}

fn watched(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Json<Watch>, Problem> {
    studio.job(&id)?;
    let mut watch = studio.watches.of(&id).unwrap_or_default();
    watch.event = studio.events.last();
    Ok(Json(watch))
}

fn preview(studio: &Shared, id: String, _: WhichPreview, _: NoBody) -> Result<Blob, Problem> {
    let picture = studio.watches.picture(&id);
    let bytes = picture.ok_or_else(|| Problem::not_found("there is no preview of this job"))?;
    Ok(Blob { content_type: "image/png", bytes, is_lasting: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guided_steps_take_longer() {
        let expected = Expected { stages: vec![(SAMPLING.to_owned(), 10.0)], guided: 5, updates: 2 };
        let share = |done| (expected.share(SAMPLING, done, 15) * 32.0).round() as usize;
        assert_eq!([share(0), share(5), share(15)], [0, 22, 32]);
        assert_eq!((expected.share("masks", 1, 4) * 4.0).round() as usize, 1);
        let clock = Clock { expected, began: None };
        assert_eq!(clock.at(SAMPLING, 15, 15), (1.0, Some(0.0)));
        assert_eq!(clock.at("write", 0, 1), (0.0, None));
    }
}
