//! `motionflow inspect`: where the model sees the subject, per step and layer.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use motionflow::diagnostics::mask_figures;
use motionflow::inversion::Inversion;
use motionflow::masks::MotionMasks;
use motionflow::model::VideoModel;
use motionflow_media::contact_sheet::{COLUMNS, Row, contact_sheet, sampled};
use motionflow_media::image::RgbImage;
use motionflow_media::overlay::heat;
use motionflow_media::{Mask, picture};
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::args;
use crate::inverting::{guided_timesteps, invert_source, judge_masks, shown_masks};
use crate::looking::LookingJob;
use crate::pictures::{heat_of, legend, masked, masks_of};
use crate::progress::Progress;
use crate::prompts;
use crate::record::{
    MaskRecord, ProgramRecord, PromptRecord, RunRecord, Totals, VideoRecord, write_json, write_toml,
};
use crate::report;
use crate::terminal;

/// How many timesteps a layer's pictures show.
const ROWS: usize = 6;
/// How much of the frame a heat map hides.
const OPACITY: f32 = 0.65;

/// Attention maps of the subjects: (timestep, subject, layer) -> [frames, places].
type Maps = BTreeMap<(i64, usize, String), Tensor>;

/// `inspect.json`
#[derive(Serialize)]
struct Report {
    /// Over the timesteps that a transfer would be guided at.
    masks: Vec<MaskRecord>,
    steps: Vec<StepFigures>,
    #[serde(flatten)]
    totals: Totals,
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

/// Runs the command.
pub(crate) fn run(args: &args::Inspect, progress: &mut Progress) -> Result<()> {
    let job = args.looking.prepare(progress)?;
    let mut maps = Maps::new();
    let (inversion, _) =
        invert_source(&job.model, &job.source, &job.text, &job.settings, progress, &mut |step| {
            for (subject, layers) in step.maps.iter().enumerate() {
                for (layer, map) in layers {
                    maps.insert((step.timestep, subject, layer.clone()), map.shallow_clone());
                }
            }
        })?;
    let timesteps = guided_timesteps(&job.model, &job.settings);
    let subjects = prompts::subjects(&job.prompt);
    let masks = judge_masks(&inversion, &timesteps, &subjects, progress);
    let record = job.record(&args.looking.source.source_prompt)?;
    let layers = layers(&job);
    job.folder.publish(|folder| {
        let stage = progress.stage("write", 1);
        let drawing = Drawing { job: &job, inversion: &inversion, maps: &maps, timesteps: &timesteps };
        drawing.overview(&folder.join("overview.png"))?;
        for (layer, name) in &layers {
            drawing.layer(folder, layer, name)?;
        }
        write_maps(&folder.join("maps.safetensors"), &maps, &inversion)?;
        stage.finish();
        write_toml(&folder.join("run.toml"), "What `motionflow inspect` was asked.", &record)?;
        let steps = step_figures(&inversion.masks, &subjects);
        let report = Report { masks: masks.clone(), steps, totals: Totals::of(progress) };
        write_json(&folder.join("inspect.json"), &report)
    })?;
    summarize(&job, &masks, &layers, progress);
    Ok(())
}

impl LookingJob {
    fn record(&self, source_prompt: &str) -> Result<RunRecord> {
        Ok(RunRecord {
            program: ProgramRecord::new("inspect", &self.ffmpeg),
            prompts: PromptRecord {
                source_prompt: Some(source_prompt.to_owned()),
                ..PromptRecord::default()
            },
            source: Some(self.source.record.clone()),
            video: VideoRecord::of(&self.video),
            model: self.found.record()?,
            settings: self.settings.clone(),
        })
    }
}

/// The layers that are read, and short names for files.
fn layers(job: &LookingJob) -> Vec<(String, String)> {
    let short = |layer: &str| layer.trim_end_matches(".attn2").replace(".transformer_blocks.0", "");
    job.model.guidance_layers().cross.iter().map(|layer| (layer.name.clone(), short(&layer.name))).collect()
}

/// What the pictures are drawn of.
struct Drawing<'a> {
    job: &'a LookingJob,
    inversion: &'a Inversion,
    maps: &'a Maps,
    /// Timesteps that a transfer would be guided at.
    timesteps: &'a [i64],
}

