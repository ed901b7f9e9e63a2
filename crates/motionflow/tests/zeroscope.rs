//! The list of tensors that `cargo xtask random-checkpoint` writes is what the nets ask for at ZeroScope's size.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use motionflow::checkpoint::{CheckpointError, Loader, Weights};
use motionflow::cost::{Layers, UNetInput, UNetPart, unet};
use motionflow::nets::clip_text::{ClipText, ClipTextConfig};
use motionflow::nets::config::ConfigError;
use motionflow::nets::unet::{UNet, UNet3DConfig};
use motionflow::nets::vae::{AutoencoderKl, VaeConfig};
use motionflow::schedule::{Schedule, ScheduleConfig};
use serde::de::DeserializeOwned;
use tch::{Device, Kind};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/zeroscope")
}

fn config<T: DeserializeOwned>(file: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(folder().join(file)).unwrap()).unwrap()
}

/// The tensors of a component, as `name [shape]`.
fn listed(component: &str) -> BTreeSet<String> {
    let list = std::fs::read_to_string(folder().join("tensors.txt")).unwrap();
    let section = list.split('[').find_map(|part| part.strip_prefix(&format!("{component}]\n"))).unwrap();
    let mut tensors = BTreeSet::new();
    for line in section.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        tensors.insert(format!("{}.weight [{}]", words[0], words[1].replace('x', ", ")));
        if let Some(bias) = words.get(2) {
            assert_eq!(*bias, "+bias", "{line}");
            let channels = words[1].split('x').next().unwrap();
            tensors.insert(format!("{}.bias [{channels}]", words[0]));
        }
    }
    tensors
}

/// What a net asks a checkpoint without tensors for.
fn asked<Net>(build: impl FnOnce(&Loader) -> Result<Net, ConfigError>) -> BTreeSet<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, [&2u64.to_le_bytes()[..], b"{}"].concat()).unwrap();
    let weights = Weights::open(file.path()).unwrap();
    let loader = Loader::new(&weights, "net", Device::Cpu, Kind::Half);
    build(&loader).unwrap();
    match loader.finish() {
        Err(CheckpointError::Tensors(problems)) => problems.missing.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_list_is_what_the_nets_ask_for() {
    let text_encoder: ClipTextConfig = config("text_encoder/config.json");
    assert_eq!(listed("text_encoder"), asked(|weights| ClipText::new(weights, text_encoder)));
    let vae: VaeConfig = config("vae/config.json");
    assert_eq!(listed("vae"), asked(|weights| AutoencoderKl::new(weights, vae)));
    let unet: UNet3DConfig = config("unet/config.json");
    assert_eq!(listed("unet"), asked(|weights| Ok(UNet::new(weights, unet.shape()?))));
}

#[test]
fn the_configs_are_zeroscopes() {
    let config = self::config::<UNet3DConfig>("unet/config.json").shape().unwrap();
    let input = UNetInput { videos: 1, frames: 1, height: 8, width: 8, tokens: 77, in_parts: false };
    assert_eq!(unet(&config, input, UNetPart::Whole, Layers::Plain).parameters, 1_411_233_860);
    let schedule: ScheduleConfig = self::config("scheduler/scheduler_config.json");
    assert_eq!(Schedule::new(&schedule).unwrap().ascending(50)[49].timestep, 981);
}
