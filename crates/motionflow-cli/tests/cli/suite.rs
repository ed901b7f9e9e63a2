//! `motionflow eval --suite`: many transfers, and a report on them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, Running};
use crate::common::{Place, car, motionflow, program, read_json, run, text, tiny_model, tree};
use crate::nats::Server;

/// Two clips, two prompts each, two variants: eight short transfers.
fn suite(place: &Place, more: &str) -> String {
    let clip = |name: &str| text(&tree().join("assets/clips").join(name));
    let suite = format!(
        "title = \"Updates <on> and off\"\n{more}\n\
         [defaults]\nmodel.name = \"{}\"\nvideo = {{ width = 24, height = 16, frames = 3 }}\n\
         settings = {{ steps = 3, guided_steps = 1, init = \"noise\" }}\n\
         [[clip]]\nname = \"car-arc\"\nsource = \"{}\"\nsource_prompt = \"a [car] on a road\"\n\
         prompts = [\"a [panda] in a forest\", \"a [camel] in the desert\"]\n\
         [[clip]]\nname = \"dog\"\nsource = \"{}\"\nsource_prompt = \"a [dog] on the grass\"\n\
         prompts = [\"a [panda] in a forest\", \"a [boat] on the sea\"]\n\
         [[variant]]\nname = \"guided\"\n\
         [[variant]]\nname = \"plain\"\nsettings.updates = false\n",
        tiny_model(),
        clip("car-arc.mp4"),
        clip("dog-bounce.mp4")
    );
    fs::write(place.path("suite.toml"), suite).unwrap();
    place.text("suite.toml")
}

fn eval(suite: &str, report: &str) -> Command {
    let mut command = program();
    command.args(["eval", "--suite", suite, "-o", report, "--clip", "demo-clip", "--threads", "1"]);
    command
}

fn results(place: &Place, report: &str) -> Value {
    read_json(&place.path(report).join("results.json"))
}

/// Names and endings of all transfers.
fn endings(results: &Value) -> Vec<String> {
    let told =
        |cell: &Value| format!("{} {}", cell["name"].as_str().unwrap(), cell["ending"].as_str().unwrap());
    results["cells"].as_array().unwrap().iter().map(told).collect()
}

/// How the transfers came by their inversions.
fn inversions(place: &Place, report: &str) -> BTreeMap<String, usize> {
    let mut origins = BTreeMap::new();
    for name in place.names(&format!("{report}/cells")) {
        let record = read_json(&place.path(report).join("cells").join(name).join("run.json"));
        *origins.entry(record["inversion"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    origins
}

/// The numbers of a row of table.md, by column.
fn row(table: &str, variant: &str) -> BTreeMap<String, String> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace("**", "")).collect()
    };
    let header = cells(table.lines().find(|line| line.starts_with("| variant")).unwrap());
    let row = cells(table.lines().find(|line| line.starts_with(&format!("| {variant} |"))).unwrap());
    header.into_iter().map(|name| name.trim_end_matches([' ', '↓', '↑']).to_owned()).zip(row).collect()
}

