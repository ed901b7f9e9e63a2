//! What programs read: `--json`, and that docs/machines.md tells all of it.

use std::fs;

use serde_json::Value;

use crate::common::{Outcome, Place, car, motionflow, program, read_json, run, text, tiny_model, tree};

/// The events of a run; nothing else may be on standard output.
#[track_caller]
pub(crate) fn events(outcome: &Outcome) -> Vec<Value> {
    let documented = fs::read_to_string(tree().join("docs/machines.md")).unwrap();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let name = format!("`{}`", event["event"].as_str().unwrap());
        let row = documented.lines().find(|row| row.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("docs/machines.md does not have {name}"));
        for field in event.as_object().unwrap().keys().filter(|field| *field != "event") {
            assert!(row.contains(&format!("`{field}`")), "docs/machines.md does not have {field} of {name}");
        }
        if let Some(of) = event.get("of").and_then(Value::as_str) {
            assert!(row.contains(&format!("`{of}`")), "docs/machines.md does not have rows of {of}");
        }
        event
    };
    let events: Vec<Value> = outcome.stdout.lines().map(event).collect();
    assert_eq!(events[0]["event"], "started", "{}", outcome.stdout);
    assert_eq!(events[0]["format"], 1);
    events
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn a_transfer_tells_its_steps_and_its_files() {
    let place = Place::new();
    let outcome = place.transfer(&["--json"]).ok();
    assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
    let events = events(&outcome);
    let history = read_json(&place.path("out/run.json"));
    let steps: Vec<Value> = named(&events, "step").iter().map(|event| event["step"].clone()).collect();
    assert_eq!(Value::Array(steps), history["steps"]);
    let stages: Vec<&str> =
        named(&events, "stage").iter().map(|event| event["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["read", "load", "encode", "invert", "generate", "decode", "write"]);
    assert_eq!(named(&events, "stage_done").len(), stages.len());
    assert_eq!(named(&events, "progress").len(), 6);
    assert_eq!(named(&events, "warning").len(), history["warnings"].as_array().unwrap().len());
    let finished = events.last().unwrap();
    assert_eq!(finished["event"], "finished");
    let mut files: Vec<&str> =
        finished["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, place.names("out"));
}

#[test]
fn an_error_is_an_event_with_its_exit_code() {
    let broken = ["transfer", "--source", &car(), "--source-prompt", "a [car", "-p", "a [boat]", "--json"];
    let outcome = motionflow(&broken);
    let events = events(&outcome);
    assert_eq!((outcome.code, events.len()), (2, 2));
    assert_eq!((events[1]["event"].as_str(), events[1]["exit_code"].as_i64()), (Some("error"), Some(2)));
    assert!(events[1]["message"].as_str().unwrap().contains("never closed"));
    assert!(outcome.stderr.contains("never closed"));
}

#[test]
fn lists_are_rows() {
    let place = Place::new();
    let rows = |arguments: &[&str], of: &str| {
        let mut command = program();
        command.args(arguments).arg("--json").env("MOTIONFLOW_CACHE", place.path("cache"));
        command.env_remove("MOTIONFLOW_CACHE_LIMIT").env("HF_HOME", place.path("hub"));
        let outcome = run(&mut command).ok();
        let events = events(&outcome);
        let rows: Vec<Value> = named(&events, "row").iter().map(|event| event["row"].clone()).collect();
        assert!(named(&events, "row").iter().all(|event| event["of"] == of), "{}", outcome.stdout);
        rows
    };
    run(place
        .transfer_command()
        .env("MOTIONFLOW_CACHE", place.path("cache"))
        .env_remove("MOTIONFLOW_CACHE_LIMIT"))
    .ok();
    let inversions = rows(&["cache", "list"], "inversion");
    assert_eq!(inversions.len(), 1);
    assert_eq!(inversions[0]["made_from"]["prompt"], "a [car] on a road");
    assert_eq!(rows(&["cache", "clear"], "cleared")[0]["inversions"], 1);
    assert!(rows(&["models"], "checkpoint").iter().any(|row| row["name"] == "demo"));
    let case = text(&tree().join("crates/motionflow/tests/cases/tiny"));
    assert!(rows(&["verify", &case], "tensor").iter().all(|row| row["ok"] == true));
    let record = &rows(&["show", &place.text("out")], "record")[0];
    assert_eq!(record["prompts"]["prompt"], "a [panda] in the snow");
    let model = tiny_model();
    let dry_run = [
        "transfer",
        "--source",
        &car(),
        "--source-prompt",
        "a [car]",
        "-p",
        "a [boat]",
        "--dry-run",
        "-m",
        &model,
        "--frames",
        "3",
        "-W",
        "24",
        "-H",
        "16",
    ];
    let eval = ["eval", "--source", &car(), "--result", &car(), "-p", "a [car]", "--clip", "none"];
    let measured = &rows(&eval, "figures")[0];
    assert_eq!((measured["frames"].as_u64(), measured["figures"].as_array().unwrap().len()), (Some(16), 2));
    let plan = &rows(&dry_run, "plan")[0];
    assert!(plan["estimate"]["refusal"].is_null() && plan["estimate"]["peak_memory_bytes"].is_u64());
    assert!(plan["estimate"]["seconds"].is_f64() && plan["resolved"]["settings"]["tau"].is_f64());
    assert!(rows(&["doctor"], "finding").iter().all(|row| row["finding"]["verdict"] != "missing"));
}

#[test]
fn a_batch_tells_its_jobs() {
    let place = Place::new();
    let job = "[[job]]\nname = \"a\"\nprompts.prompt = \"a [boat]\"\nsource.path = \"nowhere.mp4\"\n\
               prompts.source_prompt = \"a [car]\"";
    fs::write(place.path("jobs.toml"), job).unwrap();
    let outcome = motionflow(&["batch", &place.text("jobs.toml"), "-o", &place.text("out"), "--json"]);
    assert_eq!(outcome.code, 1);
    let events = events(&outcome);
    assert_eq!(named(&events, "error").len(), 2, "of the job, and of the batch: {}", outcome.stdout);
    let jobs = named(&events, "job");
    assert_eq!((jobs[0]["name"].as_str(), jobs[0]["ending"].as_str()), (Some("a"), Some("failed")));
}
