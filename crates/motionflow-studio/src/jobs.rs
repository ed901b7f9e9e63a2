//! Jobs over HTTP: adding, ordering, stopping and going on with them.

use axum::http::{Method, StatusCode};
use motionflow_engine::folder::run_folder::holds_a_run;
use motionflow_engine::folder::unfinished::Unfinished;
use motionflow_engine::folder_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clips::poster;
use crate::problem::{Code, Problem};
use crate::queue::{Kept, State};
use crate::remote;
use crate::request::Asked;
use crate::route::{Done, Empty, Json, NoBody, NoQuery, Route, Shared, With};
use crate::studio::{Studio, now};
use crate::watch::Progress;

/// Jobs in the queue at once.
pub(crate) const MOST_JOBS: usize = 10_000;
/// Characters of an id.
const LONGEST_ID: usize = 64;
/// Characters of a name that is made of a prompt.
const LONGEST_NAME: usize = 48;

/// A job.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Job {
    /// The client's
    id: String,
    /// Of its run folder
    name: String,
    state: State,
    /// 0 is next; of one that waits
    position: Option<usize>,
    prompt: Option<String>,
    source_prompt: Option<String>,
    /// A reference
    source: Option<String>,
    /// Address of a picture
    thumbnail: Option<String>,
    seed: Option<u64>,
    model: Option<String>,
    /// Seconds since 1970
    created: f64,
    started: Option<f64>,
    finished: Option<f64>,
    /// Of work
    seconds: Option<f64>,
    error: Option<Problem>,
    /// Its run folder, once something is in it
    run: Option<String>,
    can_continue: bool,
    warnings: Vec<String>,
    progress: Option<Progress>,
    /// Of a single job
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Asked>,
}

/// All jobs.
#[derive(Debug, Serialize, JsonSchema)]
struct Jobs {
    jobs: Vec<Job>,
    /// Whether no further one is begun
    paused: bool,
    /// The last event
    event: u64,
}

/// Which jobs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// States, with commas
    state: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// A job to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewJob {
    request: Asked,
    /// Of its run folder
    name: Option<String>,
}

/// Where a job shall be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Move {
    /// 0 is next
    position: usize,
}

/// The id of a copy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Copy {
    id: String,
}

/// Whether no further job is begun.
#[derive(Debug, Serialize, JsonSchema)]
struct Paused {
    paused: bool,
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(&Method::GET, "/api/jobs", "All jobs", list),
        Route::new(&Method::GET, "/api/jobs/{id}", "A job", get),
        Route::new(&Method::PUT, "/api/jobs/{id}", "Adds a job, or edits one that waits", put),
        Route::new(&Method::DELETE, "/api/jobs/{id}", "Takes a job out of the list", remove),
        Route::new(&Method::POST, "/api/jobs/{id}/cancel", "Stops a job", cancel),
        Route::new(
            &Method::POST,
            "/api/jobs/{id}/continue",
            "Goes on with a job that was stopped or failed",
            go_on,
        ),
        Route::new(&Method::POST, "/api/jobs/{id}/move", "Gives a job that waits another place", reorder),
        Route::new(&Method::POST, "/api/jobs/{id}/duplicate", "Adds the same job again", duplicate),
        Route::new(&Method::POST, "/api/queue/pause", "Begins no further job", pause),
        Route::new(&Method::POST, "/api/queue/resume", "Begins jobs again", resume),
    ]
}

/// Whether a client may call a job so.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|sign| sign.is_ascii_alphanumeric() || b"-_".contains(&sign))
}

fn checked(id: &str) -> Result<(), Problem> {
    if is_id(id) {
        return Ok(());
    }
    Err(Problem::malformed("a job's id has 1 to 64 letters, digits, - and _"))
}

impl Studio {
    /// A job that is there.
    pub(crate) fn job(&self, id: &str) -> Result<Kept, Problem> {
        self.queue.get(id)?.ok_or_else(|| Problem::not_found(format!("there is no job \"{id}\"")))
    }

