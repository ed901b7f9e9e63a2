//! What a run leaves, what it must not touch, and results that are read back.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use motionflow_media::image::codecs::gif::GifDecoder;
use motionflow_media::image::{AnimationDecoder, RgbImage};
use motionflow_media::picture;

use crate::common::{
    Outcome, Place, SMALL, car, ffmpeg, motionflow, program, read_json, run, text, tiny_model,
};
use crate::eval::npz;

/// `generate` with these flags, into the folder `out`.
fn generate(place: &Place, flags: &[&str]) -> Command {
    let mut command = program();
    command.args(["generate", "--model", &tiny_model(), "--output", &place.text("out"), "--threads", "1"]);
    command.args(["-W", "8", "-H", "8", "--steps", "1"]).args(flags);
    command
}

/// A transfer of this source, into the folder `out`.
fn transfer(place: &Place, source: &str, flags: &[&str]) -> Outcome {
    let mut command = program();
    command.args(["transfer", "--source", source, "--source-prompt", "a [car]", "--prompt", "a [panda]"]);
    command.args(["--output", &place.text("out"), "--model", &tiny_model()]).args(SMALL).args(flags);
    run(&mut command)
}

/// An ffmpeg that does `instead` where `of` is among its arguments, and else what it always does.
fn odd_ffmpeg(place: &Place, of: &str, instead: &str) -> String {
    let real = text(ffmpeg().program());
    let path = place.path("ffmpeg");
    fs::write(&path, format!("#!/bin/sh\ncase \"$*\" in {of}) {instead} ;; esac\nexec '{real}' \"$@\"\n"))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    text(&path)
}

/// Runs ffmpeg itself.
#[track_caller]
fn make(arguments: &[&str]) {
    let mut command = Command::new(ffmpeg().program());
    let status = command.args(["-v", "error", "-y"]).args(arguments).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

fn warnings(run_folder: &Path) -> Vec<String> {
    let warnings = read_json(&run_folder.join("run.json"))["warnings"].clone();
    serde_json::from_value(warnings).unwrap()
}

#[test]
fn a_moment_at_a_high_rate_is_a_gif_too() {
    for (frames, fps, shown) in [("1", "120", 1), ("1", "1000", 1), ("9", "1000", 1), ("3", "60", 3)] {
        let place = Place::new();
        run(&mut generate(&place, &["--prompt", "a cat", "--frames", frames, "--fps", fps])).ok();
        let gif = GifDecoder::new(BufReader::new(File::open(place.path("out/result.gif")).unwrap())).unwrap();
        assert_eq!(gif.into_frames().map(Result::unwrap).count(), shown, "{frames} at {fps}");
        assert_eq!(warnings(&place.path("out")), [""; 0]);
    }
    let place = Place::new();
    let slow = generate(&place, &["--prompt", "a cat", "--fps", "0.000001"]).output().unwrap();
    assert_eq!(slow.status.code(), Some(2), "before the run, not at its end: {slow:?}");
}

#[test]
fn what_cannot_be_made_at_the_end_of_a_run_is_told_and_left_out() {
    let place = Place::new();
    // Of the videos, the result alone carries its record.
    let gif = odd_ffmpeg(&place, "*palettegen*", "echo no room >&2; exit 1");
    let mut command = place.transfer_command();
    let outcome = run(command.env("MOTIONFLOW_FFMPEG", &gif)).ok();
    assert_eq!(
        outcome.stderr.matches("warning: result.gif is left out: cannot be encoded: no room").count(),
        1
    );
    assert!(!outcome.stdout.contains("result.gif") && outcome.stdout.contains("compare.mp4"));
    let out = place.path("out");
    assert!(warnings(&out).contains(&"result.gif is left out: cannot be encoded: no room".to_owned()));
    let left =
        "compare.mp4 contact-sheet.png loss.svg masks masks.mp4 masks.npz result.mp4 run.json run.toml";
    assert_eq!(place.names("out").join(" "), left);

    let others =
        odd_ffmpeg(&place, "*libx264*", "case \"$*\" in *comment=*) ;; *) echo no room >&2; exit 1 ;; esac");
    let mut command = place.transfer_to("out");
    run(command.arg("--force").env("MOTIONFLOW_FFMPEG", &others)).ok();
    let left = "contact-sheet.png loss.svg masks masks.npz result.gif result.mp4 run.json run.toml";
    assert_eq!(place.names("out").join(" "), left);
    let told = warnings(&out);
    assert!(["compare.mp4", "masks.mp4"].iter().all(|name| told.iter().any(|told| told.starts_with(name))));

    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car]", "-o", &place.text("inv")]);
    run(invert.args(SMALL).args(["--model", &tiny_model()]).env("MOTIONFLOW_FFMPEG", &others)).ok();
    assert!(place.path("inv/inversion.toml").is_file() && !place.path("inv/masks.mp4").exists());
    assert!(warnings(&place.path("inv")).iter().any(|told| told.starts_with("masks.mp4 is left out: ")));
}

