//! Many jobs and many pages; and the page that describes the API.

use std::fs;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::server::{Studio, small};

/// Memory of the process that is its own, in MiB.
fn own_memory(studio: &Studio) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", studio.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn a_thousand_jobs_and_fifty_pages_take_little_memory_and_lose_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    studio.post("/api/queue/pause", &json!({})).json(200);
    let since = studio.get("/api/jobs").json(200)["event"].as_u64().unwrap();
    let (done, finished) = mpsc::channel();
    for _ in 0..50 {
        let (events, done) = (studio.events(&format!("?after={since}"), None), done.clone());
        thread::spawn(move || {
            let added = events.filter(|event| event.name == "job" || event.name == "removed");
            let ids: Vec<Value> = added.take(1001).map(|event| event.data["id"].clone()).collect();
            let _ = done.send(ids);
        });
    }
    let prompts: Vec<String> = (0..100).map(|number| format!("a [panda] number {number}")).collect();
    let seeds: Vec<u64> = (0..10).collect();
    let many = json!({ "id": "many", "request": small(), "prompts": prompts, "seeds": seeds });
    assert_eq!(studio.post("/api/queue/many", &many).json(201)["jobs"].as_array().unwrap().len(), 1000);
    studio.post("/api/jobs/many-1000/move", &json!({ "position": 0 })).json(200);
    assert_eq!(studio.get("/api/jobs").json(200)["jobs"][0]["id"], "many-1000");
    assert_eq!(studio.send("DELETE", "/api/jobs/many-1", &[], b"").status, 204);
    let first = finished.recv().unwrap();
    assert_eq!((first.len(), &first[0], &first[1000]), (1001, &json!("many-1"), &json!("many-1")));
    for _ in 1..50 {
        assert!(finished.recv().unwrap() == first);
    }
    let memory = own_memory(&studio);
    assert!(memory < 200, "{memory} MiB");
}

#[test]
fn every_route_of_the_openapi_page_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let page = studio.get("/api/openapi.json").json(200);
    assert_eq!(page["openapi"], "3.1.0");
    let mut routes = 0;
    for (path, methods) in page["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            routes += 1;
            if path == "/api/events" {
                continue;
            }
            let mut address = path.clone();
            for parameter in operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
            {
                address = address.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), "0");
            }
            let answer = studio.send(&method.to_uppercase(), &address, &[], b"");
            assert_ne!(answer.status, 405, "{method} {path}");
            let told = String::from_utf8_lossy(&answer.bytes);
            assert!(answer.status != 404 || !told.contains("there is no /api"), "{method} {path}: {told}");
            assert!(answer.status < 500, "{method} {path}: {told}");
        }
    }
    assert!(routes > 50, "{routes}");
}
