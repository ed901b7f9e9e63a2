//! Settings in a file, and doing a run again from its record.

use std::fs;

use crate::common::{
    Place, SMALL, car, motionflow, program, read_toml, run, same_results, text, tiny_model, tree,
};

/// A settings file for a short transfer, its paths relative to the file.
fn settings(place: &Place) -> String {
    fs::create_dir(place.path("settings")).unwrap();
    fs::copy(car(), place.path("settings/car.mp4")).unwrap();
    let model = tiny_model();
    format!(
        "[prompts]\nsource_prompt = \"a [car] on a road\"\nprompt = \"a [panda] in the snow\"\n\
         [source]\npath = \"car.mp4\"\nevery = 2\nfit = \"pad\"\n\
         [video]\nwidth = 24\nheight = 16\nframes = 3\n\
         [model]\nname = \"{model}\"\n\
         [settings]\nsteps = 3\nguided_steps = 2\ntau = 0.3\nguidance_scale = 4\nstep_norm = 0.05\ninit = \"noise\"\n\
         [output]\nfolder = \"../out\"\n\
         [program]\nthreads = 1\nquiet = true\n"
    )
}

#[test]
fn a_file_says_what_flags_can_and_flags_go_before_it() {
    let place = Place::new();
    let file = place.text("settings/run.toml");
    let settings = settings(&place);
    fs::write(&file, &settings).unwrap();
    let outcome = motionflow(&["transfer", "--config", &file, "--tau", "0.5", "--step-size", "2"]).ok();
    assert!(outcome.stderr.is_empty() && outcome.stdout.is_empty(), "{}{}", outcome.stderr, outcome.stdout);
    let record = read_toml(&place.path("out/run.toml"));
    assert_eq!(record["settings"]["tau"].as_float(), Some(0.5));
    assert_eq!(record["settings"]["guidance_scale"].as_float(), Some(4.0));
    assert_eq!(record["settings"]["step_size"].as_float(), Some(2.0));
    assert!(record["settings"].get("step_norm").is_none(), "one way to move excludes the other");
    assert_eq!(record["settings"]["init"].as_str(), Some("noise"));
    assert_eq!(record["source"]["every"].as_integer(), Some(2));
    assert_eq!(record["source"]["fit"].as_str(), Some("pad"));
    assert_eq!(record["program"]["threads"].as_integer(), Some(1));
}

#[test]
fn a_run_is_done_again_to_the_same_bytes() {
    let place = Place::new();
    place.transfer(&["--seed", "5", "--init", "noise", "--step-norm", "0.05"]).ok();
    let record = place.text("out/run.toml");
    let outcome = run(program().args(["transfer", "--config", &record, "-o", &place.text("again")])).ok();
    assert!(!outcome.stderr.contains("not the same"), "{}", outcome.stderr);
    same_results(&place.path("out"), &place.path("again"));

    // A file that says where it was is not taken for another one.
    fs::copy(tree().join("assets/clips/dog-bounce.mp4"), place.path("dog.mp4")).unwrap();
    let changed = fs::read_to_string(&record).unwrap().replace(&car(), &place.text("dog.mp4"));
    fs::write(place.path("changed.toml"), changed).unwrap();
    let changed = place.text("changed.toml");
    let outcome = run(program().args(["transfer", "--config", &changed, "-o", &place.text("other")])).ok();
    assert!(outcome.stderr.contains("the source is not the same as when"), "{}", outcome.stderr);
}

#[test]
fn the_record_of_another_command_asks_for_what_was_asked_alone() {
    let place = Place::new();
    let [inversion, model, car] = [place.text("inv"), tiny_model(), car()];
    let source = ["--source", &car, "--source-prompt", "a [car] on a road"];
    motionflow(&[&["invert", "-o", &inversion, "-m", &model], &source[..], &SMALL[..]].concat()).ok();
    let prompt = ["-p", "a [panda] in the snow"];
    let flags = ["transfer", "--inversion", &inversion, "-m", &model, "-o", &place.text("of-it")];
    motionflow(&[&flags[..], &prompt].concat()).ok();

    // An inversion has its own steps, size and prompt; what cannot be followed is refused.
    let config = ["transfer", "--config", &place.text("of-it/run.toml"), "-o", &place.text("again")];
    for (flag, value) in
        [("--steps", "2"), ("--width", "16"), ("--start", "1"), ("--source-prompt", "a [dog]")]
    {
        let name = flag.trim_start_matches('-').replace('-', "_");
        let parts = [&*format!("{name} cannot be changed"), "/inv", "--source"];
        motionflow(&[&config[..], &[flag, value]].concat()).fails(2, &parts);
    }
    motionflow(&[&config[..], &["--source", &car, "--steps", "2"]].concat()).ok();
    assert_eq!(read_toml(&place.path("again/run.toml"))["settings"]["steps"].as_integer(), Some(2));

    // `generate` has no guidance, but nobody has asked for a transfer without.
    let generated = place.text("generated");
    motionflow(&[&["generate", "-o", &generated, "-m", &model], &prompt[..], &SMALL[..]].concat()).ok();
    let config = ["transfer", "--config", &place.text("generated/run.toml"), "-o", &place.text("moved")];
    motionflow(&[&config[..], &source].concat()).ok();
    let settings = &read_toml(&place.path("moved/run.toml"))["settings"];
    assert_eq!(settings["updates"].as_bool(), Some(true));
    assert_eq!(settings["init"].as_str(), Some("inverted"));
    assert!(settings["guided_steps"].as_integer() > Some(0));
}

