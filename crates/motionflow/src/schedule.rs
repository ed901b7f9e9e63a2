//! The noise schedule and the deterministic DDIM moves along it, forward and back.
//!
//! "Denoising Diffusion Implicit Models" (<https://arxiv.org/abs/2010.02502>), as diffusers' `DDIMScheduler` and
//! `DDIMInverseScheduler` compute them.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::nets::config::{ConfigError, count};

/// How β goes from its first to its last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// In equal steps.
    Linear,
    /// The square roots go in equal steps.
    ScaledLinear,
    /// From a squared cosine of ᾱ ("Improved DDPM", <https://arxiv.org/abs/2102.09672>).
    SquaredcosCapV2,
}

/// What the net predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise ε.
    Epsilon,
    /// v = √ᾱ·ε − √(1−ᾱ)·x₀ ("Progressive Distillation", <https://arxiv.org/abs/2202.00512>).
    VPrediction,
}

/// The settings of `scheduler/scheduler_config.json` that change the arithmetic. The file may have been written for
/// another scheduler of the same family: the schedule of noise is what counts, the sampling here is always DDIM.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "as the file has them")]
pub struct ScheduleConfig {
    /// Timesteps in training.
    pub num_train_timesteps: i64,
    /// First β.
    pub beta_start: f64,
    /// Last β.
    pub beta_end: f64,
    /// What lies between.
    pub beta_schedule: BetaSchedule,
    /// All β at once, instead of the three above.
    pub trained_betas: Option<Vec<f64>>,
    /// Whether ᾱ before the first timestep is 1 rather than that of timestep 0.
    pub set_alpha_to_one: bool,
    /// Added to every timestep.
    pub steps_offset: i64,
    /// Must be false (a file that does not say means true to diffusers, but not in this family).
    pub clip_sample: bool,
    /// Must be false.
    pub thresholding: bool,
    /// Must be false.
    pub rescale_betas_zero_snr: bool,
    /// What the net predicts.
    pub prediction_type: PredictionType,
    /// Must be `leading`.
    pub timestep_spacing: String,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            set_alpha_to_one: true,
            steps_offset: 0,
            clip_sample: false,
            thresholding: false,
            rescale_betas_zero_snr: false,
            prediction_type: PredictionType::Epsilon,
            timestep_spacing: "leading".into(),
        }
    }
}

/// ᾱ of every timestep, and the moves between them.
#[derive(Debug, Clone)]
pub struct Schedule {
    alphas_cumprod: Vec<f64>,
    final_alpha_cumprod: f64,
    steps_offset: i64,
    prediction_type: PredictionType,
}

impl ScheduleConfig {
    /// Checks that the schedule can be computed.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(ConfigError::new("scheduler", key, found, expected))
        };
        if self.num_train_timesteps > 100_000 {
            return wrong("num_train_timesteps", &self.num_train_timesteps, "at most 100000");
        }
        count("scheduler", "num_train_timesteps", self.num_train_timesteps)?;
        if self.clip_sample {
            return wrong("clip_sample", &true, "false");
        }
        if self.thresholding {
            return wrong("thresholding", &true, "false");
        }
        if self.rescale_betas_zero_snr {
            return wrong("rescale_betas_zero_snr", &true, "false");
        }
        if self.timestep_spacing != "leading" {
            return wrong("timestep_spacing", &self.timestep_spacing, "leading");
        }
        if !(0..self.num_train_timesteps).contains(&self.steps_offset) {
            return wrong("steps_offset", &self.steps_offset, "0 or more, below num_train_timesteps");
        }
        let betas = self.trained_betas.as_ref().map(Vec::len);
        if betas.is_some_and(|betas| betas as i64 != self.num_train_timesteps) {
            return wrong("trained_betas", &betas.unwrap_or(0), "one number a timestep");
        }
        Ok(())
    }
}

