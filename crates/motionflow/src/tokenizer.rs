//! The tokenizers of the text encoders: CLIP's and UMT5's.
//!
//! CLIP's is byte-level byte-pair encoding over lower-case text, as transformers' `CLIPTokenizer` has it. It is made from `vocab.json` and `merges.txt`, or, where they are missing, from `tokenizer.json`. `tokenizer_config.json` and `special_tokens_map.json` name the begin,
//! end, unknown and pad tokens and the length to pad to; either may be missing. A special token that stands in a text
//! is that token and not its letters: with the pad token `!`, as ZeroScope has it, every `!` of a prompt is padding,
//! in transformers and here.
//!
//! UMT5's is a Unigram model of SentencePiece. All of it comes from `tokenizer.json`, and nothing from the files beside it.
//! White space in a text is collapsed before, as `WanPipeline` does it: the ids are those of the collapsed text, and the
//! offsets are of the text as it was given.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, replace::ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, normalizers, pre_tokenizers};

use crate::collapsed::Collapsed;
use crate::error::Error;
use crate::nets::clip_text::ClipTextConfig;
use crate::printable::printable;
use crate::small_file;
use crate::spelt_out;
use crate::tokenizer_json::TokenizerJson;
use crate::unigram::{self, UnigramJson};

pub(crate) const VOCABULARY: &str = "vocab.json";
pub(crate) const MERGES: &str = "merges.txt";
/// Both in one.
pub(crate) const WHOLE: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// What CLIP cuts a text into before any merging; what matches nothing here, space, is dropped.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// `model_max_length` from here on means that there is none: transformers' `LARGE_INTEGER`. It writes 10^30 then.
const NO_LENGTH: f64 = 1e20;

/// The most tokens of a text: far more than any CLIP takes, and twice what Wan takes. Attention grows with the square of it.
const MAX_LENGTH: usize = 1024;

/// The most tokens of an `added_tokens_decoder`: CLIP's has two, UMT5's 304. The tokenizers library compares each with all others.
pub(crate) const MAX_ADDED: usize = 1000;

/// Why a tokenizer could not be made, or a text not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file is missing or cannot be used.
    #[error("{}: the tokenizer cannot use this file: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        message: String,
    },
    /// The vocabulary, the merges or the special tokens contradict each other.
    #[error("{}: the tokenizer's files contradict each other: {message}", folder.display())]
    Inconsistent {
        /// The tokenizer's folder.
        folder: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// The tokenizers library could not encode a text.
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
}

/// A tokenizer; see [`Tokenizer::from_folder`].
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: usize,
    around: Around,
    /// The unknown token and its id.
    unknown: (String, i64),
}

/// What is put around a text's tokens.
#[derive(Debug, Clone, Copy)]
enum Around {
    /// CLIP's: a begin and an end token, then padding.
    Clip { begin: i64, end: i64, pad: i64 },
    /// UMT5's: an end token. The padding would be masked.
    Umt5 { end: i64 },
}

impl Around {
    fn begin(self) -> Option<i64> {
        match self {
            Self::Clip { begin, .. } => Some(begin),
            Self::Umt5 { .. } => None,
        }
    }

    fn end(self) -> i64 {
        match self {
            Self::Clip { end, .. } | Self::Umt5 { end } => end,
        }
    }
}

/// A text as the text encoder gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// CLIP's: the begin token, the text's tokens, the end token, then pad tokens up to the model's length. UMT5's: the
    /// text's tokens and the end token.
    pub ids: Vec<i64>,
    /// How many of `ids` come before the text's: 1 where there is a begin token, else 0.
    pub first: usize,
    /// How many of `ids` come before the padding.
    pub length: usize,
    /// Whether the text had more tokens than fit.
    pub truncated: bool,
    /// How many tokens the text has, begin token, end token and those that did not fit included.
    pub total: usize,
    /// How many bytes of the text the tokens cover: all of them, unless `truncated`.
    pub text_used: usize,
    /// Positions in `ids`, before the padding, of tokens that the vocabulary does not have.
    pub unknown: Vec<usize>,
    /// Bytes of the text of each word that the vocabulary has only in small pieces, less than three letters (or one sign)
    /// each in the mean: a sign that the text encoder has never learnt what it means.
    pub spelt_out: Vec<Range<usize>>,
    /// Bytes of the text that each token before the padding stands for; empty for the begin and end tokens. A letter of
    /// several tokens is the range of each of them; a piece of UMT5's that begins with a space has the space in its range.
    pub offsets: Vec<Range<usize>>,
}

