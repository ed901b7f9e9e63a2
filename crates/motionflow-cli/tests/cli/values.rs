//! Values that are no numbers, that are out of their range, or that promise nothing: told rather than turned into a video.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{
    Outcome, Place, SMALL, car, copy, ffmpeg, motionflow, program, read_json, read_video, run, text,
};
use crate::common::{tiny_model, tree};

/// The weights of a net of a checkpoint.
pub(crate) const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub(crate) const TEXT_ENCODER: &str = "text_encoder/model.safetensors";

/// Changes every number of the tensors whose names begin so; there must be one.
pub(crate) fn change_weights(file: &Path, prefix: &str, change: impl Fn(f32) -> f32) {
    let mut bytes = fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut changed = 0;
    for (_, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| name.starts_with(prefix)) {
        let offset = |index: usize| tensor["data_offsets"][index].as_u64().unwrap() as usize + 8 + length;
        let bytes = &mut bytes[offset(0)..offset(1)];
        changed += bytes.len();
        match tensor["dtype"].as_str().unwrap() {
            "F32" => bytes.chunks_exact_mut(4).for_each(|value| {
                let float = f32::from_le_bytes((&*value).try_into().unwrap());
                value.copy_from_slice(&change(float).to_le_bytes());
            }),
            "F16" => {
                assert!(change(1.0).is_nan(), "of these, nothing but NaN is written");
                bytes.chunks_exact_mut(2).for_each(|value| value.copy_from_slice(&0x7e00_u16.to_le_bytes()));
            }
            other => panic!("{other}"),
        }
    }
    assert!(changed > 0, "no tensor {prefix}");
    fs::write(file, bytes).unwrap();
}

/// A copy of the tiny checkpoint in which some weights are changed.
fn model_with(place: &Place, file: &str, prefix: &str, change: impl Fn(f32) -> f32) -> String {
    let model = place.copied_model();
    change_weights(&model.join(file), prefix, change);
    text(&model)
}

/// A transfer with these flags besides.
fn transfer(place: &Place, source: &str, model: &str, flags: &[&str]) -> Outcome {
    let mut command = program();
    command.args(["transfer", "--source", source, "--source-prompt", "a [car]", "-p", "a [panda]"]);
    command.args(["-o", &place.text("out"), "--model", model, "--guided-steps", "1"]).args(SMALL);
    run(command.args(flags))
}

fn generate(place: &Place, model: &str, flags: &[&str]) -> Outcome {
    let mut command = program();
    command.args(["generate", "-p", "a panda", "-o", &place.text("out"), "--force", "--model", model]);
    command.args(["-W", "16", "-H", "16", "--frames", "2", "--steps", "2", "--threads", "1"]);
    run(command.args(flags))
}

fn warnings(folder: &Path) -> Vec<String> {
    let run = read_json(&folder.join("run.json"));
    run["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_vae_that_overflows_float16_computes_in_a_wider_type() {
    const DECODING: &str = "decoding in f16 gave values that are not finite, so it was done again in bf16";
    const ENCODING: &str = "encoding in f16 gave values that are not finite, so it was done again in bf16";
    let place = Place::new();
    let model = model_with(&place, VAE, "decoder.conv_in", |value| value * 1e6);
    let outcome = generate(&place, &model, &["--precision", "f16"]).ok();
    assert!(outcome.stderr.contains(DECODING), "{}", outcome.stderr);
    assert_eq!(warnings(&place.path("out")), [DECODING]);
    let frames = read_video(&place.path("out/result.mp4"), 2).frames;
    let (least, most) = frames
        .iter()
        .flat_map(|frame| frame.iter())
        .fold((255, 0), |(least, most), &value| (value.min(least), value.max(most)));
    assert!(most > least + 20, "a picture, and not one colour: {least} to {most}");
    let exact = generate(&place, &model, &[]).ok();
    assert!(!exact.stderr.contains("not finite"), "{}", exact.stderr);

    // The same on the way in; a cached or given inversion needs no second look.
    change_weights(&Path::new(&model).join(VAE), "encoder.conv_in", |value| value * 1e6);
    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car] on a road"]).args(SMALL);
    invert.args(["--model", &model, "--precision", "f16", "-o", &place.text("inverted")]);
    let outcome = run(&mut invert).ok();
    assert!(outcome.stderr.contains(ENCODING) && !outcome.stderr.contains(DECODING), "{}", outcome.stderr);
    assert!(warnings(&place.path("inverted")).contains(&ENCODING.to_owned()));
    let steps = read_json(&place.path("inverted/run.json"))["steps"].clone();
    assert_eq!(
        (&steps[0]["encoded_in"], &steps[1]["encoded_in"]),
        (&"bf16".into(), &serde_json::Value::Null)
    );
}

