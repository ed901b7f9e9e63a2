//! What can be a source.

use std::fs;

use motionflow_media::image::{Rgb, RgbImage};
use motionflow_media::{gif, picture};

use crate::common::{Outcome, Place, SMALL, ffmpeg, program, read_toml, run, tiny_model};

fn transfer(place: &Place, source: &str, flags: &[&str]) -> Outcome {
    let mut command = program();
    command.args(["transfer", "--source", source, "--source-prompt", "a [car]", "--prompt", "a [panda]"]);
    command.args(["--output", &place.text("out"), "--model", &tiny_model(), "--guided-steps", "1"]);
    run(command.args(SMALL).args(flags))
}

/// A square that moves to the right.
fn frames(count: u32) -> Vec<RgbImage> {
    let frame = |index: u32| {
        RgbImage::from_fn(32, 32, |x, y| {
            let inside = (index * 2..index * 2 + 8).contains(&x) && (12..20).contains(&y);
            if inside { Rgb([220, 40, 20]) } else { Rgb([30, 120, 60]) }
        })
    };
    (0..count).map(frame).collect()
}

#[test]
fn a_folder_of_images_is_read_in_natural_order() {
    let place = Place::new();
    fs::create_dir(place.path("frames")).unwrap();
    for (index, frame) in frames(12).iter().enumerate() {
        picture::write_png(&place.path(&format!("frames/frame{index}.png")), frame).unwrap();
    }
    transfer(&place, &place.text("frames"), &["--every", "4", "--fps", "5"]).ok();
    let record = read_toml(&place.path("out/run.toml"));
    assert_eq!(record["video"]["fps"].as_float(), Some(5.0));
    assert!(record["source"].get("sha256").is_none());

    // Frames 0, 4 and 8 under other names are the same source.
    let first = record["source"]["frames_sha256"].clone();
    fs::create_dir(place.path("three")).unwrap();
    for (name, index) in [("a", 0), ("b", 4), ("c", 8)] {
        picture::write_png(&place.path(&format!("three/{name}.png")), &frames(12)[index]).unwrap();
    }
    transfer(&place, &place.text("three"), &["--force"]).ok();
    assert_eq!(read_toml(&place.path("out/run.toml"))["source"]["frames_sha256"], first);
}

#[test]
fn a_gif_is_a_source() {
    let place = Place::new();
    gif::write_gif(&ffmpeg(), &place.path("square.gif"), &frames(4), 10.0, None).unwrap();
    transfer(&place, &place.text("square.gif"), &["--fit", "pad"]).ok();
    let record = read_toml(&place.path("out/run.toml"));
    assert_eq!(record["video"]["fps"].as_float(), Some(10.0));
    assert_eq!(record["source"]["fit"].as_str(), Some("pad"));
}

#[test]
fn the_start_and_every_choose_the_frames() {
    let place = Place::new();
    let car = crate::common::car();
    let hash = |flags: &[&str]| {
        transfer(&place, &car, &[&["--force"], flags].concat()).ok();
        read_toml(&place.path("out/run.toml"))["source"]["frames_sha256"].as_str().unwrap().to_owned()
    };
    let all = [hash(&[]), hash(&["--start", "0.5"]), hash(&["--every", "3"]), hash(&["--fit", "stretch"])];
    assert!((0..4).all(|a| (0..a).all(|b| all[a] != all[b])), "{all:?}");
}
