//! What a result's own record says of the frames that it was made of.

use std::path::Path;

use motionflow_media::{Ffmpeg, Fit, ReadOptions, source};
use toml::{Table, Value};

use super::video::{Video, rounded};
use crate::folder::metadata;
use crate::folder::run_folder::is_of_a_run;
use crate::source::sha256_of_frames;

/// The record of a result.
#[derive(Debug)]
pub(super) struct Origin(Table);

impl Origin {
    /// The record inside of a result, or beside it in its run folder.
    pub(super) fn of(ffmpeg: &Ffmpeg, result: &Video) -> Option<Self> {
        let path = &result.path;
        let inside = metadata::from_file(ffmpeg, path).ok().flatten();
        let name = path.file_name()?.to_string_lossy();
        let beside = || {
            let folder = path.parent().filter(|_| is_of_a_run(&name))?;
            std::fs::read_to_string(folder.join("run.toml")).ok()
        };
        inside.or_else(beside)?.parse().ok().map(Self)
    }

    /// Where the two videos are not frame by frame what the record is about.
    pub(super) fn warnings(&self, ffmpeg: &Ffmpeg, source: &Video, result: &Video) -> Vec<String> {
        let mut warnings = Vec::new();
        let (start, every) = (self.number("source", "start"), self.number("source", "every"));
        let (start, every) = (start.unwrap_or(0.0), every.unwrap_or(1.0));
        if (start > 0.0 || every > 1.0) && self.is_of_first_frames(ffmpeg, &source.path) != Some(true) {
            warnings.push(format!(
                "the result was made of its source from {start} s on, one frame of {every}, and the source is read from its \
                 first frame on: give it cut in that way"
            ));
        }
        let (frames, fps) = (self.number("video", "frames"), self.number("video", "fps"));
        if let (Some(frames), Some(fps)) = (frames, fps) {
            let found = result.frames.len();
            let is_cut = !result.has_more && (found as f64 - frames).abs() >= 1.0;
            if is_cut || result.differs_from(fps) {
                warnings.push(format!(
                    "the result has {found} frames at {} per second, and its record says {frames} at {}: it was cut, or \
                     brought to another rate, since it was made",
                    rounded(result.fps.unwrap_or(fps)),
                    rounded(fps)
                ));
            }
        }
        warnings
    }

    /// Whether a source begins with the frames that the result was made of: it was cut already.
    fn is_of_first_frames(&self, ffmpeg: &Ffmpeg, source: &Path) -> Option<bool> {
        let number = |key| self.number("video", key);
        let fit: Fit = self.get("source", "fit")?.as_str()?.parse().ok()?;
        let (frames, width, height) = (number("frames")?, number("width")?, number("height")?);
        let options = ReadOptions { fit, ..ReadOptions::new(frames as usize, width as u32, height as u32) };
        let clip = source::read(ffmpeg, source, &options).ok()?;
        Some(sha256_of_frames(&clip.frames) == self.get("source", "frames_sha256")?.as_str()?)
    }

    fn get(&self, table: &str, key: &str) -> Option<&Value> {
        self.0.get(table)?.get(key)
    }

    fn number(&self, table: &str, key: &str) -> Option<f64> {
        let value = self.get(table, key)?;
        value.as_float().or_else(|| value.as_integer().map(|value| value as f64))
    }
}
