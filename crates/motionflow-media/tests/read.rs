//! Sources of every kind, and what is said about bad ones.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::path::Path;

use common::{ffmpeg, film, make, number_of, numbered};
use motionflow_media::image::{Rgb, RgbImage, Rgba, RgbaImage};
use motionflow_media::{Clip, Error, Fit, ReadOptions, source, video};

fn read(path: &Path, frames: usize, width: u32, height: u32) -> Result<Clip, Error> {
    source::read(ffmpeg(), path, &ReadOptions::new(frames, width, height))
}

fn numbers(clip: &Clip) -> Vec<usize> {
    clip.frames.iter().map(number_of).collect()
}

/// A film of 20 numbered frames at 10 a second.
fn twenty(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("twenty.mp4");
    video::write_mp4(ffmpeg(), &path, &film(20, 168, 48), 10.0, &[]).unwrap();
    path
}

#[test]
fn start_every_and_frames_choose() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    for (start, every, frames, expected) in [
        (0.0, 1, 3, vec![0, 1, 2]),
        (0.0, 3, 4, vec![0, 3, 6, 9]),
        (0.5, 1, 3, vec![5, 6, 7]),
        (0.7, 2, 3, vec![7, 9, 11]),
        (1.9, 1, 1, vec![19]),
        (0.0, 19, 2, vec![0, 19]),
        (0.0, 1, 20, (0..20).collect()),
        (1.0, 1, 10, (10..20).collect()),
    ] {
        let options = ReadOptions { start, every, ..ReadOptions::new(frames, 168, 48) };
        let clip = source::read(ffmpeg(), &path, &options).unwrap();
        assert_eq!(numbers(&clip), expected, "from {start} every {every}");
        assert!((clip.fps - 10.0 / every as f64).abs() < 1e-9);
        assert!((clip.source_fps - 10.0).abs() < 1e-9);
    }
}

#[test]
fn too_few_frames_say_how_many_and_what_to_lower() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    let message = |start, every, frames| {
        let options = ReadOptions { start, every, ..ReadOptions::new(frames, 168, 48) };
        let error = source::read(ffmpeg(), &path, &options).unwrap_err();
        assert!(error.is_misuse());
        error.to_string()
    };
    let short = message(0.0, 1, 24);
    assert!(short.contains("it has 20 frames (2.00 s at 10 per second), but 24 frames"), "{short}");
    assert!(short.ends_with("lower --frames to 20"), "{short}");
    let short = message(0.5, 2, 10);
    assert!(short.contains("15 of them from --start 0.5 on"), "{short}");
    assert!(short.ends_with("lower --frames to 8 or --every to 1 or --start to 0.1"), "{short}");
    let beyond = message(60.0, 1, 4);
    assert!(beyond.contains("it has 20 frames") && beyond.contains("0 of them"), "{beyond}");
    assert!(beyond.ends_with("lower --start to 1.6"), "{beyond}");
}

#[test]
fn what_is_advised_does_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    let base = ReadOptions { start: 0.5, every: 2, ..ReadOptions::new(10, 168, 48) };
    for options in [
        ReadOptions { frames: 8, ..base.clone() },
        ReadOptions { every: 1, ..base.clone() },
        ReadOptions { start: 0.1, ..base.clone() },
    ] {
        source::read(ffmpeg(), &path, &options).unwrap();
    }
}

#[test]
fn every_container_gives_its_size_rate_and_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    for (name, codec, fps) in [
        ("a.mov", &["-c:v", "mpeg4", "-q:v", "2"][..], 10.0),
        ("a.webm", &["-c:v", "libvpx-vp9", "-b:v", "1M"], 10.0),
        ("a.mkv", &["-c:v", "ffv1"], 10.0),
        ("a.avi", &["-c:v", "mjpeg", "-q:v", "2"], 10.0),
        ("a.gif", &[], 10.0),
        ("a.apng", &["-f", "apng"], 10.0),
        ("apng in name only.png", &["-f", "apng"], 10.0),
        ("a.h264", &["-c:v", "libx264", "-bsf:v", "h264_metadata=tick_rate=20"], 10.0),
        ("a.y4m", &[], 10.0),
    ] {
        let input = path.to_str().unwrap();
        make(folder.path(), &[&["-i", input], codec, &[name]].concat());
        let path = folder.path().join(name);
        let info = source::probe(ffmpeg(), &path, 8.0).unwrap();
        assert_eq!((info.width, info.height), (168, 48), "{name}");
        assert!((info.fps - fps).abs() < 1e-6, "{name}: {}", info.fps);
        let clip = read(&path, 20, 168, 48).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(numbers(&clip), (0..20).collect::<Vec<_>>(), "{name}");
        assert!(matches!(read(&path, 21, 168, 48), Err(Error::TooFewFrames(_))), "{name}");
    }
}

