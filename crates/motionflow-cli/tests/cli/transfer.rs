//! `motionflow transfer`: what a run leaves.

use std::fs;

use crate::common::{Place, car, read_json, read_toml, read_video, tiny_model};

const FILES: [&str; 10] = [
    "compare.mp4",
    "contact-sheet.png",
    "loss.svg",
    "masks",
    "masks.mp4",
    "masks.npz",
    "result.gif",
    "result.mp4",
    "run.json",
    "run.toml",
];

#[test]
fn a_run_leaves_a_whole_folder() {
    let place = Place::new();
    let outcome = place.transfer(&["--seed", "7", "--updates-per-step", "2"]).ok();
    assert_eq!(place.names("out"), FILES);
    assert_eq!(place.names(""), ["out"]);
    for file in FILES {
        assert!(outcome.stdout.contains(file), "{}", outcome.stdout);
    }

    let result = read_video(&place.path("out/result.mp4"), 3);
    assert_eq!((result.frames[0].dimensions(), result.fps), ((24, 16), 8.0));
    assert_eq!(read_video(&place.path("out/result.gif"), 3).frames[0].dimensions(), (24, 16));
    let compare = read_video(&place.path("out/compare.mp4"), 3);
    assert!(compare.frames[0].width() > 2 * compare.frames[0].height());
    read_video(&place.path("out/masks.mp4"), 3);
    assert!(fs::read(place.path("out/contact-sheet.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(fs::read_to_string(place.path("out/loss.svg")).unwrap().contains("4 guided updates"));

    let record = read_toml(&place.path("out/run.toml"));
    let settings = record["settings"].as_table().unwrap();
    let names = "context_overlap deepcache_interval guidance_layers guidance_scale guided_steps init keep_statistics lambda_cross lambda_other \
                 lambda_outside lambda_self lambda_temporal loss_threshold mask_apart mask_layers mask_source mask_time \
                 noised_samples noised_timesteps preset sampler seed step_decay step_size steps subject_map tau token_weight \
                 updates updates_per_step";
    assert_eq!(settings.keys().cloned().collect::<Vec<_>>().join(" "), names);
    assert_eq!(settings["seed"].as_integer(), Some(7));
    assert_eq!(record["prompts"]["source_prompt"].as_str(), Some("a [car] on a road"));
    assert_eq!(record["source"]["path"].as_str(), Some(car().as_str()));
    assert_eq!(record["source"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(record["model"]["path"].as_str(), Some(tiny_model().as_str()));
    assert_eq!(record["model"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(record["video"]["frames"].as_integer(), Some(3));
    assert_eq!(record["program"]["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));

    let history = read_json(&place.path("out/run.json"));
    let count =
        |stage| history["steps"].as_array().unwrap().iter().filter(|step| step["stage"] == stage).count();
    assert_eq!(["inversion", "update", "sampling"].map(count), [3, 4, 3]);
    let update = history["steps"].as_array().unwrap().iter().find(|step| step["stage"] == "update").unwrap();
    for number in ["total", "cross", "self", "temporal"] {
        assert!(update["loss"][number].is_f64(), "{update}");
    }
    assert!(update["gradient_norm"].is_f64() && update["relative_move"].is_f64());
    assert_eq!(history["masks"][0]["subject"], "car");
    assert!(history["warnings"].is_array() && history["seconds"].is_f64());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let place = Place::new();
    let result = |flags: &[&str]| {
        let flags: Vec<&str> =
            ["--force", "--init", "noise", "--seed"].iter().chain(flags).copied().collect();
        place.transfer(&flags).ok();
        fs::read(place.path("out/result.mp4")).unwrap()
    };
    let first = result(&["1"]);
    assert_eq!(result(&["1"]), first);
    assert_ne!(result(&["2"]), first);
}

#[test]
fn updates_make_a_difference_and_can_be_left_out() {
    let place = Place::new();
    place.transfer(&["--step-norm", "0.1"]).ok();
    let guided = fs::read(place.path("out/result.mp4")).unwrap();
    place.transfer(&["--force", "--no-updates"]).ok();
    assert_ne!(fs::read(place.path("out/result.mp4")).unwrap(), guided);
    let history = read_json(&place.path("out/run.json"));
    assert!(history["steps"].as_array().unwrap().iter().all(|step| step["stage"] != "update"));
}

#[test]
fn two_subjects_go_in_order() {
    let place = Place::new();
    let source_prompt = "a [dog] and a [car] on a road";
    let clip = crate::common::text(&crate::common::tree().join("assets/clips/dog-and-car.mp4"));
    let mut command = crate::common::program();
    command.args(["transfer", "--source", &clip, "--source-prompt", source_prompt, "--model", &tiny_model()]);
    command.args(["--prompt", "a [penguin] and a [red ball] in the snow", "-o", &place.text("out")]);
    crate::common::run(command.args(crate::common::SMALL)).ok();
    let history = read_json(&place.path("out/run.json"));
    assert_eq!(
        (&history["masks"][0]["subject"], &history["masks"][1]["subject"]),
        (&"dog".into(), &"car".into())
    );
    assert_eq!(history["steps"][0]["mask_coverage"].as_array().unwrap().len(), 2);
}

#[test]
fn an_inversion_can_be_reused() {
    let place = Place::new();
    place.transfer(&["--cfg-scale", "4"]).ok();
    let (car, model, folder) = (car(), tiny_model(), place.text("inv"));
    let mut invert = crate::common::program();
    invert.args(["invert", "--source", &car, "--source-prompt", "a [car] on a road", "-o", &folder]);
    crate::common::run(invert.args(crate::common::SMALL).args(["--model", &model])).ok();
    assert_eq!(
        place.names("inv"),
        [
            "contact-sheet.png",
            "inversion.safetensors",
            "inversion.toml",
            "masks",
            "masks.mp4",
            "masks.npz",
            "run.json",
            "run.toml",
        ]
    );

    let reuse = |flags: &[&str]| {
        let mut command = crate::common::program();
        command.args([
            "transfer",
            "--inversion",
            &folder,
            "--prompt",
            "a [panda] in the snow",
            "--cfg-scale",
            "4",
        ]);
        command.args(["--guided-steps", "2", "--threads", "1", "-o", &place.text("again")]);
        crate::common::run(command.args(flags))
    };
    reuse(&["--model", &model]).ok();
    for file in ["result.mp4", "compare.mp4", "masks.mp4", "masks.npz", "contact-sheet.png", "loss.svg"] {
        let [direct, reused] = ["out", "again"].map(|run| fs::read(place.path(run).join(file)).unwrap());
        assert!(direct == reused, "{file} differs");
    }
    let record = read_toml(&place.path("again/run.toml"));
    assert_eq!(record["source"]["inversion"].as_str(), Some(folder.as_str()));

    // What is baked into the inversion cannot be asked for anew.
    reuse(&["--model", &model, "--force", "--steps", "4"]).fails(2, &["--steps", "--inversion"]);
    let other = place.copied_model();
    fs::write(
        other.join("vae/config.json"),
        fs::read_to_string(other.join("vae/config.json")).unwrap() + " ",
    )
    .unwrap();
    reuse(&["--model", other.to_str().unwrap(), "--force"])
        .fails(2, &["this inversion does not fit", "--model"]);
    let tensors = place.path("inv/inversion.safetensors");
    let bytes = fs::read(&tensors).unwrap();
    fs::write(&tensors, &bytes[..bytes.len() / 2]).unwrap();
    reuse(&["--model", &model, "--force"]).fails(1, &["inversion.safetensors", "damaged", "invert again"]);
}

#[test]
fn a_checkpoint_recommends_and_flags_decide() {
    let place = Place::new();
    let model = place.copied_model();
    let recommendation = "negative_prompt = \"blurry\"\n[video]\nwidth = 16\nheight = 24\nframes = 2\nfps = 4.0\n\
                          [settings]\nsteps = 4\nguided_steps = 2\ntau = 0.5";
    fs::write(model.join("motionflow.toml"), recommendation).unwrap();
    let (car, output) = (car(), place.text("out"));
    let mut command = crate::common::program();
    command.args(["transfer", "--source", &car, "--source-prompt", "a [car]", "--prompt", "a [panda]"]);
    command.args(["--output", &output, "--steps", "2", "--threads", "1", "--model", model.to_str().unwrap()]);
    crate::common::run(&mut command).ok();
    let record = read_toml(&place.path("out/run.toml"));
    let settings = &record["settings"];
    assert_eq!(settings["steps"].as_integer(), Some(2));
    assert_eq!(settings["guided_steps"].as_integer(), Some(1), "the recommended share");
    assert_eq!(settings["tau"].as_float(), Some(0.5));
    assert_eq!(settings["guidance_scale"].as_float(), Some(9.0));
    assert_eq!(record["prompts"]["negative_prompt"].as_str(), Some("blurry"));
    assert_eq!(read_video(&place.path("out/result.mp4"), 2).frames[0].dimensions(), (16, 24));

    fs::write(model.join("motionflow.toml"), "[settings]\nstep = 4").unwrap();
    crate::common::run(command.arg("--force"))
        .fails(2, &["motionflow.toml, line 2", "\"step\" is not known in [settings]", "\"steps\""]);
}

#[test]
fn what_looks_wrong_is_told_and_recorded() {
    let place = Place::new();
    // With τ = 0 every place belongs to the subject, and a step of 0 changes nothing.
    let flags = ["--tau", "0", "--step-size", "0", "--updates-per-step", "2"];
    let outcome = place.transfer(&flags).ok();
    let history = read_json(&place.path("out/run.json"));
    let warnings: Vec<&str> =
        history["warnings"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
    for words in ["covers 100 % of the frame", "loss does not fall"] {
        assert_eq!(outcome.stderr.matches(words).count(), 1, "{}", outcome.stderr);
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
    }
}
