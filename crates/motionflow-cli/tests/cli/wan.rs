//! Wan: a diffusion transformer with flow matching, whose latents have several frames in one.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{
    Outcome, Place, car, copy, motionflow, program, read_json, read_toml, run, same_results, text, tree,
};
use crate::hub_server::Hub;
use crate::resume::kill_at;

/// Nine frames, which are three latent ones.
const SIZE: [&str; 8] = ["-W", "48", "-H", "32", "--frames", "9", "--threads", "1"];

fn model() -> String {
    text(&tree().join("crates/motionflow/tests/cases/wan-tiny/model"))
}

fn transfer(place: &Place, output: &str) -> Command {
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road"]);
    command.args(["--prompt", "a [panda] in the snow", "--output", &place.text(output)]);
    command.args(["--model", &model(), "--steps", "5", "--guided-steps", "2"]).args(SIZE);
    command
}

fn generate(place: &Place, flags: &[&str]) -> Outcome {
    let mut command = program();
    command.args([
        "generate",
        "-p",
        "a panda",
        "--model",
        &model(),
        "-o",
        &place.text("out"),
        "--steps",
        "2",
    ]);
    run(command.args(flags))
}

#[test]
fn a_source_that_is_too_short_is_cut_to_a_number_of_frames_that_is_possible() {
    let place = Place::new();
    for command in ["transfer", "inspect"] {
        let mut long = program();
        long.args([
            command,
            "--source",
            &car(),
            "--source-prompt",
            "a [car] on a road",
            "-o",
            &place.text("out"),
        ]);
        long.args((command == "transfer").then_some("--prompt=a [panda]")).args(["--model", &model()]);
        long.args(["-W", "48", "-H", "32", "--steps", "2", "--threads", "1", "--frames", "21"]);
        run(&mut long).fails(2, &["it has 16 frames", "but 21 frames were asked for; lower --frames to 13"]);
    }
}

#[test]
fn a_transfer_is_guided_by_cross_attention_and_done_again_to_the_same_bytes() {
    let place = Place::new();
    run(&mut transfer(&place, "out")).ok();
    let record = read_toml(&place.path("out/run.toml"));
    let settings = &record["settings"];
    assert_eq!(settings["sampler"].as_str(), Some("euler"));
    assert_eq!(
        (settings["guidance_scale"].as_float(), settings["lambda_self"].as_float()),
        (Some(5.0), Some(0.0))
    );
    assert_eq!(record["video"]["frames"].as_integer(), Some(9));
    let steps = read_json(&place.path("out/run.json"))["steps"].clone();
    let timesteps: Vec<f64> =
        steps.as_array().unwrap().iter().filter_map(|step| step["timestep"].as_f64()).collect();
    assert!(
        timesteps.contains(&1000.0) && timesteps.iter().any(|timestep| timestep.fract() > 0.0),
        "{timesteps:?}"
    );
    let again =
        ["transfer", "--config", &place.text("out/run.toml"), "-o", &place.text("again"), "--no-cache"];
    motionflow(&again).ok();
    same_results(&place.path("out"), &place.path("again"));
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    for flags in [&["--mask-source", "inversion"], &["--mask-source", "noised"]] {
        let place = Place::new();
        run(transfer(&place, "unbroken").args(flags)).ok();
        let first =
            if flags[1] == "inversion" { "inversion-0002.safetensors" } else { "sampling-0001.safetensors" };
        for kept in [first, "sampling-0003.safetensors"] {
            kill_at(transfer(&place, kept).args(flags), &place.path(kept), kept);
            motionflow(&["transfer", "--resume", &place.text(kept)]).ok();
            same_results(&place.path("unbroken"), &place.path(kept));
        }
    }
}

#[test]
fn every_command_runs_it() {
    let place = Place::new();
    let source =
        ["--source", &car(), "--source-prompt", "a [car] on a road", "--model", &model()].map(str::to_owned);
    let source: Vec<&str> = source.iter().map(String::as_str).chain(SIZE).collect();
    let run_of = |command: &str, flags: &[&str], output: &str| {
        run(program().arg(command).args(flags).args(["-o", &place.text(output)])).ok()
    };
    run_of("invert", &[&source[..], &["--steps", "3"]].concat(), "inverted");
    run_of("inspect", &[&source[..], &["--steps", "3"]].concat(), "inspected");
    let inverted =
        ["--inversion", &place.text("inverted"), "-p", "a [panda]", "--guided-steps", "1", "--model"];
    run_of("transfer", &[&inverted[..], &[&model()]].concat(), "transferred");
    let losses = [
        "-p",
        "a [panda]",
        "--steps",
        "2",
        "--guided-steps",
        "1",
        "--lambda-self",
        "1",
        "--lambda-temporal",
        "1",
    ];
    run_of("transfer", &[&source[..], &losses].concat(), "all-losses");
    let update = read_json(&place.path("all-losses/run.json"))["steps"].clone();
    let update = update.as_array().unwrap().iter().find(|step| step["stage"] == "update").unwrap().clone();
    assert!(update["loss"]["self"].is_number() && update["loss"]["temporal"].is_number(), "{update}");
    let half =
        ["-p", "a [panda]", "--steps", "2", "--guided-steps", "1", "--precision", "bf16", "--memory", "low"];
    run_of("transfer", &[&source[..], &half].concat(), "half");
    let unipc = ["-p", "a panda", "--model", &model(), "--sampler", "unipc", "--steps", "3"];
    run_of("generate", &[&unipc[..], &SIZE].concat(), "unipc");
    run_of(
        "bench",
        &["--model", &model(), "-W", "16", "-H", "16", "--frames", "5", "--steps", "2"],
        "bench.json",
    );
    let plan = [&["transfer", "--dry-run", "-p", "a [panda]"], &source[..]].concat();
    let plan = motionflow(&plan).ok().stdout;
    assert!(plan.contains("sampler = \"euler\"") && plan.contains("<end>"), "{plan}");
}

