//! `motionflow transfer --dry-run`: what would be done, and nothing made.

use std::fs;

use crate::common::{Place, SMALL, car, program, read_toml, run, tiny_model};

/// The part of the output that is TOML: what stands before the tokens.
fn resolved(stdout: &str) -> toml::Table {
    stdout.split("\ntokens of").next().unwrap().parse().unwrap()
}

#[test]
fn a_dry_run_tells_all_and_makes_nothing() {
    let place = Place::new();
    let outcome = place.transfer(&["--dry-run", "--seed", "7"]).ok();
    assert!(place.names("").is_empty(), "{:?}", place.names(""));
    for part in [
        "tokens of the source prompt",
        "<start>  <end>",
        "model   ",
        "device  cpu, f32, --memory balanced",
        "time    about ",
        "invert ",
        "memory  about ",
        "FLOP",
        "result.mp4",
        "nothing was made",
    ] {
        assert!(outcome.stdout.contains(part), "\"{part}\" is not in:\n{}", outcome.stdout);
    }
    place.transfer(&["--seed", "7"]).ok();
    let (told, record) = (resolved(&outcome.stdout), read_toml(&place.path("out/run.toml")));
    for table in ["prompts", "source", "video", "settings"] {
        assert_eq!(told[table], record[table], "{table}");
    }
}

#[test]
fn it_needs_no_weights_but_finds_mistakes() {
    let place = Place::new();
    let model = place.copied_model();
    fs::write(model.join("unet/diffusion_pytorch_model.safetensors"), "").unwrap();
    let transfer = |flags: &[&str]| {
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car]", "--prompt", "a [panda]"]);
        command.args(SMALL).args(["-o", &place.text("out"), "--model", model.to_str().unwrap()]);
        run(command.args(flags))
    };
    transfer(&["--dry-run"]).ok();
    transfer(&[]).fails(1, &["safetensors"]);
    transfer(&["--dry-run", "--guided-steps", "4"]).fails(2, &["--guided-steps"]);
    transfer(&["--dry-run", "--tau", "1"]).fails(2, &["--tau"]);
    fs::create_dir(place.path("out")).unwrap();
    fs::write(place.path("out/run.toml"), "").unwrap();
    transfer(&["--dry-run"]).fails(2, &["holds another run", "--force"]);
}

#[test]
fn what_would_not_fit_is_refused_with_what_would() {
    let place = Place::new();
    let transfer = |width: &str, height: &str, flags: &[&str]| {
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car]", "--prompt", "a [panda]"]);
        command.args(["--width", width, "--height", height, "--frames", "16", "--model", &tiny_model()]);
        run(command.args(["-o", &place.text("out")]).args(flags))
    };
    // The attention maps of its guidance layers alone are of thousands of GiB.
    let refused = transfer("512", "512", &[]);
    let refused = refused.fails(2, &["this run would take about ", " free: give ", "--ignore-memory"]);
    assert!(place.names("").is_empty(), "{:?}", place.names(""));
    let dry = transfer("512", "512", &["--dry-run"]).ok();
    let line = dry.stdout.lines().find_map(|line| line.strip_prefix("refused ")).unwrap();
    assert!(line.starts_with("this run would take about "), "{line}");
    let (_, sizes) = refused.stderr.split_once("--width ").unwrap();
    let sizes: Vec<&str> = sizes.split(' ').take(3).collect();
    let [width, "--height", height] = sizes[..] else { panic!("{sizes:?}") };
    let smaller = transfer(width, height, &["--dry-run", "--memory", "low"]).ok();
    assert!(smaller.stdout.contains(" free\n") && !smaller.stdout.contains("refused"), "{}", smaller.stdout);
}

#[test]
fn every_run_is_looked_at_before_its_weights() {
    let place = Place::new();
    let model = place.copied_model();
    // As large as the config calls for, and unreadable.
    let weights = model.join("unet/diffusion_pytorch_model.safetensors");
    let zeros = vec![0; fs::metadata(&weights).unwrap().len() as usize];
    fs::write(weights, zeros).unwrap();
    let (car, model) = (car(), model.to_str().unwrap());
    let from_source = ["--source", &car, "--source-prompt", "a [car]"];
    for (command, flags) in
        [("generate", &["--prompt", "a panda"][..]), ("invert", &from_source), ("inspect", &from_source)]
    {
        let mut requested = program();
        requested.arg(command).args(flags).args(["--model", model, "-o", &place.text("out")]);
        let huge = run(requested.args(["-W", "8192", "-H", "8192", "--frames", "10000"]));
        huge.fails(2, &["this run would take about "]);
    }
}

#[test]
fn quiet_it_only_checks() {
    let outcome = Place::new().transfer(&["--dry-run", "--quiet"]).ok();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}

#[test]
fn a_reused_inversion_is_not_estimated_again() {
    let place = Place::new();
    let (inversion, model) = (place.text("inv"), tiny_model());
    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car] on a road", "-o", &inversion]);
    run(invert.args(SMALL).args(["--model", &model])).ok();
    let mut transfer = program();
    transfer.args(["transfer", "--inversion", &inversion, "--prompt", "a [panda]", "--model", &model]);
    let outcome = run(transfer.args(["-o", &place.text("out"), "--dry-run"])).ok();
    let time = outcome.stdout.lines().find(|line| line.starts_with("time")).unwrap();
    assert!(time.contains("generate") && !time.contains("invert"), "{time}");
    assert_eq!(place.names(""), ["inv"]);
}
