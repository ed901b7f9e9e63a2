//! `motionflow doctor`: what it says of a machine on which all is well, and of one on which something is not.

use std::fs;
use std::process::Command;

use crate::common::{Outcome, Place, ffmpeg, program, run, text, tree};

fn doctor(place: &Place) -> Command {
    let mut command = program();
    command.arg("doctor").env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
    command
}

/// The same, with a tiny checkpoint in place of the shipped one, which takes longer to load.
fn quick(place: &Place) -> Command {
    if !place.path("models").exists() {
        fs::create_dir(place.path("models")).unwrap();
        fs::rename(place.copied_model(), place.path("models/demo")).unwrap();
    }
    let mut command = doctor(place);
    command.env("MOTIONFLOW_MODELS", place.path("models"));
    command
}

/// The lines of one part.
#[track_caller]
fn part<'a>(outcome: &'a Outcome, name: &str) -> Vec<&'a str> {
    let mut lines = outcome.stdout.lines().skip_while(|line| *line != name);
    assert_eq!(lines.next(), Some(name), "{}", outcome.stdout);
    lines.take_while(|line| line.starts_with(' ')).collect()
}

/// All that stands in one part, the hint too.
#[track_caller]
fn says(outcome: &Outcome, name: &str, parts: &[&str]) {
    let text = part(outcome, name).join("\n");
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is not in:\n{text}");
    }
}

/// A transfer would not work, for these parts alone.
#[track_caller]
fn lacks(outcome: &Outcome, parts: &str) {
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let expected =
        format!("error: a transfer would not work: see what `motionflow doctor` says of {parts}\n");
    assert_eq!(outcome.stderr, expected);
    assert!(!outcome.stdout.contains("would work"), "{}", outcome.stdout);
}

#[test]
fn all_is_well_here() {
    let place = Place::new();
    let outcome = run(&mut doctor(&place)).ok();
    for name in ["program", "libtorch", "memory", "ffmpeg", "models", "cache", "trial"] {
        assert!(!part(&outcome, name).is_empty());
    }
    assert!(!outcome.stdout.contains("missing"), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with("\na transfer would work\n"), "{}", outcome.stdout);
    says(&outcome, "program", &["ok       motionflow", env!("CARGO_PKG_VERSION")]);
    says(&outcome, "libtorch", &["ok       2.", "threads to compute with", "CUDA: "]);
    says(&outcome, "ffmpeg", &[ffmpeg().version(), "libx264"]);
    says(&outcome, "models", &["ok       demo: whole", &text(&tree().join("models/demo"))]);
    says(
        &outcome,
        "cache",
        &["0 inversions", "10.0 GiB", &place.text("cache"), "ok       it can be written to"],
    );
    says(&outcome, "trial", &["ok       libtorch computes", "ok       ffmpeg writes"]);
    assert!(place.names("").is_empty(), "nothing is left");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_named_ffmpeg_that_is_not_there_or_is_another_program() {
    let place = Place::new();
    for (program, reason) in [(place.text("none"), "No such file"), ("true".into(), "does not answer")] {
        let outcome = run(quick(&place).env("MOTIONFLOW_FFMPEG", &program));
        lacks(&outcome, "ffmpeg");
        says(
            &outcome,
            "ffmpeg",
            &["missing  cannot run ffmpeg at", &program, reason, "set MOTIONFLOW_FFMPEG"],
        );
        assert_eq!(part(&outcome, "trial"), ["  ok       libtorch computes, gradients too"]);
    }
    let outcome = run(quick(&place).arg("--quiet").env("MOTIONFLOW_FFMPEG", "true"));
    assert_eq!(outcome.stdout, "");
    lacks(&outcome, "ffmpeg");
}

#[cfg(unix)]
#[test]
fn an_ffmpeg_that_lacks_a_part() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         *-encoders*) {ffmpeg} \"$@\" | grep -v libx264 ;;\n\
         *libx264*) echo \"Unknown encoder 'libx264'\" >&2; exit 8 ;;\n\
         *) exec {ffmpeg} \"$@\" ;;\nesac\n",
        ffmpeg = ffmpeg().program().display()
    );
    fs::write(place.path("ffmpeg"), script).unwrap();
    fs::set_permissions(place.path("ffmpeg"), fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = run(quick(&place).env("MOTIONFLOW_FFMPEG", place.path("ffmpeg")));
    lacks(&outcome, "ffmpeg, trial");
    says(
        &outcome,
        "ffmpeg",
        &["ok       ", "missing  built without the encoder libx264", "-> install a full ffmpeg"],
    );
    says(
        &outcome,
        "trial",
        &["missing  ffmpeg could not write", "Unknown encoder", "-> install a full ffmpeg"],
    );
}