#[test]
fn no_stage_makes_a_picture_of_values_that_are_not_finite() {
    let nan = |_: f32| f32::NAN;
    for (file, prefix, flags, parts) in [
        (VAE, "decoder.conv_out.weight", &[][..], &["decoding gave", "get it anew"][..]),
        (
            VAE,
            "decoder.mid_block.resnets.0.conv1.bias",
            &["--precision", "bf16"],
            &["decoding gave", "float32"],
        ),
        (TEXT_ENCODER, "", &["--precision", "f32"], &["the text encoder gave", "get it anew"]),
    ] {
        let place = Place::new();
        let model = model_with(&place, file, prefix, nan);
        let outcome = generate(&place, &model, flags).fails(1, parts);
        assert!(!outcome.stderr.contains("--step"), "generate has no such flag: {}", outcome.stderr);
        assert_eq!(place.names("."), ["model"]);
    }
    let place = Place::new();
    let model = model_with(&place, VAE, "encoder.conv_out.bias", nan);
    transfer(&place, &car(), &model, &[]).fails(1, &["encoding gave", "the checkpoint is broken"]);
    let model = model_with(&place, VAE, "decoder.conv_norm_out", nan);
    transfer(&place, &car(), &model, &[]).fails(1, &["decoding gave", "--guidance-scale"]);
    let model = model_with(&place, UNET, "conv_in.bias", nan);
    transfer(&place, &car(), &model, &["--mask-source", "noised"])
        .fails(1, &["masks step 1 of 1 (timestep 201)", "not finite", "the source frames are broken"]);
    // One that is too strong for sampling without guidance is to be lowered by a flag that there is.
    let outcome = generate(&place, &tiny_model(), &["--guidance-scale", "1e300"])
        .fails(1, &["sampling step 1 of 2", "lower --guidance-scale"]);
    assert!(!outcome.stderr.contains("--step-"), "{}", outcome.stderr);
}

#[test]
fn figures_are_not_made_of_values_that_are_not_finite() {
    let place = Place::new();
    let eval = |flags: &[&str]| {
        let mut command = program();
        command.args(["eval", "--source", &car(), "--result", &car(), "-p", "a [car] on a road"]);
        run(command.args(["--threads", "1"]).args(flags))
    };
    let clip = place.path("clip");
    copy(&tree().join("crates/motionflow/tests/clip-cases/clip-tiny/model"), &clip);
    change_weights(&clip.join("model.safetensors"), "visual_projection", |_| f32::NAN);
    eval(&["--clip", &text(&clip)]).fails(1, &["the CLIP model", "not finite", "--clip"]);

    let detector = place.path("detector");
    copy(&tree().join("models/demo-detector"), &detector);
    let truth = text(&tree().join("assets/clips/car-arc.npz"));
    let flags = ["--clip", "none", "--truth", &truth, "--detector", &text(&detector)];
    change_weights(&detector.join("model.safetensors"), "head", |_| f32::NAN);
    eval(&flags).fails(1, &["the detector detector gave values that are not finite", "--detector"]);
}

