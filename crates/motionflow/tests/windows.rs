//! Context windows: what is found of a long clip is the mean of what is found of each window, by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use motionflow::compute::{Compute, MemoryUse};
use motionflow::generation::{Generating, Generation, GenerationEvent, generate};
use motionflow::inversion::{Inverting, invert};
use motionflow::latents::Latents;
use motionflow::masks::{LayerMasks, MotionMasks, subject_map};
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::nets::attention::NoObserver;
use motionflow::noised::{NoisedSource, observe};
use motionflow::observer::MapKeeper;
use motionflow::registry;
use motionflow::sampler::{History, Sampler};
use motionflow::settings::{SamplerName, Settings};
use motionflow::text_to_video::{TextToVideo, UNET_3D};
use motionflow::update::guidance_gradient;
use tch::{Device, Kind, Tensor};

const FRAMES: i64 = 6;
/// Of 3 frames with an overlap of 1: the last one is moved back.
const WINDOWS: [(i64, i64); 3] = [(0, 3), (2, 3), (3, 3)];
/// In how many of them each frame is.
const HELD: [f32; FRAMES as usize] = [1.0, 1.0, 2.0, 2.0, 2.0, 1.0];

fn model(memory: MemoryUse) -> TextToVideo {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tiny/model");
    let compute = Compute { memory, ..Compute::exact(Device::Cpu) };
    UNET_3D.load_nets(&registry::open(&folder).unwrap(), compute).unwrap()
}

fn random(seed: i64) -> Tensor {
    // All threads share one generator.
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap();
    tch::manual_seed(seed);
    Tensor::randn([1, 4, FRAMES, 6, 5], (Kind::Float, Device::Cpu))
}

fn prompt(model: &TextToVideo, text: &str) -> EncodedPrompt {
    model.encode_prompt(&text.parse().unwrap()).unwrap()
}

fn windowed() -> Settings {
    Settings {
        steps: 4,
        guided_steps: 0,
        context_frames: Some(3),
        context_overlap: 1,
        step_size: 50.0,
        ..Settings::default()
    }
}

fn whole() -> Settings {
    Settings { context_frames: None, ..windowed() }
}

/// Each frame's mean over the windows, whose frames are along `dim`.
fn mean(dim: i64, of_window: impl Fn(usize, i64, i64) -> Tensor) -> Tensor {
    let mut sum: Option<Tensor> = None;
    for (index, (start, length)) in WINDOWS.into_iter().enumerate() {
        let part = of_window(index, start, length);
        let mut shape = part.size();
        shape[dim as usize] = FRAMES;
        let sum = sum.get_or_insert_with(|| Tensor::zeros(&shape, (Kind::Float, Device::Cpu)));
        let _ = sum.narrow(dim, start, length).g_add_(&part);
    }
    let sum = sum.unwrap();
    let mut shape = vec![1; sum.dim()];
    shape[dim as usize] = FRAMES;
    sum / Tensor::from_slice(&HELD).view(&shape[..])
}

fn close(one: &Tensor, other: &Tensor) {
    assert_eq!(one.size(), other.size());
    let off = ((one - other).norm() / other.norm()).double_value(&[]);
    assert!(off < 1e-5, "{off}");
}

