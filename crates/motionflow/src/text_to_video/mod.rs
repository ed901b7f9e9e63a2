//! CLIP's text encoder, a UNet and `AutoencoderKL` as a [`VideoModel`]: `ModelScope`, `ZeroScope` and their family, and
//! AnimateDiff.

mod architecture;
mod costs;
mod parity;

use std::ops::ControlFlow;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Checkpoint, Loader, MOTION_ADAPTER_NAME};
use crate::clip::Clip;
use crate::compute::{Compute, MemoryUse};
use crate::error::{BROKEN, Error};
use crate::latents::{Latents, seeded_noise};
use crate::load_net::load_net;
use crate::model::{EncodedPrompt, GuidanceLayer, GuidanceLayers, Traced, VideoModel};
use crate::nets::attention::AttentionObserver;
use crate::nets::clip_text::{ClipText, ClipTextConfig};
use crate::nets::trace::Recomputed;
use crate::nets::unet::{AttentionNames, UNet, UNetShape};
use crate::nets::vae::{AutoencoderKl, VaeConfig};
use crate::prompt::Prompt;
use crate::schedule::Schedule;
use crate::text_encoder::{TextEncoder, encode_prompts};
use crate::timestep::Timestep;
use crate::tokenizer::Tokenizer;
use crate::wider::{Coded, code};

pub use architecture::{UNET_3D, UNetArchitecture};
pub(crate) use architecture::{components, own_schedule};
pub use costs::UNetCosts;

/// CLIP text encoder, UNet and VAE of one checkpoint. The first leaves memory when the others run, and comes back for the
/// next prompt.
#[derive(Debug)]
pub struct TextToVideo {
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    text_encoder: TextEncoder<ClipText>,
    unet: UNet,
    vae: AutoencoderKl,
    schedule: Schedule,
    guidance_layers: GuidanceLayers,
    compute: Compute,
}

impl TextToVideo {
    /// Loads all nets of a checkpoint, whose UNet is of this shape.
    ///
    /// # Errors
    /// As [`UNetArchitecture::load_nets`].
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        shape: UNetShape,
        schedule: Schedule,
        compute: Compute,
    ) -> Result<Self, Error> {
        let _no_gradients = tch::no_grad_guard();
        let text_encoder = TextEncoder::new(checkpoint, compute, load_text_encoder);
        let text = text_encoder.with(|net| net.config().clone())?;
        let unet = load_unet(checkpoint, shape, compute)?;
        let vae = load_vae(checkpoint, compute)?;
        let model = Self {
            checkpoint: checkpoint.clone(),
            tokenizer: checkpoint.tokenizer()?,
            guidance_layers: guidance_layers(&unet),
            schedule,
            text_encoder,
            unet,
            vae,
            compute,
        };
        check_parts(model.unet.shape(), model.vae.config(), &text, &model.tokenizer)?;
        Ok(model)
    }

    /// The denoising net.
    pub fn unet(&self) -> &UNet {
        &self.unet
    }

    /// The autoencoder.
    pub fn vae(&self) -> &AutoencoderKl {
        &self.vae
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the VAE makes, in the first precision that gives finite values: the model's own, or a wider one. `hint` is
    /// what to try where even float32 gives none.
    fn code(
        &self,
        stage: &'static str,
        hint: &str,
        work: impl Fn(&AutoencoderKl, Kind) -> Tensor,
    ) -> Result<Coded<Tensor>, Error> {
        self.text_encoder.release();
        code((&self.vae, self.compute), |compute| load_vae(&self.checkpoint, compute), (stage, hint), work)
    }
}

