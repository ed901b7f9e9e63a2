//! How far a model that computes in half precision is from the same model in float32.
//!
//! The two need not be in memory together: [`Exact`] keeps on the CPU what float32 computes. Every comparison begins at
//! float32's own values, so that no error adds to another, but for those that say otherwise.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tch::{Device, Kind, Tensor};

use motionflow::clip::Clip;
use motionflow::error::Error;
use motionflow::inversion::{Inverting, invert};
use motionflow::latents::Latents;
use motionflow::masks::{LayerMasks, MotionMasks, SubjectMaps};
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::nets::attention::NoObserver;
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use motionflow::timestep::Timestep;
use motionflow::update::guidance_gradient;
use motionflow::wider::Coded;

/// What a transfer is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The source.
    pub clip: &'a Clip,
    /// What it shows, its subjects marked.
    pub source: &'a Prompt,
    /// What the new video shows, with as many subjects.
    pub target: &'a Prompt,
    /// Steps of the inversion, τ, and the losses' weights.
    pub settings: &'a Settings,
}

/// What a model computes in float32, on the CPU.
#[derive(Debug)]
pub struct Exact<'a> {
    inputs: Inputs<'a>,
    source: Tensor,
    target: Tensor,
    clean: Latents,
    inverted: Inverted,
    /// Of some steps of the inversion.
    noise: Vec<(usize, Tensor)>,
    gradient: Tensor,
    decoded: Clip,
}

/// Relative errors are ‖a − b‖₂/‖b‖₂, b being float32's.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Relative error of the text encoder's features of the new video's prompt.
    pub text: f64,
    /// Relative error of the VAE's latents of the clip; no number where they are not finite.
    pub encoded: f64,
    /// Relative error of the VAE's frames of those latents; no number where they are not finite.
    pub decoded: f64,
    /// Relative errors of the UNet's noise, by timestep: at the first, the middle and the last of the inversion.
    pub noise: Vec<(Timestep, f64)>,
    /// Relative error of the guidance loss's gradient at the last timestep, before any step size.
    pub gradient: f64,
    /// Cosine of the angle between the two gradients: 1 where they point the same way.
    pub gradient_cosine: f64,
    /// Share of the masks' pixels that are equal, over all steps, subjects, layers and frames.
    pub masks: f64,
    /// The same when the inversion goes on from its own latents.
    pub masks_adrift: f64,
    /// Relative error of the latents at the end of that inversion.
    pub inverted_adrift: f64,
}

impl<'a> Exact<'a> {
    /// Computes all that others are compared with. `model` should compute in float32.
    ///
    /// # Errors
    /// As [`VideoModel::encode_prompts`] and [`invert`]; [`Error::UnknownBlock`] for settings that do not suit the model.
    pub fn of(model: &dyn VideoModel, inputs: Inputs<'a>) -> Result<Self, Error> {
        let Inputs { clip, source, target, settings } = inputs;
        let texts = model.encode_prompts(&[source, target])?;
        let (source, target) = (&texts[0], &texts[1]);
        let clean = model.encode_clip(clip)?.value.on(Device::Cpu);
        let inverted = Inverted::of(model, source, &clean, settings)?;
        let last = inverted.steps.len() - 1;
        let noise = [0, last / 2, last].map(|step| (step, inverted.noise(step, model, target, settings)));
        Ok(Self {
            inputs,
            source: on_cpu(&source.features),
            target: on_cpu(&target.features),
            noise: noise.into(),
            gradient: inverted.gradient(model, target, settings)?,
            decoded: decoded(model, &clean)?.value,
            inverted,
            clean,
        })
    }

