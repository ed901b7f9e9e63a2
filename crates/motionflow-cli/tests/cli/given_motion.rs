//! Motion that is given: masks, tracks, changes of them, and a motion a subject.

use std::fs;
use std::path::Path;
use std::process::Command;

use motionflow_eval::npz::{self, Named, Npz, Values};
use motionflow_media::image::{self, GrayImage, Luma};
use serde_json::Value;

use crate::common::{
    Outcome, Place, car, motionflow, program, read_json, read_toml, run, same_results, text, tiny_model, tree,
};
use crate::resume::kill_at;

const SIZE: [&str; 8] = ["-W", "48", "-H", "32", "--frames", "9", "--threads", "1"];
/// A box that goes to the right.
const TRACK: &str = "frame,x,y,width,height,shape\n0,0.2,0.5,0.3,0.4,box\n8,0.8,0.5,0.3,0.4,box\n";

/// The checkpoints of all three architectures.
fn models() -> [String; 3] {
    ["tiny", "animatediff-tiny-merged", "wan-tiny"]
        .map(|case| text(&tree().join("crates/motionflow/tests/cases").join(case).join("model")))
}

fn from_noise(place: &Place, model: &str, output: &str) -> Command {
    let mut command = program();
    command.args(["transfer", "--prompt", "a [panda] in the snow", "--init", "noise", "--model", model]);
    command.args(["--steps", "3", "--guided-steps", "2", "--step-norm", "0.05"]).args(SIZE);
    command.args(["-o", &place.text(output)]);
    command
}

fn transfer(place: &Place, model: &str, output: &str, flags: &[&str]) -> Outcome {
    run(from_noise(place, model, output).args(flags))
}

fn write(place: &Place, name: &str, contents: &str) -> String {
    fs::write(place.path(name), contents).unwrap();
    place.text(name)
}

fn result(place: &Place, folder: &str) -> Vec<u8> {
    // Without the record, which names files.
    fs::read(place.path(folder).join("loss.svg")).unwrap()
}

fn masks(place: &Place, folder: &str) -> Vec<f32> {
    Npz::open(&place.path(folder).join("masks.npz")).unwrap().read("masks").unwrap().values
}

