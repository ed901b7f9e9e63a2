//! Costs that are counted from configs, compared with checkpoints and against ZeroScope's known figures.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::path::{Path, PathBuf};

use motionflow::checkpoint::Checkpoint;
use motionflow::compute::Compute;
use motionflow::cost::{
    BlockPart, Layers, NetCost, Operation, Recompute, UNetInput, UNetPart, WanPart, unet, wan_transformer,
    wan_vae_decode, wan_vae_decode_in_strips, wan_vae_encode, wan_vae_encode_in_strips,
};
use motionflow::nets::unet::{GuidanceBlocks, MotionAdapterConfig, UNet2DConfig, UNet3DConfig, UNetShape};
use motionflow::nets::wan::WanConfig;
use motionflow::nets::wan_vae::WanVaeConfig;
use motionflow::registry;
use tch::Device;

fn elements(checkpoint: &Checkpoint, component: &str) -> u64 {
    let weights = checkpoint.weights(component).unwrap();
    let count = |name: &str| weights.get(name).unwrap().shape().iter().product::<i64>() as u64;
    weights.names().map(count).sum()
}

/// ZeroScope's, which are the defaults.
fn zeroscope() -> UNetShape {
    UNet3DConfig::default().shape().unwrap()
}

/// Every checkpoint of the repository, one of Stable Diffusion with its motion adapter.
fn checkpoints() -> Vec<Checkpoint> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = std::fs::read_dir(root.join("tests/cases")).unwrap();
    let mut folders: Vec<PathBuf> = cases.map(|case| case.unwrap().path().join("model")).collect();
    folders.push(root.join("../../models/demo"));
    let open = |folder: PathBuf| {
        let checkpoint = registry::open(&folder).unwrap();
        let adapter = folder.with_file_name("motion_adapter");
        if adapter.is_dir() { checkpoint.with_motion_adapter(&adapter).unwrap() } else { checkpoint }
    };
    folders.into_iter().map(open).collect()
}

#[test]
fn the_parameters_are_those_of_the_weights() {
    let checkpoints = checkpoints();
    assert!(checkpoints.len() >= 7, "{checkpoints:?}");
    for checkpoint in checkpoints {
        let costs = registry::architecture_of(&checkpoint).costs(&checkpoint, &[]).unwrap();
        let net = checkpoint.layout().components[0].name;
        let mut stored = elements(&checkpoint, net) + elements(&checkpoint, "vae");
        if checkpoint.motion_adapter().unwrap().is_some() {
            stored += elements(&checkpoint, "motion_adapter");
        }
        let text_encoder = elements(&checkpoint, "text_encoder");
        assert_eq!(costs.parameters(), stored + text_encoder, "{}", checkpoint.folder().display());
        assert_eq!(costs.text_encoder_parameters(), text_encoder);
    }
}

/// Whether `counted` lies within a share of what is known.
fn is_near(counted: f64, known: f64, share: f64) -> bool {
    (counted / known - 1.0).abs() < share
}

/// Stable Diffusion 1.5's with an adapter, which are the defaults but for the features of the text.
fn animate_diff(in_middle: bool) -> UNetShape {
    let adapter = MotionAdapterConfig { use_motion_mid_block: in_middle, ..MotionAdapterConfig::default() };
    let mut unet = UNet2DConfig::default();
    unet.spatial.cross_attention_dim = Some(768);
    unet.shape_with(&adapter).unwrap()
}