#[test]
fn what_is_not_known_is_told_with_what_is() {
    let place = Place::new();
    let file = place.text("settings/run.toml");
    let settings = settings(&place);
    let refused = |from: &str, to: &str, parts: &[&str]| {
        let changed = settings.replace(from, to);
        assert_ne!(changed, settings);
        fs::write(&file, changed).unwrap();
        motionflow(&["transfer", "--config", &file]).fails(2, parts);
        assert_eq!(place.names("."), ["settings"]);
    };
    refused(
        "tau =",
        "tao =",
        &["run.toml, line", "\"tao\" is not known in [settings]", "did you mean \"tau\"?"],
    );
    refused("\nprompt", "\npromt", &["\"promt\" is not known in [prompts]", "\"prompt\""]);
    refused("[settings]", "[setings]", &["\"setings\" is not known here", "\"settings\""]);
    refused("tau = 0.3", "tau = \"high\"", &["settings.tau", "string", "number"]);
    refused("tau = 0.3", "tau = 1.5", &["--tau", "1.5"]);
    refused("\"pad\"", "\"squeeze\"", &["squeeze", "crop, pad, stretch"]);
    refused("width = 24", "width = 0", &["--width", "1 to 8192"]);
    refused("threads = 1", "threads = 0", &["--threads", "1 to 1024"]);
    refused("[video]", "[video", &["run.toml", "line 8"]);
    motionflow(&["transfer", "--config", &place.text("none.toml")]).fails(2, &["none.toml", "no such file"]);
}

#[test]
fn the_settings_reference_is_the_programs_and_has_every_setting() {
    let page = motionflow(&["schema", "--reference"]).ok().stdout;
    let path = tree().join("docs/settings-reference.md");
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == page, "write it anew: motionflow schema --reference > {}", text(&path));
    let help = motionflow(&["transfer", "--help"]).ok().stdout;
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags: Vec<String> =
        flags.map(|line| format!("`--{}", line.split_whitespace().next().unwrap())).collect();
    let missing: Vec<&String> = flags.iter().filter(|flag| !page.contains(&flag[..])).collect();
    println!("{} flags, without a row: {missing:?}", flags.len());
    assert!(flags.len() > 40 && missing.len() < 8, "{missing:?}");
}

#[test]
fn the_committed_schema_is_the_programs() {
    let outcome = motionflow(&["schema"]).ok();
    let path = tree().join("docs/settings.schema.json");
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == outcome.stdout, "write it anew: motionflow schema > {}", text(&path));
    let schema: serde_json::Value = serde_json::from_str(&committed).unwrap();
    for (table, key) in
        [("settings", "tau"), ("prompts", "source_prompt"), ("source", "every"), ("model", "name")]
    {
        let key = &schema["properties"][table]["properties"][key];
        assert!(key["description"].is_string() && key["type"].is_string(), "{table}: {key}");
    }
}

#[test]
fn a_device_that_does_not_exist_is_the_users_mistake() {
    let place = Place::new();
    fs::write(place.path("run.toml"), "program.device = \"cuda:x\"\n").unwrap();
    motionflow(&["transfer", "--config", &place.text("run.toml")])
        .fails(2, &["run.toml: TOML parse error at line 1", "must be auto, cpu, cuda, or cuda:1"]);

    // A record of another machine: the flag goes before it.
    let place = Place::new();
    place.transfer(&["--device", "cpu"]).ok();
    let record = fs::read_to_string(place.path("out/run.toml")).unwrap();
    assert!(record.contains("device = \"cpu\""), "{record}");
    fs::write(place.path("gpu.toml"), record.replace("device = \"cpu\"", "device = \"cuda:99\"")).unwrap();
    let (config, again) = (place.text("gpu.toml"), place.text("again"));
    let transfer = ["transfer", "--config", &config, "-o", &again];
    motionflow(&transfer).fails(2, &["--device cuda:99", "--device cpu computes without it"]);
    motionflow(&[&transfer[..], &["--device", "cpu"]].concat()).ok();
    same_results(&place.path("out"), &place.path("again"));
}