fn losses(place: &Place, folder: &str) -> Vec<Value> {
    let history = read_json(&place.path(folder).join("run.json"));
    let steps = history["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["stage"] == "update").map(|step| step["loss"].clone()).collect()
}

#[test]
fn a_track_alone_makes_a_video_on_every_architecture_again_and_after_a_kill() {
    for (index, model) in models().iter().enumerate() {
        let place = Place::new();
        let track = write(&place, "right.csv", TRACK);
        let flags = ["--track", &*track];
        let outcome = transfer(&place, model, "out", &flags).ok();
        assert!(
            !outcome.stderr.contains("invert") && !outcome.stderr.contains("encode:"),
            "{}",
            outcome.stderr
        );
        let record = read_toml(&place.path("out/run.toml"));
        assert_eq!(record["settings"]["mask_source"].as_str(), Some("given"));
        assert_eq!(record["motion"]["sha256"].as_array().unwrap().len(), 1);
        assert!(record.get("source").is_none() && record["prompts"].get("source_prompt").is_none());
        assert!(losses(&place, "out").iter().all(|loss| loss["total"].as_f64().unwrap().is_finite()));

        let again = place.text("out/run.toml");
        motionflow(&["transfer", "--config", &again, "-o", &place.text("again")]).ok();
        same_results(&place.path("out"), &place.path("again"));
        assert_eq!(masks(&place, "out"), masks(&place, "again"));

        if index == 0 {
            let mut killed = from_noise(&place, model, "killed");
            kill_at(killed.args(flags), &place.path("killed"), "sampling-0001.safetensors");
            motionflow(&["transfer", "--resume", &place.text("killed")]).ok();
            same_results(&place.path("out"), &place.path("killed"));
        }

        // Another motion is another video, and is told where it takes the place of the recorded one.
        fs::write(place.path("right.csv"), TRACK.replace("0.2,0.5", "0.2,0.2")).unwrap();
        let outcome = motionflow(&["transfer", "--config", &again, "-o", &place.text("other")]).ok();
        assert!(outcome.stderr.contains("the motion is not the same"), "{}", outcome.stderr);
        assert_ne!(result(&place, "out"), result(&place, "other"));
    }
}

#[test]
fn masks_that_a_run_has_left_give_the_run_again_on_every_architecture() {
    for model in models() {
        let place = Place::new();
        let source = ["--source", &*car(), "--source-prompt", "a [car] on a road"];
        // The blocks with the most places; coarser ones have masks of their own maps in the first run.
        let finest: &[&str] = if model.contains("wan") {
            &["--noised-timesteps", "500"]
        } else {
            &["--guidance-layers", "up_blocks.1"]
        };
        let given = |output: &str, mask: &str| {
            transfer(&place, &model, output, &[finest, &["--mask", &place.text(mask)]].concat()).ok();
        };
        transfer(
            &place,
            &model,
            "out",
            &[&source[..], &["--mask-source", "noised", "--mask-layers", "finest"], finest].concat(),
        )
        .ok();
        let before = masks(&place, "out");
        given("folder", "out/masks/car");
        given("npz", "out/masks.npz");
        assert_eq!(before, masks(&place, "folder"));
        assert_eq!(before, masks(&place, "npz"));
        assert_eq!(result(&place, "folder"), result(&place, "npz"));
        assert_eq!(result(&place, "folder"), result(&place, "out"));
    }
}

#[test]
fn a_mask_may_be_edited_of_any_size_a_video_or_one_image_and_grey_is_soft() {
    let place = Place::new();
    let model = tiny_model();
    // White squares in a picture of twice the size that an editor gave soft edges.
    fs::create_dir(place.path("drawn")).unwrap();
    for frame in 0..9u32 {
        let picture = GrayImage::from_fn(96, 64, |x, y| {
            let (x, y) = (x.abs_diff(20 + 6 * frame), y.abs_diff(32));
            Luma([match x.max(y) {
                0..14 => 255,
                14 => 128,
                _ => 0,
            }])
        });
        picture.save(place.path(&format!("drawn/{frame}.png"))).unwrap();
    }
    transfer(&place, &model, "drawn-out", &["--mask", &place.text("drawn")]).ok();
    let drawn = masks(&place, "drawn-out");
    let columns = |frame: usize| {
        let row = &drawn[frame * 48 * 32 + 16 * 48..][..48];
        row.iter().position(|value| *value > 0.5).unwrap()
    };
    assert_eq!((columns(0), columns(4)), (3, 15), "by 3 pixels a frame");

    // The run's own video of masks is one of masks, too: one image is the mask of every frame.
    let still = place.text("drawn/4.png");
    transfer(&place, &model, "still", &["--mask", &still]).ok();
    let of_still = masks(&place, "still");
    assert!(of_still.chunks(48 * 32).all(|frame| frame == &drawn[4 * 48 * 32..5 * 48 * 32]));

    let grey = GrayImage::from_fn(48, 32, |x, _| Luma([(x * 5) as u8]));
    grey.save(place.path("grey.png")).unwrap();
    transfer(&place, &model, "grey", &["--mask", &place.text("grey.png")]).ok();
    let soft = image::open(place.path("grey/masks/panda/soft/0001.png")).unwrap().into_luma8();
    assert_eq!(soft, grey);
    assert_ne!(result(&place, "grey"), result(&place, "still"));

    let mut film = Command::new(crate::common::ffmpeg().program());
    let pattern = place.text("drawn/%d.png");
    film.args(["-v", "error", "-framerate", "8", "-i", &pattern, "-pix_fmt", "yuv420p", "-crf", "10"]);
    assert!(film.arg(place.path("drawn.mp4")).status().unwrap().success());
    transfer(&place, &model, "film", &["--mask", &place.text("drawn.mp4")]).ok();
    let film = masks(&place, "film");
    let different = film.iter().zip(&drawn).filter(|(one, other)| (*one - *other).abs() > 0.5).count();
    assert!(different < film.len() / 100, "{different} of {} pixels", film.len());
}

#[test]
fn changes_are_made_in_order_and_what_leaves_the_picture_is_told() {
    let place = Place::new();
    let (model, track) = (tiny_model(), write(&place, "right.csv", TRACK));
    let middles = |folder: &str| -> Vec<Option<f64>> {
        masks(&place, folder)
            .chunks(48 * 32)
            .map(|frame| {
                let lit: Vec<f64> = frame
                    .iter()
                    .enumerate()
                    .filter(|(_, value)| **value > 0.5)
                    .map(|(at, _)| (at % 48) as f64 + 0.5)
                    .collect();
                (!lit.is_empty()).then(|| lit.iter().sum::<f64>() / lit.len() as f64)
            })
            .collect()
    };
    let made = |output: &str, changes: &[&str]| {
        let flags: Vec<&str> = changes.iter().flat_map(|change| ["--transform", change]).collect();
        transfer(&place, &model, output, &[&["--track", &*track], &flags[..]].concat()).ok()
    };
    made("mirrored", &["mirror", "move 0.0 0.1"]);
    let xs = middles("mirrored");
    assert!((xs[0].unwrap() - 0.8 * 48.0).abs() < 1.0 && (xs[8].unwrap() - 0.2 * 48.0).abs() < 1.0, "{xs:?}");
    let shown = motionflow(&["show", &place.text("mirrored")]).ok().stdout;
    assert!(
        shown.contains("motion") && shown.contains("transform = [\"mirror\", \"move 0.0 0.1\"]"),
        "{shown}"
    );
    let record = read_toml(&place.path("mirrored/run.toml"));
    assert_eq!(record["motion"]["transform"].as_array().unwrap().len(), 2);

    let outcome = made("left", &["move 0.5 0"]);
    let told = "the mask of \"panda\" is empty in 3 of 9 frames (7 to 9): nothing leads it there";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    assert_eq!(middles("left").iter().filter(|middle| middle.is_none()).count(), 3);
    // A motion that is nowhere leads nothing, and breaks nothing.
    made("gone", &["move 3 0"]);
    assert!(losses(&place, "gone").iter().all(|loss| loss["total"].as_f64().unwrap().is_finite()));

    // Changes of what the model sees in a source.
    let source = ["--source", &*car(), "--source-prompt", "a [car] on a road", "--mask-source", "noised"];
    transfer(&place, &model, "seen", &source).ok();
    transfer(&place, &model, "reversed", &[&source[..], &["--transform", "reverse"]].concat()).ok();
    let frames =
        |folder: &str| masks(&place, folder).chunks(48 * 32).map(<[f32]>::to_vec).collect::<Vec<_>>();
    let mut backwards = frames("seen");
    backwards.reverse();
    assert_eq!(frames("reversed"), backwards);
}

#[test]
fn each_subject_has_its_own_motion() {
    let place = Place::new();
    let model = tiny_model();
    write(&place, "right.csv", TRACK);
    let bounce = text(&tree().join("assets/clips/dog-bounce.mp4"));
    let inverted = place.text("inv");
    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car] on a road", "--steps", "3"]);
    run(invert.args(SIZE).args(["--model", &model, "-o", &inverted])).ok();
    GrayImage::from_fn(48, 32, |x, _| Luma([if x < 12 { 255 } else { 0 }]))
        .save(place.path("post.png"))
        .unwrap();
    let config = write(
        &place,
        "three.toml",
        &format!(
            "[prompts]\nprompt = \"a [panda] and a [dog] and a [car] and a [cat]\"\n\
             [[motion.subject]]\nsource = \"{bounce}\"\nsource_prompt = \"a [dog] on the grass\"\n\
             [[motion.subject]]\ninversion = \"inv\"\ntransform = [\"mirror\"]\n\
             [[motion.subject]]\ntrack = \"right.csv\"\n\
             [[motion.subject]]\nmask = \"post.png\"\n"
        ),
    );
    let own = |output: &str| {
        let mut command = program();
        command.args(["transfer", "--config", &config, "--init", "noise", "--model", &model, "--steps", "3"]);
        command.args(["--guided-steps", "2", "-o", &place.text(output)]).args(SIZE);
        command
    };
    let outcome = run(&mut own("out")).ok();
    assert!(
        outcome.stderr.contains("masks: 1 passes") || outcome.stderr.contains("masks:"),
        "{}",
        outcome.stderr
    );
    assert_eq!(place.names("out/masks"), ["car", "cat", "dog", "panda"]);
    let history = read_json(&place.path("out/run.json"));
    assert_eq!(history["masks"].as_array().unwrap().len(), 4);
    let record = place.text("out/run.toml");
    motionflow(&["transfer", "--config", &record, "-o", &place.text("again")]).ok();
    same_results(&place.path("out"), &place.path("again"));
    let dry = run(own("dry").arg("--dry-run")).ok();
    assert!(dry.stdout.contains("masks ") && dry.stdout.contains("[[motion.subject]]"), "{}", dry.stdout);
    kill_at(&mut own("killed"), &place.path("killed"), "sampling-0001.safetensors");
    motionflow(&["transfer", "--resume", &place.text("killed")]).ok();
    same_results(&place.path("out"), &place.path("killed"));
}

