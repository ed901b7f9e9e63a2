//! The noise levels of flow matching (<https://arxiv.org/abs/2210.02747>), shifted for the resolution
//! (<https://arxiv.org/abs/2403.03206>), as diffusers' `FlowMatchEulerDiscreteScheduler` computes them.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::Step;
use crate::error::Error;
use crate::multistep_config::MultistepConfig;
use crate::nets::config::{ConfigError, count};
use crate::settings::SettingsError;
use crate::timestep::Timestep;

/// The settings of a flow-matching `scheduler_config.json` that change the arithmetic: of `FlowMatchEulerDiscreteScheduler`, or
/// of `UniPCMultistepScheduler` with `use_flow_sigmas`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct FlowConfig {
    /// The scheduler's class.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Timesteps in training.
    pub num_train_timesteps: i64,
    /// The shift, in a file of `FlowMatchEulerDiscreteScheduler`.
    pub shift: Option<f64>,
    /// The same in one of `UniPCMultistepScheduler`.
    pub flow_shift: Option<f64>,
    /// Of UniPC; must be `flow_prediction`.
    pub prediction_type: Option<String>,
    /// Of UniPC; must be true.
    pub use_flow_sigmas: Option<bool>,
    /// Must be false: the shift would depend on the resolution.
    pub use_dynamic_shifting: Option<bool>,
    /// Must be false: other noise levels.
    pub use_exponential_sigmas: Option<bool>,
    /// Must be false: other noise levels.
    pub use_beta_sigmas: Option<bool>,
    /// Must be false: noise is added in every step.
    pub stochastic_sampling: Option<bool>,
    /// Must be false: levels in the other direction.
    pub invert_sigmas: Option<bool>,
    /// Must be absent: the last level is shifted to it.
    pub shift_terminal: Option<f64>,
    /// Must be false: x₀ is clipped in every step.
    pub thresholding: Option<bool>,
    /// What UniPC reads besides; `use_karras_sigmas` must be false: other noise levels.
    #[serde(flatten)]
    pub multistep: MultistepConfig,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            class_name: "FlowMatchEulerDiscreteScheduler".into(),
            num_train_timesteps: 1000,
            shift: None,
            flow_shift: None,
            prediction_type: None,
            use_flow_sigmas: None,
            use_dynamic_shifting: None,
            use_exponential_sigmas: None,
            use_beta_sigmas: None,
            stochastic_sampling: None,
            invert_sigmas: None,
            shift_terminal: None,
            thresholding: None,
            multistep: MultistepConfig::default(),
        }
    }
}

const EULER: &str = "FlowMatchEulerDiscreteScheduler";
const UNIPC: &str = "UniPCMultistepScheduler";

/// The names of the classes whose file describes a schedule of flow matching.
pub(crate) fn class_names() -> Vec<&'static str> {
    vec![UNIPC, EULER]
}

/// Noise levels σ from 1 down to 0.
#[derive(Debug, Clone)]
pub struct FlowSchedule {
    shift: f64,
    train_timesteps: usize,
    pub(crate) multistep: Box<MultistepConfig>,
}

