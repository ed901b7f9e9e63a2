//! A video that is measured, read at its own size.

use std::path::{Path, PathBuf};

use anyhow::Result;
use motionflow_media::image::RgbImage;
use motionflow_media::source::Notice;
use motionflow_media::{Error, Ffmpeg, ReadOptions, source};

use crate::error::Misuse;
use crate::folder::run_folder::holds_a_run;

/// Rates that differ by less are taken for one: television's 29.97 and 30.
const SAME_RATE: f64 = 0.01;
/// GIF counts time in steps of so many seconds.
const GIF_STEP: f64 = 0.01;

/// Frames from the first on.
#[derive(Debug)]
pub(super) struct Video {
    /// The file or folder of images.
    pub(super) path: PathBuf,
    pub(super) frames: Vec<RgbImage>,
    /// Whether there are more than were wanted.
    pub(super) has_more: bool,
    /// Frames per second; none of images, which say nothing about time.
    pub(super) fps: Option<f64>,
    /// What was done to it while it was read.
    pub(super) notices: Vec<Notice>,
    is_gif: bool,
}

impl Video {
    /// Reads at most so many frames. Of the folder of a run, its result is taken.
    pub(super) fn read(ffmpeg: &Ffmpeg, path: &Path, frames: usize) -> Result<Self> {
        let path = result_in(path)?;
        let options = ReadOptions::new(1, 1, 1);
        let info = source::probe(ffmpeg, &path, options.image_fps)?;
        let mut options =
            ReadOptions { frames: frames + 1, width: info.width, height: info.height, ..options };
        let clip = match source::read(ffmpeg, &path, &options) {
            Err(Error::TooFewFrames(shortage) | Error::OneImage(shortage)) if shortage.after_start > 0 => {
                options.frames = shortage.after_start;
                source::read(ffmpeg, &path, &options)?
            }
            read => read?,
        };
        let (mut kept, notices) = (clip.frames, clip.notices);
        let has_more = kept.len() > frames;
        kept.truncate(frames);
        let has_rate = !path.is_dir() && (kept.len() > 1 || has_more);
        let is_gif = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gif"));
        Ok(Self { path, frames: kept, has_more, fps: has_rate.then_some(info.fps), notices, is_gif })
    }

    /// The rates of both, where they differ.
    pub(super) fn other_rate(&self, other: &Self) -> Option<[f64; 2]> {
        let (one, two) = (self.fps?, other.fps?);
        (self.differs_from(two) && other.differs_from(one)).then_some([one, two].map(rounded))
    }

    /// Whether it plays at another rate than so many frames per second.
    pub(super) fn differs_from(&self, fps: f64) -> bool {
        let Some(own) = self.fps else { return false };
        let is_rounding = self.is_gif && (1.0 / own - 1.0 / fps).abs() <= GIF_STEP;
        (own / fps - 1.0).abs() > SAME_RATE && !is_rounding
    }
}

/// A rate as it is reported.
pub(super) fn rounded(fps: f64) -> f64 {
    (fps * 100.0).round() / 100.0
}

/// The video that a run left in its folder; other paths as they are.
fn result_in(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() || !holds_a_run(path) {
        return Ok(path.to_owned());
    }
    let result = path.join("result.mp4");
    if result.is_file() {
        return Ok(result);
    }
    let message = format!("{}: holds a run without a result.mp4; give a video", path.display());
    Err(Misuse(message).into())
}
