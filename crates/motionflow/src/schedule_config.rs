//! `scheduler/scheduler_config.json`: which noise schedule a checkpoint was trained with.

use std::fmt::Debug;

use serde::{Deserialize, Deserializer};

use crate::multistep_config::MultistepConfig;
use crate::nets::config::{ConfigError, count};
use crate::settings::{SamplerName, TimestepSpacing};

/// How β goes from its first to its last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    /// In equal steps.
    Linear,
    /// The square roots go in equal steps.
    ScaledLinear,
    /// From a squared cosine of ᾱ ("Improved DDPM", <https://arxiv.org/abs/2102.09672>).
    SquaredcosCapV2,
}

/// What the net predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise ε.
    Epsilon,
    /// v = √ᾱ·ε − √(1−ᾱ)·x₀ ("Progressive Distillation", <https://arxiv.org/abs/2202.00512>).
    VPrediction,
    /// The clean sample x₀.
    Sample,
}

/// What a scheduler class of diffusers takes for keys that its file leaves out.
struct Class {
    name: &'static str,
    betas: (f64, f64),
    set_alpha_to_one: bool,
    clip_sample: bool,
}

const fn class(name: &'static str) -> Class {
    Class { name, betas: (0.0001, 0.02), set_alpha_to_one: true, clip_sample: false }
}

const fn clipping(name: &'static str) -> Class {
    Class { clip_sample: true, ..class(name) }
}

const fn narrow(name: &'static str) -> Class {
    Class { betas: (0.00085, 0.012), ..class(name) }
}

/// The classes whose file describes a β-schedule, with the defaults of diffusers 0.36. A class that does not know
/// `clip_sample` does not clip; one that does not know `set_alpha_to_one` has that of `DDIMScheduler`.
const CLASSES: [Class; 19] = [
    clipping("DDIMScheduler"),
    clipping("DDIMInverseScheduler"),
    clipping("DDIMParallelScheduler"),
    clipping("DDPMScheduler"),
    clipping("DDPMParallelScheduler"),
    Class { set_alpha_to_one: false, ..class("PNDMScheduler") },
    class("DEISMultistepScheduler"),
    class("DPMSolverMultistepScheduler"),
    class("DPMSolverMultistepInverseScheduler"),
    class("DPMSolverSinglestepScheduler"),
    narrow("DPMSolverSDEScheduler"),
    class("EulerAncestralDiscreteScheduler"),
    class("EulerDiscreteScheduler"),
    narrow("HeunDiscreteScheduler"),
    narrow("KDPM2AncestralDiscreteScheduler"),
    narrow("KDPM2DiscreteScheduler"),
    class("LMSDiscreteScheduler"),
    class("SASolverScheduler"),
    class("UniPCMultistepScheduler"),
];

/// The names of the classes whose file describes a β-schedule.
pub(crate) fn class_names() -> Vec<&'static str> {
    CLASSES.iter().map(|class| class.name).collect()
}

/// The settings of `scheduler/scheduler_config.json` that change the arithmetic. The file may have been written for
/// another scheduler of the same family than the one that is used, as with diffusers' `from_config`. What it leaves out of
/// the schedule of noise is what the class that it names takes by default, and what it leaves out of a sampler's own keys is
/// that sampler's default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ScheduleConfig {
    /// The scheduler's class: one whose file describes a β-schedule.
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,
    /// Timesteps in training.
    pub num_train_timesteps: i64,
    /// First β.
    pub beta_start: Option<f64>,
    /// Last β.
    pub beta_end: Option<f64>,
    /// What lies between: `linear`, `scaled_linear` or `squaredcos_cap_v2`.
    pub beta_schedule: String,
    /// All β at once, instead of the three above.
    pub trained_betas: Option<Vec<f64>>,
    /// Whether ᾱ before the first timestep is 1 rather than that of timestep 0.
    #[serde(deserialize_with = "null_is_false")]
    pub set_alpha_to_one: Option<bool>,
    /// Added to every timestep.
    pub steps_offset: i64,
    /// Whether x₀ is clipped in every step.
    #[serde(deserialize_with = "null_is_false")]
    pub clip_sample: Option<bool>,
    /// To ± this.
    pub clip_sample_range: f64,
    /// What the net predicts: `epsilon`, `v_prediction` or `sample`.
    pub prediction_type: String,
    /// Where the timesteps lie: `leading`, `linspace` or `trailing`.
    pub timestep_spacing: Option<String>,
    /// Whether ᾱ of the last timestep is 0 (<https://arxiv.org/abs/2305.08891>).
    pub rescale_betas_zero_snr: Option<bool>,
    /// Of DDPM; must not be `learned` or `learned_range`, for which the net has outputs of its own.
    pub variance_type: Option<String>,
    /// Of Euler's; must be `discrete`.
    pub timestep_type: Option<String>,
    /// Keys that must be false.
    #[serde(flatten)]
    pub switches: Switches,
    /// Keys of the multistep samplers.
    #[serde(flatten)]
    pub multistep: MultistepConfig,
}

