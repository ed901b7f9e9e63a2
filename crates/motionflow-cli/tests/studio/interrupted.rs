//! A server that is killed: the queue and the running job go on.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::server::{Studio, same_results, small, small_with};

#[test]
fn after_a_kill_the_queue_and_the_running_job_go_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let long = small_with("settings.steps", 40.into());
    let undisturbed = Studio::start(&whole);
    undisturbed.queue("one", &long);
    let mut studio = Studio::start(&broken);
    studio.queue("one", &long);
    studio.queue("two", &small_with("settings.seed", 5.into()));
    studio.wait("one", |job| {
        job["progress"]["stage"] == "generate" && job["progress"]["done"].as_u64() > Some(3)
    });
    studio.kill();
    assert!(!broken.join("a-panda-in-the-snow/result.mp4").exists());

    // Paused, no further job is begun; the one that was at work goes on.
    let mut studio = Studio::start(&broken);
    studio.post("/api/queue/pause", &json!({})).json(200);
    assert_eq!(studio.wait_for("one", "finished")["state"], "finished");
    let notes = studio.get("/api/jobs/one/watch").json(200)["notes"].to_string();
    assert!(notes.contains("goes on after step"), "{notes}");
    assert_eq!(undisturbed.wait_for("one", "finished")["state"], "finished");
    same_results(&whole.join("a-panda-in-the-snow"), &broken.join("a-panda-in-the-snow"));

    // What waited still waits.
    let state = studio.job("two")["state"].as_str().unwrap().to_owned();
    if state == "queued" {
        studio.kill();
        studio = Studio::start(&broken);
        assert_eq!(studio.get("/api/jobs").json(200)["paused"], true);
        assert_eq!(studio.job("two")["position"], 0);
        studio.post("/api/queue/resume", &json!({})).json(200);
    }
    assert_eq!(studio.wait_for("two", "finished")["state"], "finished");
    let hidden: Vec<_> = fs::read_dir(broken.join("a-panda-in-the-snow")).unwrap().flatten().collect();
    assert!(hidden.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.')), "{hidden:?}");
}

#[test]
fn what_others_do_in_the_runs_folder_is_told_and_hangs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    fs::create_dir_all(runs.join(".studio/incoming/.tmpLeft")).unwrap();
    fs::write(runs.join(".studio/incoming/.tmpLeft/half"), "x").unwrap();
    let studio = Studio::start(&runs);
    assert!(!runs.join(".studio/incoming/.tmpLeft").exists(), "what an upload left is removed");

    fs::create_dir(runs.join("pipe")).unwrap();
    let pipe = runs.join("pipe/run.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    studio.get("/api/runs").json(200);
    studio.get("/api/runs/pipe/request").problem(422, "unreadable");

    fs::remove_dir_all(&runs).unwrap();
    let told = studio.put("/api/jobs/late", &json!({ "request": small() })).problem(500, "failed");
    assert!(told.contains("start the studio again"), "{told}");
    assert_eq!(studio.get("/api/health").json(200)["problem"].as_str(), Some(told.as_str()));
}
