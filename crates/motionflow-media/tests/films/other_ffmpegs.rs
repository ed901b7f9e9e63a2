//! Films read with an ffmpeg that crashes, lacks something, or says what a test wants.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// An ffmpeg that is a shell script; `$FFMPEG` is the real one.
fn script(folder: &Path, body: &str) -> Ffmpeg {
    let path = folder.join("ffmpeg");
    let real = std::path::absolute(ffmpeg().program()).unwrap();
    let real = if ffmpeg().program().components().count() == 1 { ffmpeg().program().into() } else { real };
    std::fs::write(&path, format!("#!/bin/sh\nFFMPEG='{}'\n{body}\n", real.display())).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Ffmpeg::at(path).unwrap()
}

const VERSION: &str = "case \"$*\" in -version|*-demuxers) exec \"$FFMPEG\" \"$@\";; esac";

#[test]
fn a_crash_is_called_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 30, "", &["-c:v", "libx264", "a.mp4"]);
    let film = folder.join("a.mp4");
    for (crash, how) in [
        ("kill -SEGV $$", "ffmpeg crashed (signal 11)"),
        ("kill -ABRT $$", "ffmpeg crashed (signal 6)"),
        ("kill -KILL $$", "ffmpeg was killed (signal 9)"),
        // While it decodes.
        (
            "case \"$*\" in *\"-f rawvideo\"*) kill -BUS $$;; esac; exec \"$FFMPEG\" \"$@\"",
            "ffmpeg crashed (signal 7)",
        ),
    ] {
        let crashing = script(folder, &format!("{VERSION}\n{crash}"));
        let error = source::read(&crashing, &film, &ReadOptions::new(4, 64, 64)).unwrap_err();
        assert!(matches!(error, Error::FfmpegCrashed { .. }), "{error}");
        assert!(error.to_string().contains(how) && error.to_string().contains("a.mp4"), "{error}");
    }
}

#[test]
fn what_an_ffmpeg_lacks_is_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let fields = ["-f", "lavfi", "-i", FIELDS, "-c:v", "libx264", "-flags", "+ildct+ilme", "i.mp4"];
    make(folder, &fields);
    let pq = ["-f", "lavfi", "-i", "color=gray:s=64x64:r=8:d=1,format=yuv420p10le", "-c:v", "libx265"];
    make(folder, &[&pq[..], &["-x265-params", "log-level=error:transfer=smpte2084", "pq.mp4"]].concat());
    let clear =
        ["-f", "lavfi", "-i", "color=white@0.0:s=64x64:r=8:d=1,format=yuva420p", "-c:v", "libvpx-vp9"];
    make(folder, &[&clear[..], &["-pix_fmt", "yuva420p", "a.webm"]].concat());
    let lists = "case \"$*\" in *-filters*|*-decoders*) \"$FFMPEG\" \"$@\" | grep -v 'dif\\|tonemap\\|libvpx'; exit;; esac";
    let bare = script(folder, &format!("{VERSION}\n{lists}\nexec \"$FFMPEG\" \"$@\""));
    for (name, expected) in [
        ("i.mp4", Notice::Interlaced),
        ("pq.mp4", Notice::NotToneMapped { transfer: "PQ" }),
        ("a.webm", Notice::OpacityLost),
    ] {
        let clip = source::read(&bare, &folder.join(name), &ReadOptions::new(3, 64, 64)).unwrap();
        assert_eq!(clip.notices, [expected], "{name}");
    }
}

#[test]
fn a_start_beyond_the_end_is_not_decoded_for() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    numbered(folder, 0, 130, "", &["-c:v", "libx264", "-g", "25", "a.mp4"]);
    let films = copied(folder, "a.mp4", &["a.mkv", "a.ts", "a.h264", "a.avi"]);
    let log = folder.join("log");
    let logging =
        script(folder, &format!("{VERSION}\necho \"$*\" >>'{}'\nexec \"$FFMPEG\" \"$@\"", log.display()));
    for film in films.into_iter().chain([folder.join("a.mp4")]) {
        let options = ReadOptions { start: 300.0, ..ReadOptions::new(4, 64, 64) };
        let message = source::read(&logging, &film, &options).unwrap_err().to_string();
        assert!(message.contains("it has 130 frames") && message.contains(", 0 of them"), "{message}");
        assert!(message.ends_with("lower --start to 5.04"), "{message}");
        let asked = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        for line in asked.lines().filter(|line| line.contains("-f rawvideo")) {
            assert!(line.contains("-ss 299"), "decodes all of {}: {line}", film.display());
        }
    }
    // And a start within is found without decoding all that is before it.
    let options = ReadOptions { start: 4.0, ..ReadOptions::new(4, 64, 64) };
    source::read(&logging, &folder.join("a.mp4"), &options).unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains("-ss 3 "));
}
