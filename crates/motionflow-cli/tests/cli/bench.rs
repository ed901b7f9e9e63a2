//! `bench`: times of the parts of a transfer, and how exact they are.

use serde_json::Value;

use crate::common::{Outcome, Place, motionflow, read_json, tiny_model};
use crate::machines::events;

const TINY: [&str; 10] = ["-W", "16", "-H", "8", "--frames", "2", "--device", "cpu", "--threads", "1"];

fn bench(flags: &[&str]) -> Outcome {
    motionflow(&[&["bench", "--model", &tiny_model()], &TINY[..], flags].concat())
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn every_phase_is_timed_and_they_add_up_to_a_transfer() {
    let place = Place::new();
    // Fewer steps than are timed.
    let output = place.text("bench.json");
    let steps = ["--steps", "4", "--guided-steps", "3", "--repeat", "3", "-o", &output];
    let outcome = bench(&steps).ok();
    let report = read_json(&place.path("bench.json"));
    let phases = report["phases"].as_array().unwrap();
    let of = |key: &str| -> Vec<Value> { phases.iter().map(|phase| phase[key].clone()).collect() };
    assert_eq!(of("name"), ["encode", "invert", "update", "sample", "decode"]);
    assert_eq!(of("times"), [1, 4, 3, 4, 1]);
    for phase in phases {
        let [minimum, median, maximum] =
            ["minimum", "median", "maximum"].map(|key| number(&phase["ms"], key));
        assert!(0.0 < minimum && minimum <= median && median <= maximum, "{phase}");
        assert!(phase["peak"].is_null(), "the CPU has no device memory: {phase}");
        let name = phase["name"].as_str().unwrap();
        assert!(outcome.stdout.lines().any(|line| line.starts_with(name)), "{}", outcome.stdout);
    }
    let sum: f64 = phases.iter().map(|phase| number(&phase["ms"], "median") * number(phase, "times")).sum();
    assert!((sum / 1e3 / number(&report, "transfer_seconds") - 1.0).abs() < 1e-9, "{report}");
    let shares: f64 = phases.iter().map(|phase| number(phase, "share")).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{report}");
    assert_eq!(
        (&report["precision"], &report["steps"], &report["width"]),
        (&"f32".into(), &4.into(), &16.into())
    );
}

#[test]
fn masks_from_the_noised_source_are_a_phase_and_may_spare_the_inversion() {
    let place = Place::new();
    let model = place.copied_model();
    let recommended = "[settings]\nmask_source = \"noised\"\nnoised_samples = 3\ninit = \"noise\"\n";
    std::fs::write(model.join("motionflow.toml"), recommended).unwrap();
    let flags = ["bench", "--model", model.to_str().unwrap(), "--json", "--repeat", "1", "--steps", "2"];
    let events = events(&motionflow(&[&flags[..], &TINY].concat()).ok());
    let phases: Vec<&Value> =
        events.iter().filter(|event| event["of"] == "phase").map(|event| &event["row"]).collect();
    let named: Vec<&str> = phases.iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["encode", "masks", "invert", "update", "sample", "decode"]);
    assert_eq!((&phases[1]["times"], &phases[2]["times"]), (&3.into(), &0.into()));
}

#[test]
fn a_program_is_told_the_same() {
    let events = events(&bench(&["--json", "--repeat", "1", "--steps", "2", "--precision", "bf16"]).ok());
    let rows = |of: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["of"] == of).map(|event| &event["row"]).collect()
    };
    assert_eq!(rows("phase").len(), 5);
    let [report] = rows("bench")[..] else { panic!("{events:?}") };
    assert_eq!(report["phases"][2], *rows("phase")[2]);
    assert_eq!(report["precision"], "bf16");
}

#[test]
fn half_precision_is_held_against_float32() {
    let place = Place::new();
    let output = place.text("accuracy.json");
    let accuracy = |precision: &str| -> Vec<(String, f64)> {
        let flags = ["--accuracy", "--steps", "3", "--precision", precision, "-o", &output];
        let outcome = bench(&flags).ok();
        assert!(outcome.stdout.contains("cosine"), "{}", outcome.stdout);
        let figures = read_json(&place.path("accuracy.json"))["figures"].as_array().unwrap().clone();
        let figure = |figure: Value| (figure["name"].as_str().unwrap().to_owned(), number(&figure, "value"));
        figures.into_iter().map(figure).collect()
    };
    let (coarse, fine) = (accuracy("bf16"), accuracy("f16"));
    assert_eq!(coarse.len(), 11);
    for ((name, coarse), (_, fine)) in coarse.into_iter().zip(fine) {
        if name.contains("relative error") {
            // float16 has three bits more.
            assert!(0.0 < fine && fine < coarse && coarse < 0.5, "{name}: {fine}, {coarse}");
        } else {
            assert!(fine > 0.98 && fine <= 1.0 + 1e-9 && coarse > 0.9, "{name}: {fine}, {coarse}");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_told_before_anything_is_loaded() {
    let place = Place::new();
    bench(&["--accuracy"]).fails(2, &["--precision f16 or bf16"]);
    bench(&["--accuracy", "--repeat", "9"]).fails(2, &["cannot be used with"]);
    bench(&["--repeat", "0"]).fails(2, &["--repeat"]);
    bench(&["--steps", "3", "--guided-steps", "4"]).fails(2, &["--guided-steps is 4"]);
    bench(&["-o", &place.text("none/bench.json")]).fails(1, &["none/bench.json", "cannot be written"]);
    let folder = place.text("");
    bench(&["-o", &folder]).fails(1, &[&folder, "cannot be written"]);
}
