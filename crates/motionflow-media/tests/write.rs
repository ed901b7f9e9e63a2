//! Videos that are written and read again.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{ffmpeg, film, names, number_of, psnr};
use motionflow_media::image::RgbImage;
use motionflow_media::{Error, ReadOptions, gif, picture, source, video};

#[test]
fn an_mp4_comes_back_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    let frames = film(12, 128, 96);
    video::write_mp4(
        ffmpeg(),
        &path,
        &frames,
        12.5,
        &[("comment", "made by a test; a=b"), ("motionflow", "0.1")],
    )
    .unwrap();
    let clip = source::read(ffmpeg(), &path, &ReadOptions::new(12, 128, 96)).unwrap();
    assert!((clip.fps - 12.5).abs() < 1e-9, "{}", clip.fps);
    assert_eq!((clip.source_width, clip.source_height, clip.frames.len()), (128, 96, 12));
    for (index, (read, written)) in clip.frames.iter().zip(&frames).enumerate() {
        assert_eq!(number_of(read), index);
        assert!(psnr(read, written) > 32.0, "frame {index}: {} dB", psnr(read, written));
    }
    assert_eq!(names(folder.path()), ["a.mp4"]);
}

#[test]
fn an_mp4_is_what_browsers_play() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    video::write_mp4(ffmpeg(), &path, &film(3, 64, 48), 8.0, &[("motionflow_seed", "7")]).unwrap();
    let said = describe(&path);
    for part in ["h264", "yuv420p", "bt709", "64x48", "8 fps", "motionflow_seed : 7"] {
        assert!(squeezed(&said).contains(part), "{part} is not in:\n{said}");
    }
    let bytes = std::fs::read(&path).unwrap();
    let place = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"), "the index stands first");
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let frames = film(9, 64, 48);
    let [one, two] = ["one.mp4", "two.mp4"].map(|name| {
        let path = folder.path().join(name);
        video::write_mp4(ffmpeg(), &path, &frames, 8.0, &[("title", "same")]).unwrap();
        std::fs::read(path).unwrap()
    });
    assert!(one == two);
    let [one, two] = ["one.gif", "two.gif"].map(|name| {
        let path = folder.path().join(name);
        gif::write_gif(ffmpeg(), &path, &frames, 8.0, None).unwrap();
        std::fs::read(path).unwrap()
    });
    assert!(one == two);
}

#[test]
fn odd_sizes_are_made_even_by_repeating_the_edge() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.mp4");
    let frame = RgbImage::from_pixel(33, 17, [200, 60, 90].into());
    video::write_mp4(ffmpeg(), &path, &vec![frame; 2], 8.0, &[]).unwrap();
    let clip = source::read(ffmpeg(), &path, &ReadOptions::new(2, 34, 18)).unwrap();
    assert_eq!((clip.source_width, clip.source_height), (34, 18));
    let corner = clip.frames[1].get_pixel(33, 17).0;
    assert!(corner.iter().zip([200, 60, 90]).all(|(a, b): (&u8, u8)| a.abs_diff(b) < 8), "{corner:?}");
}

#[test]
fn colours_survive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("colours.mp4");
    for color in [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128]] {
        let frame = RgbImage::from_pixel(32, 32, color.into());
        video::write_mp4(ffmpeg(), &path, &[frame], 8.0, &[]).unwrap();
        let read = source::read(ffmpeg(), &path, &ReadOptions::new(1, 32, 32)).unwrap().frames[0]
            .get_pixel(16, 16)
            .0;
        assert!(
            read.iter().zip(color).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 4),
            "{color:?} became {read:?}"
        );
    }
}

