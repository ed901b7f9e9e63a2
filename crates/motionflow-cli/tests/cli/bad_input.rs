//! What a user can do wrong, and what can be broken: one message, the right exit code, nothing half-written.

use std::fs;
use std::path::Path;

use crate::common::{Outcome, Place, car, motionflow, run, text, tiny_model, tree};

/// The run failed, and no trace of it is left.
#[track_caller]
fn left_nothing(place: &Place, before: &[&str]) {
    assert_eq!(place.names(""), before);
}

#[track_caller]
fn refused(flags: &[&str], code: i32, parts: &[&str]) {
    let place = Place::new();
    place.transfer(flags).fails(code, parts);
    left_nothing(&place, &[]);
}

/// A transfer whose prompts are these.
fn with_prompts(place: &Place, source_prompt: &str, prompt: &str) -> Outcome {
    let (car, output, model) = (car(), place.text("out"), tiny_model());
    let arguments = ["transfer", "--source", &car, "--source-prompt", source_prompt, "--prompt", prompt];
    motionflow(&[&arguments[..], &["-o", &output, "--model", &model]].concat())
}

fn with_source(place: &Place, source: &Path) -> Outcome {
    let (source, output, model) = (text(source), place.text("out"), tiny_model());
    let arguments = ["transfer", "--source", &source, "--source-prompt", "a [car]", "--prompt", "a [panda]"];
    let size = ["-W", "16", "-H", "16", "--frames", "3", "--steps", "2"];
    motionflow(&[&arguments[..], &size, &["-o", &output, "--model", &model]].concat())
}

fn with_model(place: &Place, model: &Path) -> Outcome {
    let mut command = place.transfer_command();
    // The last --model would contradict the first, so the whole line is written anew.
    let mut arguments: Vec<String> =
        command.get_args().map(|argument| argument.to_str().unwrap().into()).collect();
    let at = arguments.iter().position(|argument| argument == "--model").unwrap();
    arguments[at + 1] = text(model);
    command = crate::common::program();
    run(command.args(arguments))
}

#[test]
fn a_file_that_is_no_video() {
    let place = Place::new();
    fs::write(place.path("notes.mp4"), "this is a text").unwrap();
    with_source(&place, &place.path("notes.mp4")).fails(1, &["notes.mp4", "not a video", "give a video"]);
    fs::write(place.path("noise.mp4"), [7, 0, 255, 128].repeat(999)).unwrap();
    with_source(&place, &place.path("noise.mp4")).fails(1, &["noise.mp4", "not a video"]);
    left_nothing(&place, &["noise.mp4", "notes.mp4"]);
}

#[test]
fn a_source_that_is_not_there() {
    let place = Place::new();
    with_source(&place, &place.path("clip.mp4")).fails(2, &["clip.mp4", "no such file"]);
    left_nothing(&place, &[]);
}

#[test]
fn a_video_of_no_frames() {
    let place = Place::new();
    // The clip's beginning: the index says that there is a video, but no frame of it is in the file.
    let whole = fs::read(car()).unwrap();
    let media = whole.windows(4).position(|window| window == b"mdat").unwrap();
    fs::write(place.path("cut.mp4"), &whole[..media + 4]).unwrap();
    with_source(&place, &place.path("cut.mp4")).fails(1, &["cut.mp4", "no frames"]);
    fs::write(place.path("none.y4m"), "YUV4MPEG2 W32 H32 F8:1 Ip C420jpeg\n").unwrap();
    with_source(&place, &place.path("none.y4m")).fails(1, &["none.y4m", "no frames"]);
    fs::write(place.path("empty.mp4"), "").unwrap();
    with_source(&place, &place.path("empty.mp4")).fails(1, &["empty.mp4", "empty"]);
    fs::create_dir(place.path("folder")).unwrap();
    with_source(&place, &place.path("folder")).fails(1, &["folder", "no images"]);
    left_nothing(&place, &["cut.mp4", "empty.mp4", "folder", "none.y4m"]);
}

#[test]
fn a_video_of_too_few_frames() {
    let place = Place::new();
    let mut command = place.transfer_command();
    run(command.args(["--every", "8"]))
        .fails(2, &["it has 16 frames", "3 frames were asked for", "--every to 7"]);
    left_nothing(&place, &[]);
}