/// The texts of a tokenizer's files; the last two may be missing.
pub(crate) struct Files {
    pub(crate) words: Words,
    pub(crate) config: Option<String>,
    pub(crate) special_tokens: Option<String>,
}

/// Where a tokenizer's vocabulary and merges stand.
pub(crate) enum Words {
    /// `vocab.json` and `merges.txt`.
    Apart { vocabulary: String, merges: String },
    /// `tokenizer.json`.
    Whole(String),
}

/// The files of a tokenizer's vocabulary and merges, `has` saying which there are: `vocab.json` and `merges.txt` where
/// both are there, else `tokenizer.json`. Where there is neither, what is missing, in words.
pub(crate) fn word_files(has: impl Fn(&str) -> bool) -> Result<&'static [&'static str], Vec<String>> {
    const APART: &[&str] = &[VOCABULARY, MERGES];
    let missing: Vec<String> = APART.iter().filter(|name| !has(name)).map(|&name| name.to_owned()).collect();
    if missing.is_empty() {
        Ok(APART)
    } else if has(WHOLE) {
        Ok(&[WHOLE])
    } else {
        Err(missing)
    }
}

impl Files {
    fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let words = match word_files(|name| folder.join(name).is_file()) {
            Ok([WHOLE]) => Words::Whole(read(folder, WHOLE, small_file::TOKENIZER)?),
            // What is missing, the reading tells.
            _ => Words::Apart {
                vocabulary: read(folder, VOCABULARY, small_file::LIST)?,
                merges: read(folder, MERGES, small_file::LIST)?,
            },
        };
        let optional =
            |name, limit| folder.join(name).exists().then(|| read(folder, name, limit)).transpose();
        Ok(Self {
            words,
            config: optional(CONFIG, small_file::CONFIG)?,
            special_tokens: optional(SPECIAL_TOKENS, small_file::CONFIG)?,
        })
    }
}

impl Tokenizer {
    /// Reads `vocab.json` and `merges.txt`, or `tokenizer.json` where they are missing, and, where they exist, `tokenizer_config.json` and `special_tokens_map.json`.
    /// Where they give no length, as transformers writes it for tokenizers that know none, it is `text_length`: how
    /// many tokens the text encoder takes. Where `tokenizer.json` is a Unigram model, the tokenizer is UMT5's, and its length
    /// is `text_length` whatever the files say.
    ///
    /// # Errors
    /// [`TokenizerError::File`] and [`TokenizerError::Inconsistent`].
    pub fn from_folder(folder: &Path, text_length: usize) -> Result<Self, TokenizerError> {
        Self::of_files(folder, &Files::read(folder)?, text_length)
    }

