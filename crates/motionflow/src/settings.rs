//! Every number that a run depends on, in one place.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::Error;
use crate::guidance_interval::GuidanceInterval;
use crate::losses::LossWeights;
use crate::sampler::Sampler;
use crate::schedule::Schedule;

/// In place of guidance blocks: those that show the source's subjects best.
pub const AUTO: &str = "auto";

/// A setting out of its range.
#[derive(Debug, Error, PartialEq)]
#[error("{name} is {found}, but must be {expected}")]
pub struct SettingsError {
    /// The setting as it stands in a config file.
    pub name: &'static str,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// What the new video starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The source's inverted latents: layout and scene come along with the motion.
    #[default]
    Inverted,
    /// Pure noise of the seed: the motion alone.
    Noise,
}

/// Which defaults stand where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Those that the checkpoint recommends.
    #[default]
    Default,
    /// [`Settings::paper`], whatever the checkpoint recommends.
    Paper,
}

/// From which token's cross-attention the masks and the losses are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectMap {
    /// The subject's words.
    #[default]
    Word,
    /// The end-of-text token, for a prompt of one subject.
    End,
}

impl SubjectMap {
    /// Checks that it can show so many subjects.
    ///
    /// # Errors
    /// [`Error::EndOfSeveral`]: the end-of-text token cannot tell subjects apart.
    pub fn check(self, subjects: usize) -> Result<(), Error> {
        if self == Self::End && subjects > 1 {
            return Err(Error::EndOfSeveral { subjects });
        }
        Ok(())
    }
}

/// Where the attention maps come from that the motion masks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskSource {
    /// Every step of the source's inversion.
    #[default]
    Inversion,
    /// Forward passes on the noised source: [`crate::noised`].
    Noised,
    /// None: the masks are given ([`crate::given`]).
    Given,
}

/// Of which timesteps' maps a mask is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskTime {
    /// Of its own timestep's.
    #[default]
    Step,
    /// Of all guided timesteps', so that every step has the same mask.
    Average,
}

/// Of which layers' maps a mask is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskLayers {
    /// Of its own layer's.
    #[default]
    Own,
    /// Of the layers' that have the most places, brought to its own layer's size.
    Finest,
}

/// How the latents go from one noise level to the next while sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SamplerName {
    /// DDIM (<https://arxiv.org/abs/2010.02502>), which the paper uses.
    #[default]
    #[serde(rename = "ddim")]
    Ddim,
    /// DPM-Solver++ 2M (<https://arxiv.org/abs/2211.01095>).
    #[serde(rename = "dpmpp-2m")]
    Dpmpp2m,
    /// UniPC (<https://arxiv.org/abs/2302.04867>).
    #[serde(rename = "unipc")]
    UniPc,
    /// Euler's method, of flow matching (<https://arxiv.org/abs/2210.02747>).
    #[serde(rename = "euler")]
    Euler,
}

impl fmt::Display for SamplerName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Ddim => "ddim",
            Self::Dpmpp2m => "dpmpp-2m",
            Self::UniPc => "unipc",
            Self::Euler => "euler",
        })
    }
}

/// How the timesteps lie between the first and the last one trained on: table 2 of
/// <https://arxiv.org/abs/2305.08891>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestepSpacing {
    /// From the first one on, in equal whole steps.
    Leading,
    /// From the first to the last one.
    Linspace,
    /// From the last one on.
    Trailing,
}

/// What a guided update leaves the latents of how they were before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepStatistics {
    /// Nothing.
    #[default]
    None,
    /// Their norm.
    Norm,
    /// Every channel's mean and standard deviation.
    Channels,
}

/// The most samples of noise at a timestep.
const MOST_SAMPLES: usize = 100;

