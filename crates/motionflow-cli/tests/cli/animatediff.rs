//! AnimateDiff: Stable Diffusion with a motion adapter in a folder of its own, or all in one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::common::{
    Outcome, Place, SMALL, car, copy, motionflow, program, read_json, read_toml, run, same_results, text,
    tree,
};
use crate::hub_server::{Hub, MAIN};
use crate::resume::kill_at;

fn case(name: &str) -> PathBuf {
    tree().join("crates/motionflow/tests/cases").join(name)
}

fn base() -> String {
    text(&case("animatediff-tiny/model"))
}

fn adapter() -> String {
    text(&case("animatediff-tiny/motion_adapter"))
}

/// The flags of the pair.
fn pair() -> [String; 4] {
    ["--model".to_owned(), base(), "--motion-adapter".to_owned(), adapter()]
}

fn transfer(place: &Place, output: &str) -> Command {
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road"]);
    command.args(["--prompt", "a [panda] in the snow", "--output", &place.text(output)]);
    command.args(SMALL).args(["--guided-steps", "2"]);
    command
}

/// A short generation, which has to fail.
fn refused(arguments: &[&str], code: i32, parts: &[&str]) {
    let place = Place::new();
    let mut command = program();
    command.args(["generate", "-p", "a panda", "-o", &place.text("out")]).args(SMALL).args(arguments);
    run(&mut command).fails(code, parts);
    assert!(!place.path("out").exists());
}

#[test]
fn a_transfer_records_both_folders_and_is_done_again_to_the_same_bytes() {
    let place = Place::new();
    run(transfer(&place, "out").args(pair())).ok();
    let record = read_toml(&place.path("out/run.toml"));
    let model = &record["model"];
    assert_eq!(model["motion_adapter"].as_str(), Some(&adapter()[..]));
    assert_eq!(model["motion_adapter_path"].as_str(), Some(&adapter()[..]));
    assert_eq!(model["beta_schedule"].as_str(), Some("linear"));
    assert_eq!(record["settings"]["guidance_scale"].as_float(), Some(7.5));
    let again =
        ["transfer", "--config", &place.text("out/run.toml"), "-o", &place.text("again"), "--no-cache"];
    motionflow(&again).ok();
    same_results(&place.path("out"), &place.path("again"));
    let shown = motionflow(&["show", &place.text("out")]).ok();
    assert!(shown.stdout.contains(&format!("with {}, linear β", adapter())), "{}", shown.stdout);
    let video = read_toml_inside(&place.path("out/result.mp4"));
    assert!(video.contains("motion_adapter = \"motion_adapter\"") && !video.contains("motion_adapter_path"));
}