#[test]
fn the_rate_of_film_is_seen_through_whole_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    make(folder.path(), &["-r", "24000/1001", "-i", path.to_str().unwrap(), "-c:v", "ffv1", "film.mkv"]);
    let clip = read(&folder.path().join("film.mkv"), 20, 168, 48).unwrap();
    assert!((clip.fps - 24000.0 / 1001.0).abs() < 1e-6, "{}", clip.fps);
    assert_eq!(numbers(&clip), (0..20).collect::<Vec<_>>());
}

#[test]
fn an_animated_webp_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    make(
        folder.path(),
        &["-i", path.to_str().unwrap(), "-c:v", "libwebp_anim", "-quality", "90", "-loop", "0", "a.webp"],
    );
    let path = folder.path().join("a.webp");
    let options = ReadOptions { start: 0.2, every: 3, ..ReadOptions::new(6, 168, 48) };
    let clip = source::read(ffmpeg(), &path, &options).unwrap();
    assert_eq!(numbers(&clip), [2, 5, 8, 11, 14, 17]);
    assert!((clip.source_fps - 10.0).abs() < 1e-9, "{}", clip.source_fps);
    let message = read(&path, 30, 168, 48).unwrap_err().to_string();
    assert!(message.contains("it has 20 frames"), "{message}");
    assert!((source::probe(ffmpeg(), &path, 8.0).unwrap().fps - 10.0).abs() < 1e-9);
}

#[test]
fn a_rotated_video_stands_upright() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    make(
        folder.path(),
        &["-display_rotation", "90", "-i", path.to_str().unwrap(), "-c", "copy", "turned.mp4"],
    );
    let turned = folder.path().join("turned.mp4");
    let info = source::probe(ffmpeg(), &turned, 8.0).unwrap();
    assert_eq!((info.width, info.height), (48, 168));
    let clip = read(&turned, 2, 48, 168).unwrap();
    assert_eq!((clip.source_width, clip.source_height), (48, 168));
    // A quarter counter-clockwise: the square, once at the left, stands at the bottom.
    let (bottom, top) = (clip.frames[0].get_pixel(16, 164).0[0], clip.frames[0].get_pixel(16, 4).0[0]);
    assert!(bottom > 200 && top < 180, "{bottom} {top}");
}

#[test]
fn pixels_are_made_square() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    make(folder.path(), &["-i", path.to_str().unwrap(), "-vf", "setsar=4/3", "wide.mp4"]);
    let info = source::probe(ffmpeg(), &folder.path().join("wide.mp4"), 8.0).unwrap();
    assert_eq!((info.width, info.height), (224, 48));
}

#[test]
fn a_variable_rate_is_made_even() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    // Ten a second; frame 4 stands for half a second.
    let late = "setpts=(N+if(gte(N\\,5)\\,4\\,0))/10/TB";
    make(
        folder.path(),
        &["-i", path.to_str().unwrap(), "-vf", late, "-fps_mode", "vfr", "-c:v", "ffv1", "vfr.mkv"],
    );
    let clip = read(&folder.path().join("vfr.mkv"), 12, 168, 48).unwrap();
    assert!((clip.fps - 10.0).abs() < 1e-9, "{}", clip.fps);
    assert_eq!(numbers(&clip), [0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 6, 7]);
}

