//! The kinds of checkpoint that CLIP, a UNet and `AutoencoderKL` make up, as [`Architecture`]s.

use std::fmt;

use tch::Device;

use super::costs::UNetCosts;
use super::{TextToVideo, check_size};
use crate::architecture::{Architecture, Suited};
use crate::checkpoint::{Checkpoint, Component, ComponentKind, Layout, clip_tokenizer_classes};
use crate::compute::{Compute, Precision};
use crate::cost::Costs;
use crate::error::Error;
use crate::model::VideoModel;
use crate::nets::unet::{UNet3DConfig, UNetShape};
use crate::parity_case::ParityModel;
use crate::schedule::Schedule;
use crate::schedule_config;
use crate::settings::Settings;

/// A kind of checkpoint: its layout, and how its configs describe the UNet and the noise schedule.
pub struct UNetArchitecture {
    /// The layout of its folders.
    pub(crate) layout: Layout,
    /// What the UNet is built from.
    pub(crate) shape: fn(&Checkpoint) -> Result<UNetShape, Error>,
    /// The noise schedule.
    pub(crate) schedule: fn(&Checkpoint) -> Result<Schedule, Error>,
    /// What suits its nets.
    pub(crate) suited: fn() -> Suited,
}

/// `ModelScope`, `ZeroScope` and their family.
pub static UNET_3D: UNetArchitecture = UNetArchitecture {
    layout: Layout {
        pipelines: &["TextToVideoSDPipeline", "VideoToVideoSDPipeline"],
        components: &components(Component {
            name: "unet",
            kind: ComponentKind::Net,
            classes: || vec!["UNet3DConditionModel"],
        }),
        optional: &[],
        entries: &[],
        takes_motion_adapter: false,
    },
    shape: |checkpoint| Ok(checkpoint.config::<UNet3DConfig>("unet")?.shape()?),
    schedule: own_schedule,
    suited: || Suited {
        width: 576,
        height: 320,
        frames: 24,
        fps: 8.0,
        settings: Settings::default(),
        is_made_for_frames: false,
        precision: Precision::F16,
    },
};

/// The parts of such a checkpoint, which differ in their UNet.
pub(crate) const fn components(unet: Component) -> [Component; 5] {
    [
        unet,
        Component { name: "vae", kind: ComponentKind::Net, classes: || vec!["AutoencoderKL"] },
        Component {
            name: "text_encoder",
            kind: ComponentKind::TextEncoder,
            classes: || vec!["CLIPTextModel"],
        },
        Component { name: "tokenizer", kind: ComponentKind::Tokenizer, classes: clip_tokenizer_classes },
        Component {
            name: "scheduler",
            kind: ComponentKind::Scheduler,
            classes: schedule_config::class_names,
        },
    ]
}

/// The schedule that the checkpoint's own config describes.
pub(crate) fn own_schedule(checkpoint: &Checkpoint) -> Result<Schedule, Error> {
    Ok(Schedule::new(&checkpoint.config("scheduler")?)?)
}

impl UNetArchitecture {
    /// Loads all nets of a checkpoint of this kind.
    ///
    /// # Errors
    /// Says which file or config is missing or wrong, and lists all tensors that are.
    pub fn load_nets(&self, checkpoint: &Checkpoint, compute: Compute) -> Result<TextToVideo, Error> {
        TextToVideo::load(checkpoint, (self.shape)(checkpoint)?, (self.schedule)(checkpoint)?, compute)
    }
}

impl fmt::Debug for UNetArchitecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UNetArchitecture").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Architecture for UNetArchitecture {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn suited(&self) -> Suited {
        (self.suited)()
    }

    fn schedule(&self, checkpoint: &Checkpoint) -> Result<Schedule, Error> {
        (self.schedule)(checkpoint)
    }

    fn check_size(&self, checkpoint: &Checkpoint, frames: i64, height: i64, width: i64) -> Result<(), Error> {
        check_size(&(self.shape)(checkpoint)?, &checkpoint.config("vae")?, frames, height, width)
    }

    fn check_blocks(&self, checkpoint: &Checkpoint, names: &[String]) -> Result<(), Error> {
        (self.shape)(checkpoint)?.named_blocks(names).map(|_| ())
    }

    fn costs(&self, checkpoint: &Checkpoint, guidance_blocks: &[String]) -> Result<Box<dyn Costs>, Error> {
        Ok(Box::new(UNetCosts::of(checkpoint, (self.shape)(checkpoint)?, guidance_blocks)?))
    }

    fn load(&self, checkpoint: &Checkpoint, compute: Compute) -> Result<Box<dyn VideoModel + Send>, Error> {
        Ok(Box::new(self.load_nets(checkpoint, compute)?))
    }

    fn load_for_parity(
        &self,
        checkpoint: &Checkpoint,
        device: Device,
    ) -> Result<Box<dyn ParityModel>, Error> {
        Ok(Box::new(self.load_nets(checkpoint, Compute::exact(device))?))
    }
}