#[test]
fn a_picture_of_many_results_that_cannot_be_made_is_left_out() {
    let place = Place::new();
    let settings = format!(
        "source.path = \"{}\"\nprompts = {{ source_prompt = \"a [car]\", prompt = \"a [cat]\" }}\n\
         model.name = \"{}\"\nvideo = {{ width = 16, height = 16, frames = 2 }}\nsettings.steps = 1\n",
        car(),
        tiny_model()
    );
    fs::write(place.path("s.toml"), settings).unwrap();
    fs::create_dir_all(place.path("swept/grid.png")).unwrap();
    let sweep =
        ["sweep", &place.text("s.toml"), "--set", "seed=1", "-o", &place.text("swept"), "--threads", "1"];
    let outcome = motionflow(&sweep).ok();
    assert!(
        outcome.stderr.contains("warning: grid.png is left out: cannot be written"),
        "{}",
        outcome.stderr
    );
    assert!(place.path("swept/results.json").is_file());
    // A file of the user's in a folder for results stays.
    fs::write(place.path("swept/.gitignore"), "mine").unwrap();
    motionflow(&sweep).ok();
    assert_eq!(fs::read_to_string(place.path("swept/.gitignore")).unwrap(), "mine");
}

#[test]
fn a_prompt_of_any_length_is_told_briefly_and_soon() {
    let place = Place::new();
    let prompt = format!("a panda {}", "xyzzy ".repeat(20_000));
    let begun = Instant::now();
    let outcome = run(&mut generate(&place, &["--prompt", &prompt, "--frames", "1"])).ok();
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let told = warnings(&place.path("out"));
    assert!(told.iter().any(|told| told.contains("is cut off after 77")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("the record is left out of result.mp4")), "{told:?}");
    assert!(outcome.stderr.len() < 2000, "{} bytes", outcome.stderr.len());
    run(&mut generate(&place, &["--prompt", "a panda", "--frames", "1", "--force"])).ok();
    assert!(warnings(&place.path("out")).iter().all(|told| !told.contains("the record")));
}

