//! One result against its source.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use motionflow_eval::figure::Figure;
use motionflow_media::{Error, Ffmpeg};
use serde::Serialize;
use tch::Device;

use super::given::Given;
use super::judges::Judges;
use super::judging::{Judging, Measured};
use super::origin::Origin;
use super::video::Video;
use crate::engine::Engine;
use crate::progress::Progress;
use crate::request::{Resources, prompts};
use crate::source::tell as tell_notices;

/// The most frames of a result that are measured: what fits into memory at a usual size.
const MAX_FRAMES: usize = 256;

/// A result and its source, as files.
#[derive(Debug, Clone, Default)]
pub struct Pair {
    /// The video whose motion was taken.
    pub source: PathBuf,
    /// The video that was made of it, or the folder of the run that made it.
    pub result: PathBuf,
    /// What the result shows, with its subjects in brackets. Without, what needs it is left out.
    pub prompt: Option<String>,
    /// Where the source's subjects are, frame by frame.
    pub truth: Option<PathBuf>,
    /// Tracks in the source.
    pub source_tracks: Option<PathBuf>,
    /// Tracks in the result.
    pub result_tracks: Option<PathBuf>,
}

/// The figures of one result.
#[derive(Debug, Serialize)]
pub struct PairFigures {
    /// How many frames were compared.
    pub frames: usize,
    /// All figures that there are.
    pub figures: Vec<Figure>,
}

impl Engine {
    /// Measures one result.
    ///
    /// # Errors
    /// When a file cannot be read, what measures cannot be loaded, or there is no figure at all.
    pub fn evaluate(
        &self,
        pair: &Pair,
        judges: &Judges,
        resources: &Resources,
        progress: &mut Progress,
    ) -> Result<PairFigures> {
        self.on_device(resources, progress, |compute, stores, progress| {
            measure(pair, judges, compute.device, &stores.sources.ffmpeg()?, progress)
        })
    }
}

fn measure(
    pair: &Pair,
    judges: &Judges,
    device: Device,
    ffmpeg: &Ffmpeg,
    progress: &mut Progress,
) -> Result<PairFigures> {
    let prompt = pair.prompt.as_ref().map(|prompt| prompts::parse("--prompt", prompt)).transpose()?;
    let given = Given::read(pair, progress)?;
    pair.truth.as_deref().map_or(Ok(()), require).context("--truth")?;
    let stage = progress.stage("read", 1);
    let result = Video::read(ffmpeg, &pair.result, MAX_FRAMES).context("--result")?;
    let source = Video::read(ffmpeg, &pair.source, result.frames.len()).context("--source")?;
    let origin = Origin::of(ffmpeg, &result);
    let warnings = origin.map(|origin| origin.warnings(ffmpeg, &source, &result)).unwrap_or_default();
    stage.finish();
    for video in [&result, &source] {
        tell_notices(&video.path, &video.notices, progress);
    }
    let frames = source.frames.len();
    if frames < result.frames.len() || result.has_more || source.has_more {
        progress.warn(format!(
            "source and result do not have the same number of frames, or more than {MAX_FRAMES}: only the first \
             {frames} of each are compared"
        ));
    }
    if let Some([source, result]) = source.other_rate(&result) {
        progress.warn(format!(
            "the source plays at {source} frames per second and the result at {result}: they are compared frame by frame, \
             whatever their times"
        ));
    }
    for warning in warnings {
        progress.warn(warning);
    }
    given.as_ref().map_or(Ok(()), |given| given.check(&source, &result, progress))?;
    let judging = Judging::load(judges, device, progress)?;
    let stage = progress.stage("measure", 1);
    let measured = Measured {
        source: Some(&source.frames),
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
        progress.note(note);
    }
    Ok(PairFigures { frames, figures })
}

/// Which figures are not there, and why.
fn left_out(figures: &[Figure], pair: &Pair, frames: usize) -> Vec<String> {
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
