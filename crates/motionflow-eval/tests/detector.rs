//! The shipped detector against PyTorch, and against the truth about the experiments' clips.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::path::{Path, PathBuf};

use motionflow_eval::detector::{Detector, DetectorError};
use motionflow_eval::figure::Figure;
use motionflow_eval::npz::{Array, Npz};
use motionflow_eval::trajectory::{TrajectoryError, judge_subjects};
use motionflow_eval::truth::Truth;
use motionflow_media::ffmpeg::Ffmpeg;
use motionflow_media::fit::Fit;
use motionflow_media::image::{Rgb, RgbImage};
use motionflow_media::source::{self, ReadOptions};
use tch::Device;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn detector() -> Detector {
    Detector::load(&repository().join("models/demo-detector"), Device::Cpu).unwrap()
}

fn clip(name: &str) -> (Vec<RgbImage>, Truth) {
    let clips = repository().join("experiments/clips");
    let ffmpeg = Ffmpeg::find(Some(&repository().join(".native/ffmpeg"))).unwrap();
    let options = ReadOptions::new(16, 128, 128);
    let frames = source::read(&ffmpeg, &clips.join(format!("{name}.mp4")), &options).unwrap().frames;
    (frames, Truth::load(&clips.join(format!("{name}.npz"))).unwrap())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// In the order of the subjects.
fn values(figures: &[Figure], name: &str) -> Vec<f64> {
    figures.iter().filter(|figure| figure.name == name).map(|figure| figure.value).collect()
}

fn right(figures: &[Figure]) -> impl Iterator<Item = bool> {
    values(figures, "subject_right").into_iter().map(|right| right > 0.5)
}

/// `tools/demo-world/detector_case.py` wrote what PyTorch gives.
#[test]
fn sees_and_reads_what_pytorch_does() {
    let mut case =
        Npz::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/detector.npz")).unwrap();
    let pictures = case.read("frames").unwrap();
    let frames: Vec<RgbImage> = pictures
        .values
        .chunks(128 * 128 * 3)
        .map(|picture| {
            RgbImage::from_raw(128, 128, picture.iter().map(|&byte| byte as u8).collect()).unwrap()
        })
        .collect();
    let detector = detector();
    let seen = detector.look(&frames).unwrap();
    let near = |a: f64, b: f32, what: &str| assert!((a - f64::from(b)).abs() < 1e-4, "{what}: {a} and {b}");

    let every_eighth = case.read("probabilities").unwrap();
    let &[count, classes, rows, columns] = every_eighth.shape.as_slice() else { panic!("four dimensions") };
    assert_eq!((count, classes, rows, columns), (frames.len(), 49, 8, 8));
    let mut expected = every_eighth.values.iter();
    for frame in 0..count {
        for class in 0..classes {
            for cell in (0..8 * 8).map(|i| (i / 8 * 8) * detector.grid() + i % 8 * 8) {
                near(seen.map(frame, class)[cell].into(), *expected.next().unwrap(), "probability");
            }
        }
    }
    for reading in 0..3 {
        let mut read = |name: &str| -> Array { case.read(&format!("{name}{reading}")).unwrap() };
        let wanted: Vec<usize> = read("wanted").values.iter().map(|&class| class as usize).collect();
        let (centres, cells, right) = (read("centres").values, read("cells").values, read("right").values);
        for at in 0..wanted.len() {
            for (frame, place) in seen.follow(&wanted, at).iter().enumerate() {
                let i = at * frames.len() + frame;
                near(place.centre[0], centres[2 * i], "x");
                near(place.centre[1], centres[2 * i + 1], "y");
                assert_eq!(
                    place.mask.iter().filter(|&&cell| cell).count(),
                    cells[i] as usize,
                    "cells of {wanted:?}"
                );
            }
        }
        assert_eq!(seen.shows(&wanted), right.iter().map(|&yes| yes > 0.5).collect::<Vec<_>>());
    }
}

#[test]
fn finds_the_subjects_of_the_clips_where_they_are() {
    let detector = detector();
    for (name, subjects) in [
        ("bus-right", &["bus"][..]),
        ("owl-circle", &["owl"]),
        ("tiger-near", &["Tiger "]),
        ("cat-right-balloon-up", &["cat", "balloon"]),
    ] {
        let (frames, truth) = clip(name);
        let figures = judge_subjects(&detector, &frames, &truth, &names(subjects)).unwrap();
        assert_eq!(figures.len(), 3 * subjects.len());
        assert!(figures.iter().all(|figure| figure.made_with == "demo-detector"));
        assert!(
            values(&figures, "trajectory_error").iter().all(|&error| error < 0.02),
            "{name}: {figures:?}"
        );
        assert!(values(&figures, "mask_iou").iter().all(|&iou| iou > 0.8), "{name}: {figures:?}");
        assert!(right(&figures).all(|right| right), "{name}: {figures:?}");
    }
}

#[test]
fn another_subject_is_followed_but_is_not_right() {
    let (frames, truth) = clip("owl-circle");
    let figures = judge_subjects(&detector(), &frames, &truth, &names(&["truck"])).unwrap();
    assert!(values(&figures, "trajectory_error")[0] < 0.02, "{figures:?}");
    assert!(right(&figures).eq([false]), "{figures:?}");
}

#[test]
fn subjects_that_have_changed_places_are_far_off() {
    let (frames, truth) = clip("cat-right-balloon-up");
    let figures = judge_subjects(&detector(), &frames, &truth, &names(&["balloon", "cat"])).unwrap();
    assert!(values(&figures, "trajectory_error").iter().all(|&error| error > 0.2), "{figures:?}");
    assert!(right(&figures).eq([true, true]), "{figures:?}");
}

#[test]
fn an_empty_picture_has_nothing_right_and_no_nan() {
    let (frames, truth) = clip("bus-right");
    let grey = vec![RgbImage::from_pixel(128, 128, Rgb([128; 3])); frames.len()];
    let figures = judge_subjects(&detector(), &grey, &truth, &names(&["bus"])).unwrap();
    assert_eq!(figures.len(), 3);
    assert!(figures.iter().all(|figure| figure.value.is_finite()), "{figures:?}");
    assert!(right(&figures).eq([false]), "{figures:?}");
}

#[test]
fn the_frames_in_common_count() {
    let (frames, truth) = clip("bus-right");
    let figures =
        |frames: &[RgbImage]| judge_subjects(&detector(), frames, &truth, &names(&["bus"])).unwrap();
    assert!(values(&figures(&frames[..5]), "trajectory_error")[0] < 0.02);
    assert_eq!(figures(&[frames.clone(), frames[..4].to_vec()].concat()), figures(&frames));
    assert!(values(&figures(&[]), "trajectory_error").is_empty());
}

#[test]
fn larger_square_pictures_are_seen_as_well() {
    let (frames, truth) = clip("bus-right");
    let large: Vec<_> = frames.iter().map(|frame| Fit::Stretch.apply(frame, 192, 192)).collect();
    let figures = judge_subjects(&detector(), &large, &truth, &names(&["bus"])).unwrap();
    assert!(values(&figures, "trajectory_error")[0] < 0.02, "{figures:?}");
}

#[test]
fn says_what_cannot_be_judged() {
    let detector = detector();
    let (frames, truth) = clip("bus-right");
    let told = |frames: &[RgbImage], subjects: &[&str]| -> TrajectoryError {
        judge_subjects(&detector, frames, &truth, &names(subjects)).unwrap_err()
    };
    let error = told(&frames, &["buss"]).to_string();
    assert!(
        error.starts_with("the detector demo-detector does not know \"buss\"") && error.contains("bus,"),
        "{error}"
    );
    let error = told(&frames, &["bus", "cat"]).to_string();
    assert_eq!(
        error,
        "the source's truth is about 1 subjects, and the prompt has 2 in brackets; they must be as many"
    );
    let coarse = Truth { grid: 8, ..truth.clone() };
    let error = judge_subjects(&detector, &frames, &coarse, &names(&["bus"])).unwrap_err().to_string();
    assert!(error.contains("8×8 cells") && error.contains("64×64"), "{error}");
    let wide = vec![RgbImage::new(64, 32); frames.len()];
    assert!(told(&wide, &["bus"]).to_string().contains("square pictures, and these are 64×32"));
}

#[test]
fn a_folder_that_is_no_detector_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let load = || Detector::load(folder.path(), Device::Cpu).unwrap_err();
    assert!(matches!(load(), DetectorError::Config(_)));
    let config = folder.path().join("config.json");
    let shipped = std::fs::read_to_string(repository().join("models/demo-detector/config.json")).unwrap();
    for (from, to, part) in [
        ("\"image_size\": 128", "\"image_size\": 100", "image_size"),
        ("\"norm_num_groups\": 8", "\"norm_num_groups\": 7", "channels"),
        ("\"norm_num_groups\": 8", "\"norm_num_groups\": 0", "norm_num_groups"),
        ("\"subjects\"", "\"names\"", "subjects"),
    ] {
        assert!(shipped.contains(from));
        std::fs::write(&config, shipped.replace(from, to)).unwrap();
        let error = load().to_string();
        assert!(error.contains("config.json: ") && error.contains(part), "{error}");
    }
    std::fs::write(&config, &shipped).unwrap();
    assert!(matches!(load(), DetectorError::Weights(_)));
}