#[test]
fn a_folder_of_models_without_any() {
    let place = Place::new();
    fs::create_dir(place.path("models")).unwrap();
    let outcome = run(doctor(&place).env("MOTIONFLOW_MODELS", place.path("models"))).ok();
    says(&outcome, "models", &["ok       demo", "warning  MOTIONFLOW_MODELS", "holds no checkpoints", "-> "]);
    let outcome = run(doctor(&place).env("MOTIONFLOW_MODELS", place.path("none"))).ok();
    says(&outcome, "models", &["warning  MOTIONFLOW_MODELS", "cannot be read", "-> set the variable"]);
}

#[test]
fn a_damaged_checkpoint() {
    let place = Place::new();
    fs::rename(place.copied_model(), place.path("demo")).unwrap();
    let weights = place.path("demo/unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let outcome = run(doctor(&place).env("MOTIONFLOW_MODELS", place.path("")));
    lacks(&outcome, "models");
    says(&outcome, "models", &["missing  ", "demo/unet", "MOTIONFLOW_MODELS", "1 checkpoint"]);
}

#[test]
fn a_program_without_its_checkpoint_and_ffmpeg() {
    let place = Place::new();
    let lone = place.path("motionflow");
    fs::copy(env!("CARGO_BIN_EXE_motionflow"), &lone).unwrap();
    let mut command = Command::new(&lone);
    command.arg("doctor").current_dir(place.path("")).env("MOTIONFLOW_CACHE", place.path("cache"));
    command.env_remove("MOTIONFLOW_CACHE_LIMIT");
    command.env("OMP_WAIT_POLICY", "PASSIVE").env("PATH", place.path(""));
    for variable in ["MOTIONFLOW_MODELS", "MOTIONFLOW_FFMPEG", "FFMPEG"] {
        command.env_remove(variable);
    }
    let outcome = run(&mut command);
    lacks(&outcome, "ffmpeg, models");
    says(&outcome, "ffmpeg", &["missing  ffmpeg was not found", "cargo xtask setup", "MOTIONFLOW_FFMPEG"]);
    says(
        &outcome,
        "models",
        &["missing  there is no checkpoint \"demo\"", "models/demo", "MOTIONFLOW_MODELS"],
    );
}

#[test]
fn a_cache_that_cannot_be() {
    let place = Place::new();
    fs::write(place.path("cache"), "a file").unwrap();
    let outcome = run(&mut quick(&place)).ok();
    says(&outcome, "cache", &["warning  ", "cannot be written to", "-> set MOTIONFLOW_CACHE"]);
    let outcome = run(quick(&place).env("MOTIONFLOW_CACHE_LIMIT", "lots"));
    lacks(&outcome, "cache");
    says(&outcome, "cache", &["missing  MOTIONFLOW_CACHE_LIMIT is \"lots\"", "500MB"]);
}

#[test]
fn a_temporary_folder_that_is_not_there() {
    let place = Place::new();
    let outcome = run(quick(&place).env("TMPDIR", place.path("none"))).ok();
    says(&outcome, "trial", &["warning  no video was tried", "-> set TMPDIR"]);
}