#[test]
fn a_source_is_never_replaced_by_its_result() {
    let place = Place::new();
    place.transfer(&[]).ok();
    let source = place.path("out/result.mp4");
    let before = fs::read(&source).unwrap();
    symlink(&source, place.path("link.mp4")).unwrap();
    symlink(place.path("out"), place.path("alias")).unwrap();
    fs::hard_link(&source, place.path("hard.mp4")).unwrap();
    let parts = ["result.mp4", "is the source of this run", "replace", "--output"];
    for name in ["out/result.mp4", "out/../out/./result.mp4", "link.mp4", "hard.mp4", "alias/result.mp4"] {
        transfer(&place, &place.text(name), &["--force"]).fails(2, &parts);
    }
    let inside = program()
        .current_dir(place.path("out"))
        .args(["invert", "--source", "result.mp4"])
        .args(["--source-prompt", "a [car]", "-o", ".", "--force", "--model", &tiny_model()])
        .output()
        .unwrap();
    assert_eq!(inside.status.code(), Some(2), "{inside:?}");
    // The output folder by another name.
    let mut aliased = program();
    aliased.args([
        "transfer",
        "--source",
        &text(&source),
        "--source-prompt",
        "a [car]",
        "--prompt",
        "a [cat]",
    ]);
    run(aliased.args(["--force", "-o", &place.text("alias"), "--model", &tiny_model()]).args(SMALL))
        .fails(2, &parts);
    // What an unfinished run left in its folder.
    fs::create_dir_all(place.path("out/.unfinished/files")).unwrap();
    fs::copy(&source, place.path("out/.unfinished/files/result.mp4")).unwrap();
    transfer(&place, &place.text("out/.unfinished/files/result.mp4"), &["--force"]).fails(2, &parts);
    fs::remove_dir_all(place.path("out/.unfinished")).unwrap();
    // By a settings file, which must stay, too; and by jobs.
    let settings = format!("source.path = \"out/result.mp4\"\nmodel.name = \"{}\"\n", tiny_model());
    fs::write(place.path("s.toml"), &settings).unwrap();
    let forced = |config: &str| {
        motionflow(&["transfer", "--config", &place.text(config), "-o", &place.text("out"), "--force"])
    };
    forced("s.toml").fails(2, &parts);
    forced("out/run.toml").fails(2, &["run.toml: is the settings file of this run"]);
    let job = "prompts.source_prompt = \"a [car]\"\nprompts.prompt = \"a [cat]\"\n";
    fs::write(place.path("jobs.toml"), format!("[[job]]\nname = \"out\"\n{settings}{job}")).unwrap();
    let batch = motionflow(&["batch", &place.text("jobs.toml"), "-o", &place.text(""), "--force"]);
    assert_eq!(batch.code, 1, "{}", batch.stderr);
    assert!(batch.stderr.contains("result.mp4: is the source of this run"), "{}", batch.stderr);
    assert_eq!(fs::read(&source).unwrap(), before);
    // Through an inversion that was made of it.
    let mut invert = program();
    invert.args([
        "invert",
        "--source",
        &text(&source),
        "--source-prompt",
        "a [car]",
        "-o",
        &place.text("inv"),
    ]);
    run(invert.args(SMALL).args(["--model", &tiny_model()])).ok();
    let mut reuse = program();
    reuse.args(["transfer", "--inversion", &place.text("inv"), "--prompt", "a [cat]", "--force"]);
    run(reuse.args(["-o", &place.text("out"), "--model", &tiny_model()])).fails(2, &parts);
    assert_eq!(fs::read(&source).unwrap(), before);
    // Under another name it is in nobody's way.
    fs::rename(&source, place.path("out/mine.mp4")).unwrap();
    transfer(&place, &place.text("out/mine.mp4"), &["--force"]).ok();
    assert_eq!(fs::read(place.path("out/mine.mp4")).unwrap(), before);
}

#[test]
fn what_a_run_reads_is_no_place_for_its_results() {
    let place = Place::new();
    fs::create_dir(place.path("out")).unwrap();
    for index in 0..3 {
        picture::write_png(&place.path(&format!("out/{index}.png")), &RgbImage::new(32, 32)).unwrap();
    }
    transfer(&place, &place.text("out"), &["--force"]).fails(2, &["would lie in it", "--output"]);
    fs::write(place.path("s.toml"), "source.path = \"out\"\nprompts.prompt = \"a [cat]\"\n").unwrap();
    motionflow(&["sweep", &place.text("s.toml"), "--set", "tau=0.2", "-o", &place.text("out")])
        .fails(2, &["would lie in it", "--output"]);
    assert_eq!(place.names("out"), ["0.png", "1.png", "2.png"]);

    let mut invert = program();
    invert.args(["invert", "--source", &car(), "--source-prompt", "a [car]", "-o", &place.text("inv")]);
    run(invert.args(SMALL).args(["--model", &tiny_model()])).ok();
    let mut reuse = program();
    reuse.args(["transfer", "--inversion", &place.text("inv"), "--prompt", "a [cat]", "--force"]);
    run(reuse.args(["-o", &place.text("inv"), "--model", &tiny_model()]))
        .fails(2, &["is the inversion of this run"]);
    assert!(place.path("inv/inversion.safetensors").is_file());
}

#[test]
fn an_output_that_is_named_as_a_file_is_asked_after() {
    let place = Place::new();
    for name in ["panda.mp4", "a/panda.GIF"] {
        let mut command = place.transfer_to(name);
        run(&mut command).fails(2, &[name, "is the name of a file", "give a folder"]);
    }
    let jobs = place.text("jobs.toml");
    fs::write(&jobs, "[[job]]\nname = \"a.mp4\"\n").unwrap();
    motionflow(&["batch", &jobs, "-o", &place.text("all.webm")])
        .fails(2, &["all.webm", "is the name of a file"]);
    assert_eq!(place.names(""), ["jobs.toml"]);
    // Whoever has such a folder, or says that it is one, means it.
    fs::create_dir(place.path("panda.mp4")).unwrap();
    run(&mut place.transfer_to("panda.mp4")).ok();
    run(&mut place.transfer_to("clips.v1")).ok();
    run(&mut place.transfer_to("other.mp4/")).ok();
}

