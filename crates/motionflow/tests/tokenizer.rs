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
        let tokenizer = Tokenizer::from_folder(folder.path(), 77).unwrap();
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

#[test]
fn a_subject_beyond_the_limit_is_an_error_that_says_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    common::clip_vocabulary::write(folder.path());
    let tokenizer = Tokenizer::from_folder(folder.path(), 77).unwrap();
    let prompt: Prompt = format!("{}[red dog] runs", "very ".repeat(73)).parse().unwrap();
    let tokens = tokenizer.encode(&prompt.text).unwrap();
    assert_eq!((tokens.ids.len(), tokens.length, tokens.truncated, tokens.total), (77, 77, true, 78));
    assert_eq!(subject_positions(&tokens, &prompt.subjects[0]), Ok(vec![74, 75]));
    let prompt: Prompt = format!("{}[red dog] runs", "very ".repeat(74)).parse().unwrap();
    let tokens = tokenizer.encode(&prompt.text).unwrap();
    let message = subject_positions(&tokens, &prompt.subjects[0]).unwrap_err().to_string();
    assert!(
        message.contains("\"red dog\" is beyond the text encoder's limit of 77 tokens (the prompt has 79)"),
        "{message}"
    );
}

#[test]
fn words_that_a_small_vocabulary_lacks_are_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let vocabulary =
        r#"{"a</w>": 0, "d": 1, "o</w>": 2, "do</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5, "?": 6}"#;
    fs::write(folder.path().join("vocab.json"), vocabulary).unwrap();
    fs::write(folder.path().join("merges.txt"), "#version: 0.2\nd o</w>\n").unwrap();
    fs::write(
        folder.path().join("tokenizer_config.json"),
        r#"{"model_max_length": 1000000000000000019884624838656, "unk_token": "?"}"#,
    )
    .unwrap();
    // The number is transformers' for a tokenizer without a length: then the text encoder's counts.
    let tokenizer = Tokenizer::from_folder(folder.path(), 24).unwrap();
    assert_eq!((tokenizer.max_length(), tokenizer.vocabulary_size()), (24, 7));
    let tokens = tokenizer.encode("a do q").unwrap();
    assert_eq!((&tokens.ids[..6], &tokens.unknown[..]), (&[4, 0, 3, 6, 5, 5][..], &[3][..]));
}

#[test]
fn words_in_small_pieces_are_told() {
    let folder = tempfile::tempdir().unwrap();
    common::clip_vocabulary::write(folder.path());
    let tokenizer = Tokenizer::from_folder(folder.path(), 77).unwrap();
    let text = "a zorblax!, 2024's hippopotamus, 🐼 and an armadillo<|endoftext|>wolf and 猫";
    let tokens = tokenizer.encode(text).unwrap();
    let words: Vec<&str> = tokens.spelt_out.iter().map(|word| &text[word.clone()]).collect();
    assert_eq!(words, ["zorblax", "猫"]);
}

/// Found by fuzzing: the library's message quotes the unknown token.
#[test]
fn an_unknown_token_that_is_not_in_the_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vocab.json"), r#"{"a</w>": 0}"#).unwrap();
    fs::write(folder.path().join("merges.txt"), "").unwrap();
    let config = format!(r#"{{"unk_token": "\u001b[2J{}"}}"#, "x".repeat(9999));
    fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let message = Tokenizer::from_folder(folder.path(), 77).unwrap().encode("b").unwrap_err().to_string();
    assert!(message.contains(r"`\u{1b}[2Jx") && message.len() < 400, "{message}");
}

#[test]
fn wrong_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = || Tokenizer::from_folder(folder.path(), 77).unwrap_err().to_string();
    let write = |file: &str, content: &str| fs::write(folder.path().join(file), content).unwrap();
    assert!(message().contains("vocab.json"), "{}", message());
    write("merges.txt", "");
    write("vocab.json", r#"{"a": 0, "<|endoftext|>": 1, "b": "two"}"#);
    assert!(message().contains("at line 1 column"), "{}", message());
    write("vocab.json", r#"{"a": 0, "b": 2, "<|endoftext|>": 1}"#);
    write("merges.txt", "#version: 0.2\na b\na\n");
    assert!(
        message().contains("merges.txt: the tokenizer cannot use this file: line 3: expected two parts"),
        "{}",
        message()
    );
    write("merges.txt", "#version: 0.2\na b\n");
    assert!(message().contains("`ab`"), "{}", message());
    write("merges.txt", "");
    write("tokenizer_config.json", r#"{"model_max_length": 2}"#);
    assert!(message().contains("model_max_length is 2"), "{}", message());
    write("tokenizer_config.json", r#"{"model_max_length": 1025}"#);
    assert!(message().contains("model_max_length is 1025, but must be 3 to 1024"), "{}", message());
    let many: Vec<_> = (0..1001).map(|i| format!(r#""{i}": {{"content": "{i}"}}"#)).collect();
    write("tokenizer_config.json", &format!(r#"{{"added_tokens_decoder": {{{}}}}}"#, many.join(",")));
    assert!(message().contains("added_tokens_decoder has 1001 tokens"), "{}", message());
    write("tokenizer_config.json", r#"{"pad_token": 3}"#);
    assert!(message().contains("pad_token: expected a token, found 3"), "{}", message());
}