#[test]
fn blocks_are_chosen_and_other_blocks_are_another_inversion() {
    let place = Place::new();
    let told = |output: &str, blocks: &[&str]| {
        let mut command = transfer(&place, output);
        command.args(["--mask-source", "inversion"]);
        command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
        run(command.args(blocks)).ok().stderr
    };
    let is_found = |told: String| told.contains("invert: taken from the cache");
    assert!(!is_found(told("one", &[])));
    assert!(is_found(told("two", &["--guidance-layers", "blocks.1"])), "the middle third of three");
    assert!(!is_found(told("three", &["--guidance-layers", "blocks.0-2"])));
    assert!(is_found(told("four", &["--guidance-layers", "blocks.2,blocks.0-1"])));
    let saved = ["--inversion", &place.text("inverted")];
    let source = ["--source", &car(), "--source-prompt", "a [car] on a road", "--steps", "3", "-o", saved[1]];
    run(program().arg("invert").args(source).args(["--model", &model()]).args(SIZE)).ok();
    let other =
        ["-p", "a [panda]", "--guidance-layers", "blocks.2", "-o", &place.text("five"), "--model", &model()];
    run(program().arg("transfer").args(saved).args(other)).fails(2, &["attention maps are of other layers"]);
}

/// Every message about what such a model does not take that has a row of its own.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let size = ["-W", "48", "-H", "32"];
    vec![
        generate(place, &[&size[..], &["--frames", "6"]].concat()).fails(2, &["6 frames", "--frames 5 or 9"]),
        generate(place, &[&size[..], &["--frames", "9", "--context-frames", "5"]].concat())
            .fails(2, &["--context-frames", "leave it out"]),
        generate(place, &[&size[..], &["--frames", "5", "--deepcache-interval", "2"]].concat())
            .fails(1, &["--deepcache-interval", "no deep features"]),
    ]
}

#[test]
fn what_it_does_not_take_is_told() {
    let place = Place::new();
    provoked(&place);
    generate(&place, &["-W", "50", "-H", "32", "--frames", "5"]).fails(2, &["multiples of 16", "try 48x32"]);
    let size = ["-W", "48", "-H", "32", "--frames", "5"];
    let with = |flags: &[&str], parts: &[&str]| {
        generate(&place, &[&size[..], flags].concat()).fails(2, parts);
    };
    with(&["--sampler", "ddim"], &["--sampler is ddim", "euler"]);
    with(&["--karras-sigmas"], &["--karras-sigmas is on", "flow matching"]);
    run(transfer(&place, "out").args(["--sampler", "unipc"])).fails(2, &["--sampler is unipc", "euler"]);
    let blocks = run(transfer(&place, "out").args(["--guidance-layers", "blocks.7"]));
    blocks.fails(2, &["no guidance block \"blocks.7\"", "blocks.0 to blocks.2"]);
    assert!(!place.path("out").exists());
}

#[test]
fn configs_that_are_another_net_are_refused_by_name() {
    let with = |file: &str, key: &str, value: serde_json::Value, parts: &[&str]| {
        let place = Place::new();
        copy(Path::new(&model()), &place.path("model"));
        let path = place.path("model").join(file);
        let mut config = read_json(&path);
        config[key] = value;
        fs::write(&path, config.to_string()).unwrap();
        let flags = ["generate", "-p", "a panda", "--model", &place.text("model"), "-o", &place.text("out")];
        run(program().args(flags).args(["-W", "48", "-H", "32", "--frames", "5"])).fails(1, parts);
    };
    with(
        "transformer/config.json",
        "image_dim",
        1280.into(),
        &["transformer/config.json", "image_dim", "text-to-video"],
    );
    with("transformer/config.json", "text_dim", 13.into(), &["13 features of text", "gives 12"]);
    with("vae/config.json", "is_residual", true.into(), &["vae/config.json", "is_residual"]);
    with("text_encoder/config.json", "model_type", "t5".into(), &["text_encoder/config.json"]);
    with("scheduler/scheduler_config.json", "use_flow_sigmas", false.into(), &["use_flow_sigmas is false"]);
    with(
        "model_index.json",
        "_class_name",
        "WanImageToVideoPipeline".into(),
        &["WanImageToVideoPipeline", "WanPipeline"],
    );
}

#[test]
fn it_comes_from_the_hub() {
    let (place, id) = (Place::new(), "someone/wan");
    let hub = Hub::serving_folder(id, Path::new(&model()));
    run(&mut hub.program(&place, &["models", "fetch", id])).ok();
    let fetched: Vec<String> = hub.requests().into_iter().map(|request| request.path).collect();
    assert!(fetched.iter().any(|path| path.ends_with("tokenizer/tokenizer.json")), "{fetched:?}");
    let known = motionflow(&["models"]).ok().stdout;
    let line = known.lines().find(|line| line.starts_with("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")).unwrap();
    assert!(line.contains("Apache-2.0") && line.contains("832x480, 33 frames"), "{line}");
}
