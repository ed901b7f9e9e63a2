//! The peak memory of loading a sharded float32 checkpoint into a smaller type: at most what comes out and one shard.
//! Linux says it for a process, so that the loading runs in one of its own: this test, once more.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the test talks to itself")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use motionflow::checkpoint::{Loader, Weights};
use motionflow::cost::umt5_parameters;
use motionflow::nets::umt5::{Umt5Config, Umt5Encoder};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Tell the second run where the checkpoint is, and as what to load it.
const FOLDER: &str = "MOTIONFLOW_TEST_LOADING_MEMORY";
const KIND: &str = "MOTIONFLOW_TEST_LOADING_KIND";
const INDEX: &str = "model.safetensors.index.json";
const MIB: u64 = 1 << 20;

fn config() -> Umt5Config {
    Umt5Config {
        vocab_size: 32_768,
        d_model: 512,
        d_kv: 64,
        d_ff: 2048,
        num_layers: 8,
        num_heads: 8,
        ..Umt5Config::default()
    }
}

/// Names and shapes, shard by shard: the embedding, then two layers each.
fn shards() -> Vec<Vec<(String, Vec<i64>)>> {
    let Umt5Config { vocab_size, d_model, d_kv, d_ff, num_layers, num_heads, .. } = config();
    let inner = num_heads * d_kv;
    let mut shards = vec![vec![
        ("shared.weight".to_owned(), vec![vocab_size, d_model]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![d_model]),
    ]];
    for layer in 0..num_layers {
        if layer % 2 == 0 {
            shards.push(Vec::new());
        }
        let tensors = [
            ("0.layer_norm.weight", vec![d_model]),
            ("0.SelfAttention.q.weight", vec![inner, d_model]),
            ("0.SelfAttention.k.weight", vec![inner, d_model]),
            ("0.SelfAttention.v.weight", vec![inner, d_model]),
            ("0.SelfAttention.o.weight", vec![d_model, inner]),
            ("0.SelfAttention.relative_attention_bias.weight", vec![32, num_heads]),
            ("1.layer_norm.weight", vec![d_model]),
            ("1.DenseReluDense.wi_0.weight", vec![d_ff, d_model]),
            ("1.DenseReluDense.wi_1.weight", vec![d_ff, d_model]),
            ("1.DenseReluDense.wo.weight", vec![d_model, d_ff]),
        ];
        let named = tensors.map(|(name, shape)| (format!("encoder.block.{layer}.layer.{name}"), shape));
        shards.last_mut().unwrap().extend(named);
    }
    shards
}

/// Writes the checkpoint in float32. -> bytes of the largest shard and of all
fn write(folder: &Path) -> [u64; 2] {
    let mut map = BTreeMap::new();
    let mut sizes = Vec::new();
    for (number, tensors) in shards().into_iter().enumerate() {
        let file = format!("model-{number:05}.safetensors");
        let mut header = serde_json::Map::new();
        let mut end = 0;
        for (name, shape) in tensors {
            let begin = end;
            end += shape.iter().product::<i64>() as u64 * 4;
            header
                .insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}));
            map.insert(name, file.clone());
        }
        let mut header = serde_json::to_vec(&header).unwrap();
        // As the safetensors library writes it: numbers begin at a multiple of 8.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut out = BufWriter::new(File::create(folder.join(file)).unwrap());
        out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        out.write_all(&header).unwrap();
        // 0, 1/256, 2/256, ..
        let numbers: Vec<u8> = (0..256_u16).flat_map(|i| (f32::from(i) / 256.0).to_le_bytes()).collect();
        for at in (0..end).step_by(numbers.len()) {
            out.write_all(&numbers[..numbers.len().min((end - at) as usize)]).unwrap();
        }
        out.flush().unwrap();
        sizes.push(end);
    }
    fs::write(folder.join(INDEX), json!({ "weight_map": map }).to_string()).unwrap();
    [sizes.iter().copied().max().unwrap(), sizes.iter().sum()]
}

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Loads, and prints how much more memory than before there was at once at most.
fn load(folder: &Path, kind: Kind) {
    let weights = Weights::open_sharded(&folder.join(INDEX)).unwrap();
    // Forgets the peak up to here, where the system lets us.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = status("VmRSS");
    let loader = Loader::new(&weights, "text_encoder", Device::Cpu, kind);
    let net = Umt5Encoder::new(&loader, config()).unwrap();
    loader.finish().unwrap();
    println!("it took {}", status("VmHWM").saturating_sub(before));
    drop(net);
    let Umt5Config { vocab_size, d_model, .. } = config();
    let loader = Loader::new(&weights, "text_encoder", Device::Cpu, kind);
    let embedding = loader.tensor("shared.weight", &[vocab_size, d_model]);
    let numbers = Tensor::arange(256, (kind, Device::Cpu)) / 256.0;
    assert_eq!(embedding, numbers.repeat([2]).expand([vocab_size, d_model], false));
}

#[test]
fn loading_takes_what_comes_out_and_one_shard_at_most() {
    let wo = 8 * 512 * 2048;
    let kinds = [Kind::BFloat16, Kind::Half, Kind::Float];
    if let (Ok(folder), Ok(name)) = (std::env::var(FOLDER), std::env::var(KIND)) {
        let kind = kinds.into_iter().find(|kind| format!("{kind:?}") == name).unwrap();
        return load(folder.as_ref(), kind);
    }
    let folder = tempfile::tempdir().unwrap();
    let [largest, all] = write(folder.path());
    assert_eq!(all, 4 * umt5_parameters(&config()));
    for (kind, size) in kinds.into_iter().zip([all / 2, all / 2 + 2 * wo, all]) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "loading_takes_what_comes_out_and_one_shard_at_most", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(KIND, format!("{kind:?}"))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{told}{}", String::from_utf8_lossy(&child.stderr));
        let line = told.lines().find_map(|line| line.split_once("it took "));
        let took = line.unwrap_or_else(|| panic!("{told}")).1.parse::<u64>().unwrap();
        println!("{kind:?}: {} MiB for {} MiB, shards of {} MiB", took / MIB, size / MIB, largest / MIB);
        assert!(took < size + largest, "{kind:?}: {took} bytes for {size}");
        assert!(took > size / 2, "{kind:?}: {took} bytes for {size}: is that measured?");
    }
}
