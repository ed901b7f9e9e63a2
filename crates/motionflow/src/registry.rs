//! The architectures that can be run. A new one is a module with an [`Architecture`], and a line here.

use std::path::Path;

use crate::animatediff::{ANIMATE_DIFF, STABLE_DIFFUSION};
use crate::architecture::Architecture;
use crate::checkpoint::{Checkpoint, CheckpointError, Layout};
use crate::text_to_video::UNET_3D;
use crate::wan::WanArchitecture;

/// Every architecture. Where a folder does not say which one it is of, messages speak of the first.
static ARCHITECTURES: [&dyn Architecture; 4] = [&UNET_3D, &ANIMATE_DIFF, &STABLE_DIFFUSION, &WanArchitecture];

/// The layouts of the checkpoints that can be run.
pub fn layouts() -> Vec<&'static Layout> {
    ARCHITECTURES.iter().map(|architecture| architecture.layout()).collect()
}

/// Looks whether `folder` holds a whole checkpoint of a kind that can be run.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open(folder: &Path) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(folder, &layouts())
}

/// The architecture of a checkpoint.
pub fn architecture_of(checkpoint: &Checkpoint) -> &'static dyn Architecture {
    let is_its_own =
        |architecture: &&&dyn Architecture| std::ptr::eq(architecture.layout(), checkpoint.layout());
    *ARCHITECTURES.iter().find(is_its_own).unwrap_or(&ARCHITECTURES[0])
}
