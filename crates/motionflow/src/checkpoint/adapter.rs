//! A motion adapter: AnimateDiff's motion modules, in a folder of their own, as diffusers saves a `MotionAdapter`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::CheckpointError;
use super::{Checkpoint, CheckpointFile, INDEX, find_weights, is_index, json, relative, weights};
use crate::printable::printable;
use crate::small_file;

/// What the adapter is called among the components.
pub(crate) const MOTION_ADAPTER_NAME: &str = "motion_adapter";

/// The file by which an adapter is known.
pub(super) const CONFIG: &str = "config.json";

/// What its weights are called, without ending, as safetensors and as `.bin`.
pub(super) const WEIGHT_STEMS: (&str, &str) = ("diffusion_pytorch_model", "diffusion_pytorch_model");

const CLASS: &str = "MotionAdapter";

/// What every `config.json` of diffusers says of itself.
#[derive(Deserialize)]
struct Model {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// Checks that a `config.json` is of a motion adapter.
///
/// # Errors
/// [`CheckpointError::Unsupported`], [`CheckpointError::Json`], [`CheckpointError::Read`].
pub fn check_motion_adapter(config: &Path) -> Result<(), CheckpointError> {
    let model: Model = json::read(config, small_file::CONFIG)?;
    if model.class_name == CLASS {
        return Ok(());
    }
    Err(CheckpointError::Unsupported {
        path: config.to_path_buf(),
        what: "_class_name".to_owned(),
        expected: CLASS.to_owned(),
        found: printable(&model.class_name),
    })
}

/// Refuses a folder that is no checkpoint, but a motion adapter.
pub(super) fn refuse_as_checkpoint(folder: &Path) -> Result<(), CheckpointError> {
    let config = folder.join(CONFIG);
    if !folder.join(INDEX).is_file() && config.is_file() && check_motion_adapter(&config).is_ok() {
        return Err(CheckpointError::IsMotionAdapter { folder: folder.to_path_buf() });
    }
    Ok(())
}

/// A motion adapter that was found whole.
#[derive(Debug, Clone)]
pub struct MotionAdapter {
    folder: PathBuf,
    files: Vec<CheckpointFile>,
    weights: PathBuf,
}

impl MotionAdapter {
    /// Looks whether `folder` holds a whole motion adapter.
    ///
    /// # Errors
    /// [`CheckpointError::IncompleteAdapter`] with every missing file, [`CheckpointError::Unsupported`] for a folder of
    /// something else, [`CheckpointError::Json`] and [`CheckpointError::Read`].
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let config = folder.join(CONFIG);
        if config.is_file() {
            check_motion_adapter(&config)?;
        }
        let lacks_config = (!config.is_file()).then(|| CONFIG.to_owned());
        let file = match find_weights(folder, "", WEIGHT_STEMS) {
            Ok(file) if lacks_config.is_none() => file,
            found => {
                let missing = lacks_config.into_iter().chain(found.err()).collect();
                return Err(CheckpointError::IncompleteAdapter { folder: folder.to_path_buf(), missing });
            }
        };
        let weights = folder.join(&file);
        let mut paths = vec![config, weights.clone()];
        if is_index(&file) {
            paths.extend(weights::shards(&weights)?);
        }
        let files =
            paths.into_iter().map(|path| CheckpointFile::look(relative(MOTION_ADAPTER_NAME, &path), path));
        Ok(Self { folder: folder.to_path_buf(), files: files.collect::<Result<_, _>>()?, weights })
    }

    /// The size of all files that are used, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl Checkpoint {
    /// The same with the motion adapter of a folder.
    ///
    /// # Errors
    /// [`CheckpointError::TakesNoMotionAdapter`] where the checkpoint needs none, and as [`MotionAdapter::open`].
    pub fn with_motion_adapter(mut self, folder: &Path) -> Result<Self, CheckpointError> {
        if !self.layout.takes_motion_adapter {
            return Err(CheckpointError::TakesNoMotionAdapter { folder: self.folder });
        }
        let MotionAdapter { folder, files, weights } = MotionAdapter::open(folder)?;
        self.files.extend(files);
        self.files.sort_by(|one, other| one.name.cmp(&other.name));
        self.weights.push((MOTION_ADAPTER_NAME, weights));
        self.motion_adapter = Some(folder);
        Ok(self)
    }

    /// Whether it makes videos with a motion adapter alone.
    pub fn takes_motion_adapter(&self) -> bool {
        self.layout.takes_motion_adapter
    }

    /// The folder of its motion adapter, where it needs one.
    ///
    /// # Errors
    /// [`CheckpointError::NoMotionAdapter`] where it needs one and has none.
    pub fn motion_adapter(&self) -> Result<Option<&Path>, CheckpointError> {
        match &self.motion_adapter {
            None if self.layout.takes_motion_adapter => {
                Err(CheckpointError::NoMotionAdapter { folder: self.folder.clone() })
            }
            folder => Ok(folder.as_deref()),
        }
    }
}
