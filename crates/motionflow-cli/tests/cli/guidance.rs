//! The method's options: what each changes, what they leave in the records, and which do not go together.

use std::fs;

use serde_json::Value;

use crate::common::{
    Place, SMALL, car, motionflow, program, read_json, read_toml, run, same_results, tiny_model,
};

/// The losses of every guided update.
fn losses(place: &Place, folder: &str) -> Vec<Value> {
    let history = read_json(&place.path(&format!("{folder}/run.json")));
    let steps = history["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["stage"] == "update").map(|step| step["loss"].clone()).collect()
}

/// A transfer between two subjects each into this folder.
fn transfer_two(place: &Place, output: &str, flags: &[&str]) -> crate::common::Outcome {
    let mut command = place.transfer_to(output);
    command.args(flags);
    let mut arguments: Vec<String> =
        command.get_args().map(|argument| argument.to_str().unwrap().to_owned()).collect();
    for (flag, prompt) in [("--source-prompt", "a [car] and a [dog]"), ("--prompt", "a [panda] and a [ball]")]
    {
        let place = arguments.iter().position(|argument| argument == flag).unwrap();
        prompt.clone_into(&mut arguments[place + 1]);
    }
    run(program().args(arguments))
}

#[test]
fn each_option_changes_the_losses_and_is_off_by_default() {
    let place = Place::new();
    let base = ["--updates-per-step", "2", "--step-norm", "0.2"];
    place.transfer(&base).ok();
    let plain = losses(&place, "out");
    assert_eq!(plain.len(), 4);
    assert!(plain.iter().all(|loss| loss.get("outside").is_none() && loss.get("other").is_none()));
    for flags in [
        &["--subject-map", "end"][..],
        &["--mask-time", "average"],
        &["--mask-layers", "finest"],
        &["--lambda-outside", "0.5"],
        &["--token-weight", "3"],
        &["--keep-statistics", "norm"],
        &["--keep-statistics", "channels"],
        &["--guidance-layers", "mid_block"],
    ] {
        place.transfer(&[&base, flags, &["--force"]].concat()).ok();
        let changed = losses(&place, "out");
        assert_eq!(changed.len(), 4, "{flags:?}");
        assert_ne!(changed, plain, "{flags:?}");
        assert_eq!(changed[0].get("outside").is_some(), flags[0] == "--lambda-outside");
    }
    // What is off by its number is off.
    let off =
        ["--lambda-outside", "0", "--lambda-other", "0", "--token-weight", "1", "--loss-threshold", "0"];
    place.transfer(&[&base[..], &off, &["--mask-apart", "--force"]].concat()).ok();
    assert_eq!(losses(&place, "out"), plain);
}

#[test]
fn two_subjects_can_be_kept_apart() {
    let place = Place::new();
    let base = ["--tau", "0.01", "--step-norm", "0.2"];
    transfer_two(&place, "plain", &base).ok();
    transfer_two(&place, "apart", &[&base[..], &["--mask-apart", "--lambda-other", "1"]].concat()).ok();
    let coverage = |folder: &str| {
        let masks = read_json(&place.path(&format!("{folder}/run.json")))["masks"].clone();
        masks.as_array().unwrap().iter().map(|mask| mask["coverage"].as_f64().unwrap()).sum::<f64>()
    };
    assert!(coverage("plain") > 1.5, "{}", coverage("plain"));
    assert!(coverage("apart") < 1.001, "{}", coverage("apart"));
    let other = losses(&place, "apart")[0]["other"].as_f64().unwrap();
    assert!(0.0 < other && other < 1.0, "{other}");
    assert!(fs::read_to_string(place.path("apart/loss.svg")).unwrap().contains(">other<"));
    assert!(!fs::read_to_string(place.path("plain/loss.svg")).unwrap().contains(">other<"));
}

#[test]
fn updates_end_when_the_loss_is_under_its_threshold() {
    let place = Place::new();
    place.transfer(&["--updates-per-step", "3", "--loss-threshold", "100"]).ok();
    assert!(losses(&place, "out").is_empty());
    place.transfer(&["--updates-per-step", "3", "--loss-threshold", "0.000001", "--force"]).ok();
    let all = losses(&place, "out");
    assert_eq!(all.len(), 6);
    // Between the first two losses of a step that falls lies a threshold that ends it after one update.
    let total = |loss: &Value| loss["total"].as_f64().unwrap();
    let at_most = place.transfer(&["--dry-run", "--force", "--loss-threshold", "0.1"]).ok();
    assert!(at_most.stdout.contains("time    at most about"), "{}", at_most.stdout);
    let falling = ["--updates-per-step", "3", "--step-norm", "0.01", "--force"];
    place.transfer(&falling).ok();
    let fell: Vec<f64> = losses(&place, "out").iter().map(total).collect();
    assert!(fell[1] < fell[0], "{fell:?}");
    let between = f64::midpoint(fell[0], fell[1]).to_string();
    place.transfer(&[&falling[..], &["--loss-threshold", &between]].concat()).ok();
    let ended: Vec<f64> = losses(&place, "out").iter().map(total).collect();
    assert_eq!(ended[0].to_bits(), fell[0].to_bits());
    assert!(ended.len() < fell.len() && ended.iter().all(|loss| *loss >= f64::midpoint(fell[0], fell[1])));
}

#[test]
fn a_run_with_every_option_is_done_again_from_its_record() {
    let place = Place::new();
    let flags = "--subject-map end --mask-time average --mask-layers finest --mask-apart --lambda-outside 0.5 \
                 --lambda-other 0.1 --loss-threshold 0.001 --updates-per-step 2 --keep-statistics channels \
                 --guidance-layers mid_block,up_blocks.1 --token-weight 1.5 --preset paper";
    let flags: Vec<&str> = flags.split_whitespace().collect();
    place.transfer(&flags).ok();
    let record = place.text("out/run.toml");
    motionflow(&["transfer", "--config", &record, "-o", &place.text("again")]).ok();
    same_results(&place.path("out"), &place.path("again"));
    let settings = &read_toml(&place.path("again/run.toml"))["settings"];
    assert_eq!(settings["guidance_layers"].as_array().unwrap().len(), 2);
    for (key, value) in [
        ("preset", "paper"),
        ("subject_map", "end"),
        ("mask_time", "average"),
        ("mask_layers", "finest"),
        ("keep_statistics", "channels"),
    ] {
        assert_eq!(settings[key].as_str(), Some(value), "{key}");
    }
}

#[test]
fn the_papers_preset_goes_before_the_checkpoints_recommendation() {
    let place = Place::new();
    let model = place.copied_model();
    let recommended = "[settings]\nsteps = 4\nguided_steps = 2\ntau = 0.2\nstep_norm = 0.3\nguidance_scale = 4\n\
                       init = \"noise\"\nmask_source = \"noised\"\nmask_time = \"average\"\nguidance_layers = [\"mid_block\"]\n";
    fs::write(model.join("motionflow.toml"), recommended).unwrap();
    let model = model.to_str().unwrap();
    let transfer = |output: &str, flags: &[&str]| {
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car]", "--prompt", "a [panda]"]);
        command.args(["--width", "24", "--height", "16", "--frames", "3", "--threads", "1"]);
        run(command.args(["-o", &place.text(output)]).args(flags)).ok()
    };
    let settings = |flags: &[&str]| {
        let outcome = transfer("none", &[flags, &["--dry-run", "--model", model]].concat());
        let resolved: toml::Table = outcome.stdout.split("\ntokens of").next().unwrap().parse().unwrap();
        resolved["settings"].clone()
    };
    let default = settings(&[]);
    assert_eq!((default["steps"].as_integer(), default["mask_time"].as_str()), (Some(4), Some("average")));
    let paper = settings(&["--preset", "paper"]);
    assert_eq!((paper["steps"].as_integer(), paper["guided_steps"].as_integer()), (Some(50), Some(20)));
    assert_eq!((paper["tau"].as_float(), paper["step_size"].as_float()), (Some(0.4), Some(5.0)));
    assert_eq!((paper["init"].as_str(), paper.get("step_norm")), (Some("inverted"), None));
    let masks = [&default, &paper].map(|settings| settings["mask_source"].as_str().unwrap().to_owned());
    assert_eq!(masks, ["noised", "inversion"]);
    assert!(paper["guidance_layers"].as_array().unwrap().is_empty());
    // The guidance scale is the checkpoint's, not the method's.
    assert_eq!(paper["guidance_scale"].as_float(), Some(4.0));
    assert_eq!(settings(&["--preset", "paper", "--steps", "25"])["guided_steps"].as_integer(), Some(10));

    // A file's preset, with a key of the file and a flag above it.
    fs::write(place.path("paper.toml"), "[settings]\npreset = \"paper\"\ntau = 0.3\nsteps = 10\n").unwrap();
    let file = settings(&["--config", &place.text("paper.toml"), "--steps", "5"]);
    assert_eq!((file["tau"].as_float(), file["step_size"].as_float()), (Some(0.3), Some(5.0)));
    assert_eq!((file["steps"].as_integer(), file["guided_steps"].as_integer()), (Some(5), Some(2)));
    let file = settings(&["--config", &place.text("paper.toml"), "--preset", "default"]);
    assert_eq!((file["tau"].as_float(), file["step_norm"].as_float()), (Some(0.3), Some(0.3)));

    // The same video as of a checkpoint that recommends nothing.
    let few = ["--preset", "paper", "--steps", "3", "--no-metadata"];
    transfer("paper", &[&few[..], &["--model", model]].concat());
    transfer("plain", &["--steps", "3", "--no-metadata", "--cfg-scale", "4", "--model", &tiny_model()]);
    let video = |folder: &str| fs::read(place.path(folder).join("result.mp4")).unwrap();
    assert!(video("paper") == video("plain"));
}

