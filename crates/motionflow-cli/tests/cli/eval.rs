//! `motionflow eval` of one result.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use motionflow_media::image::{Rgb, RgbImage, imageops};
use motionflow_media::picture;
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::common::{Outcome, Place, car, copy, motionflow, run, text, tree};
use crate::hub_server::Hub;

/// A CLIP of random weights.
fn tiny_clip() -> String {
    text(&tree().join("crates/motionflow/tests/clip-cases/clip-tiny/model"))
}

/// The figures of a run by name, and who made them.
#[track_caller]
fn figures(outcome: &Outcome) -> BTreeMap<String, (f64, String)> {
    let events = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows: Vec<Value> = events.filter(|event| event["event"] == "row").collect();
    assert_eq!(rows.len(), 1, "{}", outcome.stdout);
    let figures = rows[0]["row"]["figures"].as_array().unwrap().iter().map(|figure| {
        let text = |key: &str| figure[key].as_str().unwrap().to_owned();
        (text("name"), (figure["value"].as_f64().unwrap(), text("made_with")))
    });
    figures.collect()
}

/// Measures a pair with these flags besides.
fn eval(source: &str, result: &str, flags: &[&str]) -> Outcome {
    let mut arguments = vec!["eval", "--json", "--source", source, "--result", result, "-p", "a [car]"];
    arguments.extend(flags);
    motionflow(&arguments)
}

/// Motion fidelity and its symmetric form.
#[track_caller]
fn fidelity(source: &str, result: &str) -> [f64; 2] {
    let figures = figures(&eval(source, result, &["--clip", "none"]).ok());
    ["motion_fidelity_lk", "motion_fidelity_lk_symmetric"].map(|name| figures[name].0)
}

/// A blotch that moves over standing ground, 2 pixels right and 1 down each frame.
fn moving() -> Vec<RgbImage> {
    let noise = |width: u32, height: u32, scene: u32| {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let mixed = (x / 4).wrapping_mul(374_761_393) ^ (y / 4).wrapping_mul(668_265_263) ^ scene;
            Rgb([((mixed ^ (mixed >> 13)).wrapping_mul(1_274_126_177) >> 24) as u8; 3])
        });
        imageops::blur(&picture, 2.0)
    };
    let (ground, blotch) = (noise(96, 64, 0), noise(40, 40, 77 << 9));
    let frame = |t: i64| {
        let mut picture = ground.clone();
        imageops::replace(&mut picture, &blotch, 20 + 2 * t, 10 + t);
        picture
    };
    (0..6).map(frame).collect()
}

/// Writes frames into a folder, which is a video to the program.
fn video(place: &Place, name: &str, frames: &[RgbImage]) -> String {
    fs::create_dir(place.path(name)).unwrap();
    for (index, frame) in frames.iter().enumerate() {
        picture::write_png(&place.path(&format!("{name}/{index}.png")), frame).unwrap();
    }
    place.text(name)
}

#[test]
fn a_video_is_faithful_to_itself() {
    let clip = tiny_clip();
    let figures = figures(&eval(&car(), &car(), &["--clip", &clip]).ok());
    let names: Vec<&str> = figures.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["motion_fidelity_lk", "motion_fidelity_lk_symmetric", "temporal_consistency", "text_similarity"]
    );
    for name in ["motion_fidelity_lk", "motion_fidelity_lk_symmetric"] {
        assert!((figures[name].0 - 1.0).abs() < 1e-4, "{figures:?}");
        assert!(figures[name].1.contains("Lucas-Kanade"), "{figures:?}");
    }
    assert_eq!(figures["text_similarity"].1, clip);
    assert!(figures.values().all(|(value, _)| (-1.0..=1.0).contains(value)), "{figures:?}");
}

#[test]
fn motion_fidelity_tells_motions_apart() {
    let place = Place::new();
    let frames = moving();
    let source = video(&place, "source", &frames);
    assert!(fidelity(&source, &source).iter().all(|score| *score > 0.9999));
    let mirrored: Vec<RgbImage> = frames.iter().map(imageops::flip_horizontal).collect();
    let upside_down: Vec<RgbImage> = mirrored.iter().map(imageops::flip_vertical).collect();
    let backwards: Vec<RgbImage> = frames.iter().rev().cloned().collect();
    for (name, other) in [("mirrored", mirrored), ("upside-down", upside_down), ("backwards", backwards)] {
        let scores = fidelity(&source, &video(&place, name, &other));
        assert!(scores.iter().all(|score| *score < 0.5), "{name}: {scores:?}");
    }
}

