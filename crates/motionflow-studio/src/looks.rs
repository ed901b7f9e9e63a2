//! Looks at a source: what the model sees before a transfer is made.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{Method, StatusCode};
use motionflow_engine::error::{self, ErrorKind};
use motionflow_engine::request::prompts;
use motionflow_engine::runs::look::{Look as Seen, SeenSubject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::{Code, Problem};
use crate::request::Asked;
use crate::route::{Done, Empty, Json, NoBody, NoQuery, Route, Shared, With};
use crate::studio::{Studio, random_id};
use crate::watch::{hearing_warnings, of_bits, of_bytes};

/// Looks that wait.
const MOST_WAITING: usize = 4;
/// Looks that are kept.
const KEPT: usize = 16;

/// How far a look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum LookState {
    /// For its turn.
    Waiting,
    /// The model looks.
    Running,
    /// The result is there.
    Finished,
    /// It ended with an error, or was cancelled.
    Failed,
}

/// A look.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Look {
    id: String,
    state: LookState,
    error: Option<Problem>,
    result: Option<LookResult>,
    #[serde(skip)]
    request: String,
}

/// What the model sees.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct LookResult {
    /// What the settings say
    tau: f64,
    /// Whether a place belongs to one subject at most
    apart: bool,
    /// Of the maps
    frames: usize,
    video_frames: usize,
    map_width: usize,
    map_height: usize,
    /// Whose noise was added
    timesteps: Vec<i64>,
    subjects: Vec<LookSubject>,
    warnings: Vec<String>,
    seconds: f64,
}

/// What the model sees of one subject.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct LookSubject {
    text: String,
    layers: Vec<LookLayer>,
    /// Mean share of the frame, 0..1
    coverage: f64,
    /// Mean `IoU` of neighbouring frames, 0..1
    overlap: f64,
    /// base64 of uint8 0/1 [frames, height, width], at the threshold of the settings
    mask: String,
}

/// The map of one layer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct LookLayer {
    name: String,
    /// base64 of little-endian float32 [frames, height, width]
    values: String,
}

/// A look to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewLook {
    request: Asked,
}

/// The looks of a server.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<VecDeque<Look>>);

impl Looks {
    fn locked(&self) -> MutexGuard<'_, VecDeque<Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &str) -> Result<Look, Problem> {
        let found = self.locked().iter().find(|look| look.id == id).cloned();
        found.ok_or_else(|| Problem::not_found(format!("there is no look \"{id}\"; look again")))
    }
}

impl Studio {
    fn change_look(&self, id: &str, change: impl FnOnce(&mut Look)) {
        let mut looks = self.looks.locked();
        if let Some(look) = looks.iter_mut().find(|look| look.id == id) {
            change(look);
            self.events.tell("look", &Look { result: None, ..look.clone() });
        }
    }

    /// Does the next look, if one waits.
    pub(crate) fn next_look(&self) -> bool {
        let (look, token) = {
            let looks = self.looks.locked();
            let Some(look) = looks.iter().find(|look| look.state == LookState::Waiting) else { return false };
            (look.clone(), self.work.begin(&look.id))
        };
        self.change_look(&look.id, |look| look.state = LookState::Running);
        let since = Instant::now();
        let (mut progress, warnings) = hearing_warnings(token);
        let asked = Asked::kept(&look.request);
        let seen = error::catch(|| self.engine.look(&self.read(&asked)?, &mut progress));
        self.work.end();
        let warnings = warnings.all();
        let seconds = since.elapsed().as_secs_f64();
        self.change_look(&look.id, |look| match seen {
            Ok(seen) => {
                look.state = LookState::Finished;
                look.result = Some(LookResult::of(seen, warnings, seconds));
            }
            Err(error) => {
                look.state = LookState::Failed;
                let is_stopped = ErrorKind::of(&error) == ErrorKind::Stopped;
                let problem = if is_stopped {
                    Problem::new(Code::Failed, "the look was cancelled")
                } else {
                    Problem::of(&error)
                };
                look.error = Some(problem.without(self.place.runs()));
            }
        });
        true
    }
}

impl LookResult {
    fn of(seen: Seen, warnings: Vec<String>, seconds: f64) -> Self {
        let layer = |(name, values): &(String, Vec<f32>)| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            LookLayer { name: name.clone(), values: of_bytes(&bytes) }
        };
        let subject = |subject: &SeenSubject| LookSubject {
            text: subject.text.clone(),
            layers: subject.layers.iter().map(layer).collect(),
            coverage: subject.coverage,
            overlap: subject.overlap,
            mask: of_bits(&subject.mask),
        };
        Self {
            tau: seen.tau,
            apart: seen.apart,
            frames: seen.frames,
            video_frames: seen.video_frames,
            map_width: seen.width,
            map_height: seen.height,
            subjects: seen.subjects.iter().map(subject).collect(),
            timesteps: seen.timesteps,
            warnings,
            seconds,
        }
    }
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::POST, "/api/looks", "Looks at a source", add),
        Route::new(&Method::GET, "/api/looks/{id}", "A look, with its result", get),
        Route::new(&Method::POST, "/api/looks/{id}/cancel", "Stops a look", cancel),
    ]
}

fn add(studio: &Shared, (): (), _: NoQuery, Json(new): Json<NewLook>) -> Result<With<Look>, Problem> {
    let asked = new.request.plain();
    let request = studio.read(&asked)?;
    let missing = |message: &str| Problem::new(Code::Misuse, message);
    if request.source.path.is_none() {
        return Err(missing(prompts::SOURCE_MISSING));
    }
    let text =
        request.prompts.source_prompt.as_deref().ok_or_else(|| missing(prompts::SOURCE_PROMPT_MISSING))?;
    prompts::with_subject("the source prompt", &prompts::parse("--source-prompt", text)?)?;
    let mut looks = studio.looks.locked();
    let text = asked.text();
    if let Some(known) = looks.iter().find(|look| look.request == text && look.state != LookState::Failed) {
        return Ok(With(StatusCode::ACCEPTED, known.clone()));
    }
    if looks.iter().filter(|look| look.state == LookState::Waiting).count() >= MOST_WAITING {
        return Err(Problem::new(Code::TooMany, "several looks wait already; cancel one, or wait"));
    }
    let look =
        Look { id: random_id(8)?, state: LookState::Waiting, error: None, result: None, request: text };
    looks.push_back(look.clone());
    while looks.len() > KEPT {
        let oldest =
            looks.iter().position(|look| matches!(look.state, LookState::Finished | LookState::Failed));
        let Some(oldest) = oldest else { break };
        looks.remove(oldest);
    }
    drop(looks);
    studio.events.tell("look", &look);
    studio.work.wake();
    Ok(With(StatusCode::ACCEPTED, look))
}

fn get(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Json<Look>, Problem> {
    Ok(Json(studio.looks.get(&id)?))
}

fn cancel(studio: &Shared, id: String, _: NoQuery, _: Json<Empty>) -> Result<Done, Problem> {
    let look = studio.looks.get(&id)?;
    if look.state == LookState::Waiting {
        studio.change_look(&id, |look| {
            if look.state == LookState::Waiting {
                look.state = LookState::Failed;
                look.error = Some(Problem::new(Code::Failed, "the look was cancelled"));
            }
        });
    }
    studio.work.cancel(&id);
    Ok(Done)
}