/// A film of so many frames of 32x32 that ffmpeg's `lavfi` draws.
fn film(place: &Place, name: &str, frames: u32, drawn: &str) -> String {
    let path = place.text(name);
    let mut command = Command::new(ffmpeg().program());
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", drawn, "-frames:v", &frames.to_string()]);
    assert!(command.args(["-pix_fmt", "yuv420p", &path]).status().unwrap().success());
    path
}

#[test]
fn a_source_that_has_no_motion_is_told() {
    const FLAT: &str = "each of one colour";
    const STILL: &str = "all alike";
    let place = Place::new();
    for (drawn, told) in [
        ("color=black:s=32x32:r=8", Some(FLAT)),
        ("color=black:s=32x32:r=8,noise=alls=3:allf=t", Some(FLAT)),
        ("color=0x8090a0:s=32x32:r=8", Some(FLAT)),
        ("color=gray:s=32x32:r=8,fade=in:0:8", Some(FLAT)),
        ("smptebars=s=32x32:r=8", Some(STILL)),
        ("testsrc2=s=32x32:r=8,trim=end_frame=1,loop=-1:1", Some(STILL)),
        ("testsrc2=s=32x32:r=8", None),
    ] {
        let source = film(&place, "s.mp4", 4, drawn);
        let outcome = transfer(&place, &source, &tiny_model(), &["--dry-run"]).ok();
        for what in [FLAT, STILL] {
            assert_eq!(outcome.stderr.contains(what), told == Some(what), "{drawn}: {}", outcome.stderr);
        }
    }
}

#[test]
fn frames_that_the_checkpoint_is_not_made_for_are_told() {
    let place = Place::new();
    let source = film(&place, "s.mp4", 12, "testsrc2=s=32x32:r=8");
    let model = place.copied_model();
    let with = |frames: &str, flags: &[&str]| {
        let mut command = program();
        command.args(["transfer", "--source", &source, "--source-prompt", "a [car]", "-p", "a [panda]"]);
        command.args(["-W", "16", "-H", "16", "--steps", "2", "--frames", frames, "--dry-run"]);
        run(command.args(flags).arg("--model").arg(&model)).ok().stderr
    };
    let frames = |frames: &str| with(frames, &[]);
    assert!(!frames("12").contains("is made for"), "nothing is known of this one");
    fs::write(model.join("motionflow.toml"), "[video]\nframes = 8\n").unwrap();
    for (count, told) in
        [("12", "one of 12 may fall apart"), ("9", "one of 9 may fall"), ("3", "one of 3 may lack")]
    {
        let stderr = frames(count);
        assert!(stderr.contains(told) && stderr.contains("--frames 8"), "{stderr}");
    }
    for count in ["8", "4", "6"] {
        assert!(!frames(count).contains("is made for"));
    }
    assert!(frames("12").contains("give --context-frames 8, or --frames 8"));
    assert!(!with("12", &["--context-frames", "8"]).contains("is made for"));
    for (count, told) in [("10", "windows of 10 may fall apart"), ("3", "windows of 3 may lack")] {
        let stderr = with("12", &["--context-frames", count, "--context-overlap", "1"]);
        assert!(stderr.contains(told) && stderr.contains("give --context-frames 8"), "{stderr}");
    }
    let outcome = generate(&place, &text(&model), &[]).ok();
    assert!(outcome.stderr.contains("one of 2 may lack detail and motion"), "{}", outcome.stderr);
    assert_eq!(warnings(&place.path("out")).len(), 1);
}

