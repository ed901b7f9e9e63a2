//! Checkpoints that claim absurd things: each is refused in one message that names the file and the key or tensor, and
//! in little memory.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use crate::common::{
    Outcome, Place, SMALL, copy, in_memory, motionflow, program, read_json, run, text, tree,
};

/// Address space of the program in KiB. The tiny checkpoint does with 520,000, nearly all of it libtorch's libraries; the
/// largest file here is mapped and has 1 GiB.
const MEMORY: u32 = 2_000_000;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// `generate` with that checkpoint.
fn generate(place: &Place, model: &Path) -> Outcome {
    let (model, output) = (text(model), place.text("out"));
    let mut command = program();
    command.args(["generate", "--prompt", "a panda", "--model", &model, "--output", &output]).args(SMALL);
    if cfg!(not(target_os = "linux")) {
        return run(&mut command);
    }
    run(&mut in_memory(&command, MEMORY))
}

/// The tiny checkpoint, after `break_it`, is refused.
#[track_caller]
fn refused(break_it: impl FnOnce(&Path), parts: &[&str]) {
    let place = Place::new();
    let model = place.copied_model();
    break_it(&model);
    let outcome = generate(&place, &model).fails(1, parts);
    assert!(outcome.stderr.len() < 8000, "{} bytes", outcome.stderr.len());
    assert_eq!(place.names(""), ["model"]);
}

fn set(file: &Path, key: &str, value: Value) {
    let mut config = read_json(file);
    config[key] = value;
    fs::write(file, config.to_string()).unwrap();
}

/// As the file `file` of the checkpoint, one of so many bytes that takes no place on the disk.
fn grow(model: &Path, file: &str, bytes: u64) {
    File::create(model.join(file)).unwrap().set_len(bytes).unwrap();
}

#[test]
fn configs_of_absurd_numbers() {
    for (file, key, value, parts) in [
        ("unet", "block_out_channels", json!([1_000_000_000, 16]), ["block_out_channels", "1 to 1048576"]),
        (
            "unet",
            "down_block_types",
            json!(["\u{1b}[2J".repeat(9999)]),
            ["config.json:1:", "unknown variant"],
        ),
        ("vae", "norm_num_groups", json!(0), ["norm_num_groups", "1 to 1048576"]),
        ("text_encoder", "max_position_embeddings", json!(1e12 as i64), ["max_position_embeddings", "1 to"]),
        ("scheduler", "num_train_timesteps", json!(1e12 as i64), ["num_train_timesteps", "at most 100000"]),
        ("tokenizer", "model_max_length", json!(1_000_000), ["model_max_length", "3 to 1024"]),
    ] {
        let config = match file {
            "scheduler" => "scheduler/scheduler_config.json",
            "tokenizer" => "tokenizer/tokenizer_config.json",
            net => &format!("{net}/config.json"),
        };
        refused(|model| set(&model.join(config), key, value), &[file, parts[0], parts[1]]);
    }
}

/// Nothing is allocated for tensors that a config calls for and the files do not have.
#[test]
fn configs_of_large_nets_without_their_weights() {
    refused(
        |model| {
            set(&model.join("unet/config.json"), "block_out_channels", json!([1 << 20, 1 << 20]));
            set(&model.join("unet/config.json"), "layers_per_block", json!(64));
        },
        &["unet", "do not fit the config", "expected shape [1048576, 4, 3, 3]", "more"],
    );
    refused(
        |model| set(&model.join("text_encoder/config.json"), "vocab_size", json!(1 << 20)),
        &["text_encoder", "embeddings.token_embedding.weight: expected shape [1048576, 8]"],
    );
}

/// transformers writes 10^30 for a tokenizer that knows no length: the text encoder's is taken.
#[test]
fn a_tokenizer_without_a_length() {
    let place = Place::new();
    let model = place.copied_model();
    let file = model.join("tokenizer/tokenizer_config.json");
    let config = fs::read_to_string(&file).unwrap();
    let config = config.replace(": 77", ": 1000000000000000019884624838656");
    assert!(config.contains("838656"));
    fs::write(&file, config).unwrap();
    generate(&place, &model).ok();
}

