//! The source, and what the new video shows and measures.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use motionflow_media::Fit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The video whose motion is taken.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source")]
#[expect(clippy::struct_field_names, reason = "fields have the names of their flags")]
pub(crate) struct Source {
    /// Video whose motion is taken: anything ffmpeg reads, or a folder of images in natural order
    #[arg(long, value_name = "PATH")]
    pub(crate) source: Option<PathBuf>,
    /// What the source shows, its subject in brackets: "a [car] on a road"
    #[arg(long, value_name = "TEXT")]
    pub(crate) source_prompt: Option<String>,
    #[command(flatten)]
    pub(crate) cut: Cut,
}

/// Which part of the source is used, and how it is brought to size.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Cut {
    /// Where to begin in the source, in seconds, 0 or more [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) start: Option<f64>,
    /// Keep one frame of so many, 1 to 100000 [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) every: Option<u32>,
    /// How the source is brought to the video's size [default: crop]
    #[arg(long, value_name = "HOW", value_parser = fit_parser())]
    #[serde(with = "crate::named", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["crop", "pad", "stretch"]))]
    pub(crate) fit: Option<Fit>,
}

/// What the new video shows.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "New video")]
pub(crate) struct Prompts {
    /// What the new video shows; for a transfer its subject in brackets: "a [panda] in the snow"
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// What it must not show [default: the checkpoint's recommendation, else empty]
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) negative_prompt: Option<String>,
}

/// The video's size, in space and time.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[command(next_help_heading = "Video size")]
pub(crate) struct Video {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) size: Size,
    /// Frames per second, over 0 up to 1000 [default: those of the source, else the checkpoint's recommendation]
    #[arg(long, value_name = "RATE")]
    pub(crate) fps: Option<f64>,
}

/// How wide, high and long it is.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
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

fn fit_parser() -> impl TypedValueParser<Value = Fit> {
    PossibleValuesParser::new(Fit::ALL.map(Fit::name)).try_map(|name| name.parse::<Fit>())
}