/// 512×512, 16 frames: counted with PyTorch's own counter on diffusers' nets.
#[test]
fn animate_diff_costs_what_was_counted_elsewhere() {
    let input = UNetInput { videos: 1, frames: 16, height: 64, width: 64, tokens: 77, in_parts: false };
    for (in_middle, parameters, part_flops, update_flops) in
        [(true, 1.313e9, 9.46e12, 20.1e12), (false, 1.277e9, 9.39e12, 20.0e12)]
    {
        let shape = animate_diff(in_middle);
        let whole = unet(&shape, input, UNetPart::Whole, Layers::Plain);
        assert!(is_near(whole.parameters as f64, parameters, 0.001), "{}", whole.parameters);
        assert!(is_near(whole.flops(), 17.7e12, 0.01), "{:e}", whole.flops());
        let part = UNetPart::Guidance(GuidanceBlocks::ALL, Recompute::Nothing);
        let part = unet(&shape, input, part, Layers::Plain);
        assert!(is_near(part.flops(), part_flops, 0.03), "{:e}", part.flops());
        let update = part.flops() + part.backward_flops();
        assert!(is_near(update, update_flops, 0.05), "{update:e}");
    }
}

/// Wan 2.1's, 832×480: counted with PyTorch's own counter on diffusers' nets.
#[test]
fn wan_costs_what_was_counted_elsewhere() {
    let small = WanConfig { num_attention_heads: 12, ffn_dim: 8960, num_layers: 30, ..WanConfig::default() };
    for (config, parameters, frames, flops, part) in [
        (&small, 1.419e9, 81, 283e12, 187e12),
        (&small, 1.419e9, 33, 72.9e12, 47.8e12),
        (&WanConfig::default(), 14.29e9, 81, 1678e12, 1122e12),
    ] {
        let latents = [1 + (frames - 1) / 4, 60, 104];
        let cost = |part| wan_transformer(config, latents, 512, part, Layers::Plain);
        let whole = cost(WanPart::Whole);
        assert!(is_near(whole.parameters as f64, parameters, 0.001), "{}", whole.parameters);
        assert!(is_near(whole.flops(), flops, 0.01), "{:e}", whole.flops());
        let (last, shown) = if config.num_layers == 30 { (19, 10) } else { (26, 14) };
        let counted = cost(WanPart::UpTo { last, shown, recomputed: BlockPart::All }).flops();
        assert!(is_near(counted, part, 0.03), "{counted:e}");
        let [kept, half, again] = [BlockPart::Nothing, BlockPart::AllButAttention, BlockPart::All]
            .map(|recomputed| cost(WanPart::UpTo { last, shown, recomputed }));
        // A block's input, and the inside of one block.
        let share = again.backward_peak as f64 / kept.backward_peak as f64;
        assert!(share < 0.25, "{share}");
        let flops = |cost: &NetCost| cost.recomputed.iter().map(Operation::flops).sum::<f64>();
        assert!(flops(&half) < 0.6 * flops(&again) && kept.recomputed.is_empty());
        assert!(half.backward_peak < kept.backward_peak / 3);
        // Each block but for its last product, and the last block as far as it runs.
        let again_flops = flops(&again) / again.flops();
        assert!((0.75..0.95).contains(&again_flops), "{again_flops}");
    }
}

#[test]
fn zeroscope_costs_what_was_counted_elsewhere() {
    // 576×320, 24 frames; its config is the default one.
    let input = UNetInput { videos: 1, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    let whole = unet(&zeroscope(), input, UNetPart::Whole, Layers::Plain);
    let part = UNetPart::Guidance(GuidanceBlocks::ALL, Recompute::Nothing);
    let part = unet(&zeroscope(), input, part, Layers::Plain);
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
        let cost = |part| unet(&zeroscope(), input, part, layers);
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
        unet(&zeroscope(), input, UNetPart::Guidance(GuidanceBlocks::ALL, recompute), layers)
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
        let cost = |part| unet(&zeroscope(), input, part, Layers::Fused);
        [cost(UNetPart::Whole).forward_peak, cost(update).backward_peak]
    };
    let ([forward, backward], [whole_forward, whole_backward]) = (peaks(true), peaks(false));
    assert!(forward < whole_forward * 9 / 10, "{forward} of {whole_forward}");
    assert!(backward < whole_backward * 3 / 5, "{backward} of {whole_backward}");
}