    /// A job as clients see it.
    pub(crate) fn shown_job(&self, kept: &Kept, position: Option<usize>) -> Job {
        let asked = Asked::kept(&kept.request);
        let source = asked.str_at("/source/path");
        let folder = self.place.runs().join(&kept.name);
        let is_whole = kept.state == State::Finished;
        let has_files =
            kept.begun.is_some() && (is_whole || Unfinished::is_in(&folder) || holds_a_run(&folder));
        let thumbnail = if is_whole {
            Some(poster(&format!("run:{}/result.mp4", kept.name)))
        } else {
            source.as_deref().map(poster)
        };
        Job {
            id: kept.id.clone(),
            name: kept.name.clone(),
            state: kept.state,
            position,
            prompt: asked.str_at("/prompts/prompt"),
            source_prompt: asked.str_at("/prompts/source_prompt"),
            thumbnail,
            source,
            seed: asked.0.pointer("/settings/seed").and_then(Value::as_u64),
            model: asked.str_at("/model/name"),
            created: kept.created,
            started: kept.started,
            finished: kept.finished,
            seconds: kept.seconds,
            error: kept.error.as_deref().and_then(|error| serde_json::from_str(error).ok()),
            run: has_files.then(|| kept.name.clone()),
            can_continue: matches!(kept.state, State::Failed | State::Cancelled),
            warnings: serde_json::from_str(&kept.warnings).unwrap_or_default(),
            progress: if kept.state == State::Running { self.watches.progress(&kept.id) } else { None },
            request: None,
        }
    }

    fn shown_now(&self, id: &str) -> Result<Job, Problem> {
        let kept = self.job(id)?;
        let position = self.queue.order()?.iter().position(|queued| queued == id);
        let request = Some(Asked::kept(&kept.request));
        Ok(Job { request, ..self.shown_job(&kept, position) })
    }

    /// Tells that a job is another one now.
    pub(crate) fn tell_job(&self, kept: &Kept) {
        self.events.tell("job", &self.shown_job(kept, None));
    }

    /// Tells the order of those that wait.
    pub(crate) fn tell_order(&self) {
        if let (Ok(order), Ok(paused)) = (self.queue.order(), self.queue.is_paused()) {
            self.events.tell("queue", &json!({ "paused": paused, "order": order }));
        }
    }

    /// A job that waits, of a request that can be carried out as far as is known without the weights.
    pub(crate) fn new_job(&self, id: &str, asked: &Asked, name: Option<&str>) -> Result<Kept, Problem> {
        checked(id)?;
        let asked = asked.plain();
        self.check_request(&asked)?;
        let name = match name {
            Some(name) => self.free_name(name, true)?,
            None => self.free_name(&slug(&asked.str_at("/prompts/prompt").unwrap_or_default()), false)?,
        };
        Ok(Kept {
            id: id.to_owned(),
            name,
            state: State::Queued,
            place: 0,
            request: asked.text(),
            created: now(),
            started: None,
            finished: None,
            seconds: None,
            error: None,
            warnings: "[]".to_owned(),
            begun: None,
        })
    }

    /// A name for a run folder that nothing has yet.
    pub(crate) fn free_name(&self, name: &str, exactly: bool) -> Result<String, Problem> {
        if !folder_name::is_fit(name) {
            return Err(Problem::new(
                Code::Misuse,
                format!("\"{name}\" will not do for a run folder; give another name"),
            ));
        }
        let is_taken = |name: &str| -> Result<bool, Problem> {
            Ok(self.queue.has_name(name)? || self.place.runs().join(name).exists())
        };
        if !is_taken(name)? {
            return Ok(name.to_owned());
        }
        if exactly {
            return Err(Problem::new(
                Code::Exists,
                format!("there is a run named \"{name}\"; give another name"),
            ));
        }
        for number in 2..=2 * MOST_JOBS {
            let other = format!("{name}-{number}");
            if !is_taken(&other)? {
                return Ok(other);
            }
        }
        Err(Problem::new(
            Code::Exists,
            format!("there are too many runs named \"{name}\"; give another name"),
        ))
    }

