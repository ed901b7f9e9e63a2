//! The gradient through the net is the same however much of it is computed again on the way back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use motionflow::compute::{Compute, MemoryUse};
use motionflow::device::DeviceChoice;
use motionflow::generation::{Generating, GenerationEvent, generate};
use motionflow::latents::Latents;
use motionflow::model::{GuidanceLayer, VideoModel};
use motionflow::nets::trace::Recomputed;
use motionflow::observer::MapKeeper;
use motionflow::registry;
use motionflow::settings::Settings;
use motionflow::text_to_video::{TextToVideo, UNET_3D};
use tch::{Device, Kind, Tensor};

const ALL: [Recomputed; 4] =
    [Recomputed::None, Recomputed::Unobserved, Recomputed::AllButAttention, Recomputed::All];

fn model(memory: MemoryUse) -> TextToVideo {
    let device = DeviceChoice::Auto.open().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tiny/model");
    let compute = Compute { memory, ..Compute::exact(device) };
    UNET_3D.load_nets(&registry::open(&folder).unwrap(), compute).unwrap()
}

fn random(shape: &[i64], device: Device) -> Tensor {
    tch::manual_seed(5);
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_device(device)
}

/// A loss that every element of every map counts in, each otherwise.
fn loss(maps: &BTreeMap<String, Tensor>) -> Tensor {
    let weighed =
        maps.values().map(|map| (map.square() * random(&map.size(), map.device())).sum(Kind::Float));
    weighed.fold(Tensor::from(0f32).to_device(maps.values().next().unwrap().device()), |sum, term| sum + term)
}

#[test]
fn recomputation_changes_no_gradient() {
    let model = model(MemoryUse::Fast);
    let latents = random(&[1, 4, 3, 6, 5], model.device());
    let text = random(&[1, 77, model.unet().shape().cross_attention_dim], model.device());
    let layers = model.guidance_layers();
    // Up to the first layer alone, in the middle, and all.
    let every: Vec<_> = layers.cross.iter().chain(&layers.spatial).chain(&layers.temporal).collect();
    let [first, last] = [&layers.spatial[..1], &layers.temporal[layers.temporal.len() - 1..]];
    for wanted in [first.iter().collect(), last.iter().collect(), every] {
        let leaf = latents.detach().set_requires_grad(true);
        let mut keeper = MapKeeper::stopping(wanted.iter().copied());
        let _ = model.predict_noise(&leaf, 501.into(), &text, &mut keeper);
        let expected = Tensor::run_backward(&[loss(&keeper.maps)], &[&leaf], false, false).swap_remove(0);
        let size = expected.norm().double_value(&[]);
        assert!(size > 0.0);
        for recomputed in ALL {
            let mut keeper = MapKeeper::stopping(wanted.iter().copied());
            let trace = model.unet().trace(&latents, 501.into(), &text, recomputed, &mut keeper);
            assert_eq!(keeper.maps.len(), wanted.len());
            let gradient = trace.gradient(&loss(&keeper.maps));
            let off = (gradient - &expected).norm().double_value(&[]) / size;
            assert!(off < 1e-5, "{recomputed:?} is off by {off}");
        }
    }
}

#[test]
fn a_loss_that_depends_on_nothing_has_no_gradient() {
    let model = model(MemoryUse::Fast);
    let latents = random(&[1, 4, 2, 4, 4], model.device());
    let text = random(&[1, 77, model.unet().shape().cross_attention_dim], model.device());
    for recomputed in ALL {
        let mut keeper = MapKeeper::stopping(&model.guidance_layers().cross);
        let trace = model.unet().trace(&latents, 1.into(), &text, recomputed, &mut keeper);
        let gradient = trace.gradient(&Tensor::from(1f32));
        assert_eq!((gradient.size(), gradient.abs().max().double_value(&[])), (latents.size(), 0.0));
    }
}

#[test]
fn with_less_memory_the_result_is_the_same() {
    let results = [MemoryUse::Fast, MemoryUse::Balanced, MemoryUse::Low].map(|memory| {
        let model = model(memory);
        let prompts =
            ["a car on a road", ""].map(|text| model.encode_prompt(&text.parse().unwrap()).unwrap());
        let start = Latents::new(random(&[1, 4, 3, 6, 5], model.device()));
        let settings = Settings { steps: 3, guided_steps: 0, token_weight: 1.5, ..Settings::default() };
        let [target, negative] = &prompts;
        let go_on = &mut |_: &GenerationEvent| ControlFlow::Continue(());
        let made =
            generate(&model, Generating::new(start), None, target, negative, &settings, go_on).unwrap();
        model.decode_latents(&made.latents).unwrap().value.frames().shallow_clone()
    });
    let size = results[0].norm().double_value(&[]);
    for result in &results[1..] {
        assert!((result - &results[0]).norm().double_value(&[]) < 1e-4 * size);
    }
}

/// On the CPU to the last bit, since each block is computed again by the same operations.
#[test]
fn wans_gradient_is_the_same_however_much_of_it_is_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/wan-tiny-self-attention/model");
    let checkpoint = registry::open(&folder).unwrap();
    let architecture = registry::architecture_of(&checkpoint);
    let device = DeviceChoice::Auto.open().unwrap();
    let settings = Settings { lambda_self: 0.5, lambda_temporal: 0.25, ..architecture.suited().settings };
    let gradients = [MemoryUse::Fast, MemoryUse::Balanced, MemoryUse::Low].map(|memory| {
        let compute = Compute { memory, ..Compute::exact(device) };
        let model = architecture.load(&checkpoint, compute).unwrap();
        let latents = model.noise(9, 48, 64, 3).unwrap();
        let features = model.encode_prompt(&"a camel on a road".parse().unwrap()).unwrap().features;
        let layers = model.layers_for(&settings).unwrap();
        let every: Vec<_> = layers.cross.iter().chain(&layers.spatial).chain(&layers.temporal).collect();
        assert!(!layers.spatial.is_empty() && layers.spatial.len() == layers.temporal.len());
        // Three latent frames, twelve places; the masks of two subjects.
        let masks = |layers: &[GuidanceLayer], shape: &[i64]| -> BTreeMap<String, Tensor> {
            let mask = random(shape, device).gt(0.0).to_kind(Kind::Float);
            layers.iter().map(|layer| (layer.name.clone(), mask.shallow_clone())).collect()
        };
        let mut values = masks(&layers.spatial, &[3, 12, 2]);
        values.extend(masks(&layers.temporal, &[12, 3, 2]));
        let none = BTreeMap::new();
        let looks = [
            (&every[..1], &none),
            (&every[every.len() - 1..], &none),
            (&every[..], &none),
            (&every[..], &values),
        ];
        looks.map(|(wanted, values)| {
            let values = values.iter().map(|(name, of)| (name.clone(), of.shallow_clone())).collect();
            let mut keeper = MapKeeper::stopping(wanted.iter().copied()).with_values(values);
            let trace = model.trace(latents.tensor(), 501.into(), &features, &mut keeper);
            assert_eq!(keeper.maps.len(), wanted.len());
            trace.gradient(&loss(&keeper.maps))
        })
    });
    let [full, others @ ..] = &gradients;
    for (expected, found) in others.iter().flat_map(|found| full.iter().zip(found)) {
        let size = expected.norm().double_value(&[]);
        let off = (found - expected).norm().double_value(&[]) / size;
        assert!(size > 0.0 && off < 1e-5, "off by {off}");
        assert!(device.is_cuda() || found.equal(expected));
    }
}
