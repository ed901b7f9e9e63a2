//! An inspection: where the model sees the subject, per step and layer.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use motionflow::diagnostics::mask_figures;
use motionflow::latents::Latents;
use motionflow::map_score::map_scores;
use motionflow::masks::{LayerMaps, MotionMasks, SubjectMaps};
use motionflow::model::VideoModel;
use motionflow::settings::MaskSource;
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet, sampled};
use motionflow_media::image::RgbImage;
use motionflow_media::overlay::heat;
use motionflow_media::{Mask, picture};
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::engine::Engine;
use crate::estimate::Way;
use crate::folder::checksums::{FileRecord, files_in};
use crate::folder::map_tensors::{self, map_tensors};
use crate::folder::mask_folder;
use crate::folder::outputs::LeftOut;
use crate::folder::record::{MaskRecord, Totals, write_json};
use crate::folder::report;
use crate::folder::run_folder::RunFolder;
use crate::motion::mask_files;
use crate::progress::Progress;
use crate::request::prompts;
use crate::runs::analysis::SourceAnalysis;
use crate::runs::inspection::{self, Command, Inspected};
use crate::runs::open::OpenRun;
use crate::runs::pictures::{heat_of, legend, map_of, masked, masks_of};

const COMMAND: Command = Command { name: "inspect", way: Way::Inspect };

/// How many timesteps a layer's pictures show.
const ROWS: usize = 6;
/// How much of the frame a heat map hides.
const OPACITY: f32 = 0.65;

/// `inspect.json`
#[derive(Serialize)]
struct Report {
    /// Over the timesteps that a transfer would be guided at.
    masks: Vec<MaskRecord>,
    steps: Vec<StepFigures>,
    /// How well each map seems to show its subject.
    scores: Vec<ScoreRecord>,
    #[serde(flatten)]
    totals: Totals,
    /// All other files of the run.
    files: Vec<FileRecord>,
}

/// One subject's mask at one timestep in one layer.
#[derive(Serialize)]
struct StepFigures {
    timestep: i64,
    subject: String,
    layer: String,
    coverage: f64,
    overlap: f64,
}

/// What speaks for one layer's map of one subject at one timestep, 0..1.
#[derive(Serialize)]
struct ScoreRecord {
    timestep: i64,
    subject: String,
    layer: String,
    agreement: f64,
    steadiness: f64,
    contrast: f64,
    /// All three in one figure.
    score: f64,
}

impl Engine {
    /// Shows where the model sees the subjects of a source, per step and layer.
    ///
    /// # Errors
    /// Of whatever kind; [`ErrorKind::of`](crate::error::ErrorKind::of) tells which.
    pub fn inspect(&self, run: OpenRun, progress: &mut Progress) -> Result<()> {
        inspection::inspect_source(
            COMMAND,
            self,
            run,
            progress,
            |folder, inspected, analysis, model, progress| {
                write(folder, inspected, &analysis, model.nets(), progress)
            },
        )
    }
}

fn write(
    folder: RunFolder,
    job: &Inspected,
    analysis: &SourceAnalysis,
    nets: &dyn VideoModel,
    progress: &mut Progress,
) -> Result<()> {
    let layers = layers(nets);
    let subjects = prompts::subjects(&job.prompt);
    let drawing = Drawing { job, analysis, maps: analysis.maps()?, latents: analysis.latents()? };
    let scores = score_records(&drawing.maps, drawing.latents, job.settings.tau, &subjects)?;
    let means = mean_scores(&scores);
    let path = folder.path().to_owned();
    let mut left_out = LeftOut::default();
    folder.publish(|folder| {
        let stage = progress.stage("write", 1);
        left_out.attempt(folder, "overview.png", |path| drawing.overview(path));
        for (layer, name) in &layers {
            left_out.attempt(folder, &format!("attention-{name}.png"), |path| {
                write_sheet(path, &drawing.attention(layer, name)?)
            });
            left_out.attempt(folder, &format!("masks-{name}.png"), |path| {
                write_sheet(path, &drawing.masks(layer, name)?)
            });
        }
        mask_files::write(folder, &subjects, &analysis.pictures(&job.video), &mut left_out);
        write_maps(&folder.join("maps.safetensors"), &drawing.maps, drawing.latents)?;
        stage.finish();
        left_out.tell(progress);
        job.record.write(folder)?;
        let steps = step_figures(&analysis.masks, &subjects);
        let (totals, files) = (Totals::of(progress), files_in(folder, None)?);
        let report = Report { masks: analysis.figures.clone(), steps, scores, totals, files };
        write_json(&folder.join("inspect.json"), &report)
    })?;
    tell(&path, &analysis.figures, &layers, &means, &left_out, progress);
    Ok(())
}

/// The layers that are read, and short names for files.
fn layers(nets: &dyn VideoModel) -> Vec<(String, String)> {
    let short = |layer: &str| layer.trim_end_matches(".attn2").replace(".transformer_blocks.0", "");
    nets.guidance_layers().cross.iter().map(|layer| (layer.name.clone(), short(&layer.name))).collect()
}

