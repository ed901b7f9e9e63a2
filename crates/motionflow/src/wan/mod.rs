//! Wan text-to-video (<https://arxiv.org/abs/2503.20314>): UMT5, a diffusion transformer and a causal VAE as a [`VideoModel`].
//!
//! Wan 2.2's T2V-A14B has two transformers, one for the noisier timesteps and one for the others. Inversion, masks and guided
//! updates run the one of their timestep; one guidance scale serves both.

mod architecture;
mod costs;
mod experts;
mod guidance;
mod parity;

use std::ops::ControlFlow;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::clip::Clip;
use crate::compute::{Compute, MemoryUse};
use crate::error::{BROKEN, Error};
use crate::latents::{Latents, seeded_noise};
use crate::load_net::load_net;
use crate::model::{EncodedPrompt, GuidanceLayer, GuidanceLayers, Traced, VideoModel};
use crate::nets::attention::AttentionObserver;
use crate::nets::trace::Recomputed;
use crate::nets::umt5::{Umt5Encoder, encode_by_blocks};
use crate::nets::wan_vae::{AutoencoderKlWan, WanVaeConfig};
use crate::prompt::Prompt;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::text_encoder::{TextEncoder, encode_prompts};
use crate::timestep::Timestep;
use crate::tokenizer::Tokenizer;
use crate::wider::{Coded, code};

pub use architecture::WanArchitecture;
pub use costs::WanCosts;
use experts::Experts;

/// Rows of a text, most of them zero.
const TEXT_LENGTH: i64 = 512;

/// UMT5, transformers and VAE of one checkpoint. UMT5 stays in memory where memory may be taken to be faster; else each call reads
/// it block by block.
#[derive(Debug)]
pub struct Wan {
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    text_encoder: TextEncoder<Umt5Encoder>,
    transformers: Experts,
    vae: AutoencoderKlWan,
    schedule: Schedule,
    /// Those that guide where the settings name none.
    guidance_layers: GuidanceLayers,
    compute: Compute,
}

impl Wan {
    /// Loads all nets of a checkpoint.
    ///
    /// # Errors
    /// Says which file or config is missing or wrong, and lists all tensors that are.
    pub(crate) fn load(checkpoint: &Checkpoint, compute: Compute) -> Result<Self, Error> {
        let _no_gradients = tch::no_grad_guard();
        let (config, vae, text) = architecture::configs(checkpoint)?;
        let tokenizer = checkpoint.tokenizer()?;
        architecture::check_parts(&config, &vae, &text, &tokenizer)?;
        let transformers = Experts::load(checkpoint, config, compute)?;
        Ok(Self {
            checkpoint: checkpoint.clone(),
            tokenizer,
            text_encoder: TextEncoder::new(checkpoint, compute, load_text_encoder),
            guidance_layers: guidance::default_layers(transformers.first()),
            vae: load_vae(checkpoint, vae, compute)?,
            schedule: architecture::schedule(checkpoint)?,
            transformers,
            compute,
        })
    }

    /// Features of each text's token ids, with zero rows behind them: [1, 512, features]
    fn encode(&self, texts: &[&[i64]]) -> Result<Vec<Tensor>, Error> {
        let _no_gradients = tch::no_grad_guard();
        let features = if self.compute.memory == MemoryUse::Fast {
            self.text_encoder.with(|net| net.forward(texts))?
        } else {
            let config = self.checkpoint.config("text_encoder")?;
            load_net(&self.checkpoint, "text_encoder", self.compute, |weights| {
                Ok(encode_by_blocks(weights, &config, texts)?)
            })?
        };
        let padded = |features: Tensor| {
            let padding = TEXT_LENGTH - features.size()[1];
            features.constant_pad_nd([0, 0, 0, padding.max(0)])
        };
        Ok(features.into_iter().map(padded).collect())
    }

    /// What the VAE makes, in the first precision that gives finite values: the model's own, or a wider one. `hint` is
    /// what to try where even float32 gives none.
    fn code(
        &self,
        stage: &'static str,
        hint: &str,
        work: impl Fn(&AutoencoderKlWan, Kind) -> Tensor,
    ) -> Result<Coded<Tensor>, Error> {
        code(
            (&self.vae, self.compute),
            |compute| load_vae(&self.checkpoint, self.checkpoint.config("vae")?, compute),
            (stage, hint),
            work,
        )
    }
}

