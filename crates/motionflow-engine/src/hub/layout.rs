//! What a repository of the hub is fetched for: which of its files are needed, and how its kind is known.

use std::path::Path;

use motionflow::checkpoint::{
    CheckpointError, ClipCheckpoint, MotionAdapter, check_clip, check_motion_adapter, layout_of,
    needed_adapter_files, needed_clip_files, needed_files,
};
use motionflow::registry;

/// A layout that the program can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A text-to-video pipeline of diffusers.
    Checkpoint,
    /// A motion adapter of diffusers.
    MotionAdapter,
    /// A `CLIPModel` of transformers.
    Clip,
}

impl Layout {
    /// In words.
    pub(super) fn described(self) -> &'static str {
        match self {
            Self::Checkpoint => "a text-to-video checkpoint in the diffusers layout",
            Self::MotionAdapter => "a motion adapter in the diffusers layout",
            Self::Clip => "a CLIP model in the Hugging Face layout",
        }
    }

    /// The file by which it is known.
    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Checkpoint => "model_index.json",
            Self::MotionAdapter | Self::Clip => "config.json",
        }
    }

    /// Checks that such a file is of a model that can be run.
    pub(super) fn check(self, index: &Path) -> Result<(), CheckpointError> {
        match self {
            Self::Checkpoint => layout_of(index, &registry::layouts()).map(|_| ()),
            Self::MotionAdapter => check_motion_adapter(index),
            Self::Clip => check_clip(index),
        }
    }

    /// The files that are needed of those that are published; or what is missing.
    pub(super) fn needed(self, published: &[&str]) -> Result<Vec<String>, Vec<String>> {
        match self {
            Self::Checkpoint => needed_files(published, &registry::layouts()),
            Self::MotionAdapter => needed_adapter_files(published),
            Self::Clip => needed_clip_files(published),
        }
    }

    /// What a folder lacks; nothing where it is whole, or wrong in another way.
    pub(super) fn missing(self, folder: &Path) -> Vec<String> {
        let opened = match self {
            Self::Checkpoint => registry::open(folder).map(|_| ()),
            Self::MotionAdapter => MotionAdapter::open(folder).map(|_| ()),
            Self::Clip => ClipCheckpoint::open(folder).map(|_| ()),
        };
        match opened {
            Err(
                CheckpointError::Incomplete { missing, .. }
                | CheckpointError::IncompleteAdapter { missing, .. }
                | CheckpointError::IncompleteClip { missing, .. },
            ) => missing,
            Err(CheckpointError::Read { path, .. }) => vec![path.display().to_string()],
            Ok(()) | Err(_) => Vec::new(),
        }
    }
}
