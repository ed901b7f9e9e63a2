//! The motion arrives: a small experiment with the shipped checkpoint, whose truth is known.

use std::fs;

use crate::common::{Place, program, read_json, run, text, tree};

/// One clip, with guidance and without, from pure noise; a third of the usual steps.
#[test]
fn guidance_from_noise_brings_the_subject_onto_the_sources_path() {
    let place = Place::new();
    let clips = tree().join("experiments/clips");
    let suite = format!(
        "[measure]\nclip = \"demo-clip\"\ndetector = \"demo-detector\"\n\
         [defaults]\nsettings = {{ steps = 8, guided_steps = 5, init = \"noise\" }}\n\
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
    assert!(mean("guided", "motion_fidelity_lk") > mean("unguided", "motion_fidelity_lk"));
}
