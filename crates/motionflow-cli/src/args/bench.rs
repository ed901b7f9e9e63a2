//! What is timed, and how.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use motionflow_engine::request::{ModelChoice, Size, Steps};

use super::Flags;

/// `bench`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: Flags<ModelChoice>,
    #[command(flatten)]
    pub(crate) size: Flags<Size>,
    #[command(flatten)]
    pub(crate) steps: Flags<Steps>,
    /// How many of the sampling steps are guided [default: the checkpoint's recommendation, else 20]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) guided_steps: Option<usize>,
    /// How often each phase is timed, after two times that do not count; 1 to 100
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) repeat: u16,
    /// Hold --precision against float32 instead, with the same inputs and weights: errors, the guided gradient's direction,
    /// motion masks
    #[arg(long, conflicts_with = "repeat")]
    pub(crate) accuracy: bool,
    /// File for the figures, as JSON
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

const EXAMPLE: &str = "\
Example: what a transfer with ZeroScope takes on this machine
  motionflow bench --model cerspense/zeroscope_v2_576w -o bench.json

How far float16 is from float32:
  motionflow bench --model cerspense/zeroscope_v2_576w --accuracy --precision f16";
