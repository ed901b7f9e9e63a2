//! `tokenizer.json`: all of a tokenizer in one file, as transformers 5 saves it, without `vocab.json` and `merges.txt`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::tokenizer::AddedTokenEntry;

/// The parts of the file that a CLIP tokenizer is made of.
#[derive(Deserialize)]
pub(crate) struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedTokenEntry>,
    /// `null` where there is none, which is not the same as not said.
    #[serde(default, deserialize_with = "as_it_stands")]
    normalizer: Option<Value>,
    #[serde(default, deserialize_with = "as_it_stands")]
    pre_tokenizer: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

fn as_it_stands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Two parts that are joined: `"a b"` up to tokenizers 0.19, `["a", "b"]` from 0.20 on.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// What `vocab.json` and `merges.txt` would have said, and the tokens besides.
pub(crate) struct Parts {
    pub(crate) vocabulary: BTreeMap<String, u32>,
    pub(crate) merges: Vec<(String, String)>,
    pub(crate) added: Vec<AddedTokenEntry>,
}

impl TokenizerJson {
    /// The parts, if it is a tokenizer like CLIP's; else what is different.
    pub(crate) fn parts(self) -> Result<Parts, String> {
        let Model {
            kind, continuing_subword_prefix, end_of_word_suffix, byte_fallback, ignore_merges, ..
        } = &self.model;
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let differs = |key: &str, found: &str, expected: &str| {
            Err(format!("{key} is \"{found}\", but CLIP's tokenizer has \"{expected}\""))
        };
        if kind.as_ref().is_some_and(|kind| kind != "BPE") {
            return differs("model.type", &said(kind), "BPE");
        }
        if said(end_of_word_suffix) != "</w>" {
            return differs("model.end_of_word_suffix", &said(end_of_word_suffix), "</w>");
        }
        if !said(continuing_subword_prefix).is_empty() {
            return differs("model.continuing_subword_prefix", &said(continuing_subword_prefix), "");
        }
        for (key, on) in [("model.byte_fallback", *byte_fallback), ("model.ignore_merges", *ignore_merges)] {
            if on {
                return differs(key, "true", "false");
            }
        }
        // CLIP's lowers the case, as one step of several.
        let lowers = |normalizer: &Value| normalizer.to_string().contains("\"Lowercase\"");
        if self.normalizer.as_ref().is_some_and(|normalizer| !lowers(normalizer)) {
            return Err("its normalizer does not lower the case, but CLIP's does".to_owned());
        }
        // CLIP's splits at words, digits and signs, and puts no space before them.
        let splits = |splitter: &Value| {
            let text = splitter.to_string();
            text.contains("\"Split\"")
                && text.contains("\"ByteLevel\"")
                && !text.contains("\"add_prefix_space\":true")
        };
        if self.pre_tokenizer.as_ref().is_some_and(|splitter| !splits(splitter)) {
            return Err("its pre_tokenizer does not split a text as CLIP's does".to_owned());
        }
        let merges = self.model.merges.into_iter().enumerate().map(|(index, merge)| match merge {
            Merge::Pair(first, second) => Ok((first, second)),
            Merge::Line(line) => match line.split_once(' ') {
                Some((first, second)) if !second.contains(' ') => Ok((first.to_owned(), second.to_owned())),
                _ => Err(format!(
                    "model.merges[{index}]: expected two parts with a space between, found `{line}`"
                )),
            },
        });
        let merges = merges.collect::<Result<_, _>>()?;
        let mut added = self.added_tokens;
        added.sort_by_key(AddedTokenEntry::id);
        Ok(Parts { vocabulary: self.model.vocab, merges, added })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(parts: &str) -> Option<String> {
        let model = r#""model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {}, "merges": []}"#;
        let file: TokenizerJson = serde_json::from_str(&format!("{{{parts}{model}}}")).unwrap();
        file.parts().err()
    }

    #[test]
    fn what_would_give_other_tokens_is_refused_by_name() {
        let clips = r#"{"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel", "add_prefix_space": false}]}"#;
        assert_eq!(refusal(""), None);
        assert_eq!(
            refusal(&format!(r#""normalizer": {{"type": "Lowercase"}}, "pre_tokenizer": {clips},"#)),
            None
        );
        let before_each = clips.replace("false", "true");
        for (key, value) in [
            ("normalizer", "null"),
            ("normalizer", r#"{"type": "NFC"}"#),
            ("pre_tokenizer", "null"),
            ("pre_tokenizer", r#"{"type": "Whitespace"}"#),
            ("pre_tokenizer", &before_each),
        ] {
            let told = refusal(&format!(r#""{key}": {value},"#));
            assert!(told.is_some_and(|told| told.contains(&format!("its {key}"))), "{key}: {value}");
        }
    }
}