/// The settings of a motion transfer.
///
/// "Paper" marks what MotionFlow (<https://arxiv.org/abs/2412.05275>) gives; the rest is this project's reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Steps of the inversion and of the sampling, 1 or more (paper: 50).
    pub steps: usize,
    /// How the noise is removed (paper: DDIM). The inversion is DDIM's always.
    pub sampler: SamplerName,
    /// Where the sampling's timesteps lie; where the checkpoint's scheduler has them, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Whether the sampling's noise levels are those of <https://arxiv.org/abs/2206.00364>; as the checkpoint's scheduler
    /// has it, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub karras_sigmas: Option<bool>,
    /// Sampling steps, from the noisiest on, that are guided: 0 to `steps` (paper: 20).
    pub guided_steps: usize,
    /// Classifier-free guidance: 0 (the negative prompt alone), 1 (off), or more (<https://arxiv.org/abs/2207.12598>).
    pub guidance_scale: f64,
    /// Between which noise levels there is classifier-free guidance; at all, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_interval: Option<GuidanceInterval>,
    /// N: of N steps without guided updates one runs the whole net, and the others reuse its deep features
    /// (<https://arxiv.org/abs/2312.00858>). 1 to 1000, 1 for off.
    pub deepcache_interval: usize,
    /// Frames that the net sees at once, 1 or more: a longer clip goes through it in windows ([`crate::windows`]). All, if
    /// nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_frames: Option<usize>,
    /// Frames that neighbouring windows have in common at least: fewer than `context_frames`.
    pub context_overlap: usize,
    /// τ: a place belongs to the subject where its attention exceeds τ times the frame's maximum. 0 to 1, not
    /// including 1 (paper: 0.4).
    pub tau: f64,
    /// α: a guided update moves the latents by α times the loss's gradient. 0 or more (paper: 5.0, for a loss whose
    /// scale the paper does not give; averaged as here it moves almost nothing).
    pub step_size: f64,
    /// r: a guided update moves the latents by r times their norm along the gradient instead. 0 or more.
    pub step_norm: Option<f64>,
    /// Whether the step falls linearly to zero over the guided steps.
    pub step_decay: bool,
    /// Updates in each guided step, 1 to 1000.
    pub updates_per_step: usize,
    /// `λ_cross`: weight of the loss on cross-attention, 0 or more.
    pub lambda_cross: f64,
    /// `λ_self`: weight of the loss on spatial self-attention, 0 or more.
    pub lambda_self: f64,
    /// `λ_temporal`: weight of the loss on temporal attention, 0 or more.
    pub lambda_temporal: f64,
    /// `λ_outside`: weight of the loss on the subject's normalised attention, 0 or more.
    pub lambda_outside: f64,
    /// `λ_other`: weight of the loss on the subject's attention in the other subjects' masks, 0 or more.
    pub lambda_other: f64,
    /// `λ_avoid`: weight of the loss on the subjects' attention in a region that is to be kept free, 0 or more; 1 where
    /// nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda_avoid: Option<f64>,
    /// L: a guided step's updates end when the loss is under it; 0 for never, or more.
    pub loss_threshold: f64,
    /// What an update leaves the latents of how they were.
    pub keep_statistics: KeepStatistics,
    /// The blocks whose attentions give losses, by [`crate::model::GuidanceLayer::block`]; none for all. [`AUTO`] alone is a
    /// request: nets know no such block, and [`crate::layer_choice`] is to name others first.
    pub guidance_layers: Vec<String>,
    /// Where the subject's map is taken from.
    pub subject_map: SubjectMap,
    /// Where the maps come from that the masks are made of.
    pub mask_source: MaskSource,
    /// The timesteps whose noise is added to the source for [`MaskSource::Noised`], each once.
    pub noised_timesteps: Vec<i64>,
    /// Samples of the noise at each of those, 1 to 100: as many forward passes.
    pub noised_samples: usize,
    /// Of which timesteps a mask is made, where the maps are the inversion's.
    pub mask_time: MaskTime,
    /// Of which layers a mask is made.
    pub mask_layers: MaskLayers,
    /// Whether a place belongs only to the subject that is strongest there.
    pub mask_apart: bool,
    /// The cross-attention to the new subject's words is scaled by this: 0 or more, 1 for off.
    pub token_weight: f64,
    /// What the new video starts from.
    pub init: Init,
    /// Whether there are guided updates at all.
    pub updates: bool,
    /// Seed of the noise, where there is any.
    pub seed: u64,
    /// Which defaults the settings began from; nothing is computed from it.
    pub preset: Preset,
}

impl Settings {
    /// From pure noise, guided in the first third of the steps by the masks of one look: what the small checkpoints of
    /// `AnimateDiff`'s and Wan's kind take best (docs/experiments.md, "Three models and their maps").
    #[must_use]
    pub fn from_noise() -> Self {
        Self {
            steps: 25,
            guided_steps: 8,
            updates_per_step: 2,
            step_norm: Some(0.015),
            keep_statistics: KeepStatistics::Channels,
            lambda_self: 0.0,
            lambda_temporal: 0.0,
            lambda_outside: 1.0,
            mask_source: MaskSource::Noised,
            init: Init::Noise,
            ..Self::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 50,
            sampler: SamplerName::Ddim,
            timestep_spacing: None,
            karras_sigmas: None,
            guided_steps: 20,
            guidance_scale: 9.0,
            guidance_interval: None,
            deepcache_interval: 1,
            context_frames: None,
            context_overlap: 4,
            tau: 0.4,
            step_size: 5.0,
            step_norm: None,
            step_decay: false,
            updates_per_step: 1,
            lambda_cross: 1.0,
            lambda_self: 1.0,
            lambda_temporal: 1.0,
            lambda_outside: 0.0,
            lambda_other: 0.0,
            lambda_avoid: None,
            loss_threshold: 0.0,
            keep_statistics: KeepStatistics::None,
            guidance_layers: Vec::new(),
            subject_map: SubjectMap::Word,
            mask_source: MaskSource::Inversion,
            noised_timesteps: vec![201],
            noised_samples: 1,
            mask_time: MaskTime::Step,
            mask_layers: MaskLayers::Own,
            mask_apart: false,
            token_weight: 1.0,
            init: Init::Inverted,
            updates: true,
            seed: 0,
            preset: Preset::Default,
        }
    }
}

