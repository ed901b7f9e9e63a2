//! The noise schedule and the deterministic DDIM moves along it, forward and back.
//!
//! "Denoising Diffusion Implicit Models" (<https://arxiv.org/abs/2010.02502>), as diffusers' `DDIMScheduler` and
//! `DDIMInverseScheduler` compute them.

use tch::{Device, Kind, Tensor};

use super::Step;
use crate::error::Error;
use crate::multistep_config::MultistepConfig;
use crate::nets::config::ConfigError;
use crate::schedule_config::{BetaSchedule, PredictionType, Resolved, ScheduleConfig};
use crate::settings::{SamplerName, SettingsError, TimestepSpacing};
use crate::spacing;

/// ᾱ of every timestep, and the moves between them.
#[derive(Debug, Clone)]
pub struct DiffusionSchedule {
    alphas_cumprod: Vec<f64>,
    final_alpha_cumprod: f64,
    pub(crate) steps_offset: i64,
    pub(crate) prediction_type: PredictionType,
    /// Whether β is a squared cosine's.
    pub(crate) is_cosine: bool,
    /// Whether ᾱ of the last timestep is 0.
    pub(crate) zero_snr: bool,
    /// x₀ is clipped to ± this in every step of DDIM, as diffusers does where `clip_sample` says so.
    clip: Option<f64>,
    /// Where the timesteps lie, where the config says so.
    pub(crate) spacing: Option<TimestepSpacing>,
    /// The sampler that the config names.
    pub(crate) sampler: SamplerName,
    pub(crate) multistep: MultistepConfig,
}

