//! The source, and how large the new video is.

use std::path::PathBuf;

use clap::Args;
use motionflow_engine::request::{CutOptions, Rate, Size, VideoOptions};

use super::flags::Flags;

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
    pub(crate) cut: Flags<CutOptions>,
}

/// The video's size, in space and time.
#[derive(Debug, Clone, Args)]
pub(crate) struct Video {
    #[command(flatten)]
    size: Flags<Size>,
    #[command(flatten)]
    rate: Flags<Rate>,
}

impl Video {
    pub(crate) fn options(&self) -> VideoOptions {
        VideoOptions { size: self.size.0.clone(), rate: self.rate.0.clone() }
    }
}