    pub(crate) fn add(&self, jobs: &[Kept]) -> Result<Vec<Job>, Problem> {
        self.check_place()?;
        if self.queue.count()? + jobs.len() > MOST_JOBS {
            return Err(Problem::new(
                Code::TooMany,
                format!("the list has {MOST_JOBS} jobs; remove some that are over"),
            ));
        }
        self.queue.add(jobs)?;
        let order = self.queue.order()?;
        let shown = |job: &Kept| self.shown_job(job, order.iter().position(|id| *id == job.id));
        let shown: Vec<Job> = jobs.iter().map(shown).collect();
        for job in &shown {
            self.events.tell("job", job);
        }
        self.tell_order();
        self.work.wake();
        Ok(shown)
    }
}

/// A name for a folder, made of a prompt.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        if letter.is_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= LONGEST_NAME {
            break;
        }
    }
    let slug = slug.trim_matches('-');
    if folder_name::is_fit(slug) { slug.to_owned() } else { "run".to_owned() }
}

fn list(studio: &Shared, (): (), which: Which, _: NoBody) -> Result<Json<Jobs>, Problem> {
    let states: Option<Vec<State>> =
        match &which.state {
            None => None,
            Some(text) => {
                let state = |text: &str| serde_json::from_value(text.into());
                let states: Result<Vec<State>, _> = text.split(',').map(state).collect();
                Some(states.map_err(|_| {
                    Problem::malformed("state is queued, running, finished, failed or cancelled")
                })?)
            }
        };
    let event = studio.events.last();
    let mut position = 0;
    let mut jobs = Vec::new();
    let (offset, limit) = (which.offset.unwrap_or(0), which.limit.unwrap_or(usize::MAX));
    let mut seen = 0;
    for kept in studio.queue.all()? {
        let place = (kept.state == State::Queued).then_some(position);
        position += usize::from(place.is_some());
        if states.as_ref().is_some_and(|states| !states.contains(&kept.state)) {
            continue;
        }
        seen += 1;
        if seen > offset && jobs.len() < limit {
            jobs.push(studio.shown_job(&kept, place));
        }
    }
    Ok(Json(Jobs { jobs, paused: studio.queue.is_paused()?, event }))
}