#[test]
fn brackets_that_make_no_sense() {
    let place = Place::new();
    let refused = |source, target, parts: &[&str]| with_prompts(&place, source, target).fails(2, parts);
    refused("a car", "a [panda]", &["the source prompt marks no subject", "a [car] on a road"]);
    refused("a [car]", "a panda", &["the prompt marks no subject", "a [car] on a road"]);
    refused("a [car", "a [panda]", &["--source-prompt", "never closed", "a [car\n"]);
    refused("a [car]", "a panda]", &["--prompt", "closes nothing"]);
    refused("a [red [car]]", "a [panda]", &["inside of other brackets"]);
    refused("a [ ]", "a [panda]", &["no word in these brackets"]);
    refused("a [dog] and a [car]", "a [panda]", &["marks 2 subjects and the prompt 1", "mark as many"]);
    left_nothing(&place, &[]);
}

#[test]
fn a_subject_beyond_the_token_limit() {
    let place = Place::new();
    let long = format!("{} and a [panda]", "a very long street ".repeat(25));
    with_prompts(&place, "a [car]", &long)
        .fails(2, &["\"panda\"", "limit of 77 tokens", "shorten the prompt"]);
    left_nothing(&place, &[]);
}

#[test]
fn settings_out_of_range() {
    refused(&["--step-size=-1"], 2, &["--step-size is -1", "0 or more"]);
    refused(&["--tau", "1"], 2, &["--tau is 1", "less than 1"]);
    refused(&["--cfg-scale", "NaN"], 2, &["--guidance-scale is NaN", "0 or more"]);
    refused(&["--fps", "0"], 2, &["--fps is 0", "over 0"]);
    refused(&["--start=-1"], 2, &["--start is -1", "0 or more"]);
    refused(&["--updates-per-step", "0"], 2, &["--updates-per-step is 0", "1 to 1000"]);
    refused(&["--updates-per-step", "18446744073709551615"], 2, &["--updates-per-step", "1 to 1000"]);
    let place = Place::new();
    let (car, model) = (car(), tiny_model());
    let invert = ["invert", "--source", &car, "--source-prompt", "a [car]", "--model", &model];
    motionflow(&[&invert[..], &["--steps", "0"]].concat()).fails(2, &["--steps is 0", "1 to 999"]);
    motionflow(&[&invert[..], &["--steps", "1001"]].concat()).fails(2, &["--steps is 1001", "1 to 999"]);
    left_nothing(&place, &[]);
}

#[test]
fn flags_that_do_not_exist_or_contradict_each_other() {
    refused(&["--cfgscale", "3"], 2, &["--cfgscale", "--cfg-scale"]);
    refused(&["--step-size", "1", "--step-norm", "1"], 2, &["--step-size", "--step-norm"]);
    refused(&["--fit", "squeeze"], 2, &["squeeze", "crop, pad, stretch"]);
    motionflow(&["transfer", "--prompt", "a [panda]"]).fails(2, &["no source", "--source"]);
    motionflow(&["transfer", "--prompt", "a [panda]", "--source", &car()]).fails(2, &["--source-prompt"]);
    motionflow(&["transfer", "--source", &car()]).fails(2, &["--prompt"]);
    motionflow(&["transform"]).fails(2, &["transform", "transfer"]);
}

#[test]
fn a_size_that_the_net_cannot_take() {
    let place = Place::new();
    let (car, output, model) = (car(), place.text("out"), tiny_model());
    let arguments = ["transfer", "--source", &car, "--source-prompt", "a [car]", "--prompt", "a [panda]"];
    let size = ["-W", "25", "-H", "16", "--frames", "3", "-o", &output, "--model", &model];
    motionflow(&[&arguments[..], &size].concat()).fails(2, &["25x16", "multiples of 2", "try 26x16"]);
    let arguments = ["generate", "--prompt", "a panda"];
    motionflow(&[&arguments[..], &size].concat()).fails(2, &["25x16", "multiples of 2", "try 26x16"]);
    left_nothing(&place, &[]);
}

