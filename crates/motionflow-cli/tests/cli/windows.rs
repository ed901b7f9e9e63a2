//! Videos of more frames than the net sees at once.

use std::fs;
use std::process::Command;

use crate::common::{Outcome, Place, car, program, read_json, read_toml, read_video, run, tiny_model};

const TAKEN: &str = "taken from the cache";
const SMALL: [&str; 10] =
    ["--width", "24", "--height", "16", "--frames", "7", "--steps", "2", "--threads", "1"];
const WINDOWS: [&str; 4] = ["--context-frames", "3", "--context-overlap", "1"];

/// With a cache of inversions of its own.
fn command(place: &Place, name: &str, output: &str) -> Command {
    let mut command = program();
    command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
    command.arg(name).args(SMALL).args(["--model", &tiny_model(), "-o", &place.text(output)]);
    if name != "generate" {
        command.args(["--source", &car(), "--source-prompt", "a [car] on a road"]);
    }
    command
}

fn transfer(place: &Place, output: &str, flags: &[&str]) -> Outcome {
    let mut command = command(place, "transfer", output);
    command.args(["-p", "a [panda] in the snow", "--guided-steps", "1", "--no-metadata"]);
    run(command.args(flags))
}

#[test]
fn a_long_transfer_is_made_in_windows_and_a_short_one_as_without() {
    let place = Place::new();
    let same = |one: &str, other: &str| {
        ["result.mp4", "masks.mp4", "loss.svg"].iter().all(|name| {
            let [one, other] = [one, other].map(|folder| fs::read(place.path(folder).join(name)).unwrap());
            one == other
        })
    };
    transfer(&place, "whole", &[]).ok();
    let one_window = transfer(&place, "one", &["--context-frames", "7"]).ok();
    assert!(one_window.stderr.contains(TAKEN), "the same inversion: {}", one_window.stderr);
    assert!(same("whole", "one"));
    let several = transfer(&place, "several", &WINDOWS).ok();
    assert!(!several.stderr.contains(TAKEN), "{}", several.stderr);
    assert!(!same("whole", "several"));
    read_video(&place.path("several/result.mp4"), 7);
    let settings = read_toml(&place.path("several/run.toml"))["settings"].clone();
    assert_eq!(
        ["context_frames", "context_overlap"].map(|key| settings[key].as_integer()),
        [Some(3), Some(1)]
    );
    let again = transfer(&place, "again", &WINDOWS).ok();
    assert!(again.stderr.contains(TAKEN), "{}", again.stderr);
    assert!(same("several", "again"));
    let config = place.text("several/run.toml");
    let mut by_record = program();
    by_record.args(["transfer", "--config", &config, "-o", &place.text("recorded")]);
    run(&mut by_record).ok();
    assert!(same("several", "recorded"));
}

#[test]
fn every_kind_of_run_has_windows() {
    let place = Place::new();
    for (name, flags, file) in [
        ("generate", &["-p", "a panda"][..], "result.mp4"),
        ("invert", &[], "inversion.safetensors"),
        ("inspect", &["--mask-source", "noised"], "maps.safetensors"),
    ] {
        run(command(&place, name, &format!("{name}-whole")).args(flags)).ok();
        run(command(&place, name, name).args(flags).args(WINDOWS)).ok();
        let [whole, windows] = [format!("{name}-whole"), name.to_owned()]
            .map(|folder| fs::read(place.path(&folder).join(file)).unwrap());
        assert!(whole != windows, "{name}");
    }
    let mut from_inversion = program();
    from_inversion.args(["transfer", "--inversion", &place.text("invert"), "-p", "a [panda] in the snow"]);
    from_inversion.args(["--model", &tiny_model(), "--threads", "1", "--guided-steps", "1", "--no-metadata"]);
    run(from_inversion.args(WINDOWS).args(["-o", &place.text("from-inversion")])).ok();
    transfer(&place, "at-once", &WINDOWS).ok();
    let [one, other] =
        ["from-inversion", "at-once"].map(|folder| fs::read(place.path(folder).join("result.mp4")).unwrap());
    assert!(one == other);

    let noised = ["--mask-source", "noised", "--init", "noise", "--deepcache-interval", "2"];
    transfer(&place, "noised", &[&WINDOWS[..], &noised].concat()).ok();
    let updates = read_json(&place.path("noised/run.json"))["steps"].clone();
    let is_update = |step: &&serde_json::Value| step["stage"] == "update";
    assert_eq!(updates.as_array().unwrap().iter().filter(is_update).count(), 1);
}

#[test]
fn the_plan_has_the_windows_and_mistakes_are_told() {
    let place = Place::new();
    let planned = transfer(&place, "out", &[&WINDOWS[..], &["--dry-run"]].concat()).ok();
    assert!(planned.stdout.contains("\nwindows 3 of 3 frames each\n"), "{}", planned.stdout);
    for (flags, parts) in [
        (&["--context-frames", "0"][..], &["--context-frames is 0", "1 or more"]),
        (
            &["--context-frames", "4", "--context-overlap", "4"],
            &["--context-overlap is 4", "less than the 4 context frames"],
        ),
    ] {
        transfer(&place, "out", flags).fails(2, parts);
    }
    // Where only the length is said, the overlap is less.
    let short = transfer(&place, "out", &["--context-frames", "2", "--dry-run"]).ok();
    assert!(short.stdout.contains("context_overlap = 1\n"), "{}", short.stdout);
    transfer(&place, "out", &["--context-overlap", "9", "--dry-run"]).ok();
}
