//! How well motion masks cover what they should, where the truth is known:
//!
//!     cargo run -p motionflow-engine --example mask_iou -- experiments/clips/singles.toml experiments/clips/pairs.toml
//!
//! For every clip of the lists the masks of the shipped checkpoint's inversion, and those of forward passes on the noised
//! source (`--mask-source noised`): mean intersection over union with the truth over subjects, guidance layers, frames
//! and guided steps. It prints a Markdown table a list, with ± 1.96 standard errors over the clips.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use motionflow::clip::Clip;
use motionflow::compute::Compute;
use motionflow::inversion::{Inverting, invert};
use motionflow::latents::Latents;
use motionflow::masks::MotionMasks;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::noised::{NoisedSource, observe};
use motionflow::registry;
use motionflow::settings::{MaskSource, SamplerName, Settings};
use motionflow::text_to_video::{TextToVideo, UNET_3D};
use motionflow_engine::request::recommended::Recommended;
use motionflow_engine::source::find_ffmpeg;
use motionflow_eval::truth::Truth;
use motionflow_media::{ReadOptions, source};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

const CHECKPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo");

/// The timesteps of the passes, and the most samples of the noise at each.
const PASSES: [(&[i64], usize); 10] = [
    (&[1], 1),
    (&[21], 1),
    (&[51], 1),
    (&[101], 4),
    (&[151], 1),
    (&[201], 4),
    (&[301], 4),
    (&[401], 4),
    (&[101, 201], 1),
    (&[101, 201, 301, 401], 1),
];

#[derive(Deserialize)]
struct ClipList {
    clip: Vec<ListedClip>,
}

#[derive(Deserialize)]
struct ListedClip {
    name: String,
    source: String,
    source_prompt: String,
    truth: String,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]
fn main() -> Result<()> {
    let checkpoint = Path::new(CHECKPOINT);
    let model = UNET_3D.load_nets(&registry::open(checkpoint)?, Compute::exact(Device::Cpu))?;
    let recommended =
        Recommended::of(checkpoint, SamplerName::Ddim)?.context("the checkpoint recommends nothing")?;
    for list in std::env::args().skip(1) {
        let clips: ClipList = toml::from_str(&std::fs::read_to_string(&list)?)?;
        let mut found: Vec<(String, Vec<f64>)> = Vec::new();
        for clip in &clips.clip {
            let folder = Path::new(&list).parent().unwrap_or(Path::new(""));
            for (way, iou) in of_clip(&model, &recommended, folder, clip)? {
                eprintln!("{}: {way}: {iou:.3}", clip.name);
                match found.iter_mut().find(|(known, _)| *known == way) {
                    Some((_, values)) => values.push(iou),
                    None => found.push((way, vec![iou])),
                }
            }
        }
        println!("{list}, {} clips\n\n| masks of | IoU with the truth |\n|---|---:|", clips.clip.len());
        for (way, values) in found {
            let (mean, error) = mean_and_error(&values);
            println!("| {way} | {mean:.3} ± {error:.3} |");
        }
        println!();
    }
    Ok(())
}

/// The masks of a clip in every way, compared with its truth.
fn of_clip(
    model: &TextToVideo,
    recommended: &Recommended,
    folder: &Path,
    clip: &ListedClip,
) -> Result<Vec<(String, f64)>> {
    let truth = Truth::load(&folder.join(&clip.truth))?;
    let video = &recommended.video;
    let options = ReadOptions::new(video.frames as usize, video.width, video.height);
    let frames = source::read(&find_ffmpeg()?, &folder.join(&clip.source), &options)?.frames;
    let bytes: Vec<&[u8]> = frames.iter().map(|frame| frame.as_raw().as_slice()).collect();
    let pixels = Clip::from_rgb(&bytes, i64::from(video.height), i64::from(video.width));
    let latents = model.encode_clip(&pixels)?.value;
    let prompt = model.encode_prompt(&clip.source_prompt.parse()?)?;
    let settings = Settings {
        mask_source: MaskSource::Inversion,
        sampler: SamplerName::Ddim,
        karras_sigmas: None,
        steps: 25,
        guided_steps: 8,
        ..recommended.settings.clone()
    };
    let guided = settings.guided_timesteps(model.schedule())?;

    let inversion = invert(model, Inverting::new(latents.share()), &prompt, &settings, &mut |_| {
        ControlFlow::Continue(())
    })?;
    let masks = inversion.masks(&guided, &settings)?;
    let mut found = vec![("the inversion".to_owned(), iou(&masks, &truth, &guided))];
    for (timesteps, samples) in PASSES {
        let settings = Settings {
            mask_source: MaskSource::Noised,
            noised_timesteps: timesteps.to_vec(),
            noised_samples: samples,
            ..settings.clone()
        };
        found.extend(of_passes(model, &latents, &prompt, &truth, &settings)?);
    }
    Ok(found)
}

/// The masks of the first 1, 2, 4 … samples.
fn of_passes(
    model: &TextToVideo,
    latents: &Latents,
    prompt: &EncodedPrompt,
    truth: &Truth,
    settings: &Settings,
) -> Result<Vec<(String, f64)>> {
    let guided = settings.guided_timesteps(model.schedule())?;
    let timesteps = settings.noised_timesteps.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let mut seen = observe(model, NoisedSource::new(latents.share()), prompt, settings, &mut |_| {
        ControlFlow::Continue(())
    })?;
    let mut found = Vec::new();
    let mut samples = settings.noised_samples;
    while samples > 0 {
        seen.passes.truncate(samples * settings.noised_timesteps.len());
        let masks = seen.masks(&guided, settings)?;
        let times = if samples == 1 { "1 sample".to_owned() } else { format!("{samples} samples") };
        found.insert(0, (format!("t = {timesteps}, {times}"), iou(&masks, truth, &guided)));
        samples /= 2;
    }
    Ok(found)
}

/// Mean over the guided steps, subjects, layers and frames.
fn iou(masks: &MotionMasks, truth: &Truth, guided: &[i64]) -> f64 {
    let mut of_sizes = BTreeMap::new();
    let mut all = Vec::new();
    for subjects in guided.iter().filter_map(|timestep| masks.at.get(timestep)) {
        for (subject, layers) in subjects.iter().enumerate() {
            for mask in layers.values() {
                let places = mask.size()[1];
                let truth =
                    of_sizes.entry((subject, places)).or_insert_with(|| in_places(truth, subject, places));
                let mask = mask.to_kind(Kind::Float);
                let sum = |mask: &Tensor| mask.sum_dim_intlist(-1, false, Kind::Float);
                let ratio = sum(&mask.minimum(truth)) / sum(&mask.maximum(truth)).clamp_min(1.0);
                all.push(ratio.mean(Kind::Float).double_value(&[]));
            }
        }
    }
    all.iter().sum::<f64>() / all.len() as f64
}

/// Where a subject is, [frames, places] of 0 and 1: in the places of a square map that it fills by more than half.
fn in_places(truth: &Truth, subject: usize, places: i64) -> Tensor {
    let side = (places as f64).sqrt().round() as i64;
    let frames = &truth.subjects[subject];
    let cells: Vec<f32> = frames.iter().flat_map(|shown| &shown.mask).map(|&cell| f32::from(cell)).collect();
    let grid = truth.grid as i64;
    let cells = Tensor::from_slice(&cells).view([frames.len() as i64, 1, grid, grid]);
    cells.adaptive_avg_pool2d([side, side]).flatten(1, 3).gt(0.5).to_kind(Kind::Float)
}

/// The mean and 1.96 of its standard errors.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, 1.96 * (variance / count).sqrt())
}