    /// Holds a model of the same weights against it.
    ///
    /// # Errors
    /// As [`Exact::of`].
    pub fn compare(&self, model: &dyn VideoModel) -> Result<Accuracy, Error> {
        let Inputs { clip, source, target, settings } = self.inputs;
        let mut texts = model.encode_prompts(&[source, target])?;
        let text = relative_error(&on_cpu(&texts[1].features), &self.target);
        for (prompt, exact) in texts.iter_mut().zip([&self.source, &self.target]) {
            prompt.features = exact.to_device(model.device()).to_kind(prompt.features.kind());
        }
        let (source, target) = (&texts[0], &texts[1]);
        let noise = self.noise.iter().map(|(step, exact)| {
            let error = relative_error(&self.inverted.noise(*step, model, target, settings), exact);
            (self.inverted.steps[*step].timestep, error)
        });
        let noise = noise.collect();
        let gradient = self.inverted.gradient(model, target, settings)?;
        let masks = self.inverted.masks_again(model, source, settings)?;
        let adrift = Inverted::of(model, source, &self.clean, settings)?;
        let mut masks_adrift = Agreement::default();
        for (step, exact) in adrift.steps.iter().zip(&self.inverted.steps) {
            masks_adrift.add(&step.masks, &exact.masks);
        }
        let (encoded, decoded) = (model.encode_clip(clip)?, decoded(model, &self.clean)?);
        Ok(Accuracy {
            text,
            encoded: in_its_own(
                &encoded,
                relative_error(&on_cpu(encoded.value.tensor()), self.clean.tensor()),
            ),
            decoded: in_its_own(&decoded, relative_error(decoded.value.frames(), self.decoded.frames())),
            noise,
            gradient: relative_error(&gradient, &self.gradient),
            gradient_cosine: cosine(&gradient, &self.gradient),
            masks: masks.share(),
            masks_adrift: masks_adrift.share(),
            inverted_adrift: relative_error(adrift.end.tensor(), self.inverted.end.tensor()),
        })
    }
}

/// An inversion with all that lay between, on the CPU.
#[derive(Debug)]
struct Inverted {
    steps: Vec<InvertedStep>,
    end: Latents,
}

#[derive(Debug)]
struct InvertedStep {
    timestep: Timestep,
    /// The latents before it.
    before: Latents,
    /// Each subject's masks.
    masks: Vec<LayerMasks>,
}

impl Inverted {
    fn of(
        model: &dyn VideoModel,
        source: &EncodedPrompt,
        clean: &Latents,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let mut steps = Vec::new();
        let mut before = clean.share();
        let inversion = invert(model, Inverting::new(clean.share()), source, settings, &mut |step| {
            let masks =
                MotionMasks { at: BTreeMap::from([(0, shared(step.masks))]), ..MotionMasks::default() }
                    .on(Device::Cpu);
            steps.push(InvertedStep {
                timestep: step.timestep,
                before: std::mem::replace(&mut before, step.latents.on(Device::Cpu)),
                masks: masks.at.into_values().flatten().collect(),
            });
            ControlFlow::Continue(())
        })?;
        Ok(Self { steps, end: inversion.latents.on(Device::Cpu) })
    }

    /// The UNet's noise in the latents before a step, in the first context window.
    fn noise(
        &self,
        step: usize,
        model: &dyn VideoModel,
        target: &EncodedPrompt,
        settings: &Settings,
    ) -> Tensor {
        let _no_gradients = tch::no_grad_guard();
        let InvertedStep { timestep, before, .. } = &self.steps[step];
        let window = settings.context().frames_at_once(before.frames());
        let latents = before.tensor().narrow(2, 0, window).to_device(model.device()).contiguous();
        let noise = model.predict_noise(&latents, *timestep, &target.features, &mut NoObserver);
        // An observer that looks at nothing never ends the run.
        on_cpu(&noise.continue_value().unwrap_or_default())
    }

    /// The gradient of a generation's first update.
    fn gradient(
        &self,
        model: &dyn VideoModel,
        target: &EncodedPrompt,
        settings: &Settings,
    ) -> Result<Tensor, Error> {
        let Some(last) = self.steps.last() else { return Ok(Tensor::new()) };
        let masks = MotionMasks { at: BTreeMap::from([(0, shared(&last.masks))]), ..MotionMasks::default() }
            .on(model.device());
        let latents = self.end.on(model.device());
        guidance_gradient(model, latents.tensor(), &masks.at[&0], target, settings, last.timestep)
            .map(|gradient| on_cpu(&gradient))
    }