    /// As [`Tokenizer::from_folder`]; `folder` is for messages.
    pub(crate) fn of_files(folder: &Path, files: &Files, text_length: usize) -> Result<Self, TokenizerError> {
        if let Words::Whole(text) = &files.words
            && parse::<unigram::Kind>(folder, WHOLE, text)?.is_unigram()
        {
            return Self::umt5(folder, text, text_length);
        }
        let library = |error: tokenizers::Error| inconsistent(folder, &error.to_string());
        let (vocabulary, merges, added): (BTreeMap<String, u32>, Merges, Vec<AddedTokenEntry>) =
            match &files.words {
                Words::Apart { vocabulary, merges } => {
                    (parse(folder, VOCABULARY, vocabulary)?, parse_merges(folder, merges)?, Vec::new())
                }
                Words::Whole(text) => {
                    let whole: TokenizerJson = parse(folder, WHOLE, text)?;
                    let parts = whole.parts().map_err(|what| file_error(folder, WHOLE, &what))?;
                    (parts.vocabulary, parts.merges, parts.added)
                }
            };
        let config = Config::of(folder, files, added, text_length)?;
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary.into_iter().collect::<Vocab>(), merges)
            .unk_token(config.unknown.content.clone())
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".to_owned())
            .build()
            .map_err(library)?;

        let mut inner = tokenizers::Tokenizer::new(bpe);
        let one_space = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(library)?;
        inner.with_normalizer(Some(normalizers::Sequence::new(vec![
            NFC.into(),
            one_space.into(),
            Lowercase.into(),
        ])));
        let words = SplitPattern::Regex(WORDS.to_owned());
        let words = Split::new(words, SplitDelimiterBehavior::Removed, true).map_err(library)?;
        inner.with_pre_tokenizer(Some(pre_tokenizers::sequence::Sequence::new(vec![
            words.into(),
            ByteLevel::new(false, true, true).into(),
        ])));
        inner.add_tokens(&config.added);

        let id = |token: &AddedToken| {
            let id = inner.get_vocab(true).get(&token.content).copied().map(i64::from);
            let lacks = || format!("the vocabulary lacks the special token `{}`", token.content);
            id.ok_or_else(|| inconsistent(folder, &lacks()))
        };
        let (begin, end, pad) = (id(&config.begin)?, id(&config.end)?, id(&config.pad)?);
        let unknown = (config.unknown.content.clone(), id(&config.unknown)?);
        Ok(Self { max_length: config.max_length, around: Around::Clip { begin, end, pad }, unknown, inner })
    }

    /// UMT5's tokenizer out of the text of a `tokenizer.json`.
    fn umt5(folder: &Path, text: &str, text_length: usize) -> Result<Self, TokenizerError> {
        let wrong = |what: &str| file_error(folder, WHOLE, what);
        if !(2..=MAX_LENGTH).contains(&text_length) {
            return Err(wrong(&format!("texts have {text_length} tokens, but must have 2 to {MAX_LENGTH}")));
        }
        let made = parse::<UnigramJson>(folder, WHOLE, text)?.make().map_err(|what| wrong(&what))?;
        let around = Around::Umt5 { end: made.end };
        Ok(Self { inner: made.tokenizer, max_length: text_length, around, unknown: made.unknown })
    }

    /// How many tokens a text is cut to, and CLIP's also padded to.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// How many ids there are; each id is less.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
    }

    /// Checks that a text encoder takes its tokens.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it gives more tokens than the encoder takes, or others than it knows.
    pub fn check_fit(&self, text: &ClipTextConfig) -> Result<(), Error> {
        let (length, positions) = (self.max_length() as i64, text.max_position_embeddings);
        if length > positions {
            let mismatch = format!("the tokenizer gives {length} tokens, the text encoder takes {positions}");
            return Err(Error::Mismatch(mismatch));
        }
        self.check_vocabulary(text.vocab_size)
    }

    /// Checks that a text encoder with a vocabulary of this size takes its tokens.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it gives others than the encoder knows.
    pub fn check_vocabulary(&self, vocabulary: i64) -> Result<(), Error> {
        let tokens = self.vocabulary_size() as i64;
        if tokens > vocabulary {
            let mismatch = format!("the tokenizer knows {tokens} tokens, the text encoder {vocabulary}");
            return Err(Error::Mismatch(mismatch));
        }
        Ok(())
    }

    /// Encodes a text as [`Tokens::ids`] says. A text that is too long loses its end.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let library = |error: tokenizers::Error| TokenizerError::Encode(printable(&error.to_string()));
        let collapsed = match self.around {
            Around::Clip { .. } => None,
            Around::Umt5 { .. } => Some(Collapsed::of(text)),
        };
        let encoded = collapsed.as_ref().map_or(text, |collapsed| &collapsed.text);
        let encoding = self.inner.encode(encoded, false).map_err(library)?;
        let origin = |range| match &collapsed {
            Some(collapsed) => collapsed.origin(range),
            None => range,
        };
        let begin = self.around.begin();
        let first = usize::from(begin.is_some());
        let total = first + encoding.len() + 1;
        let kept = encoding.len().min(self.max_length - first - 1);
        let ranges: Vec<_> = encoding.get_offsets().iter().map(|&(start, end)| origin(start..end)).collect();
        let text_used = ranges.get(kept).map_or(text.len(), |cut_off| cut_off.start);

        let mut ids: Vec<i64> = begin.into_iter().collect();
        ids.extend(encoding.get_ids()[..kept].iter().map(|&id| i64::from(id)));
        ids.push(self.around.end());
        let mut offsets = vec![0..0; first];
        offsets.extend_from_slice(&ranges[..kept]);
        offsets.push(text_used..text_used);

        let length = ids.len();
        let (unknown, unknown_id) = &self.unknown;
        let is_unknown =
            |&i: &usize| ids[i] == *unknown_id && text.get(offsets[i].clone()) != Some(unknown.as_str());
        let unknown = (first..length - 1).filter(is_unknown).collect();
        let words = encoding.get_word_ids();
        let spelt_out = match self.around {
            Around::Clip { .. } => spelt_out::of_letters(text, words, &ranges),
            Around::Umt5 { .. } => spelt_out::of_pieces(text, words, &ranges, encoding.get_tokens()),
        };
        if let Around::Clip { pad, .. } = self.around {
            ids.resize(self.max_length, pad);
        }
        Ok(Tokens {
            ids,
            first,
            length,
            truncated: total > self.max_length,
            total,
            text_used,
            unknown,
            spelt_out,
            offsets,
        })
    }
}

