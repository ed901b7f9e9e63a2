//! SentencePiece's Unigram tokenizer out of a `tokenizer.json`, as UMT5 has it.
//!
//! The file says it all: how a text is normalized, what stands for a space, the pieces with their scores, whether an
//! unknown character becomes its bytes, and the end token. What the file says is run by the tokenizers library; steps that
//! no such tokenizer has are refused, so that a file of strangers cannot choose what runs.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::Metaspace;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer, pre_tokenizers};

use crate::charsmap;
use crate::tokenizer::{AddedTokenEntry, MAX_ADDED};

/// What stands for a space.
const SPACE: char = '▁';

/// The most bytes of a piece: SentencePiece makes them of up to 16 characters.
const MAX_PIECE: usize = 256;

/// The most bytes of all pieces. Of UMT5's size, 256,300 pieces of 2.7 MB, the library makes 450 MB.
const MAX_PIECES: usize = 8 << 20;

/// The most steps of normalizing.
const MAX_STEPS: usize = 16;

/// The type of the model in a `tokenizer.json`, to choose by.
#[derive(Deserialize)]
pub(crate) struct Kind {
    model: ModelKind,
}

#[derive(Deserialize)]
struct ModelKind {
    #[serde(rename = "type")]
    name: Option<String>,
}

impl Kind {
    pub(crate) fn is_unigram(&self) -> bool {
        self.model.name.as_deref() == Some("Unigram")
    }
}

/// The parts of the file that matter. Lengths to cut or pad to do not: they are the pipeline's to choose.
#[derive(Deserialize)]
pub(crate) struct UnigramJson {
    #[serde(default)]
    added_tokens: Vec<AddedTokenEntry>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    vocab: Vec<(String, f64)>,
    unk_id: Option<usize>,
    #[serde(default)]
    byte_fallback: bool,
}

/// A tokenizer, and what it makes besides a text's pieces.
pub(crate) struct Made {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) end: i64,
    pub(crate) unknown: (String, i64),
}

impl UnigramJson {
    /// The tokenizer; or what of the file cannot be run.
    pub(crate) fn make(self) -> Result<Made, String> {
        let Model { vocab, unk_id, byte_fallback } = self.model;
        let unknown = unk_id.and_then(|id| Some((vocab.get(id)?.0.clone(), id as i64)));
        let unknown = unknown.ok_or("model.unk_id is not the number of a piece")?;
        if let Some((piece, _)) = vocab.iter().find(|(piece, _)| piece.len() > MAX_PIECE) {
            return Err(format!("a piece has {} bytes, more than {MAX_PIECE}", piece.len()));
        }
        let bytes: usize = vocab.iter().map(|(piece, _)| piece.len()).sum();
        if bytes > MAX_PIECES {
            return Err(format!("its pieces have {bytes} bytes together, more than {MAX_PIECES}"));
        }
        let normalizer = steps(self.normalizer.as_ref(), "normalizers")?;
        let normalizer = normalizer.into_iter().map(normalizing_step).collect::<Result<Vec<_>, _>>()?;
        let splitter = steps(self.pre_tokenizer.as_ref(), "pretokenizers")?;
        let splitter = splitter.into_iter().map(splitting_step).collect::<Result<Vec<_>, _>>()?;
        if !splitter.iter().any(|step| matches!(step, PreTokenizerWrapper::Metaspace(_))) {
            return Err(format!("its pre_tokenizer does not write {SPACE} for a space"));
        }
        let end = end_token(self.post_processor.as_ref()).ok_or(
            "its post_processor does not put one end token behind a text, and nothing else, as UMT5's does",
        )?;

        let model = Unigram::from(vocab, unk_id, byte_fallback).map_err(|error| error.to_string())?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_normalizer((!normalizer.is_empty()).then(|| Sequence::new(normalizer)));
        tokenizer.with_pre_tokenizer(Some(pre_tokenizers::sequence::Sequence::new(splitter)));
        add(&mut tokenizer, self.added_tokens)?;
        if tokenizer.id_to_token(end).is_none() {
            return Err(format!("its end token has the id {end}, which no token has"));
        }
        Ok(Made { tokenizer, end: i64::from(end), unknown })
    }
}

