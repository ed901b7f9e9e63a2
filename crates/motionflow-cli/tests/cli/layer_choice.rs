//! `--guidance-layers auto`: the blocks that show the source's subjects best are chosen, told and recorded.

use std::collections::BTreeSet;
use std::process::Command;

use crate::common::{Place, car, motionflow, program, read_json, read_toml, run, same_results, text, tree};
use crate::resume::kill_at;

/// A checkpoint of each architecture, by its parity case, with the blocks that may guide.
const MODELS: [(&str, &[&str]); 3] = [
    ("tiny", &["down_blocks.0", "mid_block", "up_blocks.1"]),
    ("animatediff-tiny-merged", &["down_blocks.0", "mid_block", "up_blocks.1"]),
    ("wan-tiny", &["blocks.0", "blocks.1", "blocks.2"]),
];

fn transfer(place: &Place, output: &str, case: &str, flags: &[&str]) -> Command {
    let model = text(&tree().join("crates/motionflow/tests/cases").join(case).join("model"));
    let mut command = program();
    command.args(["transfer", "--source", &car(), "--source-prompt", "a [car] on a road", "--model", &model]);
    command.args(["--prompt", "a [panda] in the snow", "--output", &place.text(output), "--no-cache"]);
    command.args(["-W", "48", "-H", "32", "--frames", "5", "--steps", "4", "--guided-steps", "2"]);
    command.args(["--threads", "1", "--guidance-layers", "auto"]).args(flags);
    command
}

/// The blocks and the timesteps of a run's record.
fn recorded(place: &Place, folder: &str) -> (Vec<String>, Vec<i64>) {
    let record = read_toml(&place.path(folder).join("run.toml"));
    let list = |name: &str| record["settings"][name].as_array().unwrap().clone();
    let blocks = list("guidance_layers").iter().map(|block| block.as_str().unwrap().to_owned()).collect();
    (blocks, list("noised_timesteps").iter().map(|timestep| timestep.as_integer().unwrap()).collect())
}

#[test]
fn the_choice_is_told_recorded_and_done_again_on_every_architecture() {
    for (case, blocks) in MODELS {
        let place = Place::new();
        let outcome = run(&mut transfer(&place, "out", case, &["--mask-source", "noised"])).ok();
        let (chosen, timesteps) = recorded(&place, "out");
        assert!(
            !chosen.is_empty() && chosen.iter().all(|block| blocks.contains(&block.as_str())),
            "{chosen:?}"
        );
        let told = outcome.stderr.lines().find(|line| line.contains("guidance layers: ")).unwrap();
        assert!(chosen.iter().all(|block| told.contains(block.as_str())), "{told}");
        assert!(told.contains(&format!("at timestep {}", timesteps[0])), "{told}");

        let choice = &read_json(&place.path("out/run.json"))["layer_choice"];
        assert_eq!((timesteps.len(), choice["timestep"].as_i64()), (1, Some(timesteps[0])));
        let scores = choice["scores"].as_array().unwrap();
        let tried: BTreeSet<i64> = scores.iter().map(|score| score["timestep"].as_i64().unwrap()).collect();
        assert_eq!(tried, [100, 200, 400, 600].into());
        let scored: BTreeSet<&str> = scores.iter().map(|score| score["block"].as_str().unwrap()).collect();
        assert_eq!(scored, blocks.iter().copied().collect());
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(&score["score"].as_f64().unwrap())));

        // What was chosen is what another run takes, by name.
        let again =
            ["transfer", "--config", &place.text("out/run.toml"), "-o", &place.text("again"), "--no-cache"];
        motionflow(&again).ok();
        same_results(&place.path("out"), &place.path("again"));
    }
}

#[test]
fn a_batch_takes_a_job_that_chose_for_done() {
    let place = Place::new();
    let model = text(&tree().join("crates/motionflow/tests/cases/tiny/model"));
    let jobs = format!(
        "[[job]]\nname = \"panda\"\nsource.path = \"{}\"\nprompts.source_prompt = \"a [car] on a road\"\n\
         prompts.prompt = \"a [panda] in the snow\"\nmodel.name = \"{model}\"\n\
         video = {{ width = 48, height = 32, frames = 5 }}\n\
         settings = {{ steps = 4, guided_steps = 2, mask_source = \"noised\", guidance_layers = [\"auto\"] }}\n",
        car()
    );
    std::fs::write(place.path("jobs.toml"), jobs).unwrap();
    for ending in ["done", "already_done"] {
        motionflow(&["batch", &place.text("jobs.toml"), "-o", &place.text("out"), "--threads", "1"]).ok();
        assert_eq!(read_json(&place.path("out/summary.json"))[0]["ending"], ending);
    }
}

#[test]
fn a_timestep_that_is_named_stays_and_masks_of_the_inversion_have_none() {
    let place = Place::new();
    let named = ["--mask-source", "noised", "--noised-timesteps", "301,501", "--init", "noise"];
    run(&mut transfer(&place, "named", "wan-tiny", &named)).ok();
    assert_eq!(recorded(&place, "named").1, [301, 501]);
    let choice = &read_json(&place.path("named/run.json"))["layer_choice"];
    assert!([301, 501].contains(&choice["timestep"].as_i64().unwrap()), "{choice}");
    run(&mut transfer(&place, "inversion", "wan-tiny", &["--mask-source", "inversion"])).ok();
    let (blocks, timesteps) = recorded(&place, "inversion");
    assert_ne!(blocks, ["auto"]);
    assert_eq!(timesteps, [201], "the default, which nothing uses");
}

#[test]
fn a_run_that_is_killed_goes_on_with_what_it_chose() {
    let place = Place::new();
    run(&mut transfer(&place, "unbroken", "tiny", &[])).ok();
    let kept = "inversion-0002.safetensors";
    kill_at(&mut transfer(&place, "killed", "tiny", &[]), &place.path("killed"), kept);
    motionflow(&["transfer", "--resume", &place.text("killed")]).ok();
    same_results(&place.path("unbroken"), &place.path("killed"));
    let choice = |folder: &str| read_json(&place.path(folder).join("run.json"))["layer_choice"].clone();
    assert!(choice("killed").is_object());
    assert_eq!(choice("killed"), choice("unbroken"));
}

#[test]
fn a_dry_run_counts_the_looks_and_nothing_can_be_chosen_without_a_source_or_beside_names() {
    let place = Place::new();
    let plan =
        run(transfer(&place, "out", "wan-tiny", &["--init", "noise", "--mask-source", "noised"])
            .arg("--dry-run"))
        .ok();
    assert!(plan.stdout.contains("auto") && plan.stdout.contains("masks"), "{}", plan.stdout);
    run(&mut transfer(&place, "out", "wan-tiny", &["--guidance-layers", "auto,blocks.1"]))
        .fails(2, &["--guidance-layers", "\"auto\"", "blocks.0 to blocks.2"]);
}
