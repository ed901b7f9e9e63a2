//! AnimateDiff (<https://arxiv.org/abs/2307.04725>): Stable Diffusion 1.5 with motion modules, in one folder as diffusers'
//! `AnimateDiffPipeline` saves it, or as a checkpoint that makes pictures and a motion adapter for it.

use crate::architecture::Suited;
use crate::checkpoint::{Checkpoint, Component, ComponentKind, Layout, MOTION_ADAPTER_NAME};
use crate::compute::Precision;
use crate::error::Error;
use crate::nets::unet::{MotionAdapterConfig, UNet2DConfig, UNetMotionConfig, UNetShape};
use crate::schedule::{Schedule, ScheduleConfig};
use crate::settings::Settings;
use crate::text_to_video::{UNetArchitecture, components, own_schedule};

/// What the motion modules were trained on.
fn suited() -> Suited {
    Suited {
        width: 512,
        height: 512,
        frames: 16,
        fps: 8.0,
        settings: Settings { guidance_scale: 7.5, ..Settings::from_noise() },
        is_made_for_frames: true,
        precision: Precision::F16,
    }
}

/// How β goes where a motion adapter decides it, whatever the pictures' schedule is.
pub const ADAPTERS_BETA_SCHEDULE: &str = "linear";

/// One folder with everything in it.
pub static ANIMATE_DIFF: UNetArchitecture = UNetArchitecture {
    layout: Layout {
        pipelines: &["AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline"],
        components: &components(Component {
            name: "unet",
            kind: ComponentKind::Net,
            classes: || vec!["UNetMotionModel"],
        }),
        optional: &[],
        entries: &[],
        takes_motion_adapter: false,
    },
    shape: |checkpoint| Ok(checkpoint.config::<UNetMotionConfig>("unet")?.shape()?),
    schedule: own_schedule,
    suited,
};

/// Stable Diffusion 1.5, or a net trained on from it, and a motion adapter.
pub static STABLE_DIFFUSION: UNetArchitecture = UNetArchitecture {
    layout: Layout {
        pipelines: &["StableDiffusionPipeline"],
        components: &components(Component {
            name: "unet",
            kind: ComponentKind::Net,
            classes: || vec!["UNet2DConditionModel"],
        }),
        optional: &[],
        entries: &[],
        takes_motion_adapter: true,
    },
    shape: shape_with_adapter,
    schedule: linear_schedule,
    suited,
};

fn shape_with_adapter(checkpoint: &Checkpoint) -> Result<UNetShape, Error> {
    checkpoint.motion_adapter()?;
    let adapter: MotionAdapterConfig = checkpoint.config(MOTION_ADAPTER_NAME)?;
    checkpoint.config::<UNet2DConfig>("unet")?.shape_with(&adapter)
}

/// The pictures' schedule with β in equal steps, which motion modules are trained with, and without clipping.
fn linear_schedule(checkpoint: &Checkpoint) -> Result<Schedule, Error> {
    let config: ScheduleConfig = checkpoint.config("scheduler")?;
    let linear = ScheduleConfig {
        beta_schedule: ADAPTERS_BETA_SCHEDULE.to_owned(),
        trained_betas: None,
        clip_sample: Some(false),
        ..config
    };
    Ok(Schedule::new(&linear)?)
}
