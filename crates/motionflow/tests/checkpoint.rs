//! Weights in every form that is read, and checkpoints that are not what they should be.
//! `data/make_weights.py` wrote the files in `data/checkpoint`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::path::{Path, PathBuf};

use motionflow::checkpoint::{Checkpoint, CheckpointError, Loader, TensorProblems, Weights};
use motionflow::registry;
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoint").join(file)
}

/// The weights in a file of any name with that content.
fn opened(bytes: &[u8]) -> Result<Weights, CheckpointError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    Weights::open(file.path())
}

fn message<T>(result: Result<T, CheckpointError>) -> String {
    result.err().expect("an error").to_string()
}

fn equal(left: &Weights, right: &Weights) {
    assert!(left.names().eq(right.names()));
    for name in left.names() {
        let tensors = [left, right].map(|weights| weights.get(name).unwrap().to_tensor().unwrap());
        assert_eq!(tensors[0].kind(), tensors[1].kind(), "{name}");
        assert!(tensors[0].equal(&tensors[1]), "{name}: {} and {}", tensors[0], tensors[1]);
    }
}

#[test]
fn all_forms_hold_the_same_tensors() {
    let plain = Weights::open(&data("state_dict.safetensors")).unwrap();
    assert_eq!(plain.len(), 12);
    assert_eq!(plain.get("transposed").unwrap().shape(), [6, 4]);
    equal(&plain, &Weights::open(&data("state_dict.bin")).unwrap());
    equal(&plain, &Weights::open(&data("protocol_4.bin")).unwrap());
    // What a file is goes by its content.
    equal(&plain, &opened(&fs::read(data("state_dict.safetensors")).unwrap()).unwrap());
    equal(&plain, &opened(&fs::read(data("state_dict.bin")).unwrap()).unwrap());
}

#[test]
fn a_pickle_that_calls_something_is_refused_by_name() {
    let error = Weights::open(&data("calls_system.bin")).unwrap_err();
    assert!(
        matches!(&error, CheckpointError::ForbiddenCallable { callable, .. } if callable == "posix.system")
    );
    assert!(
        error.to_string().contains("calls_system.bin") && error.to_string().contains("`posix.system`"),
        "{error}"
    );
}

#[test]
fn foreign_files_are_named() {
    for (bytes, expected) in [
        (&b""[..], "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html>", "3c, 21"),
        (b"PK\x03\x04 and no more", "truncated"),
    ] {
        let message = message(opened(bytes));
        assert!(message.contains(expected), "{message}");
    }
    let old = message(Weights::open(&data("before_1.6.bin")));
    assert!(old.contains("before 1.6"), "{old}");
    let nested = message(Weights::open(&data("nested.bin")));
    assert!(nested.contains("expected a tensor as `model`, found a dict"), "{nested}");
    let absent = message(Weights::open(Path::new("/nowhere/at/all.bin")));
    assert!(absent.starts_with("/nowhere/at/all.bin"), "{absent}");
}

/// A safetensors file with that header and so many bytes of elements.
fn safetensors(header: &str, elements: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + elements, 0);
    bytes
}

