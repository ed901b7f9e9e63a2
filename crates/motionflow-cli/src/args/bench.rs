//! What is timed, and how.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Model, Steps};

/// `bench`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) size: Size,
    #[command(flatten)]
    pub(crate) steps: Steps,
    /// How many of the sampling steps are guided [default: the checkpoint's recommendation, else 20]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) guided_steps: Option<usize>,
    /// How often each phase is timed, after two times that do not count; 1 to 100
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) repeat: u16,
    /// File for the figures, as JSON
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// The size of the video that it is timed with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Video size")]
pub(crate) struct Size {
    /// Width in pixels, 1 to 8192 [default: the checkpoint's recommendation, else 576]
    #[arg(long, short = 'W', value_name = "PIXELS")]
    pub(crate) width: Option<u32>,
    /// Height in pixels, 1 to 8192 [default: the checkpoint's recommendation, else 320]
    #[arg(long, short = 'H', value_name = "PIXELS")]
    pub(crate) height: Option<u32>,
    /// Number of frames, 1 to 10000 [default: the checkpoint's recommendation, else 24]
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<u32>,
}

const EXAMPLE: &str = "\
Example: what a transfer with ZeroScope takes on this machine
  motionflow bench --model cerspense/zeroscope_v2_576w -o bench.json";
