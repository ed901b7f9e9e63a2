//! The method's own settings: steps, sampling, motion masks and guidance.

use motionflow::guidance_interval::GuidanceInterval;
use motionflow::settings::{
    self, Init, KeepStatistics, MaskLayers, MaskSource, MaskTime, SamplerName, SubjectMap, TimestepSpacing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which defaults apply.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Sampling"))]
pub struct Preset {
    /// Which defaults apply: those that the checkpoint recommends (default), or the paper's (paper)
    #[schemars(with = "String", extend("enum" = ["default", "paper"], "x-setting" = {
        "value": "WHAT", "fixed": true
    }))]
    pub preset: Option<settings::Preset>,
}

/// How many steps the noise is removed in.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Sampling"))]
pub struct Steps {
    /// Steps of the inversion and of the sampling
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 or more", "paper": "50", "common": true }))]
    pub steps: Option<usize>,
}

/// How a prompt becomes a video.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Sampling"))]
pub struct Sampling {
    /// Sampler that removes the noise: DDIM, DPM-Solver++ 2M or UniPC, whose inversion is DDIM in any case; or Euler on a
    /// checkpoint of flow matching
    #[schemars(with = "String", extend("enum" = ["ddim", "dpmpp-2m", "unipc", "euler"], "x-setting" = {
        "value": "NAME", "paper": "ddim",
        "default": "the checkpoint's recommendation, else the one in its scheduler_config.json, else ddim; euler of flow \
                    matching"
    }))]
    pub sampler: Option<SamplerName>,
    /// Spacing of the sampling timesteps; the inversion keeps that of the checkpoint's `scheduler_config.json`
    #[schemars(with = "String", extend("enum" = ["leading", "linspace", "trailing"], "x-setting" = {
        "value": "HOW",
        "default": "the checkpoint's recommendation, else that of its scheduler_config.json, else leading with ddim and \
                    linspace with the others"
    }))]
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Noise levels of Karras et al. instead of spaced timesteps, with dpmpp-2m and unipc
    #[schemars(extend("x-setting" = {
        "default": "the checkpoint's recommendation, else as in its scheduler_config.json, else off"
    }))]
    pub karras_sigmas: Option<bool>,
    /// Scale of the classifier-free guidance; 1 is off
    #[schemars(extend("x-setting" = { "value": "SCALE", "range": "0 or more", "alias": "cfg-scale" }))]
    pub guidance_scale: Option<f64>,
    /// Noise levels σ between which there is classifier-free guidance; elsewhere a step takes half the time
    #[serde(with = "super::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-setting" = {
        "value": "LOW:HIGH", "range": "two numbers, 0 or more, the lower first",
        "default": "the checkpoint's recommendation, else at all"
    }))]
    pub guidance_interval: Option<GuidanceInterval>,
    /// Of N steps without guided updates, run the whole net in one and reuse its deep features in the others
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 to 1000; 1 is off" }))]
    pub deepcache_interval: Option<usize>,
    /// Seed of the noise
    #[schemars(range(max = 9_223_372_036_854_775_807_u64), extend("x-setting" = {
        "value": "N", "range": "0 to 2^63 - 1", "short": "s", "fixed": true, "common": true
    }))]
    pub seed: Option<u64>,
}

/// How a clip of many frames goes through the net.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Context windows"))]
pub struct ContextWindows {
    /// Frames that the net sees at once; a longer video is seen in sliding windows of N frames, whose predictions are averaged
    #[schemars(extend("x-setting" = {
        "value": "N", "range": "1 or more", "default": "the checkpoint's recommendation, else all frames"
    }))]
    pub context_frames: Option<usize>,
    /// Frames that neighbouring windows have in common, at least
    #[schemars(extend("x-setting" = {
        "value": "N",
        "range": "0 or more, below `context-frames`",
        "default": "the checkpoint's recommendation, else 4, and less in windows of 4 or fewer"
    }))]
    pub context_overlap: Option<usize>,
}

/// How attention becomes motion masks.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Motion masks"))]
pub struct Masks {
    /// A place belongs to the subject where its attention exceeds TAU times the frame's maximum
    #[schemars(extend("x-setting" = {
        "value": "TAU", "range": "0 or more, below 1", "paper": "0.4"
    }))]
    pub tau: Option<f64>,
    /// Token whose attention locates the subject: its words, or the end-of-text token, which can find a single subject
    /// where its words do not
    #[schemars(with = "String", extend("enum" = ["word", "end"], "x-setting" = { "value": "TOKEN" }))]
    pub subject_map: Option<SubjectMap>,
    /// Where the attention maps for the masks come from: every step of the source's inversion, or forward passes on the
    /// source with noise added, which give one mask for all guided steps and, with `init` noise, take no inversion at all; given
    /// where `mask` or `track` gives the masks
    #[schemars(with = "String", extend("enum" = ["inversion", "noised", "given"], "x-setting" = {
        "value": "WHAT", "paper": "inversion"
    }))]
    pub mask_source: Option<MaskSource>,
    /// With `mask-source` noised: timesteps whose noise is added to the source, a forward pass for each
    #[schemars(extend("x-setting" = { "value": "T,...", "range": "0 or more, below the checkpoint's training timesteps" }))]
    pub noised_timesteps: Option<Vec<i64>>,
    /// With `mask-source` noised: samples of the noise at each timestep, whose maps are averaged
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 to 100" }))]
    pub noised_samples: Option<usize>,
    /// With `mask-source` inversion: timesteps that a mask is made from: its own, or the average over all guided steps
    #[schemars(with = "String", extend("enum" = ["step", "average"], "x-setting" = { "value": "WHICH" }))]
    pub mask_time: Option<MaskTime>,
    /// Layers that a mask is made from: its own, or those with the most places
    #[schemars(with = "String", extend("enum" = ["own", "finest"], "x-setting" = { "value": "WHICH" }))]
    pub mask_layers: Option<MaskLayers>,
    /// With several subjects, assign each place to the strongest subject alone
    #[schemars(extend("x-setting" = {}))]
    pub mask_apart: Option<bool>,
}

