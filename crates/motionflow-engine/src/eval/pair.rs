//! One result against its source.

use std::path::Path;

use anyhow::{Context, Result, bail};
use motionflow_eval::figure::Figure;
use motionflow_media::Error;
use serde_json::json;

use super::given::Given;
use super::judging::{Judging, Measured};
use super::origin::Origin;
use super::video::Video;
use crate::args;
use crate::columns::columns;
use crate::failure::FAULT;
use crate::request::prompts;
use crate::session::Session;
use crate::source::{find_ffmpeg, tell as tell_notices};

/// The most frames of a result that are measured: what fits into memory at a usual size.
const MAX_FRAMES: usize = 256;

/// Measures one result.
pub(crate) fn run(args: &args::Eval, session: &mut Session) -> Result<()> {
    session.behave_as_told()?;
    let pair = &args.pair;
    let (Some(source), Some(result)) = (&pair.source, &pair.result) else {
        bail!("{FAULT}: a flag of eval is not there");
    };
    let prompt = pair.prompt.as_ref().map(|prompt| prompts::parse("--prompt", prompt)).transpose()?;
    let given = Given::read(pair, &mut session.progress)?;
    pair.truth.as_deref().map_or(Ok(()), require).context("--truth")?;
    let ffmpeg = find_ffmpeg()?;
    let stage = session.progress.stage("read", 1);
    let result = Video::read(&ffmpeg, result, MAX_FRAMES).context("--result")?;
    let source = Video::read(&ffmpeg, source, result.frames.len()).context("--source")?;
    let origin = Origin::of(&ffmpeg, &result);
    let warnings = origin.map(|origin| origin.warnings(&ffmpeg, &source, &result)).unwrap_or_default();
    stage.finish();
    for video in [&result, &source] {
        tell_notices(&video.path, &video.notices, &mut session.progress);
    }
    let frames = source.frames.len();
    if frames < result.frames.len() || result.has_more || source.has_more {
        session.progress.warn(format!(
            "source and result do not have the same number of frames, or more than {MAX_FRAMES}: only the first \
             {frames} of each are compared"
        ));
    }
    if let Some([source, result]) = source.other_rate(&result) {
        session.progress.warn(format!(
            "the source plays at {source} frames per second and the result at {result}: they are compared frame by frame, \
             whatever their times"
        ));
    }
    for warning in warnings {
        session.progress.warn(warning);
    }
    given.as_ref().map_or(Ok(()), |given| given.check(&source, &result, &mut session.progress))?;
    let judging = Judging::load(&args.judges, session)?;
    let stage = session.progress.stage("measure", 1);
    let measured = Measured {
        source: &source.frames,
        result: &result.frames,
        prompt: prompt.as_ref(),
        truth: pair.truth.as_deref(),
    };
    let mut figures = judging.measure(&measured)?;
    figures.extend(given.map(|given| given.figures()).unwrap_or_default());
    stage.finish();
    let notes = left_out(&figures, pair, frames);
    if figures.is_empty() {
        bail!("no figure could be measured: {}", notes.join("; "));
    }
    for note in &notes {
        session.progress.note(note);
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
    if pair.prompt.is_none() {
        notes.push("text_similarity is left out: it takes what the result shows (--prompt)".to_owned());
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

/// A file must be there before anything is loaded.
pub(super) fn require(path: &Path) -> Result<()> {
    if path.exists() { Ok(()) } else { Err(Error::SourceMissing { path: path.to_owned() }.into()) }
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