/// What the pictures are drawn of.
struct Drawing<'a> {
    job: &'a Inspected,
    analysis: &'a SourceAnalysis,
    maps: SubjectMaps,
    latents: &'a Latents,
}

impl Drawing<'_> {
    /// Whether what is drawn was seen in the noised source.
    fn is_noised(&self) -> bool {
        self.job.settings.mask_source == MaskSource::Noised
    }

    /// Whether the masks that guide are made of the maps of this timestep.
    fn guides(&self, timestep: i64) -> bool {
        self.is_noised() || self.analysis.timesteps.contains(&timestep)
    }

    /// The source, and what all maps that guide say together.
    fn overview(&self, path: &Path) -> Result<()> {
        let frames = &self.job.source.frames;
        let mut rows = vec![(format!("source: {}", self.job.prompt.text), frames.clone())];
        for (subject, name) in prompts::subjects(&self.job.prompt).into_iter().enumerate() {
            let guided = self.maps.at.iter().filter(|(timestep, _)| self.guides(**timestep));
            let maps: Vec<&Tensor> = guided.flat_map(|(_, subjects)| subjects[subject].values()).collect();
            if let Some(mean) = mean_of_finest(&maps) {
                let of = if self.is_noised() { "passes on the noised source" } else { "guided steps" };
                let label = format!("attention to \"{name}\", mean of the {of} and of the finest layers");
                rows.push((label, heated(frames, &heat_of(&mean, self.latents)?)));
            }
        }
        let mask_row = with_masks(frames, &self.analysis.shown_masks()?);
        let subjects = legend(&prompts::subjects(&self.job.prompt));
        rows.push((
            format!("motion mask at tau {}, mean of the same: {subjects}", self.job.settings.tau),
            mask_row,
        ));
        write_sheet(path, &rows)
    }

    /// Attention of one layer, a row a timestep and subject.
    fn attention(&self, layer: &str, name: &str) -> Result<Vec<(String, Vec<RgbImage>)>> {
        let mut rows = Vec::new();
        for (timestep, subject_maps) in self.shown() {
            for (subject, words) in prompts::subjects(&self.job.prompt).iter().enumerate() {
                if let Some(map) = subject_maps[subject].get(layer) {
                    let label = format!("{}: attention to \"{words}\"", self.place(name, *timestep));
                    let heat = heat_of(map, self.latents)?;
                    rows.push((label, heated(&self.job.source.frames, &heat)));
                }
            }
        }
        Ok(rows)
    }

    /// Masks of one layer, a row a timestep; one row where they are the same at each.
    fn masks(&self, layer: &str, name: &str) -> Result<Vec<(String, Vec<RgbImage>)>> {
        let subjects = legend(&prompts::subjects(&self.job.prompt));
        let row = |place: String, timestep: i64| {
            let masks = self.analysis.masks.at.get(&timestep).into_iter().flatten();
            let masks = masks.filter_map(|layers| layers.get(layer));
            let masks: Result<Vec<Vec<Mask>>> = masks.map(|mask| masks_of(mask, self.latents)).collect();
            let label = format!("{place}: mask of {subjects}");
            Ok((label, with_masks(&self.job.source.frames, &masks?)))
        };
        if self.is_noised() {
            let place = format!("{name}, every guided timestep");
            return self
                .analysis
                .timesteps
                .first()
                .map(|timestep| row(place, *timestep))
                .into_iter()
                .collect();
        }
        let shown = self.shown().into_iter();
        shown.map(|(timestep, _)| row(self.place(name, *timestep), *timestep)).collect()
    }

    /// The timesteps that are shown, the first of the sampling first.
    fn shown(&self) -> Vec<(&i64, &Vec<LayerMaps>)> {
        let at: Vec<_> = self.maps.at.iter().rev().collect();
        sampled(at.len(), ROWS).into_iter().map(|index| at[index]).collect()
    }

    fn place(&self, name: &str, timestep: i64) -> String {
        match (self.is_noised(), self.guides(timestep)) {
            (true, _) => format!("{name}, noise of timestep {timestep}"),
            (false, true) => format!("{name}, timestep {timestep}, guided"),
            (false, false) => format!("{name}, timestep {timestep}"),
        }
    }
}

/// Mean of the maps that have the most places, each brought to a sum of 1 a frame: [frames, places]
fn mean_of_finest(maps: &[&Tensor]) -> Option<Tensor> {
    let finest = maps.iter().map(|map| map.size()[1]).max()?;
    let share = |map: &Tensor| map / map.sum_dim_intlist(-1, true, None::<Kind>).clamp_min(1e-12);
    let shares: Vec<Tensor> =
        maps.iter().filter(|map| map.size()[1] == finest).map(|map| share(map)).collect();
    Some(Tensor::stack(&shares, 0).mean_dim(0, false, None::<Kind>))
}