#[test]
fn patterns_and_single_images_are_told_of_folders() {
    let place = Place::new();
    fs::create_dir(place.path("frames")).unwrap();
    picture::write_png(&place.path("frames/0001.png"), &RgbImage::new(32, 32)).unwrap();
    for pattern in ["frames/%04d.png", "frames/*.png", "frames/%d.jpg", "frames/[0-9].png", "frames/####.png"]
    {
        transfer(&place, &place.text(pattern), &[])
            .fails(2, &["no such file or folder", "give their folder"]);
    }
    transfer(&place, &place.text("frames/0001.png"), &[])
        .fails(2, &["it has 1 frame", "--frames to 1", "or give the folder of the images"]);
    for plain in ["100%.mp4", "clip [1080p].mp4", "what?.mp4"] {
        let outcome = transfer(&place, &place.text(plain), &[]).fails(2, &["no such file or folder"]);
        assert!(!outcome.stderr.contains("sequence"), "{}", outcome.stderr);
    }
}

#[test]
fn no_file_leads_to_another() {
    let place = Place::new();
    for name in ["a.ts", "a.mp4"] {
        make(&["-f", "lavfi", "-i", "testsrc2=s=64x64:r=8:d=2", &place.text(name)]);
    }
    let concat = "ffconcat version 1.0\nfile a.mp4\n";
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n";
    let manifest =
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"></MPD>\n";
    let stream =
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n";
    // A long end that is no text: what comes first would be followed all the same.
    let binary = [b"# ".to_vec(), (0..5000_u32).map(|index| (index * 167 % 251) as u8).collect()].concat();
    for (name, text) in [("c.mp4", concat), ("c.m3u8", list), ("c.mpd", manifest), ("c.sdp", stream)] {
        let bare = text.as_bytes().to_vec();
        let marked = [b"\xEF\xBB\xBF", text.as_bytes()].concat();
        let controlled = [text.as_bytes(), b"#\x01\n"].concat();
        let odd = [text.as_bytes(), &binary].concat();
        for bytes in [bare, marked, controlled, odd] {
            fs::write(place.path(name), bytes).unwrap();
            let refused = transfer(&place, &place.text(name), &[]).fails(1, &[name, "not a video"]);
            assert!(!place.path("out").exists(), "{}", refused.stderr);
        }
    }
    // The same as a result that is measured, and as one that is shown.
    fs::write(place.path("c.mp4"), [concat.as_bytes(), &binary].concat()).unwrap();
    motionflow(&["eval", "--source", &car(), "--result", &place.text("c.mp4")])
        .fails(1, &["`concat`", "none is followed"]);
    motionflow(&["show", &place.text("c.mp4")]).fails(2, &["carries no record"]);
    transfer(&place, &place.text("a.mp4"), &[]).ok();
}

#[test]
fn a_source_is_a_file_or_a_folder() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.path("pipe.mp4")).status().unwrap().success());
    let socket = place.path("socket.mp4");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for source in [place.text("pipe.mp4"), text(&socket), "/dev/zero".into(), "/dev/null".into()] {
        transfer(&place, &source, &[]).fails(1, &[&source, "it is a pipe, a socket or a device"]);
    }
    let pipe = place.text("pipe.mp4");
    motionflow(&["eval", "--source", &car(), "--result", &pipe]).fails(1, &["--result", "it is a pipe"]);
    motionflow(&[
        "eval",
        "--source",
        &car(),
        "--result",
        &car(),
        "--source-tracks",
        &pipe,
        "--result-tracks",
        &pipe,
    ])
    .fails(1, &["--source-tracks", "it is not a file"]);
}

