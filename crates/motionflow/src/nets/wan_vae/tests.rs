use std::path::Path;
use std::process::Command;

use super::*;
use crate::checkpoint::Weights;

/// In float32 a norm over two channels that are both near 0 makes much of rounding.
const KIND: Kind = Kind::Double;

/// What each process of the test of memory shall do: frames, and latent frames at once.
const CLIP: &str = "MOTIONFLOW_TEST_CLIP";

/// Side of a frame in that test, pixels.
const SIDE: i64 = 192;

/// The small one that the tests have.
fn vae(kind: Kind) -> AutoencoderKlWan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wan_vae");
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let weights = Weights::open(&folder.join("diffusion_pytorch_model.safetensors")).unwrap();
    let loader = Loader::new(&weights, "vae", Device::Cpu, kind);
    AutoencoderKlWan::new(&loader, serde_json::from_slice(&config).unwrap()).unwrap()
}

fn random(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::rand(shape, (kind, Device::Cpu)) * 2.0 - 1.0
}

#[track_caller]
fn near(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size());
    let difference = ((found - expected).norm() / expected.norm()).double_value(&[]);
    assert!(difference < 1e-10, "{difference:e}");
}

#[test]
fn a_clip_in_parts_is_the_clip_at_once() {
    let _no_gradients = tch::no_grad_guard();
    let (vae, frames, latents) = (vae(KIND), random(&[21, 3, 16, 24], KIND), random(&[1, 3, 6, 2, 3], KIND));
    for latent_frames in [2, 5] {
        near(&vae.encode(&frames), &vae.encode_in_parts(&frames, latent_frames));
        near(&vae.decode(&latents), &vae.decode_in_parts(&latents, latent_frames));
    }
}

#[test]
fn frames_in_strips_are_the_frames_at_once() {
    let _no_gradients = tch::no_grad_guard();
    let vae = vae(KIND);
    let scale = vae.config().downscale();
    let (frames, latents) = (random(&[9, 3, 16 * scale, 3 * scale], KIND), random(&[1, 3, 3, 16, 3], KIND));
    let (all_latents, all_frames) = (vae.encode(&frames), vae.decode(&latents));
    for rows in [1, 3, 5, 16].map(|rows| rows * scale) {
        near(&vae.encode_in_strips(&frames, rows), &all_latents);
        near(&vae.decode_in_strips(&latents, rows), &all_frames);
    }
}

#[test]
fn no_frame_is_seen_before_its_time() {
    let _no_gradients = tch::no_grad_guard();
    let (vae, frames, latents) = (vae(KIND), random(&[13, 3, 16, 24], KIND), random(&[1, 3, 4, 2, 3], KIND));
    let (all_latents, all_frames) = (vae.encode(&frames), vae.decode(&latents));
    for latent_frames in [1, 2, 3] {
        let count = vae.config().frames(latent_frames);
        near(&vae.encode(&frames.narrow(0, 0, count)), &all_latents.narrow(2, 0, latent_frames));
        near(&vae.decode(&latents.narrow(2, 0, latent_frames)), &all_frames.narrow(0, 0, count));
    }
}

#[test]
fn weights_and_results_want_no_gradient() {
    let vae = vae(KIND);
    assert!(!vae.encode(&random(&[5, 3, 16, 16], KIND)).requires_grad());
    assert!(!vae.decode(&random(&[1, 3, 2, 2, 2], KIND)).requires_grad());
}

/// The most that a process of its own has in memory while it encodes, in bytes.
#[cfg(target_os = "linux")]
fn peak_of_encoding(frames: i64, latent_frames_at_once: i64) -> i64 {
    let this = "nets::wan_vae::tests::a_longer_clip_takes_no_more_memory";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", this, "--nocapture"]).env("OMP_NUM_THREADS", "1");
    // What is freed goes back to the system at once, so that holes in glibc's heap do not count.
    command.env("MALLOC_MMAP_THRESHOLD_", "65536");
    let output = command.env(CLIP, format!("{frames} {latent_frames_at_once}")).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let peak = told.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_else(|| panic!("{told}"));
    1024 * peak.trim().trim_end_matches(" kB").parse::<i64>().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_longer_clip_takes_no_more_memory() {
    if let Some(clip) = std::env::var_os(CLIP) {
        let _no_gradients = tch::no_grad_guard();
        let numbers: Vec<i64> =
            clip.to_str().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
        // One frame's memory, however often it comes.
        let frames = random(&[1, 3, SIDE, SIDE], Kind::Float).expand([numbers[0], 3, SIDE, SIDE], false);
        let latents = vae(Kind::Float).encode_in_parts(&frames, numbers[1]);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        println!("{:?}\n{status}", latents.size());
        return;
    }
    let [short, long, at_once] =
        [(9, 1), (33, 1), (33, 8)].map(|(frames, at_once)| peak_of_encoding(frames, at_once));
    // One activation of the finest level in one part of the clip.
    let activation = 4 * 4 * SIDE * SIDE * 4;
    assert!(long - short < activation, "{short} and {long}");
    assert!(at_once - short > 10 * activation, "{short} and {at_once}");
}
