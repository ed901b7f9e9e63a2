//! Wan's checkpoints as an [`Architecture`].

use tch::Device;

use super::Wan;
use super::costs::WanCosts;
use super::experts::{BOUNDARY_RATIO, SECOND, second_config};
use super::guidance::{all_blocks, blocks_for};
use crate::architecture::{Architecture, Suited};
use crate::checkpoint::{Checkpoint, Component, ComponentKind, IndexEntry, Layout};
use crate::compute::{Compute, Precision};
use crate::cost::Costs;
use crate::error::Error;
use crate::model::VideoModel;
use crate::nets::umt5::Umt5Config;
use crate::nets::wan::WanConfig;
use crate::nets::wan_vae::WanVaeConfig;
use crate::parity_case::ParityModel;
use crate::schedule::{FlowConfig, FlowSchedule, Schedule, flow_class_names};
use crate::settings::{MaskLayers, SamplerName, Settings};
use crate::tokenizer::Tokenizer;

/// Wan text-to-video: 2.1, and 2.2 T2V-A14B.
#[derive(Debug)]
pub struct WanArchitecture;

static LAYOUT: Layout = Layout {
    pipelines: &["WanPipeline"],
    components: &[
        Component { name: "transformer", kind: ComponentKind::Net, classes: transformer_classes },
        Component { name: "vae", kind: ComponentKind::Net, classes: || vec!["AutoencoderKLWan"] },
        Component {
            name: "text_encoder",
            kind: ComponentKind::TextEncoder,
            classes: || vec!["UMT5EncoderModel"],
        },
        Component {
            name: "tokenizer",
            kind: ComponentKind::Tokenizer,
            classes: || {
                vec!["T5TokenizerFast", "T5Tokenizer", "TokenizersBackend", "PreTrainedTokenizerFast"]
            },
        },
        Component { name: "scheduler", kind: ComponentKind::Scheduler, classes: flow_class_names },
    ],
    optional: &[Component { name: SECOND, kind: ComponentKind::Net, classes: transformer_classes }],
    entries: &[
        IndexEntry {
            key: BOUNDARY_RATIO,
            is_run: |value| value.as_f64().is_some_and(|ratio| (0.0..=1.0).contains(&ratio)),
            expected: "a number of 0 to 1",
        },
        IndexEntry {
            key: "expand_timesteps",
            is_run: |value| value.as_bool() == Some(false),
            expected: "false: Wan 2.1 and Wan 2.2 T2V-A14B, not TI2V-5B",
        },
        IndexEntry { key: "image_encoder", is_run: |_| false, expected: TEXT_TO_VIDEO },
        IndexEntry { key: "image_processor", is_run: |_| false, expected: TEXT_TO_VIDEO },
    ],
    takes_motion_adapter: false,
};

/// What may stand for a part that an image-to-video checkpoint has.
const TEXT_TO_VIDEO: &str = "null: text-to-video alone";

fn transformer_classes() -> Vec<&'static str> {
    vec!["WanTransformer3DModel"]
}

impl Architecture for WanArchitecture {
    fn layout(&self) -> &Layout {
        &LAYOUT
    }

    /// All guidance layers have one resolution, so that one mask serves them; self-attention spans the whole video, and losses
    /// on what of it stays in a frame or at a place are an option.
    fn suited(&self) -> Suited {
        Suited {
            width: 832,
            height: 480,
            frames: 33,
            fps: 16.0,
            settings: Settings {
                guidance_scale: 5.0,
                mask_layers: MaskLayers::Finest,
                sampler: SamplerName::Euler,
                ..Settings::from_noise()
            },
            is_made_for_frames: false,
            precision: Precision::Bf16,
        }
    }

    fn takes_context_windows(&self) -> bool {
        false
    }

    fn schedule(&self, checkpoint: &Checkpoint) -> Result<Schedule, Error> {
        schedule(checkpoint)
    }

    fn check_size(&self, checkpoint: &Checkpoint, frames: i64, height: i64, width: i64) -> Result<(), Error> {
        let (transformer, vae, _) = configs(checkpoint)?;
        check_size(&transformer, &vae, frames, height, width)
    }