/// The tokens that are found in a text before anything else, each with the id that the file gives it.
fn add(tokenizer: &mut Tokenizer, mut tokens: Vec<AddedTokenEntry>) -> Result<(), String> {
    if tokens.len() > MAX_ADDED {
        return Err(format!("added_tokens has {} tokens, more than {MAX_ADDED}", tokens.len()));
    }
    tokens.sort_by_key(AddedTokenEntry::id);
    let added: Vec<AddedToken> = tokens.iter().map(AddedTokenEntry::as_it_says).collect();
    tokenizer.add_tokens(&added);
    for (token, AddedToken { content, .. }) in tokens.iter().zip(&added) {
        let gets = tokenizer.token_to_id(content);
        if gets.is_none() || token.id().is_some_and(|id| gets != Some(id)) {
            return Err(format!("added_tokens: `{content}` cannot have the id that it is given"));
        }
    }
    Ok(())
}

/// The steps of a sequence, or the one step that there is; `list` is the key of the list.
fn steps<'a>(of: Option<&'a Value>, list: &str) -> Result<Vec<&'a Value>, String> {
    let steps = match of {
        None => Vec::new(),
        Some(sequence) if kind_of(sequence) == "Sequence" => {
            let steps = sequence.get(list).and_then(Value::as_array);
            steps.ok_or_else(|| format!("a Sequence has no list `{list}`"))?.iter().collect()
        }
        Some(step) => vec![step],
    };
    if steps.len() > MAX_STEPS {
        return Err(format!("`{list}` has {} steps, more than {MAX_STEPS}", steps.len()));
    }
    Ok(steps)
}

fn kind_of(step: &Value) -> &str {
    step.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn normalizing_step(step: &Value) -> Result<NormalizerWrapper, String> {
    let flag = |key| step.get(key).and_then(Value::as_bool);
    match kind_of(step) {
        "Precompiled" => {
            let table = step.get("precompiled_charsmap").and_then(Value::as_str);
            Ok(charsmap::read(table.unwrap_or_default())?.into())
        }
        "Strip" => match (flag("strip_left"), flag("strip_right")) {
            (Some(left), Some(right)) => Ok(Strip::new(left, right).into()),
            _ => Err("the normalizer Strip does not say which sides".to_owned()),
        },
        // The one that SentencePiece's tokenizers have; others could run for ever.
        "Replace" => {
            let pattern =
                step.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
            let content = step.get("content").and_then(Value::as_str).unwrap_or_default();
            if pattern != Some(" {2,}") || ![" ", "▁"].contains(&content) {
                return Err("the normalizer Replace does not make several spaces one".to_owned());
            }
            let pattern = ReplacePattern::Regex(" {2,}".to_owned());
            Ok(Replace::new(pattern, content).map_err(|error| error.to_string())?.into())
        }
        other => Err(format!(
            "its normalizer has a step `{other}`, but this program runs Precompiled, Strip and Replace"
        )),
    }
}

fn splitting_step(step: &Value) -> Result<PreTokenizerWrapper, String> {
    match kind_of(step) {
        "WhitespaceSplit" => Ok(WhitespaceSplit.into()),
        "Metaspace" => {
            let step: Metaspace = serde_json::from_value(step.clone()).map_err(|error| error.to_string())?;
            if step.get_replacement() != SPACE {
                return Err(format!("its pre_tokenizer does not write {SPACE} for a space"));
            }
            Ok(step.into())
        }
        other => Err(format!(
            "its pre_tokenizer has a step `{other}`, but this program runs WhitespaceSplit and Metaspace"
        )),
    }
}

/// The id of the token that is put behind a text, if that is all that is added.
fn end_token(processor: Option<&Value>) -> Option<u32> {
    let processor = processor?;
    let [text, end] = processor.get("single")?.as_array()?.as_slice() else { return None };
    text.get("Sequence")?;
    let name = end.get("SpecialToken")?.get("id")?.as_str()?;
    let [id] = processor.get("special_tokens")?.get(name)?.get("ids")?.as_array()?.as_slice() else {
        return None;
    };
    u32::try_from(id.as_u64()?).ok()
}
