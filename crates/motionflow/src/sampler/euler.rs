//! Euler along the noise levels of flow matching, as diffusers' `FlowMatchEulerDiscreteScheduler` computes it.

use tch::Tensor;

use crate::schedule::{FlowSchedule, Step};
use crate::timestep::Timestep;

/// Its steps, noise descending.
#[derive(Debug)]
pub(super) struct Euler {
    steps: Vec<Step>,
}

impl Euler {
    pub(super) fn new(schedule: &FlowSchedule, steps: usize) -> Self {
        let mut steps = schedule.ascending(steps);
        steps.reverse();
        Self { steps }
    }

    pub(super) fn timesteps(&self) -> Vec<Timestep> {
        self.steps.iter().map(|step| step.timestep).collect()
    }

    pub(super) fn keys(&self) -> Vec<i64> {
        self.steps.iter().map(|step| step.key).collect()
    }

    /// σ/(1−σ), infinite where there is no signal; what float32 makes of some shifts lies a little above 1.
    pub(super) fn noise_level(&self, index: usize) -> f64 {
        let sigma = self.steps[index].upper;
        sigma / (1.0 - sigma).max(0.0)
    }

    /// The latents after the step, of the same shape, float32.
    pub(super) fn step(&self, index: usize, latents: &Tensor, prediction: &Tensor) -> Tensor {
        let step = self.steps[index];
        FlowSchedule::euler(latents, prediction, step.upper, step.lower)
    }
}