    fn check_blocks(&self, checkpoint: &Checkpoint, names: &[String]) -> Result<(), Error> {
        blocks_for(&configs(checkpoint)?.0, names).map(drop)
    }

    fn inspected_blocks(&self, checkpoint: &Checkpoint) -> Result<Vec<String>, Error> {
        Ok(all_blocks(&configs(checkpoint)?.0))
    }

    fn costs(&self, checkpoint: &Checkpoint, guidance_blocks: &[String]) -> Result<Box<dyn Costs>, Error> {
        let (transformer, vae, text_encoder) = configs(checkpoint)?;
        check_parts(&transformer, &vae, &text_encoder, &checkpoint.tokenizer()?)?;
        let second = second_config(checkpoint, &transformer)?.map(|(config, _)| config);
        Ok(Box::new(WanCosts::new(transformer, second, vae, text_encoder, guidance_blocks)?))
    }

    fn load(&self, checkpoint: &Checkpoint, compute: Compute) -> Result<Box<dyn VideoModel + Send>, Error> {
        Ok(Box::new(Wan::load(checkpoint, compute)?))
    }

    fn load_for_parity(
        &self,
        checkpoint: &Checkpoint,
        device: Device,
    ) -> Result<Box<dyn ParityModel>, Error> {
        Ok(Box::new(Wan::load(checkpoint, Compute::exact(device))?))
    }
}

pub(super) fn schedule(checkpoint: &Checkpoint) -> Result<Schedule, Error> {
    let config: FlowConfig = checkpoint.config("scheduler")?;
    Ok(Schedule::Flow(FlowSchedule::new(&config)?))
}

/// The configs of transformer, VAE and text encoder, each of which can be run.
pub(super) fn configs(checkpoint: &Checkpoint) -> Result<(WanConfig, WanVaeConfig, Umt5Config), Error> {
    let transformer: WanConfig = checkpoint.config("transformer")?;
    let vae: WanVaeConfig = checkpoint.config("vae")?;
    let text_encoder: Umt5Config = checkpoint.config("text_encoder")?;
    transformer.validate()?;
    vae.validate()?;
    text_encoder.validate()?;
    Ok((transformer, vae, text_encoder))
}

/// Checks that the parts of a checkpoint belong together.
pub(super) fn check_parts(
    transformer: &WanConfig,
    vae: &WanVaeConfig,
    text_encoder: &Umt5Config,
    tokenizer: &Tokenizer,
) -> Result<(), Error> {
    let mismatch = |what: String| Err(Error::Mismatch(what));
    if transformer.in_channels != vae.z_dim || transformer.out_channels != vae.z_dim {
        return mismatch(format!(
            "the transformer takes {} and gives {} channels, the VAE's latents have {}",
            transformer.in_channels, transformer.out_channels, vae.z_dim
        ));
    }
    if transformer.text_dim != text_encoder.d_model {
        return mismatch(format!(
            "the transformer wants {} features of text, the text encoder gives {}",
            transformer.text_dim, text_encoder.d_model
        ));
    }
    tokenizer.check_vocabulary(text_encoder.vocab_size)
}

/// Checks that the nets can take a video of this size in pixels.
pub(super) fn check_size(
    transformer: &WanConfig,
    vae: &WanVaeConfig,
    frames: i64,
    height: i64,
    width: i64,
) -> Result<(), Error> {
    let (side, most) = (2 * vae.downscale(), transformer.rope_max_seq_len);
    let (scale, most_frames) = (vae.temporal_downscale(), vae.frames(most));
    if vae.latent_frames(frames).is_none() || frames > most_frames {
        let below = (1 + (frames - 1).max(0) / scale * scale).min(most_frames);
        return Err(Error::Frames { frames, scale, below, above: (below + scale).min(most_frames) });
    }
    let fits = |length: i64| length >= side && length % side == 0 && length / side <= most;
    if fits(height) && fits(width) {
        return Ok(());
    }
    let near = |length: i64| ((length + side / 2) / side * side).clamp(side, side * most);
    Err(Error::Size {
        width,
        height,
        reason: format!("both sides must be multiples of {side}, {side} to {}", side * most),
        try_width: near(width),
        try_height: near(height),
    })
}
