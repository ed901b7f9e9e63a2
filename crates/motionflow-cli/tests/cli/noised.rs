//! `--mask-source noised`: motion masks from forward passes on the noised source.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use motionflow::checkpoint::Weights;
use serde_json::Value;

use crate::common::{
    Outcome, Place, SMALL, car, motionflow, program, read_json, read_toml, run, same_results, tiny_model,
};

const NOISED: [&str; 2] = ["--mask-source", "noised"];
const FROM_NOISE: [&str; 4] = ["--mask-source", "noised", "--init", "noise"];

fn transfer(place: &Place, output: &str, flags: &[&[&str]]) -> Outcome {
    let mut command = place.transfer_to(output);
    command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
    run(command.args(flags.concat()))
}

fn history(place: &Place, folder: &str) -> Value {
    read_json(&place.path(folder).join("run.json"))
}

/// How many steps a run had of each stage.
fn steps(place: &Place, folder: &str) -> [usize; 3] {
    let history = history(place, folder);
    let of = |stage: &str| {
        history["steps"].as_array().unwrap().iter().filter(|step| step["stage"] == stage).count()
    };
    ["noised", "inversion", "sampling"].map(of)
}

fn first_loss(place: &Place, folder: &str) -> f64 {
    let history = history(place, folder);
    let update = history["steps"].as_array().unwrap().iter().find(|step| step["stage"] == "update").unwrap();
    update["loss"]["total"].as_f64().unwrap()
}

fn result(place: &Place, folder: &str) -> Vec<u8> {
    fs::read(place.path(folder).join("result.mp4")).unwrap()
}

#[test]
fn a_transfer_from_noise_takes_no_inversion() {
    let place = Place::new();
    let outcome = transfer(&place, "out", &[&FROM_NOISE, &["--seed", "1"]]).ok();
    assert!(
        outcome.stderr.contains("masks: done") && !outcome.stderr.contains("invert"),
        "{}",
        outcome.stderr
    );
    assert_eq!(steps(&place, "out"), [1, 0, 3]);
    let history = history(&place, "out");
    assert_eq!((history.get("inversion"), &history["steps"][0]["timestep"]), (None, &201.into()));
    assert!(!place.path("cache").exists(), "nothing is kept for later runs");
    let covered = history["masks"][0]["coverage"].as_f64().unwrap();
    assert!((history["steps"][0]["mask_coverage"][0].as_f64().unwrap() - covered).abs() < 1e-6);

    // Another seed gives another video, by the same masks.
    transfer(&place, "other", &[&FROM_NOISE, &["--seed", "2"]]).ok();
    assert_ne!(result(&place, "out"), result(&place, "other"));
    let other = read_json(&place.path("other/run.json"));
    assert_eq!(other["masks"], history["masks"]);
    assert_eq!(
        fs::read(place.path("out/masks.mp4")).unwrap(),
        fs::read(place.path("other/masks.mp4")).unwrap()
    );

    let record = place.text("out/run.toml");
    motionflow(&["transfer", "--config", &record, "-o", &place.text("again")]).ok();
    same_results(&place.path("out"), &place.path("again"));
}

#[test]
fn timesteps_and_samples_are_passes_and_change_the_masks() {
    let place = Place::new();
    let passes = |output: &str, flags: &[&str]| {
        transfer(&place, output, &[&["--init", "noise"], flags]).ok();
        (steps(&place, output)[0], first_loss(&place, output))
    };
    let found = [
        passes("inversion", &["--mask-source", "inversion"]),
        passes("one", &NOISED),
        passes("higher", &[&NOISED[..], &["--noised-timesteps", "801"]].concat()),
        passes("samples", &[&NOISED[..], &["--noised-samples", "3"]].concat()),
        passes("all", &[&NOISED[..], &["--noised-timesteps", "101,801", "--noised-samples", "2"]].concat()),
    ];
    assert_eq!(found.map(|(passes, _)| passes), [0, 1, 1, 3, 4]);
    for (index, (_, loss)) in found.iter().enumerate() {
        assert!(found[..index].iter().all(|(_, other)| other.to_bits() != loss.to_bits()), "{found:?}");
    }
    let settings = &read_toml(&place.path("all/run.toml"))["settings"];
    assert_eq!(settings["noised_timesteps"].as_array().unwrap().len(), 2);
    assert_eq!(settings["noised_samples"].as_integer(), Some(2));
    // Where nothing was averaged there is nothing that --mask-time could average.
    transfer(&place, "average", &[&FROM_NOISE, &["--mask-time", "average"]]).ok();
    assert_eq!(first_loss(&place, "average").to_bits(), found[1].1.to_bits());
}

