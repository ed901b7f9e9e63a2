//! Recomputes a parity case: what diffusers and the reference of the method made of a checkpoint, tensor by tensor.
//!
//! A case is a folder that a script of `tools/reference` writes, `make_case.py` or one for another architecture: `model/`,
//! `case.json`, `inputs.safetensors` and `expected.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::generation::{Generating, GenerationEvent, generate};
use crate::inversion::{Inverting, invert};
use crate::latents::Latents;
use crate::losses::{guidance_loss, mask_values};
use crate::masks::{LayerMasks, MotionMasks};
use crate::model::{EncodedPrompt, GuidanceLayer, GuidanceLayers, VideoModel};
use crate::noised::Pass;
use crate::observer::MapKeeper;
use crate::parity_case::{
    ANY, CASE, CaseTensors, Comparison, EXPECTED, INPUTS, ParityError, ParityModel, case_error, counted,
};
use crate::plain_attention::PlainAttention;
use crate::prompt::Prompt;
use crate::registry;
use crate::schedule::Schedule;
use crate::settings::{SamplerName, Settings};
use crate::small_file;
use crate::windows::ContextOptions;

#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    source_prompt: String,
    prompt: String,
    negative_prompt: String,
    source_tokens: Vec<i64>,
    target_tokens: Vec<i64>,
    /// Of every subject; those above are the first one's.
    source_subjects: Option<Vec<Vec<i64>>>,
    target_subjects: Option<Vec<Vec<i64>>>,
    /// Its folder, beside the model's.
    motion_adapter: Option<String>,
    /// The first and the last block that guides, of a transformer.
    guidance_blocks: Option<[i64; 2]>,
    guidance_layers: CaseLayers,
    settings: CaseSettings,
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
    let path = folder.join(CASE);
    let text = small_file::read(&path, small_file::CONFIG);
    let case = parse_case(&path, &text.map_err(|error| case_error(&path, &error.to_string()))?)?;
    let expected = CaseTensors::open(folder.join(EXPECTED), Device::Cpu)?;
    let mut checkpoint = registry::open(&folder.join("model")).map_err(Error::from)?;
    if let Some(adapter) = &case.motion_adapter {
        let adapter = folder.join(Path::new(adapter).file_name().unwrap_or_default());
        checkpoint = checkpoint.with_motion_adapter(&adapter).map_err(Error::from)?;
    }
    let model = registry::architecture_of(&checkpoint).load_for_parity(&checkpoint, device)?;
    let inputs = CaseTensors::open(folder.join(INPUTS), device)?;
    let (ours, mut comparisons) = recompute(&*model, &case, &inputs)?;
    comparisons.extend(expected.compare(&ours, tolerance)?);
    Ok(comparisons)
}

