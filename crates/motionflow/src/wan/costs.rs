//! What the nets of such a checkpoint cost.

use super::architecture::check_size;
use super::guidance::blocks_for;
use crate::cost::{
    Costs, MemoryPlan, NetCost, Runs, VideoSize, WanPart, umt5_block_parameters, umt5_parameters,
    wan_block_parameters, wan_transformer, wan_vae_decode, wan_vae_decode_in_strips, wan_vae_encode,
    wan_vae_encode_in_strips,
};
use crate::error::Error;
use crate::nets::umt5::Umt5Config;
use crate::nets::wan::WanConfig;
use crate::nets::wan_vae::WanVaeConfig;

/// Keys of a text: its tokens, of which nobody knows the number before, and one for its padding.
const TEXT_KEYS: i64 = 32;

/// Transformers, VAE and text encoder, whose configs are valid.
#[derive(Debug)]
pub struct WanCosts {
    transformer: WanConfig,
    /// Lies in memory beside the first; a run of it is counted as one of that.
    second: Option<WanConfig>,
    vae: WanVaeConfig,
    text_encoder: Umt5Config,
    /// The last block that guides, and how many do.
    guidance: [i64; 2],
}

impl WanCosts {
    /// Of configs that are valid, for the guidance blocks of these names, or the middle third.
    ///
    /// # Errors
    /// As [`crate::architecture::Architecture::check_blocks`].
    pub fn new(
        transformer: WanConfig,
        second: Option<WanConfig>,
        vae: WanVaeConfig,
        text_encoder: Umt5Config,
        guidance_blocks: &[String],
    ) -> Result<Self, Error> {
        let blocks = blocks_for(&transformer, guidance_blocks)?;
        let number = |name: &String| name.rsplit('.').next().and_then(|number| number.parse().ok());
        let last = blocks.iter().filter_map(number).max().unwrap_or(0);
        let guidance = [last, blocks.len() as i64];
        Ok(Self { transformer, second, vae, text_encoder, guidance })
    }

    /// What shows the maps, and keeps no more for a gradient than the plan allows.
    fn guidance(&self, plan: MemoryPlan) -> WanPart {
        let [last, shown] = self.guidance;
        WanPart::UpTo { last, shown, recomputed: plan.recomputed_blocks() }
    }

    fn transformer(&self, size: VideoSize, plan: MemoryPlan, part: WanPart) -> NetCost {
        let downscale = self.vae.downscale();
        let latents = [
            self.vae.latent_frames(size.frames).unwrap_or(1),
            size.height / downscale,
            size.width / downscale,
        ];
        wan_transformer(&self.transformer, latents, TEXT_KEYS, part, plan.layers)
    }
}

impl Costs for WanCosts {
    fn parameters(&self) -> u64 {
        let side = 2 * self.vae.downscale();
        let plan = crate::cost::Layers::Plain;
        let of_transformer = |config| wan_transformer(config, [1, 2, 2], 1, WanPart::Whole, plan).parameters;
        of_transformer(&self.transformer)
            + self.second.as_ref().map_or(0, of_transformer)
            + wan_vae_encode(&self.vae, 5, side, side, plan).parameters
            + wan_vae_decode(&self.vae, 5, side, side, plan).parameters
            + self.text_encoder_parameters()
    }

    fn text_encoder_parameters(&self) -> u64 {
        umt5_parameters(&self.text_encoder)
    }

    /// Of each transformer two blocks, where weights are streamed.
    fn held_parameters(&self, plan: MemoryPlan) -> u64 {
        let all = self.parameters() - self.text_encoder_parameters();
        if !plan.streams_weights {
            return all;
        }
        let on_host =
            |config: &WanConfig| wan_block_parameters(config) * (config.num_layers.max(2) as u64 - 2);
        all - on_host(&self.transformer) - self.second.as_ref().map_or(0, on_host)
    }

    fn held_text_encoder_parameters(&self, plan: MemoryPlan) -> u64 {
        if plan.keeps_text_encoder() {
            self.text_encoder_parameters()
        } else {
            // One computes while the next is read.
            2 * umt5_block_parameters(&self.text_encoder)
        }
    }

    fn takes(&self, size: VideoSize) -> bool {
        check_size(&self.transformer, &self.vae, size.frames, size.height, size.width).is_ok()
    }

    fn side_step(&self) -> i64 {
        2 * self.vae.downscale()
    }

    fn encode(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        let encode = if plan.vae_in_strips() { wan_vae_encode_in_strips } else { wan_vae_encode };
        once(encode(&self.vae, size.frames, size.height, size.width, plan.layers))
    }

    fn decode(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        let decode = if plan.vae_in_strips() { wan_vae_decode_in_strips } else { wan_vae_decode };
        once(decode(&self.vae, size.frames, size.height, size.width, plan.layers))
    }

    fn predict(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        once(self.transformer(size, plan, WanPart::Whole))
    }

    fn predict_guided(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        Runs { times: 2.0, ..self.predict(size, plan) }
    }

    fn maps(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        once(self.transformer(size, plan, self.guidance(plan)))
    }

    fn update(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        once(self.transformer(size, plan, self.guidance(plan)))
    }
}

fn once(cost: NetCost) -> Runs {
    Runs { times: 1.0, cost }
}