impl DiffusionSchedule {
    /// Computes ᾱ in float32, as diffusers does.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn new(config: &ScheduleConfig) -> Result<Self, ConfigError> {
        let resolved = config.resolve()?;
        let betas = betas(config, &resolved);
        let betas = if resolved.zero_snr { rescaled_to_zero_snr(&betas) } else { betas };
        let alphas_cumprod = (-betas + 1.0).cumprod(0, Kind::Float);
        let alphas_cumprod = Vec::<f32>::try_from(&alphas_cumprod).unwrap_or_default();
        let last = alphas_cumprod.len().saturating_sub(1);
        let is_level = |(index, alpha): (usize, &f32)| {
            *alpha <= 1.0
                && (*alpha > 0.0 || (*alpha == 0.0 && resolved.zero_snr && index == last && last > 0))
        };
        if alphas_cumprod.is_empty() || !alphas_cumprod.iter().enumerate().all(is_level) {
            if config.trained_betas.is_some() {
                let (found, expected) =
                    ("such that nothing of the signal is left", "0 < beta < 1, and small enough");
                return Err(ConfigError::new("scheduler", "trained_betas", found, expected));
            }
            let found = resolved.betas;
            return Err(ConfigError::new("scheduler", "beta_start, beta_end", found, "0 < beta < 1"));
        }
        let alphas_cumprod: Vec<f64> = alphas_cumprod.into_iter().map(f64::from).collect();
        let final_alpha_cumprod = if resolved.set_alpha_to_one { 1.0 } else { alphas_cumprod[0] };
        Ok(Self {
            alphas_cumprod,
            final_alpha_cumprod,
            steps_offset: config.steps_offset,
            prediction_type: resolved.prediction_type,
            is_cosine: resolved.beta_schedule == BetaSchedule::SquaredcosCapV2,
            zero_snr: resolved.zero_snr,
            clip: resolved.clip,
            spacing: resolved.timestep_spacing,
            sampler: config.sampler(),
            multistep: config.multistep.clone(),
        })
    }

    /// The sampler that the config names: DDIM where it names none of those that there are.
    pub fn sampler(&self) -> SamplerName {
        self.sampler
    }

    /// ᾱ of every timestep.
    pub(crate) fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// Where the inversion's timesteps lie, and DDIM's where nothing else is said.
    pub(crate) fn ddim_spacing(&self) -> TimestepSpacing {
        self.spacing.unwrap_or(TimestepSpacing::Leading)
    }

    /// Timesteps between two neighbours when `steps` of them are taken.
    fn stride(&self, steps: usize) -> i64 {
        self.alphas_cumprod.len() as i64 / steps as i64
    }

    /// How many timesteps the net was trained with: they are 0 to one fewer.
    pub fn train_timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// The most steps that fit between the first and the last timestep.
    pub fn max_steps(&self) -> usize {
        let count = self.alphas_cumprod.len();
        (1..=count).rev().find(|steps| self.check_fit(*steps, self.ddim_spacing()).is_ok()).unwrap_or(1)
    }

    /// Checks that so many steps of DDIM fit between the first and the last timestep.
    pub(crate) fn check_fit(&self, steps: usize, spacing: TimestepSpacing) -> Result<(), SettingsError> {
        spacing::check(&self.timesteps(steps, spacing), steps, self.alphas_cumprod.len(), spacing)
    }

    /// DDIM's timesteps, ascending.
    pub(crate) fn timesteps(&self, steps: usize, spacing: TimestepSpacing) -> Vec<i64> {
        let count = self.alphas_cumprod.len();
        match spacing {
            TimestepSpacing::Leading => spacing::leading(self.stride(steps), steps, self.steps_offset),
            TimestepSpacing::Linspace => spacing::linspace(count, steps),
            TimestepSpacing::Trailing => spacing::trailing(count, count, steps),
        }
    }

    /// The steps in the order of inversion, noise ascending, as `DDIMInverseScheduler` spaces them: tᵢ = i·(train div steps) +
    /// offset where the config does not say otherwise. Each has the lower level that lies before it. `steps` is 1 to
    /// [`max_steps`](Self::max_steps).
    pub fn ascending(&self, steps: usize) -> Vec<Step> {
        self.ascending_in(steps, self.ddim_spacing())
    }

    pub(crate) fn ascending_in(&self, steps: usize, spacing: TimestepSpacing) -> Vec<Step> {
        let stride = self.stride(steps);
        let step = |timestep: i64| Step {
            key: timestep,
            timestep: timestep.into(),
            lower: self.alpha_cumprod(timestep - stride),
            upper: self.alpha_cumprod(timestep),
        };
        self.timesteps(steps, spacing).into_iter().map(step).collect()
    }

    /// Checks that so many steps of an inversion can be made.
    ///
    /// # Errors
    /// [`Error::Settings`] for a number of steps that does not fit, [`Error::Config`] for a scheduler's config whose
    /// inversion is not defined.
    pub fn check_inversion(&self, steps: usize) -> Result<(), Error> {
        self.check_fit(steps, self.ddim_spacing())?;
        let is_clean = |step: &Step| step.lower >= 1.0;
        if self.prediction_type == PredictionType::Sample && self.ascending(steps).iter().any(is_clean) {
            let expected = "false for an inversion where prediction_type is sample: a clean sample does not tell the noise";
            return Err(ConfigError::new("scheduler", "set_alpha_to_one", true, expected).into());
        }
        Ok(())
    }

    fn alpha_cumprod(&self, timestep: i64) -> f64 {
        match usize::try_from(timestep) {
            Ok(timestep) => self.alphas_cumprod[timestep],
            Err(_) => self.final_alpha_cumprod,
        }
    }

    /// `z_t = √ᾱ_t·z₀ + √(1−ᾱ_t)·n`, as diffusers' `add_noise` has it; `timestep` is one that the net was trained with.
    /// Same shape out, float32.
    pub fn add_noise(&self, latents: &Tensor, noise: &Tensor, timestep: i64) -> Tensor {
        let alpha = self.alpha_cumprod(timestep);
        latents.to_kind(Kind::Float) * alpha.sqrt() + noise.to_kind(Kind::Float) * (1.0 - alpha).sqrt()
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
        let clean = self.prediction_type.clean(&z, &prediction, signal, noise);
        let epsilon = match self.prediction_type {
            PredictionType::Epsilon => prediction,
            PredictionType::VPrediction => &prediction * signal + &z * noise,
            PredictionType::Sample => (&z - &clean * signal) / noise,
        };
        let clean = self.clip.map_or_else(|| clean.shallow_clone(), |range| clean.clamp(-range, range));
        clean * to.sqrt() + epsilon * (1.0 - to).sqrt()
    }
}