/// Every tensor that a case may expect, by name, and the comparisons that are not of tensors.
fn recompute(
    model: &dyn ParityModel,
    case: &Case,
    inputs: &CaseTensors,
) -> Result<(BTreeMap<String, Tensor>, Vec<Comparison>), ParityError> {
    let mut settings = settings(&case.settings);
    if let Some([first, last]) = case.guidance_blocks {
        settings.guidance_layers = (first..=last).map(|block| format!("blocks.{block}")).collect();
    }
    if matches!(model.schedule(), Schedule::Flow(_)) {
        settings.sampler = SamplerName::Euler;
    }
    let mut ours = BTreeMap::new();
    let prompt = |text: &str| text.parse::<Prompt>().map_err(Error::from);
    let source = encode(model, "source", &prompt(&case.source_prompt)?, &mut ours)?;
    let target = encode(model, "target", &prompt(&case.prompt)?, &mut ours)?;
    let negative = encode(model, "negative", &Prompt::literal(&case.negative_prompt), &mut ours)?;
    let mut comparisons = vec![
        positions("source_tokens", &source, case.source_subjects.as_deref(), &case.source_tokens),
        positions("target_tokens", &target, case.target_subjects.as_deref(), &case.target_tokens),
    ];
    let layers = model.layers_for(&settings)?;
    comparisons.push(names("guidance_layers/cross", &layers.cross, &case.guidance_layers.cross));
    comparisons.push(names("guidance_layers/self", &layers.spatial, &case.guidance_layers.spatial));
    comparisons.push(names("guidance_layers/temporal", &layers.temporal, &case.guidance_layers.temporal));

    ours.extend(model.nets(inputs, &target)?);
    let channels = model.latent_channels();
    let plain_attention = PlainAttention::new(model, &layers);
    let clean = inputs.input("z0", &[1, channels, ANY, ANY, ANY])?;
    noised_maps(&plain_attention, inputs, &clean, &source, &layers, &mut ours)?;
    let clean = Inverting::new(Latents::new(clean));
    let inversion = invert(&plain_attention, clean, &source, &settings, &mut |_| ControlFlow::Continue(()))?;
    let masks = inversion.masks(&settings.guided_timesteps(model.schedule())?, &settings)?;
    first_update(&plain_attention, &inversion.latents, &masks, &target, &settings, &mut ours);
    keep_of_subjects("mask", &masks.at, |mask| mask.to_kind(Kind::Uint8), &mut ours);
    keep_of_subjects("map", &inversion.maps.at, Tensor::shallow_clone, &mut ours);
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

/// `WHAT/TIMESTEP/LAYER`, with `/k` behind it for the subjects after the first.
fn keep_of_subjects(
    what: &str,
    at: &BTreeMap<i64, Vec<BTreeMap<String, Tensor>>>,
    form: impl Fn(&Tensor) -> Tensor,
    ours: &mut BTreeMap<String, Tensor>,
) {
    for (timestep, subjects) in at {
        for (subject, layers) in subjects.iter().enumerate() {
            let behind = if subject == 0 { String::new() } else { format!("/{subject}") };
            for (layer, tensor) in layers {
                ours.insert(format!("{what}/{timestep}/{layer}{behind}"), form(tensor));
            }
        }
    }
}

fn encode(
    model: &dyn ParityModel,
    name: &str,
    prompt: &Prompt,
    ours: &mut BTreeMap<String, Tensor>,
) -> Result<EncodedPrompt, Error> {
    let ids = model.token_ids(&prompt.text)?;
    let encoded = model.encode_prompt(prompt)?;
    ours.insert(format!("{name}_ids"), Tensor::from_slice(&ids).unsqueeze(0));
    ours.insert(format!("{name}_text"), encoded.features.shallow_clone());
    Ok(encoded)
}

/// The maps of a forward pass on the source with the noise `sample` added.
fn noised_maps(
    model: &dyn VideoModel,
    inputs: &CaseTensors,
    clean: &Tensor,
    source: &EncodedPrompt,
    layers: &GuidanceLayers,
    ours: &mut BTreeMap<String, Tensor>,
) -> Result<(), ParityError> {
    const TIMESTEP: i64 = 201;
    if model.schedule().train_timesteps() as i64 <= TIMESTEP {
        return Ok(());
    }
    let _no_gradients = tch::no_grad_guard();
    let noise = inputs.input("sample", &clean.size())?;
    let context = ContextOptions::default();
    let seen = (&layers.cross[..], &source.subjects[..]);
    let pass = Pass::new(model, clean, &noise, TIMESTEP, &source.features, seen, context);
    for (layer, map) in pass.maps.into_iter().flatten() {
        ours.insert(format!("noised_map/{TIMESTEP}/{layer}"), map);
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
    let steps = model.schedule().ascending(settings.steps);
    let Some((step, masks)) = steps.last().and_then(|step| Some((step, masks.at.get(&step.key)?))) else {
        return;
    };
    let Ok(layers) = model.layers_for(settings) else { return };
    let all = layers.cross.iter().chain(&layers.spatial).chain(&layers.temporal);
    let mut observer = MapKeeper::stopping(all).with_values(mask_values(masks, &layers));
    let traced = model.trace(start.tensor(), step.timestep, &target.features, &mut observer);
    let (loss, parts) = guidance_loss(
        &observer.maps,
        masks,
        &LayerMasks::new(),
        &layers,
        &target.subjects,
        settings.loss_weights(),
    );
    let parts = parts.read();
    ours.insert("gradient".into(), traced.gradient(&loss));
    let loss = [Some(loss.detach().double_value(&[])), parts.cross, parts.spatial, parts.temporal];
    ours.insert("loss".into(), Tensor::from_slice(&loss.map(Option::unwrap_or_default)));
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

fn positions(
    name: &str,
    prompt: &EncodedPrompt,
    subjects: Option<&[Vec<i64>]>,
    of_first: &Vec<i64>,
) -> Comparison {
    let expected = subjects.unwrap_or(std::slice::from_ref(of_first));
    let of = |subjects: &[Vec<i64>]| -> BTreeSet<(usize, i64)> {
        let each = subjects.iter().enumerate();
        each.flat_map(|(subject, tokens)| tokens.iter().map(move |token| (subject, *token))).collect()
    };
    // A case that knows the first subject alone says nothing of the others.
    let ours = &prompt.subjects[..prompt.subjects.len().min(expected.len())];
    let ours = if subjects.is_some() { &prompt.subjects[..] } else { ours };
    let (ours, expected) = (of(ours), of(expected));
    counted(name, ours.symmetric_difference(&expected).count(), expected.len())
}

fn names(name: &str, ours: &[GuidanceLayer], expected: &BTreeSet<String>) -> Comparison {
    let ours: BTreeSet<String> = ours.iter().map(|layer| layer.name.clone()).collect();
    counted(name, ours.symmetric_difference(expected).count(), expected.len())
}

/// Takes `text` as the `case.json` of a text-to-video model; `path` is for messages.
pub(crate) fn parse_case(path: &Path, text: &[u8]) -> Result<Case, ParityError> {
    serde_json::from_slice(text).map_err(|error| case_error(path, &error.to_string()))
}
