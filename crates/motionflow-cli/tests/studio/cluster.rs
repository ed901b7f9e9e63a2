//! A studio whose jobs the workers of a queue do.

use std::process::{Child, Stdio};

use serde_json::json;

use crate::server::{Studio, program, same_results, small, small_with, tiny_model, tree};

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn workers_of_a_queue_do_the_studios_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (runs, queue) = (folder.path().join("runs"), at("queue"));
    let studio = Studio::start_with(&runs, &["--queue", &queue]);
    studio.queue("first", &small());
    studio.queue("second", &small_with("settings.seed", 3.into()));
    studio.wait_for("second", "running");
    // What others put there is seen.
    let submit = program()
        .args([
            "submit",
            "--queue",
            &queue,
            "--name",
            "elsewhere",
            "--model",
            &tiny_model(),
            "--threads",
            "1",
            "--prompt",
            "a [cat]",
        ])
        .args(["--source-prompt", "a [car]", "--source"])
        .arg(tree().join("assets/clips/car-arc.mp4"))
        .args(["--width", "24", "--height", "16", "--frames", "3", "--steps", "3"])
        .status();
    assert!(submit.unwrap().success());
    let cluster = studio.get("/api/cluster").json(200);
    assert_eq!(cluster["states"]["queued"], 3, "{cluster}");
    assert!(
        cluster["others"].as_array().unwrap().len() == 1 && cluster["others"][0]["name"] == "elsewhere",
        "{cluster}"
    );
    // Nobody is there to do them: cancelled, one is over at once.
    studio.post("/api/jobs/second/cancel", &json!({})).json(202);
    studio.wait_for("second", "cancelled");
    let worker = program()
        .args(["worker", "--queue", &queue, "--work", &at("work"), "--threads", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _worker = Worker(worker);
    let job = studio.wait_for("first", "finished");
    assert_eq!(job["run"], "a-panda-in-the-snow", "{job}");
    studio.post("/api/jobs/second/continue", &json!({})).json(200);
    studio.wait_for("second", "finished");
    let out = folder.path().join("out");
    let mut command = program();
    command.args(["transfer", "--source-prompt", "a [car] on a road", "--prompt", "a [panda] in the snow"]);
    command.args(["--width", "24", "--height", "16", "--frames", "3", "--steps", "3", "--guided-steps", "2"]);
    command.args(["--threads", "1", "--device", "cpu", "--quiet", "--model", &tiny_model(), "--output"]);
    let car = tree().join("assets/clips/car-arc.mp4");
    assert!(command.arg(&out).arg("--source").arg(car).status().unwrap().success());
    same_results(&runs.join("a-panda-in-the-snow"), &out);
    // What fails there is told here.
    studio.queue("third", &small_with("source.start", 1000.into()));
    let job = studio.wait_for("third", "failed");
    assert!(job["error"]["detail"].as_str().unwrap().contains("too few frames"), "{job}");
}
