//! The lists of tensors that `cargo xtask random-checkpoint` writes are what the nets ask for at the published sizes.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use motionflow::checkpoint::{CheckpointError, Loader, Weights};
use motionflow::cost::{Layers, UNetInput, UNetPart, unet};
use motionflow::nets::clip_text::{ClipText, ClipTextConfig};
use motionflow::nets::config::ConfigError;
use motionflow::nets::unet::{MotionAdapterConfig, UNet, UNet2DConfig, UNet3DConfig, UNetShape};
use motionflow::nets::vae::{AutoencoderKl, VaeConfig};
use motionflow::nets::wan::{WanConfig, WanTransformer};
use motionflow::nets::wan_vae::{AutoencoderKlWan, WanVaeConfig};
use motionflow::schedule::{FlowConfig, FlowSchedule, Schedule, ScheduleConfig};
use serde::de::DeserializeOwned;
use tch::{Device, Kind};

/// What `--like` names.
const ZEROSCOPE: &str = "zeroscope";
const ANIMATE_DIFF: &str = "animatediff";
const WAN: &str = "wan";
/// The transformers of Wan and how many parameters they have.
const WAN_SIZES: [(&str, i64); 2] = [("wan/1.3b", 1_418_996_800), ("wan/14b", 14_288_491_584)];

fn folder(shape: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask").join(shape)
}

fn config<T: DeserializeOwned>(shape: &str, file: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(folder(shape).join(file)).unwrap()).unwrap()
}

/// The tensors of a component, as `name [shape]`.
fn listed(shape: &str, component: &str) -> BTreeSet<String> {
    let list = std::fs::read_to_string(folder(shape).join("tensors.txt")).unwrap();
    let section = list.split('[').find_map(|part| part.strip_prefix(&format!("{component}]\n"))).unwrap();
    let mut tensors = BTreeSet::new();
    for line in section.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let last = words.get(2).copied();
        let parameter = match last {
            None | Some("+bias") => ".weight",
            Some("pe") => ".pe",
            Some("gamma") => ".gamma",
            Some("alone") => "",
            Some(_) => panic!("{line}"),
        };
        for layer in layers(words[0]) {
            tensors.insert(format!("{layer}{parameter} [{}]", words[1].replace('x', ", ")));
            if last == Some("+bias") {
                let channels = words[1].split('x').next().unwrap();
                tensors.insert(format!("{layer}.bias [{channels}]"));
            }
        }
    }
    tensors
}

/// The names that one with a range, as `blocks.{0..30}.norm2`, stands for.
fn layers(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (range, after) = rest.split_once('}').unwrap();
    let (first, end) = range.split_once("..").unwrap();
    let range = first.parse::<i64>().unwrap()..end.parse().unwrap();
    range.map(|index| format!("{before}{index}{after}")).collect()
}

/// How many numbers tensors have.
fn numbers(tensors: &BTreeSet<String>) -> i64 {
    let of = |tensor: &String| {
        let shape = tensor.split_once(" [").unwrap().1.trim_end_matches(']');
        shape.split(", ").map(|side| side.parse::<i64>().unwrap()).product::<i64>()
    };
    tensors.iter().map(of).sum()
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

/// The shape of Stable Diffusion's UNet with the adapter's motion modules.
fn animate_diff() -> UNetShape {
    let adapter: MotionAdapterConfig = config(ANIMATE_DIFF, "motion-adapter/config.json");
    config::<UNet2DConfig>(ANIMATE_DIFF, "base/unet/config.json").shape_with(&adapter).unwrap()
}

#[test]
fn zeroscopes_list_is_what_the_nets_ask_for() {
    let listed = |component| listed(ZEROSCOPE, component);
    let text_encoder: ClipTextConfig = config(ZEROSCOPE, "text_encoder/config.json");
    assert_eq!(listed("text_encoder"), asked(|weights| ClipText::new(weights, text_encoder)));
    let vae: VaeConfig = config(ZEROSCOPE, "vae/config.json");
    assert_eq!(listed("vae"), asked(|weights| AutoencoderKl::new(weights, vae)));
    let unet: UNet3DConfig = config(ZEROSCOPE, "unet/config.json");
    assert_eq!(listed("unet"), asked(|weights| Ok(UNet::new(weights, unet.shape()?))));
}

#[test]
fn animate_diffs_list_is_what_the_nets_ask_for() {
    let listed = |component| listed(ANIMATE_DIFF, component);
    let text_encoder: ClipTextConfig = config(ANIMATE_DIFF, "base/text_encoder/config.json");
    assert_eq!(listed("text_encoder"), asked(|weights| ClipText::new(weights, text_encoder)));
    // Its config is ZeroScope's.
    let vae: VaeConfig = config(ZEROSCOPE, "vae/config.json");
    assert_eq!(listed("vae"), asked(|weights| AutoencoderKl::new(weights, vae)));
    let (unet, adapter) = (listed("unet"), listed("motion_adapter"));
    assert!(unet.is_disjoint(&adapter));
    assert_eq!(&unet | &adapter, asked(|weights| Ok(UNet::new(weights, animate_diff()))));
    assert!(adapter.iter().all(|tensor| tensor.contains(".motion_modules.")));
    assert!(!unet.iter().any(|tensor| tensor.contains(".motion_modules.")));
}

#[test]
fn wans_lists_are_what_the_nets_ask_for() {
    for (shape, parameters) in WAN_SIZES {
        let transformer: WanConfig = config(shape, "transformer/config.json");
        let listed = listed(shape, "transformer");
        assert_eq!(listed, asked(|weights| WanTransformer::new(weights, transformer)), "{shape}");
        assert_eq!(numbers(&listed), parameters);
    }
    let vae: WanVaeConfig = config(WAN, "vae/config.json");
    let listed_vae = listed(WAN, "vae");
    assert_eq!(listed_vae, asked(|weights| AutoencoderKlWan::new(weights, vae)));
    assert_eq!(numbers(&listed_vae), 126_892_531);
    assert_eq!(numbers(&listed(WAN, "text_encoder")), 5_680_910_336);
}

#[test]
fn the_configs_are_those_published() {
    let zeroscope = config::<UNet3DConfig>(ZEROSCOPE, "unet/config.json").shape().unwrap();
    let input = UNetInput { videos: 1, frames: 1, height: 8, width: 8, tokens: 77, in_parts: false };
    let parameters = |shape| unet(shape, input, UNetPart::Whole, Layers::Plain).parameters;
    assert_eq!(parameters(&zeroscope), 1_411_233_860);
    assert_eq!(parameters(&animate_diff()), 859_520_964 + 453_813_440);
    let schedulers = [
        (ZEROSCOPE, "scheduler/scheduler_config.json"),
        (ANIMATE_DIFF, "base/scheduler/scheduler_config.json"),
    ];
    for (shape, file) in schedulers {
        let schedule: ScheduleConfig = config(shape, file);
        assert_eq!(Schedule::new(&schedule).unwrap().ascending(50)[49].key, 981);
    }
    let flow: FlowConfig = config(WAN, "scheduler/scheduler_config.json");
    let of_euler = FlowConfig { shift: Some(3.0), ..FlowConfig::default() };
    let ascending = |config| Schedule::Flow(FlowSchedule::new(config).unwrap()).ascending(50);
    assert_eq!(ascending(&flow), ascending(&of_euler));
}
