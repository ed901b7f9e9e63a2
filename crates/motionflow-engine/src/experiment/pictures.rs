//! What the results look like: thumbnails of some, or the contact sheets of all.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow_media::contact_sheet::sampled;
use motionflow_media::grid::{Place, Row, grid};
use motionflow_media::image::{self, RgbImage, imageops};
use motionflow_media::{Fit, ReadOptions, picture, source};

use super::results::{CellResult, Results, State};
use super::{Experiment, table};
use crate::batch::jobs::Job;
use crate::engine::Engine;
use crate::error;
use crate::folder::record::RunRecord;
use crate::progress::Progress;

/// Rows, columns and the width of a frame in the overview.
const CLIPS: usize = 6;
const VARIANTS: usize = 12;
const WIDTH: u32 = 64;

/// Writes an overview: for a few clips the source and every variant, three frames of each. Returns whether there was
/// anything to show.
pub(crate) fn overview(
    path: &Path,
    experiment: &Experiment,
    results: &Results,
    engine: &Engine,
) -> Result<bool> {
    let variants = results.variants.len().min(VARIANTS);
    let mut columns = vec!["source".to_owned()];
    columns.extend(results.variants.iter().take(variants).map(|variant| variant.name.clone()));
    let mut clips: Vec<&str> = experiment.cells.iter().map(|cell| cell.clip.as_str()).collect();
    clips.dedup();
    let mut rows = Vec::new();
    for index in sampled(clips.len(), CLIPS) {
        let of: Vec<usize> =
            (0..results.cells.len()).filter(|&cell| results.cells[cell].clip == clips[index]).collect();
        // Another prompt for every clip.
        let mut prompts: Vec<&str> = of.iter().map(|&cell| results.cells[cell].prompt.as_str()).collect();
        prompts.dedup();
        let prompt = prompts[index % prompts.len()];
        let shown = |variant: usize| {
            let is = |cell: &&usize| {
                let cell = &results.cells[**cell];
                cell.variant == variant && cell.prompt == prompt
            };
            of.iter().find(is).copied()
        };
        let cells: Vec<Option<usize>> = (0..variants).map(shown).collect();
        let is_done = |cell: &usize| matches!(results.cells[*cell].state, State::Done { .. });
        let mut places = vec![match cells.iter().flatten().copied().find(is_done) {
            Some(cell) => strip(source_frames(&experiment.cells[cell].job, engine)),
            None => Place::Empty(String::new()),
        }];
        places.extend(cells.into_iter().map(|cell| match cell {
            None => Place::Empty(String::new()),
            Some(cell) if is_done(&cell) => strip(result_frames(&experiment.cells[cell].job, engine)),
            Some(cell) => Place::Empty(why(&results.cells[cell].state)),
        }));
        rows.push(Row { label: format!("{}: {prompt}", clips[index]), places });
    }
    let picture = drawn(&columns, &rows)?;
    picture.as_ref().map_or(Ok(()), |picture| picture::write_jpeg(path, picture))?;
    Ok(picture.is_some())
}

/// Writes the contact sheets of all transfers, one a variant, `columns` of them in a row, named. Returns whether there
/// was anything to show.
pub(crate) fn sheets(
    path: &Path,
    experiment: &Experiment,
    results: &Results,
    columns: &[String],
    labels: &[String],
) -> Result<bool> {
    let width = (1800 / columns.len() as u32).clamp(320, 1000);
    let mut rows = Vec::new();
    let places = results.cells.chunks(columns.len()).zip(experiment.cells.chunks(columns.len()));
    for ((of_results, of_cells), label) in places.zip(labels) {
        let place = |(result, cell): (&CellResult, &super::Cell)| match &result.state {
            State::Done { .. } => match image::open(cell.job.folder.join("contact-sheet.png")) {
                Ok(sheet) => {
                    let height = (sheet.height() * width / sheet.width().max(1)).max(1);
                    Place::Picture(Fit::Stretch.apply(&sheet.to_rgb8(), width, height))
                }
                Err(error) => Place::Empty(error.to_string()),
            },
            other => Place::Empty(why(other)),
        };
        let places = of_results.iter().zip(of_cells).map(place).collect();
        rows.push(Row { label: label.clone(), places });
    }
    let picture = drawn(columns, &rows)?;
    picture.as_ref().map_or(Ok(()), |picture| picture::write_png(path, picture))?;
    Ok(picture.is_some())
}

/// None where there is nothing to show.
fn drawn(columns: &[String], rows: &[Row]) -> Result<Option<RgbImage>> {
    let is_picture = |place: &Place| matches!(place, Place::Picture(_));
    let is_shown = rows.iter().flat_map(|row| &row.places).any(is_picture);
    Ok(if is_shown { Some(grid(columns, rows)?) } else { None })
}

fn why(state: &State) -> String {
    match state {
        State::Failed { error } => format!("failed: {}", table::one_line(error)),
        _ => "not done".to_owned(),
    }
}

fn source_frames(job: &Job, engine: &Engine) -> Result<Vec<RgbImage>> {
    let record = RunRecord::read(&job.folder)?;
    let source = job.source(&record, engine, &mut Progress::silent())?.0;
    Ok(source.context("made without a source")?.frames.clone())
}

fn result_frames(job: &Job, engine: &Engine) -> Result<Vec<RgbImage>> {
    let record = RunRecord::read(&job.folder)?;
    let size = &record.video;
    let (_, ffmpeg) = job.source(&record, engine, &mut Progress::silent())?;
    let options = ReadOptions::new(size.frames as usize, size.width, size.height);
    Ok(source::read(&ffmpeg, &job.folder.join("result.mp4"), &options)?.frames)
}

/// Three frames from the middle of a video, side by side. What cannot be read leaves a hole with the reason.
fn strip(frames: Result<Vec<RgbImage>>) -> Place {
    let frames = match frames {
        Ok(frames) => frames,
        Err(error) => return Place::Empty(error::message(&error)),
    };
    let shown = sampled(frames.len(), 5);
    let inner = if shown.len() > 2 { &shown[1..shown.len() - 1] } else { &shown };
    let (width, height) = frames.first().map_or((1, 1), RgbImage::dimensions);
    let height = (WIDTH * height / width.max(1)).max(1);
    let mut strip = RgbImage::new(WIDTH * inner.len().max(1) as u32, height);
    for (place, &frame) in inner.iter().enumerate() {
        let small = Fit::Stretch.apply(&frames[frame], WIDTH, height);
        imageops::replace(&mut strip, &small, (place as u32 * WIDTH).into(), 0);
    }
    Place::Picture(strip)
}
