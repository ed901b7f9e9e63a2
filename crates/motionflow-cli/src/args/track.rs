//! The flags of `track`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use motionflow_engine::motion::command::TrackRequest;
use motionflow_engine::motion::track::Outline;

use super::Video;

const EXAMPLE: &str = "\
Example: look at a track, turn a mask into one that a person can edit, and a track into masks
  motionflow track swing.csv -o swing.png
  motionflow track out/panda/masks/car -W 128 -H 128 -o car.csv
  motionflow track swing.csv --transform mirror --transform \"delay 4\" -o masks/swing";

/// `track`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Track {
    /// Tracks and masks, one a subject: JSON, CSV, npz, npy; a folder of images, an image, a video
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// What is made, by its ending: a picture (.png), key frames (.json, .csv), places to measure against (.npz), or a folder of masks
    #[arg(long, short, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) output: PathBuf,
    /// Change of the motion, such as "move 0.1 0", "mirror" or "speed 2"; several are made in order (docs/motion.md)
    #[arg(long, value_name = "CHANGE")]
    pub(crate) transform: Vec<String>,
    /// Clip whose first frame a picture is drawn over; else it is drawn over a grid
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) source: Option<PathBuf>,
    /// What the key frames that are made of a mask are of
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t = Shape::Ellipse)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// The outline of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    Ellipse,
    Box,
}

impl Track {
    pub(crate) fn request(&self) -> TrackRequest {
        TrackRequest {
            files: self.files.clone(),
            transforms: self.transform.clone(),
            source: self.source.clone(),
            video: self.video.options(),
            shape: if self.shape == Shape::Box { Outline::Box } else { Outline::Ellipse },
            output: self.output.clone(),
        }
    }
}