impl Drawing<'_> {
    /// The source, and what all guided timesteps say together.
    fn overview(&self, path: &Path) -> Result<()> {
        let frames = &self.job.source.frames;
        let mut rows = vec![(format!("source: {}", self.job.prompt.text), frames.clone())];
        for (subject, name) in prompts::subjects(&self.job.prompt).into_iter().enumerate() {
            let chosen = |(timestep, of, _): &(i64, usize, String)| {
                *of == subject && self.timesteps.contains(timestep)
            };
            let maps: Vec<&Tensor> =
                self.maps.iter().filter(|(key, _)| chosen(key)).map(|(_, map)| map).collect();
            if let Some(mean) = mean_of_finest(&maps) {
                let label =
                    format!("attention to \"{name}\", mean of the guided steps and of the finest layers");
                rows.push((label, heated(frames, &heat_of(&mean, &self.inversion.latents)?)));
            }
        }
        let mask_row = with_masks(frames, &shown_masks(self.inversion, self.timesteps)?);
        let subjects = legend(&prompts::subjects(&self.job.prompt));
        rows.push((
            format!("motion mask at tau {}, mean of the same: {subjects}", self.job.settings.tau),
            mask_row,
        ));
        write_sheet(path, &rows)
    }

    /// Attention and masks of one layer, a row a timestep and subject.
    fn layer(&self, folder: &Path, layer: &str, name: &str) -> Result<()> {
        let frames = &self.job.source.frames;
        let latents = &self.inversion.latents;
        let subjects = prompts::subjects(&self.job.prompt);
        let at: Vec<(&i64, &Vec<_>)> = self.inversion.masks.at.iter().rev().collect();
        let (mut attention, mut masks) = (Vec::new(), Vec::new());
        for (timestep, subject_masks) in sampled(at.len(), ROWS).into_iter().map(|index| at[index]) {
            let guided = if self.timesteps.contains(timestep) { ", guided" } else { "" };
            for (subject, words) in subjects.iter().enumerate() {
                if let Some(map) = self.maps.get(&(*timestep, subject, layer.to_owned())) {
                    let label = format!("{name}, timestep {timestep}{guided}: attention to \"{words}\"");
                    attention.push((label, heated(frames, &heat_of(map, latents)?)));
                }
            }
            let layer_masks = subject_masks.iter().filter_map(|layers| layers.get(layer));
            let layer_masks: Result<Vec<Vec<Mask>>> =
                layer_masks.map(|mask| masks_of(mask, latents)).collect();
            let label = format!("{name}, timestep {timestep}{guided}: mask of {}", legend(&subjects));
            masks.push((label, with_masks(frames, &layer_masks?)));
        }
        write_sheet(&folder.join(format!("attention-{name}.png")), &attention)?;
        write_sheet(&folder.join(format!("masks-{name}.png")), &masks)
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
    drawn(frames, |index, frame| maps.get(index).map_or(frame.clone(), |map| heat(frame, map, OPACITY)))
}

fn with_masks(frames: &[RgbImage], masks: &[Vec<Mask>]) -> Vec<RgbImage> {
    drawn(frames, |index, frame| masked(frame, index, masks))
}

fn write_sheet(path: &Path, rows: &[(String, Vec<RgbImage>)]) -> Result<()> {
    let rows: Vec<Row> = rows.iter().map(|(label, frames)| Row { label, frames }).collect();
    Ok(picture::write_png(path, &contact_sheet(&rows, COLUMNS)?)?)
}

/// Every map as `map/TIMESTEP/SUBJECT/LAYER`, [frames, height, width] float32.
fn write_maps(path: &Path, maps: &Maps, inversion: &Inversion) -> Result<()> {
    let named = maps.iter().map(|((timestep, subject, layer), map)| {
        let (frames, places) = (map.size()[0], map.size()[1]);
        let (height, width) = inversion.latents.map_size(places).unwrap_or((1, places));
        let map = map.view([frames, height, width]).to_device(tch::Device::Cpu).contiguous();
        (format!("map/{timestep}/{subject}/{layer}"), map)
    });
    let named: Vec<(String, Tensor)> = named.collect();
    Tensor::write_safetensors(&named, path).with_context(|| format!("{}: cannot be written", path.display()))
}

fn step_figures(masks: &MotionMasks, subjects: &[&str]) -> Vec<StepFigures> {
    let mut all = Vec::new();
    for (timestep, of_subjects) in &masks.at {
        for (layers, subject) in of_subjects.iter().zip(subjects) {
            for (layer, mask) in layers {
                let alone = [(layer.clone(), mask.shallow_clone())].into();
                let alone = MotionMasks { at: [(*timestep, vec![alone])].into() };
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

fn summarize(job: &LookingJob, masks: &[MaskRecord], layers: &[(String, String)], progress: &Progress) {
    if progress.is_quiet() {
        return;
    }
    for MaskRecord { subject, coverage, overlap } in masks {
        terminal::result(&format!(
            "\"{subject}\": the mask covers {:.1} % of the frame, neighbouring frames' masks overlap by {:.0} %",
            coverage * 100.0,
            overlap * 100.0
        ));
    }
    let pictures: Vec<(String, String)> = layers
        .iter()
        .flat_map(|(_, name)| {
            [("attention", "where the subject is seen"), ("masks", "what becomes a mask")]
                .map(|(what, shows)| (format!("{what}-{name}.png"), format!("{shows}, step by step")))
        })
        .collect();
    let mut files = vec![("overview.png", "source, attention and mask, frame by frame")];
    files.extend(pictures.iter().map(|(name, shows)| (name.as_str(), shows.as_str())));
    files.extend([
        ("maps.safetensors", "every attention map"),
        ("inspect.json", "figures of every mask, and the warnings"),
        ("run.toml", "every setting"),
    ]);
    report::made(job.folder.path(), &files, progress);
}