#[test]
fn a_picture_at_rest_has_not_taken_the_motion() {
    let place = Place::new();
    let frames = moving();
    let source = video(&place, "source", &frames);
    let still = video(&place, "still", &vec![frames[0].clone(); 6]);
    let [one_way, symmetric] = fidelity(&source, &still);
    assert!(one_way == 0.0 && symmetric.abs() < 0.1, "{one_way} {symmetric}");
    assert!(fidelity(&still, &still).iter().all(|score| *score > 0.9999));
}

#[test]
fn figures_that_cannot_be_had_are_left_out_and_that_is_said() {
    let place = Place::new();
    let flat = video(&place, "flat", &vec![RgbImage::new(64, 64); 3]);
    let outcome = eval(&flat, &flat, &["--clip", &tiny_clip()]).ok();
    assert_eq!(figures(&outcome).keys().collect::<Vec<_>>(), ["temporal_consistency", "text_similarity"]);
    assert!(outcome.stdout.contains("motion_fidelity_lk is left out"), "{}", outcome.stdout);
    let outcome = eval(&car(), &car(), &["--clip", "none"]).ok();
    let left_out = "text similarity and temporal consistency are left out";
    assert!(outcome.stdout.contains(left_out), "{}", outcome.stdout);
    let one_frame = video(&place, "one", &moving()[..1]);
    let outcome = eval(&one_frame, &one_frame, &["--clip", &tiny_clip()]).ok();
    assert_eq!(figures(&outcome).keys().collect::<Vec<_>>(), ["text_similarity"]);
    for left_out in
        ["motion_fidelity_lk is left out: one frame has no motion", "temporal_consistency is left out"]
    {
        assert!(outcome.stdout.contains(left_out), "{}", outcome.stdout);
    }
    // The source's subject is nowhere to be seen.
    let (nowhere, cells) = (f32::NAN.to_le_bytes().repeat(2 * 16), vec![0; 16 * 64 * 64]);
    let truth = place.path("truth.npz");
    npz(&truth, &[("centres", "<f4", "(16, 1, 2)", &nowhere), ("masks", "|u1", "(16, 1, 64, 64)", &cells)]);
    let flags = ["--clip", "none", "--detector", "demo-detector", "--truth", &text(&truth)];
    let outcome = eval(&car(), &car(), &flags).ok();
    assert!(figures(&outcome).contains_key("subject_right") && !figures(&outcome).contains_key("mask_iou"));
    assert!(outcome.stdout.contains("trajectory_error and mask_iou are left out"), "{}", outcome.stdout);
}

#[test]
fn flags_of_a_suite_do_nothing_for_one_result() {
    for flags in [["-o", "report"], ["--shard", "1/2"]] {
        let pair = ["eval", "--source", &car(), "--result", &car(), "-p", "a [car]"];
        motionflow(&[&pair[..], &flags].concat()).fails(2, &["cannot be used with"]);
    }
}