#[test]
fn a_gif_comes_back_as_it_went() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    let frames = film(16, 136, 48);
    let comment = "made by a test, ".repeat(40);
    gif::write_gif(ffmpeg(), &path, &frames, 8.0, Some(&comment)).unwrap();
    let clip = source::read(ffmpeg(), &path, &ReadOptions::new(16, 136, 48)).unwrap();
    assert!((clip.fps - 8.0).abs() < 1e-9, "{}", clip.fps);
    for (index, (read, written)) in clip.frames.iter().zip(&frames).enumerate() {
        assert_eq!(number_of(read), index);
        assert!(psnr(read, written) > 28.0, "frame {index}: {} dB", psnr(read, written));
    }
    let bytes = std::fs::read(&path).unwrap();
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(b"NETSCAPE2.0\x03\x01\0\0"), "it loops for ever");
    assert!(has(b"\x21\xFE\xFFmade by a test"), "the comment is in it");
    assert_eq!(names(folder.path()), ["a.gif"]);
}

#[test]
fn a_fast_gif_leaves_frames_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fast.gif");
    gif::write_gif(ffmpeg(), &path, &film(10, 96, 32), 100.0, None).unwrap();
    let clip = source::read(ffmpeg(), &path, &ReadOptions::new(5, 96, 32)).unwrap();
    assert!((clip.fps - 50.0).abs() < 1e-9, "{}", clip.fps);
}

#[test]
fn names_are_no_options() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["with space.mp4", "-y.mp4", "ünï 視頻 🐼.mp4", "100%d.mp4", "http:x.mp4", "'quote\".mp4"]
    {
        let path = folder.path().join(name);
        video::write_mp4(ffmpeg(), &path, &film(3, 64, 32), 8.0, &[]).unwrap();
        let clip = source::read(ffmpeg(), &path, &ReadOptions::new(3, 64, 32)).unwrap();
        assert_eq!(clip.frames.len(), 3, "{name}");
    }
    assert_eq!(names(folder.path()).len(), 6);
}

#[test]
fn a_bare_name_with_a_dash_works_in_the_current_folder() {
    // The tests' own folder is the crate's; a file that passes through it is removed at once.
    let path = Path::new("-loglevel.gif");
    let _ = std::fs::remove_file(path);
    gif::write_gif(ffmpeg(), path, &film(2, 32, 32), 8.0, None).unwrap();
    let clip = source::read(ffmpeg(), path, &ReadOptions::new(2, 32, 32));
    std::fs::remove_file(path).unwrap();
    assert_eq!(clip.unwrap().frames.len(), 2);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mp4");
    let write = |frames: &[RgbImage], fps| video::write_mp4(ffmpeg(), &path, frames, fps, &[]);
    assert!(matches!(write(&[], 8.0), Err(Error::NothingToDraw { .. })));
    assert!(matches!(write(&[RgbImage::new(0, 0)], 8.0), Err(Error::NothingToDraw { .. })));
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(write(&film(2, 64, 32), fps), Err(Error::BadSetting { name: "--fps", .. })));
    }
    let unequal = [film(2, 64, 32), film(1, 32, 32)].concat();
    let error = write(&unequal, 8.0).unwrap_err();
    assert!(matches!(error, Error::UnequalFrames { index: 2, .. }), "{error}");
    let failing = video::write_mp4(ffmpeg(), &path, &film(2, 64, 32), 8.0, &[("bad\0key", "")]);
    assert!(failing.is_err());
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_folder_that_is_not_there_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/a.mp4");
    for error in [
        video::write_mp4(ffmpeg(), &path, &film(2, 64, 32), 8.0, &[]).unwrap_err(),
        gif::write_gif(ffmpeg(), &path, &film(2, 64, 32), 8.0, None).unwrap_err(),
        picture::write_png(&path, &film(1, 64, 32)[0]).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(message.contains("missing/a.mp4: cannot be written: No such file"), "{message}");
    }
}

#[test]
fn a_file_in_place_of_a_folder_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file/a.mp4");
    let error = video::write_mp4(ffmpeg(), &path, &film(2, 64, 32), 8.0, &[]).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("file/a.mp4: cannot be written: Not a directory"), "{error}");
}

/// What ffmpeg says about a file.
fn describe(path: &Path) -> String {
    let output = Command::new(ffmpeg().program()).arg("-hide_banner").arg("-i").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The text with every run of spaces as one.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
