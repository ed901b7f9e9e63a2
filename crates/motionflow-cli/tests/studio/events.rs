//! Server-sent events, and pages that were away.

use serde_json::json;

use crate::server::{Event, Studio, small, small_with};

#[test]
fn a_page_that_was_away_gets_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let since = studio.get("/api/jobs").json(200)["event"].as_u64().unwrap();
    let live = studio.events("", None);
    studio.queue("a", &small());
    let is_end = |event: &Event| event.name == "job" && event.data["state"] == "finished";
    let mut seen: Vec<Event> = Vec::new();
    for event in live {
        seen.push(event);
        if is_end(seen.last().unwrap()) {
            break;
        }
    }
    let names: Vec<&str> = seen.iter().map(|event| event.name.as_str()).collect();
    for name in ["job", "queue", "stage", "stage_done", "progress", "loss", "masks", "preview"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(seen.iter().filter(|event| event.name == "preview").count(), 3);

    // The order of the queue is whole in each event, so that the last one is enough.
    let seen: Vec<Event> = seen.into_iter().filter(|event| event.name != "queue").collect();
    let is_no_order = |event: &Event| event.name != "queue";

    // All of it again, from the list's number on, and the rest of it, from an event on.
    let again: Vec<Event> =
        studio.events(&format!("?after={since}"), None).filter(is_no_order).take(seen.len()).collect();
    assert_eq!(again, seen);
    let middle = &seen[seen.len() / 2];
    let rest: Vec<Event> = studio
        .events("", Some(&middle.id.to_string()))
        .filter(is_no_order)
        .take(seen.len() - seen.len() / 2 - 1)
        .collect();
    assert_eq!(rest, seen[seen.len() / 2 + 1..]);

    // Of another job's steps nothing is told.
    let last = seen.last().unwrap().id;
    let others = studio.events(&format!("?job=other&after={since}"), None);
    studio.post("/api/queue/pause", &json!({})).json(200);
    let mut heard = Vec::new();
    for event in others {
        let is_last = event.id > last && event.name == "queue";
        heard.push(event.name);
        if is_last {
            break;
        }
    }
    assert!(heard.iter().all(|name| ["job", "queue", "runs", "disk"].contains(&name.as_str())), "{heard:?}");

    // A number of another server, or none at all.
    for last in ["17", "nonsense"] {
        let first = studio.events("", Some(last)).next().unwrap();
        assert_eq!((first.name.as_str(), first.data["event"].as_u64()), ("reset", Some(first.id)));
    }
}

#[test]
fn progress_says_how_far_the_run_is() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let events = studio.events("", None);
    studio.queue("a", &small_with("settings.steps", 10.into()));
    let mut parts = Vec::new();
    for event in events {
        if event.name == "progress" && event.data["progress"]["stage"] == "generate" {
            parts.push(event.data["progress"].clone());
        }
        if event.name == "job" && event.data["state"] == "finished" {
            break;
        }
    }
    assert_eq!(parts.len(), 11);
    let part = |index: usize| parts[index]["part"].as_f64().unwrap();
    assert!(
        (1..parts.len()).all(|index| part(index) >= part(index - 1)) && part(10) > part(0) && part(10) <= 1.0,
        "{parts:?}"
    );
    assert!(parts[1..].iter().all(|progress| progress["seconds_left"].as_f64() >= Some(0.0)), "{parts:?}");
    assert_eq!(parts[5]["of"], 10);
}
