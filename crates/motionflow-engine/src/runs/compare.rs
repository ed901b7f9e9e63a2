//! Whether a run that is made again is made of what it was made of before.

use anyhow::Result;

use crate::error::Misuse;
use crate::folder::changes::is_other;
use crate::folder::record::SourceRecord;
use crate::models::found::FoundModel;
use crate::progress::Progress;
use crate::request::{MotionOptions, Request};

/// Holds the source and the checkpoint of a run against those that its request was recorded with, if it was.
pub(crate) fn compare(
    requested: &Request,
    source: Option<&SourceRecord>,
    motion: &MotionOptions,
    model: &FoundModel,
    resumed: bool,
    progress: &mut Progress,
) -> Result<()> {
    let recorded = &requested.source;
    let frames = source.map(|source| &source.frames_sha256);
    let inversion = source.and_then(|source| source.inversion_sha256.as_ref());
    // Where nothing was recorded, its files need not be read yet.
    let checkpoint = requested.model.sha256.as_ref().map(|_| model.record()).transpose()?;
    let given = &requested.motion;
    let of_motion = given.sha256.as_ref().map(|then| Some(then) == motion.sha256.as_ref());
    let of_region = given.avoid_sha256.as_ref().map(|then| Some(then) == motion.avoid_sha256.as_ref());
    let other_motion = [of_motion, of_region].contains(&Some(false));
    let checks = [
        ("source", recorded.frames_sha256.as_ref().zip(frames)),
        ("inversion", recorded.inversion_sha256.as_ref().zip(inversion)),
        ("checkpoint", requested.model.sha256.as_ref().zip(checkpoint.as_ref().map(|now| &now.sha256))),
    ];
    let other = checks.iter().filter(|(_, pair)| pair.is_some_and(|(then, now)| then != now));
    for what in other.map(|(what, _)| *what).chain(other_motion.then_some("motion")) {
        let changed = is_other(what);
        if resumed {
            let message =
                format!("{changed}, so it cannot go on; bring the old one back, or start anew (--force)");
            return Err(Misuse(message).into());
        }
        progress.warn(format!("{changed}: the result will not be the same either"));
    }
    Ok(())
}
