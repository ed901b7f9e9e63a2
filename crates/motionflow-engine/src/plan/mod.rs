//! A plan: what a transfer would do, what it would take and what it would leave, without doing it.

pub mod tokens;

use std::path::PathBuf;

use motionflow::settings::Settings;
use serde::Serialize;

use crate::estimate::Estimate;
use crate::folder::record::{PromptRecord, SourceRecord, VideoRecord};
use crate::request::MotionOptions;

/// A transfer of which all that can be checked without the weights is checked.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// What the run's record would say.
    pub resolved: Preview,
    /// Time and memory.
    pub estimate: Estimate,
    /// The tokens of each prompt, in lines to read.
    pub tokens: Vec<String>,
    /// The checkpoint's name and folder.
    #[serde(skip)]
    pub model: String,
    /// The run folder.
    #[serde(skip)]
    pub output: PathBuf,
    /// The files that it would have.
    #[serde(skip)]
    pub files: Vec<&'static str>,
}

/// The part of a run's record that is known before the run.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The prompts.
    pub prompts: PromptRecord,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRecord>,
    /// The motion that is given, or changed.
    #[serde(skip_serializing_if = "MotionOptions::is_empty")]
    pub motion: MotionOptions,
    /// The video's size.
    pub video: VideoRecord,
    /// The method's settings.
    pub settings: Settings,
}
