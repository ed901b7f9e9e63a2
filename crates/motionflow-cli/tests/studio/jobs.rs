//! The queue: adding, editing, ordering, stopping and going on.

use serde_json::{Value, json};

use crate::server::{Studio, program, same_results, small, small_with, tiny_model, tree};

fn order(studio: &Studio) -> Vec<String> {
    let jobs = studio.get("/api/jobs?state=queued").json(200);
    jobs["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_job_becomes_the_same_run_folder_as_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let studio = Studio::start(&runs);
    let job = studio.queue("first", &small());
    assert_eq!((job["state"].as_str(), job["name"].as_str()), (Some("queued"), Some("a-panda-in-the-snow")));
    // The same again changes nothing, in any state.
    studio.put("/api/jobs/first", &json!({ "request": small() })).json(200);
    let job = studio.wait_for("first", "finished");
    assert_eq!(job["state"], "finished", "{job}");
    studio.put("/api/jobs/first", &json!({ "request": small() })).json(200);
    let other = json!({ "request": small_with("settings.seed", 3.into()) });
    studio.put("/api/jobs/first", &other).problem(409, "job_over");
    assert_eq!(studio.get("/api/jobs").json(200)["jobs"].as_array().unwrap().len(), 1);

    let watch = studio.get("/api/jobs/first/watch").json(200);
    let stages: Vec<&str> =
        watch["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert!(stages.contains(&"generate") && stages.contains(&"decode"), "{stages:?}");
    assert!(!watch["losses"].as_array().unwrap().is_empty());
    assert_eq!(
        (watch["masks"]["frames"].as_u64(), watch["masks"]["subjects"][0]["text"].as_str()),
        (Some(3), Some("car"))
    );
    assert_eq!((watch["preview"]["step"].as_u64(), watch["preview"]["frames"].as_u64()), (Some(3), Some(3)));
    let preview = studio.get(watch["preview"]["url"].as_str().unwrap());
    assert_eq!((preview.header("content-type"), &preview.bytes[1..4]), ("image/png", &b"PNG"[..]));

    let car = tree().join("assets/clips/car-arc.mp4");
    let out = folder.path().join("out");
    let mut command = program();
    command.args(["transfer", "--source-prompt", "a [car] on a road", "--prompt", "a [panda] in the snow"]);
    command.args(["--width", "24", "--height", "16", "--frames", "3", "--steps", "3", "--guided-steps", "2"]);
    command.args(["--threads", "1", "--device", "cpu", "--quiet", "--model", &tiny_model()]);
    assert!(command.arg("--source").arg(car).arg("--output").arg(&out).status().unwrap().success());
    same_results(&runs.join("a-panda-in-the-snow"), &out);
}

#[test]
fn jobs_that_wait_are_edited_moved_copied_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    assert_eq!(studio.post("/api/queue/pause", &json!({})).json(200)["paused"], true);
    for id in ["a", "b", "c"] {
        studio.queue(id, &small());
    }
    assert_eq!(studio.post("/api/jobs/c/move", &json!({ "position": 0 })).json(200)["position"], 0);
    assert_eq!(order(&studio), ["c", "a", "b"]);
    let edited = small_with("prompts.prompt", "a [boat] over the sea".into());
    let job = studio.put("/api/jobs/a", &json!({ "request": edited })).json(200);
    assert_eq!((job["prompt"].as_str(), job["position"].as_u64()), (Some("a [boat] over the sea"), Some(1)));
    assert_eq!(
        studio.post("/api/jobs/a/duplicate", &json!({ "id": "d" })).json(201)["prompt"],
        "a [boat] over the sea"
    );
    assert_eq!(studio.send("DELETE", "/api/jobs/b", &[], b"").status, 204);
    studio.get("/api/jobs/b").problem(404, "not_found");
    assert_eq!(studio.post("/api/jobs/c/cancel", &json!({})).json(202)["state"], "cancelled");
    assert_eq!(order(&studio), ["a", "d"]);
    assert_eq!(studio.post("/api/jobs/c/continue", &json!({})).json(200)["position"], 0);
    studio.post("/api/jobs/c/continue", &json!({})).problem(409, "job_not_running");

    // Prompts × seeds, twice, are the same jobs.
    let many = json!({ "id": "m", "request": small(), "prompts": ["a [cat]", "a [dog]"], "seeds": [1, 2] });
    let [once, again] = [(); 2].map(|()| studio.post("/api/queue/many", &many).json(201));
    assert_eq!(once, again);
    let shown = |job: &Value| {
        format!("{} {} {}", job["id"].as_str().unwrap(), job["prompt"].as_str().unwrap(), job["seed"])
    };
    let shown: Vec<String> = once["jobs"].as_array().unwrap().iter().map(shown).collect();
    assert_eq!(shown, ["m-1 a [cat] 1", "m-2 a [cat] 2", "m-3 a [dog] 1", "m-4 a [dog] 2"]);

    // What is exported is imported as the same requests.
    let file = studio.get("/api/queue/export");
    let before = studio.get("/api/jobs?state=queued").json(200)["jobs"].as_array().unwrap().len();
    let added = studio
        .send("POST", "/api/queue/import", &[("content-type", "application/toml")], &file.bytes)
        .json(201);
    let added = added["jobs"].as_array().unwrap();
    assert_eq!((before, added.len()), (7, 7));
    let copy = studio.job(added[0]["id"].as_str().unwrap());
    assert_eq!(copy["request"], studio.job("c")["request"]);
}

#[test]
fn a_job_is_stopped_and_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    let long = small_with("settings.steps", 40.into());
    studio.queue("whole", &long);
    studio.queue("stopped", &long);
    studio.wait("stopped", |job| {
        job["progress"]["stage"] == "generate" && job["progress"]["done"].as_u64() > Some(2)
    });
    studio.put("/api/jobs/stopped", &json!({ "request": small() })).problem(409, "job_running");
    studio.send("DELETE", "/api/jobs/stopped", &[], b"").problem(409, "job_running");
    studio.post("/api/jobs/stopped/cancel", &json!({})).json(202);
    let job = studio.wait_for("stopped", "cancelled");
    assert_eq!(
        (job["can_continue"].as_bool(), job["run"].as_str()),
        (Some(true), Some("a-panda-in-the-snow-2"))
    );
    studio.post("/api/jobs/stopped/continue", &json!({})).json(200);
    assert_eq!(studio.wait_for("stopped", "finished")["state"], "finished");
    let notes = studio.get("/api/jobs/stopped/watch").json(200)["notes"].to_string();
    assert!(notes.contains("goes on after step"), "{notes}");
    same_results(&folder.path().join("a-panda-in-the-snow"), &folder.path().join("a-panda-in-the-snow-2"));
}