#[test]
fn no_ffmpeg_outlives_the_program() {
    for signal in ["-KILL", "-TERM"] {
        let place = Place::new();
        let pid = place.path("pid");
        let waiting = odd_ffmpeg(&place, "*file:*", &format!("echo $$ > '{}'; exec sleep 60", text(&pid)));
        let mut command = place.transfer_command();
        command.env("MOTIONFLOW_FFMPEG", waiting).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().unwrap();
        let soon = |is_so: &dyn Fn() -> bool| {
            (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                is_so()
            })
        };
        let child = || fs::read_to_string(&pid).unwrap_or_default().trim().to_owned();
        assert!(soon(&|| !child().is_empty()));
        let child = child();
        assert!(Path::new("/proc").join(&child).exists());
        assert!(Command::new("kill").args([signal, &running.id().to_string()]).status().unwrap().success());
        running.wait().unwrap();
        // An ended process may stay as a zombie where nobody waits for it.
        let is_gone = || {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        };
        assert!(soon(&is_gone), "{signal}: {child} is still there");
    }
}

#[test]
fn eval_measures_what_needs_no_prompt_and_fails_with_nothing() {
    let place = Place::new();
    let outcome = motionflow(&["eval", "--source", &car(), "--result", &car(), "--clip", "demo-clip"]).ok();
    assert!(
        outcome.stdout.contains("motion_fidelity_lk ") && outcome.stdout.contains("temporal_consistency ")
    );
    assert!(
        !outcome.stdout.contains("text_similarity") && outcome.stderr.contains("text_similarity is left out")
    );
    let flat = place.text("flat.mp4");
    make(&["-f", "lavfi", "-i", "color=gray:s=64x64:r=8:d=1", &flat]);
    for flags in [&["-p", "a car"][..], &["--json"], &[]] {
        let pair = ["eval", "--source", &flat, "--result", &flat, "--clip", "none"];
        let outcome = motionflow(&[&pair[..], flags].concat());
        assert_eq!(outcome.code, 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("error: no figure could be measured: motion_fidelity_lk"));
        assert!(
            !outcome.stdout.contains("made with") && !outcome.stdout.contains("\"row\""),
            "{}",
            outcome.stdout
        );
    }
    motionflow(&[
        "eval",
        "--source",
        &car(),
        "--result",
        &car(),
        "--truth",
        &car(),
        "--detector",
        "demo-detector",
    ])
    .fails(2, &["--prompt"]);
}

#[test]
fn eval_tells_of_rates_and_of_what_the_record_says() {
    let place = Place::new();
    let measure = |source: &str, result: &str| {
        let flags =
            ["eval", "--json", "--clip", "demo-clip", "-p", "a car", "--source", source, "--result", result];
        let outcome = motionflow(&flags).ok();
        assert!(outcome.stdout.contains("\"figures\""), "{}", outcome.stdout);
        outcome.stdout
    };
    let same = measure(&car(), &car());
    assert!(!same.contains("warning"), "{same}");
    let fast = place.text("fast.mp4");
    make(&["-r", "25", "-i", &car(), "-an", &fast]);
    assert!(measure(&car(), &fast).contains("the source plays at 8 frames per second and the result at 25"));

    place.transfer(&["--start", "0.5", "--every", "2"]).ok();
    let told = measure(&car(), &place.text("out/result.mp4"));
    assert!(told.contains("made of its source from 0.5 s on, one frame of 2"), "{told}");
    // The folder of the run is its result; and a source that is cut already is the right one.
    let cut = place.text("cut.mkv");
    make(&["-ss", "0.5", "-i", &car(), "-vf", "framestep=2", "-c:v", "ffv1", &cut]);
    let told = measure(&cut, &place.text("out"));
    assert!(!told.contains("made of its source") && !told.contains("plays at"), "{told}");
    let other = place.text("other.mp4");
    make(&["-i", &place.text("out/result.mp4"), "-r", "24", "-c:v", "libx264", &other]);
    assert!(
        measure(&cut, &other).contains("and its record says 3 at 4: it was cut"),
        "{}",
        measure(&cut, &other)
    );
    motionflow(&["eval", "--source", &car(), "--result", &place.text("nothing")]).fails(2, &["no such file"]);
    fs::remove_file(place.path("out/result.mp4")).unwrap();
    motionflow(&["eval", "--source", &car(), "--result", &place.text("out")])
        .fails(2, &["without a result.mp4"]);
}

/// An npz of tracks that move right, and perhaps their visibility.
fn tracks(place: &Place, name: &str, shape: [usize; 3], first: f32, visibility: Option<&str>) -> String {
    let [one, two, _] = shape;
    let mut values: Vec<f32> = (0..one * two * 2).map(|index| (index / 2 * 3) as f32).collect();
    values[0] = first;
    let points: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let visible = vec![1_u8; one * two];
    let shape = format!("({one}, {two}, 2)");
    let mut arrays = vec![("tracks", "<f4", shape.as_str(), points.as_slice())];
    arrays.extend(visibility.map(|shape| ("visibility", "|u1", shape, visible.as_slice())));
    npz(&place.path(name), &arrays);
    place.text(name)
}

