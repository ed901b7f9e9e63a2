//! Many transfers from one file.

use std::fs;

use crate::common::{Place, car, motionflow, program, read_json, read_toml, run, same_results, tiny_model};

/// Four jobs: two on one source, one that cannot work, one on a source of its own.
fn jobs(place: &Place) -> String {
    let (car, model) = (car(), tiny_model());
    let jobs = format!(
        "[defaults]\nsource.path = \"{car}\"\nprompts.source_prompt = \"a [car] on a road\"\nmodel.name = \"{model}\"\n\
         video = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = 3, guided_steps = 1, init = \"noise\" }}\n\
         [[job]]\nname = \"panda\"\nprompts.prompt = \"a [panda] in the snow\"\n\
         [[job]]\nname = \"none\"\nprompts.prompt = \"a [panda] in the snow\"\nsource.path = \"nowhere.mp4\"\n\
         [[job]]\nname = \"boat\"\nprompts.prompt = \"a [boat] on the sea\"\nsettings.seed = 7\n\
         [[job]]\nname = \"late\"\nprompts.prompt = \"a [boat] on the sea\"\nsource.every = 2\n"
    );
    let path = place.path("jobs.toml");
    fs::write(&path, jobs).unwrap();
    place.text("jobs.toml")
}

fn endings(place: &Place, summary: &str) -> Vec<String> {
    let summary = read_json(&place.path(summary));
    let ending = |job: &serde_json::Value| {
        format!("{} {}", job["name"].as_str().unwrap(), job["ending"].as_str().unwrap())
    };
    summary.as_array().unwrap().iter().map(ending).collect()
}

#[test]
fn a_batch_goes_on_after_a_failed_job_and_does_nothing_twice() {
    let place = Place::new();
    let (jobs, out) = (jobs(&place), place.text("out"));
    let batch = || run(program().args(["batch", &jobs, "-o", &out, "--threads", "1"]));
    let first = batch();
    assert_eq!(first.code, 1, "{}", first.stderr);
    assert!(
        first.stderr.contains("nowhere.mp4") && first.stderr.contains("1 of 4 jobs failed"),
        "{}",
        first.stderr
    );
    assert_eq!(endings(&place, "out/summary.json"), ["panda done", "none failed", "boat done", "late done"]);
    assert_eq!(first.stdout.lines().filter(|line| line.contains(" done ")).count(), 3, "{}", first.stdout);
    assert_eq!(
        first.stderr.matches("load: done").count(),
        1,
        "the checkpoint is loaded once: {}",
        first.stderr
    );
    assert!(!place.path("out/none").exists());

    // The same as by itself.
    let again = place.text("again");
    let record = place.text("out/boat/run.toml");
    motionflow(&["transfer", "--config", &record, "-o", &again]).ok();
    same_results(&place.path("out/boat"), &place.path("again"));

    fs::remove_dir_all(place.path("out/late")).unwrap();
    fs::copy(car(), place.path("nowhere.mp4")).unwrap();
    let second = batch().ok();
    let expected = ["panda already_done", "none done", "boat already_done", "late done"];
    assert_eq!(endings(&place, "out/summary.json"), expected, "{}", second.stderr);

    // The same jobs from another folder are the same jobs.
    let elsewhere = place.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut command = program();
    command.args(["batch", "../jobs.toml", "-o", "../out", "--threads", "1"]).current_dir(&elsewhere);
    run(&mut command).ok();
    assert!(endings(&place, "out/summary.json").iter().all(|ending| ending.ends_with("already_done")));

    // A job that says something else now, or nothing any more, is not taken for done.
    let original = fs::read_to_string(&jobs).unwrap();
    for changed in [original.replace("seed = 7", "seed = 8"), original.replace("settings.seed = 7\n", "")] {
        assert_ne!(changed, original);
        fs::write(&jobs, changed).unwrap();
        let third = batch();
        assert_eq!(third.code, 1);
        assert!(third.stderr.contains("out/boat: holds a run of other settings"), "{}", third.stderr);
    }
}

#[test]
fn shards_share_the_jobs() {
    let place = Place::new();
    let (jobs, out) = (jobs(&place), place.text("out"));
    for shard in ["1/2", "2/2"] {
        run(program().args(["batch", &jobs, "-o", &out, "--shard", shard, "--threads", "1"]));
    }
    assert_eq!(endings(&place, "out/summary-1-of-2.json"), ["panda done", "boat done"]);
    assert_eq!(endings(&place, "out/summary-2-of-2.json"), ["none failed", "late done"]);
    motionflow(&["batch", &jobs, "--shard", "3/2"]).fails(2, &["3/2", "like 2/8"]);
}

#[test]
fn jobs_that_make_no_sense() {
    let place = Place::new();
    let jobs = place.text("jobs.toml");
    for (text, parts) in [
        ("", &["no [[job]]"][..]),
        ("[[job]]\nname = \"a\"\n[[job]]\nname = \"a\"", &["two jobs", "\"a\""]),
        ("[[job]]\nname = \"../a\"", &["../a", "folder"]),
        ("[[job]]\nprompts.prompt = \"x\"", &["job 1"]),
        ("[[job]]\nname = \"a\"\nprompt = \"x\"", &["line 3", "\"prompt\" is not known", "\"prompts\""]),
    ] {
        fs::write(&jobs, text).unwrap();
        motionflow(&["batch", &jobs, "-o", &place.text("out")]).fails(2, parts);
        assert_eq!(place.names("."), ["jobs.toml"], "{text}");
    }
}

#[test]
fn a_job_behaves_as_its_file_says() {
    let place = Place::new();
    let (path, out) = (jobs(&place), place.text("out"));
    let text =
        fs::read_to_string(&path).unwrap().replace("[[job]]\nname = \"none\"", "[[job]]\nname = \"x\"");
    let text = text.replace("nowhere.mp4", &car()).replace("[defaults]", "[defaults]\nprogram.threads = 3");
    fs::write(&path, text.replace("name = \"boat\"", "name = \"boat\"\nprogram.threads = 2")).unwrap();
    run(program().args(["batch", &path, "-o", &out])).ok();
    let threads = |job: &str| {
        let record = read_toml(&place.path(&format!("out/{job}/run.toml")));
        record["program"]["threads"].as_integer().unwrap()
    };
    assert_eq!(["panda", "boat", "late"].map(threads), [3, 2, 3]);

    // Whether there is metadata is a difference too.
    fs::write(
        &path,
        text.replace("[[job]]\nname = \"panda\"", "[[job]]\nname = \"panda\"\noutput.metadata = false"),
    )
    .unwrap();
    let changed = run(program().args(["batch", &path, "-o", &out]));
    assert_eq!(changed.code, 1);
    assert!(changed.stderr.contains("out/panda: holds a run of other settings"), "{}", changed.stderr);
}

#[test]
fn what_is_the_batchs_is_no_jobs() {
    let place = Place::new();
    let path = jobs(&place);
    let text = fs::read_to_string(&path).unwrap();
    let refused = |from: &str, to: &str, parts: &[&str]| {
        fs::write(&path, text.replace(from, to)).unwrap();
        motionflow(&["batch", &path, "-o", &place.text("out")]).fails(2, parts);
        assert_eq!(place.names("."), ["jobs.toml"]);
    };
    refused("[defaults]", "[defaults]\noutput.folder = \"x\"", &["output.folder", "--output"]);
    refused("seed = 7", "seed = 7\nprogram.json = true", &["program.json", "--json"]);
    refused("\"panda\"", "\"summary.json\"", &["\"summary.json\"", "must do for a folder"]);
}