fn get(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Json<Job>, Problem> {
    Ok(Json(studio.shown_now(&id)?))
}

fn put(studio: &Shared, id: String, _: NoQuery, Json(new): Json<NewJob>) -> Result<With<Job>, Problem> {
    checked(&id)?;
    let _alone = studio.changing();
    let Some(known) = studio.queue.get(&id)? else {
        let job = studio.new_job(&id, &new.request, new.name.as_deref())?;
        studio.add(&[job])?;
        return Ok(With(StatusCode::CREATED, studio.shown_now(&id)?));
    };
    let asked = new.request.plain();
    let is_same = known.request == asked.text() && new.name.as_ref().is_none_or(|name| *name == known.name);
    if is_same {
        return Ok(With(StatusCode::OK, studio.shown_now(&id)?));
    }
    match known.state {
        State::Queued => {}
        State::Running => {
            return Err(Problem::new(
                Code::JobRunning,
                format!("job \"{id}\" is running, and cannot be edited; duplicate it"),
            ));
        }
        _ => {
            return Err(Problem::new(
                Code::JobOver,
                format!("job \"{id}\" is over, and cannot be edited; duplicate it"),
            ));
        }
    }
    studio.check_request(&asked)?;
    let name = match &new.name {
        Some(name) if *name != known.name => studio.free_name(name, true)?,
        _ => known.name.clone(),
    };
    // What was begun of other settings is given up when the job has its turn.
    let edited = Kept { request: asked.text(), name, ..known };
    studio.queue.put(&edited)?;
    studio.tell_job(&edited);
    Ok(With(StatusCode::OK, studio.shown_now(&id)?))
}

fn remove(studio: &Shared, id: String, _: NoQuery, _: NoBody) -> Result<Done, Problem> {
    let _alone = studio.changing();
    if studio.job(&id)?.state == State::Running {
        return Err(Problem::new(Code::JobRunning, format!("job \"{id}\" is running; cancel it first")));
    }
    studio.queue.remove(&id)?;
    studio.watches.forget(&id);
    studio.events.tell("removed", &json!({ "id": id }));
    studio.tell_order();
    Ok(Done)
}

fn cancel(studio: &Shared, id: String, _: NoQuery, _: Json<Empty>) -> Result<With<Job>, Problem> {
    let _alone = studio.changing();
    let known = studio.job(&id)?;
    match known.state {
        State::Queued => {
            let cancelled = Kept { state: State::Cancelled, finished: Some(now()), ..known };
            studio.queue.put(&cancelled)?;
            studio.tell_job(&cancelled);
            studio.tell_order();
        }
        State::Running => match &studio.options.queue {
            Some(queue) => remote::cancel(&**queue, &known)?,
            None => studio.work.cancel(&id),
        },
        _ => return Err(Problem::new(Code::JobNotRunning, format!("job \"{id}\" is over already"))),
    }
    Ok(With(StatusCode::ACCEPTED, studio.shown_now(&id)?))
}

fn go_on(studio: &Shared, id: String, _: NoQuery, _: Json<Empty>) -> Result<Json<Job>, Problem> {
    let _alone = studio.changing();
    let known = studio.job(&id)?;
    if !matches!(known.state, State::Failed | State::Cancelled) {
        let message =
            format!("job \"{id}\" was neither cancelled nor did it fail, so there is nothing to go on with");
        return Err(Problem::new(Code::JobNotRunning, message));
    }
    let again = Kept { state: State::Queued, finished: None, error: None, ..known };
    studio.queue.put(&again)?;
    let mut order: Vec<String> = studio.queue.order()?.into_iter().filter(|queued| *queued != id).collect();
    order.insert(0, id.clone());
    studio.queue.reorder(&order)?;
    studio.tell_job(&again);
    studio.tell_order();
    studio.work.wake();
    Ok(Json(studio.shown_now(&id)?))
}

fn reorder(studio: &Shared, id: String, _: NoQuery, Json(wanted): Json<Move>) -> Result<Json<Job>, Problem> {
    let _alone = studio.changing();
    studio.job(&id)?;
    let mut order = studio.queue.order()?;
    let Some(from) = order.iter().position(|queued| *queued == id) else {
        return Err(Problem::new(
            Code::JobOver,
            format!("job \"{id}\" does not wait, so it has no place in the queue"),
        ));
    };
    let moved = order.remove(from);
    order.insert(wanted.position.min(order.len()), moved);
    studio.queue.reorder(&order)?;
    studio.tell_order();
    Ok(Json(studio.shown_now(&id)?))
}

fn duplicate(studio: &Shared, id: String, _: NoQuery, Json(copy): Json<Copy>) -> Result<With<Job>, Problem> {
    let _alone = studio.changing();
    let known = studio.job(&id)?;
    if let Some(there) = studio.queue.get(&copy.id)? {
        if there.request == known.request {
            return Ok(With(StatusCode::OK, studio.shown_now(&copy.id)?));
        }
        return Err(Problem::new(Code::Exists, format!("there is another job \"{}\"", copy.id)));
    }
    let asked = Asked::kept(&known.request);
    let job = studio.new_job(&copy.id, &asked, None)?;
    studio.add(&[job])?;
    Ok(With(StatusCode::CREATED, studio.shown_now(&copy.id)?))
}

fn pause(studio: &Shared, (): (), _: NoQuery, _: Json<Empty>) -> Result<Json<Paused>, Problem> {
    set_paused(studio, true)
}

fn resume(studio: &Shared, (): (), _: NoQuery, _: Json<Empty>) -> Result<Json<Paused>, Problem> {
    set_paused(studio, false)
}

fn set_paused(studio: &Shared, paused: bool) -> Result<Json<Paused>, Problem> {
    studio.queue.pause(paused)?;
    studio.tell_order();
    studio.work.wake();
    Ok(Json(Paused { paused }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_become_names() {
        assert_eq!(slug("a [Panda] in the snow!"), "a-panda-in-the-snow");
        assert_eq!(slug("../.."), "run");
        assert_eq!(slug("con"), "run");
        assert!(slug(&"x".repeat(500)).len() <= LONGEST_NAME);
    }

    #[test]
    fn ids_are_plain() {
        assert!(is_id("a-1_B") && !is_id("") && !is_id("a/b") && !is_id("é") && !is_id(&"a".repeat(65)));
    }
}