#[test]
fn odd_pixel_formats_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    for format in
        ["gray", "gray16le", "yuv444p10le", "rgb48le", "yuv410p", "bgra", "pal8", "yuva420p", "gbrp"]
    {
        let codec = match format {
            "gray16le" | "yuv444p10le" | "yuv410p" | "bgra" | "yuva420p" => "ffv1",
            _ => "rawvideo",
        };
        make(folder.path(), &["-i", path.to_str().unwrap(), "-pix_fmt", format, "-c:v", codec, "a.nut"]);
        let clip = read(&folder.path().join("a.nut"), 20, 168, 48).unwrap();
        assert_eq!(numbers(&clip), (0..20).collect::<Vec<_>>(), "{format}");
    }
}

#[test]
fn transparent_places_are_black() {
    let folder = tempfile::tempdir().unwrap();
    let picture =
        RgbaImage::from_fn(
            32,
            32,
            |x, _| if x < 16 { Rgba([255, 255, 255, 0]) } else { Rgba([200, 100, 50, 255]) },
        );
    picture.save(folder.path().join("0.png")).unwrap();
    make(
        folder.path(),
        &["-loop", "1", "-i", "0.png", "-frames:v", "3", "-c:v", "ffv1", "-pix_fmt", "bgra", "a.mkv"],
    );
    for path in [folder.path().to_owned(), folder.path().join("0.png"), folder.path().join("a.mkv")] {
        let clip = read(&path, 1, 32, 32).unwrap();
        assert_eq!(clip.frames[0].get_pixel(4, 4).0, [0, 0, 0], "{}", path.display());
        assert_eq!(clip.frames[0].get_pixel(28, 4).0, [200, 100, 50], "{}", path.display());
    }
}

#[test]
fn a_folder_is_read_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    for (index, name) in
        ["frame1.png", "frame2.PNG", "frame9.bmp", "frame10.png", "frame100.png"].iter().enumerate()
    {
        numbered(index, 64, 32).save(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "not an image").unwrap();
    std::fs::write(folder.path().join(".frame0.png"), "hidden").unwrap();
    std::fs::create_dir(folder.path().join("frame3.png")).unwrap();
    let clip = read(folder.path(), 5, 64, 32).unwrap();
    assert_eq!(numbers(&clip), [0, 1, 2, 3, 4]);
    assert!((clip.fps - 8.0).abs() < 1e-9);
    let options = ReadOptions { start: 0.1, every: 2, image_fps: 10.0, ..ReadOptions::new(2, 64, 32) };
    let clip = source::read(ffmpeg(), folder.path(), &options).unwrap();
    assert_eq!(numbers(&clip), [1, 3]);
    assert!((clip.fps - 5.0).abs() < 1e-9);
    let message = read(folder.path(), 6, 64, 32).unwrap_err().to_string();
    assert!(message.contains("it has 5 frames") && message.contains("--frames to 5"), "{message}");
    let info = source::probe(ffmpeg(), folder.path(), 12.0).unwrap();
    assert_eq!((info.width, info.height, info.fps as u32), (64, 32, 12));
}

#[test]
fn images_of_different_sizes_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    numbered(0, 64, 32).save(folder.path().join("1.png")).unwrap();
    numbered(0, 64, 48).save(folder.path().join("2.png")).unwrap();
    let message = read(folder.path(), 2, 64, 32).unwrap_err().to_string();
    assert!(message.contains("2.png: 64x48, but ") && message.contains("1.png is 64x32"), "{message}");
}

#[test]
fn bad_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| read(path, 1, 64, 32).unwrap_err().to_string();
    assert!(message(folder.path()).contains("no images in this folder"), "{}", message(folder.path()));
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    assert!(message(folder.path()).contains("no images in this folder"));
    std::fs::write(folder.path().join("a.png"), "text").unwrap();
    assert!(
        message(folder.path()).contains("a.png: cannot be read as an image"),
        "{}",
        message(folder.path())
    );
}