#[test]
fn a_suite_gives_a_report_and_goes_on_where_it_was() {
    let place = Place::new();
    let suite = suite(&place, "");
    let first = run(&mut eval(&suite, &place.text("report"))).ok();
    assert_eq!(inversions(&place, "report"), [("cached".to_owned(), 6), ("made".to_owned(), 2)].into());
    assert_eq!(
        place.names("report"),
        [".gitignore", "cells", "inversions", "overview.jpg", "report.html", "results.json", "table.md"]
    );
    let cell = "car-arc--a-panda-in-a-forest--guided";
    assert_eq!(
        place.names(&format!("report/cells/{cell}")),
        ["asked.toml", "contact-sheet.png", "figures.json", "result.mp4", "run.json", "run.toml"]
    );
    let results = results(&place, "report");
    assert_eq!(endings(&results).len(), 8);
    assert!(endings(&results).iter().all(|ending| ending.ends_with(" done")), "{results}");

    // The table says what results.json says, and that what the transfers say.
    let table = fs::read_to_string(place.path("report/table.md")).unwrap();
    for variant in results["variants"].as_array().unwrap() {
        let name = variant["name"].as_str().unwrap();
        let row = row(&table, name);
        let of: Vec<&Value> =
            results["cells"].as_array().unwrap().iter().filter(|cell| cell["variant"] == name).collect();
        assert_eq!((of.len(), row["transfers"].as_str()), (4, "4"));
        let told: Vec<f64> = of.iter().map(|cell| cell["sampling_seconds"].as_f64().unwrap()).collect();
        let mean = &variant["figures"]["sampling_seconds"];
        assert!((mean["mean"].as_f64().unwrap() - told.iter().sum::<f64>() / 4.0).abs() < 1e-9);
        let text = format!("{:.2} ± {:.2}", mean["mean"].as_f64().unwrap(), mean["margin"].as_f64().unwrap());
        assert_eq!(row["sampling_seconds"], text);
        assert!(first.stdout.contains(name), "{}", first.stdout);
    }
    let losses = |variant: usize| results["variants"][variant]["figures"].get("final_loss").is_some();
    assert_eq!((losses(0), losses(1)), (true, false), "without updates there is no loss");
    assert_eq!(results["variants"][1]["settings"]["settings.updates"], false);

    // The page has it all, and asks for nothing from elsewhere.
    let page = fs::read_to_string(place.path("report/report.html")).unwrap();
    for part in ["Updates &lt;on&gt; and off", "guided", "plain", "<svg", "sampling_seconds", "overview.jpg"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains(&format!("href=\"cells/{cell}/contact-sheet.png\"")));
    assert!(!page.contains("<script") && !page.contains("src=\"http") && !page.contains("href=\"http"));

    // Nothing is made twice; what is gone is made again.
    let again = run(&mut eval(&suite, &place.text("report"))).ok();
    assert!(again.stderr.contains("8 of 8 transfers are done"), "{}", again.stderr);
    assert_eq!(again.stdout, first.stdout);
    fs::remove_dir_all(place.path("report/cells").join(cell)).unwrap();
    let third = run(&mut eval(&suite, &place.text("report"))).ok();
    assert!(third.stderr.contains("7 of 8 transfers") && third.stderr.contains(cell), "{}", third.stderr);
    assert_eq!(read_json(&place.path("report/cells").join(cell).join("run.json"))["inversion"], "cached");
}

