//! Wan 2.2's two transformers, made of Wan's small case and a copy of its transformer with one tensor changed.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use motionflow::checkpoint::{Checkpoint, CheckpointError};
use motionflow::compute::Compute;
use motionflow::model::VideoModel;
use motionflow::nets::attention::{AttentionObserver, NoObserver};
use motionflow::prompt::Prompt;
use motionflow::registry;
use serde_json::{Value, json};
use tch::{Device, Tensor};
use tempfile::TempDir;

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::write(&to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Overwrites the bias of the patches in the weights of a transformer.
fn change(folder: &Path) {
    let path = folder.join(WEIGHTS);
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let tensor = &tensors["patch_embedding.bias"];
    assert_eq!(tensor["dtype"], "F32");
    let [begin, end] = [0, 1].map(|at| header + tensor["data_offsets"][at].as_u64().unwrap() as usize);
    for (index, number) in bytes[begin..end].chunks_exact_mut(4).enumerate() {
        number.copy_from_slice(&(index as f32 / 8.0).sin().to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

/// Writes keys of a JSON file anew.
fn set(path: &Path, entries: &[(&str, Value)]) {
    let mut file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for (key, value) in entries {
        file[*key] = value.clone();
    }
    fs::write(path, serde_json::to_vec_pretty(&file).unwrap()).unwrap();
}

/// The small case's checkpoint, whose `model_index.json` says this too.
fn one(entries: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/wan-tiny/model"), folder.path());
    set(&folder.path().join("model_index.json"), entries);
    folder
}

/// The same with a second transformer.
fn two(boundary_ratio: Value) -> TempDir {
    let class = json!(["diffusers", "WanTransformer3DModel"]);
    let folder = one(&[("transformer_2", class), ("boundary_ratio", boundary_ratio)]);
    copy(&folder.path().join("transformer"), &folder.path().join("transformer_2"));
    change(&folder.path().join("transformer_2"));
    folder
}

fn opened(folder: &TempDir) -> Checkpoint {
    registry::open(folder.path()).unwrap()
}

fn loaded(folder: &TempDir) -> Box<dyn VideoModel + Send> {
    let checkpoint = opened(folder);
    registry::architecture_of(&checkpoint).load(&checkpoint, Compute::exact(Device::Cpu)).unwrap()
}

/// What opening or loading says of it.
fn refusal(folder: &TempDir) -> String {
    let checkpoint = match registry::open(folder.path()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return error.to_string(),
    };
    let architecture = registry::architecture_of(&checkpoint);
    let message = architecture.load(&checkpoint, Compute::exact(Device::Cpu)).err().unwrap().to_string();
    assert_eq!(architecture.costs(&checkpoint, &[]).unwrap_err().to_string(), message);
    message
}

/// Keeps the first map that it is shown.
struct First(Option<Tensor>);

impl AttentionObserver for First {
    fn wants(&self, layer: &str) -> bool {
        layer == "blocks.1.attn2"
    }

    fn observe(&mut self, _layer: &str, probabilities: Tensor) -> ControlFlow<()> {
        self.0 = Some(probabilities);
        ControlFlow::Break(())
    }
}

/// A prediction, a map, and the gradient of a number that the map gives.
fn run(model: &dyn VideoModel, timestep: f64) -> [Tensor; 3] {
    let latents = model.noise(5, 32, 48, 3).unwrap();
    let prompt = Prompt::literal("a camel on a road");
    let features = model.encode_prompt(&prompt).unwrap().features;
    let (latents, timestep) = (latents.tensor(), timestep.into());
    let noise = model.predict_noise(latents, timestep, &features, &mut NoObserver).continue_value().unwrap();
    let mut observer = First(None);
    let traced = model.trace(latents, timestep, &features, &mut observer);
    let map = observer.0.unwrap();
    let gradient = traced.gradient(&map.square().sum(None));
    [noise, map.detach(), gradient]
}

fn equal(left: &[Tensor; 3], right: &[Tensor; 3]) -> [bool; 3] {
    std::array::from_fn(|index| left[index].equal(&right[index]))
}

#[test]
fn each_timestep_goes_to_its_transformer() {
    let folders = [one(&[]), one(&[]), two(json!(0.875))];
    change(&folders[1].path().join("transformer"));
    let [first, second, both] = folders.each_ref().map(loaded);
    for (timestep, is_first) in [(1000.0, true), (875.0, true), (874.75, false), (8.5, false)] {
        let found = run(&*both, timestep);
        assert_eq!(equal(&found, &run(&*first, timestep)), [is_first; 3], "{timestep}");
        assert_eq!(equal(&found, &run(&*second, timestep)), [!is_first; 3], "{timestep}");
    }
    let names = |model: &dyn VideoModel| format!("{:?}", model.guidance_layers());
    assert_eq!(names(&*both), names(&*first));
}

#[test]
fn without_a_boundary_the_first_has_every_timestep() {
    let first = run(&*loaded(&one(&[])), 8.5);
    assert_eq!(equal(&run(&*loaded(&two(Value::Null)), 8.5), &first), [true; 3]);
}

#[test]
fn both_are_counted_and_part_of_the_identity() {
    let [first, both] = [one(&[]), two(json!(0.5))].map(|folder| (opened(&folder), folder));
    let elements = |component: &str| {
        let weights = both.0.weights(component).unwrap();
        let count = |name: &str| weights.get(name).unwrap().shape().iter().product::<i64>() as u64;
        weights.names().map(count).sum::<u64>()
    };
    let parameters = |checkpoint: &Checkpoint| {
        registry::architecture_of(checkpoint).costs(checkpoint, &[]).unwrap().parameters()
    };
    assert_eq!(parameters(&both.0), parameters(&first.0) + elements("transformer_2"));
    let files = |checkpoint: &Checkpoint| checkpoint.files().len();
    assert_eq!(files(&both.0), files(&first.0) + 2);
    let identity = both.0.identity().unwrap();
    assert_ne!(first.0.identity().unwrap(), identity);
    fs::copy(
        first.1.path().join("transformer").join(WEIGHTS),
        both.1.path().join("transformer_2").join(WEIGHTS),
    )
    .unwrap();
    assert_ne!(opened(&both.1).identity().unwrap(), identity);
}

#[test]
fn files_of_the_second_that_are_not_there_are_listed() {
    let folder = two(json!(0.875));
    fs::remove_dir_all(folder.path().join("transformer_2")).unwrap();
    let Err(CheckpointError::Incomplete { missing, .. }) = registry::open(folder.path()) else {
        panic!("not whole");
    };
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing.contains(&"transformer_2/config.json".to_owned()), "{missing:?}");
    assert!(missing.iter().any(|name| name.contains("transformer_2/diffusion_pytorch_model")), "{missing:?}");
}

#[test]
fn what_newer_diffusers_says_of_wan_2_1_is_that_nothing_is_there() {
    let nothing = json!([null, null]);
    let folder = one(&[
        ("boundary_ratio", Value::Null),
        ("expand_timesteps", json!(false)),
        ("image_encoder", nothing.clone()),
        ("image_processor", nothing.clone()),
        ("transformer_2", nothing),
    ]);
    let checkpoint = opened(&folder);
    assert!(!checkpoint.has_net("transformer_2"));
    assert!(registry::architecture_of(&checkpoint).costs(&checkpoint, &[]).is_ok());
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    for (key, value, expected) in [
        ("expand_timesteps", json!(true), "expand_timesteps is true, but this program runs false"),
        ("expand_timesteps", json!("false"), "expand_timesteps is"),
        ("image_encoder", json!(["transformers", "CLIPVisionModel"]), "image_encoder is"),
        ("image_processor", json!(["transformers", "CLIPImageProcessor"]), "image_processor is"),
        ("transformer_2", json!(["diffusers", "WanVACETransformer3DModel"]), "transformer_2 is WanVACE"),
        ("transformer_2", json!("nonsense"), "transformer_2 is"),
        ("boundary_ratio", json!(1.5), "boundary_ratio is 1.5, but this program runs a number of 0 to 1"),
        ("boundary_ratio", json!(-0.1), "boundary_ratio is -0.1"),
        ("boundary_ratio", json!("0.875"), "boundary_ratio is"),
        ("boundary_ratio", json!(0.875), "a boundary_ratio of 0.875, but no transformer_2"),
    ] {
        let message = refusal(&one(&[(key, value)]));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_second_transformer_that_does_not_fit_the_first_is_refused() {
    for (key, value, expected) in [
        ("num_layers", 2, "num_layers is 3 in transformer/config.json and 2 in transformer_2/config.json"),
        ("num_attention_heads", 4, "num_attention_heads is 2 in transformer/config.json and 4 in"),
        ("in_channels", 16, "in_channels is 3 in"),
        ("freq_dim", 0, "transformer_2/config.json: freq_dim is 0"),
    ] {
        let folder = two(json!(0.875));
        set(&folder.path().join("transformer_2/config.json"), &[(key, json!(value))]);
        let message = refusal(&folder);
        assert!(message.contains(expected), "{message}");
    }
}