#[test]
fn files_that_are_too_large_or_no_files() {
    for (file, bytes) in [
        ("unet/config.json", 1 << 30),
        ("model_index.json", 1 << 30),
        ("tokenizer/vocab.json", 1 << 30),
        ("motionflow.toml", 1 << 30),
    ] {
        refused(|model| grow(model, file, bytes), &[file, "larger than"]);
    }
    #[cfg(unix)]
    refused(
        |model| {
            let file = model.join("tokenizer/special_tokens_map.json");
            fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink("/dev/zero", file).unwrap();
        },
        &["tokenizer/special_tokens_map.json", "not a file"],
    );
    refused(
        |model| {
            fs::remove_file(model.join(UNET)).unwrap();
            fs::create_dir(model.join(UNET)).unwrap();
        },
        &["missing", UNET],
    );
}

/// Puts an index in place of the UNet's weights, which moves to the file `first` beside it.
fn shard(model: &Path, map: &Value) {
    fs::rename(model.join(UNET), model.join("unet/first.safetensors")).unwrap();
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(model.join(format!("{UNET}.index.json")), index).unwrap();
}

#[test]
fn indices_of_other_files() {
    let index = "safetensors.index.json: weight_map";
    for (file, shown) in
        [("../../etc/passwd", "`../../etc/passwd`"), ("..", "`..`"), ("a\u{1b}[2J", r"`a\u{1b}[2J`")]
    {
        refused(|model| shard(model, &json!({ "a": file })), &[index, "files in the same folder", shown]);
    }
    let many: serde_json::Map<_, _> = (0..5000).map(|i| (i.to_string(), i.to_string().into())).collect();
    refused(|model| shard(model, &many.into()), &[index, "at most 1000 files", "5000"]);
    refused(
        |model| {
            shard(model, &json!({ "a": "folder" }));
            fs::create_dir(model.join("unet/folder")).unwrap();
        },
        &["unet/folder", "not a file"],
    );
    #[cfg(unix)]
    refused(
        |model| {
            shard(model, &json!({ "a": "pipe" }));
            assert!(Command::new("mkfifo").arg(model.join("unet/pipe")).status().unwrap().success());
        },
        &["unet/pipe", "not a file"],
    );
}