#[test]
fn a_region_is_kept_free_and_costs_nothing_where_there_is_none() {
    let place = Place::new();
    let (model, track) = (tiny_model(), write(&place, "right.csv", TRACK));
    let half = |name: &str, white: bool| {
        GrayImage::from_fn(48, 32, |_, y| Luma([if white && y < 16 { 255 } else { 0 }]))
            .save(place.path(name))
            .unwrap();
        place.text(name)
    };
    let (sky, nothing) = (half("sky.png", true), half("nothing.png", false));
    let made = |output: &str, flags: &[&str]| {
        transfer(&place, &model, output, &[&["--track", &*track], flags].concat()).ok();
        losses(&place, output)[0].clone()
    };
    let (plain, free) = (made("plain", &[]), made("free", &["--avoid", &sky]));
    assert_eq!(plain.get("avoid"), None);
    let (avoid, total) = (free["avoid"].as_f64().unwrap(), free["total"].as_f64().unwrap());
    assert!(avoid > 0.1 && (total - plain["total"].as_f64().unwrap() - avoid).abs() < 1e-5, "{free} {plain}");
    let twice = made("twice", &["--avoid", &sky, "--lambda-avoid", "2"]);
    assert!((twice["total"].as_f64().unwrap() - total - avoid).abs() < 1e-5);
    assert_eq!(made("empty", &["--avoid", &nothing])["total"], plain["total"]);
    let record = read_toml(&place.path("twice/run.toml"));
    assert_eq!(record["settings"]["lambda_avoid"].as_float(), Some(2.0));
    // Beside the masks that the model sees.
    let source = ["--source", &*car(), "--source-prompt", "a [car] on a road", "--avoid", &sky];
    transfer(&place, &model, "seen", &source).ok();
    assert!(losses(&place, "seen")[0]["avoid"].as_f64().unwrap() > 0.0);
}

