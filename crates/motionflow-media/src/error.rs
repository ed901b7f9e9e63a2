//! What can go wrong with videos and pictures: what was expected, what was found, where, and what to do.

use std::path::{Path, PathBuf};

use crate::source::{IMAGE_ENDINGS as ENDINGS, Shortage};
use crate::system::{Refusal, refusal_in, with_hint};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with videos and pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no ffmpeg to run.
    #[error(
        "ffmpeg was not found (looked for {looked_for}): run `cargo xtask setup`, install ffmpeg, or set \
         MOTIONFLOW_FFMPEG to the program"
    )]
    FfmpegMissing {
        /// The places that were tried, for the message.
        looked_for: String,
    },

    /// An ffmpeg was found but could not be started.
    #[error(
        "cannot run ffmpeg at {program}: {}",
        with_hint(.source, "set MOTIONFLOW_FFMPEG to a working one"),
        program = .program.display()
    )]
    FfmpegNotRunnable {
        /// The program that was tried.
        program: PathBuf,
        /// Why it did not start.
        source: std::io::Error,
    },

    /// The source does not exist.
    #[error("{path}: no such file or folder{hint}", path = .path.display(), hint = pattern_hint(path))]
    SourceMissing {
        /// The path as given.
        path: PathBuf,
    },

    /// The source exists but cannot be read.
    #[error("{path}: cannot be read: {source}", path = .path.display())]
    SourceUnreadable {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },

    /// The source is a file, but not one with video in it.
    #[error(
        "{path}: {}",
        unread("not a video", .reason, "; give a video (mp4, mov, webm, gif, webp, ...) or a folder of images"),
        path = .path.display()
    )]
    NotAVideo {
        /// The file.
        path: PathBuf,
        /// What it is instead, or what ffmpeg says about it.
        reason: String,
    },

    /// The source is a video of which no frame can be decoded.
    #[error("{path}: {}", unread("the video has no frames", .reason, ""), path = .path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
        /// What ffmpeg says about it.
        reason: String,
    },

    /// ffmpeg was ended by a signal while it read the source.
    #[error("{path}: ffmpeg {how} while reading it; set MOTIONFLOW_FFMPEG to another ffmpeg", path = .path.display())]
    FfmpegCrashed {
        /// The file.
        path: PathBuf,
        /// Such as `crashed (signal 11)`.
        how: String,
    },

    /// The source has more frames a second than can be.
    #[error(
        "{path}: it has {fps:.0} frames per second, but at most 1000 can be read; convert it to a lower rate first",
        path = .path.display()
    )]
    RateTooHigh {
        /// The file.
        path: PathBuf,
        /// Its frames per second.
        fps: f64,
    },

    /// The source is a folder without a single image in it.
    #[error("{path}: no images in this folder; expected files ending in {expected}", path = .path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// The endings that are read.
        expected: String,
    },

    /// One image of a folder cannot be decoded.
    #[error("{path}: cannot be read as an image: {reason}; repair the file or take it out of the folder", path = .path.display())]
    BadImage {
        /// The image.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },

    /// The images of a folder differ in size.
    #[error(
        "{path}: {found_width}x{found_height}, but {first} is {width}x{height}; all images of a folder must have \
         one size",
        path = .path.display(), first = .first.display()
    )]
    MixedSizes {
        /// The image that differs.
        path: PathBuf,
        /// Its width in pixels.
        found_width: u32,
        /// Its height in pixels.
        found_height: u32,
        /// The first image of the folder.
        first: PathBuf,
        /// The first image's width in pixels.
        width: u32,
        /// The first image's height in pixels.
        height: u32,
    },

    /// The source is shorter than requested.
    #[error("{0}")]
    TooFewFrames(Box<Shortage>),

    /// The source is one image where more frames were requested.
    #[error("{0}, or give the folder of the images instead of one of them")]
    OneImage(Box<Shortage>),

    /// A file's own notes cannot be read.
    #[error("{path}: has no metadata that can be read, so it is damaged: {reason}", path = .path.display())]
    NoMetadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A setting is out of its range.
    #[error("{name} is {found}, expected {expected}")]
    BadSetting {
        /// The setting's name as the user knows it.
        name: &'static str,
        /// The value given.
        found: String,
        /// The values that are possible.
        expected: &'static str,
    },

    /// Two frames of one video differ in size.
    #[error("{path}: frame {index} is {found_width}x{found_height}, the first is {width}x{height}", path = .path.display())]
    UnequalFrames {
        /// The file that was to be written.
        path: PathBuf,
        /// The position of the differing frame.
        index: usize,
        /// Its width in pixels.
        found_width: u32,
        /// Its height in pixels.
        found_height: u32,
        /// The first frame's width in pixels.
        width: u32,
        /// The first frame's height in pixels.
        height: u32,
    },

    /// A picture or video without any content was to be made.
    #[error("{what}: nothing to draw: there are no frames")]
    NothingToDraw {
        /// The file or kind of picture.
        what: String,
    },

    /// A mask's values do not fill its cells.
    #[error("a mask of {width}x{height} cells needs as many values, found {found}")]
    BadMask {
        /// Width in cells.
        width: u32,
        /// Height in cells.
        height: u32,
        /// The number of values given.
        found: usize,
    },

    /// A file cannot be written.
    #[error(
        "{path}: cannot be written: {}",
        with_hint(.source, "choose a folder that you may write to"),
        path = .path.display()
    )]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },

    /// ffmpeg or an image encoder refused to make a file.
    #[error("{path}: cannot be encoded: {reason}", path = .path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// The encoder's reason.
        reason: String,
    },
}

/// Why a film could not be read. What the system refused ffmpeg is no fault of the film's.
fn unread(what: &str, reason: &str, hint: &str) -> String {
    match refusal_in(reason) {
        Some(Refusal { reason, hint }) => format!("cannot be read: {reason}; {hint}"),
        None => format!("{what}: {reason}{hint}"),
    }
}

impl Error {
    /// Whether the user asked for something that cannot be (exit code 2) rather than something having failed.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self,
            Self::SourceMissing { .. } | Self::TooFewFrames(_) | Self::OneImage(_) | Self::BadSetting { .. }
        )
    }
}

/// What to say of a missing file whose name is a pattern for many, as ffmpeg and shells take it.
fn pattern_hint(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    let is_numbered = name.split('%').skip(1).any(|rest| {
        rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).starts_with(['d', 'i', 'u'])
    });
    // Names of single videos may have brackets, too.
    let is_image =
        path.extension().is_some_and(|ending| ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e)));
    let is_pattern = is_numbered
        || name.contains('*')
        || is_image && (name.contains(['?', '[', '{']) || name.contains("##"));
    if is_pattern { "; for a sequence of images, give their folder" } else { "" }
}
