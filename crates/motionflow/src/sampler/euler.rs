//! Euler along the noise levels of flow matching, as diffusers' `FlowMatchEulerDiscreteScheduler` computes it.

use tch::Tensor;

use crate::error::Error;
use crate::schedule::{FlowSchedule, Step};
use crate::settings::{Settings, SettingsError};
use crate::timestep::Timestep;

/// Its steps, noise descending.
#[derive(Debug)]
pub(super) struct Euler {
    steps: Vec<Step>,
}

impl Euler {
    pub(super) fn new(schedule: &FlowSchedule, settings: &Settings) -> Result<Self, Error> {
        let off = |name, found: &str| {
            let expected = "left out on a checkpoint of flow matching, whose noise levels it does not move";
            Err(SettingsError { name, found: found.to_owned(), expected: expected.to_owned() }.into())
        };
        if settings.timestep_spacing.is_some() {
            return off("timestep_spacing", "set");
        }
        if settings.karras_sigmas == Some(true) {
            return off("karras_sigmas", "on");
        }
        schedule.check_inversion(settings.steps)?;
        let mut steps = schedule.ascending(settings.steps);
        steps.reverse();
        Ok(Self { steps })
    }

    pub(super) fn timesteps(&self) -> Vec<Timestep> {
        self.steps.iter().map(|step| step.timestep).collect()
    }

    pub(super) fn keys(&self) -> Vec<i64> {
        self.steps.iter().map(|step| step.key).collect()
    }

    /// σ/(1−σ)
    pub(super) fn noise_level(&self, index: usize) -> f64 {
        let sigma = self.steps[index].upper;
        sigma / (1.0 - sigma)
    }

    /// The latents after the step, of the same shape, float32.
    pub(super) fn step(&self, index: usize, latents: &Tensor, prediction: &Tensor) -> Tensor {
        let step = self.steps[index];
        FlowSchedule::euler(latents, prediction, step.upper, step.lower)
    }
}