#[test]
fn a_checkpoint_with_a_missing_file() {
    let place = Place::new();
    let model = place.copied_model();
    fs::remove_file(model.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    fs::remove_file(model.join("tokenizer/merges.txt")).unwrap();
    with_model(&place, &model).fails(1, &["missing", "unet/", "tokenizer/merges.txt"]);
    with_model(&place, &place.path("nowhere")).fails(2, &["nowhere", "no such folder"]);
    left_nothing(&place, &["model"]);
}

#[test]
fn a_checkpoint_with_truncated_weights() {
    let place = Place::new();
    let model = place.copied_model();
    let weights = model.join("unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() - 9]).unwrap();
    with_model(&place, &model).fails(1, &["unet/diffusion_pytorch_model.safetensors", "expected", "found"]);
    left_nothing(&place, &["model"]);
}

#[test]
fn a_checkpoint_whose_pickle_calls_something() {
    let place = Place::new();
    let model = place.copied_model();
    fs::remove_file(model.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    let hostile = tree().join("crates/motionflow/tests/data/checkpoint/calls_system.bin");
    fs::copy(hostile, model.join("unet/diffusion_pytorch_model.bin")).unwrap();
    let parts = ["unet/diffusion_pytorch_model.bin", "posix.system", "nothing was executed"];
    with_model(&place, &model).fails(1, &parts);
    left_nothing(&place, &["model"]);
}

#[test]
fn a_checkpoint_of_other_tensors() {
    let place = Place::new();
    let model = place.copied_model();
    fs::copy(
        model.join("vae/diffusion_pytorch_model.safetensors"),
        model.join("unet/diffusion_pytorch_model.safetensors"),
    )
    .unwrap();
    with_model(&place, &model).fails(1, &["the weights do not fit the config", "missing", "conv_in.weight"]);
    left_nothing(&place, &["model"]);
}

#[test]
fn numbers_that_are_none() {
    let place = Place::new();
    place
        .transfer(&["--step-size", "1e300"])
        .fails(1, &["guided update step 1 of 3", "timestep 667", "not finite", "--step-size"]);
    left_nothing(&place, &[]);

    let model = place.copied_model();
    let weights = model.join("unet/diffusion_pytorch_model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    with_model(&place, &model).fails(1, &["step 1 of 3", "not finite"]);
    left_nothing(&place, &["model"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let place = Place::new();
    fs::write(place.path("file"), "mine").unwrap();
    let mut arguments = vec!["generate", "--prompt", "a panda"];
    let (model, below, itself) = (tiny_model(), place.text("file/out"), place.text("file"));
    arguments.extend(["--model", &model]);
    let refused = |output: &str, code, parts: &[&str]| {
        motionflow(&[&arguments[..], &["-o", output]].concat()).fails(code, parts);
    };
    refused(&below, 1, &["file/out", "cannot be written", "--output"]);
    refused(&itself, 2, &["is a file", "--output"]);
    #[cfg(target_os = "linux")]
    refused("/proc/motionflow", 1, &["/proc/motionflow", "cannot be written", "--output"]);
    left_nothing(&place, &["file"]);
    assert_eq!(fs::read(place.path("file")).unwrap(), b"mine");
}

#[test]
fn an_output_folder_that_holds_another_run() {
    let place = Place::new();
    place.transfer(&[]).ok();
    let before = fs::read(place.path("out/run.json")).unwrap();
    fs::write(place.path("out/notes.txt"), "mine").unwrap();
    place.transfer(&[]).fails(2, &["holds another run", "--force"]);
    // A forced run that fails leaves the old one whole.
    place.transfer(&["--force", "--step-size", "1e300"]).fails(1, &["not finite"]);
    assert_eq!(fs::read(place.path("out/run.json")).unwrap(), before);
    place.transfer(&["--force", "--seed", "5"]).ok();
    assert_ne!(fs::read(place.path("out/run.json")).unwrap(), before);
    assert_eq!(fs::read(place.path("out/notes.txt")).unwrap(), b"mine");
    assert!(place.names("out").iter().all(|name| !name.starts_with('.')), "{:?}", place.names("out"));
}

#[test]
fn an_ffmpeg_that_does_not_run() {
    let place = Place::new();
    let mut command = place.transfer_command();
    run(command.env("MOTIONFLOW_FFMPEG", place.path("none")))
        .fails(1, &["ffmpeg", "none", "MOTIONFLOW_FFMPEG"]);
    left_nothing(&place, &[]);
}

#[test]
fn an_inversion_folder_that_is_none() {
    let place = Place::new();
    let (folder, model) = (place.text("inv"), tiny_model());
    let arguments = ["transfer", "--inversion", &folder, "--prompt", "a [panda]", "--model", &model];
    motionflow(&arguments).fails(2, &["inv", "inversion.toml", "motionflow invert"]);
}
