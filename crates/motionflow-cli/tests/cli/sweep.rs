//! `motionflow sweep`: every combination of some settings, side by side.

use std::fs;

use motionflow_media::image;
use serde_json::Value;

use crate::common::{Place, car, motionflow, read_json, tiny_model};
use crate::machines::events;

fn transfer(place: &Place) -> String {
    let transfer = format!(
        "source.path = \"{}\"\nprompts.source_prompt = \"a [car] on a road\"\nprompts.prompt = \"a [panda]\"\n\
         model.name = \"{}\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = 3, guided_steps = 1, init = \"noise\" }}\noutput.folder = \"elsewhere\"\n",
        car(),
        tiny_model()
    );
    fs::write(place.path("transfer.toml"), transfer).unwrap();
    place.text("transfer.toml")
}

fn cells(place: &Place) -> Vec<Value> {
    read_json(&place.path("out/results.json"))["cells"].as_array().unwrap().clone()
}

#[test]
fn every_combination_stands_in_a_grid_and_a_table() {
    let place = Place::new();
    let (file, out) = (transfer(&place), place.text("out"));
    let sweep = ["sweep", &file, "--set", "tau=0.2,0.6", "--set", "seed=1,2,3", "-o", &out, "--threads", "1"];
    let first = motionflow(&sweep).ok();
    assert_eq!(place.names("."), ["out", "transfer.toml"]);
    assert_eq!(
        place.names("out"),
        [".gitignore", "cells", "grid.png", "inversions", "results.json", "table.md"]
    );
    let cells = cells(&place);
    let names: Vec<&str> = cells.iter().map(|cell| cell["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[5]), ("tau-0.2--seed-1", "tau-0.6--seed-3"));
    assert_eq!(cells[5]["settings"]["settings.tau"], 0.6);
    assert_eq!(cells[5]["settings"]["settings.seed"], 3);
    let table = fs::read_to_string(place.path("out/table.md")).unwrap();
    for name in ["tau 0.2, seed 1", "tau 0.6, seed 3"] {
        assert!(table.contains(&format!("| {name} |")) && first.stdout.contains(name), "{table}");
    }
    for (index, cell) in cells.iter().enumerate() {
        let run = read_json(&place.path("out/cells").join(names[index]).join("run.json"));
        let mut losses =
            run["steps"].as_array().unwrap().iter().filter_map(|step| step["loss"]["total"].as_f64());
        assert_eq!(cell["final_loss"].as_f64(), losses.next_back(), "{cell}");
        assert_eq!(run["inversion"], if index == 0 { "made" } else { "cached" });
    }
    // Three columns, two rows.
    let grid = image::open(place.path("out/grid.png")).unwrap();
    assert_eq!(grid.width(), 2 * 16 + 3 * 600 + 2 * 8);

    let second = motionflow(&sweep).ok();
    assert!(second.stderr.contains("6 of 6 transfers are done"), "{}", second.stderr);
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn a_broken_cell_leaves_a_hole() {
    let place = Place::new();
    let (file, out) = (transfer(&place), place.text("out"));
    let prompts = "prompt=a [panda],a boat";
    let outcome = motionflow(&["sweep", &file, "--set", prompts, "-o", &out, "--threads", "1", "--json"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("the prompt marks no subject")
            && outcome.stderr.contains("1 of 2 jobs failed")
    );
    let endings: Vec<Value> = cells(&place).iter().map(|cell| cell["ending"].clone()).collect();
    assert_eq!(endings, ["done", "failed"]);
    let events = events(&outcome);
    let rows: Vec<&Value> = events.iter().filter(|event| event["event"] == "row").collect();
    assert_eq!((rows.len(), rows[0]["of"].as_str()), (2, Some("variant")));
    assert_eq!(rows[1]["row"]["done"], 0);
    let jobs: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "job")
        .map(|event| event["ending"].as_str().unwrap())
        .collect();
    assert_eq!(jobs, ["done", "failed"]);
    // One under the other: the hole is as high as the sheet.
    let grid = image::open(place.path("out/grid.png")).unwrap().to_rgb8();
    assert_eq!(grid.width(), 2 * 16 + 1000);
    let height = (grid.height() - 16) / 2;
    assert_eq!(grid.get_pixel(30, 8 + height + 60).0, [228, 228, 231], "the hole");
}

#[test]
fn sweeps_that_make_no_sense() {
    let place = Place::new();
    let (file, out) = (transfer(&place), place.text("out"));
    for (sets, parts) in [
        (&["taw=0.2"][..], &["--set taw=0.2", "did you mean \"tau\"?"][..]),
        (&["tau"], &["tau=0.2,0.4"]),
        (&["tau=low"], &["--set tau", "settings.tau is of the type string", "number"]),
        (&["init=nois"], &["settings.init is \"nois\"", "one of inverted, noise"]),
        (&["tau=0.2,0.2"], &["0.2 is there twice"]),
        (&["tau=0.2", "settings.tau=0.4"], &["settings.tau is set twice"]),
        (&["folder=a"], &["\"folder\" is no setting"]),
    ] {
        let mut arguments = vec!["sweep", &file, "-o", &out];
        for set in sets {
            arguments.extend(["--set", set]);
        }
        motionflow(&arguments).fails(2, parts);
        assert_eq!(place.names("."), ["transfer.toml"]);
    }
    motionflow(&["sweep", &file]).fails(2, &["--set"]);
}

#[test]
fn many_long_values_still_make_a_folder() {
    let place = Place::new();
    let (file, out) = (transfer(&place), place.text("out"));
    let long = "very\n ".repeat(20);
    let sets = ["prompt", "source_prompt"].map(|key| format!("{key}=a [{long}dog]"));
    let mut arguments =
        vec!["sweep", &file, "-o", &out, "--threads", "1", "--set", &sets[0], "--set", &sets[1]];
    let (negative, blocks) = (format!("negative_prompt={long}"), "settings.guidance_layers=mid_block");
    arguments.extend(["--set", &negative, "--set", blocks, "--set", "settings.lambda_temporal=0.125"]);
    motionflow(&arguments).ok();
    assert_eq!(cells(&place)[0]["ending"], "done");
    let table = fs::read_to_string(place.path("out/table.md")).unwrap();
    let row = table.lines().find(|line| line.starts_with("| prompt")).unwrap();
    assert!(row.ends_with("| 1 |"), "{table}");
}
