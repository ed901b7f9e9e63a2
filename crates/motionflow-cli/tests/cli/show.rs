//! `motionflow show`: how a result was made, from its folder or from the file alone.

use std::fs;

use motionflow_media::metadata;

use crate::common::{Place, SMALL, car, ffmpeg, motionflow, program, read_toml, run, tiny_model, tree};

fn show(path: &str) -> crate::common::Outcome {
    motionflow(&["show", path])
}

#[track_caller]
fn tells(outcome: &crate::common::Outcome, parts: &[&str]) {
    for part in parts {
        assert!(outcome.stdout.contains(part), "\"{part}\" is not in:\n{}", outcome.stdout);
    }
}

#[test]
fn a_run_is_told_from_its_folder_and_from_every_file_of_it() {
    let place = Place::new();
    place.transfer(&["--seed", "7", "--negative-prompt", "blurry", "--tau", "0"]).ok();
    let folder = show(&place.text("out")).ok();
    let settings = "guided_steps 2, seed 7, steps 3, tau 0.0; others as by default";
    let all = [
        concat!("`motionflow transfer`, version ", env!("CARGO_PKG_VERSION")),
        "prompt           a [panda] in the snow\n",
        "negative prompt  blurry\n",
        "source prompt    a [car] on a road\n",
        "car-arc.mp4 (from 0.0 s, every frame, crop)\n",
        ", sha256 ",
        "24x16, 3 frames, 8.0 per second\n",
        settings,
    ];
    tells(&folder, &all);
    tells(&folder, &[&car(), "took  ", " of memory\n", "warning          ", "covers 100 % of the frame"]);
    for file in ["run.toml", "run.json", "compare.mp4", "masks.mp4", "contact-sheet.png", "loss.svg"] {
        assert_eq!(show(&place.text(&format!("out/{file}"))).ok().stdout, folder.stdout, "{file}");
    }
    let toml = motionflow(&["show", "--toml", &place.text("out")]).ok().stdout;
    assert_eq!(toml, fs::read_to_string(place.path("out/run.toml")).unwrap());

    // Far from its folder a result still knows, but says nothing of the machine.
    for file in ["result.mp4", "result.gif"] {
        let away = place.path(&format!("away-{file}"));
        fs::rename(place.path("out").join(file), &away).unwrap();
        let outcome = show(away.to_str().unwrap()).ok();
        tells(&outcome, &all);
        let toml = motionflow(&["show", "--toml", away.to_str().unwrap()]).ok().stdout;
        assert!(!toml.contains(tree().to_str().unwrap()), "{toml}");
        let (told, record): (toml::Table, _) =
            (toml.parse().unwrap(), read_toml(&place.path("out/run.toml")));
        for table in ["program", "prompts", "video", "settings"] {
            assert_eq!(told[table], record[table], "{table}");
        }
        assert_eq!(told["source"]["frames_sha256"], record["source"]["frames_sha256"]);
        assert_eq!(told["model"]["sha256"], record["model"]["sha256"]);
    }
    let pairs = metadata::read_mp4(&ffmpeg(), &place.path("away-result.mp4")).unwrap();
    assert!(pairs.contains(&("title".to_owned(), "a panda in the snow".to_owned())), "{pairs:?}");
}

#[test]
fn an_inversion_and_a_generated_video_are_told() {
    let place = Place::new();
    let (inversion, generated, model) = (place.text("inv"), place.text("generated"), tiny_model());
    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car] on a road", "-o", &inversion]);
    run(invert.args(SMALL).args(["--model", &model])).ok();
    tells(
        &show(&inversion).ok(),
        &["motionflow invert", "a [car] on a road", "guided_steps 1, steps 3; others"],
    );
    let mut generate = program();
    generate.args(["generate", "--prompt", "a panda \"in\" the snow = 🐼", "-o", &generated]);
    run(generate.args(SMALL).args(["--model", &model])).ok();
    let outcome = show(&place.text("generated/result.mp4")).ok();
    tells(&outcome, &["motionflow generate", "a panda \"in\" the snow = 🐼\n"]);
    assert!(!outcome.stdout.contains("source"), "{}", outcome.stdout);
}

#[test]
fn metadata_can_be_left_out() {
    let place = Place::new();
    place.transfer(&["--no-metadata"]).ok();
    for file in ["result.mp4", "result.gif"] {
        let bytes = fs::read(place.path("out").join(file)).unwrap();
        for word in [&b"panda"[..], b"settings"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{file}");
        }
        tells(&show(&place.text(&format!("out/{file}"))).ok(), &["a [panda] in the snow", "took"]);
        let away = place.path(file);
        fs::rename(place.path("out").join(file), &away).unwrap();
        show(away.to_str().unwrap()).fails(2, &[file, "carries no record of motionflow"]);
    }
}

#[test]
fn what_is_of_no_run_is_told() {
    let place = Place::new();
    let path = |name: &str| place.text(name);
    show(&path("missing")).fails(2, &["missing: no such file or folder"]);
    show(&path("")).fails(2, &["holds no run of motionflow"]);
    show(&car()).fails(2, &["car-arc.mp4: carries no record of motionflow"]);
    fs::write(place.path("notes.txt"), "mine").unwrap();
    fs::write(place.path("run.toml"), "[program]\ncommand = \"transfer\"\nversion = \"1\"").unwrap();
    show(&path("notes.txt")).fails(2, &["carries no record"]);
    tells(&show(&path("")).ok(), &["motionflow transfer"]);
    fs::write(place.path("run.toml"), "[package]").unwrap();
    show(&path("")).fails(2, &["run.toml: is no record of motionflow"]);
    fs::write(place.path("run.toml"), "[program").unwrap();
    show(&path("")).fails(1, &["run.toml"]);
    fs::create_dir_all(place.path("stopped/.unfinished")).unwrap();
    fs::write(place.path("stopped/.unfinished/run.toml"), "").unwrap();
    show(&path("stopped")).fails(2, &["stopped: holds a run that is not finished"]);
    fs::write(place.path("broken.mp4"), b"\0\0\0\x18ftypisom").unwrap();
    show(&path("broken.mp4")).fails(1, &["broken.mp4", "metadata"]);
    fs::write(place.path("broken.gif"), b"GIF89a").unwrap();
    show(&path("broken.gif")).fails(1, &["broken.gif", "metadata"]);
}
