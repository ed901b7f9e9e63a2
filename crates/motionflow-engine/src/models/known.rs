//! Checkpoints that are known by name: how large, under which licence, and what suits them.

use motionflow::settings::{MaskSource, SamplerName, Settings};

use crate::request::domain::Domain;
use crate::request::recommended::{Recommended, Video};

/// A published checkpoint.
#[derive(Debug)]
pub struct Known {
    /// As on the hub, or of the shipped one.
    pub name: &'static str,
    /// What is fetched of it, in bytes; none where nothing is.
    pub fetched_bytes: Option<u64>,
    /// As its card says.
    pub licence: &'static str,
    width: u32,
    height: u32,
    frames: u32,
    negative_prompt: &'static str,
}

/// The size of what is fetched of each on the hub, by the sizes that its file list shows: unet 2.82 GB, text encoder
/// 681 MB, vae 167 MB, tokenizer 1.6 MB. `ZeroScope`'s only `.bin` files have these sizes; of `ModelScope`'s it is the
/// fp16 variant.
const FETCHED: u64 = 3_670_000_000;

/// The cards of `ZeroScope` name no negative prompt. This is the one that public code commonly passes to its most used
/// runner, <https://replicate.com/anotherjesse/zeroscope-v2-xl>.
const ZEROSCOPE_NEGATIVE: &str = "very blue, dust, noisy, washed out, ugly, distorted, broken";

/// All that are known, in the order in which they are listed.
pub const KNOWN: [Known; 4] = [
    // models/demo/CARD.md; what suits it is in its own motionflow.toml.
    Known {
        name: crate::models::found::SHIPPED,
        fetched_bytes: None,
        licence: "MIT OR Apache-2.0",
        width: 128,
        height: 128,
        frames: 16,
        negative_prompt: "",
    },
    // Its card: "24 frames, 576x320 resolution"; cc-by-nc-4.0.
    Known {
        name: "cerspense/zeroscope_v2_576w",
        fetched_bytes: Some(FETCHED),
        licence: "CC-BY-NC-4.0",
        width: 576,
        height: 320,
        frames: 24,
        negative_prompt: ZEROSCOPE_NEGATIVE,
    },
    // Its card: "24 frames, 1024x576 resolution"; cc-by-nc-4.0.
    Known {
        name: "cerspense/zeroscope_v2_XL",
        fetched_bytes: Some(FETCHED),
        licence: "CC-BY-NC-4.0",
        width: 1024,
        height: 576,
        frames: 24,
        negative_prompt: ZEROSCOPE_NEGATIVE,
    },
    // Its card: cc-by-nc-4.0. diffusers' documentation of the pipeline: "16 frames (2s at 8 fps)"; a side is the
    // UNet's sample_size of 32 times the VAE's 8. No negative prompt is published with it.
    Known {
        name: "damo-vilab/text-to-video-ms-1.7b",
        fetched_bytes: Some(FETCHED),
        licence: "CC-BY-NC-4.0",
        width: 256,
        height: 256,
        frames: 16,
        negative_prompt: "",
    },
];

impl Known {
    /// The one of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|known| known.name == name)
    }

    /// What suits it. 8 frames a second are what diffusers' documentation plays their videos at, and the runner above.
    /// Sampler, steps and masks are the fastest that lost nothing on the shipped checkpoint (docs/experiments.md): they are not
    /// measured on these. The rest of the method's settings are the general ones.
    pub fn recommended(&self) -> Recommended {
        Recommended {
            settings: Settings {
                steps: 15,
                guided_steps: 5,
                updates_per_step: 3,
                sampler: SamplerName::Dpmpp2m,
                karras_sigmas: Some(true),
                deepcache_interval: 2,
                mask_source: MaskSource::Noised,
                ..Settings::default()
            },
            video: Video { width: self.width, height: self.height, frames: self.frames, fps: 8.0 },
            made_for_frames: Some(self.frames),
            negative_prompt: self.negative_prompt.to_owned(),
            domain: Domain::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_one_is_as_its_own_file_says() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo");
        let shipped = Recommended::of(&folder, SamplerName::Ddim).unwrap().unwrap();
        assert_eq!(KNOWN[0].recommended().video, shipped.video);
    }

    #[test]
    fn zeroscope_makes_what_its_card_says() {
        let recommended = Known::find("cerspense/zeroscope_v2_576w").unwrap().recommended();
        assert_eq!(recommended.video, Video { width: 576, height: 320, frames: 24, fps: 8.0 });
        assert!(recommended.negative_prompt.contains("washed out"));
        assert!(Known::find("zeroscope").is_none());
    }
}
