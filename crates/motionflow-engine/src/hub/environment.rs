//! What the environment says of the hub, read as Python's `huggingface_hub` reads it.

use std::path::PathBuf;

use anyhow::Result;

use crate::error::Misuse;
use crate::home;

/// Where the hub is, where its files are kept, and who asks.
#[derive(Debug)]
pub(super) struct Environment {
    /// The cache: `models--OWNER--NAME` folders.
    pub(super) cache: PathBuf,
    /// Without a slash at its end.
    pub(super) endpoint: String,
    pub(super) token: Option<String>,
    /// Whether the network must not be used.
    pub(super) offline: bool,
}

impl Environment {
    pub(super) fn read() -> Result<Self> {
        let home = folder("HF_HOME")
            .or_else(|| home::xdg_cache().map(|cache| cache.join("huggingface")))
            .or_else(|| home::folder().map(|home| home.join(".cache").join("huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or_else(|| Misuse("there is no home folder to keep checkpoints in: set HF_HOME".into()))?;
        let token_file = folder("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")));
        let stored = || std::fs::read_to_string(token_file?).ok().map(|token| token.trim().to_owned());
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        Ok(Self {
            cache: std::path::absolute(&cache).unwrap_or(cache),
            endpoint: endpoint(),
            token: token.filter(|token| !token.is_empty()),
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
        })
    }
}

/// The hub's address, without a slash at its end.
pub(super) fn endpoint() -> String {
    let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    endpoint.trim_end_matches('/').to_owned()
}

fn text(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn is_set(variable: &str) -> bool {
    text(variable).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}
