//! What can go wrong in the method, besides the checkpoint and the prompts, which have errors of their own.

use tch::Kind;
use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::nets::config::ConfigError;
use crate::prompt::{PromptError, SubjectError};
use crate::settings::SettingsError;
use crate::timestep::Timestep;
use crate::tokenizer::TokenizerError;

/// An error of this crate.
#[derive(Debug, Error)]
pub enum Error {
    /// The checkpoint's files.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A config of the checkpoint that cannot be run.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer's files.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A prompt and its brackets.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A subject that has no usable tokens.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A setting out of its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The parts of a checkpoint do not belong together.
    #[error("the checkpoint's parts do not fit together: {0}")]
    Mismatch(String),
    /// A video size that the net cannot take.
    #[error("the model cannot make a video of {width}x{height}: {reason}; try {try_width}x{try_height}")]
    Size {
        /// Width asked for, in pixels.
        width: i64,
        /// Height asked for, in pixels.
        height: i64,
        /// What the net needs.
        reason: String,
        /// A width near by that works.
        try_width: i64,
        /// A height near by that works.
        try_height: i64,
    },
    /// A number of frames that the latents cannot have.
    #[error(
        "the model cannot make a video of {frames} frames: there must be one more than a multiple of {scale}; try --frames {below}{}",
        if below == above { String::new() } else { format!(" or {above}") }
    )]
    Frames {
        /// Frames asked for.
        frames: i64,
        /// Frames for each latent frame after the first.
        scale: i64,
        /// The nearest number below that works.
        below: i64,
        /// The nearest above.
        above: i64,
    },
    /// A clip of more frames than the net can look at together.
    #[error(
        "the model can look at {most} frames together, and these are {frames}: give --frames {most} or fewer, or a \
         sliding window (--context-frames {most} or fewer)"
    )]
    TooManyFrames {
        /// Frames asked for.
        frames: i64,
        /// Frames that its positional embedding has.
        most: i64,
    },
    /// The source prompt and the target prompt mark different numbers of subjects.
    #[error(
        "the source prompt marks {source_count} subject{} and the prompt {target_count}: mark as many in each, the \
         first gives its motion to the first, and so on",
        if *source_count == 1 { "" } else { "s" }
    )]
    SubjectCount {
        /// Brackets in the source prompt.
        source_count: usize,
        /// Brackets in the target prompt.
        target_count: usize,
    },
    /// A prompt without brackets where a subject is needed.
    #[error("{which} marks no subject: put its words in brackets, like \"a [car] on a road\"")]
    NoSubject {
        /// Which prompt.
        which: &'static str,
    },
    /// The end-of-text token is requested where there are several subjects.
    #[error(
        "--subject-map end finds one subject, but the prompt marks {subjects}: mark one alone, or take --subject-map \
         word"
    )]
    EndOfSeveral {
        /// Brackets in the prompt.
        subjects: usize,
    },
    /// A guidance block that the model does not have.
    #[error("--guidance-layers: the model has no guidance block \"{name}\"; it has {known}")]
    UnknownBlock {
        /// As it was given.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Deep features are to be reused, and the model has none.
    #[error("--deepcache-interval: this kind of model has no deep features to reuse; leave it out")]
    NoDeepFeatures,
    /// The latents are no longer numbers.
    #[error("{stage} step {step} of {steps} (timestep {timestep}) gave values that are not finite: {hint}")]
    NotFinite {
        /// `inversion`, `masks`, `guided update` or `sampling`.
        stage: &'static str,
        /// Counted from 1.
        step: usize,
        /// Number of steps of the stage.
        steps: usize,
        /// The net's timestep.
        timestep: Timestep,
        /// What to try.
        hint: String,
    },
    /// The VAE or the text encoder gave values that are no numbers.
    #[error("{stage} gave values that are not finite: {hint}")]
    CodingNotFinite {
        /// `encoding`, `decoding` or `the text encoder`.
        stage: &'static str,
        /// What to try.
        hint: String,
    },
    /// The one who watched the progress wanted no more of it.
    #[error("stopped")]
    Stopped,
    /// An inversion that does not fit the settings or the model that are to use it.
    #[error("this inversion does not fit: {0}")]
    Inversion(String),
}

/// What to say of values that are not finite where nothing but the weights can be to blame.
pub(crate) const BROKEN: &str = "the checkpoint is broken; get it anew";

/// What to try when values are not finite, where the nets compute in `kind`; `hint` where the method is to blame.
pub(crate) fn not_finite_hint(kind: Kind, hint: &str) -> String {
    if kind == Kind::Half {
        return format!("float16 ends at 65504, so try --precision bf16 or f32 first; else {hint}");
    }
    hint.to_owned()
}
