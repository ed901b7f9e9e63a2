//! Wan's VAE against diffusers', on the small one that `data/make_wan_vae.py` writes.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::path::Path;

use motionflow::checkpoint::{Loader, Weights};
use motionflow::cost::{Layers, wan_vae_decode, wan_vae_encode};
use motionflow::nets::wan_vae::{AutoencoderKlWan, WanVaeConfig};
use tch::{Device, Kind, Tensor};

/// Compares all that the folder's case has, and counts the weights.
fn check(folder: &Path) {
    let _no_gradients = tch::no_grad_guard();
    let config: WanVaeConfig =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let weights = Weights::open(&folder.join("diffusion_pytorch_model.safetensors")).unwrap();
    let loader = Loader::new(&weights, "vae", Device::Cpu, Kind::Float);
    let vae = AutoencoderKlWan::new(&loader, config).unwrap();
    loader.finish().unwrap();

    let case = Weights::open(&folder.join("case.safetensors")).unwrap();
    let stored = |name: &str| case.get(name).unwrap().to_tensor().unwrap();
    let near = |name: &str, found: &Tensor| {
        let expected = stored(name);
        assert_eq!(found.size(), expected.size(), "{name}");
        let difference = ((found - &expected).norm() / expected.norm()).double_value(&[]);
        assert!(difference < 1e-5, "{}: {name} is off by {difference:e}", folder.display());
    };
    let mean = vae.encode(&stored("frames"));
    near("mean", &mean);
    near("normalised", &vae.normalise(&mean));
    near("mean", &vae.denormalise(&stored("normalised")));
    near("decoded", &vae.decode(&stored("latents")));

    let elements = |name: &str| weights.get(name).unwrap().shape().iter().product::<i64>() as u64;
    let counted =
        [wan_vae_encode, wan_vae_decode].map(|cost| cost(vae.config(), 5, 64, 64, Layers::Plain).parameters);
    assert_eq!(counted.iter().sum::<u64>(), weights.names().map(elements).sum::<u64>());
}

#[test]
fn wans_vae_computes_what_diffusers_does() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wan_vae"));
}
