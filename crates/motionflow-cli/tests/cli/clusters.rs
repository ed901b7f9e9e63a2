//! The files for clusters in `deploy/`: what they start, and what a stop does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::common::{Place, car, program, read_json, run, text, tiny_model, tree};
use crate::process::{begin, ended, send, wait_for};

const JOBS: [&str; 3] = ["panda", "boat", "robot"];

fn deployed(file: &str) -> String {
    text(&tree().join("deploy").join(file))
}

/// A file of three jobs of so many steps.
fn jobs(place: &Place, steps: u32) -> String {
    let named = |name| format!("[[job]]\nname = \"{name}\"\nprompts.prompt = \"a [{name}] in the snow\"\n");
    let defaults = format!(
        "[defaults]\nsource.path = \"{}\"\nprompts.source_prompt = \"a [car] on a road\"\nmodel.name = \"{}\"\n\
         video = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = {steps}, guided_steps = 1, init = \"noise\" }}\n",
        car(),
        tiny_model()
    );
    fs::write(place.path("jobs.toml"), defaults + &JOBS.map(named).concat()).unwrap();
    place.text("jobs.toml")
}

/// `shell` in surroundings in which PATH has the program, and a `scontrol` that writes down what it is asked.
fn on_a_node(place: &Place, shell: &str) -> Command {
    let bin = place.path("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = program();
    if !bin.join("motionflow").exists() {
        symlink(program.get_program(), bin.join("motionflow")).unwrap();
        let scontrol = bin.join("scontrol");
        fs::write(&scontrol, format!("#!/bin/sh\necho \"$@\" >>'{}'\n", place.text("asked"))).unwrap();
        fs::set_permissions(&scontrol, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(shell);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("PATH", format!("{}:{}", text(&bin), std::env::var("PATH").unwrap()));
    command.env("OMP_NUM_THREADS", "1");
    command
}

fn slurm_task(place: &Place, jobs: &str, output: &str, shard: (u32, u32)) -> Command {
    let mut command = on_a_node(place, "bash");
    command.args([&deployed("slurm/batch.sbatch"), jobs, &place.text(output), "--threads", "1"]);
    command.envs([("SLURM_JOB_ID", "17"), ("SLURM_CPUS_PER_TASK", "1")]);
    command.env("SLURM_ARRAY_TASK_ID", shard.0.to_string());
    command.env("SLURM_ARRAY_TASK_COUNT", shard.1.to_string());
    command
}

/// Asserts that of three shards each did one job, in the order of the file.
#[track_caller]
fn one_job_a_shard(output: &Path) {
    for (index, name) in JOBS.iter().enumerate() {
        let summary = read_json(&output.join(format!("summary-{}-of-3.json", index + 1)));
        let done: Vec<_> =
            summary.as_array().unwrap().iter().map(|job| (&job["name"], &job["ending"])).collect();
        assert_eq!(done, [(&(*name).into(), &"done".into())], "{summary}");
    }
}

#[test]
fn a_slurm_task_is_requeued_before_its_time_ends_and_not_when_it_is_stopped() {
    let place = Place::new();
    let asked = |signal: &str| {
        let running = begin(&mut slurm_task(&place, &jobs(&place, 900), signal, (2, 3)));
        let begun = place.path(signal).join("boat/.unfinished/inversion-0001.safetensors");
        wait_for("a first step", || begun.exists());
        send(signal, &running);
        let outcome = ended(running);
        assert_eq!(outcome.code, 130, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("the same command goes on"), "{}", outcome.stderr);
        fs::read_to_string(place.path("asked")).unwrap_or_default()
    };
    assert_eq!(asked("TERM"), "");
    assert_eq!(asked("USR1"), "requeue 17\n");
}

#[test]
fn the_tasks_of_a_slurm_array_do_each_job_once() {
    let place = Place::new();
    let jobs = jobs(&place, 2);
    for task in 1..=3 {
        run(&mut slurm_task(&place, &jobs, "out", (task, 3))).ok();
    }
    one_job_a_shard(&place.path("out"));
    assert!(!place.path("asked").exists());
    let failed = run(&mut slurm_task(&place, &place.text("none.toml"), "out", (1, 3)));
    assert_eq!(failed.code, 2, "{}", failed.stderr);
}

#[test]
fn the_pods_of_a_kubernetes_job_do_each_job_once() {
    let place = Place::new();
    jobs(&place, 2);
    let manifest = fs::read_to_string(deployed("kubernetes/batch-job.yaml")).unwrap();
    let (_, line) = manifest.split_once("- >-\n").unwrap();
    let (line, _) = line.split_once("          env:").unwrap();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ").replace("/data", &place.text("."));
    for pod in ["0", "1", "2"] {
        let mut command = on_a_node(&place, "sh");
        run(command.args(["-c", &line]).envs([("JOB_COMPLETION_INDEX", pod), ("SHARDS", "3")])).ok();
    }
    one_job_a_shard(&place.path("out"));

    let completions = manifest.lines().find_map(|line| line.strip_prefix("  completions: ")).unwrap();
    let (completions, _) = completions.split_once(' ').unwrap();
    assert!(manifest.contains(&format!("- name: SHARDS\n              value: \"{completions}\"\n")));
}

#[test]
fn the_tasks_of_an_openjd_job_do_each_job_once() {
    let place = Place::new();
    let jobs = jobs(&place, 2);
    let template = fs::read_to_string(deployed("openjd/batch.template.yaml")).unwrap();
    let (_, arguments) = template.split_once("          args:\n").unwrap();
    for task in ["1", "2", "3"] {
        let arguments =
            arguments.lines().map_while(|line| line.strip_prefix("            - ")).map(|argument| {
                let argument = argument.trim_matches('"').replace("{{Param.Jobs}}", &jobs);
                let argument = argument.replace("{{Param.Runs}}", &place.text("out"));
                argument.replace("{{Task.Param.Shard}}", task).replace("{{Param.Shards}}", "3")
            });
        run(program().args(arguments).args(["--threads", "1"])).ok();
    }
    one_job_a_shard(&place.path("out"));
}
