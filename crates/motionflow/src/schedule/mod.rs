//! The noise schedule of a checkpoint and the moves along it, up for an inversion and down for sampling: of diffusion (DDIM)
//! or of flow matching (Euler), behind one face.

mod diffusion;
mod flow;

use tch::Tensor;

pub use self::diffusion::DiffusionSchedule;
pub(crate) use self::flow::class_names as flow_class_names;
pub use self::flow::{FlowConfig, FlowSchedule};
use crate::error::Error;
use crate::nets::config::ConfigError;
pub use crate::schedule_config::{BetaSchedule, PredictionType, ScheduleConfig, Switches};
use crate::settings::SamplerName;
use crate::timestep::Timestep;

/// A noise schedule.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// z = √ᾱ·x₀ + √(1−ᾱ)·ε
    Diffusion(Box<DiffusionSchedule>),
    /// z = (1−σ)·x₀ + σ·ε
    Flow(FlowSchedule),
}

/// One step between two neighbouring noise levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Names the step among those of an inversion: in a schedule of diffusion its timestep, in one of flow matching its
    /// number, counted from 0, the cleanest.
    pub key: i64,
    /// What the net is told, on the way up as on the way down.
    pub timestep: Timestep,
    /// The less noisy level: ᾱ, or σ.
    pub(crate) lower: f64,
    /// The noisier level.
    pub(crate) upper: f64,
}

impl Schedule {
    /// A schedule of diffusion.
    ///
    /// # Errors
    /// As [`DiffusionSchedule::new`].
    pub fn new(config: &ScheduleConfig) -> Result<Self, ConfigError> {
        DiffusionSchedule::new(config).map(|schedule| Self::Diffusion(Box::new(schedule)))
    }

    /// The sampler that suits a transfer on it: the one that a config of diffusion names, DDIM where it names none of those
    /// that there are; Euler of flow matching, whatever the config names.
    pub fn sampler(&self) -> SamplerName {
        match self {
            Self::Diffusion(diffusion) => diffusion.sampler(),
            Self::Flow(_) => SamplerName::Euler,
        }
    }

    /// How many timesteps the net was trained with: they are 0 to one fewer.
    pub fn train_timesteps(&self) -> usize {
        match self {
            Self::Diffusion(diffusion) => diffusion.train_timesteps(),
            Self::Flow(flow) => flow.train_timesteps(),
        }
    }

    /// The most steps that an inversion can have.
    pub fn max_steps(&self) -> usize {
        match self {
            Self::Diffusion(diffusion) => diffusion.max_steps(),
            Self::Flow(flow) => flow.train_timesteps(),
        }
    }

    /// The steps in the order of inversion, noise ascending. `steps` is 1 to [`max_steps`](Self::max_steps).
    pub fn ascending(&self, steps: usize) -> Vec<Step> {
        match self {
            Self::Diffusion(diffusion) => diffusion.ascending(steps),
            Self::Flow(flow) => flow.ascending(steps),
        }
    }

    /// Checks that so many steps of an inversion can be made.
    ///
    /// # Errors
    /// [`Error::Settings`] for a number of steps that does not fit, [`Error::Config`] for a scheduler's config whose
    /// inversion is not defined.
    pub fn check_inversion(&self, steps: usize) -> Result<(), Error> {
        match self {
            Self::Diffusion(diffusion) => diffusion.check_inversion(steps),
            Self::Flow(flow) => flow.check_inversion(steps),
        }
    }

    /// Clean latents with the noise of a timestep, 0 to one fewer than [`train_timesteps`](Self::train_timesteps). Same shape
    /// out, float32.
    pub fn add_noise(&self, latents: &Tensor, noise: &Tensor, timestep: i64) -> Tensor {
        match self {
            Self::Diffusion(diffusion) => diffusion.add_noise(latents, noise, timestep),
            Self::Flow(flow) => flow.add_noise(latents, noise, timestep),
        }
    }

    /// Moves latents up a step. The prediction was made on latents that are still at its lower level, told the timestep of its
    /// upper one. Same shape out, float32.
    pub fn add_noise_step(&self, latents: &Tensor, prediction: &Tensor, step: Step) -> Tensor {
        match self {
            Self::Diffusion(diffusion) => diffusion.add_noise_step(latents, prediction, step),
            Self::Flow(_) => FlowSchedule::euler(latents, prediction, step.lower, step.upper),
        }
    }

    /// Moves latents down a step. Same shape out, float32.
    pub fn remove_noise_step(&self, latents: &Tensor, prediction: &Tensor, step: Step) -> Tensor {
        match self {
            Self::Diffusion(diffusion) => diffusion.remove_noise_step(latents, prediction, step),
            Self::Flow(_) => FlowSchedule::euler(latents, prediction, step.upper, step.lower),
        }
    }
}
