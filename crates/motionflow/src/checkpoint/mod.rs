//! A checkpoint: a folder in the layout that diffusers gives a text-to-video pipeline.
//!
//! ```text
//! model_index.json
//! unet/          config.json, weights
//! vae/           config.json, weights
//! text_encoder/  config.json, weights
//! tokenizer/     vocab.json and merges.txt, or tokenizer.json; special_tokens_map.json, tokenizer_config.json
//! scheduler/     scheduler_config.json
//! ```
//!
//! A denoising net may have another name than `unet`, and a checkpoint parts that others of its kind have not: see [`Layout`].
//!
//! Stable Diffusion's checkpoints are such folders, too, and become text-to-video ones with a motion adapter: another folder,
//! with config.json and weights.
//!
//! Weights are safetensors or PyTorch `.bin` files, whole or in shards, in full precision or in the `fp16` variant.
//! Where a folder holds several of them, the full variant goes before `fp16`, and then safetensors before `.bin`.

mod adapter;
mod clip;
mod error;
pub(crate) mod fuzzing;
mod identity;
mod json;
mod layout;
mod loader;
mod names;
mod pickle;
mod published;
mod safetensors;
mod staging;
mod torch_file;
mod weights;
mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use adapter::MOTION_ADAPTER_NAME;
pub use adapter::{MotionAdapter, check_motion_adapter};
pub use clip::{ClipCheckpoint, check_clip};
pub use error::{CheckpointError, TensorProblems, listed};
pub use layout::{Component, ComponentKind, IndexEntry, Layout};
pub use loader::Loader;
pub use published::{needed_adapter_files, needed_clip_files, needed_files};
pub use weights::{StoredTensor, Weights};

use crate::printable::printable;
use crate::small_file;
use crate::tokenizer::{Tokenizer, word_files};

/// CLIP's tokenizer, and what transformers calls one that it knows by its `tokenizer.json` alone; whether that is like
/// CLIP's is seen in the file.
pub(crate) fn clip_tokenizer_classes() -> Vec<&'static str> {
    vec!["CLIPTokenizer", "CLIPTokenizerFast", "TokenizersBackend", "PreTrainedTokenizerFast"]
}

/// The file by which a checkpoint is known.
const INDEX: &str = "model_index.json";

/// The tokenizer's config.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Files of the tokenizer beside its words; they may be missing.
const TOKENIZER_OPTIONAL: [&str; 2] = ["special_tokens_map.json", TOKENIZER_CONFIG];

/// A checkpoint folder that was found whole. Its files are read when they are requested.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    layout: &'static Layout,
    folder: PathBuf,
    motion_adapter: Option<PathBuf>,
    files: Vec<CheckpointFile>,
    /// For each net: the weights file or the index of its shards.
    weights: Vec<(&'static str, PathBuf)>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Relative to the checkpoint's folder, with `/` between the parts.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: u64,
}

impl CheckpointFile {
    fn look(name: String, path: PathBuf) -> Result<Self, CheckpointError> {
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Self { name, path, bytes: metadata.len() }),
            Err(source) => Err(CheckpointError::Read { path, source }),
        }
    }
}

/// `model_index.json`: the pipeline's class, for each component its library and class, and what else the pipeline is told.
#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    pipeline: String,
    #[serde(flatten)]
    entries: BTreeMap<String, Value>,
}

impl ModelIndex {
    /// What it says under this key: null, and the pair of nulls that stands for a part that is not there, are nothing.
    fn entry(&self, key: &str) -> Option<&Value> {
        let is_nothing = |value: &&Value| match value {
            Value::Array(parts) => parts.iter().all(Value::is_null),
            value => value.is_null(),
        };
        self.entries.get(key).filter(|value| !is_nothing(value))
    }

    /// The class that it names for a component.
    fn class(&self, component: &str) -> Option<&str> {
        self.entry(component)?.get(1)?.as_str()
    }
}

