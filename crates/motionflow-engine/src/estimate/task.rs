//! What a run is made of: which nets run how often, and what that holds in memory.

use anyhow::Result;
use motionflow::compute::{Compute, MemoryUse};
use motionflow::cost::{
    FRAMES_AT_ONCE, Layers, NetCost, Operation, Recompute, UNetInput, UNetPart, text_encoder_parameters,
    unet, vae_decode, vae_encode,
};
use motionflow::nets::clip_text::ClipTextConfig;
use motionflow::nets::unet::{GuidanceBlocks, UNetConfig};
use motionflow::nets::vae::VaeConfig;
use motionflow::settings::Settings;

use super::memory::{Elements, Memory};
use crate::request::recommended::Video;

/// The configs of a checkpoint's nets, how many tokens its texts have, and the size of its files.
#[derive(Debug)]
pub(crate) struct Configs {
    pub(crate) unet: UNetConfig,
    pub(crate) vae: VaeConfig,
    pub(crate) text_encoder: ClipTextConfig,
    pub(crate) tokens: usize,
    pub(crate) file_bytes: u64,
}

/// Which parts of the way a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a source to a new video.
    Transfer,
    /// From an inversion that was made before to a new video.
    FromInversion,
    /// From noise to a new video.
    Generate,
    /// From a source to its inversion.
    Invert,
}

/// What a run does, whatever its video's size.
#[derive(Debug)]
pub(crate) struct Task {
    configs: Configs,
    blocks: GuidanceBlocks,
    steps: f64,
    updates: f64,
    /// Whether updates may end before that, at a loss that nobody knows before.
    pub(super) at_most: bool,
    pub(super) way: Way,
    pub(super) compute: Compute,
}

/// How a device runs the nets, by how much memory it may take.
#[derive(Debug, Clone, Copy)]
struct MemoryPlan {
    layers: Layers,
    recompute: Recompute,
    /// The halves of classifier-free guidance that go through the UNet at once.
    halves_at_once: i64,
    /// Frames that go through the VAE at once.
    frames_at_once: i64,
    /// Whether the UNet's feed-forward nets run in parts.
    in_parts: bool,
    /// Else it leaves memory before the other nets run.
    keeps_text_encoder: bool,
}

/// A part of a run that is told by its name.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    runs: Vec<NetRun>,
}

/// One net, so many times in a row.
#[derive(Debug)]
pub(super) struct NetRun {
    pub(super) times: f64,
    pub(super) cost: NetCost,
    /// Whether the gradient is computed, too.
    pub(super) backward: bool,
}

impl Task {
    /// The run that these settings ask for.
    pub(crate) fn new(configs: Configs, settings: &Settings, way: Way, compute: Compute) -> Result<Self> {
        let is_guided = way != Way::Invert && settings.is_guided();
        let updates = if is_guided { settings.guided_steps * settings.updates_per_step } else { 0 };
        Ok(Self {
            blocks: configs.unet.named_blocks(&settings.guidance_layers)?,
            configs,
            steps: settings.steps as f64,
            updates: updates as f64,
            at_most: updates > 0 && settings.loss_threshold > 0.0,
            way,
            compute,
        })
    }

    fn manner(&self, memory: MemoryUse) -> MemoryPlan {
        let all = MemoryPlan {
            layers: Layers::Fused,
            recompute: Recompute::Nothing,
            halves_at_once: 2,
            frames_at_once: FRAMES_AT_ONCE,
            in_parts: false,
            keeps_text_encoder: memory == MemoryUse::Fast,
        };
        let is_cuda = self.compute.device.is_cuda();
        let manner = match memory {
            MemoryUse::Balanced if is_cuda => MemoryPlan { recompute: Recompute::BeforeGuidance, ..all },
            MemoryUse::Balanced | MemoryUse::Fast => all,
            MemoryUse::Low => MemoryPlan {
                recompute: Recompute::Everything,
                halves_at_once: 1,
                frames_at_once: 1,
                in_parts: true,
                ..all
            },
        };
        MemoryPlan { layers: if is_cuda { Layers::Fused } else { Layers::Plain }, ..manner }
    }

