//! Motions without a run: drawn, turned into key frames, into masks, or into places to be measured against.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use motionflow::given::GivenMask;
use motionflow_eval::npz;
use motionflow_media::Fit;
use motionflow_media::atomic::write_atomically;
use motionflow_media::image::GrayImage;
use motionflow_media::picture::write_png;

use super::given::{self, Reader};
use super::track::{Outline, Track};
use super::{Motion, drawing, mask_files};
use crate::error::Misuse;
use crate::progress::Progress;
use crate::request::VideoOptions;
use crate::request::recommended::Video;
use crate::request::resolve::Cut;
use crate::source::SourceStore;

/// Cells across and down of the masks of places, as the detector has them.
const GRID: i64 = 64;

/// What is to be done with motions.
#[derive(Debug, Clone, Default)]
pub struct TrackRequest {
    /// A mask or a track for each subject.
    pub files: Vec<PathBuf>,
    /// Changes, as of a transfer.
    pub transforms: Vec<String>,
    /// A clip whose first frame the motions are drawn over.
    pub source: Option<PathBuf>,
    /// Size and number of frames.
    pub video: VideoOptions,
    /// What a track that is made of a mask has.
    pub shape: Outline,
    /// Where it goes; the ending says what is made.
    pub output: PathBuf,
}

/// The size where nothing is said.
fn default_size() -> Video {
    Video { width: 512, height: 512, frames: 16, fps: 8.0 }
}

/// Makes a picture (`.png`), key frames (`.json`, `.csv`), places (`.npz`), or a folder of masks.
///
/// # Errors
/// When a file cannot be read or written, or is no motion.
pub fn track(request: &TrackRequest, progress: &mut Progress) -> Result<()> {
    let video = request.video.resolve(&default_size())?;
    let mut stores = SourceStore::default();
    let cut = Cut { start: 0.0, every: 1, fit: Fit::default() };
    let ground = match &request.source {
        Some(path) => {
            let one = Video { frames: 1, ..video.clone() };
            stores.read(path, cut, &one, progress)?.frames.first().cloned()
        }
        None => None,
    };
    let mut motions = Vec::new();
    for path in &request.files {
        let mut reader = Reader { video: &video, cut, stores: &mut stores, progress };
        motions.extend(if is_track(path) {
            vec![reader.track("track", path)?]
        } else {
            reader.masks("track", path)?
        });
    }
    let count = motions.len();
    for text in &request.transforms {
        let (chosen, transform) = given::of_subject(text, count)?;
        let of = |index: &usize| chosen.is_none_or(|chosen| chosen == *index);
        for index in (0..count).filter(of) {
            motions[index] = motions[index].changed(&transform, video.fps);
        }
    }
    check_output(request)?;
    write(&request.output, &motions, request, ground.as_ref())
}

/// What is read is not written over: key frames that somebody set would be lost.
fn check_output(request: &TrackRequest) -> Result<()> {
    let Ok(output) = request.output.canonicalize() else { return Ok(()) };
    let read = request.files.iter().chain(&request.source);
    if read.filter_map(|path| path.canonicalize().ok()).any(|path| path.starts_with(&output)) {
        return Err(Misuse(format!(
            "--output {}: what is read is there; give another name",
            request.output.display()
        ))
        .into());
    }
    Ok(())
}

fn write(
    path: &Path,
    motions: &[Motion],
    request: &TrackRequest,
    ground: Option<&motionflow_media::image::RgbImage>,
) -> Result<()> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let one = || match motions {
        [one] => Track::of(one, request.shape)
            .map_err(|reason| Misuse(format!("{}: a track cannot be made: {reason}", path.display()))),
        several => Err(Misuse(format!(
            "{}: a track cannot be made: it is of one subject, and {} are given",
            path.display(),
            several.len()
        ))),
    };
    match ending.as_deref() {
        Some("png") => Ok(write_png(path, &drawing::draw(motions, ground))?),
        Some("json") => {
            let text = serde_json::to_string_pretty(&one()?).context("the track cannot be written as JSON")?;
            Ok(write_atomically(path, (text + "\n").as_bytes())?)
        }
        Some("csv") => Ok(write_atomically(path, one()?.to_table().as_bytes())?),
        Some("npz") => write_places(path, motions),
        None => write_masks(path, motions),
        Some(_) => Err(Misuse(format!(
            "{}: what is made goes by the ending: .png a picture, .json or .csv key frames, .npz places, none a folder of masks",
            path.display()
        ))
        .into()),
    }
}