impl PredictionType {
    /// x₀ of latents z = `signal`·x₀ + `noise`·ε and the net's prediction, all of one shape, float32.
    pub(crate) fn clean(self, z: &Tensor, prediction: &Tensor, signal: f64, noise: f64) -> Tensor {
        match self {
            Self::Epsilon => (z - prediction * noise) / signal,
            Self::VPrediction => z * signal - prediction * noise,
            Self::Sample => prediction.shallow_clone(),
        }
    }
}

/// β such that ᾱ of the last timestep is 0, and of the first as it was: algorithm 1 of <https://arxiv.org/abs/2305.08891>.
fn rescaled_to_zero_snr(betas: &Tensor) -> Tensor {
    let signal = (-betas + 1.0).cumprod(0, Kind::Float).sqrt();
    let count = signal.size()[0];
    let (first, last) = (signal.get(0), signal.get(count - 1));
    let signal = (&signal - &last) * (&first / (&first - &last));
    let alphas_cumprod = signal.square();
    let alphas = alphas_cumprod.narrow(0, 1, count - 1) / alphas_cumprod.narrow(0, 0, count - 1);
    -Tensor::cat(&[&alphas_cumprod.narrow(0, 0, 1), &alphas], 0) + 1.0
}

/// β of every timestep, float32.
fn betas(config: &ScheduleConfig, resolved: &Resolved) -> Tensor {
    let count = config.num_train_timesteps;
    let line = |start: f64, end: f64| Tensor::linspace(start, end, count, (Kind::Float, Device::Cpu));
    if let Some(betas) = &config.trained_betas {
        return Tensor::from_slice(betas).to_kind(Kind::Float);
    }
    let (start, end) = resolved.betas;
    match resolved.beta_schedule {
        BetaSchedule::Linear => line(start, end),
        BetaSchedule::ScaledLinear => line(start.sqrt(), end.sqrt()).square(),
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

    fn zeroscope() -> DiffusionSchedule {
        DiffusionSchedule::new(&zeroscopes_config()).unwrap()
    }

    fn zeroscopes_config() -> ScheduleConfig {
        ScheduleConfig {
            class_name: Some("DDIMScheduler".into()),
            beta_start: Some(0.00085),
            beta_end: Some(0.012),
            beta_schedule: "scaled_linear".into(),
            set_alpha_to_one: Some(false),
            steps_offset: 1,
            clip_sample: Some(false),
            ..ScheduleConfig::default()
        }
    }

    #[test]
    fn timesteps_are_spaced_from_the_front() {
        let timesteps: Vec<i64> = zeroscope().ascending(50).iter().map(|step| step.key).collect();
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
        assert!(last.key < 1000);
        let message = schedule.check_inversion(1000).unwrap_err().to_string();
        assert!(message.contains("steps is 1000"), "offset 1 pushes the 1000th step out of range: {message}");
    }

    #[test]
    fn clipping_is_diffusers() {
        // DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        // set_alpha_to_one=False): at 10 steps, t = 901, x₀ = (z - √(1-ᾱ)·ε)/√ᾱ is clipped to ±1, ε is not.
        let schedule =
            DiffusionSchedule::new(&ScheduleConfig { clip_sample: None, ..zeroscopes_config() }).unwrap();
        let step = schedule.ascending(10)[9];
        let (z, noise) = (Tensor::from_slice(&[2f32, -2.0, 0.01]), Tensor::from_slice(&[0.5f32, 0.25, 0.01]));
        let next = Vec::<f32>::try_from(&schedule.remove_noise_step(&z, &noise, step)).unwrap();
        let (signal, blur) = (step.lower.sqrt(), (1.0 - step.lower).sqrt());
        let clean = (0.01 - (1.0 - step.upper).sqrt() * 0.01) / step.upper.sqrt();
        let expected = [signal + blur * 0.5, -signal + blur * 0.25, signal * clean + blur * 0.01];
        for (next, expected) in next.iter().zip(expected) {
            assert!((f64::from(*next) - expected).abs() < 1e-5, "{next} {expected}");
        }
        let plain = zeroscope().remove_noise_step(&z, &noise, step);
        assert!(plain.double_value(&[0]) > 2.0 * expected[0], "nothing is clipped where the file says so");
    }
}
