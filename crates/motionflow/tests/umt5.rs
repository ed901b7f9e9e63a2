//! UMT5 against transformers, tokenizers and SentencePiece on what `data/make_umt5_cases.py` wrote.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may panic, and a failing one shows figures"
)]

use std::fs;
use std::path::{Path, PathBuf};

use motionflow::checkpoint::{Loader, Weights};
use motionflow::cost::umt5_parameters;
use motionflow::nets::umt5::{Umt5Config, Umt5Encoder, encode_by_blocks};
use motionflow::prompt::{Prompt, SubjectError, prompt_warnings, subject_positions};
use motionflow::tokenizer::Tokenizer;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

#[derive(Deserialize)]
struct Case {
    name: String,
    vocabulary: usize,
    /// Texts and their ids.
    texts: Vec<(String, Vec<i64>)>,
    /// Prompts, and for each of their subjects the positions of its tokens.
    subjects: Vec<(String, Vec<Vec<usize>>)>,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/umt5")
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_folder(&data().join(name), 512).unwrap()
}

#[test]
fn ids_and_subject_positions_equal_the_files_own() {
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(data().join("cases.json")).unwrap()).unwrap();
    for case in cases {
        let tokenizer = tokenizer(&case.name);
        assert_eq!((tokenizer.max_length(), tokenizer.vocabulary_size()), (512, case.vocabulary));
        assert!(case.texts.len() >= 200);
        for (text, expected) in &case.texts {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(&tokens.ids, expected, "{}: {text:?}", case.name);
            assert_eq!((tokens.first, tokens.length), (0, tokens.ids.len()));
            assert_eq!(tokens.offsets.len(), tokens.length);
            assert!(tokens.offsets.iter().all(|range| text.get(range.clone()).is_some()), "{text:?}");
            assert_eq!(tokens.truncated, tokens.total > 512);
        }
        for (text, expected) in &case.subjects {
            let prompt: Prompt = text.parse().unwrap();
            let tokens = tokenizer.encode(&prompt.text).unwrap();
            let positions: Vec<_> =
                prompt.subjects.iter().map(|subject| subject_positions(&tokens, subject).unwrap()).collect();
            assert_eq!(&positions, expected, "{}: {text:?}", case.name);
        }
    }
}

#[test]
fn a_piece_includes_its_space_and_white_space_is_collapsed() {
    let text = " a \t car\n";
    let tokens = tokenizer("nfkc").encode(text).unwrap();
    let pieces: Vec<&str> = tokens.offsets.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(pieces, ["a", " \t car", ""]);
    assert_eq!((tokens.text_used, tokens.total, tokens.truncated), (text.len(), 3, false));
    assert_eq!(tokens.ids, tokenizer("nfkc").encode("a car").unwrap().ids);
}

#[test]
fn a_subject_beyond_the_limit_is_an_error_that_says_the_limit() {
    let tokenizer = tokenizer("nfkc");
    let prompt: Prompt = format!("{}[car] [car]", "car ".repeat(510)).parse().unwrap();
    let tokens = tokenizer.encode(&prompt.text).unwrap();
    assert_eq!((tokens.ids.len(), tokens.truncated, tokens.total), (512, true, 513));
    assert_eq!(subject_positions(&tokens, &prompt.subjects[0]), Ok(vec![510]));
    let cut_off = subject_positions(&tokens, &prompt.subjects[1]);
    assert_eq!(cut_off, Err(SubjectError::CutOff { subject: "car".into(), limit: 512, total: 513 }));
    let prompt = Prompt::literal(&prompt.text);
    assert!(
        prompt_warnings(&prompt, &tokens).unwrap()[0].contains("has 513 tokens and is cut off after 512")
    );
}

#[test]
fn unknown_words_and_words_in_small_pieces_are_told() {
    let plain = tokenizer("plain");
    let prompt: Prompt = "a [🦄] and a car".parse().unwrap();
    let warnings = prompt_warnings(&prompt, &plain.encode(&prompt.text).unwrap()).unwrap();
    assert!(
        warnings.iter().any(|warning| warning.contains("does not know the subject \"🦄\"")),
        "{warnings:?}"
    );
    let text = "the zqxvk, a 🦄 on a road, 2024's 一只猫 (a road)";
    let tokens = tokenizer("nfkc").encode(text).unwrap();
    assert!(tokens.unknown.is_empty(), "bytes stand for unknown characters");
    let words: Vec<&str> = tokens.spelt_out.iter().map(|word| &text[word.clone()]).collect();
    assert_eq!(words, ["zqxvk", "🦄"]);
}