#[test]
fn inverted_latents_and_noised_masks_go_together_and_the_inversion_is_that_of_the_cache() {
    let place = Place::new();
    transfer(&place, "inversion", &[&["--tau", "0.5"]]).ok();
    let outcome = transfer(&place, "cached", &[&NOISED]).ok();
    assert!(outcome.stderr.contains("taken from the cache"), "{}", outcome.stderr);
    assert_eq!(
        (steps(&place, "cached"), &history(&place, "cached")["inversion"]),
        ([1, 0, 3], &"cached".into())
    );
    transfer(&place, "made", &[&NOISED, &["--no-cache"]]).ok();
    assert_eq!((steps(&place, "made"), &history(&place, "made")["inversion"]), ([1, 3, 3], &"made".into()));
    same_results(&place.path("cached"), &place.path("made"));

    // An inversion that was made before, by `invert`, whose masks are the noised ones, too.
    let (inverted, model) = (place.text("inv"), tiny_model());
    let source = ["--source", &*car(), "--source-prompt", "a [car] on a road", "--model", &model];
    motionflow(&[&["invert", "-o", &*inverted], &source[..], &SMALL[..], &NOISED[..]].concat()).ok();
    assert_eq!((steps(&place, "inv"), &history(&place, "inv")["inversion"]), ([1, 3, 0], &"made".into()));
    assert_eq!(history(&place, "inv")["masks"], history(&place, "made")["masks"]);
    let given = |output: &str, flags: &[&str]| {
        let transfer = ["transfer", "--inversion", &*inverted, "-p", "a [panda] in the snow", "-m", &model];
        let more = ["--guided-steps", "2", "--threads", "1", "-o", &place.text(output)];
        motionflow(&[&transfer[..], &more, flags].concat())
    };
    given("given", &NOISED).ok();
    assert_eq!(
        (steps(&place, "given"), &history(&place, "given")["inversion"]),
        ([1, 0, 3], &"given".into())
    );
    assert_eq!(first_loss(&place, "given").to_bits(), first_loss(&place, "made").to_bits());
    // Maps that are not the inversion's may be of the other token.
    given("end", &[&NOISED[..], &["--subject-map", "end"]].concat()).ok();
    given("refused", &["--subject-map", "end"]).fails(2, &["invert again with --subject-map end"]);
}

#[test]
fn a_run_that_is_killed_after_a_pass_goes_on_to_the_same_bytes() {
    let place = Place::new();
    for (name, init, kept) in [
        ("noise", "noise", "noised-0002.safetensors"),
        ("inverted", "inverted", "inversion-0001.safetensors"),
        ("sampling", "noise", "sampling-0001.safetensors"),
    ] {
        // Long enough that every file is seen before the run ends.
        let long = ["--noised-samples", "20", "--updates-per-step", "40", "--no-cache"];
        let flags = [&NOISED[..], &["--init", init], &long].concat();
        transfer(&place, name, &[&flags]).ok();
        let killed = format!("{name}-killed");
        let mut command = place.transfer_to(&killed);
        let mut running = command.args(&flags).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&place.path(&killed).join(".unfinished").join(kept));
        running.kill().unwrap();
        running.wait().unwrap();
        let outcome = motionflow(&["transfer", "--resume", &place.text(&killed)]).ok();
        assert!(outcome.stderr.contains("masks: goes on after pass "), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("encode: done"), "the clean latents are kept: {}", outcome.stderr);
        same_results(&place.path(name), &place.path(&killed));
        assert_eq!(steps(&place, &killed), steps(&place, name));
    }
}

