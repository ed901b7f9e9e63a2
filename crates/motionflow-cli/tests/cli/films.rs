//! Films of every kind as sources: the same frames from all containers, and what was done to them is reported once.

use std::fs;
use std::process::Command;

use crate::common::{
    Outcome, Place, SMALL, ffmpeg, motionflow, program, read_json, read_toml, run, tiny_model,
};
use crate::error_table::warnings_in;

/// Makes a file with ffmpeg, in the place.
fn make(place: &Place, arguments: &[&str]) {
    let output = Command::new(ffmpeg().program())
        .args(["-nostdin", "-loglevel", "error", "-y"])
        .args(arguments)
        // A statically linked ffmpeg may crash on MPEG-TS without this.
        .env("GCONV_PATH", "/dev/null/gconv")
        .current_dir(place.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const TEST_FILM: [&str; 6] = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=25:d=4", "-pix_fmt", "yuv420p"];

fn command(place: &Place, source: &str) -> Command {
    let mut command = program();
    command.args(["transfer", "--source", &place.text(source), "--source-prompt", "a [car]"]);
    command.args(["--prompt", "a [panda]", "--output", &place.text("out"), "--model", &tiny_model()]);
    command.args(SMALL).args(["--guided-steps", "1", "--force"]);
    command
}

fn transfer(place: &Place, source: &str, flags: &[&str]) -> Outcome {
    run(command(place, source).args(flags))
}

#[test]
fn each_container_gives_the_same_frames() {
    let place = Place::new();
    make(&place, &[&TEST_FILM[..], &["-c:v", "libx264", "-g", "80", "a.mp4"]].concat());
    let mut hashes = Vec::new();
    for name in ["a.mp4", "a.ts", "a.h264", "a.avi"] {
        if name != "a.mp4" {
            make(&place, &["-i", "a.mp4", "-c", "copy", name]);
        }
        transfer(&place, name, &["--start", "0.2"]).ok();
        let record = read_toml(&place.path("out/run.toml"));
        assert_eq!(record["video"]["fps"].as_float(), Some(25.0), "{name}");
        hashes.push(record["source"]["frames_sha256"].as_str().unwrap().to_owned());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn films_whose_packets_have_no_times_are_sources() {
    let place = Place::new();
    for (name, codec) in [
        ("a.mpg", &["-c:v", "mpeg2video"][..]),
        ("a.vob", &["-c:v", "mpeg2video", "-bf", "2"]),
        ("b.mpg", &["-c:v", "mpeg1video", "-bf", "2"]),
        ("a.avi", &["-c:v", "mpeg4", "-bf", "2"]),
    ] {
        make(&place, &[&TEST_FILM[..], codec, &[name]].concat());
        transfer(&place, name, &["--dry-run"]).ok();
        let film = place.text(name);
        motionflow(&["eval", "--source", &film, "--result", &film, "-p", "a [car]", "--clip", "none"]).ok();
    }
    transfer(&place, "a.mpg", &[]).ok();
    assert_eq!(read_toml(&place.path("out/run.toml"))["video"]["fps"].as_float(), Some(25.0));
}

#[test]
fn what_was_done_to_a_film_is_told_once_and_recorded() {
    let place = Place::new();
    make(&place, &[&TEST_FILM[..], &["-c:v", "libx264", "plain.mp4"]].concat());
    let fields = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=50:d=1,tinterlace=interleave_top,setfield=tff"];
    make(&place, &[&fields[..], &["-c:v", "libx264", "-flags", "+ildct+ilme", "fields.mp4"]].concat());
    let hdr = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=8:d=1,format=yuv420p10le", "-c:v", "libx265"];
    make(&place, &[&hdr[..], &["-x265-params", "log-level=error:transfer=arib-std-b67", "hdr.mp4"]].concat());
    let clear =
        ["-f", "lavfi", "-i", "color=white@0.5:s=64x64:r=8:d=1,format=yuva420p", "-c:v", "libvpx-vp9"];
    make(&place, &[&clear[..], &["-pix_fmt", "yuva420p", "clear.webm"]].concat());
    for (name, told) in [
        ("plain.mp4", None),
        ("fields.mp4", Some("interlaced, so it was deinterlaced")),
        ("hdr.mp4", Some("HDR (HLG), so it was tone-mapped to SDR")),
        ("clear.webm", Some("partly transparent, so it was laid over black")),
    ] {
        let outcome = transfer(&place, name, &[]).ok();
        let about = |text: &str| text.starts_with(&place.text(name));
        let printed: Vec<&str> = warnings_in(&outcome.stderr).filter(|text| about(text)).collect();
        let expected: Vec<String> =
            told.map(|told| format!("{}: {told}", place.text(name))).into_iter().collect();
        assert_eq!(printed, expected, "{name}");
        let record = read_json(&place.path("out/run.json"));
        let kept = record["warnings"].as_array().unwrap().iter().filter_map(|text| text.as_str());
        assert_eq!(kept.filter(|text| about(text)).collect::<Vec<_>>(), expected, "{name}");
    }

    // A batch reads the film once, and each of its runs is warned.
    let (film, model) = (place.text("fields.mp4"), tiny_model());
    let jobs = format!(
        "[defaults]\nsource.path = \"{film}\"\nprompts.source_prompt = \"a [car]\"\nmodel.name = \"{model}\"\n\
         video = {{ width = 24, height = 16, frames = 3 }}\nsettings = {{ steps = 3, guided_steps = 1 }}\n\
         [[job]]\nname = \"one\"\nprompts.prompt = \"a [panda]\"\n\
         [[job]]\nname = \"two\"\nprompts.prompt = \"a [boat]\"\n"
    );
    fs::write(place.path("jobs.toml"), jobs).unwrap();
    motionflow(&["batch", &place.text("jobs.toml"), "-o", &place.text("batch"), "--threads", "1"]).ok();
    for job in ["one", "two"] {
        let record = read_json(&place.path(&format!("batch/{job}/run.json")));
        assert!(
            record["warnings"].to_string().contains("so it was deinterlaced"),
            "{job}: {}",
            record["warnings"]
        );
    }
}

#[test]
fn damage_is_a_warning_and_not_silent() {
    let place = Place::new();
    make(&place, &[&TEST_FILM[..], &["-c:v", "libx264", "-g", "16", "a.mp4"]].concat());
    let mut bytes = fs::read(place.path("a.mp4")).unwrap();
    let index = bytes.windows(4).position(|name| name == b"moov").unwrap();
    fs::write(place.path("cut.mp4"), &bytes[..index - 4]).unwrap();
    let (from, to) = (index / 4, index / 2);
    for (place, byte) in bytes[from..to].iter_mut().enumerate() {
        *byte = (place * 151 + 89) as u8;
    }
    fs::write(place.path("broken.mp4"), bytes).unwrap();
    let outcome = transfer(&place, "broken.mp4", &["--every", "16"]).ok();
    assert!(
        outcome.stderr.contains("damaged, so frames may be wrong or missing; ffmpeg says: "),
        "{}",
        outcome.stderr
    );
    let (source, result) = (place.text("broken.mp4"), place.text("a.mp4"));
    let pair = ["eval", "--source", &source, "--result", &result, "-p", "a [car]", "--clip", "none"];
    let outcome = motionflow(&pair).ok();
    assert_eq!(outcome.stderr.matches("damaged, so frames").count(), 1, "{}", outcome.stderr);
    transfer(&place, "cut.mp4", &[]).fails(1, &["cut.mp4", "not a video: moov atom not found"]);
}

#[test]
fn films_that_cannot_be_read_say_why() {
    let place = Place::new();
    make(&place, &["-f", "lavfi", "-i", "testsrc2=s=64x64:r=2000:d=0.1", "-c:v", "libx264", "fast.mp4"]);
    transfer(&place, "fast.mp4", &[]).fails(1, &["--source", "fast.mp4", "it has 2000 frames per second"]);
    make(&place, &[&TEST_FILM[..], &["-c:v", "libx264", "a.mp4"]].concat());
    transfer(&place, "a.mp4", &["--start", "400"]).fails(2, &["it has 100 frames", "lower --start to 3.88"]);
}

/// An ffmpeg that is a shell script, `body`, where it is asked for anything but its version; `$FFMPEG` is the real one.
#[cfg(unix)]
fn script(place: &Place, body: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = place.path("ffmpeg");
    let real = ffmpeg().program().to_owned();
    let real = if real.components().count() == 1 { real } else { std::path::absolute(real).unwrap() };
    let text = format!(
        "#!/bin/sh\nFFMPEG='{}'\n\
         case \"$*\" in -version|*-demuxers) exec \"$FFMPEG\" \"$@\";; esac\n{body}\n",
        real.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Every message about films, provoked.
#[cfg(unix)]
pub(crate) fn provoked(place: &Place) -> Vec<Outcome> {
    let noise = "testsrc2=s=64x64:r=25:d=2,noise=alls=20:allf=t";
    let film =
        |from: &str, arguments: &[&str]| make(place, &[&["-f", "lavfi", "-i", from], arguments].concat());
    film(
        noise,
        &["-pix_fmt", "yuv420p", "-c:v", "libx264", "-x264-params", "keyint=16:scenecut=0", "plain.mp4"],
    );
    film("testsrc2=s=64x64:r=2000:d=0.1", &["-c:v", "libx264", "fast.mp4"]);
    let fields = "testsrc2=s=64x64:r=50:d=1,tinterlace=interleave_top,setfield=tff";
    film(fields, &["-c:v", "libx264", "-flags", "+ildct+ilme", "fields.mp4"]);
    let deep = "testsrc2=s=64x64:r=8:d=1,format=yuv420p10le";
    film(deep, &["-c:v", "libx265", "-x265-params", "log-level=error:transfer=smpte2084", "hdr.mp4"]);
    film(
        "color=white@0.5:s=64x64:r=8:d=1,format=yuva420p",
        &["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "a.webm"],
    );
    let pause = "testsrc2=s=64x64:r=25:d=1,setpts=(N+if(gte(N\\,2)\\,9\\,0))/25/TB";
    film(pause, &["-fps_mode", "vfr", "-c:v", "libx264", "pause.mp4"]);
    make(place, &["-i", "plain.mp4", "-c", "copy", "plain.flv"]);
    let flv = fs::read(place.path("plain.flv")).unwrap();
    fs::write(place.path("twice.flv"), [&flv[..], &flv[13..]].concat()).unwrap();
    let mut bytes = fs::read(place.path("plain.mp4")).unwrap();
    let content = bytes.windows(4).position(|name| name == b"mdat").unwrap() + 4;
    for (place, byte) in bytes[content..content + 4000].iter_mut().enumerate() {
        *byte = (place * 151 + 89) as u8;
    }
    fs::write(place.path("late.mp4"), bytes).unwrap();

    let eval = |name: &str, ffmpeg: Option<&std::path::Path>| {
        let film = place.text(name);
        let mut command = program();
        command.args(["eval", "--source", &film, "--result", &film, "-p", "a [car]", "--clip", "none"]);
        if let Some(ffmpeg) = ffmpeg {
            command.env("MOTIONFLOW_FFMPEG", ffmpeg);
        }
        run(&mut command)
    };
    let names = ["fast.mp4", "fields.mp4", "hdr.mp4", "a.webm", "pause.mp4", "twice.flv", "late.mp4"];
    let mut outcomes: Vec<Outcome> = names.iter().map(|name| eval(name, None)).collect();
    let bare = "case \"$*\" in *-filters*|*-decoders*) \"$FFMPEG\" \"$@\" | grep -v 'dif\\|tonemap\\|libvpx'; exit;; esac\n\
                exec \"$FFMPEG\" \"$@\"";
    let bare = script(place, bare);
    outcomes.extend(["fields.mp4", "hdr.mp4", "a.webm"].iter().map(|name| eval(name, Some(&bare))));
    let crashing = script(place, "kill -SEGV $$");
    outcomes.push(eval("plain.mp4", Some(&crashing)));
    outcomes
}

#[cfg(unix)]
#[test]
fn a_crashed_ffmpeg_is_called_one() {
    let place = Place::new();
    make(&place, &[&TEST_FILM[..], &["-c:v", "libx264", "a.mp4"]].concat());
    let with = |variables: &[(&str, &str)]| {
        let mut command = command(&place, "a.mp4");
        command.env("MOTIONFLOW_FFMPEG", place.path("ffmpeg")).envs(variables.iter().copied());
        run(&mut command)
    };
    script(&place, "kill -SEGV $$");
    let parts = ["--source", "a.mp4", "ffmpeg crashed (signal 11)", "MOTIONFLOW_FFMPEG"];
    let crashed = with(&[]).fails(1, &parts);
    assert!(!crashed.stderr.contains("not a video"), "{}", crashed.stderr);
    // What a user says about iconv's modules goes before.
    script(&place, &format!("echo \"$GCONV_PATH\" >>'{}'; kill -SEGV $$", place.text("said")));
    with(&[]).fails(1, &["crashed"]);
    with(&[("GCONV_PATH", "/of/the/user")]).fails(1, &["crashed"]);
    let said = fs::read_to_string(place.path("said")).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.last(), Some(&"/of/the/user"));
    assert!(!said[0].is_empty() && said[0] != "/of/the/user", "{said:?}");
}