#[test]
fn values_of_many_transfers_are_held_against_their_ranges_first() {
    let place = Place::new();
    let (car, model) = (car(), tiny_model());
    let settings = format!(
        "source.path = {car:?}\nprompts.source_prompt = \"a [car]\"\nprompts.prompt = \"a [panda]\"\n\
         model.name = {model:?}\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = 3, guided_steps = 1 }}\n"
    );
    let file = place.text("transfer.toml");
    fs::write(&file, &settings).unwrap();
    for (sets, parts) in [
        (&["tau=0.2,5"][..], &["--set tau=5", "--tau is 5", "less than 1"][..]),
        (&["tau=nan"], &["--tau is NaN"]),
        (&["steps=2,0"], &["--steps is 0", "1 to"]),
        (&["steps=2000"], &["--steps is 2000", "1 to"]),
        (&["guided_steps=1,4"], &["--guided-steps is 4", "at most the 3 steps"]),
        (&["steps=3,1", "guided_steps=1,2"], &["--set steps=1 --set guided_steps=2"]),
        (&["guidance_scale=inf"], &["--guidance-scale is inf"]),
        (&["step_norm=-1"], &["--step-norm is -1"]),
        (&["karras_sigmas=true"], &["--karras-sigmas is on", "dpmpp-2m or unipc"]),
        (&["sampler=ddim,unipc", "steps=3,999"], &["--steps is 999", "fewer"]),
        (&["deepcache_interval=2,0"], &["--deepcache-interval is 0", "1 to 1000"]),
        (&["guidance_interval=5:1"], &["two noise levels LOW:HIGH"]),
        (&["fps=0"], &["--fps is 0"]),
        (&["width=24,25"], &["25x16", "try 26x16"]),
        (&["start=-1"], &["--start is -1"]),
        (&["every=0"], &["--every is 0"]),
        (&["threads=0"], &["--threads is 0"]),
        (&["guidance_layers=mid_block,nonsense"], &["no guidance block \"nonsense\""]),
        (
            &["step_size=1,2", "step_norm=0.1"],
            &["settings.step_size and settings.step_norm", "leave one out"],
        ),
        (&["source.inversion=a", "frames=3"], &["source.inversion and video.frames"]),
    ] {
        let mut command = program();
        command.args(["sweep", &file, "-o", &place.text("out")]);
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        run(&mut command).fails(2, parts);
        assert_eq!(place.names("."), ["transfer.toml"], "{sets:?}");
    }

    let jobs = place.text("jobs.toml");
    for (job, parts) in [
        ("settings.tau = 5", &["job \"late\": --tau is 5"][..]),
        ("settings.steps = 0", &["job \"late\": --steps is 0"]),
        ("video.height = 17", &["job \"late\"", "24x17"]),
        ("settings.step_size = 1\nsettings.step_norm = 0.1", &["cannot be set together"]),
    ] {
        let defaults = settings.replace('\n', "\ndefaults.").replace("source.path", "defaults.source.path");
        let defaults = defaults.trim_end_matches("defaults.");
        let text = format!("{defaults}[[job]]\nname = \"early\"\n[[job]]\nname = \"late\"\n{job}\n");
        fs::write(&jobs, text).unwrap();
        motionflow(&["batch", &jobs, "-o", &place.text("out")]).fails(2, parts);
        assert!(!place.path("out").exists(), "{job}");
    }

    let suite = place.text("suite.toml");
    let clip = format!(
        "[[clip]]\nname = \"a\"\nsource = {car:?}\nsource_prompt = \"a [car]\"\nprompts = [\"a [dog]\"]\n\
         [defaults]\nmodel.name = {model:?}\n[[variant]]\nname = \"good\"\n[[variant]]\nname = \"bad\"\n"
    );
    for (variant, parts) in [
        ("settings.lambda_cross = -1", &["variant \"bad\": --lambda-cross is -1"][..]),
        ("settings.updates_per_step = 0", &["variant \"bad\": --updates-per-step is 0"]),
        ("settings.step_norm = 1\nsettings.step_size = 1", &["cannot be set together"]),
    ] {
        fs::write(&suite, format!("{clip}{variant}\n")).unwrap();
        motionflow(&["eval", "--suite", &suite, "-o", &place.text("out"), "--clip", "none"]).fails(2, parts);
        assert!(!place.path("out").exists(), "{variant}");
    }
}