#[test]
fn fewer_guidance_blocks_cost_less_and_are_known_by_name() {
    let config = zeroscope();
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
    for checkpoint in checkpoints() {
        let architecture = registry::architecture_of(&checkpoint);
        let model = architecture.load(&checkpoint, Compute::exact(Device::Cpu)).unwrap();
        let mut blocks: Vec<&str> =
            model.guidance_layers().cross.iter().map(|layer| layer.block.as_str()).collect();
        blocks.dedup();
        let named: Vec<String> = blocks.iter().map(|&block| block.to_owned()).collect();
        architecture.check_blocks(&checkpoint, &named).unwrap();
        let unknown = architecture.check_blocks(&checkpoint, &["none".to_owned()]).unwrap_err().to_string();
        let ends_so = |known: &str| unknown.ends_with(known);
        assert!(ends_so(&blocks.join(", ")) || ends_so("and ranges such as blocks.10-19"), "{unknown}");
    }
}

#[test]
fn what_deep_features_leave_is_a_small_part_of_zeroscopes_net() {
    let input = UNetInput { videos: 2, frames: 24, height: 40, width: 72, tokens: 77, in_parts: false };
    let flops = |part| unet(&zeroscope(), input, part, Layers::Plain).flops();
    let share = flops(UNetPart::Shallow) / flops(UNetPart::Whole);
    assert!(0.05 < share && share < 0.25, "{share}");
}

/// Counted with PyTorch's own counter on diffusers' net.
#[test]
fn wans_vae_costs_what_was_counted_elsewhere() {
    let config = WanVaeConfig::default();
    for ([width, height, frames], [encode, decode]) in [
        ([832, 480, 81], [164e12, 275e12]),
        ([832, 480, 49], [99e12, 167e12]),
        ([832, 480, 33], [67e12, 113e12]),
        ([480, 272, 33], [22e12, 37e12]),
        ([1280, 720, 81], [382e12, 639e12]),
    ] {
        let encoder = wan_vae_encode(&config, frames, height, width, Layers::Plain);
        let decoder = wan_vae_decode(&config, frames, height, width, Layers::Plain);
        assert!(is_near(encoder.flops(), encode, 0.02), "{:e}", encoder.flops());
        assert!(is_near(decoder.flops(), decode, 0.02), "{:e}", decoder.flops());
        assert!(is_near((encoder.parameters + decoder.parameters) as f64, 126.9e6, 0.0005));
    }
}

#[test]
fn wans_vae_takes_less_in_strips_and_computes_the_same() {
    let config = WanVaeConfig::default();
    for (whole, strips) in [
        (wan_vae_encode as fn(&_, _, _, _, _) -> _, wan_vae_encode_in_strips as fn(&_, _, _, _, _) -> _),
        (wan_vae_decode, wan_vae_decode_in_strips),
    ] {
        let [whole, strips]: [NetCost; 2] =
            [whole, strips].map(|cost| cost(&config, 33, 720, 1280, Layers::Fused));
        assert!(
            strips.forward_peak < whole.forward_peak / 2,
            "{} of {}",
            strips.forward_peak,
            whole.forward_peak
        );
        assert!(strips.operations == whole.operations);
    }
}

#[test]
fn the_memory_of_wans_vae_does_not_grow_with_the_clip() {
    let config = WanVaeConfig::default();
    for layers in [Layers::Plain, Layers::Fused] {
        for cost in [wan_vae_encode, wan_vae_decode] {
            let peaks = [1, 5, 9, 81].map(|frames| cost(&config, frames, 480, 832, layers).forward_peak);
            assert!(peaks[0] < peaks[1] && peaks[1] == peaks[2] && peaks[2] == peaks[3], "{peaks:?}");
            // Between a few activations of the finest level, and one such of the whole clip.
            let activation = 96 * 480 * 832;
            assert!((12 * activation..81 * activation).contains(&peaks[3]), "{peaks:?}");
        }
    }
}