impl Schedule {
    /// Computes ᾱ in float32, as diffusers does.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn new(config: &ScheduleConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let alphas_cumprod = (-betas(config) + 1.0).cumprod(0, Kind::Float);
        let alphas_cumprod = Vec::<f32>::try_from(&alphas_cumprod).unwrap_or_default();
        if alphas_cumprod.is_empty() || !alphas_cumprod.iter().all(|alpha| *alpha > 0.0 && *alpha <= 1.0) {
            let found = (config.beta_start, config.beta_end);
            return Err(ConfigError::new("scheduler", "beta_start, beta_end", found, "0 < beta < 1"));
        }
        let alphas_cumprod: Vec<f64> = alphas_cumprod.into_iter().map(f64::from).collect();
        let final_alpha_cumprod = if config.set_alpha_to_one { 1.0 } else { alphas_cumprod[0] };
        Ok(Self {
            alphas_cumprod,
            final_alpha_cumprod,
            steps_offset: config.steps_offset,
            prediction_type: config.prediction_type,
        })
    }

    /// Timesteps between two neighbours when `steps` of them are taken.
    fn stride(&self, steps: usize) -> i64 {
        self.alphas_cumprod.len() as i64 / steps as i64
    }

    /// The most steps that fit between the first and the last timestep.
    pub fn max_steps(&self) -> usize {
        let count = self.alphas_cumprod.len();
        (1..=count).rev().find(|steps| self.fits(*steps)).unwrap_or(1)
    }

    fn fits(&self, steps: usize) -> bool {
        let last = (steps as i64 - 1) * self.stride(steps) + self.steps_offset;
        last < self.alphas_cumprod.len() as i64
    }

    /// The steps in the order of inversion, noise ascending: tᵢ = i·(train div steps) + offset ('leading' spacing).
    /// Each has the lower level that lies before it. `steps` is 1 to [`max_steps`](Self::max_steps).
    pub fn ascending(&self, steps: usize) -> Vec<Step> {
        let stride = self.stride(steps);
        let at = |index: usize| {
            let timestep = index as i64 * stride + self.steps_offset;
            Step {
                timestep,
                lower: self.alpha_cumprod(timestep - stride),
                upper: self.alpha_cumprod(timestep),
            }
        };
        (0..steps).map(at).collect()
    }

    /// The steps in the order of sampling, noise descending.
    pub fn descending(&self, steps: usize) -> Vec<Step> {
        self.ascending(steps).into_iter().rev().collect()
    }

    fn alpha_cumprod(&self, timestep: i64) -> f64 {
        match usize::try_from(timestep) {
            Ok(timestep) => self.alphas_cumprod[timestep],
            Err(_) => self.final_alpha_cumprod,
        }
    }

    /// Moves latents up to the noise level of `step`. The prediction was made on latents that are still at the lower
    /// level, as `DDIMInverseScheduler` does it. Same shape out, float32.
    pub fn add_noise_step(&self, latents: &Tensor, prediction: &Tensor, step: Step) -> Tensor {
        self.ddim_move(latents, prediction, step.lower, step.upper)
    }

    /// Moves latents down from the noise level of `step`. Same shape out, float32.
    pub fn remove_noise_step(&self, latents: &Tensor, prediction: &Tensor, step: Step) -> Tensor {
        self.ddim_move(latents, prediction, step.upper, step.lower)
    }

    /// `x₀ = (z − √(1−ᾱ_from)·ε)/√ᾱ_from, z ← √ᾱ_to·x₀ + √(1−ᾱ_to)·ε`
    fn ddim_move(&self, latents: &Tensor, prediction: &Tensor, from: f64, to: f64) -> Tensor {
        let (z, prediction) = (latents.to_kind(Kind::Float), prediction.to_kind(Kind::Float));
        let (signal, noise) = (from.sqrt(), (1.0 - from).sqrt());
        let (clean, epsilon) = match self.prediction_type {
            PredictionType::Epsilon => ((&z - &prediction * noise) / signal, prediction),
            PredictionType::VPrediction => {
                (&z * signal - &prediction * noise, &prediction * signal + &z * noise)
            }
        };
        clean * to.sqrt() + epsilon * (1.0 - to).sqrt()
    }
}

/// One step along the schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The timestep that the net is told.
    pub timestep: i64,
    /// ᾱ of the less noisy side.
    lower: f64,
    /// ᾱ at the timestep.
    upper: f64,
}

/// β of every timestep, float32.
fn betas(config: &ScheduleConfig) -> Tensor {
    let count = config.num_train_timesteps;
    let line = |start: f64, end: f64| Tensor::linspace(start, end, count, (Kind::Float, Device::Cpu));
    if let Some(betas) = &config.trained_betas {
        return Tensor::from_slice(betas).to_kind(Kind::Float);
    }
    match config.beta_schedule {
        BetaSchedule::Linear => line(config.beta_start, config.beta_end),
        BetaSchedule::ScaledLinear => line(config.beta_start.sqrt(), config.beta_end.sqrt()).square(),
        BetaSchedule::SquaredcosCapV2 => {
            let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let beta = |i: i64| {
                let (start, end) = (i as f64 / count as f64, (i + 1) as f64 / count as f64);
                (1.0 - alpha_bar(end) / alpha_bar(start)).min(0.999)
            };
            Tensor::from_slice(&(0..count).map(beta).collect::<Vec<_>>()).to_kind(Kind::Float)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeroscope() -> Schedule {
        let config = ScheduleConfig {
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            set_alpha_to_one: false,
            steps_offset: 1,
            ..ScheduleConfig::default()
        };
        Schedule::new(&config).unwrap()
    }

    #[test]
    fn timesteps_are_spaced_from_the_front() {
        let timesteps: Vec<i64> = zeroscope().ascending(50).iter().map(|step| step.timestep).collect();
        assert_eq!(timesteps[..3], [1, 21, 41]);
        assert_eq!(timesteps[49], 981);
    }

    #[test]
    fn alphas_are_those_of_diffusers() {
        // DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
        let schedule = zeroscope();
        assert!((schedule.alpha_cumprod(0) - 0.999_15).abs() < 1e-6);
        assert!((schedule.alpha_cumprod(999) - 0.004_660_1).abs() < 1e-6);
    }

    #[test]
    fn a_step_down_undoes_a_step_up_with_the_same_prediction() {
        let schedule = zeroscope();
        tch::manual_seed(0);
        let options = (Kind::Float, Device::Cpu);
        let (z, noise) = (Tensor::randn([1, 4, 2, 3, 3], options), Tensor::randn([1, 4, 2, 3, 3], options));
        for step in schedule.ascending(10) {
            let back = schedule.remove_noise_step(&schedule.add_noise_step(&z, &noise, step), &noise, step);
            assert!(back.allclose(&z, 1e-4, 1e-4, false));
        }
    }

    #[test]
    fn the_last_timestep_stays_below_the_number_trained_on() {
        let schedule = zeroscope();
        let last = schedule.ascending(schedule.max_steps()).pop().unwrap();
        assert!(last.timestep < 1000);
        assert!(!schedule.fits(1000), "offset 1 pushes the 1000th step out of range");
    }

    #[test]
    fn another_spacing_is_refused_by_name() {
        let config = ScheduleConfig { timestep_spacing: "trailing".into(), ..ScheduleConfig::default() };
        let message = Schedule::new(&config).unwrap_err().to_string();
        assert!(message.contains("timestep_spacing") && message.contains("leading"), "{message}");
    }
}
