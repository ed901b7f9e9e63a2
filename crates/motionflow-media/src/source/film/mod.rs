//! Clips from video files, through ffmpeg.
//!
//! ffprobe may be missing, so all facts come from what ffmpeg itself tells: of the file ([`dump`]), of its packets
//! ([`listing`]) and of each frame ([`showinfo`]).

mod dump;
mod facts;
mod filters;
mod input;
mod listing;
mod reading;
mod showinfo;
mod timeline;

use std::path::Path;

use facts::Facts;
use reading::{Ending, Plan};

use super::shortage::Shortage;
use super::{Clip, Notice, ReadOptions, SourceInfo};
use crate::error::{Error, Result};
use crate::ffmpeg::Ffmpeg;

/// Size and rate, from the first frame and the times of the first packets. `format` is the name of the file's format,
/// where its content alone would not be believed.
pub(super) fn probe(ffmpeg: &Ffmpeg, path: &Path, format: Option<&'static str>) -> Result<SourceInfo> {
    let facts = Facts::of(ffmpeg, path, format)?;
    Ok(SourceInfo { width: facts.width, height: facts.height, fps: facts.fps })
}

/// Decodes only what is requested, one frame at a time.
pub(super) fn read(
    ffmpeg: &Ffmpeg,
    path: &Path,
    format: Option<&'static str>,
    options: &ReadOptions,
) -> Result<Clip> {
    let facts = Facts::of(ffmpeg, path, format)?;
    let too_few = |total, after_start, complaint| {
        Err(Error::TooFewFrames(Box::new(Shortage {
            path: path.to_owned(),
            total,
            after_start,
            fps: facts.fps,
            frames: options.frames,
            every: options.every,
            start: options.start,
            possible: None,
            complaint,
        })))
    };
    if let Some(total) = facts.total_if_before(ffmpeg, options.start)? {
        return too_few(total, 0, None);
    }
    let mut plan = Plan::new(ffmpeg, &facts, options)?;
    // Each time around, the plan asks ffmpeg for more; in the end it is for every frame from the first on.
    loop {
        match reading::read(ffmpeg, path, &facts, &plan, options)? {
            Ending::Done(frames, found) => {
                let notices = facts.notices.iter().cloned().chain(found).collect();
                return Ok(Clip {
                    frames,
                    fps: facts.fps / options.every as f64,
                    source_fps: facts.fps,
                    source_width: facts.width,
                    source_height: facts.height,
                    notices,
                });
            }
            Ending::TooFew { total, after_start, complaint } => {
                return too_few(total, after_start, complaint);
            }
            Ending::Again(reason) => plan.give_way(ffmpeg, reason)?,
        }
    }
}