#[test]
fn without_the_hub_the_rest_is_measured() {
    let place = Place::new();
    let mut command = crate::common::program();
    command.args(["eval", "--source", &car(), "--result", &car(), "-p", "a [car]"]);
    let outcome = run(command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", place.path("home"))).ok();
    assert!(outcome.stderr.contains("the default of --clip cannot be had"), "{}", outcome.stderr);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", outcome.stdout);
    assert!(lines[0].starts_with("figure") && lines[0].ends_with("made with"));
    assert!(lines[1].starts_with("motion_fidelity_lk ") && lines[1].contains("1.0000"));
}

#[test]
fn of_videos_of_two_lengths_the_common_frames_count() {
    let place = Place::new();
    let frames = moving();
    let (long, short) = (video(&place, "long", &frames), video(&place, "short", &frames[..4]));
    for (source, result) in [(&long, &short), (&short, &long)] {
        let outcome = eval(source, result, &["--clip", "none"]).ok();
        assert!(outcome.stdout.contains("only the first 4 of each are compared"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("\"frames\":4"), "{}", outcome.stdout);
        assert!(figures(&outcome)["motion_fidelity_lk"].0 > 0.9999);
    }
}

#[test]
fn the_shipped_clip_knows_what_a_video_shows() {
    let similarity = |result: &str, prompt: &str| {
        let outcome = motionflow(&[
            "eval",
            "--json",
            "--source",
            &car(),
            "--result",
            result,
            "-p",
            prompt,
            "--clip",
            "demo-clip",
        ]);
        figures(&outcome.ok())["text_similarity"].0
    };
    let boat = text(&tree().join("assets/clips/boat-weave.mp4"));
    for (right, wrong, prompt) in
        [(car(), boat.clone(), "a [car] on a road"), (boat, car(), "a [boat] on the sea")]
    {
        let (right, wrong) = (similarity(&right, prompt), similarity(&wrong, prompt));
        assert!(right > wrong + 0.3, "{prompt}: {right} {wrong}");
    }
}

#[test]
fn a_clip_is_fetched_from_the_hub_by_its_name() {
    let place = Place::new();
    copy(Path::new(&tiny_clip()), &place.path("model"));
    let hub = Hub::serving("someone/tiny-clip");
    hub.change(|hub| {
        hub.files.clear();
        for name in place.names("model") {
            hub.files.insert(name.clone(), fs::read(place.path(&format!("model/{name}"))).unwrap());
        }
        hub.files.insert("flax_model.msgpack".into(), b"not needed".to_vec());
    });
    let measure = || {
        let mut command = hub.program(&place, &["eval", "--json", "--clip", "someone/tiny-clip"]);
        run(command.args(["--source", &car(), "--result", &car(), "-p", "a [car]"])).ok()
    };
    let outcome = measure();
    assert_eq!(figures(&outcome)["text_similarity"].1, "someone/tiny-clip");
    assert!(hub.requests().iter().all(|request| !request.path.contains("flax")));
    let by_folder = figures(&eval(&car(), &car(), &["--clip", &tiny_clip()]).ok());
    assert_eq!(figures(&outcome)["text_similarity"].0.to_bits(), by_folder["text_similarity"].0.to_bits());
    measure();
    assert!(hub.requests().is_empty(), "what is whole in the cache needs no network");
}

/// `tracks` [1, frames, 1, 2] of a point that takes these steps, in an npz.
fn tracks(place: &Place, name: &str, steps: &[[f32; 2]]) -> String {
    let mut points = vec![[50.0_f32, 50.0]];
    for step in steps {
        let [x, y] = points[points.len() - 1];
        points.push([x + step[0], y + step[1]]);
    }
    let shape = format!("(1, {}, 1, 2)", points.len());
    let data: Vec<u8> = points.concat().iter().flat_map(|value| value.to_le_bytes()).collect();
    npz(&place.path(name), &[("tracks", "<f4", &shape, &data)]);
    place.text(name)
}

/// Writes arrays: name, type, shape, bytes.
pub(crate) fn npz(path: &Path, arrays: &[(&str, &str, &str, &[u8])]) {
    let mut writer = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, descr, shape, data) in arrays {
        writer.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        writer.write_all(b"\x93NUMPY\x01\0").unwrap();
        writer.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        writer.write_all(header.as_bytes()).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn tracks_from_files_score_as_motion_fidelity_itself() {
    let place = Place::new();
    let right = tracks(&place, "right.npz", &[[3.0, 0.0]; 5]);
    let around =
        tracks(&place, "around.npz", &[[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [-1.0, 0.0]]);
    for (source, result, expected) in [(&right, &right, 1.0), (&right, &around, 0.0), (&around, &around, 1.0)]
    {
        let flags = ["--clip", "none", "--source-tracks", source, "--result-tracks", result];
        let figures = figures(&eval(&car(), &car(), &flags).ok());
        assert!((figures["motion_fidelity"].0 - expected).abs() < 1e-6, "{figures:?}");
        assert!(figures.contains_key("motion_fidelity_symmetric"));
        assert!(figures.contains_key("motion_fidelity_lk"), "the tracker of the program measures, too");
    }
    let short = tracks(&place, "short.npz", &[[3.0, 0.0]; 3]);
    let flags = ["--clip", "none", "--source-tracks", &right, "--result-tracks", &short];
    let outcome = eval(&car(), &car(), &flags).ok();
    assert!(outcome.stdout.contains("only the first 4 frames of each are compared"), "{}", outcome.stdout);
}

#[test]
fn where_the_truth_is_known_each_subject_is_followed() {
    let clips = tree().join("experiments/clips");
    let [bus, boat] = ["bus-right.mp4", "boat-circle.mp4"].map(|name| text(&clips.join(name)));
    let truth = text(&clips.join("bus-right.npz"));
    let judged = |result: &str, prompt: &str| {
        let flags = ["--clip", "none", "--detector", "demo-detector", "--truth", &truth];
        let mut arguments = vec!["eval", "--json", "--source", &bus, "--result", result, "-p", prompt];
        arguments.extend(flags);
        let figures = figures(&motionflow(&arguments).ok());
        assert_eq!(figures["mask_iou"].1, "demo-detector");
        ["trajectory_error", "mask_iou", "subject_right"].map(|name| figures[name].0)
    };
    let [error, iou, right] = judged(&bus, "a [bus] on a road");
    assert!(error < 0.02 && iou > 0.8 && right > 0.5, "{error} {iou} {right}");
    let [error, iou, right] = judged(&boat, "a [bus] on a road");
    assert!(error > 0.2 && iou < 0.2 && right < 0.5, "{error} {iou} {right}");
    let pair = ["eval", "--source", &bus, "--result", &bus, "-p", "a [bus]"];
    motionflow(&[&pair[..], &["--detector", "demo-detector"]].concat()).fails(2, &["--truth", "--suite"]);
}