#[test]
fn a_job_that_fails_is_kept_to_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    // As many frames as no clip has: known once the source is read.
    studio.queue("long", &small_with("video.frames", 500.into()));
    let job = studio.wait_for("long", "failed");
    assert_eq!((job["error"]["code"].as_str(), job["can_continue"].as_bool()), (Some("misuse"), Some(true)));
    assert!(job["error"]["detail"].as_str().unwrap().contains("too few frames"), "{job}");
    studio.post("/api/queue/pause", &json!({})).json(200);
    studio.post("/api/jobs/long/continue", &json!({})).json(200);
    studio.put("/api/jobs/long", &json!({ "request": small() })).json(200);
    studio.post("/api/queue/resume", &json!({})).json(200);
    assert_eq!(studio.wait_for("long", "finished")["state"], "finished");
}

#[test]
fn a_job_that_cannot_be_written_leaves_nothing_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let studio = Studio::start(folder.path());
    studio.post("/api/queue/pause", &json!({})).json(200);
    studio.queue("a", &small());
    let in_the_way = folder.path().join("a-panda-in-the-snow");
    std::fs::write(&in_the_way, "mine").unwrap();
    studio.post("/api/queue/resume", &json!({})).json(200);
    let job = studio.wait_for("a", "failed");
    assert!(job["error"]["detail"].as_str().unwrap().contains("is a file"), "{job}");
    assert_eq!((job["run"].as_str(), std::fs::read_to_string(&in_the_way).unwrap().as_str()), (None, "mine"));
    std::fs::remove_file(&in_the_way).unwrap();
    studio.post("/api/jobs/a/continue", &json!({})).json(200);
    assert_eq!(studio.wait_for("a", "finished")["state"], "finished");
}