/// What the two JSON files beside the vocabulary say.
struct Config {
    max_length: usize,
    begin: AddedToken,
    end: AddedToken,
    unknown: AddedToken,
    pad: AddedToken,
    /// All special and added tokens.
    added: Vec<AddedToken>,
}

/// `tokenizer_config.json` as far as it matters. `do_lower_case` does not: transformers 5 lowers the case always.
#[derive(Deserialize, Default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
    added_tokens_decoder: Option<BTreeMap<u32, AddedTokenEntry>>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A token with its way of being found in a text.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "it mirrors the files' entries")]
pub(crate) struct AddedTokenEntry {
    /// In `tokenizer.json` alone.
    id: Option<u32>,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl AddedTokenEntry {
    pub(crate) fn id(&self) -> Option<u32> {
        self.id
    }

    /// The token as the entry says.
    pub(crate) fn as_it_says(&self) -> AddedToken {
        self.token(self.special)
    }

    fn token(&self, special: bool) -> AddedToken {
        AddedToken::from(self.content.clone(), special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!special))
    }
}

impl Config {
    /// In transformers' order: `special_tokens_map.json` goes before `tokenizer_config.json`, except where the latter
    /// has an `added_tokens_decoder`, which newer versions write instead of the former. `whole` are the tokens that
    /// `tokenizer.json` adds, where it is read; the newest versions write them there alone.
    fn of(
        folder: &Path,
        files: &Files,
        whole: Vec<AddedTokenEntry>,
        text_length: usize,
    ) -> Result<Self, TokenizerError> {
        let config: TokenizerConfig = parse_if_there(folder, CONFIG, files.config.as_ref())?;
        let given = config.model_max_length.filter(|length| *length < NO_LENGTH);
        let max_length = given.unwrap_or(text_length as f64);
        if !(3.0..=MAX_LENGTH as f64).contains(&max_length) || max_length.fract() != 0.0 {
            let whose = match given {
                Some(_) => "model_max_length is",
                None => "there is no model_max_length, and the text encoder's is",
            };
            let message = format!("{whose} {max_length}, but must be 3 to {MAX_LENGTH}");
            return Err(file_error(folder, CONFIG, &message));
        }
        let mut special = config.rest;
        let mut added: Vec<AddedToken> = Vec::new();
        let mut add = |name, key, tokens: Vec<AddedTokenEntry>| {
            if tokens.len() > MAX_ADDED {
                let message = format!("{key} has {} tokens, more than {MAX_ADDED}", tokens.len());
                return Err(file_error(folder, name, &message));
            }
            added.extend(tokens.iter().map(AddedTokenEntry::as_it_says));
            Ok(())
        };
        if let Some(tokens) = config.added_tokens_decoder {
            add(CONFIG, "added_tokens_decoder", tokens.into_values().collect())?;
        } else {
            add(WHOLE, "added_tokens", whole)?;
            let map: BTreeMap<String, Value> =
                parse_if_there(folder, SPECIAL_TOKENS, files.special_tokens.as_ref())?;
            special.extend(map);
        }
        let named = |name: &str, default: &str| match special.get(name) {
            None | Some(Value::Null) => Ok(AddedToken::from(default, true)),
            Some(value) => special_token(value)
                .ok_or_else(|| inconsistent(folder, &format!("{name}: expected a token, found {value}"))),
        };
        let begin = named("bos_token", "<|startoftext|>")?;
        let end = named("eos_token", "<|endoftext|>")?;
        let unknown = named("unk_token", "<|endoftext|>")?;
        let pad = named("pad_token", "<|endoftext|>")?;
        for token in [&begin, &end, &unknown, &pad] {
            if !added.iter().any(|other: &AddedToken| other.content == token.content) {
                added.push(token.clone());
            }
        }
        Ok(Self { max_length: max_length as usize, begin, end, unknown, pad, added })
    }
}