#[test]
fn safetensors_that_contradict_themselves() {
    let f32 = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let one = |tensor: String, elements| safetensors(&format!(r#"{{"a":{tensor}}}"#), elements);
    assert_eq!(opened(&one(f32("[2]", 0, 8), 8)).unwrap().get("a").unwrap().shape(), [2]);
    for (bytes, expected) in [
        (one(f32("[2]", 0, 8), 7), "expected 8 bytes after the header, found 7 bytes"),
        (one(f32("[2]", 0, 8), 9), "expected 8 bytes after the header, found 9 bytes"),
        (one(f32("[3]", 0, 8), 8), "invalid shape, data type, or offset"),
        (one(f32("[2]", 4, 12), 12), "invalid offset for tensor `a`"),
        (one(f32("[2]", 8, 0), 8), "invalid offset for tensor `a`"),
        (one(f32("[18446744073709551615, 2]", 0, 8), 8), "overflow"),
        (one(f32("[4611686018427387904]", 0, 0), 0), "overflow"),
        (one(f32("[-1]", 0, 8), 8), "invalid value"),
        (one(r#"{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}"#.into(), 1), "a common type of number"),
        (one("3".into(), 8), "invalid type"),
        (
            safetensors(&format!(r#"{{"a":{},"b":{}}}"#, f32("[2]", 0, 8), f32("[2]", 4, 12)), 12),
            "invalid offset for tensor `b`",
        ),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}".to_vec(), "expected at most 2 bytes"),
        (b"\x03\0\0\0\0\0\0\0{}".to_vec(), "found 3 bytes"),
    ] {
        let message = message(opened(&bytes));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for file in ["state_dict.bin", "state_dict.safetensors"] {
        let bytes = fs::read(data(file)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            assert!(opened(&bytes[..length]).is_err(), "{file}, {length} bytes");
        }
    }
}

proptest! {
    #[test]
    fn no_change_to_a_file_makes_it_panic(
        pickled in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let file = if pickled { "state_dict.bin" } else { "state_dict.safetensors" };
        let mut bytes = fs::read(data(file)).unwrap();
        for (at, byte) in changes {
            // Mostly in what describes the tensors; the rest is numbers.
            let at = at.index(if pickled { 1200 } else { 900 });
            bytes[at] = byte;
        }
        if let Ok(weights) = opened(&bytes) {
            for name in weights.names() {
                let tensor = weights.get(name).unwrap();
                let elements: i64 = tensor.shape().iter().product();
                prop_assert!(elements as usize * tensor.kind().elt_size_in_bytes() <= bytes.len());
                if let Ok(copy) = tensor.to_tensor() {
                    prop_assert_eq!(copy.size(), tensor.shape());
                }
            }
        }
    }
}

#[test]
fn loading_lists_all_that_does_not_fit() {
    let weights = Weights::open(&data("state_dict.safetensors")).unwrap();
    let loader = Loader::new(&weights, "unet", Device::Cpu, Kind::Float);
    assert!(loader.has("half") && !loader.sub("half").has("weight"));
    assert_eq!(Vec::<f32>::try_from(loader.tensor("half", &[3])).unwrap(), [1.5, -2.0, 65504.0]);
    let wrong = loader.tensor("dense", &[2, 3, 5]);
    assert_eq!((wrong.size(), wrong.kind()), (vec![2, 3, 5], Kind::Float));
    let _ = loader.sub("down").sub(0).tensor("weight", &[1 << 20, 1 << 20]);
    let _ = loader.tensor("flags", &[2]);
    let Err(CheckpointError::Tensors(problems)) = loader.finish() else { panic!("no problems") };
    assert_eq!(problems.missing, ["down.0.weight [1048576, 1048576]"]);
    assert_eq!(
        problems.wrong,
        ["dense: expected shape [2, 3, 5], found [2, 3, 4]", "flags: expected floating point, found Bool"]
    );
    assert_eq!(problems.extra.len(), 9);
    assert!(
        problems.component.starts_with("unet (") && problems.component.ends_with("state_dict.safetensors)")
    );
}

#[test]
fn long_lists_are_cut() {
    let missing = (0..45).map(|i| format!("layer.{i}")).collect();
    let text = TensorProblems { component: "vae".into(), missing, ..TensorProblems::default() }.to_string();
    assert!(text.contains("45 missing:") && text.ends_with("layer.19\n    and 25 more"), "{text}");
    assert!(!text.contains("wrong"));
}

/// A checkpoint's folder whose weights are `tensors` for each component, saved by `write`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(
            "model_index.json",
            r#"{"_class_name": "TextToVideoSDPipeline", "_diffusers_version": "0.18.0",
                "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet3DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"]}"#,
        );
        for file in [
            "unet/config",
            "vae/config",
            "text_encoder/config",
            "scheduler/scheduler_config",
            "tokenizer/vocab",
        ] {
            folder.write(&format!("{file}.json"), "{}");
        }
        folder.write("tokenizer/merges.txt", "#version: 0.2\n");
        folder.save("unet/diffusion_pytorch_model.safetensors", &[("a", &[1])]);
        folder.save("vae/diffusion_pytorch_model.safetensors", &[("a", &[1])]);
        folder.save("text_encoder/model.safetensors", &[("a", &[1])]);
        folder
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, content: &str) {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), content).unwrap();
    }

    fn save(&self, file: &str, tensors: &[(&str, &[i64])]) {
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, shape)| (*name, Tensor::ones(*shape, (Kind::Half, Device::Cpu))))
            .collect();
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        Tensor::write_safetensors(&tensors, self.path(file)).unwrap();
    }

    fn open(&self) -> Result<Checkpoint, CheckpointError> {
        registry::open(self.0.path())
    }

    fn names(&self, component: &str) -> Vec<(String, Vec<i64>)> {
        let weights = self.open().unwrap().weights(component).unwrap();
        weights.names().map(|name| (name.to_owned(), weights.get(name).unwrap().shape().to_vec())).collect()
    }
}

