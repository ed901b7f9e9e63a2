//! DDIM (<https://arxiv.org/abs/2010.02502>), as diffusers' `DDIMScheduler` computes it.

use tch::Tensor;

use crate::error::Error;
use crate::nets::config::ConfigError;
use crate::schedule::{DiffusionSchedule, PredictionType, Step};
use crate::settings::{Settings, SettingsError};

/// Its steps, noise descending.
#[derive(Debug)]
pub(super) struct Ddim<'a> {
    schedule: &'a DiffusionSchedule,
    steps: Vec<Step>,
}

impl<'a> Ddim<'a> {
    pub(super) fn new(schedule: &'a DiffusionSchedule, settings: &Settings) -> Result<Self, Error> {
        if settings.karras_sigmas == Some(true) {
            let expected = "off with --sampler ddim, which has none; take dpmpp-2m or unipc".to_owned();
            return Err(SettingsError { name: "karras_sigmas", found: "on".to_owned(), expected }.into());
        }
        let spacing = settings.timestep_spacing.unwrap_or(schedule.ddim_spacing());
        schedule.check_fit(settings.steps, spacing)?;
        let mut steps = schedule.ascending_in(settings.steps, spacing);
        steps.reverse();
        let is_pure_noise = steps.iter().any(|step| step.upper == 0.0);
        if is_pure_noise && schedule.prediction_type == PredictionType::Epsilon {
            let expected = "false where prediction_type is epsilon and timestep_spacing reaches the last timestep, where the \
                            noise does not tell the sample; take --timestep-spacing leading, or --sampler dpmpp-2m";
            return Err(ConfigError::new("scheduler", "rescale_betas_zero_snr", true, expected).into());
        }
        Ok(Self { schedule, steps })
    }

    pub(super) fn timesteps(&self) -> Vec<i64> {
        self.steps.iter().map(|step| step.key).collect()
    }

    pub(super) fn noise_level(&self, index: usize) -> f64 {
        let alpha = self.steps[index].upper;
        ((1.0 - alpha) / alpha).sqrt()
    }

    /// The latents after the step, of the same shape, float32.
    pub(super) fn step(&self, index: usize, latents: &Tensor, prediction: &Tensor) -> Tensor {
        self.schedule.remove_noise_step(latents, prediction, self.steps[index])
    }
}