fn write_masks(folder: &Path, motions: &[Motion]) -> Result<()> {
    let all: Vec<Vec<GrayImage>> = motions.iter().map(|motion| motion.masks().1).collect();
    let folders: Vec<PathBuf> = match all.as_slice() {
        [_] => vec![folder.to_owned()],
        several => (1..=several.len()).map(|number| folder.join(number.to_string())).collect(),
    };
    for (folder, masks) in folders.iter().zip(&all) {
        check_folder(folder, masks.len())?;
    }
    for (folder, masks) in folders.iter().zip(&all) {
        mask_files::write_numbered(folder, masks)?;
    }
    Ok(())
}

/// Images that are there already and stay there would be frames of the new masks.
fn check_folder(folder: &Path, frames: usize) -> Result<()> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let new: HashSet<OsString> = (1..=frames).map(|number| mask_files::numbered(number).into()).collect();
    let Some(other) = names.into_iter().find(|name| !new.contains(name)) else { return Ok(()) };
    Err(Misuse(format!(
        "--output {}: holds {}, which would be among the new masks; give another folder",
        folder.display(),
        Path::new(&other).display()
    ))
    .into())
}

/// `centres` and `masks` as docs/eval.md has them.
fn write_places(path: &Path, motions: &[Motion]) -> Result<()> {
    let Some(first) = motions.first() else { return Ok(()) };
    let (frames, subjects, width) = (first.frames.len(), motions.len(), first.width as f64);
    let masks: Vec<Vec<f32>> = motions
        .iter()
        .map(|motion| {
            let mask: GivenMask = motion.masks().0;
            let places = mask.at(frames as i64, (GRID, GRID));
            Ok(Vec::<f32>::try_from(places.flatten(0, 1))?)
        })
        .collect::<Result<_>>()?;
    let cells = (GRID * GRID) as usize;
    let (mut all_masks, mut centres) = (Vec::new(), Vec::new());
    for frame in 0..frames {
        for (motion, masks) in motions.iter().zip(&masks) {
            let cells = &masks[frame * cells..(frame + 1) * cells];
            all_masks.extend(cells.iter().map(|value| u8::from(*value >= 0.5)));
            // Of what is seen: none where it is out of the picture.
            let seen = cells.iter().any(|value| *value >= 0.5);
            let middle = motion.seen_middle(frame).filter(|_| seen).unwrap_or([f64::NAN; 2]);
            centres.extend(middle.map(|at| (at / width) as f32));
        }
    }
    let grid = GRID as usize;
    let arrays = [
        npz::Named { name: "centres", shape: &[frames, subjects, 2], values: npz::Values::Floats(&centres) },
        npz::Named {
            name: "masks",
            shape: &[frames, subjects, grid, grid],
            values: npz::Values::Bytes(&all_masks),
        },
    ];
    Ok(npz::write(path, &arrays)?)
}

/// Whether a file is a track and no mask.
fn is_track(path: &Path) -> bool {
    if npz::is_npz(path) {
        return npz::Npz::open(path).is_ok_and(|npz| npz.has("tracks"));
    }
    let is_text = path.extension().is_some_and(|ending| {
        ["json", "csv", "tsv", "txt"].iter().any(|text| ending.eq_ignore_ascii_case(text))
    });
    is_text || npz::is_npy(path)
}