/// Checks, from the configs and the tokenizer, that the parts of a checkpoint belong together.
///
/// # Errors
/// [`Error::Mismatch`] says which two do not.
pub fn check_parts(
    unet: &UNetShape,
    vae: &VaeConfig,
    text: &ClipTextConfig,
    tokenizer: &Tokenizer,
) -> Result<(), Error> {
    let mismatch = |what: String| Err(Error::Mismatch(what));
    if unet.in_channels != vae.latent_channels || unet.out_channels != vae.latent_channels {
        return mismatch(format!(
            "the UNet takes {} and gives {} channels, the VAE's latents have {}",
            unet.in_channels, unet.out_channels, vae.latent_channels
        ));
    }
    if unet.cross_attention_dim != text.hidden_size {
        return mismatch(format!(
            "the UNet wants {} features of text, the text encoder gives {}",
            unet.cross_attention_dim, text.hidden_size
        ));
    }
    tokenizer.check_fit(text)
}

/// The UNet, with the weights of the motion adapter where it has one.
fn load_unet(checkpoint: &Checkpoint, shape: UNetShape, compute: Compute) -> Result<UNet, Error> {
    let mut weights = checkpoint.weights("unet")?;
    if checkpoint.motion_adapter()?.is_some() {
        weights = weights.joined(checkpoint.weights(MOTION_ADAPTER_NAME)?)?;
    }
    let loader = Loader::new(&weights, "unet", compute.device, compute.kind).with_memory(compute.memory);
    let unet = UNet::new(&loader, shape);
    loader.finish()?;
    Ok(unet)
}

fn load_vae(checkpoint: &Checkpoint, compute: Compute) -> Result<AutoencoderKl, Error> {
    let vae = load_net(checkpoint, "vae", compute, |weights| {
        Ok(AutoencoderKl::new(weights, checkpoint.config("vae")?)?)
    })?;
    Ok(if compute.memory == MemoryUse::Low { vae.one_frame_at_a_time() } else { vae })
}

pub(crate) fn load_text_encoder(checkpoint: &Checkpoint, compute: Compute) -> Result<ClipText, Error> {
    load_net(checkpoint, "text_encoder", compute, |weights| {
        Ok(ClipText::new(weights, checkpoint.config("text_encoder")?)?)
    })
}

/// Checks, from the configs alone, that the nets can take a video of this size in pixels.
///
/// # Errors
/// [`Error::Config`] for a config that cannot be run, [`Error::Size`] with a size near by that works,
/// [`Error::TooManyFrames`].
pub fn check_size(
    unet: &UNetShape,
    vae: &VaeConfig,
    frames: i64,
    height: i64,
    width: i64,
) -> Result<(), Error> {
    vae.validate()?;
    if let Some(most) = unet.motion().map(|motion| motion.max_frames).filter(|most| frames > *most) {
        return Err(Error::TooManyFrames { frames, most });
    }
    let downscale = vae.downscale();
    // With padding 0 the strided convolutions round down, and must leave something.
    let smallest_latent =
        if unet.downsample_padding == 0 { 1 << (unet.block_out_channels.len() - 1) } else { 1 };
    let smallest = downscale * smallest_latent;
    let fits = |side: i64| side >= smallest && side % downscale == 0;
    if fits(height) && fits(width) && frames >= 1 {
        return Ok(());
    }
    let near = |side: i64| ((side + downscale / 2) / downscale * downscale).max(smallest);
    Err(Error::Size {
        width,
        height,
        reason: format!("both sides must be multiples of {downscale}, {smallest} or more"),
        try_width: near(width),
        try_height: near(height),
    })
}

fn guidance_layers(unet: &UNet) -> GuidanceLayers {
    let AttentionNames { cross, spatial, temporal } = unet.guidance_attentions();
    let layers = |names: Vec<String>| -> Vec<GuidanceLayer> {
        let layer = |name: String| {
            let block = unet.shape().guidance_blocks().into_iter().find(|block| name.starts_with(block));
            GuidanceLayer { block: block.unwrap_or_default(), name }
        };
        names.into_iter().map(layer).collect()
    };
    GuidanceLayers { cross: layers(cross), spatial: layers(spatial), temporal: layers(temporal) }
}

impl VideoModel for TextToVideo {
    fn encode_prompts(&self, prompts: &[&Prompt]) -> Result<Vec<EncodedPrompt>, Error> {
        encode_prompts(&self.tokenizer, prompts, self.compute.kind, |texts| {
            self.text_encoder.with(|net| texts.iter().map(|ids| net.forward(ids)).collect())
        })
    }

