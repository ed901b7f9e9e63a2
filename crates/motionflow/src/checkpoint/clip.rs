//! A CLIP model: a folder in the layout that transformers gives a `CLIPModel`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::CheckpointError;
use super::weights::Weights;
use super::{find_weights, is_index, json, names, tokenizer_files};
use crate::printable::printable;
use crate::small_file;
use crate::tokenizer::Tokenizer;

/// The file by which a CLIP model is known.
const CONFIG: &str = "config.json";

/// What is done to pictures before they are encoded.
const PREPROCESSOR: &str = "preprocessor_config.json";

/// The same as transformers 5 saves it, among the parts of a processor.
const PROCESSOR: &str = "processor_config.json";

/// The files of a CLIP model besides its weights, the one first by which it is known, `has` saying which there are; or
/// what is missing, in words.
pub(super) fn small_files(has: impl Fn(&str) -> bool) -> Result<Vec<String>, Vec<String>> {
    let mut names = vec![CONFIG.to_owned()];
    let mut missing: Vec<String> = names.iter().filter(|name| !has(name)).cloned().collect();
    match [PREPROCESSOR, PROCESSOR].into_iter().find(|name| has(name)) {
        Some(preprocessor) => names.push(preprocessor.to_owned()),
        None => missing.push(format!("{PREPROCESSOR} (or {PROCESSOR})")),
    }
    match tokenizer_files("", has) {
        Ok(files) => names.extend(files),
        Err(lacks) => missing.extend(lacks),
    }
    if missing.is_empty() { Ok(names) } else { Err(missing) }
}

/// What transformers calls the weights, without ending, as safetensors and as `.bin`.
pub(super) const WEIGHT_STEMS: (&str, &str) = ("model", "pytorch_model");

/// A CLIP model that was found whole: `config.json`, `preprocessor_config.json` or `processor_config.json`, `vocab.json` and `merges.txt` or
/// `tokenizer.json`, perhaps `special_tokens_map.json` and `tokenizer_config.json`, and weights under any of the names that a checkpoint's may have.
#[derive(Debug, Clone)]
pub struct ClipCheckpoint {
    folder: PathBuf,
    weights: PathBuf,
}

/// What every `config.json` of transformers says of itself.
#[derive(Deserialize)]
struct Model {
    model_type: String,
}

/// `processor_config.json`, as far as it is of pictures.
#[derive(Deserialize)]
struct Processor<T> {
    image_processor: T,
}

impl ClipCheckpoint {
    /// Looks whether `folder` holds a whole CLIP model.
    ///
    /// # Errors
    /// [`CheckpointError::IncompleteClip`] with every missing file, [`CheckpointError::Unsupported`] for another kind of
    /// model, [`CheckpointError::Json`] and [`CheckpointError::Read`].
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        if folder.join(CONFIG).is_file() {
            check_clip(&folder.join(CONFIG))?;
        }
        let mut missing = small_files(|name| folder.join(name).is_file()).err().unwrap_or_default();
        let weights = find_weights(folder, "", WEIGHT_STEMS);
        match weights {
            Ok(weights) if missing.is_empty() => {
                Ok(Self { folder: folder.to_owned(), weights: folder.join(weights) })
            }
            weights => {
                missing.extend(weights.err());
                Err(CheckpointError::IncompleteClip { folder: folder.to_owned(), missing })
            }
        }
    }

    /// Its `config.json`.
    ///
    /// # Errors
    /// [`CheckpointError::Json`] with line and column, [`CheckpointError::Read`].
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        json::read(&self.folder.join(CONFIG), small_file::CONFIG)
    }

    /// Its `preprocessor_config.json`, or that part of `processor_config.json`.
    ///
    /// # Errors
    /// As [`ClipCheckpoint::config`].
    pub fn preprocessor<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        let own = self.folder.join(PREPROCESSOR);
        if own.is_file() {
            return json::read(&own, small_file::CONFIG);
        }
        let Processor { image_processor } = json::read(&self.folder.join(PROCESSOR), small_file::CONFIG)?;
        Ok(image_processor)
    }

    /// The tokenizer. Where its files give no length, it is `positions`.
    ///
    /// # Errors
    /// As [`Tokenizer::from_folder`].
    pub fn tokenizer(&self, positions: i64) -> Result<Tokenizer, CheckpointError> {
        Ok(Tokenizer::from_folder(&self.folder, usize::try_from(positions).unwrap_or(0))?)
    }

    /// The weights, without `position_ids`.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Weights::open_sharded`].
    pub fn weights(&self) -> Result<Weights, CheckpointError> {
        let is_index = is_index(&self.weights.to_string_lossy());
        let mut weights =
            if is_index { Weights::open_sharded(&self.weights) } else { Weights::open(&self.weights) }?;
        names::modernize("clip", &mut weights)?;
        Ok(weights)
    }
}

/// Reads a `config.json` and checks that it is of a CLIP model.
///
/// # Errors
/// [`CheckpointError::Unsupported`], [`CheckpointError::Json`], [`CheckpointError::Read`].
pub fn check_clip(path: &Path) -> Result<(), CheckpointError> {
    let model: Model = json::read(path, small_file::CONFIG)?;
    if model.model_type == "clip" {
        return Ok(());
    }
    Err(CheckpointError::Unsupported {
        path: path.to_owned(),
        what: "model_type".to_owned(),
        expected: "clip".to_owned(),
        found: printable(&model.model_type),
    })
}
