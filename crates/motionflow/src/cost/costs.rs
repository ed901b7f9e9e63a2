//! What the nets of a checkpoint cost, whatever its architecture.

use std::fmt::Debug;

use super::{MemoryPlan, NetCost};

/// The size of a video in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoSize {
    /// Frames.
    pub frames: i64,
    /// Pixels.
    pub height: i64,
    /// Pixels.
    pub width: i64,
}

/// A net that runs several times in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Runs {
    /// How often; the last run may be a part of one.
    pub times: f64,
    /// The cost of one.
    pub cost: NetCost,
}

/// The costs of a checkpoint's nets, for one choice of guidance blocks.
pub trait Costs: Debug + Send + Sync {
    /// Weights of all nets.
    fn parameters(&self) -> u64;

    /// Weights of the text encoder.
    fn text_encoder_parameters(&self) -> u64;

    /// Of all weights but the text encoder's, those that the device holds at once.
    fn held_parameters(&self, plan: MemoryPlan) -> u64 {
        let _ = plan;
        self.parameters() - self.text_encoder_parameters()
    }

    /// Of the text encoder's weights those that the device holds at once.
    fn held_text_encoder_parameters(&self, plan: MemoryPlan) -> u64 {
        let _ = plan;
        self.text_encoder_parameters()
    }

    /// Whether the nets can take a video of this size.
    fn takes(&self, size: VideoSize) -> bool;

    /// What both sides of a video are multiples of, in pixels.
    fn side_step(&self) -> i64;

    /// Frames to latents.
    fn encode(&self, size: VideoSize, plan: MemoryPlan) -> Runs;

    /// Latents to frames.
    fn decode(&self, size: VideoSize, plan: MemoryPlan) -> Runs;

    /// One prediction under one prompt.
    fn predict(&self, size: VideoSize, plan: MemoryPlan) -> Runs;

    /// One prediction under both prompts of classifier-free guidance.
    fn predict_guided(&self, size: VideoSize, plan: MemoryPlan) -> Runs;

    /// One forward for the cross-attention maps of the guidance layers, which ends with the last of them.
    fn maps(&self, size: VideoSize, plan: MemoryPlan) -> Runs;

    /// As [`Costs::predict`], from deep features of an earlier step.
    fn predict_from_features(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        self.predict(size, plan)
    }

    /// As [`Costs::predict_guided`], from deep features of an earlier step.
    fn predict_guided_from_features(&self, size: VideoSize, plan: MemoryPlan) -> Runs {
        self.predict_guided(size, plan)
    }

    /// Elements of the deep features of one prompt; 0 where the model has none.
    fn deep_features(&self, size: VideoSize) -> u64 {
        let _ = size;
        0
    }

    /// The forward of one guided update, with what its backward computes again.
    fn update(&self, size: VideoSize, plan: MemoryPlan) -> Runs;
}