fn wait_for(file: &Path) {
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "{} does not appear", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn inspect_shows_the_passes_and_inverts_nothing() {
    let place = Place::new();
    let (model, output) = (tiny_model(), place.text("look"));
    let source = ["--source", &*car(), "--source-prompt", "a [car] and a [dog]", "--model", &model];
    let flags = ["--noised-timesteps", "101,601", "--noised-samples", "2", "-o", &*output];
    let outcome = motionflow(&[&["inspect"], &source[..], &SMALL[..], &NOISED[..], &flags[..]].concat()).ok();
    assert!(outcome.stderr.contains("masks: 4 passes") && !outcome.stderr.contains("invert"));
    let maps = Weights::open(&place.path("look/maps.safetensors")).unwrap();
    let names: Vec<&str> = maps.names().collect();
    assert_eq!(names.len(), 2 * 2 * 4, "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("map/101/") || name.starts_with("map/601/")),
        "{names:?}"
    );
    let report = read_json(&place.path("look/inspect.json"));
    assert_eq!(report["masks"].as_array().unwrap().len(), 2);
    for name in ["overview.png", "attention-mid_block.attentions.0.png", "masks-mid_block.attentions.0.png"] {
        assert!(fs::read(place.path("look").join(name)).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
}

#[test]
fn a_dry_run_tells_the_passes_in_place_of_the_inversion() {
    let place = Place::new();
    let time = |flags: &[&str]| {
        let outcome = transfer(&place, "out", &[flags, &["--dry-run"]]).ok();
        outcome.stdout.lines().find(|line| line.starts_with("time")).unwrap().to_owned()
    };
    let from_noise = time(&FROM_NOISE);
    assert!(from_noise.contains("masks ") && !from_noise.contains("invert "), "{from_noise}");
    let inverted = time(&NOISED);
    assert!(inverted.contains("masks ") && inverted.contains("invert "), "{inverted}");
    assert!(!time(&[]).contains("masks "));
}

#[test]
fn the_transfers_of_a_suite_invert_only_where_one_is_taken() {
    let place = Place::new();
    let suite = format!(
        "[defaults]\nmodel.name = \"{}\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = 3, guided_steps = 1, init = \"noise\", mask_source = \"noised\" }}\n\
         [[clip]]\nname = \"car-arc\"\nsource = \"{}\"\nsource_prompt = \"a [car] on a road\"\n\
         prompts = [\"a [panda] in a forest\"]\n\
         [[variant]]\nname = \"one\"\n\
         [[variant]]\nname = \"two\"\nsettings.noised_timesteps = [101, 301]\n",
        tiny_model(),
        car()
    );
    let file = place.path("suite.toml");
    let eval = |text: &str, output: &str| {
        fs::write(&file, text).unwrap();
        let output = place.text(output);
        run(program().args(["eval", "--suite", &place.text("suite.toml"), "-o", &output, "--threads", "1"]))
            .ok();
    };
    eval(&suite, "noised");
    assert!(!place.path("noised/inversions").exists());
    let cell = |name: &str| format!("noised/cells/car-arc--a-panda-in-a-forest--{name}");
    assert_eq!((steps(&place, &cell("one"))[0], steps(&place, &cell("two"))[0]), (1, 2));
    let both = format!("{suite}[[variant]]\nname = \"inversion\"\nsettings.mask_source = \"inversion\"\n");
    eval(&both, "both");
    assert!(place.path("both/inversions").is_dir());

    let (config, swept) = (place.text(&format!("{}/run.toml", cell("one"))), place.text("swept"));
    motionflow(&["sweep", &config, "--set", "noised_timesteps=101,401", "-o", &swept, "--threads", "1"]).ok();
    assert_eq!(place.names("swept/cells").len(), 2);
}

#[test]
fn what_cannot_be_is_told_before_anything_is_made() {
    let place = Place::new();
    for (flags, parts) in [
        (&["--noised-timesteps", "201,1000"][..], &["--noised-timesteps is 201,1000", "from 0 to 999"][..]),
        (&["--noised-timesteps", "201,201"], &["--noised-timesteps is 201,201", "named once"]),
        (&["--noised-timesteps", "few"], &["invalid value 'few' for '--noised-timesteps"]),
        (&["--noised-timesteps=-1"], &["invalid value '-1'"]),
        (&["--noised-samples", "0"], &["--noised-samples is 0", "1 to 100"]),
    ] {
        transfer(&place, "out", &[&NOISED, flags]).fails(2, parts);
    }
    transfer(&place, "out", &[&["--mask-source", "noise"]]).fails(2, &["inversion, noised"]);
    assert!(place.names("").is_empty());
    fs::write(place.path("a.toml"), "[settings]\nnoised_timesteps = []\nmask_source = \"noised\"\n").unwrap();
    transfer(&place, "out", &[&["--config", &place.text("a.toml")]])
        .fails(2, &["--noised-timesteps is empty", "one timestep or several"]);
}