#[test]
fn tracks_are_drawn_turned_and_made_of_masks() {
    let place = Place::new();
    let track = write(&place, "right.csv", TRACK);
    let size = ["-W", "48", "-H", "32", "--frames", "9"];
    let make = |files: &[&str], output: &str, flags: &[&str]| {
        let output = place.text(output);
        motionflow(&[&["track"], files, &["-o", &output], &size, flags].concat())
    };
    make(&[&track], "a.png", &[]).ok();
    make(&[&track, &track], "b.png", &["--transform", "2: mirror vertical", "--source", &car()]).ok();
    for name in ["a.png", "b.png"] {
        assert!(image::open(place.path(name)).unwrap().width() >= 512);
    }
    make(&[&track], "masks", &[]).ok();
    assert_eq!(place.names("masks").len(), 9);
    make(&[&track], "masks", &[]).ok();
    fs::write(place.path("masks/0010.png"), "").unwrap();
    make(&[&track], "masks", &[]).fails(2, &["masks: holds 0010.png, which would be among the new masks"]);
    fs::remove_file(place.path("masks/0010.png")).unwrap();
    make(&[&place.text("masks")], "back.csv", &["--shape", "box"]).ok();
    make(&[&place.text("back.csv")], "again", &[]).ok();
    let pixels = |folder: &str, frame: usize| {
        image::open(place.path(&format!("{folder}/{frame:04}.png"))).unwrap().into_luma8().into_raw()
    };
    for frame in 1..=9 {
        let (one, other) = (pixels("masks", frame), pixels("again", frame));
        let different = one.iter().zip(&other).filter(|(one, other)| one != other).count();
        assert!(different <= 40, "{different}");
    }
    make(&[&place.text("masks")], "back.json", &[]).ok();
    make(&[&place.text("back.json")], "places.npz", &[]).ok();
    let mut places = Npz::open(&place.path("places.npz")).unwrap();
    let centres = places.read("centres").unwrap();
    assert_eq!(
        (&centres.shape[..], places.read("masks").unwrap().shape),
        (&[9, 1, 2][..], vec![9, 1, 64, 64])
    );
    assert!((centres.values[0] - 0.2).abs() < 0.02 && (centres.values[16] - 0.8).abs() < 0.02);
    assert!((centres.values[1] - 0.5 * 32.0 / 48.0).abs() < 0.02, "in fractions of the width");
    let schema = motionflow(&["schema", "--track"]).ok().stdout;
    assert_eq!(schema, fs::read_to_string(tree().join("docs/track.schema.json")).unwrap());
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["properties"]["keys"]["items"]["properties"]["rotation"].is_object());
}

