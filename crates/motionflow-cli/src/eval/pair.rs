//! One result against its source.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow_eval::figure::Figure;
use motionflow_eval::track_file;
use motionflow_eval::tracks::Tracks;
use motionflow_media::{Clip, Error, Ffmpeg, ReadOptions, source};
use serde_json::json;

use super::judging::{Judging, Measured, fidelity};
use crate::args;
use crate::columns::columns;
use crate::failure::FAULT;
use crate::prompts;
use crate::session::Session;
use crate::source::{find_ffmpeg, tell as tell_notices};

/// The most frames of a result that are measured: what fits into memory at a usual size.
const MAX_FRAMES: usize = 256;

/// Measures one result.
pub(crate) fn run(args: &args::Eval, session: &mut Session) -> Result<()> {
    session.behave_as_told()?;
    let pair = &args.pair;
    let (Some(source), Some(result), Some(prompt)) = (&pair.source, &pair.result, &pair.prompt) else {
        anyhow::bail!("{FAULT}: a flag of eval is not there");
    };
    let prompt = prompts::parse("--prompt", prompt)?;
    let given = given_tracks(pair, session)?;
    pair.truth.as_deref().map_or(Ok(()), require).context("--truth")?;
    let ffmpeg = find_ffmpeg()?;
    let stage = session.progress.stage("read", 1);
    let (result_clip, result_is_longer) = read(&ffmpeg, result, MAX_FRAMES).context("--result")?;
    let result_frames = result_clip.frames;
    let (source_clip, source_is_longer) = read(&ffmpeg, source, result_frames.len()).context("--source")?;
    let source_frames = source_clip.frames;
    stage.finish();
    tell_notices(result, &result_clip.notices, &mut session.progress);
    tell_notices(source, &source_clip.notices, &mut session.progress);
    let frames = source_frames.len();
    if frames < result_frames.len() || result_is_longer || source_is_longer {
        session.progress.warn(format!(
            "source and result do not have the same number of frames, or more than {MAX_FRAMES}: only the first \
             {frames} of each are compared"
        ));
    }
    let judging = Judging::load(&args.judges, session)?;
    let stage = session.progress.stage("measure", 1);
    let measured = Measured {
        source: &source_frames,
        result: &result_frames,
        prompt: &prompt,
        truth: pair.truth.as_deref(),
    };
    let mut figures = judging.measure(&measured)?;
    figures.extend(given);
    stage.finish();
    for note in left_out(&figures, pair, frames) {
        session.progress.note(&note);
    }
    tell(&figures, frames, session);
    Ok(())
}

/// Which figures are not there, and why.
fn left_out(figures: &[Figure], pair: &args::Pair, frames: usize) -> Vec<String> {
    let has = |name: &str| figures.iter().any(|figure| figure.name == name);
    let mut notes = Vec::new();
    for (name, is_wanted) in [("motion_fidelity_lk", true), ("motion_fidelity", pair.source_tracks.is_some())]
    {
        if is_wanted && !has(name) {
            let why = if frames < 2 && name == "motion_fidelity_lk" {
                "one frame has no motion"
            } else {
                "a video has no point that can be followed"
            };
            notes.push(format!("{name} is left out: {why}"));
        }
    }
    if has("text_similarity") && !has("temporal_consistency") {
        notes.push("temporal_consistency is left out: it takes two frames".to_owned());
    }
    let of = |name: &str| figures.iter().filter(|figure| figure.name == name).count();
    if of("trajectory_error") < of("subject_right") {
        notes.push(
            "trajectory_error and mask_iou are left out of a subject that the source shows in none of the frames"
                .to_owned(),
        );
    }
    notes
}

/// What tracks from files say.
fn given_tracks(pair: &args::Pair, session: &mut Session) -> Result<Vec<Figure>> {
    let (Some(source), Some(result)) = (&pair.source_tracks, &pair.result_tracks) else {
        return Ok(Vec::new());
    };
    let source = read_tracks(source).context("--source-tracks")?;
    let result = read_tracks(result).context("--result-tracks")?;
    if source.frames() != result.frames() {
        let frames = source.frames().min(result.frames());
        session
            .progress
            .note(&format!("of the given tracks, only the first {frames} frames of each are compared"));
    }
    Ok(fidelity("motion_fidelity", "given tracks", &source, &result))
}

fn read_tracks(path: &Path) -> Result<Tracks> {
    require(path)?;
    Ok(track_file::read(path)?)
}

/// A file must be there before anything is loaded.
fn require(path: &Path) -> Result<()> {
    if path.exists() { Ok(()) } else { Err(Error::SourceMissing { path: path.to_owned() }.into()) }
}

/// Reads a video at its own size, at most so many frames, and whether there are more.
fn read(ffmpeg: &Ffmpeg, path: &Path, frames: usize) -> motionflow_media::Result<(Clip, bool)> {
    let options = ReadOptions::new(1, 1, 1);
    let info = source::probe(ffmpeg, path, options.image_fps)?;
    let mut options = ReadOptions { frames: frames + 1, width: info.width, height: info.height, ..options };
    let mut clip = match source::read(ffmpeg, path, &options) {
        Err(Error::TooFewFrames(shortage)) if shortage.after_start > 0 => {
            options.frames = shortage.after_start;
            source::read(ffmpeg, path, &options)?
        }
        read => read?,
    };
    let has_more = clip.frames.len() > frames;
    clip.frames.truncate(frames);
    Ok((clip, has_more))
}

fn tell(figures: &[Figure], frames: usize, session: &mut Session) {
    session.progress.row("figures", &json!({ "frames": frames, "figures": figures }));
    let mut rows = vec![["figure", "value", "made with"].map(str::to_owned)];
    rows.extend(figures.iter().map(|figure| {
        let subject = figure.subject.as_ref().map(|subject| format!(" ({subject})")).unwrap_or_default();
        let name = format!("{}{subject}", figure.name);
        [name, format!("{:.4}", figure.value), figure.made_with.clone()]
    }));
    for line in columns(&rows) {
        session.progress.result(&line);
    }
}