fn load_text_encoder(checkpoint: &Checkpoint, compute: Compute) -> Result<Umt5Encoder, Error> {
    let config = checkpoint.config("text_encoder")?;
    load_net(checkpoint, "text_encoder", compute, |weights| Ok(Umt5Encoder::new(weights, config)?))
}

fn load_vae(
    checkpoint: &Checkpoint,
    config: WanVaeConfig,
    compute: Compute,
) -> Result<AutoencoderKlWan, Error> {
    load_net(checkpoint, "vae", compute, |weights| Ok(AutoencoderKlWan::new(weights, config)?))
}

impl VideoModel for Wan {
    fn encode_prompts(&self, prompts: &[&Prompt]) -> Result<Vec<EncodedPrompt>, Error> {
        encode_prompts(&self.tokenizer, prompts, self.compute.kind, |texts| self.encode(texts))
    }

    fn encode_clip(&self, clip: &Clip) -> Result<Coded<Latents>, Error> {
        let frames = clip.frames().to_device(self.compute.device);
        let Coded { value, wider } = self.code("encoding", BROKEN, |vae, kind| {
            vae.normalise(&vae.encode(&frames.to_kind(kind)).to_kind(Kind::Float))
        })?;
        Ok(Coded { value: Latents::new(value.contiguous()), wider })
    }

    fn decode_latents(&self, latents: &Latents) -> Result<Coded<Clip>, Error> {
        let hint = "lower --guidance-scale; if that does not help, the checkpoint is broken: get it anew";
        let Coded { value, wider } = self.code("decoding", hint, |vae, kind| {
            vae.decode(&vae.denormalise(latents.tensor()).to_kind(kind)).to_kind(Kind::Float)
        })?;
        Ok(Coded { value: Clip::new(value.to_device(Device::Cpu)), wider })
    }

    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        self.transformers.at(timestep).forward(latents, timestep, features, observer)
    }

    fn trace<'a>(
        &'a self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> Box<dyn Traced + 'a> {
        // A block's inside is some twenty times its input: too much to keep of every block, on the CPU, too.
        let recomputed = match self.compute.memory {
            MemoryUse::Low => Recomputed::All,
            MemoryUse::Balanced => Recomputed::AllButAttention,
            MemoryUse::Fast => Recomputed::None,
        };
        Box::new(self.transformers.at(timestep).trace(latents, timestep, features, recomputed, observer))
    }

    fn takes_two_videos(&self) -> bool {
        false
    }

    fn device(&self) -> Device {
        self.compute.device
    }

    fn guidance_layers(&self) -> &GuidanceLayers {
        &self.guidance_layers
    }

    fn halvings(&self, _layer: &GuidanceLayer) -> usize {
        // Every block sees patches of 2×2.
        1
    }

    fn layers_for(&self, settings: &Settings) -> Result<GuidanceLayers, Error> {
        guidance::layers_for(self.transformers.first(), settings)
    }

    fn kept_layers(&self, settings: &Settings) -> Result<Vec<GuidanceLayer>, Error> {
        Ok(self.layers_for(settings)?.cross)
    }

    fn latent_frames(&self, frames: i64) -> i64 {
        self.vae.config().latent_frames(frames).unwrap_or(1)
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn noise(&self, frames: i64, height: i64, width: i64, seed: u64) -> Result<Latents, Error> {
        self.check_size(frames, height, width)?;
        let (config, downscale) = (self.transformers.config(), self.vae.config().downscale());
        let shape =
            [1, config.in_channels, self.latent_frames(frames), height / downscale, width / downscale];
        Ok(Latents::new(seeded_noise(&shape, seed, self.compute.device)))
    }

    fn check_size(&self, frames: i64, height: i64, width: i64) -> Result<(), Error> {
        architecture::check_size(self.transformers.config(), self.vae.config(), frames, height, width)
    }
}
