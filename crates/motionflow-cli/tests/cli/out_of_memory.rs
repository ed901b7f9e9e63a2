//! Memory that runs out in the middle of a run.

// `ulimit -v` is Linux's.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{
    Place, car, copy, in_memory, program, read_json, read_toml, run, same_results, text, tiny_model,
};

/// Address space in KiB. A guided update of [`transfer`] or of the batch's large job takes 1,180,000 or more, all before
/// it at most 560,000.
const MEMORY: u32 = 850_000;

/// Its guided update wants far more memory than all before it: maps of every place to every place.
fn transfer(output: &Path) -> Command {
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road"]);
    command.args(["--prompt", "a [panda] in the snow", "--model", &tiny_model(), "--no-cache"]);
    command.args(["-W", "88", "-H", "88", "--frames", "5", "--steps", "2", "--guided-steps", "1"]);
    command.args(["--device", "cpu", "--memory", "fast", "--threads", "1", "--output", &text(output)]);
    command
}

#[test]
fn a_run_without_memory_ends_with_one_message_and_goes_on_where_there_is_more() {
    let place = Place::new();
    let (unbroken, ended, thrifty) = (place.path("unbroken"), place.path("ended"), place.path("thrifty"));
    let go_on =
        format!("go on in less memory with\n  motionflow transfer --resume {} --memory low\n", text(&ended));
    let outcome = run(&mut in_memory(&transfer(&ended), MEMORY));
    let outcome = outcome.fails(1, &["out of memory on cpu, in generate, step 1 of 2", "start anew", &go_on]);
    assert!(!outcome.stderr.contains("what is done is kept"), "{}", outcome.stderr);
    assert_eq!(place.names("ended"), [".unfinished"]);

    let mut resume = program();
    resume.args(["transfer", "--resume", &text(&ended)]);
    let again = run(&mut in_memory(&resume, MEMORY)).fails(1, &["in generate, step 1 of 2", &go_on]);
    assert!(again.stderr.contains("invert: goes on after step 2 of 2"), "{}", again.stderr);

    // On the CPU this one takes as much in any case.
    copy(&ended, &thrifty);
    let mut in_less = program();
    in_less.args(["transfer", "--resume", &text(&thrifty), "--memory", "low"]);
    let go_on = format!("and go on with\n  motionflow transfer --resume {}\n", text(&thrifty));
    run(&mut in_memory(&in_less, MEMORY)).fails(1, &["in generate, step 1 of 2", &go_on]);
    assert_eq!(read_toml(&thrifty.join(".unfinished/run.toml"))["program"]["memory"].as_str(), Some("low"));

    run(&mut resume).ok();
    run(&mut transfer(&unbroken)).ok();
    same_results(&unbroken, &ended);
}

#[test]
fn a_batch_goes_on_with_the_next_job() {
    let place = Place::new();
    let jobs = format!(
        "[defaults]\nprompts.source_prompt = \"a [car]\"\nprompts.prompt = \"a [panda]\"\nsource.path = {:?}\n\
         model.name = {:?}\nprogram.memory = \"low\"\n[defaults.settings]\nsteps = 2\nguided_steps = 1\n\
         [[job]]\nname = \"before\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         [[job]]\nname = \"large\"\nvideo = {{ width = 88, height = 88, frames = 5 }}\n\
         [[job]]\nname = \"small\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n",
        car(),
        tiny_model()
    );
    fs::write(place.path("jobs.toml"), jobs).unwrap();
    let mut batch = program();
    batch.args(["batch", &place.text("jobs.toml"), "-o", &place.text("out"), "--threads", "1"]);
    batch.args(["--device", "cpu"]);
    let outcome = run(&mut in_memory(&batch, MEMORY));
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("error: out of memory on cpu, in generate, step 1 of 2"));
    let summary = read_json(&place.path("out/summary.json"));
    let endings: Vec<_> = (0..3).map(|job| summary[job]["ending"].as_str().unwrap()).collect();
    assert_eq!(endings, ["done", "failed", "done"]);
    assert!(summary[1]["error"].as_str().unwrap().starts_with("out of memory on cpu"), "{summary}");
    // Where memory ran out, the net ran without a graph; the next job's has one again.
    let gradient = |job: &str| {
        let steps = read_json(&place.path(&format!("out/{job}/run.json")))["steps"].clone();
        steps.as_array().unwrap().iter().find_map(|step| step.get("gradient_norm").cloned())
    };
    assert_eq!(gradient("before").unwrap(), gradient("small").unwrap());
}