/// The record that a video carries.
fn read_toml_inside(video: &Path) -> String {
    motionflow(&["show", "--toml", &text(video)]).ok().stdout
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes_with_its_own_adapter_alone() {
    let place = Place::new();
    copy(&case("animatediff-tiny"), &place.path("pair"));
    let begin = |output: &str| {
        let mut command = transfer(&place, output);
        command.args([
            "--model",
            &place.text("pair/model"),
            "--motion-adapter",
            &place.text("pair/motion_adapter"),
            "--mask-source",
            "inversion",
        ]);
        command
    };
    run(&mut begin("unbroken")).ok();
    for kept in ["inversion-0002.safetensors", "sampling-0002.safetensors"] {
        kill_at(&mut begin(kept), &place.path(kept), kept);
    }
    let resume = |folder: &str| motionflow(&["transfer", "--resume", &place.text(folder)]);
    resume("inversion-0002.safetensors").ok();
    same_results(&place.path("unbroken"), &place.path("inversion-0002.safetensors"));
    let weights = place.path("pair/motion_adapter/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    resume("sampling-0002.safetensors").fails(2, &["checkpoint"]);
}

#[test]
fn all_in_one_folder_needs_no_adapter_and_has_its_own_schedule() {
    let place = Place::new();
    let model = text(&case("animatediff-tiny-merged/model"));
    let outcome = run(transfer(&place, "out").args(["--model", &model])).ok();
    assert!(outcome.stderr.contains("made for videos of 16 frames"), "{}", outcome.stderr);
    let record = read_toml(&place.path("out/run.toml"));
    assert!(
        record["model"].get("motion_adapter").is_none() && record["model"].get("beta_schedule").is_none()
    );
}

#[test]
fn another_adapter_is_another_inversion_and_the_same_one_is_found_again() {
    let place = Place::new();
    let is_found = |output: &str, adapter: &str| {
        let mut command = transfer(&place, output);
        command.args(["--model", &base(), "--motion-adapter", adapter, "--mask-source", "inversion"]);
        command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
        run(&mut command).ok().stderr.contains("invert: taken from the cache")
    };
    assert!(!is_found("one", &adapter()));
    let moved = place.path("moved");
    copy(Path::new(&adapter()), &moved);
    assert!(is_found("two", &text(&moved)));
    let file = moved.join("diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(!is_found("three", &text(&moved)));
}

#[test]
fn every_command_takes_the_pair() {
    let place = Place::new();
    let source = ["--source", &car(), "--source-prompt", "a [car] on a road"].map(str::to_owned);
    let run_of = |command: &str, others: &[&str], output: &str| {
        let mut program = program();
        program.arg(command).args(others).args(pair()).args(["-o", &place.text(output)]);
        run(&mut program).ok()
    };
    let source: Vec<&str> = source.iter().map(String::as_str).chain(SMALL).collect();
    run_of("invert", &source, "inverted");
    run_of("inspect", &source, "inspected");
    let blocks = fs::read_to_string(place.path("inspected/inspect.json")).unwrap();
    assert!(blocks.contains("up_blocks.1"), "{blocks}");
    let guided = ["--inversion", &place.text("inverted"), "-p", "a [panda]", "--guided-steps", "1"];
    run_of("transfer", &guided, "transferred");
    let fast = ["--sampler", "dpmpp-2m", "--deepcache-interval", "2", "--mask-source", "noised"];
    let low = ["-p", "a [panda]", "--guided-steps", "1", "--memory", "low", "--precision", "bf16"];
    run_of("transfer", &[&source[..], &fast, &low].concat(), "fast");
    run_of("generate", &[&["-p", "a panda"][..], &SMALL].concat(), "generated");
    // More frames than the positional embedding has, in windows.
    let long =
        ["-p", "a panda", "-W", "16", "-H", "16", "--frames", "40", "--context-frames", "16", "--steps", "2"];
    run_of("generate", &long, "long");
    run_of("bench", &["-W", "16", "-H", "16", "--frames", "2", "--steps", "2"], "bench.json");
    let plan = motionflow(
        &[&["transfer", "--dry-run", "-p", "a [panda]"][..], &source, &pair().each_ref().map(String::as_str)]
            .concat(),
    );
    assert!(plan.ok().stdout.contains(&format!("{} with {}", base(), adapter())));
}

#[test]
fn a_batch_finds_an_adapter_beside_its_file() {
    let place = Place::new();
    copy(Path::new(&adapter()), &place.path("adapter"));
    copy(Path::new(&base()), &place.path("sd"));
    let jobs = format!(
        "[defaults]\nmodel = {{ name = \"sd\", motion_adapter = \"adapter\" }}\nsource.path = {:?}\n\
         prompts.source_prompt = \"a [car] on a road\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = 2, guided_steps = 1 }}\n[[job]]\nname = \"panda\"\nprompts.prompt = \"a [panda]\"\n",
        car()
    );
    fs::write(place.path("jobs.toml"), jobs).unwrap();
    motionflow(&["batch", &place.text("jobs.toml"), "-o", &place.text("out")]).ok();
}

/// A short generation with these flags.
fn generate(place: &Place, arguments: &[&str]) -> Outcome {
    let mut command = program();
    command.args(["generate", "-p", "a panda", "-o", &place.text("out"), "-W", "24", "-H", "16"]);
    run(command.args(["--steps", "2"]).args(arguments))
}

/// Every message about a checkpoint and its adapter that has a row of its own.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let (base, adapter, merged) = (base(), adapter(), text(&case("animatediff-tiny-merged/model")));
    let pair = ["--model", &base, "--motion-adapter", &adapter];
    let hub = Hub::serving("someone/tiny-video");
    let from_hub = ["generate", "-p", "a panda", "--model", &base, "--motion-adapter", "someone/tiny-video"];
    vec![
        generate(place, &["--model", &base]).fails(2, &["makes videos with a motion adapter alone"]),
        generate(place, &["--model", &adapter]).fails(2, &["is a motion adapter; give it to"]),
        generate(place, &["--model", &merged, "--motion-adapter", &adapter])
            .fails(2, &["without a motion adapter"]),
        generate(place, &["--motion-adapter", &adapter])
            .fails(2, &["models/demo", "without a motion adapter"]),
        generate(place, &[&pair[..], &["--motion-adapter-revision", "v2"]].concat())
            .fails(2, &["--motion-adapter-revision v2: only a motion adapter from the hub"]),
        generate(place, &["--model", &base, "--motion-adapter", "no-such"])
            .fails(2, &["no motion adapter \"no-such\"", "folder of a motion adapter"]),
        generate(place, &["--model", &base, "--motion-adapter", "./no/such"])
            .fails(2, &["./no/such: there is no"]),
        generate(place, &["--model", &base, "--motion-adapter", &base])
            .fails(1, &["not a whole motion adapter"]),
        generate(place, &[&pair[..], &["--frames", "33"]].concat())
            .fails(2, &["at 32 frames together, and these are 33", "--context-frames 32"]),
        run(hub.program(place, &from_hub).args(["-o", &place.text("out")]))
            .fails(2, &["someone/tiny-video is not a motion adapter", "config.json"]),
    ]
}

#[test]
fn what_does_not_belong_together_is_one_message() {
    let place = Place::new();
    provoked(&place);
    assert!(!place.path("out").exists());
}

/// The pair with one key of the adapter's or of the net's config changed.
fn with_changed(file: &str, key: &str, value: serde_json::Value, code: i32, parts: &[&str]) {
    let place = Place::new();
    copy(&case("animatediff-tiny"), &place.path("pair"));
    let config = place.path("pair").join(file);
    let mut changed = read_json(&config);
    changed[key] = value;
    fs::write(&config, changed.to_string()).unwrap();
    refused(
        &["--model", &place.text("pair/model"), "--motion-adapter", &place.text("pair/motion_adapter")],
        code,
        parts,
    );
}

#[test]
fn a_wrong_pair_says_what_was_expected_and_what_was_found() {
    let adapter = |key, value, parts: &[&str]| {
        with_changed("motion_adapter/config.json", key, value, 1, parts);
    };
    adapter("block_out_channels", json!([8, 24]), &["block_out_channels [8, 24]", "has [8, 16]"]);
    adapter("block_out_channels", json!([8, 16, 16]), &["block_out_channels [8, 16, 16]", "has [8, 16]"]);
    adapter("motion_layers_per_block", json!(2), &["2 layers per block", "has 1"]);
    adapter(
        "conv_in_channels",
        json!(9),
        &["the motion adapter's config.json", "conv_in_channels is 9", "runs null"],
    );
    adapter(
        "_class_name",
        json!("ControlNetModel"),
        &["_class_name is ControlNetModel", "runs MotionAdapter"],
    );
    adapter(
        "motion_max_seq_length",
        json!(24),
        &["pos_embed.pe: expected shape [1, 24, 8], found [1, 32, 8]"],
    );
    adapter("use_motion_mid_block", json!(false), &["mid_block.motion_modules"]);
    let unet = |key, value, parts: &[&str]| with_changed("model/unet/config.json", key, value, 1, parts);
    unet(
        "addition_embed_type",
        json!("text_time"),
        &["unet/config.json", "addition_embed_type", "runs null"],
    );
    unet("_class_name", json!("UNet3DConditionModel"), &["_class_name", "runs UNet2DConditionModel"]);
    let index =
        |value, parts: &[&str]| with_changed("model/model_index.json", "_class_name", value, 1, parts);
    index(json!("StableDiffusionXLPipeline"), &["StableDiffusionXLPipeline", "or StableDiffusionPipeline"]);
}

#[test]
fn an_adapters_files_are_not_trusted() {
    let break_file = |name: &str, bytes: &[u8], parts: &[&str]| {
        let place = Place::new();
        copy(Path::new(&adapter()), &place.path("adapter"));
        fs::write(place.path("adapter").join(name), bytes).unwrap();
        refused(&["--model", &base(), "--motion-adapter", &place.text("adapter")], 1, parts);
    };
    break_file("config.json", b"{", &["adapter/config.json:1:"]);
    break_file("config.json", b"[]", &["adapter/config.json:"]);
    let weights = "diffusion_pytorch_model.safetensors";
    break_file(weights, b"", &[weights, "an empty file"]);
    break_file(weights, b"version https://git-lfs.github.com/spec/v1", &[weights, "git-lfs pointer"]);
    break_file(weights, &[0xff; 64], &[weights, "something that begins with"]);
    // A tensor that the net has, too, would take its place.
    let header = br#"{"conv_in.bias":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}}"#;
    let doubled = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 32]].concat();
    break_file(weights, &doubled, &["tensor `conv_in.bias`", "one copy", "unet/"]);
}

