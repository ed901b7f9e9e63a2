//! Costs that are counted from configs, compared with checkpoints and against ZeroScope's known figures.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::path::{Path, PathBuf};

use motionflow::checkpoint::Checkpoint;
use motionflow::cost::{
    Layers, NetCost, Operation, Recompute, UNetInput, UNetPart, text_encoder_parameters, unet, vae_decode,
    vae_encode,
};
use motionflow::model::VideoModel;
use motionflow::nets::clip_text::ClipTextConfig;
use motionflow::nets::unet::{GuidanceBlocks, UNetConfig};
use motionflow::registry;
use motionflow::text_to_video::TextToVideo;

fn elements(checkpoint: &Checkpoint, component: &str) -> u64 {
    let weights = checkpoint.weights(component).unwrap();
    let count = |name: &str| weights.get(name).unwrap().shape().iter().product::<i64>() as u64;
    weights.names().map(count).sum()
}

fn checkpoints() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = std::fs::read_dir(root.join("tests/cases")).unwrap();
    let mut folders: Vec<PathBuf> = cases.map(|case| case.unwrap().path().join("model")).collect();
    folders.push(root.join("../../models/demo"));
    folders
}

#[test]
fn the_parameters_are_those_of_the_weights() {
    let folders = checkpoints();
    assert!(folders.len() >= 5, "{folders:?}");
    for folder in folders {
        let checkpoint = registry::open(&folder).unwrap();
        let config: UNetConfig = checkpoint.config("unet").unwrap();
        let input = UNetInput { videos: 1, frames: 2, height: 8, width: 6, tokens: 7, in_parts: false };
        let counted = unet(&config, input, UNetPart::Whole, Layers::Plain).parameters;
        assert_eq!(counted, elements(&checkpoint, "unet"), "{}", folder.display());
        let config = checkpoint.config("vae").unwrap();
        let counted = vae_encode(&config, 2, 64, 64, Layers::Plain).parameters
            + vae_decode(&config, 2, 64, 64, Layers::Plain).parameters;
        assert_eq!(counted, elements(&checkpoint, "vae"), "{}", folder.display());
        let config: ClipTextConfig = checkpoint.config("text_encoder").unwrap();
        assert_eq!(
            text_encoder_parameters(&config),
            elements(&checkpoint, "text_encoder"),
            "{}",
            folder.display()
        );
    }
}

/// Whether `counted` lies within a share of what is known.
fn is_near(counted: f64, known: f64, share: f64) -> bool {
    (counted / known - 1.0).abs() < share
}

