//! What the nets of such a checkpoint cost.

use super::{check_parts, check_size};
use crate::checkpoint::Checkpoint;
use crate::cost::{
    Costs, Layers, MemoryPlan, NetCost, Runs, UNetInput, UNetPart, VideoSize, text_encoder_parameters, unet,
    vae_decode, vae_encode,
};
use crate::error::Error;
use crate::nets::clip_text::ClipTextConfig;
use crate::nets::unet::{GuidanceBlocks, UNetShape};
use crate::nets::vae::VaeConfig;

/// A UNet, `AutoencoderKL` and CLIP's text encoder. The configs must be valid.
#[derive(Debug)]
pub struct UNetCosts {
    /// The denoising net's shape.
    pub unet: UNetShape,
    /// The autoencoder's config.
    pub vae: VaeConfig,
    /// The text encoder's config.
    pub text_encoder: ClipTextConfig,
    /// Tokens of a text.
    pub tokens: i64,
    /// The blocks that guide.
    pub blocks: GuidanceBlocks,
}

impl UNetCosts {
    /// Of a checkpoint, after a check that its configs can be run and belong together.
    ///
    /// # Errors
    /// As [`crate::architecture::Architecture::costs`].
    pub(crate) fn of(
        checkpoint: &Checkpoint,
        unet: UNetShape,
        guidance_blocks: &[String],
    ) -> Result<Self, Error> {
        let vae: VaeConfig = checkpoint.config("vae")?;
        let text_encoder: ClipTextConfig = checkpoint.config("text_encoder")?;
        vae.validate().and_then(|()| text_encoder.validate())?;
        let tokenizer = checkpoint.tokenizer()?;
        check_parts(&unet, &vae, &text_encoder, &tokenizer)?;
        let blocks = unet.named_blocks(guidance_blocks)?;
        Ok(Self { unet, vae, text_encoder, tokens: tokenizer.max_length() as i64, blocks })
    }

    fn unet(&self, size: VideoSize, plan: MemoryPlan, videos: i64, part: UNetPart) -> NetCost {
        let downscale = self.vae.downscale();
        let input = UNetInput {
            videos,
            frames: size.frames,
            height: size.height / downscale,
            width: size.width / downscale,
            tokens: self.tokens,
            in_parts: plan.in_parts(),
        };
        unet(&self.unet, input, part, plan.layers)
    }

    fn both_halves(&self, size: VideoSize, plan: MemoryPlan, part: UNetPart) -> Runs {
        let cost = self.unet(size, plan, plan.halves_at_once, part);
        Runs { times: (2 / plan.halves_at_once) as f64, cost }
    }
}

impl Costs for UNetCosts {
    fn parameters(&self) -> u64 {
        let side = self.vae.downscale();
        let smallest = UNetInput { videos: 1, frames: 1, height: 1, width: 1, tokens: 1, in_parts: false };
        unet(&self.unet, smallest, UNetPart::Whole, Layers::Plain).parameters
            + vae_encode(&self.vae, 1, side, side, Layers::Plain).parameters
            + vae_decode(&self.vae, 1, side, side, Layers::Plain).parameters
            + self.text_encoder_parameters()
    }

    fn text_encoder_parameters(&self) -> u64 {
        text_encoder_parameters(&self.text_encoder)
    }

    fn takes(&self, size: VideoSize) -> bool {
        check_size(&self.unet, &self.vae, size.frames, size.height, size.width).is_ok()
    }

    fn side_step(&self) -> i64 {
        self.vae.downscale()
    }

    fn encode(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        let at_once = size.frames.min(plan.frames_at_once);
        let cost = vae_encode(&self.vae, at_once, size.height, size.width, plan.layers);
        Runs { times: size.frames as f64 / at_once as f64, cost }
    }

    fn decode(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        let at_once = size.frames.min(plan.frames_at_once);
        let cost = vae_decode(&self.vae, at_once, size.height, size.width, plan.layers);
        Runs { times: size.frames as f64 / at_once as f64, cost }
    }

    fn predict(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        Runs { times: 1.0, cost: self.unet(size, plan, 1, UNetPart::Whole) }
    }

    fn predict_guided(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        self.both_halves(size, plan, UNetPart::Whole)
    }

    fn predict_from_features(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        Runs { times: 1.0, cost: self.unet(size, plan, 1, UNetPart::Shallow) }
    }

    fn predict_guided_from_features(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        self.both_halves(size, plan, UNetPart::Shallow)
    }

    fn deep_features(&self, size: VideoSize) -> u64 {
        let downscale = self.vae.downscale();
        let places = size.frames * (size.height / downscale) * (size.width / downscale);
        (places * self.unet.block_out_channels[0]).unsigned_abs()
    }

    fn maps(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        Runs { times: 1.0, cost: self.unet(size, plan, 1, UNetPart::CrossMaps) }
    }

    fn update(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        let part = UNetPart::Guidance(self.blocks, plan.recompute);
        Runs { times: 1.0, cost: self.unet(size, plan, 1, part) }
    }
}