#[test]
fn a_record_of_an_earlier_version_is_not_changed_by_new_recommendations() {
    let place = Place::new();
    let model = place.copied_model();
    let flags = ["--seed", "3", "--init", "noise", "--step-norm", "0.1"];
    let transfer = |output: &str| {
        let mut command = program();
        command.args(["transfer", "--source", &car(), "--source-prompt", "a [car]", "-p", "a [panda]"]);
        command.args(SMALL).args(flags).args(["-m", model.to_str().unwrap(), "-o", &place.text(output)]);
        run(&mut command).ok();
    };
    transfer("out");
    // The keys that the first version did not have.
    let later = [
        "preset",
        "subject_map",
        "mask_",
        "noised_",
        "lambda_o",
        "loss_",
        "keep_",
        "guidance_layers",
        "token_",
    ];
    let record = fs::read_to_string(place.path("out/run.toml")).unwrap();
    let earlier: Vec<&str> =
        record.lines().filter(|line| !later.iter().any(|key| line.starts_with(key))).collect();
    assert!(earlier.len() + 13 < record.lines().count(), "{record}");
    fs::write(place.path("earlier.toml"), earlier.join("\n")).unwrap();
    let recommended = "[settings]\nsubject_map = \"end\"\nmask_source = \"noised\"\nmask_time = \"average\"\n\
                       token_weight = 3\n";
    fs::write(model.join("motionflow.toml"), recommended).unwrap();
    motionflow(&["transfer", "--config", &place.text("earlier.toml"), "-o", &place.text("again")]).ok();
    same_results(&place.path("out"), &place.path("again"));
    transfer("new");
    let settings = &read_toml(&place.path("new/run.toml"))["settings"];
    assert_eq!(settings["mask_time"].as_str(), Some("average"));
}