impl Checkpoint {
    /// Looks whether `folder` holds a whole checkpoint of one of these layouts; the first is meant where it does not say.
    ///
    /// # Errors
    /// [`CheckpointError::Incomplete`] with every missing file, [`CheckpointError::Unsupported`] for a pipeline or
    /// component of another class, [`CheckpointError::Json`] and [`CheckpointError::Read`].
    pub fn open(folder: &Path, layouts: &[&'static Layout]) -> Result<Self, CheckpointError> {
        let index = folder.join(INDEX);
        if !index.is_file() {
            adapter::refuse_as_checkpoint(folder)?;
        }
        let index = if index.is_file() { Some(read_index(&index, layouts)?) } else { None };
        let layout = index.as_ref().map_or(layouts[0], |(_, layout)| layout);
        let is_there = |component: &&Component| {
            index.as_ref().is_some_and(|(index, _)| index.class(component.name).is_some())
        };
        let mut missing = Vec::new();
        let mut names = vec![INDEX.to_owned()];
        let mut weights = Vec::new();
        for component in layout.components.iter().chain(layout.optional.iter().filter(is_there)) {
            let prefix = format!("{}/", component.name);
            if component.kind == ComponentKind::Tokenizer {
                match tokenizer_files(&prefix, |name| folder.join(name).is_file()) {
                    Ok(files) => names.extend(files),
                    Err(lacks) => missing.extend(lacks),
                }
            } else {
                names.push(format!("{prefix}{}", component.config()));
            }
            match component.weight_stems().map(|stems| find_weights(folder, &prefix, stems)) {
                Some(Ok(found)) => weights.push((component.name, found)),
                Some(Err(looked_for)) => missing.push(looked_for),
                None => {}
            }
        }
        missing.extend(names.iter().filter(|name| !folder.join(name).is_file()).cloned());
        if !missing.is_empty() {
            return Err(CheckpointError::Incomplete { folder: folder.to_path_buf(), missing });
        }
        names.extend(weights.iter().map(|(_, file)| file.clone()));
        for (component, file) in weights.iter().filter(|(_, file)| is_index(file)) {
            let shards = weights::shards(&folder.join(file))?;
            names.extend(shards.iter().map(|shard| relative(component, shard)));
        }
        names.sort();
        let files: Result<_, _> = names
            .into_iter()
            .map(|name| {
                let path = folder.join(&name);
                CheckpointFile::look(name, path)
            })
            .collect();
        let weights = weights.into_iter().map(|(component, file)| (component, folder.join(file)));
        Ok(Self {
            layout,
            folder: folder.to_path_buf(),
            motion_adapter: None,
            files: files?,
            weights: weights.collect(),
        })
    }

    /// The layout of the folder.
    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every file that is used, in the order of their names. Other files of the folder are not.
    pub fn files(&self) -> &[CheckpointFile] {
        &self.files
    }

    /// The size of all files that are used, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The config file of a component.
    ///
    /// # Errors
    /// [`CheckpointError::Json`] with line and column, [`CheckpointError::Read`].
    pub fn config<T: DeserializeOwned>(&self, component: &str) -> Result<T, CheckpointError> {
        json::read(&self.config_path(component), small_file::CONFIG)
    }

    /// Where that config file is, for messages about what it says.
    pub fn config_path(&self, component: &str) -> PathBuf {
        let known = self.layout.component(component);
        let folder = match &self.motion_adapter {
            Some(folder) if component == MOTION_ADAPTER_NAME => folder.clone(),
            _ => self.folder.join(component),
        };
        folder.join(known.map_or("config.json", Component::config))
    }

    /// Whether a net of this name is part of it.
    pub fn has_net(&self, component: &str) -> bool {
        self.weights.iter().any(|(name, _)| *name == component)
    }

    /// What `model_index.json` says under a key: None where it says nothing, or null.
    ///
    /// # Errors
    /// [`CheckpointError::Json`], also for a value of another type, and [`CheckpointError::Read`].
    pub fn index_entry<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CheckpointError> {
        let path = self.folder.join(INDEX);
        let index: ModelIndex = json::read(&path, small_file::CONFIG)?;
        let value = index.entry(key).map(T::deserialize).transpose();
        value.map_err(|error| CheckpointError::Json {
            path,
            line: 0,
            column: 1,
            message: printable(&format!("{key}: {error}")),
        })
    }

    /// The weights of a net, under the names that diffusers 0.42 and transformers 5.17 give
    /// them: the text encoder's without the prefix `text_model.` and without `position_ids`.
    ///
    /// # Errors
    /// As [`Weights::open`] and [`Weights::open_sharded`]; [`CheckpointError::Incomplete`] for another component.
    pub fn weights(&self, component: &str) -> Result<Weights, CheckpointError> {
        let Some((_, path)) = self.weights.iter().find(|(name, _)| *name == component) else {
            let missing = vec![format!("weights of a component `{component}`")];
            return Err(CheckpointError::Incomplete { folder: self.folder.clone(), missing });
        };
        let is_sharded = path.extension().is_some_and(|ending| ending == "json");
        let mut weights = if is_sharded { Weights::open_sharded(path) } else { Weights::open(path) }?;
        names::modernize(component, &mut weights)?;
        Ok(weights)
    }

    /// The tokenizer. Where its files give no length, that is how many tokens the text encoder takes.
    ///
    /// # Errors
    /// As [`Tokenizer::from_folder`] and, for the text encoder, [`Checkpoint::config`].
    pub fn tokenizer(&self) -> Result<Tokenizer, CheckpointError> {
        /// Tokens of a text where the text encoder's configuration does not say: CLIP's.
        const OF_CLIP: i64 = 77;
        /// The same for UMT5, which takes any number: `max_sequence_length` of diffusers' `WanPipeline`.
        const OF_UMT5: i64 = 512;
        #[derive(Deserialize)]
        struct Positions {
            model_type: Option<String>,
            max_position_embeddings: Option<i64>,
        }
        let text_encoder: Positions = self.config("text_encoder")?;
        let is_umt5 = text_encoder.model_type.as_deref() == Some("umt5");
        let default = if is_umt5 { OF_UMT5 } else { OF_CLIP };
        let positions = text_encoder.max_position_embeddings.filter(|_| !is_umt5).unwrap_or(default);
        let positions = usize::try_from(positions).unwrap_or(0);
        Ok(Tokenizer::from_folder(&self.folder.join("tokenizer"), positions)?)
    }

    /// A name that follows from the content: SHA-256, in hex, over the names and contents of [`Checkpoint::files`], those of
    /// the motion adapter as of a folder `motion_adapter`.
    /// Reads every byte of them.
    ///
    /// # Errors
    /// [`CheckpointError::Read`].
    pub fn identity(&self) -> Result<String, CheckpointError> {
        identity::identity(&self.files)
    }
}

/// Reads a `model_index.json` and checks that it is of a pipeline whose components can be run.
///
/// # Errors
/// [`CheckpointError::Unsupported`], [`CheckpointError::Json`], [`CheckpointError::Read`].
pub fn layout_of(path: &Path, layouts: &[&'static Layout]) -> Result<&'static Layout, CheckpointError> {
    read_index(path, layouts).map(|(_, layout)| layout)
}

fn read_index(
    path: &Path,
    layouts: &[&'static Layout],
) -> Result<(ModelIndex, &'static Layout), CheckpointError> {
    let index = json::read(path, small_file::CONFIG)?;
    let layout = check_index(path, &index, layouts)?;
    Ok((index, layout))
}

fn check_index(
    path: &Path,
    index: &ModelIndex,
    layouts: &[&'static Layout],
) -> Result<&'static Layout, CheckpointError> {
    let unsupported = |what: &str, expected: &[&str], found: &str| CheckpointError::Unsupported {
        path: path.to_path_buf(),
        what: what.to_owned(),
        expected: expected.join(" or "),
        found: printable(found),
    };
    let Some(layout) = layouts.iter().find(|layout| layout.pipelines.contains(&index.pipeline.as_str()))
    else {
        let pipelines: Vec<&str> = layouts.iter().flat_map(|layout| layout.pipelines).copied().collect();
        return Err(unsupported("_class_name", &pipelines, &index.pipeline));
    };
    for component in layout.components {
        // The scheduler's config says itself what it is of.
        let default = (component.kind != ComponentKind::Scheduler).then_some("not there");
        let classes = (component.classes)();
        if let Some(class) = index.class(component.name).or(default).filter(|class| !classes.contains(class))
        {
            return Err(unsupported(component.name, &classes, class));
        }
    }
    for component in layout.optional {
        let Some(entry) = index.entry(component.name) else { continue };
        let classes = (component.classes)();
        match index.class(component.name) {
            Some(class) if classes.contains(&class) => {}
            Some(class) => return Err(unsupported(component.name, &classes, class)),
            None => return Err(unsupported(component.name, &classes, &entry.to_string())),
        }
    }
    for IndexEntry { key, is_run, expected } in layout.entries {
        if let Some(value) = index.entry(key).filter(|value| !is_run(value)) {
            return Err(unsupported(key, &[expected], &value.to_string()));
        }
    }
    Ok(layout)
}

/// The files of a tokenizer behind `prefix`, `has` saying which there are; or what is missing, in words.
fn tokenizer_files(prefix: &str, has: impl Fn(&str) -> bool) -> Result<Vec<String>, Vec<String>> {
    let behind = |name: &str| format!("{prefix}{name}");
    let words = word_files(|name| has(&behind(name)))
        .map_err(|missing| missing.iter().map(|name| behind(name)).collect::<Vec<_>>())?;
    let optional = TOKENIZER_OPTIONAL.into_iter().filter(|name| has(&behind(name)));
    Ok(words.iter().copied().chain(optional).map(behind).collect())
}

/// The weights file behind `prefix` in a folder, or the index of its shards; or in words what was looked for.
fn find_weights(folder: &Path, prefix: &str, stems: (&str, &str)) -> Result<String, String> {
    let (safetensors, bin) = stems;
    let names = ["", "fp16"].into_iter().flat_map(|variant| {
        [(safetensors, "safetensors"), (bin, "bin")].into_iter().flat_map(move |(stem, ending)| {
            let indexes = index_names(stem, variant, ending);
            std::iter::once(whole_name(stem, variant, ending)).chain(indexes)
        })
    });
    let mut names = names.map(|name| format!("{prefix}{name}"));
    names.find(|name| folder.join(name).is_file()).ok_or_else(|| {
        let looked_for = format!(
            "{prefix}{safetensors}.safetensors (or {bin}.bin, an fp16 variant of them, or shards with an index)"
        );
        let found = like_weights(&folder.join(prefix));
        if found.is_empty() { looked_for } else { format!("{looked_for}, found {}", found.join(", ")) }
    })
}

/// What weights in one file are called: `STEM.VARIANT.ENDING`.
fn whole_name(stem: &str, variant: &str, ending: &str) -> String {
    format!("{stem}{}.{ending}", dotted(variant))
}

/// What the index of shards is called; the variant has had several places in it.
fn index_names(stem: &str, variant: &str, ending: &str) -> Vec<String> {
    let variant = dotted(variant);
    let mut names = vec![format!("{stem}.{ending}.index{variant}.json")];
    if !variant.is_empty() {
        names.push(format!("{stem}{variant}.{ending}.index.json"));
        names.push(format!("{stem}.{ending}{variant}.index.json"));
    }
    names
}

fn dotted(variant: &str) -> String {
    if variant.is_empty() { String::new() } else { format!(".{variant}") }
}

/// The files of a folder that look like weights, or an index of them, by names that are not known.
fn like_weights(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    only_like_weights(files.filter_map(|file| file.file_name().into_string().ok()))
}

/// A few of these names: those of what looks like weights, or an index of them.
fn only_like_weights(names: impl Iterator<Item = String>) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = names.collect();
    names.retain(|name| {
        let is_one = |ending| Path::new(name).extension().is_some_and(|found| found == ending);
        let is_index = name.contains(".index") && is_one("json");
        is_index || ["safetensors", "bin", "ckpt", "pt", "pth", "msgpack", "h5"].into_iter().any(is_one)
    });
    names.sort();
    names.truncate(SHOWN);
    names.iter().map(|name| printable(name)).collect()
}

fn is_index(file: &str) -> bool {
    file.rsplit('.').next() == Some("json")
}

fn relative(component: &str, path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{component}/{name}")
}