    fn encode_clip(&self, clip: &Clip) -> Result<Coded<Latents>, Error> {
        let _no_gradients = tch::no_grad_guard();
        let frames = clip.frames().to_device(self.compute.device);
        let Coded { value, wider } = self
            .code("encoding", BROKEN, |vae, kind| vae.encode(&frames.to_kind(kind)).to_kind(Kind::Float))?;
        let latents = value * self.vae.config().scaling_factor;
        let latents = Latents::new(latents.permute([1, 0, 2, 3]).unsqueeze(0).contiguous());
        Ok(Coded { value: latents, wider })
    }

    fn decode_latents(&self, latents: &Latents) -> Result<Coded<Clip>, Error> {
        let _no_gradients = tch::no_grad_guard();
        let latents = latents.tensor().squeeze_dim(0).permute([1, 0, 2, 3]);
        let latents = latents / self.vae.config().scaling_factor;
        let hint = "lower --guidance-scale; if that does not help, the checkpoint is broken: get it anew";
        let Coded { value, wider } =
            self.code("decoding", hint, |vae, kind| vae.decode(&latents.to_kind(kind)).to_kind(Kind::Float))?;
        Ok(Coded { value: Clip::new(value.to_device(Device::Cpu)), wider })
    }

    fn predict_noise(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), Tensor> {
        self.text_encoder.release();
        self.unet.forward(latents, timestep, features, observer)
    }

    fn has_deep_features(&self) -> bool {
        true
    }

    fn predict_noise_with_features(
        &self,
        latents: &Tensor,
        timestep: Timestep,
        text: &Tensor,
        features: Option<&Tensor>,
        observer: &mut dyn AttentionObserver,
    ) -> ControlFlow<(), (Tensor, Option<Tensor>)> {
        self.text_encoder.release();
        let (noise, features) =
            self.unet.forward_with_features(latents, timestep, text, features, observer)?;
        ControlFlow::Continue((noise, Some(features)))
    }

    fn trace<'a>(
        &'a self,
        latents: &Tensor,
        timestep: Timestep,
        features: &Tensor,
        observer: &mut dyn AttentionObserver,
    ) -> Box<dyn Traced + 'a> {
        self.text_encoder.release();
        let recomputed = match self.compute.memory {
            MemoryUse::Low => Recomputed::All,
            // The CPU has the memory rather than the time.
            MemoryUse::Balanced if self.compute.device.is_cuda() => Recomputed::Unobserved,
            MemoryUse::Balanced | MemoryUse::Fast => Recomputed::None,
        };
        Box::new(self.unet.trace(latents, timestep, features, recomputed, observer))
    }

    fn takes_two_videos(&self) -> bool {
        self.compute.memory != MemoryUse::Low
    }

    fn device(&self) -> Device {
        self.compute.device
    }

    fn guidance_layers(&self) -> &GuidanceLayers {
        &self.guidance_layers
    }

    fn halvings(&self, layer: &GuidanceLayer) -> usize {
        let coarsest = self.unet.shape().block_out_channels.len() - 1;
        let level = |number: &str| number.parse().unwrap_or(coarsest).min(coarsest);
        match layer.block.split_once('.') {
            Some(("down_blocks", number)) => level(number),
            Some(("up_blocks", number)) => coarsest - level(number),
            _ => coarsest,
        }
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn noise(&self, frames: i64, height: i64, width: i64, seed: u64) -> Result<Latents, Error> {
        self.check_size(frames, height, width)?;
        let downscale = self.vae.config().downscale();
        let channels = self.vae.config().latent_channels;
        let shape = [1, channels, frames, height / downscale, width / downscale];
        Ok(Latents::new(seeded_noise(&shape, seed, self.compute.device)))
    }

    fn check_size(&self, frames: i64, height: i64, width: i64) -> Result<(), Error> {
        check_size(self.unet.shape(), self.vae.config(), frames, height, width)
    }
}