impl FlowSchedule {
    /// As the config of a checkpoint says.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn new(config: &FlowConfig) -> Result<Self, ConfigError> {
        let wrong = |key: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(ConfigError::new("scheduler", key, found, expected))
        };
        let shift = match config.class_name.as_str() {
            EULER => config.shift,
            UNIPC => {
                let prediction = config.prediction_type.as_deref().unwrap_or("epsilon");
                if prediction != "flow_prediction" {
                    return wrong("prediction_type", &prediction, "flow_prediction");
                }
                if config.use_flow_sigmas != Some(true) {
                    return wrong("use_flow_sigmas", &config.use_flow_sigmas.unwrap_or(false), "true");
                }
                config.flow_shift
            }
            other => return wrong("_class_name", &other, &format!("{UNIPC} or {EULER}")),
        };
        for (key, value) in [
            ("use_dynamic_shifting", config.use_dynamic_shifting),
            ("use_karras_sigmas", config.multistep.use_karras_sigmas),
            ("use_exponential_sigmas", config.use_exponential_sigmas),
            ("use_beta_sigmas", config.use_beta_sigmas),
            ("stochastic_sampling", config.stochastic_sampling),
            ("invert_sigmas", config.invert_sigmas),
            ("thresholding", config.thresholding),
        ] {
            if value == Some(true) {
                return wrong(key, &true, "false");
            }
        }
        if config.shift_terminal.is_some() {
            return wrong("shift_terminal", &config.shift_terminal, "null");
        }
        count("scheduler", "num_train_timesteps", config.num_train_timesteps)?;
        if config.num_train_timesteps > 100_000 {
            return wrong("num_train_timesteps", &config.num_train_timesteps, "at most 100000");
        }
        let shift = shift.unwrap_or(1.0);
        // With a smaller one 1 + (shift − 1) is lost in float32, and the first level is not 1.
        if !(0.1..=1000.0).contains(&shift) {
            let key = if config.class_name == EULER { "shift" } else { "flow_shift" };
            return wrong(key, &shift, "0.1 to 1000");
        }
        let train_timesteps = usize::try_from(config.num_train_timesteps).unwrap_or(1);
        Ok(Self { shift, train_timesteps, multistep: Box::new(config.multistep.clone()) })
    }

    /// How many timesteps the net was trained with.
    pub(crate) fn train_timesteps(&self) -> usize {
        self.train_timesteps
    }

    /// shift·σ / (1 + (shift − 1)·σ)
    pub(crate) fn shifted(&self, sigma: f64) -> f64 {
        self.shift * sigma / (1.0 + (self.shift - 1.0) * sigma)
    }

    /// σ at the beginning of each of so many steps, descending, and 0 behind the last: each a number of float32. The smallest
    /// one is shifted twice, as in diffusers.
    pub(crate) fn sigmas(&self, steps: usize) -> Vec<f64> {
        let trained = self.train_timesteps as f64;
        // In float32, as diffusers has its ends.
        let end = |sigma: f32| {
            let (shift, more) = (self.shift as f32, (self.shift - 1.0) as f32);
            f64::from(shift * sigma / (1.0 + more * sigma)) * trained
        };
        let (first, last) = (end(1.0), end((1.0 / trained) as f32));
        let between = if steps > 1 { (last - first) / (steps - 1) as f64 } else { 0.0 };
        let at = |index: usize| {
            let exact = if index > 0 && index + 1 == steps { last } else { index as f64 * between + first };
            f64::from(self.shifted(exact / trained) as f32)
        };
        (0..steps).map(at).chain([0.0]).collect()
    }

    /// The steps in the order of inversion, noise ascending.
    pub(crate) fn ascending(&self, steps: usize) -> Vec<Step> {
        let sigmas = self.sigmas(steps);
        let step = |key: usize| {
            let upper = sigmas[steps - 1 - key];
            let timestep = Timestep::from(f64::from(upper as f32 * self.train_timesteps as f32));
            Step { key: key as i64, timestep, lower: sigmas[steps - key], upper }
        };
        (0..steps).map(step).collect()
    }

    /// As [`super::Schedule::check_inversion`].
    pub(crate) fn check_inversion(&self, steps: usize) -> Result<(), Error> {
        if (1..=self.train_timesteps).contains(&steps) {
            return Ok(());
        }
        let expected = format!("1 to {}", self.train_timesteps);
        Err(SettingsError { name: "steps", found: steps.to_string(), expected }.into())
    }

    /// `(1−σ)·z + σ·n` at σ = timestep / timesteps in training. Same shape out, float32.
    pub(crate) fn add_noise(&self, latents: &Tensor, noise: &Tensor, timestep: i64) -> Tensor {
        let sigma = timestep as f64 / self.train_timesteps as f64;
        latents.to_kind(Kind::Float) * (1.0 - sigma) + noise.to_kind(Kind::Float) * sigma
    }

    /// `z + (σ_to − σ_from)·v`. Same shape out, float32.
    pub(crate) fn euler(latents: &Tensor, velocity: &Tensor, from: f64, to: f64) -> Tensor {
        latents.to_kind(Kind::Float) + velocity.to_kind(Kind::Float) * (to - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_diffusers() {
        // FlowMatchEulerDiscreteScheduler(shift=3.0).set_timesteps(6): sigmas, timesteps
        let schedule = FlowSchedule::new(&FlowConfig { shift: Some(3.0), ..FlowConfig::default() }).unwrap();
        let sigmas = schedule.sigmas(6);
        assert_eq!((sigmas.len(), sigmas[0], sigmas[6]), (7, 1.0, 0.0));
        assert!(sigmas.is_sorted_by(|one, other| one > other), "{sigmas:?}");
        let steps = schedule.ascending(6);
        assert_eq!((steps[0].key, steps[0].lower, steps[5].timestep.value()), (0, 0.0, 1000.0));
        assert!(steps.windows(2).all(|pair| pair[0].upper.to_bits() == pair[1].lower.to_bits()));
    }

    /// `set_timesteps(3)` of `FlowMatchEulerDiscreteScheduler`, where float32 rounds the shift and the shift less 1.
    #[test]
    fn levels_are_those_of_diffusers_where_the_shift_is_rounded() {
        for (shift, expected) in [
            (0.66, [1.000_000_2_f32, 0.397_906_72, 0.000_435_846, 0.0]),
            (2.36, [0.999_999_94, 0.703_365_3, 0.005_544_265, 0.0]),
        ] {
            let config = FlowConfig { shift: Some(shift), ..FlowConfig::default() };
            assert_eq!(FlowSchedule::new(&config).unwrap().sigmas(3), expected.map(f64::from), "{shift}");
        }
    }

    #[test]
    fn what_is_no_flow_is_refused_by_name() {
        let of = |json: &str| FlowSchedule::new(&serde_json::from_str(json).unwrap());
        let unipc = |keys: &str| of(&format!("{{\"_class_name\": \"UniPCMultistepScheduler\"{keys}}}"));
        let flow = r#", "prediction_type": "flow_prediction", "use_flow_sigmas": true, "flow_shift": 5.0"#;
        assert!((unipc(flow).unwrap().shift - 5.0).abs() < f64::EPSILON);
        for (keys, key) in [
            ("", "prediction_type is \"epsilon\""),
            (r#", "prediction_type": "flow_prediction""#, "use_flow_sigmas is false"),
            (&format!("{flow}, \"use_karras_sigmas\": true"), "use_karras_sigmas is true"),
            (&format!("{flow}, \"use_dynamic_shifting\": true"), "use_dynamic_shifting is true"),
            (&format!("{flow}, \"shift_terminal\": 0.1"), "shift_terminal"),
            (
                r#", "prediction_type": "flow_prediction", "use_flow_sigmas": true, "flow_shift": 0"#,
                "flow_shift is 0",
            ),
        ] {
            let message = unipc(keys).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
        assert!(of(r#"{"_class_name": "DDIMScheduler"}"#).is_err());
    }
}