#[test]
fn a_transfer_of_a_suite_is_the_same_by_itself() {
    let place = Place::new();
    let suite = suite(&place, "");
    run(&mut eval(&suite, &place.text("report"))).ok();
    let cell = place.path("report/cells/dog--a-boat-on-the-sea--guided");
    let alone = place.text("alone");
    motionflow(&["transfer", "--config", &text(&cell.join("run.toml")), "-o", &alone]).ok();
    for name in ["result.mp4", "contact-sheet.png", "run.toml"] {
        assert!(
            fs::read(cell.join(name)).unwrap() == fs::read(Path::new(&alone).join(name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn shards_at_once_make_what_one_process_makes() {
    let place = Place::new();
    let suite = suite(&place, "seeds = [3, 4]");
    run(&mut eval(&suite, &place.text("whole"))).ok();
    let shards = ["1/3", "2/3", "3/3"];
    let start = |shard: &str| {
        let mut command = eval(&suite, &place.text("parts"));
        command.args(["--shard", shard]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for mut running in shards.map(start) {
        assert!(running.wait().unwrap().success());
    }
    // Whoever came last has written the report.
    assert_eq!(endings(&results(&place, "parts")), endings(&results(&place, "whole")));
    assert_eq!(inversions(&place, "parts"), inversions(&place, "whole"), "one for each clip");
    let names = place.names("whole/cells");
    assert_eq!((names.len(), place.names("parts/cells")), (16, names.clone()));
    for name in names {
        assert!(name.ends_with("--seed-3") || name.ends_with("--seed-4"));
        let result =
            |report: &str| fs::read(place.path(report).join("cells").join(&name).join("result.mp4")).unwrap();
        assert!(result("whole") == result("parts"), "{name}");
    }
    let again = run(eval(&suite, &place.text("parts")).args(["--shard", "2/3"])).ok();
    assert!(again.stderr.contains("5 of 5 transfers are done"), "{}", again.stderr);
}

#[test]
fn a_transfer_that_fails_is_told_and_ends_nothing() {
    let place = Place::new();
    let suite = suite(&place, "");
    let broken = fs::read_to_string(&suite).unwrap().replace("dog-bounce", "no-such-dog");
    fs::write(&suite, &broken).unwrap();
    let outcome = run(&mut eval(&suite, &place.text("report")));
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("4 of 8 jobs failed"), "{}", outcome.stderr);
    let results = results(&place, "report");
    let failed: Vec<&Value> =
        results["cells"].as_array().unwrap().iter().filter(|cell| cell["ending"] == "failed").collect();
    assert_eq!(failed.len(), 4);
    assert!(failed.iter().all(|cell| cell["error"].as_str().unwrap().contains("no-such-dog")), "{results}");
    let table = fs::read_to_string(place.path("report/table.md")).unwrap();
    assert_eq!(row(&table, "guided")["transfers"], "2 of 4");
    assert!(table.contains("## Failed") && table.matches("no-such-dog").count() == 4, "{table}");
    assert!(fs::read_to_string(place.path("report/report.html")).unwrap().contains("no-such-dog"));

    fs::write(&suite, broken.replace("no-such-dog", "dog-bounce")).unwrap();
    let repaired = run(&mut eval(&suite, &place.text("report"))).ok();
    assert!(repaired.stderr.contains("4 of 8 transfers are done"), "{}", repaired.stderr);

    // Other settings are other transfers, and none of the old ones is passed for them.
    fs::write(&suite, fs::read_to_string(&suite).unwrap().replace("steps = 3", "steps = 2")).unwrap();
    let changed = run(&mut eval(&suite, &place.text("report")));
    assert_eq!(changed.code, 1);
    assert!(changed.stderr.contains("holds a run of other settings"), "{}", changed.stderr);
}

#[test]
fn a_stopped_suite_goes_on() {
    let place = Place::new();
    let suite = suite(&place, "");
    let long = fs::read_to_string(&suite).unwrap().replace("steps = 3", "steps = 40");
    fs::write(&suite, long).unwrap();
    let mut running =
        eval(&suite, &place.text("report")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = place.path("report/cells/car-arc--a-camel-in-the-desert--guided/.unfinished");
    while !begun.join("sampling-0002.safetensors").exists() {
        assert!(running.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert!(begun.is_dir() && !place.path("report/results.json").exists());
    let outcome = run(eval(&suite, &place.text("report")).args(["--shard", "1/4"])).ok();
    assert!(outcome.stderr.contains("1 of 2 transfers are done"), "{}", outcome.stderr);
    let finished = read_json(&begun.parent().unwrap().join("run.json"));
    let samplings = finished["steps"].as_array().unwrap().iter().filter(|step| step["stage"] == "sampling");
    assert_eq!(samplings.count(), 40, "it goes on, and has all its steps");
    assert!(!place.path("report/results.json").exists(), "others are not done yet");
}

#[test]
fn clips_may_stand_in_a_file_of_their_own() {
    let place = Place::new();
    let suite = suite(&place, "clips_from = \"more/clips.toml\"\nprompts_per_clip = 1");
    let whole = fs::read_to_string(&suite).unwrap();
    let (head, rest) = whole.split_once("[[clip]]").unwrap();
    let (clips, variants) = rest.split_once("[[variant]]").unwrap();
    fs::create_dir(place.path("more")).unwrap();
    fs::write(place.path("more/clips.toml"), format!("[[clip]]{clips}")).unwrap();
    fs::write(&suite, format!("{head}[[variant]]{variants}")).unwrap();
    run(&mut eval(&suite, &place.text("report"))).ok();
    assert_eq!(
        place.names("report/cells"),
        [
            "car-arc--a-panda-in-a-forest--guided",
            "car-arc--a-panda-in-a-forest--plain",
            "dog--a-panda-in-a-forest--guided",
            "dog--a-panda-in-a-forest--plain"
        ]
    );
}

#[test]
fn a_result_that_is_gone_is_told_with_what_to_do() {
    let place = Place::new();
    let suite = suite(&place, "prompts_per_clip = 1");
    run(&mut eval(&suite, &place.text("report"))).ok();
    let cell = place.path("report/cells/dog--a-panda-in-a-forest--plain");
    for name in ["result.mp4", "figures.json"] {
        fs::remove_file(cell.join(name)).unwrap();
    }
    let outcome = run(&mut eval(&suite, &place.text("report")));
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let told = "dog--a-panda-in-a-forest--plain: is damaged; remove the folder, to make it anew: ";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    fs::remove_dir_all(&cell).unwrap();
    run(&mut eval(&suite, &place.text("report"))).ok();
}

#[test]
fn a_report_may_be_moved_with_its_clips() {
    let place = Place::new();
    let suite = suite(&place, "");
    fs::create_dir_all(place.path("here/report")).unwrap();
    let relative = fs::read_to_string(&suite).unwrap();
    for name in ["car-arc.mp4", "dog-bounce.mp4"] {
        let clip = tree().join("assets/clips").join(name);
        fs::copy(&clip, place.path("here").join(name)).unwrap();
    }
    let relative = relative.replace(&text(&tree().join("assets/clips")), ".");
    fs::write(place.path("here/suite.toml"), relative).unwrap();
    let eval = |folder: &str| {
        run(&mut eval(&place.text(&format!("{folder}/suite.toml")), &place.text(&format!("{folder}/report"))))
            .ok()
    };
    let first = eval("here");
    fs::rename(place.path("here"), place.path("there")).unwrap();
    // The results are seen to be there, and measured again at their new place.
    for cell in place.names("there/report/cells") {
        fs::remove_file(place.path("there/report/cells").join(cell).join("figures.json")).unwrap();
    }
    let again = eval("there");
    assert_eq!(again.stderr.matches("done before").count(), 8, "{}", again.stderr);
    assert_eq!(again.stdout.replace("there", "here"), first.stdout);
}

#[test]
fn suites_that_make_no_sense() {
    let place = Place::new();
    let suite = suite(&place, "");
    let whole = fs::read_to_string(&suite).unwrap();
    let clip =
        "[[clip]]\nname = \"a\"\nsource = \"a.mp4\"\nsource_prompt = \"a [car]\"\nprompts = [\"a [dog]\"]\n";
    for (text, parts) in [
        (whole.replace("source_prompt", "source_promt"), &["line", "did you mean \"source_prompt\"?"][..]),
        (whole.replace("settings.updates", "settings.update"), &["did you mean \"updates\"?"]),
        (whole.replace("[defaults]", "[measure]\nclap = \"x\"\n[defaults]"), &["did you mean \"clip\"?"]),
        (String::new(), &["has no [[clip]]"]),
        (clip.to_owned(), &["has no [[variant]]"]),
        (
            clip.replace("prompts = [\"a [dog]\"]", "") + "[[variant]]\nname = \"v\"",
            &["\"a\" has no prompts"],
        ),
        (whole.replace("\"plain\"", "\"Guided\""), &["two of the variants", "Guided"]),
        (whole.replace("\"plain\"", "\" \""), &["one of the variants has no name"]),
        (
            whole.replace("settings.updates", "prompts.prompt = \"x\"\nsettings.updates"),
            &["\"plain\"", "prompts.prompt", "[[clip]]"],
        ),
        (
            whole.replace("settings.updates", "output.force = true\nsettings.updates"),
            &["output.force", "--force"],
        ),
        (format!("seeds = [1, 1]\n{whole}"), &["a seed is there twice"]),
        (
            whole
                .replace("source_prompt", &format!("truth = \"{}\"\nsource_prompt", car()))
                .replace("settings.updates", "source.every = 2\nsettings.updates"),
            &["\"plain\"", "source.every", "\"car-arc\"", "truth"],
        ),
    ] {
        fs::write(&suite, text).unwrap();
        run(&mut eval(&suite, &place.text("report"))).fails(2, parts);
        assert_eq!(place.names("."), ["suite.toml"]);
    }
    motionflow(&["eval", "--suite", &suite, "--shard", "3/2"]).fails(2, &["3/2", "like 2/8"]);
    motionflow(&["eval", "--suite", &suite, "--source", &car()]).fails(2, &["cannot be used with"]);
}

/// A figure that is a time or a memory is another one each time.
fn is_measured_of_the_machine(name: &str) -> bool {
    name.contains("seconds") || name.contains("memory")
}

#[test]
fn a_suite_over_three_workers_of_a_queue_is_that_of_one_machine() {
    let Some(server) = Server::start(&[]) else { return };
    let cluster = Cluster::new(server.address());
    let place = &cluster.place;
    let suite = suite(place, "");
    let workers = [0, 1, 2].map(|number| {
        let mut worker = cluster.command(&["worker", "--threads", "1"]);
        worker.args(["--work", &place.text(&format!("work-{number}"))]);
        Running::begin(&mut worker, place.path(&format!("worker-{number}.log")))
    });
    run(&mut eval(&suite, &place.text("here"))).ok();
    let mut spread = eval(&suite, &place.text("spread"));
    run(spread.args(["--queue", &cluster.address, "--lease", cluster.lease])).ok();
    drop(workers);
    let [here, spread] = ["here", "spread"].map(|report| results(place, report));
    assert_eq!(endings(&here), endings(&spread));
    for (one, other) in
        here["variants"].as_array().unwrap().iter().zip(spread["variants"].as_array().unwrap())
    {
        for (name, figure) in one["figures"].as_object().unwrap() {
            assert!(is_measured_of_the_machine(name) || *figure == other["figures"][name], "{name}");
        }
    }
    for cell in place.names("here/cells") {
        let of = |report: &str| fs::read(place.path(report).join("cells").join(&cell).join("result.mp4"));
        assert!(of("here").unwrap() == of("spread").unwrap(), "{cell}");
    }
}