fn masks(model: &TextToVideo, latents: &Tensor, target: &EncodedPrompt) -> Vec<LayerMasks> {
    let settings = Settings { noised_timesteps: vec![401], ..whole() };
    let settings =
        Settings { mask_source: motionflow::settings::MaskSource::Noised, guided_steps: 1, ..settings };
    let source = NoisedSource::new(Latents::new(latents.shallow_clone()));
    let seen = observe(model, source, target, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    seen.masks(&[0], &settings).unwrap().at.remove(&0).unwrap()
}

fn of_frames(masks: &[LayerMasks], start: i64, length: i64) -> Vec<LayerMasks> {
    let cut = |(layer, mask): (&String, &Tensor)| (layer.clone(), mask.narrow(0, start, length).contiguous());
    masks.iter().map(|layers| layers.iter().map(cut).collect()).collect()
}

fn made(
    model: &TextToVideo,
    latents: &Tensor,
    masks: Option<Vec<LayerMasks>>,
    settings: &Settings,
) -> Generation {
    let [target, negative] = ["a [panda] in the snow", "blurry"].map(|text| prompt(model, text));
    let sampler = Sampler::new(model.schedule(), settings).unwrap();
    let masks = masks.map(|masks| {
        let shared = |_: &i64| of_frames(&masks, 0, latents.size()[2]);
        MotionMasks {
            at: sampler.mask_keys().iter().map(|t| (*t, shared(t))).collect(),
            ..MotionMasks::default()
        }
    });
    let start = Generating::new(Latents::new(latents.shallow_clone()));
    let go_on = &mut |_: &GenerationEvent| ControlFlow::Continue(());
    generate(model, start, masks.as_ref(), &target, &negative, settings, go_on).unwrap()
}

#[test]
fn sampling_takes_the_mean_of_the_windows_predictions() {
    for (memory, sampler, deepcache_interval) in [
        (MemoryUse::Fast, SamplerName::Ddim, 1),
        (MemoryUse::Low, SamplerName::Dpmpp2m, 2),
        (MemoryUse::Fast, SamplerName::UniPc, 3),
    ] {
        let model = model(memory);
        let _no_gradients = tch::no_grad_guard();
        let settings = Settings { sampler, deepcache_interval, ..windowed() };
        let plans = settings.step_plans(model.schedule()).unwrap();
        let steps = Sampler::new(model.schedule(), &settings).unwrap();
        let texts = ["blurry", "a [panda] in the snow"].map(|text| prompt(&model, text).features);
        let (mut latents, mut history) = (random(7), History::default());
        let mut kept: BTreeMap<(usize, usize), Tensor> = BTreeMap::new();
        for (index, (&timestep, plan)) in steps.timesteps().iter().zip(plans).enumerate() {
            let reuses = plan.features == motionflow::step_plan::Features::Reused;
            let mut halves = Vec::new();
            for (half, text) in texts.iter().enumerate() {
                let made: Vec<(Tensor, Tensor)> = WINDOWS
                    .iter()
                    .enumerate()
                    .map(|(window, (start, length))| {
                        let features = kept.get(&(half, window)).filter(|_| reuses);
                        let part = latents.narrow(2, *start, *length).contiguous();
                        let made = model.predict_noise_with_features(
                            &part,
                            timestep,
                            text,
                            features,
                            &mut NoObserver,
                        );
                        let (noise, features) = made.continue_value().unwrap();
                        (noise, features.unwrap())
                    })
                    .collect();
                kept.extend(
                    made.iter().enumerate().map(|(window, (_, deep))| ((half, window), deep.shallow_clone())),
                );
                halves.push(mean(2, |window, _, _| made[window].0.shallow_clone()));
            }
            let predicted = &halves[0] + (&halves[1] - &halves[0]) * settings.guidance_scale;
            latents = steps.step(index, &latents, &predicted, false, &mut history);
        }
        close(made(&model, &random(7), None, &settings).latents.tensor(), &latents);
    }
}

#[test]
fn an_inversion_and_its_maps_are_means_of_the_windows() {
    let model = model(MemoryUse::Fast);
    let _no_gradients = tch::no_grad_guard();
    let source = prompt(&model, "a [car] and a [dog] on a road");
    let from = Inverting::new(Latents::new(random(3)));
    let settings = Settings { steps: 1, ..windowed() };
    let inverted = invert(&model, from, &source, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    let step = model.schedule().ascending(1)[0];
    let cross = &model.guidance_layers().cross;
    let seen: Vec<_> = WINDOWS
        .iter()
        .map(|(start, length)| {
            let mut keeper = MapKeeper::new(cross);
            let part = random(3).narrow(2, *start, *length).contiguous();
            let noise = model.predict_noise(&part, step.timestep, &source.features, &mut keeper);
            (noise.continue_value().unwrap(), keeper.maps)
        })
        .collect();
    let noise = mean(2, |window, _, _| seen[window].0.shallow_clone());
    close(inverted.latents.tensor(), &model.schedule().add_noise_step(&random(3), &noise, step));
    for (maps, tokens) in inverted.maps.at[&step.key].iter().zip(&source.subjects) {
        assert_eq!(maps.len(), cross.len());
        for (layer, map) in maps {
            close(map, &mean(0, |window, _, _| subject_map(&seen[window].1[layer], tokens)));
        }
    }
}

#[test]
fn a_gradient_and_its_loss_are_means_of_the_windows() {
    for memory in [MemoryUse::Fast, MemoryUse::Low] {
        let model = model(memory);
        let target = prompt(&model, "a [panda] in the snow");
        let (latents, clean) = (random(5), random(6));
        let masks = masks(&model, &clean, &target);
        let found = guidance_gradient(&model, &latents, &masks, &target, &windowed(), 501.into()).unwrap();
        let expected = mean(2, |_, start, length| {
            let (part, masks) =
                (latents.narrow(2, start, length).contiguous(), of_frames(&masks, start, length));
            guidance_gradient(&model, &part, &masks, &target, &whole(), 501.into()).unwrap()
        });
        close(&found, &expected);

        let guided = Settings { guided_steps: 1, ..windowed() };
        let record = |latents: &Tensor, masks: Vec<LayerMasks>, settings: &Settings| {
            made(&model, latents, Some(masks), settings).updates.first().copied()
        };
        let update = record(&latents, of_frames(&masks, 0, FRAMES), &guided).unwrap();
        let parts: Vec<_> = WINDOWS
            .iter()
            .map(|&(start, length)| {
                let part = latents.narrow(2, start, length).contiguous();
                let settings = Settings { context_frames: None, ..guided.clone() };
                record(&part, of_frames(&masks, start, length), &settings).unwrap()
            })
            .collect();
        let losses: Vec<f64> = parts.iter().map(|update| update.loss).collect();
        let mean_loss = losses.iter().sum::<f64>() / 3.0;
        assert!((update.loss - mean_loss).abs() < 1e-6, "{} of {losses:?}", update.loss);
        let cross = parts.iter().map(|update| update.parts.cross.unwrap()).sum::<f64>() / 3.0;
        assert!((update.parts.cross.unwrap() - cross).abs() < 1e-6);
        assert_eq!(update.parts.outside, None);

        // The threshold is held against the mean.
        let with = |loss_threshold| {
            record(&latents, of_frames(&masks, 0, FRAMES), &Settings { loss_threshold, ..guided.clone() })
        };
        assert!(with(mean_loss * 0.999).is_some() && with(mean_loss * 1.001).is_none());
    }
}

#[test]
fn a_clip_of_one_window_is_the_same_to_the_byte() {
    let model = model(MemoryUse::Fast);
    let target = prompt(&model, "a [panda] in the snow");
    let masks = masks(&model, &random(6), &target);
    let of = |context_frames, context_overlap| {
        let settings = Settings { guided_steps: 2, context_frames, context_overlap, ..windowed() };
        let made = made(&model, &random(7), Some(of_frames(&masks, 0, FRAMES)), &settings);
        (made.latents.tensor().shallow_clone(), made.updates)
    };
    let plain = of(None, 4);
    assert_eq!(of(Some(6), 4), plain);
    assert_eq!(of(Some(100), 50), plain);
    assert_ne!(of(Some(5), 4), plain);
}

#[test]
fn noise_of_a_long_clip_is_that_of_the_net() {
    let model = model(MemoryUse::Fast);
    let noise = |settings: Settings| settings.context().noise(&model, [6, 16, 24], 9).unwrap();
    assert_eq!(noise(windowed()).tensor(), model.noise(6, 16, 24, 9).unwrap().tensor());
}