    /// How many pixels of the masks are the same when `model` makes every step by itself.
    fn masks_again(
        &self,
        model: &dyn VideoModel,
        source: &EncodedPrompt,
        settings: &Settings,
    ) -> Result<Agreement, Error> {
        let mut agreement = Agreement::default();
        for (done, exact) in self.steps.iter().enumerate() {
            let from = Inverting { done, latents: exact.before.share(), maps: SubjectMaps::default() };
            let one_step = invert(model, from, source, settings, &mut |step| {
                agreement.add(step.masks, &exact.masks);
                ControlFlow::Break(())
            });
            match one_step {
                Ok(_) | Err(Error::Stopped) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(agreement)
    }
}

/// Pixels of masks, and how many of them are equal.
#[derive(Debug, Default)]
struct Agreement {
    equal: f64,
    all: f64,
}

impl Agreement {
    fn add(&mut self, found: &[LayerMasks], exact: &[LayerMasks]) {
        for (found, exact) in found.iter().zip(exact) {
            for (layer, exact) in exact {
                let equal = found.get(layer).map(|mask| on_cpu(mask).eq_tensor(exact).sum(Kind::Float));
                self.equal += equal.map_or(0.0, |equal| equal.double_value(&[]));
                self.all += exact.numel() as f64;
            }
        }
    }

    /// 1 where there are no masks.
    fn share(&self) -> f64 {
        if self.all > 0.0 { self.equal / self.all } else { 1.0 }
    }
}

fn shared(masks: &[LayerMasks]) -> Vec<LayerMasks> {
    let share = |layers: &LayerMasks| {
        layers.iter().map(|(layer, mask)| (layer.clone(), mask.shallow_clone())).collect()
    };
    masks.iter().map(share).collect()
}

fn decoded(model: &dyn VideoModel, clean: &Latents) -> Result<Coded<Clip>, Error> {
    model.decode_latents(&clean.on(model.device()))
}

/// The error of what the VAE made, or no number where its own precision gave none.
fn in_its_own<T>(coded: &Coded<T>, error: f64) -> f64 {
    if coded.wider.is_some() { f64::NAN } else { error }
}

fn on_cpu(tensor: &Tensor) -> Tensor {
    tensor.to_kind(Kind::Float).to_device(Device::Cpu)
}

fn norm(tensor: &Tensor) -> f64 {
    tensor.to_kind(Kind::Double).norm().double_value(&[])
}

fn relative_error(found: &Tensor, exact: &Tensor) -> f64 {
    norm(&(found.to_kind(Kind::Double) - exact)) / norm(exact)
}

fn cosine(one: &Tensor, other: &Tensor) -> f64 {
    let product = (one.to_kind(Kind::Double) * other).sum(Kind::Double).double_value(&[]);
    product / (norm(one) * norm(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_and_angles_know_no_length() {
        let (one, other) = (Tensor::from_slice(&[3f32, 4.0]), Tensor::from_slice(&[3f32, 4.5]));
        assert!((relative_error(&other, &one) - 0.1).abs() < 1e-12);
        assert!((cosine(&one, &(&one * 7.0)) - 1.0).abs() < 1e-12);
        assert!(cosine(&one, &Tensor::from_slice(&[-4f32, 3.0])).abs() < 1e-12);
        assert!(relative_error(&(&one * f64::NAN), &one).is_nan());
    }

    #[test]
    fn masks_agree_pixel_by_pixel() {
        let masks = |values: &[f32]| {
            vec![LayerMasks::from([
                ("a".to_owned(), Tensor::from_slice(values)),
                ("b".to_owned(), Tensor::ones([4], (Kind::Float, Device::Cpu))),
            ])]
        };
        let mut agreement = Agreement::default();
        agreement.add(&masks(&[1.0, 0.0, 0.0, 1.0]), &masks(&[1.0, 1.0, 0.0, 1.0]));
        assert!((agreement.share() - 7.0 / 8.0).abs() < 1e-12);
    }
}
