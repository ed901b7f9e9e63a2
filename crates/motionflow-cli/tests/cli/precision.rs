//! `--precision` and `--memory`.

use std::fs;

use crate::common::{Place, motionflow, program, read_json, read_toml, run, same_results, text};

/// The loss before each guided update.
fn losses(place: &Place, folder: &str) -> Vec<f64> {
    let history = read_json(&place.path(folder).join("run.json"));
    let steps = history["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["loss"]["total"].as_f64()).collect()
}

#[test]
fn half_precision_computes_nearly_the_same() {
    let place = Place::new();
    let mut found = Vec::new();
    for precision in ["f32", "f16", "bf16"] {
        run(place.transfer_to(precision).args(["--precision", precision, "--step-norm", "0.03"])).ok();
        let record = read_toml(&place.path(precision).join("run.toml"));
        assert_eq!(record["program"]["precision"].as_str(), Some(precision));
        assert_eq!(record["program"]["memory"].as_str(), Some("balanced"));
        found.push(losses(&place, precision));
    }
    // Kernels differ between CPUs, by less than the format's rounding does.
    for (half, rounding) in found[1..].iter().zip([f64::powi(2.0, -11), f64::powi(2.0, -8)]) {
        assert!(half.len() == 2 && *half != found[0], "{found:?}");
        let near = half.iter().zip(&found[0]).all(|(half, full)| (half / full - 1.0).abs() < 24.0 * rounding);
        assert!(near, "{found:?}");
    }
    assert_ne!(found[1], found[2]);
}

#[test]
fn a_record_asks_for_its_precision_again() {
    let place = Place::new();
    place.transfer(&["--precision", "bf16", "--memory", "low"]).ok();
    let again = |output: &str, flags: &[&str]| {
        let config = ["transfer", "--config", &place.text("out/run.toml"), "-o", &place.text(output)];
        run(program().args(config).args(flags)).ok();
        read_toml(&place.path(output).join("run.toml"))["program"].clone()
    };
    again("again", &[]);
    same_results(&place.path("out"), &place.path("again"));
    let otherwise = again("otherwise", &["--precision", "auto", "--memory", "fast"]);
    assert_eq!((otherwise["precision"].as_str(), otherwise["memory"].as_str()), (Some("f32"), Some("fast")));
    let shown = motionflow(&["show", &place.text("out")]).ok().stdout;
    assert!(shown.contains("on cpu in bf16, memory low\n"), "{shown}");

    // A record from before there was a choice.
    let record = fs::read_to_string(place.path("otherwise/run.toml")).unwrap();
    let old = record.replace("precision = \"f32\"\n", "").replace("memory = \"fast\"\n", "");
    assert_eq!(old.lines().count() + 2, record.lines().count());
    fs::write(place.path("old.toml"), &old).unwrap();
    let config = ["transfer", "--config", &place.text("old.toml"), "-o", &place.text("old")];
    motionflow(&config).ok();
    assert_eq!(losses(&place, "old"), losses(&place, "otherwise"));
    fs::write(place.path("otherwise/run.toml"), old).unwrap();
    motionflow(&["show", &place.text("otherwise")]).ok();
}

#[test]
fn an_inversion_is_cached_by_its_precision_and_memory() {
    let place = Place::new();
    let ways = [["--precision", "f32"], ["--precision", "f16"], ["--memory", "low"], ["--precision", "auto"]];
    let taken = ways.map(|way| {
        let mut command = place.transfer_to("out");
        command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
        run(command.args(way).arg("--force")).ok().stderr.contains("taken from the cache")
    });
    assert_eq!(taken, [false, false, false, true]);
}

#[test]
fn one_process_computes_in_several_precisions() {
    let place = Place::new();
    place.transfer(&[]).ok();
    let sweep = ["sweep", &place.text("out/run.toml"), "-o", &place.text("sweep")];
    run(program().args(sweep).args(["--set", "precision=f32,bf16", "--set", "memory=low,balanced"])).ok();
    for precision in ["f32", "bf16"] {
        for memory in ["low", "balanced"] {
            let cell = place.path("sweep/cells").join(format!("precision-{precision}--memory-{memory}"));
            let record = read_toml(&cell.join("run.toml"));
            assert_eq!(record["program"]["precision"].as_str(), Some(precision), "{}", text(&cell));
            assert_eq!(record["program"]["memory"].as_str(), Some(memory), "{}", text(&cell));
        }
    }
    let loss = |cell: &str| losses(&place, &format!("sweep/cells/{cell}"));
    assert_eq!(loss("precision-f32--memory-balanced"), losses(&place, "out"));
    assert_ne!(loss("precision-bf16--memory-balanced"), losses(&place, "out"));
}

#[test]
fn unknown_names_are_the_users_mistake() {
    let place = Place::new();
    motionflow(&["transfer", "--precision", "half"]).fails(2, &["--precision", "auto, f32, f16 or bf16"]);
    motionflow(&["transfer", "--memory", "none"]).fails(2, &["--memory", "low, balanced or fast"]);
    fs::write(place.path("run.toml"), "program.precision = \"double\"\n").unwrap();
    motionflow(&["transfer", "--config", &place.text("run.toml")])
        .fails(2, &["TOML parse error at line 1", "must be auto, f32, f16 or bf16"]);
    motionflow(&["transfer", "--resume", &place.text("out"), "--precision", "f16"])
        .fails(2, &["leave out the other settings"]);
}
