//! The tokenizer and the subjects' positions against transformers, on texts that are hard on a tokenizer.
//! `data/make_tokenizer_cases.py` wrote the cases.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

mod common;

use std::fs;

use motionflow::prompt::{Prompt, subject_positions};
use motionflow::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    name: String,
    special_tokens_map: Option<Value>,
    tokenizer_config: Option<Value>,
    length: usize,
    pad: i64,
    /// Texts and their ids, without the repetitions at the end.
    texts: Vec<(String, Vec<i64>)>,
    subjects: Vec<(String, Vec<usize>)>,
}

#[test]
fn ids_and_subject_positions_equal_transformers() {
    let cases = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tokenizer_cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    let folder = tempfile::tempdir().unwrap();
    common::clip_vocabulary::write(folder.path());
    for case in cases {
        for (name, content) in [
            ("special_tokens_map.json", &case.special_tokens_map),
            ("tokenizer_config.json", &case.tokenizer_config),
        ] {
            let path = folder.path().join(name);
            match content {
                Some(content) => fs::write(path, content.to_string()).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert_eq!(tokenizer.vocabulary_size(), 49408, "{}", case.name);
        for (text, expected) in &case.texts {
            let tokens = tokenizer.encode(text).unwrap();
            let mut expected = expected.clone();
            let last = *expected.last().unwrap();
            expected.resize(case.length, last);
            assert_eq!(tokens.ids, expected, "{}: {text:?}", case.name);
            assert!(tokens.ids[tokens.length..].iter().all(|&id| id == case.pad), "{}: {text:?}", case.name);
            assert_eq!(tokens.ids[tokens.length - 1], 49407, "{}: {text:?}", case.name);
            assert_eq!(tokens.offsets.len(), tokens.length);
            assert!(tokens.offsets.iter().all(|range| text.get(range.clone()).is_some()), "{text:?}");
        }
        for (text, expected) in &case.subjects {
            let prompt: Prompt = text.parse().unwrap();
            let tokens = tokenizer.encode(&prompt.text).unwrap();
            let positions = subject_positions(&tokens, &prompt.subjects[0]).unwrap();
            assert_eq!(&positions, expected, "{}: {text:?}", case.name);
        }
    }
}
