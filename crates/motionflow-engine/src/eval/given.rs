//! Tracks that another program has made of both videos.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow_eval::figure::Figure;
use motionflow_eval::track_file;
use motionflow_eval::tracks::Tracks;

use super::judging::fidelity;
use super::pair::{Pair, require};
use super::video::Video;
use crate::error::Misuse;
use crate::progress::Progress;

/// The tracks of the two videos.
#[derive(Debug)]
pub(super) struct Given {
    source: Tracks,
    result: Tracks,
}

impl Given {
    /// Reads both files, if they are given.
    pub(super) fn read(pair: &Pair, progress: &mut Progress) -> Result<Option<Self>> {
        let (Some(source), Some(result)) = (&pair.source_tracks, &pair.result_tracks) else {
            return Ok(None);
        };
        let source = one("--source-tracks", source, progress)?;
        let result = one("--result-tracks", result, progress)?;
        if source.frames() != result.frames() {
            let frames = source.frames().min(result.frames());
            progress
                .note(&format!("of the given tracks, only the first {frames} frames of each are compared"));
        }
        Ok(Some(Self { source, result }))
    }

    /// Holds them against the videos that they shall be of.
    pub(super) fn check(&self, source: &Video, result: &Video, progress: &mut Progress) -> Result<()> {
        for (flag, tracks, video) in
            [("--source-tracks", &self.source, source), ("--result-tracks", &self.result, result)]
        {
            let (tracked, shown) = (tracks.frames(), video.frames.len());
            if tracked != shown && tracks.len() == shown {
                let message = format!(
                    "{flag}: `tracks` has {tracked} frames of {shown} tracklets, and the video has {shown} frames: it is \
                     written with its frames second; write it as [frames, tracklets, 2]"
                );
                return Err(Misuse(message).into());
            }
            if tracked < shown || (tracked > shown && !video.has_more) {
                progress
                    .warn(format!("{flag}: the tracks are of {tracked} frames, and the video of {shown}"));
            }
        }
        Ok(())
    }

    /// Motion fidelity of them.
    pub(super) fn figures(&self) -> Vec<Figure> {
        fidelity("motion_fidelity", "given tracks", &self.source, &self.result)
    }
}

fn one(flag: &'static str, path: &Path, progress: &mut Progress) -> Result<Tracks> {
    require(path).context(flag)?;
    let read = track_file::read(path).context(flag)?;
    if read.not_finite > 0 {
        progress.warn(format!(
            "{flag}: {} of {} points are not finite, and count as hidden",
            read.not_finite,
            read.tracks.frames() * read.tracks.len()
        ));
    }
    Ok(read.tracks)
}
