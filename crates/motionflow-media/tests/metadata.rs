//! Notes that are written into files and read back.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::path::Path;

use common::{ffmpeg, film};
use motionflow_media::{Error, gif, metadata, video};
use proptest::prelude::*;

const ODD: [&str; 8] = [
    "plain",
    "a = b; c # d \\ e \"f\" 'g' % $ [h]",
    "# first\n\n[settings]\nsteps = 25\nprompt = \"a \\\"[panda]\\\"\"\n",
    "\n\n  spaces before and after \n ",
    "line\r\nline\\\nline\\",
    "🐼 視頻 ünï \u{200d}",
    "[STREAM]\nkey=value",
    ";FFMETADATA1",
];

fn through_mp4(path: &Path, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    video::write_mp4(ffmpeg(), path, &film(1, 16, 16), 8.0, pairs).unwrap();
    metadata::read_mp4(ffmpeg(), path).unwrap()
}

fn through_gif(path: &Path, comment: &str) -> Vec<String> {
    gif::write_gif(ffmpeg(), path, &film(2, 16, 16), 8.0, Some(comment)).unwrap();
    metadata::read_gif(path).unwrap()
}

#[track_caller]
fn has(pairs: &[(String, String)], key: &str, value: &str) {
    assert!(
        pairs.iter().any(|(k, v)| (k.as_str(), v.as_str()) == (key, value)),
        "{value:?} is not in {pairs:?}"
    );
}

#[test]
fn odd_texts_survive() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a long line; \n".repeat(1000);
    for text in ODD.into_iter().chain([long.as_str()]) {
        let pairs = through_mp4(&folder.path().join("a.mp4"), &[("title", text), ("comment", text)]);
        has(&pairs, "title", text);
        has(&pairs, "comment", text);
        assert_eq!(through_gif(&folder.path().join("a.gif"), text), [text]);
    }
}

#[test]
fn a_video_can_be_written_again_without_its_notes() {
    let folder = tempfile::tempdir().unwrap();
    let [noted, plain, never] = ["noted.mp4", "plain.mp4", "never.mp4"].map(|name| folder.path().join(name));
    through_mp4(&noted, &[("comment", "seed = 7")]);
    through_mp4(&never, &[]);
    metadata::write_without(ffmpeg(), &noted, &plain).unwrap();
    assert!(metadata::read_mp4(ffmpeg(), &plain).unwrap().iter().all(|(key, _)| key != "comment"));
    let bytes = std::fs::read(&plain).unwrap();
    assert!(!bytes.windows(8).any(|bytes| bytes == b"seed = 7"));
    let frames =
        |bytes: &[u8]| bytes[bytes.windows(4).position(|bytes| bytes == b"mdat").unwrap()..].to_vec();
    assert_eq!(frames(&bytes), frames(&std::fs::read(never).unwrap()), "its frames are as they were");
    let error = metadata::write_without(ffmpeg(), &folder.path().join("none.mp4"), &plain).unwrap_err();
    assert!(error.to_string().contains("none.mp4"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_text_survives(text in "[^\\x00]{1,600}") {
        let folder = tempfile::tempdir().unwrap();
        has(&through_mp4(&folder.path().join("a.mp4"), &[("comment", &text)]), "comment", &text);
        prop_assert_eq!(through_gif(&folder.path().join("a.gif"), &text), [text]);
    }
}

#[test]
fn files_without_notes_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = through_mp4(&folder.path().join("a.mp4"), &[]);
    assert!(
        pairs.iter().all(|(key, _)| !["title", "comment", "encoder", "date"].contains(&key.as_str())),
        "{pairs:?}"
    );
    let path = folder.path().join("a.gif");
    gif::write_gif(ffmpeg(), &path, &film(2, 16, 16), 8.0, None).unwrap();
    assert_eq!(metadata::read_gif(&path).unwrap(), [""; 0]);
}

#[test]
fn what_is_no_such_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let playlist = folder.path().join("list.mp4");
    std::fs::write(&playlist, "#EXTM3U\n#EXTINF:1,\nother.ts\n").unwrap();
    for path in [&missing, &playlist] {
        for error in [metadata::read_mp4(ffmpeg(), path).unwrap_err(), metadata::read_gif(path).unwrap_err()]
        {
            assert!(matches!(error, Error::NoMetadata { .. }), "{error}");
            assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
        }
    }
}

#[test]
fn a_hostile_gif_ends_somewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    through_gif(&path, "a comment");
    let whole = std::fs::read(&path).unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        metadata::read_gif(&path)
    };
    for end in 0..whole.len() {
        if let Ok(comments) = read(&whole[..end]) {
            assert!(comments.is_empty() || comments == ["a comment"], "{comments:?} at {end}");
        }
    }
    let mut endless = whole[..13].to_vec();
    endless[10] = 0;
    endless.extend(
        std::iter::repeat_n([b"\x21\xFE\xFF".as_slice(), &[b'x'; 255], b"\0"].concat(), 10_000).flatten(),
    );
    let comments = read(&endless).unwrap();
    assert!(comments.iter().map(String::len).sum::<usize>() <= 1 << 20);
}