#[test]
fn an_adapter_comes_from_the_hub() {
    let (place, id) = (Place::new(), "someone/motion-adapter");
    let hub = Hub::serving_folder(id, Path::new(&adapter()));
    let fetched = run(&mut hub.program(&place, &["models", "fetch", id])).ok();
    assert!(fetched.stdout.contains(id), "{}", fetched.stdout);
    let listed = run(&mut hub.program(&place, &["models"])).ok();
    let line = listed.stdout.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line.contains("a motion adapter"), "{line}");
    hub.requests();
    let mut command = hub.program(&place, &["generate", "-p", "a panda", "-o", &place.text("out")]);
    run(command.args(["--model", &base(), "--motion-adapter", id]).args(SMALL)).ok();
    assert!(hub.requests().is_empty());
    let record = read_toml(&place.path("out/run.toml"));
    assert_eq!(record["model"]["motion_adapter_revision"].as_str(), Some(MAIN));
    let mut command =
        hub.program(&place, &["generate", "-p", "a panda", "--model", id, "-o", &place.text("o")]);
    run(command.args(SMALL)).fails(2, &["is a motion adapter; give it to --motion-adapter"]);
    let mut command = hub.program(&Place::new(), &["generate", "-p", "a panda", "--model", id, "-o", "o"]);
    run(command.args(SMALL)).fails(2, &[id, "is not a text-to-video checkpoint", "model_index.json"]);
}