#[test]
fn a_whole_checkpoint_shows_its_files() {
    let folder = Folder::new();
    let checkpoint = folder.open().unwrap();
    let files: Vec<_> = checkpoint.files().iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        files,
        [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "tokenizer/merges.txt",
            "tokenizer/vocab.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ]
    );
    assert!(checkpoint.size_bytes() > 300);
}

#[test]
fn the_identity_follows_from_the_content() {
    let (folder, other) = (Folder::new(), Folder::new());
    let identity = folder.open().unwrap().identity().unwrap();
    assert_eq!(identity.len(), 64);
    assert_eq!(other.open().unwrap().identity().unwrap(), identity);
    other.write("unet/notes.txt", "not used");
    assert_eq!(other.open().unwrap().identity().unwrap(), identity);
    other.write("unet/config.json", "{ }");
    assert_ne!(other.open().unwrap().identity().unwrap(), identity);
}

#[test]
fn every_missing_file_is_listed() {
    let folder = Folder::new();
    for file in ["vae/config.json", "unet/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt"] {
        fs::remove_file(folder.path(file)).unwrap();
    }
    let Err(CheckpointError::Incomplete { missing, .. }) = folder.open() else { panic!("opened") };
    assert_eq!(missing.len(), 3);
    assert!(
        missing.iter().any(|m| m.contains("unet/diffusion_pytorch_model.safetensors (or")),
        "{missing:?}"
    );
    assert!(missing.contains(&"vae/config.json".into()) && missing.contains(&"tokenizer/merges.txt".into()));
    let nowhere = message(registry::open(Path::new("/nowhere")));
    assert!(nowhere.contains("model_index.json"), "{nowhere}");
}