/// The text of the smaller tokenizer's file with one part changed.
fn refusal(part: &str, with: &str) -> String {
    let text = fs::read_to_string(data().join("plain/tokenizer.json")).unwrap();
    assert!(text.contains(part), "{part}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), text.replacen(part, with, 1)).unwrap();
    Tokenizer::from_folder(folder.path(), 512).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn what_would_give_other_tokens_or_run_for_ever_is_refused() {
    let long = format!("[\"{}\",0.0],[\"<pad>\"", "x".repeat(300));
    for (part, with, told) in [
        ("\"type\":\"Strip\"", "\"type\":\"Lowercase\"", "a step `Lowercase`"),
        ("\"Regex\":\" {2,}\"", "\"Regex\":\"(a*)*b\"", "Replace"),
        ("\"type\":\"Metaspace\"", "\"type\":\"ByteLevel\"", "a step `ByteLevel`"),
        ("\"replacement\":\"▁\"", "\"replacement\":\"_\"", "▁ for a space"),
        ("\"unk_id\":3", "\"unk_id\":3000", "model.unk_id"),
        ("\"unk_id\":3", "\"unk_id\":null", "model.unk_id"),
        ("\"ids\":[1]", "\"ids\":[1,2]", "post_processor"),
        ("\"ids\":[1]", "\"ids\":[99999]", "99999"),
        ("{\"id\":600,", "{\"id\":700,", "cannot have the id"),
        ("[\"<pad>\"", long.as_str(), "300 bytes"),
    ] {
        let message = refusal(part, with);
        assert!(message.contains(told) && message.contains("tokenizer.json"), "{part}: {message}");
    }
    let table = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"BAAAAAAE\"}";
    let message = refusal("{\"type\":\"Strip\"", &format!("{table},{{\"type\":\"Strip\""));
    assert!(message.contains("precompiled_charsmap contradicts itself"), "{message}");
}

fn encoder(kind: Kind) -> Umt5Encoder {
    let folder = data().join("text_encoder");
    let config = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    let weights = Weights::open(&folder.join("model.safetensors")).unwrap();
    let loader = Loader::new(&weights, "text_encoder", Device::Cpu, kind);
    let net = Umt5Encoder::new(&loader, config).unwrap();
    loader.finish().unwrap();
    net
}

fn by_blocks(kind: Kind, texts: &[&[i64]]) -> Vec<Tensor> {
    let weights = Weights::open(&data().join("text_encoder/model.safetensors")).unwrap();
    let loader = Loader::new(&weights, "text_encoder", Device::Cpu, kind);
    let features = encode_by_blocks(&loader, encoder(kind).config(), texts).unwrap();
    loader.finish().unwrap();
    features
}

/// ‖a − b‖/‖b‖
fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    (a - &b).norm().double_value(&[]) / b.norm().double_value(&[])
}

#[test]
fn features_equal_transformers() {
    let expected = Weights::open(&data().join("expected.safetensors")).unwrap();
    let read = |name: String| expected.get(&name).unwrap().to_tensor().unwrap();
    for (kind, near) in
        [(Kind::Float, 1e-5), (Kind::Double, 1e-5), (Kind::BFloat16, 3e-2), (Kind::Half, 3e-3)]
    {
        let ids: Vec<Vec<i64>> = (0..4).map(|i| Vec::try_from(read(format!("ids_{i}"))).unwrap()).collect();
        let texts: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
        let features = encoder(kind).forward(&texts);
        assert_eq!(features, by_blocks(kind, &texts));
        for (i, features) in features.iter().enumerate() {
            let expected = read(format!("text_{i}"));
            assert_eq!((features.kind(), features.size()), (kind, expected.size()));
            let error = relative(features, &expected);
            println!("{kind:?}, text {i}: {error:.1e}");
            assert!(error < near, "{kind:?}, text {i}: {error:.1e}");
        }
    }
}

#[test]
fn parameters_are_those_of_the_files() {
    let weights = Weights::open(&data().join("text_encoder/model.safetensors")).unwrap();
    let sizes = weights.names().map(|name| weights.get(name).unwrap().shape().iter().product::<i64>());
    assert_eq!(umt5_parameters(encoder(Kind::Float).config()), sizes.sum::<i64>() as u64);
    let published = Umt5Config {
        vocab_size: 256_384,
        d_model: 4096,
        d_ff: 10240,
        num_layers: 24,
        num_heads: 64,
        ..Umt5Config::default()
    };
    // 22.72 GB in float32
    assert_eq!(umt5_parameters(&published), 5_680_910_336);
}

#[test]
fn the_embedding_may_have_the_encoders_name() {
    let whole = Weights::open(&data().join("text_encoder/model.safetensors")).unwrap();
    let mut renamed = whole.clone();
    let is = "encoder.embed_tokens.weight";
    renamed.rename(|name, _| Some(name.replace("shared.weight", is))).unwrap();
    let mut other = whole.clone();
    other.rename(|name, _| (name == "shared.weight").then(|| is.to_owned())).unwrap();
    let config = encoder(Kind::Float).config().clone();
    for weights in [renamed, whole.joined(other).unwrap()] {
        let loader = Loader::new(&weights, "text_encoder", Device::Cpu, Kind::Float);
        let net = Umt5Encoder::new(&loader, config.clone()).unwrap();
        loader.finish().unwrap();
        let texts = [&[5, 1][..]];
        assert_eq!(net.forward(&texts), encoder(Kind::Float).forward(&texts));
        let loader = Loader::new(&weights, "text_encoder", Device::Cpu, Kind::Float);
        assert_eq!(encode_by_blocks(&loader, &config, &texts).unwrap(), net.forward(&texts));
        loader.finish().unwrap();
    }
    let none = Weights::default();
    let refusal = |build: fn(&Loader, &Umt5Config)| {
        let loader = Loader::new(&none, "text_encoder", Device::Cpu, Kind::Float);
        build(&loader, &config);
        loader.finish().unwrap_err().to_string()
    };
    let whole = refusal(|loader, config| drop(Umt5Encoder::new(loader, config.clone()).unwrap()));
    assert!(whole.contains("shared.weight"), "{whole}");
    let blocks =
        refusal(|loader, config| assert!(encode_by_blocks(loader, config, &[&[5]]).unwrap().is_empty()));
    assert_eq!(blocks, whole);
}