#[test]
fn the_end_tokens_inversion_is_its_own() {
    let place = Place::new();
    let [model, car, end, word] = [tiny_model(), car(), place.text("end"), place.text("word")];
    let source = ["--source", &*car, "--source-prompt", "a [car]", "--model", &model];
    motionflow(&[&["invert", "-o", &end, "--subject-map", "end"], &source[..], &SMALL[..]].concat()).ok();
    motionflow(&[&["invert", "-o", &word], &source[..], &SMALL[..]].concat()).ok();
    assert_eq!(read_toml(&place.path("end/inversion.toml"))["subject_map"].as_str(), Some("end"));
    let transfer = |inversion: &str, flags: &[&str]| {
        let out = ["transfer", "--inversion", inversion, "-p", "a [panda]", "-m", &model, "--force"];
        motionflow(&[&out[..], &["-o", &place.text("out")], flags].concat())
    };
    transfer(&end, &["--subject-map", "word"])
        .fails(2, &["does not fit", "--subject-map end", "invert again with --subject-map word"]);
    transfer(&end, &["--preset", "paper"]).fails(2, &["this run wants word"]);
    transfer(&word, &["--subject-map", "end"]).fails(2, &["made with --subject-map word"]);
    // What is not said is as it was inverted; and an inversion of earlier versions is of the words.
    transfer(&end, &[]).ok();
    assert_eq!(read_toml(&place.path("out/run.toml"))["settings"]["subject_map"].as_str(), Some("end"));
    motionflow(&["transfer", "--config", &place.text("out/run.toml"), "-o", &place.text("again")]).ok();
    same_results(&place.path("out"), &place.path("again"));
    let record = place.path("word/inversion.toml");
    let earlier = fs::read_to_string(&record).unwrap().replace("subject_map = \"word\"\n", "");
    fs::write(&record, earlier).unwrap();
    transfer(&word, &[]).ok();
    assert_eq!(read_toml(&place.path("out/run.toml"))["settings"]["subject_map"].as_str(), Some("word"));

    let looked = ["inspect", "--subject-map", "end", "--mask-layers", "finest", "-o", &place.text("look")];
    motionflow(&[&looked[..], &source[..], &SMALL[..]].concat()).ok();
    let settings = &read_toml(&place.path("look/run.toml"))["settings"];
    assert_eq!(settings["mask_layers"].as_str(), Some("finest"));
}

