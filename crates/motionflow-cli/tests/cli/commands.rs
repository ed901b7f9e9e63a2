//! `generate`, `inspect`, `verify`, and how the model is found.

use std::fs;

use crate::common::{
    Place, SMALL, car, motionflow, program, read_json, read_toml, read_video, run, text, tiny_model, tree,
};

#[test]
fn generate_makes_a_video_from_a_prompt_alone() {
    let place = Place::new();
    let (output, model) = (place.text("out"), tiny_model());
    let mut command = program();
    command.args(["generate", "-p", "a panda in the snow", "-n", "blurry", "-s", "3", "-o", &output]);
    // Without a policy for waiting threads, the program starts itself anew with one.
    command.env_remove("OMP_WAIT_POLICY");
    let outcome = run(command.args(SMALL).args(["--model", &model])).ok();
    assert_eq!(place.names("out"), ["contact-sheet.png", "result.gif", "result.mp4", "run.json", "run.toml"]);
    assert!(outcome.stdout.contains("result.mp4"));
    assert_eq!(read_video(&place.path("out/result.mp4"), 3).frames[0].dimensions(), (24, 16));
    let record = read_toml(&place.path("out/run.toml"));
    assert_eq!(record["prompts"]["negative_prompt"].as_str(), Some("blurry"));
    assert_eq!(record["settings"]["init"].as_str(), Some("noise"));
    assert!(record.get("source").is_none());
}

#[test]
fn inspect_shows_where_the_subject_is_seen() {
    let place = Place::new();
    let (output, model, car) = (place.text("look"), tiny_model(), car());
    let mut command = program();
    command.args(["inspect", "--source", &car, "--source-prompt", "a [car] on a road", "-o", &output]);
    let outcome = run(command.args(SMALL).args(["--model", &model])).ok();
    let names = place.names("look");
    for name in ["overview.png", "maps.safetensors", "inspect.json", "run.toml"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    let layers = names.iter().filter(|name| name.starts_with("attention-")).count();
    assert!(
        layers > 0 && names.iter().filter(|name| name.starts_with("masks-")).count() == layers,
        "{names:?}"
    );
    assert!(outcome.stdout.contains("\"car\": the mask covers"), "{}", outcome.stdout);
    let report = read_json(&place.path("look/inspect.json"));
    assert_eq!(report["steps"].as_array().unwrap().len(), 3 * layers);
    assert!(report["steps"][0]["coverage"].is_f64() && report["steps"][0]["overlap"].is_f64());
    let scores = report["scores"].as_array().unwrap();
    assert_eq!(scores.len(), 3 * layers);
    for of_map in scores {
        let part = |name: &str| of_map[name].as_f64().unwrap();
        let parts = ["agreement", "steadiness", "contrast"].map(part);
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{of_map}");
        assert!((part("score") - parts.iter().product::<f64>().cbrt()).abs() < 1e-12, "{of_map}");
    }
    assert_eq!(outcome.stdout.matches("step by step; score 0.").count(), layers, "{}", outcome.stdout);

    let tensors = tch::Tensor::read_safetensors(place.path("look/maps.safetensors")).unwrap();
    assert_eq!(tensors.len(), 3 * layers);
    assert!(
        tensors.iter().all(|(name, map)| name.starts_with("map/") && map.size()[0] == 3 && map.dim() == 3)
    );
}

#[test]
fn a_run_records_what_computed() {
    let place = Place::new();
    place.transfer(&["--device", "cpu"]).ok();
    let record = fs::read_to_string(place.path("out/run.toml")).unwrap();
    assert!(record.contains("device = \"cpu\""), "{record}");
    motionflow(&["transfer", "--device", "gpu"]).fails(2, &["--device", "auto, cpu, cuda"]);
}

#[test]
fn verify_passes_a_case_and_tells_what_is_off() {
    let case = tree().join("crates/motionflow/tests/cases/tiny");
    let outcome = motionflow(&["verify", &text(&case), "--threads", "1"]).ok();
    assert!(outcome.stdout.lines().count() > 10 && !outcome.stdout.contains("OFF"), "{}", outcome.stdout);

    let outcome = motionflow(&["verify", &text(&case), "--tolerance", "1e-12", "--threads", "1"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stdout.contains("OFF") && outcome.stderr.contains("off by more than 1e-12"),
        "{outcome:?}"
    );

    let place = Place::new();
    motionflow(&["verify", &place.text("none")]).fails(2, &["none", "case.json"]);
}

#[test]
fn a_model_is_found_by_name() {
    let place = Place::new();
    place.copied_model();
    let generate = |name: &str| {
        let mut command = program();
        command.env("MOTIONFLOW_MODELS", place.path(""));
        command.args(["generate", "-p", "a panda", "-o", &place.text("out"), "--force", "--model", name]);
        run(command.args(SMALL))
    };
    generate("model").ok();
    assert_eq!(read_toml(&place.path("out/run.toml"))["model"]["name"].as_str(), Some("model"));
    generate("modell").fails(2, &["\"modell\"", &place.text("modell"), "--model", "MOTIONFLOW_MODELS"]);
}

#[test]
fn help_says_what_to_do() {
    let help = motionflow(&["--help"]).ok().stdout;
    for words in ["transfer", "generate", "invert", "inspect", "verify", "Example"] {
        assert!(help.contains(words), "{help}");
    }
    let help = motionflow(&["transfer", "--help"]).ok().stdout;
    for words in ["--cfg-scale", "-n, --negative-prompt", "-W, --width", "[default: ", "0 or more", "[car]"] {
        assert!(help.contains(words), "{words}\n{help}");
    }
}

#[test]
fn the_repository_has_no_run_of_the_tests() {
    assert!(fs::metadata(tree().join("crates/motionflow-cli/out")).is_err());
}
