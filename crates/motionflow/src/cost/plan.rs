//! How a device runs the nets, by how much memory it may take.

use super::{FRAMES_AT_ONCE, Layers, Recompute};
use crate::compute::{Compute, MemoryUse};

/// How the nets run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Which layers compute.
    pub layers: Layers,
    /// What a guided update computes again instead of keeping it.
    pub recompute: Recompute,
    /// Whether it computes the blocks of a transformer again, each from its input.
    pub recomputes_blocks: bool,
    /// The halves of classifier-free guidance that go through the denoising net at once.
    pub halves_at_once: i64,
    /// Frames that go through the VAE at once.
    pub frames_at_once: i64,
    /// Whether feed-forward nets run in parts.
    pub in_parts: bool,
    /// Else it leaves memory before the other nets run.
    pub keeps_text_encoder: bool,
}

impl MemoryPlan {
    /// As the nets run with `compute`.
    pub fn of(compute: Compute) -> Self {
        let is_cuda = compute.device.is_cuda();
        let all = Self {
            layers: if is_cuda { Layers::Fused } else { Layers::Plain },
            recompute: Recompute::Nothing,
            recomputes_blocks: compute.memory != MemoryUse::Fast,
            halves_at_once: 2,
            frames_at_once: FRAMES_AT_ONCE,
            in_parts: false,
            keeps_text_encoder: compute.memory == MemoryUse::Fast,
        };
        match compute.memory {
            MemoryUse::Balanced if is_cuda => Self { recompute: Recompute::BeforeGuidance, ..all },
            MemoryUse::Balanced | MemoryUse::Fast => all,
            MemoryUse::Low => Self {
                recompute: Recompute::Everything,
                halves_at_once: 1,
                frames_at_once: 1,
                in_parts: true,
                ..all
            },
        }
    }
}
