//! How a device runs the nets, by how much memory it may take.

use super::{BlockPart, FRAMES_AT_ONCE, Layers, Recompute};
use crate::compute::{Compute, MemoryUse};

/// How the nets run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Which layers compute.
    pub layers: Layers,
    /// What a guided update computes again instead of keeping it.
    pub recompute: Recompute,
    /// The halves of classifier-free guidance that go through the denoising net at once.
    pub halves_at_once: i64,
    /// Frames that go through the VAE at once.
    pub frames_at_once: i64,
    /// Whether weights of transformers stay in the host's memory.
    pub streams_weights: bool,
    memory: MemoryUse,
}

impl MemoryPlan {
    /// Whether feed-forward nets run in parts.
    pub fn in_parts(self) -> bool {
        self.memory == MemoryUse::Low
    }

    /// What a guided update computes again of the blocks of a transformer.
    pub fn recomputed_blocks(self) -> BlockPart {
        match self.memory {
            MemoryUse::Low => BlockPart::All,
            MemoryUse::Balanced => BlockPart::AllButAttention,
            MemoryUse::Fast => BlockPart::Nothing,
        }
    }

    /// Whether the finest levels of a VAE run in strips, where it can.
    pub fn vae_in_strips(self) -> bool {
        self.memory == MemoryUse::Low
    }

    /// Else the text encoder leaves memory before the other nets run.
    pub fn keeps_text_encoder(self) -> bool {
        self.memory == MemoryUse::Fast
    }

    /// As the nets run with `compute`.
    pub fn of(compute: Compute) -> Self {
        let is_cuda = compute.device.is_cuda();
        let all = Self {
            layers: if is_cuda { Layers::Fused } else { Layers::Plain },
            recompute: Recompute::Nothing,
            halves_at_once: 2,
            frames_at_once: FRAMES_AT_ONCE,
            streams_weights: compute.streams_weights(),
            memory: compute.memory,
        };
        match compute.memory {
            MemoryUse::Balanced if is_cuda => Self { recompute: Recompute::BeforeGuidance, ..all },
            MemoryUse::Balanced | MemoryUse::Fast => all,
            MemoryUse::Low => {
                Self { recompute: Recompute::Everything, halves_at_once: 1, frames_at_once: 1, ..all }
            }
        }
    }
}
