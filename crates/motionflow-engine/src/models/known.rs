//! Checkpoints and motion adapters that are known by name: how large, under which licence, and what suits them.

use motionflow::animatediff;
use motionflow::architecture::Architecture;
use motionflow::settings::{MaskSource, SamplerName, Settings};

use motionflow::wan::WanArchitecture;

use crate::models::found::SHIPPED;
use crate::request::domain::Domain;
use crate::request::recommended::{Recommended, Video};

/// A published checkpoint or motion adapter.
#[derive(Debug)]
pub struct Known {
    /// As on the hub, or in `models/`.
    pub name: &'static str,
    /// What is fetched of it, in bytes; none where nothing is.
    pub fetched_bytes: Option<u64>,
    /// As its card says.
    pub licence: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// What is known by name.
#[derive(Debug)]
pub enum Kind {
    /// A checkpoint that makes videos by itself.
    Checkpoint(Suited),
    /// A checkpoint of pictures, which makes videos with a motion adapter.
    Pictures(Suited),
    /// A checkpoint of flow matching, a diffusion transformer.
    Flow(Suited),
    /// A motion adapter.
    MotionAdapter,
}

/// The videos that suit a checkpoint.
#[derive(Debug)]
pub struct Suited {
    width: u32,
    height: u32,
    frames: u32,
    /// Per second.
    fps: f64,
    guidance_scale: f64,
    negative_prompt: &'static str,
}

/// The size of what is fetched of each on the hub, by the sizes that its file list shows: unet 2.82 GB, text encoder
/// 681 MB, vae 167 MB, tokenizer 1.6 MB. `ZeroScope`'s only `.bin` files have these sizes; of `ModelScope`'s it is the
/// fp16 variant.
const FETCHED: u64 = 3_670_000_000;

/// The same of Stable Diffusion 1.5's fp16 variant: unet 1.72 GB, text encoder 246 MB, vae 167 MB, tokenizer 1.6 MB.
const PICTURES_FETCHED: u64 = 2_140_000_000;

/// The cards of `ZeroScope` name no negative prompt. This is the one that public code commonly passes to its most used
/// runner, <https://replicate.com/anotherjesse/zeroscope-v2-xl>.
const ZEROSCOPE_NEGATIVE: &str = "very blue, dust, noisy, washed out, ugly, distorted, broken";

const ZEROSCOPE: Suited = Suited {
    width: 576,
    height: 320,
    frames: 24,
    fps: 8.0,
    guidance_scale: 9.0,
    negative_prompt: ZEROSCOPE_NEGATIVE,
};

/// diffusers' documentation of AnimateDiff: 512x512, 16 frames, a guidance scale of 7.5.
const ANIMATE_DIFF: Suited =
    Suited { width: 512, height: 512, frames: 16, fps: 8.0, guidance_scale: 7.5, negative_prompt: "" };

/// Its card and diffusers' documentation: 832x480, 16 frames a second, a guidance scale of 5.
const WAN: Suited =
    Suited { width: 832, height: 480, frames: 33, fps: 16.0, guidance_scale: 5.0, negative_prompt: "" };

const fn wan(name: &'static str, bytes: u64) -> Known {
    Known { name, fetched_bytes: Some(bytes), licence: "Apache-2.0", kind: Kind::Flow(WAN) }
}

/// Of the painted world of tools/demo-world.
const SMALL: Suited =
    Suited { width: 128, height: 128, frames: 16, fps: 8.0, guidance_scale: 4.0, negative_prompt: "" };

const fn shipped(name: &'static str, kind: Kind) -> Known {
    Known { name, fetched_bytes: None, licence: "MIT OR Apache-2.0", kind }
}

const fn zeroscope(name: &'static str, suited: Suited) -> Known {
    let (fetched_bytes, licence) = (Some(FETCHED), "CC-BY-NC-4.0");
    Known { name, fetched_bytes, licence, kind: Kind::Checkpoint(suited) }
}

const fn stable_diffusion(name: &'static str) -> Known {
    let (fetched_bytes, licence) = (Some(PICTURES_FETCHED), "CreativeML-OpenRAIL-M");
    Known { name, fetched_bytes, licence, kind: Kind::Pictures(ANIMATE_DIFF) }
}

/// AnimateDiff's own, which its repository has under Apache-2.0.
const fn adapter(name: &'static str, bytes: u64) -> Known {
    Known { name, fetched_bytes: Some(bytes), licence: "Apache-2.0", kind: Kind::MotionAdapter }
}

/// All that are known, in the order in which they are listed.
pub const KNOWN: [Known; 13] = [
    // models/*/CARD.md; what suits them is in their own motionflow.toml.
    shipped(SHIPPED, Kind::Checkpoint(SMALL)),
    shipped("demo-animatediff", Kind::Checkpoint(SMALL)),
    shipped("demo-wan", Kind::Flow(Suited { frames: 17, ..SMALL })),
    // Its card: "24 frames, 576x320 resolution"; cc-by-nc-4.0.
    zeroscope("cerspense/zeroscope_v2_576w", ZEROSCOPE),
    // Its card: "24 frames, 1024x576 resolution"; cc-by-nc-4.0.
    zeroscope("cerspense/zeroscope_v2_XL", Suited { width: 1024, height: 576, ..ZEROSCOPE }),
    // Its card: cc-by-nc-4.0. diffusers' documentation of the pipeline: "16 frames (2s at 8 fps)"; a side is the
    // UNet's sample_size of 32 times the VAE's 8. No negative prompt is published with it.
    zeroscope(
        "damo-vilab/text-to-video-ms-1.7b",
        Suited { width: 256, height: 256, frames: 16, negative_prompt: "", ..ZEROSCOPE },
    ),
    // The first repository, runwayml's, is gone; these have its files.
    stable_diffusion("stable-diffusion-v1-5/stable-diffusion-v1-5"),
    stable_diffusion("benjamin-paine/stable-diffusion-v1-5"),
    adapter("guoyww/animatediff-motion-adapter-v1-5-2", 1_820_000_000),
    adapter("guoyww/animatediff-motion-adapter-v1-5-3", 1_670_000_000),
    adapter("guoyww/animatediff-motion-adapter-v1-5", 1_670_000_000),
    // float32, as published: transformer 5.7 GB and 57 GB, text encoder 22.7 GB, vae 508 MB, tokenizer 21 MB.
    wan("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 28_900_000_000),
    wan("Wan-AI/Wan2.1-T2V-14B-Diffusers", 80_500_000_000),
];

impl Known {
    /// The one of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.name == name)
    }

    /// What suits it; none of a motion adapter. 8 frames a second are what diffusers' documentation plays their videos at, and
    /// the runner above. Sampler, steps and masks of `ZeroScope`'s family are the fastest that lost nothing on the first shipped
    /// checkpoint, and the rest of the method's settings the general ones; those of `AnimateDiff` and Wan are what their small
    /// checkpoints take best (docs/experiments.md). None is measured on these.
    pub fn recommended(&self) -> Option<Recommended> {
        let (suited, settings) = match &self.kind {
            Kind::Checkpoint(suited) => (suited, fast()),
            Kind::Pictures(suited) => (suited, animatediff::ANIMATE_DIFF.suited().settings),
            Kind::Flow(suited) => (suited, WanArchitecture.suited().settings),
            Kind::MotionAdapter => return None,
        };
        let settings = Settings { guidance_scale: suited.guidance_scale, ..settings };
        Some(Recommended {
            settings,
            video: Video {
                width: suited.width,
                height: suited.height,
                frames: suited.frames,
                fps: suited.fps,
            },
            made_for_frames: matches!(self.kind, Kind::Checkpoint(_) | Kind::Pictures(_))
                .then_some(suited.frames),
            negative_prompt: suited.negative_prompt.to_owned(),
            domain: Domain::default(),
        })
    }
}

/// The fastest that lost nothing on the first shipped checkpoint.
fn fast() -> Settings {
    Settings {
        steps: 15,
        guided_steps: 5,
        updates_per_step: 3,
        sampler: SamplerName::Dpmpp2m,
        karras_sigmas: Some(true),
        deepcache_interval: 2,
        mask_source: MaskSource::Noised,
        ..Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_ones_are_as_their_own_files_say() {
        let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        for known in &KNOWN[..3] {
            let own = Recommended::of(&models.join(known.name), SamplerName::Ddim).unwrap().unwrap();
            assert_eq!(known.recommended().unwrap().video, own.video, "{}", known.name);
        }
    }

    #[test]
    fn zeroscope_makes_what_its_card_says() {
        let recommended = Known::find("cerspense/zeroscope_v2_576w").unwrap().recommended().unwrap();
        assert_eq!(recommended.video, Video { width: 576, height: 320, frames: 24, fps: 8.0 });
        assert!(recommended.negative_prompt.contains("washed out"));
        assert!(Known::find("zeroscope").is_none());
    }

    #[test]
    fn stable_diffusion_makes_animate_diffs_videos_and_an_adapter_none() {
        let known = |name| Known::find(name).unwrap().recommended();
        let recommended = known("stable-diffusion-v1-5/stable-diffusion-v1-5").unwrap();
        assert_eq!(recommended.video, Video { width: 512, height: 512, frames: 16, fps: 8.0 });
        assert!(known("guoyww/animatediff-motion-adapter-v1-5-2").is_none());
    }
}
