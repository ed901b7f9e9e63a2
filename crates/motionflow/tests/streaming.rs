//! Nets whose weights stay in the host's memory give what they give otherwise, to the last bit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use motionflow::checkpoint::Loader;
use motionflow::device::DeviceChoice;
use motionflow::model::GuidanceLayer;
use motionflow::nets::attention::NoObserver;
use motionflow::nets::trace::Recomputed;
use motionflow::nets::wan::WanTransformer;
use motionflow::observer::MapKeeper;
use motionflow::registry;
use tch::{Kind, Tensor};

/// What `run` gives of a component of Wan's small case, with its weights on the device and with them streamed.
fn both<const N: usize>(
    component: &str,
    kind: Kind,
    run: impl Fn(&Loader) -> [Tensor; N],
) -> [[Tensor; N]; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/wan-tiny/model");
    let weights = registry::open(&folder).unwrap().weights(component).unwrap();
    let device = DeviceChoice::Auto.open().unwrap();
    [false, true].map(|streams| {
        let loader = Loader::new(&weights, component, device, kind).with_streaming(streams);
        let made = run(&loader);
        loader.finish().unwrap();
        made
    })
}

fn config<Config: serde::de::DeserializeOwned>(component: &str) -> Config {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/wan-tiny/model").join(component);
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn the_transformer_runs_again_and_again_and_back() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let [resident, streamed] = both("transformer", kind, |weights| {
            let net = WanTransformer::new(weights, config("transformer")).unwrap();
            let (channels, text_dim) = (net.config().in_channels, net.config().text_dim);
            tch::manual_seed(3);
            let random = |shape: &[i64]| {
                Tensor::randn(shape, (Kind::Float, tch::Device::Cpu)).to_device(weights.device())
            };
            let latents = random(&[1, channels, 2, 6, 8]);
            let text = random(&[1, 5, text_dim]).constant_pad_nd([0, 0, 0, 7]);
            let layers: Vec<GuidanceLayer> = net
                .attention_names()
                .take(2)
                .map(|(name, _)| GuidanceLayer { name: name.to_owned(), block: String::new() })
                .collect();
            let predict = || {
                let _no_gradients = tch::no_grad_guard();
                net.forward(&latents, 501.into(), &text, &mut NoObserver).continue_value().unwrap()
            };
            let first = predict();
            let mut keeper = MapKeeper::stopping(&layers);
            let trace = net.trace(&latents, 501.into(), &text, Recomputed::All, &mut keeper);
            let loss = keeper.maps.values().map(|map| map.square().sum(Kind::Float)).sum::<Tensor>();
            [first, trace.gradient(&loss), predict()]
        });
        assert!(resident.iter().all(|tensor| tensor.norm().double_value(&[]) > 0.0));
        assert_eq!(resident, streamed);
        assert_eq!(resident[0], resident[2]);
    }
}