/// A file of one array, as `numpy.save` writes it.
fn npy(path: &Path, shape: &str, values: &[f32]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

#[test]
fn tracked_points_are_read_with_and_without_their_visibility() {
    let place = Place::new();
    let model = tiny_model();
    // The corners of a square that goes to the right, and one point that is far off and hidden.
    let corners = [[4.0, 4.0], [16.0, 4.0], [16.0, 20.0], [4.0, 20.0], [47.0, 31.0]];
    let points: Vec<f32> =
        (0..9).flat_map(|frame| corners.iter().flat_map(move |[x, y]| [x + frame as f32, *y])).collect();
    let visible: Vec<f32> = (0..9).flat_map(|_| [1.0, 1.0, 1.0, 1.0, 0.0]).collect();
    npy(&place.path("walk_tracks.npy"), "(1, 9, 5, 2)", &points);
    npy(&place.path("walk_visibility.npy"), "(1, 9, 5, 1)", &visible);
    transfer(&place, &model, "out", &["--track", &place.text("walk_tracks.npy")]).ok();
    let covered: f32 = masks(&place, "out")[..48 * 32].iter().sum();
    assert!((covered - 12.0 * 16.0).abs() < 1.0, "{covered}");
    fs::remove_file(place.path("walk_visibility.npy")).unwrap();
    transfer(&place, &model, "all", &["--track", &place.text("walk_tracks.npy")]).ok();
    assert!(masks(&place, "all")[..48 * 32].iter().sum::<f32>() > covered + 50.0);
}

/// What `track` makes of a file, as places.
fn places(place: &Place, file: &str, flags: &[&str]) -> Outcome {
    let output = place.text("places.npz");
    motionflow(&[&["track", file, "-W", "48", "-H", "32", "--frames", "9", "-o", &output], flags].concat())
}

fn first_centre(place: &Place) -> Vec<f32> {
    Npz::open(&place.path("places.npz")).unwrap().read("centres").unwrap().values[..2].to_vec()
}

fn refused(outcome: Outcome, reason: &str) {
    let outcome = outcome.fails(2, &[reason]);
    assert!(outcome.stderr.len() < 1500 && outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
}

#[test]
fn a_table_that_says_two_things_is_refused() {
    let place = Place::new();
    let long = "a".repeat(100_000);
    for (table, reason) in [
        ("frame,x,x,y,width,height\n0,0.2,0.9,0.5,0.3,0.3\n", "column \"x\" twice"),
        ("frame;x;y;width;height\n0;1,2;1,7;1,3;1,3\n", "write numbers with a point"),
        ("frame,x,y,width,height,shape\n0,.5,.5,.3,.3,box\n8,.5,.5,.3,.3,ellipse\n", "line 3: `shape`"),
        ("frame,x,y,width,height\n0,.2,.5,.3,.3\n1e-300,.8,.5,.3,.3\n", "not later than the one before"),
        ("[{\"frame\": 0, \"x\": 0.5, \"y\": 0.5, \"width\": 0.3, \"height\": 0.3}]", "{\"keys\": [...]}"),
        (&long, "its first line has the column \"aaa"),
    ] {
        let track = write(&place, "track.csv", table);
        refused(places(&place, &track, &[]), reason);
    }
    let track = write(&place, "track.csv", TRACK);
    refused(places(&place, &track, &["--transform", &long]), "--transform \"aaa");
    refused(motionflow(&["track", &track, "--transform", "mirror", "-o", &track]), "what is read is there");
    assert_eq!(fs::read_to_string(&track).unwrap(), TRACK);
}

#[test]
fn arrays_of_other_numbers_are_refused_and_resampled_fractions_are_not() {
    let place = Place::new();
    let path = place.text("masks.npz");
    let write = |shape: &[usize], values: &[f32]| {
        let arrays = [Named { name: "masks", shape, values: Values::Floats(values) }];
        npz::write(Path::new(&path), &arrays).unwrap();
    };
    // White on the left half.
    let half = |black: f32, white: f32| -> Vec<f32> {
        (0..9 * 32 * 48).map(|index| if index % 48 < 24 { white } else { black }).collect()
    };
    for (black, white) in [(0.0, 1.0), (-0.03, 1.02), (0.0, 255.0)] {
        write(&[9, 32, 48], &half(black, white));
        places(&place, &path, &[]).ok();
        assert!((first_centre(&place)[0] - 0.25).abs() < 0.02, "{black} to {white}");
    }
    for (black, white) in [(-1.0, 1.0), (0.0, 65535.0), (0.0, 1.5)] {
        write(&[9, 32, 48], &half(black, white));
        refused(places(&place, &path, &[]), "write 0 and 1, fractions from 0 to 1, or 0 to 255");
    }
    for white in [f32::NAN, f32::INFINITY] {
        write(&[9, 32, 48], &half(0.0, white));
        refused(places(&place, &path, &[]), "not finite");
    }
    write(&[9, 32, 48, 1], &half(0.0, 1.0));
    refused(places(&place, &path, &[]), "has the shape [9, 32, 48, 1]");
    // Cropped to the video, it would be of 28 billion pixels.
    write(&[1, 1, 20_000], &vec![1.0; 20_000]);
    refused(places(&place, &path, &[]), "its pictures are 20000x1, and the new video 48x32");
}

#[test]
fn points_that_are_out_of_the_picture_or_hidden_are_fractions_too() {
    let place = Place::new();
    let corners = [[0.8, 0.4], [1.1, 0.4], [1.1, 0.6], [0.8, 0.6], [f32::NAN, f32::NAN], [300.0, 9.0]];
    let points: Vec<f32> = (0..9).flat_map(|_| corners.into_iter().flatten()).collect();
    let visible: Vec<f32> = (0..9).flat_map(|_| [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]).collect();
    npy(&place.path("walk_tracks.npy"), "(9, 6, 2)", &points);
    npy(&place.path("walk_visibility.npy"), "(9, 6)", &visible);
    places(&place, &place.text("walk_tracks.npy"), &[]).ok();
    assert!((first_centre(&place)[0] - 0.9).abs() < 0.02, "{:?}", first_centre(&place));
    npy(&place.path("walk_visibility.npy"), "(6, 9)", &visible);
    refused(
        places(&place, &place.text("walk_tracks.npy"), &[]),
        "its visibility is not of 9 frames of 6 points",
    );
}

#[test]
fn changes_as_far_as_numbers_go_take_no_time_and_no_memory() {
    let place = Place::new();
    let track = write(&place, "right.csv", TRACK);
    let large = "scale 1000000";
    let grown = ["--transform", "1:grow 1", "--transform", large, "--transform", large, "--transform", large];
    places(&place, &track, &grown).ok();
    assert!((first_centre(&place)[0] - 0.5).abs() < 0.02, "all of the picture");
    let far = "scale 1000000 picture";
    let drawn = place.text("far.png");
    let size = ["-W", "48", "-H", "32", "--frames", "9"];
    motionflow(
        &[&["track", &track, "-o", &drawn, "--transform", far, "--transform", far], &size[..]].concat(),
    )
    .ok();
    assert!(image::open(&drawn).unwrap().width() >= 512);
}

#[test]
fn suites_and_sweeps_take_masks_tracks_and_changes() {
    let place = Place::new();
    write(&place, "right.csv", TRACK);
    let suite = format!(
        "[defaults]\nmodel.name = \"{}\"\nvideo = {{ width = 48, height = 32, frames = 9 }}\n\
         settings = {{ steps = 3, guided_steps = 1, init = \"noise\" }}\n\
         [[clip]]\nname = \"right\"\ntrack = [\"right.csv\"]\nprompts = [\"a [panda] in a forest\"]\n\
         [[variant]]\nname = \"as it is\"\n\
         [[variant]]\nname = \"mirrored\"\nmotion.transform = [\"mirror\"]\n",
        tiny_model()
    );
    let (file, output) = (write(&place, "suite.toml", &suite), place.text("report"));
    let eval = || {
        let mut command = program();
        command.args(["eval", "--suite", &file, "-o", &output, "--threads", "1"]);
        run(&mut command).ok()
    };
    eval();
    assert_eq!(place.names("report/cells").len(), 2);
    assert!(eval().stderr.contains("2 of 2 transfers are done"));
    let config = place.text("report/cells/right--a-panda-in-a-forest--as-it-is/run.toml");
    let swept = place.text("swept");
    let sets = ["--set", "transform=mirror,reverse"];
    motionflow(&[&["sweep", &config][..], &sets, &["-o", &swept, "--threads", "1"]].concat()).ok();
    assert_eq!(place.names("swept/cells").len(), 2);
}

/// Every message about motion that is given.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let model = tiny_model();
    let track = write(place, "right.csv", TRACK);
    let notes = write(place, "notes.txt", "mine");
    let broken = write(place, "broken.csv", "frame,x,y\n0,1,1\n");
    GrayImage::new(48, 32).save(place.path("black.png")).unwrap();
    let black = place.text("black.png");
    let with = |flags: &[&str]| transfer(place, &model, "out", flags);
    let subjects = |name: &str, text: &str| {
        let config = write(place, name, text);
        transfer(place, &model, "out", &["--config", &config])
    };
    let make = |files: &[&str], output: &str| {
        let output = place.text(output);
        motionflow(&[&["track"], files, &["-o", &output, "-W", "48", "-H", "32", "--frames", "9"]].concat())
    };
    make(&[&track, &track], "both.npz").ok();
    let both = place.text("both.npz");
    fs::create_dir(place.path("mine")).unwrap();
    fs::copy(&black, place.path("mine/0010.png")).unwrap();
    let inverted = place.text("inv");
    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car] on a road", "--steps", "2"]);
    run(invert.args(["-W", "24", "-H", "16", "--frames", "3", "--model", &model, "-o", &inverted])).ok();
    let empty = transfer(place, &model, "empty", &["--mask", &black]);
    assert!(empty.stderr.contains("is empty in 9 of 9 frames (1 to 9)"), "{}", empty.stderr);
    vec![
        empty,
        with(&["--mask", &place.text("none.png")]),
        with(&["--mask", &notes]),
        with(&["--track", &place.text("none.csv")]),
        with(&["--track", &broken]),
        with(&["--mask", &both]),
        with(&["--track", &track, "--track", &track]),
        with(&["--mask", &black, "--track", &track]),
        with(&["--track", &track, "--guidance-layers", "auto"]),
        with(&["--track", &track, "--transform", "shake"]),
        with(&["--track", &track, "--transform", "2: mirror"]),
        with(&["--mask-source", "given", "--source", &car(), "--source-prompt", "a [car]"]),
        run(program().args([
            "transfer",
            "-p",
            "a [panda]",
            "-m",
            &model,
            "-o",
            &place.text("out"),
            "--track",
            &track,
        ])),
        subjects("two.toml", "[[motion.subject]]\ntrack = \"right.csv\"\nmask = \"black.png\"\n"),
        subjects("none.toml", "[[motion.subject]]\nsource = \"a.mp4\"\nsource_prompt = \"a dog\"\n"),
        subjects("size.toml", "[[motion.subject]]\ninversion = \"inv\"\n"),
        subjects("half.toml", "[[motion.subject]]\ntrack = \"right.csv\"\nsource_prompt = \"a [dog]\"\n"),
        subjects("shaken.toml", "[[motion.subject]]\ntrack = \"right.csv\"\ntransform = [\"2: mirror\"]\n"),
        make(&[&track], "right.csv"),
        make(&[&track], "mine"),
        make(&[&track], "a.mov"),
        make(&[&track, &track], "a.json"),
        make(&[&black], "a.csv"),
    ]
}