impl Settings {
    /// The method as the paper has it, and as this project reads it where the paper is silent. The guidance scale is no
    /// part of the method: it is the checkpoint's.
    #[must_use]
    pub fn paper(guidance_scale: f64) -> Self {
        Self { guidance_scale, preset: Preset::Paper, ..Self::default() }
    }

    /// Checks every range; `max_steps` is what the model's schedule allows.
    ///
    /// # Errors
    /// [`SettingsError`] names the first setting that is out of its range.
    pub fn validate(&self, max_steps: usize) -> Result<(), SettingsError> {
        let fail = |name, found: String, expected: &str| {
            Err(SettingsError { name, found, expected: expected.to_owned() })
        };
        if !(1..=max_steps).contains(&self.steps) {
            return fail("steps", self.steps.to_string(), &format!("1 to {max_steps}"));
        }
        if self.guided_steps > self.steps {
            let expected = format!("at most the {} steps", self.steps);
            return fail("guided_steps", self.guided_steps.to_string(), &expected);
        }
        if !(1..=1000).contains(&self.updates_per_step) {
            return fail("updates_per_step", self.updates_per_step.to_string(), "1 to 1000");
        }
        if !(1..=1000).contains(&self.deepcache_interval) {
            return fail("deepcache_interval", self.deepcache_interval.to_string(), "1 to 1000");
        }
        if self.context_frames == Some(0) {
            return fail("context_frames", "0".to_owned(), "1 or more");
        }
        if let Some(frames) = self.context_frames.filter(|frames| self.context_overlap >= *frames) {
            let expected = format!("less than the {frames} context frames");
            return fail("context_overlap", self.context_overlap.to_string(), &expected);
        }
        if !(1..=MOST_SAMPLES).contains(&self.noised_samples) {
            return fail("noised_samples", self.noised_samples.to_string(), &format!("1 to {MOST_SAMPLES}"));
        }
        let timesteps = &self.noised_timesteps;
        let is_distinct = (1..timesteps.len()).all(|index| !timesteps[..index].contains(&timesteps[index]));
        if timesteps.is_empty() || !is_distinct || timesteps.iter().any(|timestep| *timestep < 0) {
            let expected = "one timestep or several, each 0 or more and named once";
            return fail("noised_timesteps", listed(timesteps), expected);
        }
        if !(0.0..1.0).contains(&self.tau) {
            return fail("tau", self.tau.to_string(), "0 or more and less than 1");
        }
        for (name, value) in [
            ("guidance_scale", self.guidance_scale),
            ("step_size", self.step_size),
            ("step_norm", self.step_norm.unwrap_or(0.0)),
            ("lambda_cross", self.lambda_cross),
            ("lambda_self", self.lambda_self),
            ("lambda_temporal", self.lambda_temporal),
            ("lambda_outside", self.lambda_outside),
            ("lambda_other", self.lambda_other),
            ("lambda_avoid", self.lambda_avoid.unwrap_or(0.0)),
            ("loss_threshold", self.loss_threshold),
            ("token_weight", self.token_weight),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return fail(name, value.to_string(), "0 or more");
            }
        }
        Ok(())
    }

    /// Checks that the schedule has the timesteps of the forward passes, where such passes are requested.
    ///
    /// # Errors
    /// [`SettingsError`] names them.
    pub fn validate_noised(&self, schedule: &Schedule) -> Result<(), SettingsError> {
        let most = schedule.train_timesteps() as i64 - 1;
        if self.mask_source != MaskSource::Noised || self.noised_timesteps.iter().all(|t| *t <= most) {
            return Ok(());
        }
        let found = listed(&self.noised_timesteps);
        Err(SettingsError { name: "noised_timesteps", found, expected: format!("from 0 to {most}") })
    }

    /// The timestep of every forward pass on the noised source, in order. None where the masks are made of something else.
    pub fn pass_timesteps(&self) -> Vec<i64> {
        match self.mask_source {
            MaskSource::Inversion | MaskSource::Given => Vec::new(),
            MaskSource::Noised => self.all_pass_timesteps(),
        }
    }

    /// As [`Settings::pass_timesteps`], of a source that is looked at in this way whatever the masks are made of.
    pub fn all_pass_timesteps(&self) -> Vec<i64> {
        let samples = |timestep| std::iter::repeat_n(timestep, self.noised_samples);
        self.noised_timesteps.iter().copied().flat_map(samples).collect()
    }

    /// Whether a transfer with these settings takes the source's inversion: to start from, or for the masks.
    pub fn takes_inversion(&self) -> bool {
        self.init == Init::Inverted || self.mask_source == MaskSource::Inversion
    }

    /// Whether the guidance blocks are yet to be chosen.
    pub fn chooses_layers(&self) -> bool {
        matches!(self.guidance_layers.as_slice(), [only] if only == AUTO)
    }

    /// Whether a run with these settings makes guided updates, and so needs motion masks.
    pub fn is_guided(&self) -> bool {
        self.updates && self.guided_steps > 0
    }

    /// λ of the losses.
    pub fn loss_weights(&self) -> LossWeights {
        LossWeights {
            cross: self.lambda_cross,
            spatial: self.lambda_self,
            temporal: self.lambda_temporal,
            outside: self.lambda_outside,
            other: self.lambda_other,
            avoid: self.lambda_avoid.unwrap_or(1.0),
        }
    }

    /// The timesteps of the inversion whose masks guide: for each of the first sampling steps the nearest one. All where no
    /// step is guided.
    ///
    /// # Errors
    /// As [`Sampler::new`].
    pub fn guided_timesteps(&self, schedule: &Schedule) -> Result<Vec<i64>, Error> {
        let count = if self.guided_steps == 0 { self.steps } else { self.guided_steps };
        let sampler = Sampler::new(schedule, self)?;
        let mut timesteps: Vec<i64> = sampler.mask_keys().iter().copied().take(count).collect();
        timesteps.dedup();
        Ok(timesteps)
    }
}