/// What the rows of docs/errors.md about these values say.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let tiny = tiny_model();
    let broken = |file: &str, prefix: &str, change: &dyn Fn(f32) -> f32, flags: &[&str]| {
        let place = Place::new();
        let model = model_with(&place, file, prefix, change);
        transfer(&place, &car(), &model, flags)
    };
    let nan = |_: f32| f32::NAN;
    let eval = |name: &str, file: &str, from: &str, flags: &[&str]| {
        let folder = place.path(name);
        copy(&tree().join(from), &folder);
        change_weights(&folder.join("model.safetensors"), file, nan);
        let mut command = program();
        command.args(["eval", "--source", &car(), "--result", &car(), "-p", "a [car]", "--threads", "1"]);
        run(command.args(flags).arg(folder))
    };
    let truth = text(&tree().join("assets/clips/car-arc.npz"));
    let files = |name: &str, content: &str| {
        fs::write(place.path(name), content).unwrap();
        place.text(name)
    };
    let sweep = |sets: &[&str]| {
        let file = files("sweep.toml", "prompts.prompt = \"a [dog]\"");
        let mut command = program();
        run(command.args(["sweep", &file]).args(sets.iter().flat_map(|set| ["--set", set])))
    };
    let jobs = files("late.toml", "[[job]]\nname = \"late\"\nsettings.tau = 5\n");
    let suite = files(
        "bad.toml",
        "[[clip]]\nname = \"a\"\nsource = \"a\"\nsource_prompt = \"a [car]\"\nprompts = [\"a [dog]\"]\n\
         [[variant]]\nname = \"bad\"\nsettings.tau = 5\n",
    );
    let model = place.copied_model();
    let made_for = |frames: u32| {
        fs::write(model.join("motionflow.toml"), format!("[video]\nframes = {frames}\n")).unwrap();
        generate(place, &text(&model), &[])
    };
    let in_windows = |frames: &str| {
        fs::write(model.join("motionflow.toml"), "[video]\nframes = 8\n").unwrap();
        let mut command = program();
        command.args(["generate", "-p", "a panda", "-o", &place.text("out"), "--force", "--frames", "12"]);
        command.args(["-W", "16", "-H", "16", "--steps", "1", "--threads", "1", "--model", &text(&model)]);
        run(command.args(["--context-overlap", "1", "--context-frames", frames]))
    };
    let film =
        |drawn: &str| transfer(place, &film(place, "s.mp4", 4, drawn), &tiny, &["--dry-run", "--force"]);
    vec![
        broken(VAE, "decoder.conv_out", &nan, &[]),
        broken(VAE, "encoder.conv_out", &nan, &[]),
        broken(TEXT_ENCODER, "", &nan, &[]),
        broken(UNET, "conv_in.bias", &nan, &["--mask-source", "noised"]),
        broken(UNET, "conv_in.bias", &nan, &["--mask-source", "noised", "--precision", "f16"]),
        broken(VAE, "decoder.conv_in", &|value| value * 1e6, &["--precision", "f16"]),
        transfer(place, &car(), &tiny, &["--guidance-scale", "1e300"]),
        transfer(place, &car(), &tiny, &["--guidance-scale", "1e300", "--precision", "f16"]),
        eval("clip", "visual", "crates/motionflow/tests/clip-cases/clip-tiny/model", &["--clip"]),
        eval(
            "detector",
            "head",
            "models/demo-detector",
            &["--clip", "none", "--truth", &truth, "--detector"],
        ),
        sweep(&["tau=5"]),
        sweep(&["step_size=1", "step_norm=1"]),
        motionflow(&["batch", &jobs, "-o", &place.text("late")]),
        motionflow(&["eval", "--suite", &suite, "-o", &place.text("late"), "--clip", "none"]),
        made_for(1),
        made_for(8),
        in_windows("10"),
        in_windows("3"),
        film("color=black:s=32x32:r=8"),
        film("smptebars=s=32x32:r=8"),
    ]
}