    /// Weights of all nets.
    pub(super) fn parameters(&self) -> u64 {
        let Configs { unet: config, vae, text_encoder, .. } = &self.configs;
        let input = UNetInput { videos: 1, frames: 1, height: 1, width: 1, tokens: 1, in_parts: false };
        let side = vae.downscale();
        unet(config, input, UNetPart::Whole, Layers::Plain).parameters
            + vae_encode(vae, 1, side, side, Layers::Plain).parameters
            + vae_decode(vae, 1, side, side, Layers::Plain).parameters
            + text_encoder_parameters(text_encoder)
    }

    /// Whether the checkpoint's files are large enough for the weights that its configs call for.
    pub(super) fn may_have_its_weights(&self) -> bool {
        const SMALLEST: u64 = 2;
        self.parameters() <= self.configs.file_bytes / SMALLEST
    }

    pub(super) fn stages(&self, video: &Video) -> Vec<Stage> {
        self.stages_in(video, self.manner(self.compute.memory))
    }

    fn stages_in(&self, video: &Video, manner: MemoryPlan) -> Vec<Stage> {
        let Configs { unet: config, vae, tokens, .. } = &self.configs;
        let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
        let MemoryPlan { layers, recompute, halves_at_once, .. } = manner;
        let downscale = vae.downscale();
        let input = UNetInput {
            videos: 1,
            frames,
            height: height / downscale,
            width: width / downscale,
            tokens: *tokens as i64,
            in_parts: manner.in_parts,
        };
        let at_once = frames.min(manner.frames_at_once);
        let parts = frames as f64 / at_once as f64;
        let run = |times: f64, cost: NetCost| NetRun { times, cost, backward: false };
        let mut stages = Vec::new();
        if matches!(self.way, Way::Transfer | Way::Invert) {
            let encoding = run(parts, vae_encode(vae, at_once, height, width, layers));
            let step = run(self.steps, unet(config, input, UNetPart::Whole, layers));
            stages.push(Stage { name: "encode", runs: vec![encoding] });
            stages.push(Stage { name: "invert", runs: vec![step] });
        }
        if self.way != Way::Invert {
            let both = UNetInput { videos: halves_at_once, ..input };
            let times = self.steps * (2 / halves_at_once) as f64;
            let mut runs = vec![run(times, unet(config, both, UNetPart::Whole, layers))];
            if self.updates > 0.0 {
                let part = UNetPart::Guidance(self.blocks, recompute);
                let cost = unet(config, input, part, layers);
                runs.push(NetRun { times: self.updates, cost, backward: true });
            }
            stages.push(Stage { name: "generate", runs });
            let decoding = run(parts, vae_decode(vae, at_once, height, width, layers));
            stages.push(Stage { name: "decode", runs: vec![decoding] });
        }
        stages
    }

    /// What the run holds at its fullest. Quick: nothing is timed.
    pub(super) fn memory(&self, video: &Video, memory: MemoryUse) -> Memory {
        let manner = self.manner(memory);
        let stages = self.stages_in(video, manner);
        let activations = stages.iter().map(Stage::activations).max().unwrap_or_default();
        let text_encoder = text_encoder_parameters(&self.configs.text_encoder);
        let released = if manner.keeps_text_encoder { 0 } else { text_encoder };
        let weights = self.parameters() - released;
        Memory::of(self.compute, Elements { weights, activations, released }, self.configs.file_bytes)
    }

    /// Whether the nets can take a video of this size.
    pub(super) fn takes(&self, video: &Video) -> bool {
        let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
        let Configs { unet, vae, .. } = &self.configs;
        motionflow::text_to_video::check_size(unet, vae, frames, height, width).is_ok()
    }

    /// What both sides of a video are multiples of.
    pub(super) fn side_step(&self) -> u32 {
        u32::try_from(self.configs.vae.downscale()).unwrap_or(1)
    }
}

impl Stage {
    pub(super) fn runs(&self) -> &[NetRun] {
        &self.runs
    }

    pub(super) fn flops(&self) -> f64 {
        self.runs.iter().map(|run| run.times * run.flops()).sum()
    }

    /// Elements.
    fn activations(&self) -> u64 {
        let peak = |run: &NetRun| if run.backward { run.cost.backward_peak } else { run.cost.forward_peak };
        self.runs.iter().map(peak).max().unwrap_or_default()
    }
}

impl NetRun {
    fn flops(&self) -> f64 {
        let again: f64 = self.cost.recomputed.iter().map(Operation::flops).sum();
        let backward = if self.backward { self.cost.backward_flops() + again } else { 0.0 };
        self.cost.flops() + backward
    }
}