#[test]
fn safetensors_of_absurd_shapes() {
    let one = |tensor: &str| {
        let header = format!(r#"{{"a":{tensor}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat()
    };
    let many_dimensions = format!(r#"{{"dtype":"F32","shape":{:?},"data_offsets":[0,8]}}"#, [1; 999]);
    let many_dimensions = many_dimensions.replace("[1,", "[2,");
    let long_name =
        format!(r#"{{"{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#, "a".repeat(99_999));
    for (bytes, expected) in [
        (one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}"#), "header"),
        (one(r#"{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}"#), "truncated"),
        (one(&many_dimensions), "`a`: expected at most 8 dimensions, found 999"),
        (
            [&(long_name.len() as u64).to_le_bytes()[..], long_name.as_bytes(), &[0; 8]].concat(),
            "expected a short name",
        ),
        ([&[0xff; 8][..], b"{}"].concat(), "length of the safetensors header"),
    ] {
        refused(|model| fs::write(model.join(UNET), bytes).unwrap(), &[UNET, expected]);
    }
    // A header of 1 GB.
    refused(
        |model| {
            let mut file = File::create(model.join(UNET)).unwrap();
            file.write_all(&(1_u64 << 30).to_le_bytes()).unwrap();
            file.write_all(b"{").unwrap();
            file.set_len((1 << 30) + 8).unwrap();
        },
        &[UNET, "length of the safetensors header", "at most 10000000 bytes"],
    );
}

/// A pickled string.
fn string(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A pickled integer.
fn integer(n: i64) -> Vec<u8> {
    [b"\x8a\x08", &n.to_le_bytes()[..]].concat()
}

fn tuple(parts: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &parts.concat()[..], b"t"].concat()
}

/// A pickled float tensor in the storage 0, which the pickle says has so many elements.
fn tensor(elements: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let float = b"ctorch\nFloatStorage\n".to_vec();
    let storage = tuple(&[string("storage"), float, string("0"), string("cpu"), integer(elements)]);
    let integers = |numbers: &[i64]| tuple(&numbers.iter().map(|n| integer(*n)).collect::<Vec<_>>());
    let requires_grad_and_hooks = b"\x89ccollections\nOrderedDict\n)R".to_vec();
    let persistent = [storage, b"Q".to_vec()].concat();
    let arguments =
        [persistent, integer(offset), integers(shape), integers(strides), requires_grad_and_hooks];
    [b"ctorch._utils\n_rebuild_tensor_v2\n", &tuple(&arguments)[..], b"R"].concat()
}

/// Puts a PyTorch file in place of the UNet's weights: `tensors` by name, and a storage of so many bytes.
fn pickled(model: &Path, tensors: &[(String, Vec<u8>)], storage: usize) {
    fs::remove_file(model.join(UNET)).unwrap();
    let file = File::create(model.join("unet/diffusion_pytorch_model.bin")).unwrap();
    let mut zip = zip::ZipWriter::new(file);
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let items: Vec<u8> =
        tensors.iter().flat_map(|(name, tensor)| [string(name), tensor.clone()].concat()).collect();
    for (name, content) in [
        ("archive/data.pkl", [b"\x80\x02}(", &items[..], b"u."].concat()),
        ("archive/data/0", vec![0; storage]),
    ] {
        zip.start_file(name, options).unwrap();
        zip.write_all(&content).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn pickles_of_absurd_tensors() {
    let file = "unet/diffusion_pytorch_model.bin";
    let huge = 1_000_000_000_000;
    for (tensor, expected) in [
        (tensor(1, 0, &[huge], &[0]), "at most the 4 bytes"),
        (tensor(huge, 0, &[huge], &[1]), "storage of tensor `conv_in.bias`: expected 4000000000000 bytes"),
        (tensor(1, huge, &[1], &[1]), "start of tensor `conv_in.bias`"),
        (tensor(1, 0, &[1 << 40, 1 << 40], &[1, 1]), "a shape that can exist"),
        (tensor(1, 0, &[1; 9], &[1; 9]), "at most 8 dimensions"),
    ] {
        refused(|model| pickled(model, &[("conv_in.bias".into(), tensor)], 4), &[file, expected]);
    }
    // Many names for the same elements.
    let all = |i| (format!("a{i}"), tensor(25_000, 0, &[25_000], &[1]));
    refused(
        |model| pickled(model, &(0..1000).map(all).collect::<Vec<_>>(), 100_000),
        &[file, "tensors that share elements", "4 times the file", "100000000 bytes"],
    );
}

#[test]
fn zips_of_absurd_sizes() {
    let broken = |at: &dyn Fn(&mut [u8]), expected: &str| {
        refused(
            |model| {
                pickled(model, &[("conv_in.bias".into(), tensor(1, 0, &[1], &[1]))], 4);
                let file = model.join("unet/diffusion_pytorch_model.bin");
                let mut bytes = fs::read(&file).unwrap();
                let directory = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
                at(&mut bytes[directory..]);
                fs::write(&file, bytes).unwrap();
            },
            &["unet/diffusion_pytorch_model.bin", "archive/data/0", expected],
        );
    };
    // The last entry's size, and where it starts.
    broken(&|entry| entry[20..24].copy_from_slice(&0xffff_fff0_u32.to_le_bytes()), "4294967280 bytes");
    broken(&|entry| entry[42..46].copy_from_slice(&0xffff_fff0_u32.to_le_bytes()), "4 bytes at 4294967280");
    broken(&|entry| entry[10] = 8, "compressed");
}

#[test]
fn a_case_of_absurd_tensors() {
    let place = Place::new();
    let case = place.path("case");
    copy(&tree().join("crates/motionflow/tests/cases/tiny-odd-words"), &case);
    let verify = || motionflow(&["verify", &text(&case)]);
    let inputs = fs::read(case.join("inputs.safetensors")).unwrap();
    // The frames get another number of colours in as many bytes.
    let (shape, other) = (&b"\"frames\":{\"dtype\":\"F32\",\"shape\":[3,3,10,14]"[..], &b"[3,10,3,14]"[..]);
    let begin = inputs.windows(shape.len()).position(|window| window == shape).unwrap();
    let end = begin + shape.len();
    let mut broken = inputs.clone();
    broken[end - other.len()..end].copy_from_slice(other);
    fs::write(case.join("inputs.safetensors"), broken).unwrap();
    verify().fails(1, &["inputs.safetensors", "tensor 'frames'", "expected Float [-1, 3, -1, -1]"]);

    fs::write(case.join("inputs.safetensors"), inputs).unwrap();
    File::create(case.join("case.json")).unwrap().set_len(1 << 30).unwrap();
    verify().fails(1, &["case.json", "larger than"]);
}