#[test]
fn other_pipelines_are_named() {
    let folder = Folder::new();
    folder.write("model_index.json", r#"{"_class_name": "StableDiffusionXLPipeline"}"#);
    let pipeline = message(folder.open());
    assert!(pipeline.contains("_class_name is StableDiffusionXLPipeline, but"), "{pipeline}");
    folder.write(
        "model_index.json",
        r#"{"_class_name": "TextToVideoSDPipeline", "unet": ["d", "UNetMotionModel"]}"#,
    );
    let component = message(folder.open());
    assert!(
        component.contains("unet is UNetMotionModel, but this program runs UNet3DConditionModel"),
        "{component}"
    );
    folder.write("model_index.json", "{\n  \"_class_name\": ,");
    let json = message(folder.open());
    assert!(json.contains("model_index.json:2:18: expected value"), "{json}");
}

#[test]
fn a_config_error_says_where() {
    #[derive(serde::Deserialize, Debug)]
    struct Config {
        #[allow(dead_code)]
        layers: u32,
    }
    let folder = Folder::new();
    folder.write("unet/config.json", "{\n  \"layers\": \"two\"\n}");
    let json = message(folder.open().unwrap().config::<Config>("unet"));
    assert!(json.contains("unet/config.json:2:17: invalid type: string \"two\", expected u32"), "{json}");
    assert!(folder.open().unwrap().config_path("scheduler").ends_with("scheduler/scheduler_config.json"));
}

#[test]
fn the_full_variant_goes_before_fp16_and_safetensors_before_bin() {
    let folder = Folder::new();
    fs::remove_file(folder.path("unet/diffusion_pytorch_model.safetensors")).unwrap();
    for (file, name) in [
        ("diffusion_pytorch_model.fp16.bin", "fp16 bin"),
        ("diffusion_pytorch_model.fp16.safetensors", "fp16 safetensors"),
        ("diffusion_pytorch_model.bin", "bin"),
        ("diffusion_pytorch_model.safetensors", "safetensors"),
    ] {
        folder.save("any.safetensors", &[(name, &[1])]);
        fs::rename(folder.path("any.safetensors"), folder.path("unet").join(file)).unwrap();
        assert_eq!(folder.names("unet"), [(name.to_owned(), vec![1])]);
    }
}

#[test]
fn shards_are_read_by_their_index() {
    let folder = Folder::new();
    fs::remove_file(folder.path("unet/diffusion_pytorch_model.safetensors")).unwrap();
    folder.save("unet/one.safetensors", &[("a", &[1])]);
    folder.save("unet/two.safetensors", &[("b", &[2])]);
    let index = "unet/diffusion_pytorch_model.safetensors.index.json";
    folder
        .write(index, r#"{"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#);
    assert_eq!(folder.names("unet"), [("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
    assert!(folder.open().unwrap().files().iter().any(|file| file.name == "unet/two.safetensors"));

    folder.write(index, r#"{"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}}"#);
    let absent = message(folder.open().unwrap().weights("unet"));
    assert!(absent.contains("tensor `b`: expected it in one.safetensors"), "{absent}");
    folder.save("unet/two.safetensors", &[("a", &[2])]);
    folder.write(index, r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#);
    let twice = message(folder.open().unwrap().weights("unet"));
    assert!(twice.contains("expected one copy"), "{twice}");
    folder.write(index, r#"{"weight_map": {"a": "../vae/diffusion_pytorch_model.safetensors"}}"#);
    let outside = message(folder.open());
    assert!(outside.contains("names of files in the same folder"), "{outside}");
    folder.write(index, r#"{"weight_map": {"a": "gone.safetensors"}}"#);
    let gone = message(folder.open());
    assert!(gone.contains("unet/gone.safetensors"), "{gone}");
}

#[test]
fn old_names_become_those_of_today() {
    let folder = Folder::new();
    let attention = "encoder.mid_block.attentions.0";
    folder.save(
        "vae/diffusion_pytorch_model.safetensors",
        &[
            (&format!("{attention}.query.weight"), &[4, 4]),
            (&format!("{attention}.key.weight"), &[4, 4, 1, 1]),
            (&format!("{attention}.value.bias"), &[4]),
            (&format!("{attention}.proj_attn.weight"), &[4, 4, 1, 1]),
            (&format!("{attention}.group_norm.weight"), &[4]),
            ("encoder.key.weight", &[4, 4, 1, 1]),
        ],
    );
    let name = |suffix: &str, shape: &[i64]| (format!("{attention}.{suffix}"), shape.to_vec());
    assert_eq!(
        folder.names("vae"),
        [
            ("encoder.key.weight".to_owned(), vec![4, 4, 1, 1]),
            name("group_norm.weight", &[4]),
            name("to_k.weight", &[4, 4]),
            name("to_out.0.weight", &[4, 4]),
            name("to_q.weight", &[4, 4]),
            name("to_v.bias", &[4]),
        ]
    );
    folder.save(
        "text_encoder/model.safetensors",
        &[("text_model.embeddings.position_ids", &[1, 77]), ("text_model.final_layer_norm.weight", &[4])],
    );
    assert_eq!(folder.names("text_encoder"), [("final_layer_norm.weight".to_owned(), vec![4])]);
    folder.save(
        "text_encoder/model.safetensors",
        &[("final_layer_norm.weight", &[4]), ("text_model.final_layer_norm.weight", &[4])],
    );
    let both = message(folder.open().unwrap().weights("text_encoder"));
    assert!(both.contains("one tensor for `final_layer_norm.weight`"), "{both}");
}