#[test]
fn zeroscope_costs_what_was_counted_elsewhere() {
    // 576×320, 24 frames; its config is the default one.
    let input = UNetInput { videos: 1, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    let whole = unet(&UNetConfig::default(), input, UNetPart::Whole, Layers::Plain);
    let part = UNetPart::Guidance(GuidanceBlocks::ALL, Recompute::Nothing);
    let part = unet(&UNetConfig::default(), input, part, Layers::Plain);
    assert!(is_near(whole.parameters as f64, 1.411e9, 0.001), "{}", whole.parameters);
    assert!(is_near(whole.flops(), 21.4e12, 0.02), "{:e}", whole.flops());
    // The other count goes to the end of up_blocks.1; a run stops before its upsampler.
    let upsampler = 2.0 * 24.0 * f64::from(36 * 20) * f64::from(1280 * 1280 * 9);
    assert!(is_near(part.flops() + upsampler, 12.5e12, 0.005), "{:e}", part.flops());
}

#[test]
fn a_pass_for_the_maps_ends_with_the_last_cross_attention() {
    let input = UNetInput { videos: 1, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    for layers in [Layers::Plain, Layers::Fused] {
        let cost = |part| unet(&UNetConfig::default(), input, part, layers);
        let guidance = cost(UNetPart::Guidance(GuidanceBlocks::ALL, Recompute::Nothing));
        let maps = cost(UNetPart::CrossMaps);
        assert!(maps.flops() < guidance.flops() && maps.parameters < guidance.parameters);
        // No more is left out than one transformer's end and the temporal one behind it.
        assert!(maps.flops() > 0.97 * guidance.flops(), "{:e} of {:e}", maps.flops(), guidance.flops());
        assert!(maps.forward_peak <= guidance.forward_peak && maps.recomputed.is_empty());
        let shown = |cost: &NetCost| {
            let is_shown =
                |operation: &&Operation| matches!(operation, Operation::Attention { plain: true, .. });
            cost.operations.iter().filter(is_shown).count()
        };
        // Two layers a block on the way down, one in the middle, three on the way up.
        assert_eq!((shown(&maps), shown(&guidance)), (6, 24));
    }
}

#[test]
fn what_is_recomputed_is_not_kept() {
    let input = UNetInput { videos: 1, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    let update = |layers, recompute| {
        unet(&UNetConfig::default(), input, UNetPart::Guidance(GuidanceBlocks::ALL, recompute), layers)
    };
    let plain = update(Layers::Plain, Recompute::Nothing);
    let [all, early, parts] = [Recompute::Nothing, Recompute::BeforeGuidance, Recompute::Everything]
        .map(|recompute| update(Layers::Fused, recompute));
    assert_eq!(plain.parameters, parts.parameters);
    // The text's keys and values are not computed in every run.
    assert!(is_near(all.flops(), plain.flops(), 0.05) && all.flops() < plain.flops());
    let recomputed = |cost: &NetCost| cost.recomputed.iter().map(Operation::flops).sum::<f64>();
    assert!(all.recomputed.is_empty());
    assert!(recomputed(&early) < recomputed(&parts) && recomputed(&parts) < parts.flops());
    let peaks = [&plain, &all, &early, &parts].map(|cost| cost.backward_peak);
    assert!(peaks.is_sorted_by(|more, less| more >= less) && peaks[0] > peaks[1], "{peaks:?}");
    assert!(all.saved > early.saved && early.saved > parts.saved);
    // One transformer of the finest level, and little else.
    assert!(early.backward_peak < all.backward_peak / 2, "{peaks:?}");
    assert!(early.backward_peak > early.forward_peak, "{peaks:?}");
}

#[test]
fn feed_forward_nets_in_parts_take_less() {
    let peaks = |in_parts| {
        let input = UNetInput { videos: 1, frames: 24, height: 40, width: 72, tokens: 77, in_parts };
        let update = UNetPart::Guidance(GuidanceBlocks::ALL, Recompute::Everything);
        let cost = |part| unet(&UNetConfig::default(), input, part, Layers::Fused);
        [cost(UNetPart::Whole).forward_peak, cost(update).backward_peak]
    };
    let ([forward, backward], [whole_forward, whole_backward]) = (peaks(true), peaks(false));
    assert!(forward < whole_forward * 9 / 10, "{forward} of {whole_forward}");
    assert!(backward < whole_backward * 3 / 5, "{backward} of {whole_backward}");
}

#[test]
fn fewer_guidance_blocks_cost_less_and_are_known_by_name() {
    let config = UNetConfig::default();
    assert_eq!(config.guidance_blocks(), ["down_blocks.2", "mid_block", "up_blocks.1"]);
    let input = UNetInput { videos: 1, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    let flops = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let part = UNetPart::Guidance(config.named_blocks(&names).unwrap(), Recompute::Nothing);
        unet(&config, input, part, Layers::Plain).flops()
    };
    assert_eq!(flops(&[]).to_bits(), flops(&["up_blocks.1", "down_blocks.2", "mid_block"]).to_bits());
    assert!(flops(&["down_blocks.2"]) < flops(&["down_blocks.2", "mid_block"]));
    assert!(flops(&["mid_block"]) < flops(&["up_blocks.1"]));
    let message = config.named_blocks(&["up_blocks.9".to_owned()]).unwrap_err().to_string();
    assert!(message.contains("down_blocks.2, mid_block, up_blocks.1"), "{message}");
}

#[test]
fn the_configs_guidance_blocks_are_those_of_the_net() {
    for folder in checkpoints() {
        let checkpoint = registry::open(&folder).unwrap();
        let config: UNetConfig = checkpoint.config("unet").unwrap();
        let model =
            TextToVideo::load(&checkpoint, motionflow::compute::Compute::exact(tch::Device::Cpu)).unwrap();
        let mut blocks: Vec<&str> =
            model.guidance_layers().cross.iter().map(|layer| layer.block.as_str()).collect();
        blocks.dedup();
        assert_eq!(blocks, config.guidance_blocks(), "{}", folder.display());
    }
}

#[test]
fn what_deep_features_leave_is_a_small_part_of_zeroscopes_net() {
    let input = UNetInput { videos: 2, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    let flops = |part| unet(&UNetConfig::default(), input, part, Layers::Plain).flops();
    let share = flops(UNetPart::Shallow) / flops(UNetPart::Whole);
    assert!(0.05 < share && share < 0.25, "{share}");
}
