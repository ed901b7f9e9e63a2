//! What happens, as server-sent events: every one has a number, and the last ones are kept, so that a page that was away
//! gets what it missed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::Request;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::watch;

use crate::problem::{Code, Problem};
use crate::route::Shared;

/// Events that are kept.
const KEPT: usize = 8192;
/// The event that has the whole order of the queue, so that the last one is enough.
const WHOLE: &str = "queue";
/// Streams at once.
const MOST_STREAMS: usize = 256;
/// How often a stream that has nothing to tell shows that it lives.
const ALIVE: Duration = Duration::from_secs(15);

/// One event.
#[derive(Debug)]
struct Told {
    id: u64,
    name: &'static str,
    /// Of one job's steps: left out of the streams of other jobs.
    job: Option<String>,
    data: String,
}

/// The last events.
#[derive(Debug)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    /// All later ones are there, but for those that a later one makes needless.
    since: u64,
}

/// The events of a server.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    streams: Arc<AtomicUsize>,
}

impl Events {
    /// Of a server that starts now. Its numbers are above those of every earlier one.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = since.as_millis() as u64 * 1000;
        let (newest, _) = watch::channel(first);
        let kept = Kept { events: VecDeque::new(), since: first };
        Self { kept: Mutex::new(kept), newest, streams: Arc::default() }
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, name: &'static str, data: &impl Serialize) {
        self.add(name, None, data);
    }

    /// Tells those who watch a job.
    pub(crate) fn tell_of(&self, job: &str, name: &'static str, data: &impl Serialize) {
        self.add(name, Some(job.to_owned()), data);
    }

    fn add(&self, name: &'static str, job: Option<String>, data: &impl Serialize) {
        let Ok(data) = serde_json::to_string(data) else { return };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = self.last() + 1;
        if name == WHOLE {
            kept.events.retain(|told| told.name != WHOLE);
        }
        kept.events.push_back(Arc::new(Told { id, name, job, data }));
        if kept.events.len() > KEPT
            && let Some(oldest) = kept.events.pop_front()
        {
            kept.since = oldest.id;
        }
        self.newest.send_replace(id);
    }

    /// The events after a number; none where some of them are not kept any more.
    fn after(&self, id: u64) -> Option<Vec<Arc<Told>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = (kept.since..=self.last()).contains(&id);
        is_known.then(|| kept.events.iter().skip_while(|told| told.id <= id).cloned().collect())
    }
}

/// A stream that is counted while it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Reader {
    studio: Shared,
    job: Option<String>,
    last: u64,
    pending: VecDeque<Arc<Told>>,
    newest: watch::Receiver<u64>,
    _counted: Counted,
}

/// `GET /api/events`
pub(crate) async fn stream(studio: Shared, request: Request<Body>) -> Response {
    let streams = Arc::clone(&studio.events.streams);
    if streams.fetch_add(1, Ordering::Relaxed) >= MOST_STREAMS {
        streams.fetch_sub(1, Ordering::Relaxed);
        return Problem::new(Code::TooMany, "too many pages are open; close some").into_response();
    }
    let counted = Counted(streams);
    let header = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let (job, after) = match query(request.uri().query().unwrap_or_default()) {
        Ok(said) => said,
        Err(problem) => return problem.into_response(),
    };
    let said = header.map(|text| text.parse().unwrap_or(0)).or(after);
    let newest = studio.events.newest.subscribe();
    let last = said.unwrap_or_else(|| studio.events.last());
    let reader = Reader { studio, job, last, pending: VecDeque::new(), newest, _counted: counted };
    Sse::new(events(reader)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

/// The job that is watched, and the last event that is known.
fn query(text: &str) -> Result<(Option<String>, Option<u64>), Problem> {
    let (mut job, mut after) = (None, None);
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("job", id)) if crate::jobs::is_id(id) => job = Some(id.to_owned()),
            Some(("after", id)) if id.parse::<u64>().is_ok() => after = id.parse().ok(),
            _ => return Err(Problem::malformed("the query takes job=ID and after=NUMBER")),
        }
    }
    Ok((job, after))
}

fn events(reader: Reader) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(told) = reader.pending.pop_front() {
                reader.last = told.id;
                let is_others = |job: &String| reader.job.as_ref().is_some_and(|watched| watched != job);
                if told.job.as_ref().is_some_and(is_others) {
                    continue;
                }
                let event = Event::default().id(told.id.to_string()).event(told.name).data(&told.data);
                return Some((Ok(event), reader));
            }
            match reader.studio.events.after(reader.last) {
                Some(told) if told.is_empty() => {
                    // The sender lives as long as the server.
                    if reader.newest.changed().await.is_err() {
                        return None;
                    }
                }
                Some(told) => reader.pending = told.into(),
                None => {
                    reader.last = reader.studio.events.last();
                    let event = Event::default().id(reader.last.to_string()).event("reset");
                    let event = event.data(format!("{{\"event\":{}}}", reader.last));
                    return Some((Ok(event), reader));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_known_until_it_is_not_kept() {
        let events = Events::new();
        let first = events.last();
        assert_eq!(events.after(first).unwrap().len(), 0);
        for number in 0..3 {
            events.tell("note", &number);
        }
        let missed = events.after(first + 1).unwrap();
        assert_eq!(missed.iter().map(|told| told.data.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert!(
            events.after(first - 1).is_none()
                && events.after(first + 4).is_none()
                && events.after(0).is_none()
        );
        events.tell("queue", &3);
        events.tell("queue", &4);
        assert_eq!(
            events.after(first + 2).unwrap().iter().map(|told| told.id - first).collect::<Vec<_>>(),
            [3, 5]
        );
        for number in 0..KEPT {
            events.tell("note", &number);
        }
        assert!(events.after(first).is_none());
        assert_eq!(events.after(first + 5).unwrap().len(), KEPT);
    }
}