#[test]
fn files_that_are_no_video_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("text.mp4"), "hello, I am a text\n").unwrap();
    std::fs::write(at("notes.txt"), "ffmpeg would draw this\n").unwrap();
    std::fs::write(at("list.m3u8"), "#EXTM3U\n#EXTINF:1,\ntext.mp4\n").unwrap();
    std::fs::write(at("empty.mp4"), "").unwrap();
    std::fs::write(
        at("noise.mp4"),
        (0..9999_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>(),
    )
    .unwrap();
    make(folder.path(), &["-f", "lavfi", "-i", "sine=duration=1", "sound.wav"]);
    let whole = std::fs::read(twenty(folder.path())).unwrap();
    std::fs::write(at("cut.mp4"), &whole[..200]).unwrap();
    for (name, reason) in [
        ("text.mp4", "it is a text file"),
        ("notes.txt", "it is a text file"),
        ("list.m3u8", "it is a text file"),
        ("empty.mp4", "it is empty (0 bytes)"),
        ("noise.mp4", "moov atom not found"),
        ("sound.wav", "it has no video stream"),
        ("cut.mp4", "it has no video stream"),
    ] {
        for error in
            [read(&at(name), 1, 8, 8).unwrap_err(), source::probe(ffmpeg(), &at(name), 8.0).unwrap_err()]
        {
            let message = error.to_string();
            assert!(matches!(error, Error::NotAVideo { .. }), "{name}: {message}");
            assert!(message.contains(name) && message.contains(reason), "{name}: {message}");
            assert!(!message.contains(" @ 0x") && !message.contains('\n'), "{name}: {message}");
        }
    }
    let missing = read(&at("missing.mp4"), 1, 8, 8).unwrap_err();
    assert!(matches!(missing, Error::SourceMissing { .. }) && missing.is_misuse(), "{missing}");
}

#[test]
fn a_video_without_frames_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    make(folder.path(), &["-i", path.to_str().unwrap(), "-frames:v", "0", "-c:v", "libx264", "none.mp4"]);
    make(folder.path(), &["-i", path.to_str().unwrap(), "-frames:v", "0", "-c:v", "ffv1", "none.mkv"]);
    for name in ["none.mp4", "none.mkv"] {
        let error = read(&folder.path().join(name), 1, 8, 8).unwrap_err();
        assert!(matches!(error, Error::NoFrames { .. } | Error::NotAVideo { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_cut_off_video_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = twenty(folder.path());
    make(folder.path(), &["-i", path.to_str().unwrap(), "-c:v", "ffv1", "-g", "1", "a.mkv"]);
    let whole = std::fs::read(folder.path().join("a.mkv")).unwrap();
    let cut = folder.path().join("cut.mkv");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(numbers(&read(&cut, 4, 168, 48).unwrap()), [0, 1, 2, 3]);
    let message = read(&cut, 20, 168, 48).unwrap_err().to_string();
    assert!(message.contains("too few frames"), "{message}");
}

#[test]
fn settings_out_of_range_are_named() {
    let path = Path::new("never opened.mp4");
    let good = ReadOptions::new(4, 8, 8);
    for (name, options) in [
        ("--start", ReadOptions { start: -1.0, ..good.clone() }),
        ("--start", ReadOptions { start: f64::NAN, ..good.clone() }),
        ("--frames", ReadOptions { frames: 0, ..good.clone() }),
        ("--every", ReadOptions { every: 0, ..good.clone() }),
        ("--width", ReadOptions { width: 0, ..good.clone() }),
        ("--height", ReadOptions { height: 0, ..good.clone() }),
        ("--fps", ReadOptions { image_fps: 0.0, ..good.clone() }),
    ] {
        let error = source::read(ffmpeg(), path, &options).unwrap_err();
        assert!(matches!(error, Error::BadSetting { name: found, .. } if found == name), "{error}");
    }
}

#[test]
fn a_clip_is_brought_to_the_size_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let red = RgbImage::from_pixel(40, 20, Rgb([200, 0, 0]));
    red.save(folder.path().join("1.png")).unwrap();
    for fit in Fit::ALL {
        let options = ReadOptions { fit, ..ReadOptions::new(1, 32, 32) };
        let clip = source::read(ffmpeg(), folder.path(), &options).unwrap();
        assert_eq!((clip.source_width, clip.source_height), (40, 20));
        assert_eq!(clip.frames[0].dimensions(), (32, 32));
        let corner = clip.frames[0].get_pixel(0, 0).0;
        assert_eq!(corner, if fit == Fit::Pad { [0, 0, 0] } else { [200, 0, 0] }, "{fit}");
    }
}
