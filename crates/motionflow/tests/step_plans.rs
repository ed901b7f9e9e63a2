//! Sampling steps that leave a part of the net out: one half of classifier-free guidance, or the deep features.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use motionflow::compute::{Compute, MemoryUse};
use motionflow::generation::{Generating, GenerationEvent, generate};
use motionflow::latents::Latents;
use motionflow::model::VideoModel;
use motionflow::nets::attention::{AttentionObserver, NoObserver};
use motionflow::registry;
use motionflow::settings::{SamplerName, Settings};
use motionflow::text_to_video::{TextToVideo, UNET_3D};
use tch::{Device, Kind, Tensor};

/// Counts the attentions that run.
#[derive(Default)]
struct Counter(std::cell::Cell<usize>);

impl AttentionObserver for Counter {
    fn wants(&self, _: &str) -> bool {
        self.0.set(self.0.get() + 1);
        false
    }

    fn observe(&mut self, _: &str, _: Tensor) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

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
    Tensor::randn([1, 4, 3, 6, 5], (Kind::Float, Device::Cpu))
}

fn sampled(model: &TextToVideo, settings: &Settings) -> Tensor {
    let prompts =
        ["a panda in the snow", "blurry"].map(|text| model.encode_prompt(&text.parse().unwrap()).unwrap());
    let [target, negative] = &prompts;
    let start = Generating::new(Latents::new(random(7)));
    let go_on = &mut |_: &GenerationEvent| ControlFlow::Continue(());
    let made = generate(model, start, None, target, negative, settings, go_on).unwrap();
    made.latents.tensor().shallow_clone()
}

fn relative(one: &Tensor, other: &Tensor) -> f64 {
    ((one - other).norm() / other.norm()).double_value(&[])
}

#[test]
fn with_its_own_deep_features_a_net_predicts_the_same() {
    let model = model(MemoryUse::Fast);
    let _no_gradients = tch::no_grad_guard();
    let text = model.encode_prompt(&"a panda".parse().unwrap()).unwrap().features;
    let (latents, near) = (random(1), random(1) + random(2) * 0.02);
    let whole = |latents: &Tensor| {
        model.predict_noise(latents, 501.into(), &text, &mut NoObserver).continue_value().unwrap()
    };
    let with = |latents: &Tensor, features: Option<&Tensor>, observer: &mut Counter| {
        model
            .predict_noise_with_features(latents, 501.into(), &text, features, observer)
            .continue_value()
            .unwrap()
    };
    let (mut all, mut few) = (Counter::default(), Counter::default());
    let (made, features) = with(&latents, None, &mut all);
    assert_eq!(made, whole(&latents), "nothing is left out");
    let features = features.unwrap();
    assert_eq!(with(&latents, Some(&features), &mut few).0, made);
    assert!(few.0.get() > 0 && 2 * few.0.get() < all.0.get(), "{few:?} of {all:?}", few = few.0, all = all.0);
    let reused = with(&near, Some(&features), &mut few).0;
    let off = relative(&reused, &whole(&near));
    assert!(off > 0.0 && off < relative(&made, &whole(&near)), "better than the prediction before: {off}");
}

#[test]
fn an_interval_of_all_noise_levels_changes_nothing_and_one_of_none_leaves_the_prompt_alone() {
    for (memory, sampler) in [
        (MemoryUse::Fast, SamplerName::Ddim),
        (MemoryUse::Low, SamplerName::Dpmpp2m),
        (MemoryUse::Fast, SamplerName::UniPc),
    ] {
        let model = model(memory);
        let plain = Settings { steps: 4, guided_steps: 0, sampler, token_weight: 1.5, ..Settings::default() };
        let between = |interval: &str| {
            let guidance_interval = Some(interval.parse().unwrap());
            sampled(&model, &Settings { guidance_interval, ..plain.clone() })
        };
        let all = sampled(&model, &plain);
        assert_eq!(between("0:inf"), all);
        let without = sampled(&model, &Settings { guidance_scale: 1.0, ..plain.clone() });
        assert!(relative(&between("1000:inf"), &without) < 1e-4);
        let part = between("0.5:5");
        let off = [&all, &without].map(|other| relative(&part, other));
        assert!(off.iter().all(|off| *off > 2e-4), "{sampler}: {off:?}");
    }
}

#[test]
fn reused_features_change_little_and_the_same_with_less_memory() {
    let [fast, low] = [MemoryUse::Fast, MemoryUse::Low].map(|memory| {
        let model = model(memory);
        let plain = Settings { steps: 8, guided_steps: 0, ..Settings::default() };
        let whole = sampled(&model, &plain);
        let reused = sampled(&model, &Settings { deepcache_interval: 2, ..plain });
        assert!((1e-6..0.5).contains(&relative(&reused, &whole)), "{}", relative(&reused, &whole));
        reused
    });
    assert!(relative(&low, &fast) < 1e-4);
}

#[test]
fn a_generation_that_goes_on_makes_the_features_again_that_it_reuses() {
    let model = model(MemoryUse::Fast);
    let prompts =
        ["a panda in the snow", ""].map(|text| model.encode_prompt(&text.parse().unwrap()).unwrap());
    let [target, negative] = &prompts;
    let settings = Settings { steps: 7, deepcache_interval: 4, guided_steps: 0, ..Settings::default() };
    let mut trail = vec![random(7)];
    let start = Generating::new(Latents::new(random(7)));
    let whole = generate(&model, start, None, target, negative, &settings, &mut |event| {
        if let GenerationEvent::Denoised { latents, .. } = event {
            trail.push(latents.tensor().shallow_clone());
        }
        ControlFlow::Continue(())
    });
    let whole = whole.unwrap();
    for done in 1..7 {
        let shared = |index: usize| Latents::new(trail[index].shallow_clone());
        let from =
            Generating { done, trail: (0..done).map(shared).collect(), ..Generating::new(shared(done)) };
        let go_on = &mut |_: &GenerationEvent| ControlFlow::Continue(());
        let made = generate(&model, from, None, target, negative, &settings, go_on).unwrap();
        assert_eq!(made.latents.tensor(), whole.latents.tensor(), "after step {done}");
    }
}
