//! Recomputes a parity case: what diffusers and the reference of the method made of a checkpoint, tensor by tensor.
//!
//! A case is a folder that `tools/reference/make_case.py` or, of CLIP, `make_clip_case.py` writes: `model/`, `case.json`,
//! `inputs.safetensors` and `expected.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, Weights};
use crate::clip_model::ClipModel;
use crate::clip_parity::{self, ClipCase};
use crate::compute::Compute;
use crate::error::Error;
use crate::generation::{Generating, GenerationEvent, generate};
use crate::inversion::{Inverting, invert};
use crate::latents::Latents;
use crate::losses::guidance_loss;
use crate::masks::MotionMasks;
use crate::model::{EncodedPrompt, GuidanceLayer, VideoModel};
use crate::nets::attention::NoObserver;
use crate::observer::MapKeeper;
use crate::plain_attention::PlainAttention;
use crate::printable::printable;
use crate::prompt::Prompt;
use crate::settings::Settings;
use crate::small_file;
use crate::text_to_video::TextToVideo;

/// A case that cannot be recomputed.
#[derive(Debug, Error)]
pub enum ParityError {
    /// The model, or the method on it, fails.
    #[error(transparent)]
    Method(#[from] Error),
    /// A tensor file of the case cannot be read.
    #[error(transparent)]
    Tensors(#[from] CheckpointError),
    /// `case.json` cannot be read.
    #[error("{}: is not a parity case's: {reason}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that the case must have is not there.
    #[error("{}: no tensor '{name}' in it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

/// How one tensor of a case compares.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The tensor's name in the case, or what else was compared.
    pub name: String,
    /// How far it is off.
    pub difference: Difference,
    /// Whether that is near enough.
    pub ok: bool,
}

/// How far a tensor is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// ‖ours − expected‖₂ / ‖expected‖₂
    Relative(f64),
    /// Elements that differ, of so many: token ids, mask pixels, names.
    Count {
        /// That differ.
        differing: usize,
        /// In all.
        of: usize,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    source_prompt: String,
    prompt: String,
    negative_prompt: String,
    source_tokens: Vec<i64>,
    target_tokens: Vec<i64>,
    guidance_layers: CaseLayers,
    settings: CaseSettings,
}

/// Which kind of case it is.
#[derive(Debug, Deserialize)]
struct AnyCase {
    clip: Option<ClipCase>,
}

#[derive(Debug, Deserialize)]
struct CaseLayers {
    cross: BTreeSet<String>,
    #[serde(rename = "self")]
    spatial: BTreeSet<String>,
    temporal: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct CaseSettings {
    steps: usize,
    guided_steps: usize,
    guidance_scale: f64,
    tau: f64,
    lr: f64,
    weights: CaseWeights,
}

#[derive(Debug, Deserialize)]
struct CaseWeights {
    cross: f64,
    #[serde(rename = "self")]
    spatial: f64,
    temporal: f64,
}

/// Recomputes every tensor of the case in `folder` in float32 and compares it. A relative error over `tolerance`, and
/// any token id or mask pixel that differs, is not ok; nor is a tensor that this program does not know.
///
/// # Errors
/// [`ParityError`] when the case or its model cannot be read or run.
pub fn verify(folder: &Path, device: Device, tolerance: f64) -> Result<Vec<Comparison>, ParityError> {
    let path = folder.join("case.json");
    let text = small_file::read(&path, small_file::CONFIG);
    let text = text.map_err(|error| case_error(&path, &error.to_string()))?;
    let inputs = folder.join("inputs.safetensors");
    let expected = CaseTensors::open(folder.join("expected.safetensors"), Device::Cpu)?;
    let (ours, mut comparisons) = if let Some(case) = parse::<AnyCase>(&path, &text)?.clip {
        let model = ClipModel::load(&folder.join("model"), device, Kind::Float)?;
        let pictures = CaseTensors::open(inputs, Device::Cpu)?.pictures()?;
        (clip_parity::recompute(&model, &case, &pictures)?, Vec::new())
    } else {
        let case = parse_case(&path, &text)?;
        let checkpoint = Checkpoint::open(&folder.join("model")).map_err(Error::from)?;
        let model = TextToVideo::load(&checkpoint, Compute::exact(device))?;
        recompute(&model, &case, &CaseTensors::open(inputs, device)?)?
    };
    for name in expected.weights.names() {
        comparisons.push(compare(name, ours.get(name), &expected.tensor(name)?, tolerance));
    }
    Ok(comparisons)
}

/// Every tensor that a case may expect, by name, and the comparisons that are not of tensors.
fn recompute(
    model: &TextToVideo,
    case: &Case,
    inputs: &CaseTensors,
) -> Result<(BTreeMap<String, Tensor>, Vec<Comparison>), ParityError> {
    let settings = settings(&case.settings);
    let mut ours = BTreeMap::new();
    let prompt = |text: &str| text.parse::<Prompt>().map_err(Error::from);
    let source = encode(model, "source", &prompt(&case.source_prompt)?, &mut ours)?;
    let target = encode(model, "target", &prompt(&case.prompt)?, &mut ours)?;
    let negative = encode(model, "negative", &Prompt::literal(&case.negative_prompt), &mut ours)?;
    let mut comparisons = vec![
        positions("source_tokens", &source, &case.source_tokens),
        positions("target_tokens", &target, &case.target_tokens),
    ];
    let layers = model.guidance_layers();
    comparisons.push(names("guidance_layers/cross", &layers.cross, &case.guidance_layers.cross));
    comparisons.push(names("guidance_layers/self", &layers.spatial, &case.guidance_layers.spatial));
    comparisons.push(names("guidance_layers/temporal", &layers.temporal, &case.guidance_layers.temporal));

    nets(model, inputs, &target, &mut ours)?;
    let channels = model.vae().config().latent_channels;
    let plain_attention = PlainAttention::new(model);
    let clean = Inverting::new(Latents::new(inputs.input("z0", &[1, channels, ANY, ANY, ANY])?));
    let inversion = invert(&plain_attention, clean, &source, &settings, &mut |_| ControlFlow::Continue(()))?;
    let masks = inversion.masks(&settings.guided_timesteps(model.schedule()), &settings)?;
    first_update(&plain_attention, &inversion.latents, &masks, &target, &settings, &mut ours);
    for (timestep, subjects) in &masks.at {
        for (layer, mask) in subjects.iter().flatten() {
            ours.insert(format!("mask/{timestep}/{layer}"), mask.to_kind(Kind::Uint8));
        }
    }
    let sample = |settings: &Settings| {
        let from = Generating::new(inversion.latents.share());
        let go_on = &mut |_: &GenerationEvent| ControlFlow::Continue(());
        generate(&plain_attention, from, Some(&masks), &target, &negative, settings, go_on)
    };
    let plain = sample(&Settings { updates: false, ..settings.clone() })?;
    let guided = sample(&settings)?;
    let history: Vec<f32> = guided.updates.iter().map(|update| update.loss as f32).collect();
    ours.insert("loss_history".into(), Tensor::from_slice(&history));
    ours.insert("video".into(), model.decode_latents(&guided.latents)?.value.frames().shallow_clone());
    ours.insert("inverted".into(), inversion.latents.tensor().shallow_clone());
    ours.insert("generated".into(), guided.latents.tensor().shallow_clone());
    ours.insert("generated_without_updates".into(), plain.latents.tensor().shallow_clone());
    Ok((ours, comparisons))
}

fn encode(
    model: &TextToVideo,
    name: &str,
    prompt: &Prompt,
    ours: &mut BTreeMap<String, Tensor>,
) -> Result<EncodedPrompt, Error> {
    let ids = model.tokenizer().encode(&prompt.text)?.ids;
    let encoded = model.encode_prompt(prompt)?;
    ours.insert(format!("{name}_ids"), Tensor::from_slice(&ids).unsqueeze(0));
    ours.insert(format!("{name}_text"), encoded.features.shallow_clone());
    Ok(encoded)
}

/// The VAE both ways and the UNet at three timesteps.
fn nets(
    model: &TextToVideo,
    inputs: &CaseTensors,
    target: &EncodedPrompt,
    ours: &mut BTreeMap<String, Tensor>,
) -> Result<(), ParityError> {
    let _no_gradients = tch::no_grad_guard();
    let channels = model.vae().config().latent_channels;
    let frames = inputs.input("frames", &[ANY, 3, ANY, ANY])?;
    let latent = inputs.input("latent", &[ANY, channels, ANY, ANY])?;
    ours.insert("vae_mean".into(), model.vae().encode(&frames));
    ours.insert("vae_decoded".into(), model.vae().decode(&latent));
    let sample = inputs.input("sample", &[1, channels, ANY, ANY, ANY])?;
    for timestep in [1, 501, 981] {
        let prediction = model.predict_noise(&sample, timestep, &target.features, &mut NoObserver);
        ours.extend(prediction.continue_value().map(|noise| (format!("unet_{timestep}"), noise)));
    }
    Ok(())
}

/// The losses and the gradient of the first guided update, all three losses taken whatever their weights.
fn first_update(
    model: &dyn VideoModel,
    start: &Latents,
    masks: &MotionMasks,
    target: &EncodedPrompt,
    settings: &Settings,
    ours: &mut BTreeMap<String, Tensor>,
) {
    let Some((timestep, masks)) = masks.at.last_key_value() else { return };
    let layers = model.guidance_layers();
    let all = layers.cross.iter().chain(&layers.spatial).chain(&layers.temporal);
    let mut observer = MapKeeper::stopping(all);
    let traced = model.trace(start.tensor(), *timestep, &target.features, &mut observer);
    let (loss, parts) =
        guidance_loss(&observer.maps, masks, layers, &target.subjects, settings.loss_weights());
    let parts = parts.read();
    ours.insert("gradient".into(), traced.gradient(&loss));
    let loss = [Some(loss.detach().double_value(&[])), parts.cross, parts.spatial, parts.temporal];
    ours.insert("loss".into(), Tensor::from_slice(&loss.map(|part| part.unwrap_or(f64::NAN))));
}

fn settings(case: &CaseSettings) -> Settings {
    Settings {
        steps: case.steps,
        guided_steps: case.guided_steps.min(case.steps),
        guidance_scale: case.guidance_scale,
        tau: case.tau,
        step_size: case.lr,
        lambda_cross: case.weights.cross,
        lambda_self: case.weights.spatial,
        lambda_temporal: case.weights.temporal,
        ..Settings::default()
    }
}

fn positions(name: &str, prompt: &EncodedPrompt, expected: &[i64]) -> Comparison {
    let ours = prompt.subjects.first().map_or(&[][..], Vec::as_slice);
    let differing = expected.len().max(ours.len())
        - ours.iter().zip(expected).filter(|(ours, expected)| ours == expected).count();
    counted(name, differing, expected.len())
}

fn names(name: &str, ours: &[GuidanceLayer], expected: &BTreeSet<String>) -> Comparison {
    let ours: BTreeSet<String> = ours.iter().map(|layer| layer.name.clone()).collect();
    counted(name, ours.symmetric_difference(expected).count(), expected.len())
}

fn counted(name: &str, differing: usize, of: usize) -> Comparison {
    Comparison { name: name.to_owned(), difference: Difference::Count { differing, of }, ok: differing == 0 }
}

fn compare(name: &str, ours: Option<&Tensor>, expected: &Tensor, tolerance: f64) -> Comparison {
    let count = expected.numel();
    let ours = ours.map(|ours| ours.to_device(Device::Cpu)).filter(|ours| ours.size() == expected.size());
    let Some(ours) = ours else { return counted(name, count.max(1), count) };
    if matches!(expected.kind(), Kind::Int64 | Kind::Uint8) {
        let differing = ours.ne_tensor(expected).sum(Kind::Int64).int64_value(&[]);
        return counted(name, differing as usize, count);
    }
    let (ours, expected) = (ours.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    let relative = ((ours - &expected).norm() / expected.norm().clamp_min(1e-30)).double_value(&[]);
    Comparison {
        name: name.to_owned(),
        difference: Difference::Relative(relative),
        ok: relative <= tolerance,
    }
}

/// Takes `text` as the `case.json` of a text-to-video model; `path` is for messages.
pub(crate) fn parse_case(path: &Path, text: &[u8]) -> Result<Case, ParityError> {
    parse(path, text)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, ParityError> {
    serde_json::from_slice(text).map_err(|error| case_error(path, &error.to_string()))
}

fn case_error(path: &Path, reason: &str) -> ParityError {
    ParityError::Case { path: path.to_owned(), reason: printable(reason) }
}

/// In a shape: any size.
const ANY: i64 = -1;

/// A tensor file of a case.
struct CaseTensors {
    path: PathBuf,
    weights: Weights,
    device: Device,
}

impl CaseTensors {
    fn open(path: PathBuf, device: Device) -> Result<Self, ParityError> {
        Ok(Self { weights: Weights::open(&path)?, path, device })
    }

    /// A tensor that goes into a net, which takes float32 of this shape alone.
    fn input(&self, name: &str, shape: &[i64]) -> Result<Tensor, ParityError> {
        self.input_of(Kind::Float, name, shape)
    }

    /// `picture_0`, `picture_1` and so on: [height, width, 3]
    fn pictures(&self) -> Result<Vec<Tensor>, ParityError> {
        let names = (0..self.weights.len()).map(|index| format!("picture_{index}"));
        names.map(|name| self.input_of(Kind::Uint8, &name, &[ANY, ANY, 3])).collect()
    }

    fn input_of(&self, kind: Kind, name: &str, shape: &[i64]) -> Result<Tensor, ParityError> {
        let tensor = self.tensor(name)?;
        let size = tensor.size();
        let fits = |(found, wanted): (&i64, &i64)| found == wanted || (*wanted == ANY && *found > 0);
        if tensor.kind() == kind && size.len() == shape.len() && size.iter().zip(shape).all(fits) {
            return Ok(tensor);
        }
        let found = format!("found {:?} {size:?}", tensor.kind());
        let reason =
            format!("tensor '{name}': expected {kind:?} {shape:?} ({ANY}: any number, 1 or more), {found}");
        Err(case_error(&self.path, &reason))
    }

    fn tensor(&self, name: &str) -> Result<Tensor, ParityError> {
        let missing = || ParityError::Missing { path: self.path.clone(), name: name.to_owned() };
        let stored = self.weights.get(name).ok_or_else(missing)?;
        let tensor = stored.to_tensor().map_err(|_| missing())?;
        Ok(tensor.to_device(self.device))
    }
}