/// A special token is written as a string or as an object with a `content`.
fn special_token(value: &Value) -> Option<AddedToken> {
    match value {
        Value::String(content) => Some(AddedToken::from(content.clone(), true)),
        object => {
            serde_json::from_value::<AddedTokenEntry>(object.clone()).ok().map(|entry| entry.token(true))
        }
    }
}

/// The pairs of `merges.txt`, after its line with the version.
fn parse_merges(folder: &Path, text: &str) -> Result<Merges, TokenizerError> {
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    let pairs = lines.map(|(index, line)| match line.split_once(' ') {
        Some((first, second)) if !second.contains(' ') => Ok((first.to_owned(), second.to_owned())),
        _ => {
            let message =
                format!("line {}: expected two parts with a space between, found `{line}`", index + 1);
            Err(file_error(folder, MERGES, &message))
        }
    });
    pairs.collect()
}

fn read(folder: &Path, name: &str, limit: u64) -> Result<String, TokenizerError> {
    small_file::read_text(&folder.join(name), limit)
        .map_err(|error| file_error(folder, name, &format!("cannot be read: {error}")))
}

fn parse<T: DeserializeOwned>(folder: &Path, name: &str, text: &str) -> Result<T, TokenizerError> {
    serde_json::from_str(text).map_err(|error| file_error(folder, name, &error.to_string()))
}

fn parse_if_there<T: DeserializeOwned + Default>(
    folder: &Path,
    name: &str,
    text: Option<&String>,
) -> Result<T, TokenizerError> {
    text.map_or_else(|| Ok(T::default()), |text| parse(folder, name, text))
}

fn file_error(folder: &Path, name: &str, message: &str) -> TokenizerError {
    TokenizerError::File { path: folder.join(name), message: printable(message) }
}

fn inconsistent(folder: &Path, message: &str) -> TokenizerError {
    TokenizerError::Inconsistent { folder: folder.to_path_buf(), message: printable(message) }
}