fn listed(timesteps: &[i64]) -> String {
    let named: Vec<String> = timesteps.iter().map(i64::to_string).collect();
    if named.is_empty() { "empty".to_owned() } else { named.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(Settings::default().validate(999), Ok(()));
    }

    #[test]
    fn the_papers_settings_are_the_general_defaults() {
        let paper = Settings::paper(6.0);
        assert_eq!((paper.steps, paper.guided_steps, paper.tau, paper.step_size), (50, 20, 0.4, 5.0));
        assert_eq!(Settings { guidance_scale: 9.0, preset: Preset::Default, ..paper }, Settings::default());
    }

    #[test]
    fn each_range_has_its_own_message() {
        let wrong = [
            Settings { steps: 0, ..Settings::default() },
            Settings { guided_steps: 51, ..Settings::default() },
            Settings { tau: 1.0, ..Settings::default() },
            Settings { guidance_scale: f64::NAN, ..Settings::default() },
            Settings { step_norm: Some(-0.1), ..Settings::default() },
            Settings { updates_per_step: 0, ..Settings::default() },
            Settings { deepcache_interval: 0, ..Settings::default() },
            Settings { context_frames: Some(0), ..Settings::default() },
            Settings { context_frames: Some(4), ..Settings::default() },
            Settings { lambda_outside: -1.0, ..Settings::default() },
            Settings { loss_threshold: f64::INFINITY, ..Settings::default() },
            Settings { token_weight: -0.5, ..Settings::default() },
            Settings { noised_samples: 0, ..Settings::default() },
            Settings { noised_timesteps: vec![], ..Settings::default() },
            Settings { noised_timesteps: vec![201, 101, 201], ..Settings::default() },
            Settings { noised_timesteps: vec![-1], ..Settings::default() },
        ];
        let names: Vec<&str> = wrong.iter().map(|s| s.validate(999).unwrap_err().name).collect();
        assert_eq!(
            names,
            [
                "steps",
                "guided_steps",
                "tau",
                "guidance_scale",
                "step_norm",
                "updates_per_step",
                "deepcache_interval",
                "context_frames",
                "context_overlap",
                "lambda_outside",
                "loss_threshold",
                "token_weight",
                "noised_samples",
                "noised_timesteps",
                "noised_timesteps",
                "noised_timesteps"
            ]
        );
    }
}
