//! The cache of inversions, as transfers use it.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::{Outcome, Place, motionflow, read_json, run, same_results, text};

const TAKEN: &str = "taken from the cache";

fn cached(place: &Place, command: &mut Command) -> Outcome {
    run(command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT")).ok()
}

fn transfer(place: &Place, output: &str, flags: &[&str]) -> Outcome {
    let mut command = place.transfer_to(output);
    cached(place, command.args(flags))
}

fn entries(place: &Place) -> Vec<std::path::PathBuf> {
    let listing = fs::read_dir(place.path("cache"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    listing.unwrap_or_default()
}

#[test]
fn a_second_prompt_for_the_same_source_skips_the_inversion() {
    let place = Place::new();
    let first = transfer(&place, "first", &[]);
    assert!(!first.stderr.contains(TAKEN) && first.stderr.contains("invert: 3 steps"), "{}", first.stderr);
    assert_eq!(read_json(&place.path("first/run.json"))["inversion"], "made");
    // Another threshold for the masks needs no other inversion.
    let second = transfer(&place, "second", &["--seed", "2", "--init", "noise", "--tau", "0.6"]);
    assert!(second.stderr.contains(TAKEN) && !second.stderr.contains("invert: 3 steps"), "{}", second.stderr);
    assert_eq!(read_json(&place.path("second/run.json"))["inversion"], "cached");
    let without = ["--seed", "2", "--init", "noise", "--tau", "0.6", "--no-cache"];
    assert!(!transfer(&place, "without", &without).stderr.contains(TAKEN));
    same_results(&place.path("second"), &place.path("without"));
    assert_eq!(entries(&place).len(), 1);
    let listed = cached(&place, crate::common::program().args(["cache", "list"]));
    assert!(
        listed.stdout.contains("\"a [car] on a road\"") && listed.stdout.contains("1 inversion in"),
        "{}",
        listed.stdout
    );

    for other in [&["--every", "2"][..], &["--threads", "2"]] {
        let outcome = transfer(&place, "other", &[other, &["--force"]].concat());
        assert!(!outcome.stderr.contains(TAKEN), "{other:?}: {}", outcome.stderr);
    }
    assert_eq!(entries(&place).len(), 3);
}

#[test]
fn a_damaged_entry_is_noticed_and_made_again() {
    let place = Place::new();
    transfer(&place, "first", &[]);
    let tensors = entries(&place)[0].join("inversion.safetensors");
    let mut bytes = fs::read(&tensors).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&tensors, bytes).unwrap();
    let second = transfer(&place, "second", &[]);
    assert!(
        second.stderr.contains("cached inversion was damaged") && !second.stderr.contains(TAKEN),
        "{}",
        second.stderr
    );
    same_results(&place.path("first"), &place.path("second"));
    assert!(transfer(&place, "third", &[]).stderr.contains(TAKEN));
}

#[test]
fn no_cache_keeps_nothing_and_a_cache_that_cannot_be_written_is_told() {
    let place = Place::new();
    transfer(&place, "first", &["--no-cache"]);
    assert!(entries(&place).is_empty());
    fs::write(place.path("cache"), "a file").unwrap();
    let outcome = transfer(&place, "second", &[]);
    assert!(
        outcome.stderr.contains("not kept for later runs") && outcome.stderr.contains("MOTIONFLOW_CACHE")
    );
    same_results(&place.path("first"), &place.path("second"));
}

#[test]
fn two_processes_share_a_cache() {
    let place = Place::new();
    let start = |output: &str| {
        let mut command = place.transfer_to(output);
        command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for mut running in ["a", "b", "c"].map(start) {
        assert!(running.wait().unwrap().success());
    }
    same_results(&place.path("a"), &place.path("b"));
    same_results(&place.path("a"), &place.path("c"));
    assert_eq!(entries(&place).len(), 1, "{:?}", entries(&place));
    assert!(transfer(&place, "d", &[]).stderr.contains(TAKEN));
}

#[test]
fn an_inversion_of_a_batch_is_made_once() {
    let place = Place::new();
    let record = place.path("out/run.toml");
    run(&mut place.transfer_to("out")).ok();
    let jobs = format!(
        "{}\n[[job]]\nname = \"a\"\n[[job]]\nname = \"b\"\nprompts.prompt = \"a [boat]\"\n",
        fs::read_to_string(record).unwrap().replace("\n[", "\n[defaults.")
    );
    fs::write(place.path("jobs.toml"), jobs).unwrap();
    let batch = ["batch", &place.text("jobs.toml"), "-o", &place.text("batch"), "--threads", "1"];
    let outcome = cached(&place, crate::common::program().args(batch));
    assert_eq!(outcome.stderr.matches(TAKEN).count(), 1, "{}", outcome.stderr);
    let again = place.text("again");
    motionflow(&["transfer", "--config", &text(&place.path("batch/b/run.toml")), "-o", &again]).ok();
    same_results(&place.path("batch/b"), &place.path("again"));
}