#[test]
fn the_cache_keeps_each_tokens_maps() {
    let place = Place::new();
    let transfer = |output: &str, flags: &[&str]| {
        let mut command = place.transfer_to(output);
        command.env("MOTIONFLOW_CACHE", place.path("cache")).env_remove("MOTIONFLOW_CACHE_LIMIT");
        run(command.args(flags)).ok();
        read_json(&place.path(output).join("run.json"))["inversion"].clone()
    };
    assert_eq!(transfer("word", &[]), "made");
    assert_eq!(transfer("end", &["--subject-map", "end"]), "made");
    assert_eq!(transfer("again", &["--subject-map", "end", "--mask-time", "average"]), "cached");
}

#[test]
fn what_cannot_be_is_told_before_anything_is_made() {
    let place = Place::new();
    transfer_two(&place, "out", &["--subject-map", "end"]).fails(2, &["--subject-map end", "marks 2"]);
    let blocks = "it has down_blocks.0, mid_block, up_blocks.1";
    place.transfer(&["--guidance-layers", "mid_block,up_blocks.3"]).fails(2, &["\"up_blocks.3\"", blocks]);
    place.transfer(&["--token-weight=-1"]).fails(2, &["--token-weight is -1", "0 or more"]);
    place.transfer(&["--lambda-outside=-1"]).fails(2, &["--lambda-outside is -1"]);
    place.transfer(&["--loss-threshold", "nan"]).fails(2, &["--loss-threshold is NaN"]);
    place.transfer(&["--mask-time", "mean"]).fails(2, &["step, average"]);
    assert!(place.names("").is_empty());
}
