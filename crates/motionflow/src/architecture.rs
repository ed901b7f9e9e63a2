//! What a kind of checkpoint is: what its folders hold, and how it becomes a [`VideoModel`].

use std::fmt::Debug;

use tch::Device;

use crate::checkpoint::{Checkpoint, Layout};
use crate::compute::{Compute, Precision};
use crate::cost::Costs;
use crate::error::Error;
use crate::model::VideoModel;
use crate::parity_case::ParityModel;
use crate::schedule::Schedule;
use crate::settings::Settings;

/// What suits the nets of an architecture, where a checkpoint does not say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Suited {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Number of frames.
    pub frames: u32,
    /// Frames per second.
    pub fps: f64,
    /// The method's.
    pub settings: Settings,
    /// Whether more or fewer frames make poorer videos, whatever the checkpoint.
    pub is_made_for_frames: bool,
    /// What it computes with on a CUDA device where nobody says: the precision in which its checkpoints are used.
    pub precision: Precision,
}

/// What is known of a kind of checkpoint. All but the loading reads its configs alone.
pub trait Architecture: Debug + Sync {
    /// The layout of its folders.
    fn layout(&self) -> &Layout;

    /// What suits its nets.
    fn suited(&self) -> Suited;

    /// Whether a clip can be seen in sliding windows: a latent frame is a frame of the clip.
    fn takes_context_windows(&self) -> bool {
        true
    }

    /// The noise schedule.
    ///
    /// # Errors
    /// When its config is damaged, or is of a schedule that cannot be run.
    fn schedule(&self, checkpoint: &Checkpoint) -> Result<Schedule, Error>;

    /// Checks that the nets can take a video of this size in pixels.
    ///
    /// # Errors
    /// [`Error::Config`] for a config that cannot be run, [`Error::Size`] with a size near by that works.
    fn check_size(&self, checkpoint: &Checkpoint, frames: i64, height: i64, width: i64) -> Result<(), Error>;

    /// Checks that there are guidance blocks of these names.
    ///
    /// # Errors
    /// [`Error::UnknownBlock`] with the blocks that there are.
    fn check_blocks(&self, checkpoint: &Checkpoint, names: &[String]) -> Result<(), Error>;

    /// The blocks that are looked at where somebody wants to know which of them show the subjects; those that guide where
    /// empty.
    ///
    /// # Errors
    /// When a config is damaged.
    fn inspected_blocks(&self, checkpoint: &Checkpoint) -> Result<Vec<String>, Error> {
        let _ = checkpoint;
        Ok(Vec::new())
    }

    /// What the nets cost, guided by these blocks; by all where none is named.
    ///
    /// # Errors
    /// When a config cannot be run, the parts do not fit together, or as [`Architecture::check_blocks`].
    fn costs(&self, checkpoint: &Checkpoint, guidance_blocks: &[String]) -> Result<Box<dyn Costs>, Error>;

    /// Loads all nets.
    ///
    /// # Errors
    /// Says which file or config is missing or wrong, and lists all tensors that are.
    fn load(&self, checkpoint: &Checkpoint, compute: Compute) -> Result<Box<dyn VideoModel + Send>, Error>;

    /// Loads all nets in float32, to be compared with a parity case.
    ///
    /// # Errors
    /// As [`Architecture::load`].
    fn load_for_parity(&self, checkpoint: &Checkpoint, device: Device)
    -> Result<Box<dyn ParityModel>, Error>;
}