/// A `null` is Python's `None`, which is as false; only an absent key is the class's default.
fn null_is_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Option::<bool>::deserialize(deserializer).map(|value| Some(value.unwrap_or(false)))
}

/// Keys that must be false: each is another schedule, or another step.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Switches {
    /// Dynamic thresholding of x₀.
    pub thresholding: Option<bool>,
    /// Other noise levels.
    pub use_exponential_sigmas: Option<bool>,
    /// Other noise levels.
    pub use_beta_sigmas: Option<bool>,
    /// Other noise levels.
    pub use_lu_lambdas: Option<bool>,
    /// Flow matching.
    pub use_flow_sigmas: Option<bool>,
    /// Flow matching.
    pub use_dynamic_shifting: Option<bool>,
}

impl Switches {
    fn on(&self) -> Option<&'static str> {
        let switches = [
            ("thresholding", self.thresholding),
            ("use_exponential_sigmas", self.use_exponential_sigmas),
            ("use_beta_sigmas", self.use_beta_sigmas),
            ("use_lu_lambdas", self.use_lu_lambdas),
            ("use_flow_sigmas", self.use_flow_sigmas),
            ("use_dynamic_shifting", self.use_dynamic_shifting),
        ];
        switches.into_iter().find(|(_, on)| *on == Some(true)).map(|(key, _)| key)
    }
}

/// As diffusers reads a file of `DDIMScheduler` with no key.
impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            class_name: None,
            num_train_timesteps: 1000,
            beta_start: None,
            beta_end: None,
            beta_schedule: "linear".into(),
            trained_betas: None,
            set_alpha_to_one: None,
            steps_offset: 0,
            clip_sample: None,
            clip_sample_range: 1.0,
            prediction_type: "epsilon".into(),
            timestep_spacing: None,
            rescale_betas_zero_snr: None,
            variance_type: None,
            timestep_type: None,
            switches: Switches::default(),
            multistep: MultistepConfig::default(),
        }
    }
}

/// A [`ScheduleConfig`] that can be run, filled in.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) betas: (f64, f64),
    pub(crate) beta_schedule: BetaSchedule,
    pub(crate) set_alpha_to_one: bool,
    /// x₀ is clipped to ± this.
    pub(crate) clip: Option<f64>,
    pub(crate) prediction_type: PredictionType,
    /// Where the file says so.
    pub(crate) timestep_spacing: Option<TimestepSpacing>,
    pub(crate) zero_snr: bool,
}

impl ScheduleConfig {
    /// The sampler that the file names. DDIM where it names none of those that there are.
    pub fn sampler(&self) -> SamplerName {
        match self.class_name.as_deref() {
            Some("DPMSolverMultistepScheduler") => SamplerName::Dpmpp2m,
            Some("UniPCMultistepScheduler") => SamplerName::UniPc,
            _ => SamplerName::Ddim,
        }
    }