/// Draws the frames that a sheet shows; the others need not be drawn.
fn drawn(frames: &[RgbImage], draw: impl Fn(usize, &RgbImage) -> RgbImage) -> Vec<RgbImage> {
    let shown = sampled(frames.len(), COLUMNS);
    let draw =
        |(index, frame)| if shown.contains(&index) { draw(index, frame) } else { RgbImage::clone(frame) };
    frames.iter().enumerate().map(draw).collect()
}

fn heated(frames: &[RgbImage], maps: &[Mask]) -> Vec<RgbImage> {
    drawn(frames, |index, frame| {
        let map = maps.get(map_of(index, frames.len(), maps.len()));
        map.map_or(frame.clone(), |map| heat(frame, map, OPACITY))
    })
}

fn with_masks(frames: &[RgbImage], masks: &[Vec<Mask>]) -> Vec<RgbImage> {
    drawn(frames, |index, frame| masked(frame, index, frames.len(), masks))
}

fn write_sheet(path: &Path, rows: &[(String, Vec<RgbImage>)]) -> Result<()> {
    let rows: Vec<Row> = rows.iter().map(|(label, frames)| Row { label, frames }).collect();
    Ok(picture::write_png(path, &contact_sheet(&rows, COLUMNS)?)?)
}

/// Every map as `map/TIMESTEP/SUBJECT/LAYER`, [frames, height, width] float32.
fn write_maps(path: &Path, maps: &SubjectMaps, latents: &Latents) -> Result<()> {
    let maps = maps.at.iter().flat_map(|(timestep, subjects)| map_tensors(*timestep, subjects));
    let pictures = maps.map(|(name, map)| {
        let (frames, places) = (map.size()[0], map.size()[1]);
        let (height, width) = latents.map_size(places).unwrap_or((1, places));
        (name, map.view([frames, height, width]))
    });
    map_tensors::write(path, &pictures.collect::<Vec<_>>())
}

fn step_figures(masks: &MotionMasks, subjects: &[&str]) -> Vec<StepFigures> {
    let mut all = Vec::new();
    for (timestep, of_subjects) in &masks.at {
        for (layers, subject) in of_subjects.iter().zip(subjects) {
            for (layer, mask) in layers {
                let alone = [(layer.clone(), mask.shallow_clone())].into();
                let alone = MotionMasks { at: [(*timestep, vec![alone])].into(), ..MotionMasks::default() };
                all.extend(mask_figures(&alone, |_| true).into_iter().map(|figures| StepFigures {
                    timestep: *timestep,
                    subject: (*subject).to_owned(),
                    layer: layer.clone(),
                    coverage: figures.coverage,
                    overlap: figures.overlap,
                }));
            }
        }
    }
    all
}

/// The scores of every map, in the order of timesteps, subjects and layers.
fn score_records(
    maps: &SubjectMaps,
    latents: &Latents,
    tau: f64,
    subjects: &[&str],
) -> Result<Vec<ScoreRecord>> {
    let mut all = Vec::new();
    for (timestep, of_subjects) in &maps.at {
        for (maps, subject) in of_subjects.iter().zip(subjects) {
            all.extend(map_scores(maps, latents, tau)?.into_iter().map(|(layer, score)| ScoreRecord {
                timestep: *timestep,
                subject: (*subject).to_owned(),
                layer,
                agreement: score.agreement,
                steadiness: score.steadiness,
                contrast: score.contrast,
                score: score.total(),
            }));
        }
    }
    Ok(all)
}

/// Every layer's mean score.
fn mean_scores(scores: &[ScoreRecord]) -> BTreeMap<String, f64> {
    let mut of_layers: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for record in scores {
        of_layers.entry(record.layer.clone()).or_default().push(record.score);
    }
    of_layers
        .into_iter()
        .map(|(layer, scores)| (layer, scores.iter().sum::<f64>() / scores.len() as f64))
        .collect()
}

fn tell(
    path: &Path,
    masks: &[MaskRecord],
    layers: &[(String, String)],
    scores: &BTreeMap<String, f64>,
    left_out: &LeftOut,
    progress: &Progress,
) {
    let pictures: Vec<(String, String)> = layers
        .iter()
        .flat_map(|(layer, name)| {
            let score = scores.get(layer).copied().unwrap_or_default();
            [
                (
                    format!("attention-{name}.png"),
                    format!("where the subject is seen, step by step; score {score:.2}"),
                ),
                (format!("masks-{name}.png"), "what becomes a mask, step by step".to_owned()),
            ]
        })
        .collect();
    let mut files = vec![("overview.png", "source, attention and mask, frame by frame")];
    files.extend(pictures.iter().map(|(name, shows)| (name.as_str(), shows.as_str())));
    files.extend([
        ("maps.safetensors", "every attention map"),
        ("inspect.json", "figures of every mask, and the warnings"),
        ("run.toml", "every setting"),
    ]);
    files.extend([mask_folder::FOLDER, mask_folder::ARRAYS]);
    files.retain(|(name, _)| !left_out.has(name));
    report::finished(path, &files, masks, progress);
}
