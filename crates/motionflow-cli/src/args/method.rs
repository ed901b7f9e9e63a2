//! The method's own settings: steps, sampling, masks and guidance.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use motionflow::settings::{self, Init, KeepStatistics, MaskLayers, MaskTime, SubjectMap};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where the settings begin.
#[derive(Debug, Clone, Copy, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Preset {
    /// What stands where nothing else is said: the checkpoint's recommendation (default), or the paper's own settings
    /// whatever the checkpoint recommends (paper) [default: default]
    #[arg(long, value_name = "WHAT", value_parser = named::<settings::Preset>(&["default", "paper"]))]
    #[schemars(with = "String", extend("enum" = ["default", "paper"]))]
    pub(crate) preset: Option<settings::Preset>,
}

/// How finely the noise is taken away, and where it comes from.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Steps {
    /// Steps of the inversion and of the sampling, 1 or more [default: the checkpoint's recommendation, else 50]
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<usize>,
}

/// How a prompt is turned into a video.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Sampling {
    /// Classifier-free guidance, 0 or more, 1 is off [default: the checkpoint's recommendation, else 9]
    #[arg(long, visible_alias = "cfg-scale", value_name = "SCALE")]
    pub(crate) guidance_scale: Option<f64>,
    /// Seed of the noise, where there is any; 0 to 2^63 - 1 [default: 0]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
}

/// How attention becomes motion masks.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Motion masks")]
pub(crate) struct Masks {
    /// A place belongs to the subject where its attention exceeds TAU times the frame's maximum; 0 or more, below 1
    /// [default: the checkpoint's recommendation, else 0.4]
    #[arg(long, value_name = "TAU")]
    pub(crate) tau: Option<f64>,
    /// Whose attention shows the subject: its words', or the end-of-text token's, which finds a single subject even
    /// where its words do not [default: the checkpoint's recommendation, else word]
    #[arg(long, value_name = "WHOSE", value_parser = named::<SubjectMap>(&["word", "end"]))]
    #[schemars(with = "String", extend("enum" = ["word", "end"]))]
    pub(crate) subject_map: Option<SubjectMap>,
    /// A mask is made of its own step's map, or of the average over all guided steps [default: the checkpoint's
    /// recommendation, else step]
    #[arg(long, value_name = "WHICH", value_parser = named::<MaskTime>(&["step", "average"]))]
    #[schemars(with = "String", extend("enum" = ["step", "average"]))]
    pub(crate) mask_time: Option<MaskTime>,
    /// A mask is made of its own layer's map, or of the finest layers' [default: the checkpoint's recommendation, else
    /// own]
    #[arg(long, value_name = "WHICH", value_parser = named::<MaskLayers>(&["own", "finest"]))]
    #[schemars(with = "String", extend("enum" = ["own", "finest"]))]
    pub(crate) mask_layers: Option<MaskLayers>,
    /// Of several subjects, a place belongs to the strongest there alone; `--mask-apart=false` turns a recommended one
    /// off [default: the checkpoint's recommendation, else off]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) mask_apart: Option<bool>,
}

/// The method's own settings.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Motion guidance")]
#[expect(clippy::struct_field_names, reason = "fields have the names of their flags")]
pub(crate) struct Guidance {
    /// Sampling steps, from the first on, that are guided; 0 to the number of steps [default: the recommended share of
    /// the steps, else 20 of 50]
    #[arg(long, value_name = "N")]
    pub(crate) guided_steps: Option<usize>,
    /// Updates in each guided step, 1 to 1000 [default: the checkpoint's recommendation, else 1]
    #[arg(long, value_name = "N")]
    pub(crate) updates_per_step: Option<usize>,
    /// An update moves the latents by ALPHA times the loss's gradient; 0 or more [default: the checkpoint's
    /// recommendation, else 5]
    #[arg(long, value_name = "ALPHA", conflicts_with = "step_norm")]
    pub(crate) step_size: Option<f64>,
    /// An update moves the latents by RATIO times their own norm along the gradient instead; 0 or more, 0.04 is much
    /// [default: the checkpoint's recommendation, else off]
    #[arg(long, value_name = "RATIO")]
    pub(crate) step_norm: Option<f64>,
    /// Let the step fall to zero over the guided steps; `--step-decay=false` turns a recommended decay off [default: the
    /// checkpoint's recommendation, else off]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) step_decay: Option<bool>,
    /// Weight of the loss on the subject's attention, 0 or more [default: the checkpoint's recommendation, else 1]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_cross: Option<f64>,
    /// Weight of the loss on attention within a frame, 0 or more [default: the checkpoint's recommendation, else 1]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_self: Option<f64>,
    /// Weight of the loss on attention between frames, 0 or more [default: the checkpoint's recommendation, else 1]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_temporal: Option<f64>,
    /// Weight of the loss on the subject's attention outside the mask and its lack inside, 0 or more [default: the
    /// checkpoint's recommendation, else 0]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_outside: Option<f64>,
    /// Of several subjects: weight of the loss on attention in the others' masks, 0 or more [default: the checkpoint's
    /// recommendation, else 0]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) lambda_other: Option<f64>,
    /// A guided step's updates end when the loss is under L; 0 or more, 0 makes them all [default: the checkpoint's
    /// recommendation, else 0]
    #[arg(long, value_name = "L")]
    pub(crate) loss_threshold: Option<f64>,
    /// What an update leaves the latents of how they were: nothing, their norm, or each channel's mean and deviation
    /// [default: the checkpoint's recommendation, else none]
    #[arg(long, value_name = "WHAT", value_parser = named::<KeepStatistics>(&["none", "norm", "channels"]))]
    #[schemars(with = "String", extend("enum" = ["none", "norm", "channels"]))]
    pub(crate) keep_statistics: Option<KeepStatistics>,
    /// Take losses from these blocks alone, such as `up_blocks.1` [default: the checkpoint's recommendation, else all
    /// guidance blocks]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) guidance_layers: Option<Vec<String>>,
    /// Scale the attention to the new subject's words by W; 0 or more, 1 is off [default: the checkpoint's
    /// recommendation, else 1]
    #[arg(long, value_name = "W")]
    pub(crate) token_weight: Option<f64>,
    /// Start from the source's inverted latents (its layout and scene come along), or from noise (the motion alone)
    /// [default: the checkpoint's recommendation, else inverted]
    #[arg(long, value_name = "WHAT", value_parser = named::<Init>(&["inverted", "noise"]))]
    #[schemars(with = "String", extend("enum" = ["inverted", "noise"]))]
    pub(crate) init: Option<Init>,
    /// Make no guided updates: the plain sampling, to compare with
    #[arg(long)]
    #[serde(skip)]
    pub(crate) no_updates: bool,
    /// Whether there are guided updates
    #[arg(skip)]
    pub(crate) updates: Option<bool>,
}

/// Reads a setting that has names for values.
fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value::<T>(name.into()))
}