    /// Checks that the schedule can be computed.
    ///
    /// # Errors
    /// [`ConfigError`] names the first key whose value this program cannot run.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.resolve().map(|_| ())
    }

    pub(crate) fn resolve(&self) -> Result<Resolved, ConfigError> {
        let wrong = |key: &str, found: &dyn Debug, expected: &str| {
            Err(ConfigError::new("scheduler", key, found, expected))
        };
        let one_of = || format!("a β-schedule's: {}", class_names().join(", "));
        let named = |name: &String| match CLASSES.iter().find(|class| class.name == name) {
            Some(class) => Ok(class),
            None => Err(ConfigError::new("scheduler", "_class_name", name, one_of())),
        };
        let class = self.class_name.as_ref().map(named).transpose()?;
        if self.num_train_timesteps > 100_000 {
            return wrong("num_train_timesteps", &self.num_train_timesteps, "at most 100000");
        }
        count("scheduler", "num_train_timesteps", self.num_train_timesteps)?;
        if let Some(key) = self.switches.on() {
            return wrong(key, &true, "false");
        }
        if self.multistep.use_karras_sigmas == Some(true) && self.sampler() == SamplerName::Ddim {
            let expected =
                "false, or true in a file of DPMSolverMultistepScheduler or UniPCMultistepScheduler";
            return wrong("use_karras_sigmas", &true, expected);
        }
        let timestep_spacing = match self.timestep_spacing.as_deref() {
            None => None,
            Some("leading") => Some(TimestepSpacing::Leading),
            Some("linspace") => Some(TimestepSpacing::Linspace),
            Some("trailing") => Some(TimestepSpacing::Trailing),
            Some(other) => return wrong("timestep_spacing", &other, "leading, linspace or trailing"),
        };
        if !(0..self.num_train_timesteps).contains(&self.steps_offset) {
            return wrong("steps_offset", &self.steps_offset, "0 or more, below num_train_timesteps");
        }
        let betas = self.trained_betas.as_ref().map(Vec::len);
        if betas.is_some_and(|betas| betas as i64 != self.num_train_timesteps) {
            return wrong("trained_betas", &betas.unwrap_or(0), "one number a timestep");
        }
        if !(self.clip_sample_range > 0.0 && self.clip_sample_range.is_finite()) {
            return wrong("clip_sample_range", &self.clip_sample_range, "more than 0");
        }
        if self.variance_type.as_ref().is_some_and(|kind| kind.starts_with("learned")) {
            return wrong("variance_type", &self.variance_type, "a variance that the net does not predict");
        }
        if self.timestep_type.as_ref().is_some_and(|kind| kind != "discrete") {
            return wrong("timestep_type", &self.timestep_type, "discrete");
        }
        let beta_schedule = match self.beta_schedule.as_str() {
            "linear" => BetaSchedule::Linear,
            "scaled_linear" => BetaSchedule::ScaledLinear,
            "squaredcos_cap_v2" => BetaSchedule::SquaredcosCapV2,
            other => return wrong("beta_schedule", &other, "linear, scaled_linear or squaredcos_cap_v2"),
        };
        let prediction_type = match self.prediction_type.as_str() {
            "epsilon" => PredictionType::Epsilon,
            "v_prediction" => PredictionType::VPrediction,
            "sample" => PredictionType::Sample,
            other => return wrong("prediction_type", &other, "epsilon, v_prediction or sample"),
        };
        let Some(class) = class else {
            return Err(ConfigError::new("scheduler", "_class_name", "not there", one_of()));
        };
        let clips = self.clip_sample.unwrap_or(class.clip_sample);
        Ok(Resolved {
            betas: (self.beta_start.unwrap_or(class.betas.0), self.beta_end.unwrap_or(class.betas.1)),
            beta_schedule,
            set_alpha_to_one: self.set_alpha_to_one.unwrap_or(class.set_alpha_to_one),
            clip: clips.then_some(self.clip_sample_range),
            prediction_type,
            timestep_spacing,
            zero_snr: self.rescale_betas_zero_snr.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Resolved, ConfigError> {
        serde_json::from_str::<ScheduleConfig>(json).unwrap().resolve()
    }

    #[test]
    fn what_is_left_out_is_the_classs_own_default() {
        let of = |class: &str| read(&format!("{{\"_class_name\": \"{class}\"}}")).unwrap();
        let ddim = of("DDIMScheduler");
        assert_eq!((ddim.clip, ddim.set_alpha_to_one, ddim.betas), (Some(1.0), true, (0.0001, 0.02)));
        assert_eq!(of("DDPMScheduler").clip, Some(1.0));
        let pndm = of("PNDMScheduler");
        assert_eq!((pndm.clip, pndm.set_alpha_to_one), (None, false));
        let heun = of("HeunDiscreteScheduler");
        assert_eq!((heun.clip, heun.betas), (None, (0.00085, 0.012)));
        let null = read(r#"{"_class_name": "DDIMScheduler", "clip_sample": null, "set_alpha_to_one": null}"#)
            .unwrap();
        assert_eq!((null.clip, null.set_alpha_to_one), (None, false));
        let said = read(r#"{"_class_name": "DDIMScheduler", "clip_sample": false, "clip_sample_range": 3}"#);
        assert_eq!(said.unwrap().clip, None);
    }

    #[test]
    fn what_is_no_beta_schedule_is_refused_by_name() {
        let other = [
            "FlowMatchEulerDiscreteScheduler",
            "FlowMatchLCMScheduler",
            "EDMEulerScheduler",
            "LCMScheduler",
            "TCDScheduler",
            "CogVideoXDDIMScheduler",
            "MyScheduler",
            "",
        ];
        for class in other {
            let keys = "\"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085";
            let message = read(&format!("{{\"_class_name\": \"{class}\", {keys}}}")).unwrap_err().to_string();
            assert!(
                message.contains("_class_name") && message.contains(&format!("\"{class}\"")),
                "{message}"
            );
        }
        let message = read("{}").unwrap_err().to_string();
        assert!(
            message.contains("_class_name is \"not there\"") && message.contains("DDIMScheduler"),
            "{message}"
        );
    }

    #[test]
    fn keys_that_change_the_numbers_are_refused_by_name() {
        for (key, value) in [
            ("prediction_type", "\"flow_prediction\""),
            ("beta_schedule", "\"sigmoid\""),
            ("timestep_spacing", "\"geometric\""),
            ("thresholding", "true"),
            ("use_karras_sigmas", "true"),
            ("use_beta_sigmas", "true"),
            ("use_exponential_sigmas", "true"),
            ("use_lu_lambdas", "true"),
            ("use_flow_sigmas", "true"),
            ("variance_type", "\"learned_range\""),
            ("timestep_type", "\"continuous\""),
            ("clip_sample_range", "0"),
            ("trained_betas", "[0.1, 0.2]"),
        ] {
            let json = format!("{{\"_class_name\": \"EulerDiscreteScheduler\", \"{key}\": {value}}}");
            let message = read(&json).unwrap_err().to_string();
            assert!(message.contains(&format!(": {key} is")), "{message}");
        }
    }
}
