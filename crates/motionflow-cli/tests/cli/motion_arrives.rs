//! The motion arrives: a small experiment with each shipped checkpoint, whose truth is known.

use std::fs;

use crate::common::{Place, program, read_json, run, text, tree};

#[test]
fn guidance_from_noise_brings_the_subject_onto_the_sources_path() {
    let [guided, unguided] = arrives("demo", "clips", 8, 5);
    assert!(guided > unguided, "motion fidelity {guided} with guidance, {unguided} without");
}

#[test]
fn it_does_with_animate_diff() {
    arrives("demo-animatediff", "clips", 8, 5);
}

#[test]
fn it_does_with_wan() {
    arrives("demo-wan", "clips-17", 12, 6);
}

/// One clip of a folder of experiments/, with guidance and without, from pure noise in few steps; the motion fidelity of both.
fn arrives(model: &str, clips: &str, steps: u32, guided_steps: u32) -> [f64; 2] {
    let place = Place::new();
    let clips = tree().join("experiments").join(clips);
    let suite = format!(
        "[measure]\nclip = \"demo-clip\"\ndetector = \"demo-detector\"\n\
         [defaults]\nmodel.name = \"{model}\"\nsettings = {{ steps = {steps}, guided_steps = {guided_steps}, init = \"noise\" }}\n\
         [[clip]]\nname = \"bee\"\nsource = \"{}\"\nsource_prompt = \"a [bee] in a forest\"\ntruth = \"{}\"\n\
         prompts = [\"a [pumpkin] on a road\"]\n\
         [[variant]]\nname = \"guided\"\n\
         [[variant]]\nname = \"unguided\"\nsettings.updates = false\n",
        text(&clips.join("bee-circle.mp4")),
        text(&clips.join("bee-circle.npz")),
    );
    fs::write(place.path("suite.toml"), suite).unwrap();
    run(program().args(["eval", "--suite", &place.text("suite.toml"), "-o", &place.text("report")])).ok();

    let results = read_json(&place.path("report/results.json"));
    let mean = |variant: &str, figure: &str| {
        let variants = results["variants"].as_array().unwrap();
        let means = &variants.iter().find(|of| of["name"] == variant).unwrap()["figures"][figure];
        means["mean"].as_f64().unwrap_or_else(|| panic!("no {figure} of {variant}: {results}"))
    };
    let [guided, unguided] = ["guided", "unguided"].map(|variant| mean(variant, "trajectory_error"));
    assert!(guided < 0.12 && guided < unguided / 2.0, "{guided} with guidance, {unguided} without");
    assert!(mean("guided", "subject_right") > 0.99);
    ["guided", "unguided"].map(|variant| mean(variant, "motion_fidelity_lk"))
}