/// `eval` of the car against itself with these tracks for both.
fn with_tracks(tracks: &str) -> Outcome {
    motionflow(&[
        "eval",
        "--source",
        &car(),
        "--result",
        &car(),
        "--clip",
        "none",
        "--source-tracks",
        tracks,
        "--result-tracks",
        tracks,
    ])
}

#[test]
fn tracks_are_of_the_videos_or_that_is_told() {
    let place = Place::new();
    for visibility in ["(16, 5)", "(1, 16, 5)", "(16, 5, 1)", "(1, 16, 5, 1)"] {
        let file = tracks(&place, "good.npz", [16, 5, 2], 0.0, Some(visibility));
        let outcome = with_tracks(&file).ok();
        assert!(
            outcome.stdout.contains("motion_fidelity ") && !outcome.stderr.contains("warning"),
            "{}",
            outcome.stderr
        );
    }
    with_tracks(&tracks(&place, "bad.npz", [16, 5, 2], 0.0, Some("(5, 16)")))
        .fails(1, &["visibility", "[16, 5]"]);
    with_tracks(&tracks(&place, "turned.npz", [5, 16, 2], 0.0, None))
        .fails(2, &["--source-tracks", "5 frames of 16 tracklets", "[frames, tracklets, 2]"]);
    let outcome = with_tracks(&tracks(&place, "short.npz", [9, 5, 2], 0.0, None)).ok();
    assert!(outcome.stderr.contains("the tracks are of 9 frames, and the video of 16"), "{}", outcome.stderr);
    let outcome = with_tracks(&tracks(&place, "nan.npz", [16, 5, 2], f32::NAN, None)).ok();
    assert!(
        outcome.stderr.contains("1 of 80 points are not finite, and count as hidden"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_record_is_read_from_whatever_container_it_was_put_into() {
    let place = Place::new();
    place.transfer(&[]).ok();
    let result = place.text("out/result.mp4");
    for (name, codec) in [
        ("a.mkv", "copy"),
        ("a.mov", "copy"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.ogv", "libtheora"),
    ] {
        make(&["-i", &result, "-c:v", codec, &place.text(name)]);
        let shown = motionflow(&["show", &place.text(name)]).ok().stdout;
        assert!(
            shown.contains("`motionflow transfer`") && shown.contains("a [panda] in the snow"),
            "{name}: {shown}"
        );
    }
    make(&["-i", &car(), "-c", "copy", &place.text("other.mkv")]);
    motionflow(&["show", &place.text("other.mkv")]).fails(2, &["carries no record of motionflow"]);
}

/// What provokes the rows of docs/errors.md that are about all this.
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let pattern = transfer(place, &place.text("%04d.png"), &[]);
    fs::create_dir(place.path("images")).unwrap();
    let mut among = program();
    among.args(["invert", "--source-prompt", "a [car]", "--source", &place.text("images")]);
    let among = run(among.args(["-o", &place.text("images")]));
    place.transfer(&["--start", "0.5"]).ok();
    let result = place.text("out/result.mp4");
    let (fast, prompt) = (place.text("fast.mp4"), format!("a {}", "cat ".repeat(30_000)));
    make(&["-i", &result, "-r", "25", &fast]);
    let failing = odd_ffmpeg(place, "*palettegen*", "exit 1");
    fs::create_dir(place.path("run")).unwrap();
    fs::write(place.path("run/run.toml"), "").unwrap();
    let eval = |result: &str| motionflow(&["eval", "--source", &car(), "--result", result, "--clip", "none"]);
    vec![
        pattern,
        among,
        transfer(place, &result, &["--force"]),
        run(&mut place.transfer_to("panda.mp4")),
        run(generate(place, &["--prompt", &prompt, "--frames", "1", "--force"])
            .env("MOTIONFLOW_FFMPEG", failing)),
        eval(&fast),
        eval(&place.text("run")),
        with_tracks(&tracks(place, "turned.npz", [5, 16, 2], 0.0, None)),
        with_tracks(&tracks(place, "short.npz", [9, 5, 2], f32::NAN, None)),
    ]
}