/// How the latents are guided.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Motion guidance"))]
pub struct Guidance {
    /// Number of sampling steps that are guided, counted from the first
    #[schemars(extend("x-setting" = {
        "value": "N", "range": "0 to the number of steps", "paper": "20 of 50",
        "default": "the recommended share of the steps, else 20 of 50"
    }))]
    pub guided_steps: Option<usize>,
    /// Updates of the latents in each guided step
    #[schemars(extend("x-setting" = { "value": "N", "range": "1 to 1000", "paper": "1" }))]
    pub updates_per_step: Option<usize>,
    /// An update moves the latents by ALPHA times the gradient of the loss
    #[schemars(extend("x-setting" = {
        "value": "ALPHA", "range": "0 or more", "paper": "5", "conflicts": "step_norm"
    }))]
    pub step_size: Option<f64>,
    /// An update moves the latents along the gradient by RATIO times their own norm, and `step-size` is not used
    #[schemars(extend("x-setting" = { "value": "RATIO", "range": "0 or more; 0.04 is a large step" }))]
    pub step_norm: Option<f64>,
    /// Decrease the size of the updates linearly to zero over the guided steps
    #[schemars(extend("x-setting" = {}))]
    pub step_decay: Option<bool>,
    /// Weight of the loss on the subject's cross-attention
    #[schemars(extend("x-setting" = { "value": "WEIGHT", "range": "0 or more" }))]
    pub lambda_cross: Option<f64>,
    /// Weight of the loss on self-attention within a frame
    #[schemars(extend("x-setting" = { "value": "WEIGHT", "range": "0 or more" }))]
    pub lambda_self: Option<f64>,
    /// Weight of the loss on temporal attention, between frames
    #[schemars(extend("x-setting" = { "value": "WEIGHT", "range": "0 or more" }))]
    pub lambda_temporal: Option<f64>,
    /// Weight of the loss on the subject's attention outside the mask and its lack inside
    #[schemars(extend("x-setting" = { "value": "WEIGHT", "range": "0 or more" }))]
    pub lambda_outside: Option<f64>,
    /// With several subjects: weight of the loss on attention in the masks of the others
    #[schemars(extend("x-setting" = { "value": "WEIGHT", "range": "0 or more" }))]
    pub lambda_other: Option<f64>,
    /// With `avoid`: weight of the loss on the subjects' attention in that region
    #[schemars(extend("x-setting" = {
        "value": "WEIGHT", "range": "0 or more", "default": "the checkpoint's recommendation, else 1"
    }))]
    pub lambda_avoid: Option<f64>,
    /// Make no further updates in a step once the loss is below L; 0 makes them all
    #[schemars(extend("x-setting" = { "value": "L", "range": "0 or more" }))]
    pub loss_threshold: Option<f64>,
    /// Statistics of the latents that an update preserves: none, their norm, or the mean and deviation of each channel
    #[schemars(with = "String", extend("enum" = ["none", "norm", "channels"], "x-setting" = { "value": "WHAT" }))]
    pub keep_statistics: Option<KeepStatistics>,
    /// Blocks whose attention the losses use, such as `up_blocks.1`; or `auto`: those, and with `mask-source` noised the
    /// timestep, that seem to show the source's subjects best
    #[schemars(extend("x-setting" = {
        "value": "NAME,...", "default": "the checkpoint's recommendation, else all guidance blocks"
    }))]
    pub guidance_layers: Option<Vec<String>>,
    /// Factor on the attention to the words of the new subject; 1 is off
    #[schemars(extend("x-setting" = { "value": "W", "range": "0 or more" }))]
    pub token_weight: Option<f64>,
    /// What sampling starts from: the source's inverted latents (its layout and scene come along), or noise (the motion
    /// alone)
    #[schemars(with = "String", extend("enum" = ["inverted", "noise"], "x-setting" = {
        "value": "WHAT", "paper": "inverted", "common": true
    }))]
    pub init: Option<Init>,
    /// Whether the latents are guided at all; without updates, plain sampling remains to compare with
    #[schemars(extend("x-setting" = { "flag": "no-updates", "sets": false, "fixed": true }))]
    pub updates: Option<bool>,
}
