//! CLIP's tokenizer: byte-level byte-pair encoding over lower-case text, as transformers' `CLIPTokenizer` has it.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why a tokenizer could not be made, or a text not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file is missing or cannot be used.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The tokenizers library could not encode a text.
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
}

/// A tokenizer; see [`Tokenizer::from_folder`].
pub struct Tokenizer {
    max_length: usize,
}

/// A text as the text encoder gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The begin token, the text's tokens, the end token, then pad tokens up to the model's length.
    pub ids: Vec<i64>,
    /// How many of `ids` come before the padding.
    pub length: usize,
    /// Whether the text had more tokens than fit.
    pub truncated: bool,
    /// How many tokens the text has, begin and end token and those that did not fit included.
    pub total: usize,
    /// How many bytes of the text the tokens cover: all of them, unless `truncated`.
    pub text_used: usize,
    /// Positions in `ids`, before the padding, of tokens that the vocabulary does not have.
    pub unknown: Vec<usize>,
    /// Bytes of the text that each token before the padding stands for; empty for the begin and end tokens.
    pub offsets: Vec<Range<usize>>,
}

impl Tokenizer {
    /// Reads `vocab.json`, `merges.txt`, `special_tokens_map.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`TokenizerError::File`].
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        Err(TokenizerError::File { path: folder.to_path_buf(), message: "not yet".into() })
    }

    /// Encodes a text.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, _text: &str) -> Result<Tokens, TokenizerError> {
        Err(TokenizerError::Encode(format!("not yet {}", self.max_length)))
    }
}
