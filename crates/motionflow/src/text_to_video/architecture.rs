//! `UNet3DConditionModel` with CLIP and `AutoencoderKL` as an [`Architecture`].

use tch::Device;

use super::costs::UNet3DCosts;
use super::{TextToVideo, check_size};
use crate::architecture::Architecture;
use crate::checkpoint::{Checkpoint, Component, ComponentKind, Layout, clip_tokenizer_classes};
use crate::compute::Compute;
use crate::cost::Costs;
use crate::error::Error;
use crate::model::VideoModel;
use crate::nets::unet::UNetConfig;
use crate::parity_case::ParityModel;
use crate::schedule::Schedule;
use crate::schedule_config;

/// `ModelScope`, `ZeroScope` and their family.
#[derive(Debug)]
pub struct UNet3DArchitecture;

static LAYOUT: Layout = Layout {
    pipelines: &["TextToVideoSDPipeline", "VideoToVideoSDPipeline"],
    components: &[
        Component { name: "unet", kind: ComponentKind::Net, classes: || vec!["UNet3DConditionModel"] },
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
    ],
};

impl Architecture for UNet3DArchitecture {
    fn layout(&self) -> &'static Layout {
        &LAYOUT
    }

    fn schedule(&self, checkpoint: &Checkpoint) -> Result<Schedule, Error> {
        Ok(Schedule::new(&checkpoint.config("scheduler")?)?)
    }

    fn check_size(&self, checkpoint: &Checkpoint, frames: i64, height: i64, width: i64) -> Result<(), Error> {
        check_size(&checkpoint.config("unet")?, &checkpoint.config("vae")?, frames, height, width)
    }

    fn check_blocks(&self, checkpoint: &Checkpoint, names: &[String]) -> Result<(), Error> {
        let unet: UNetConfig = checkpoint.config("unet")?;
        unet.named_blocks(names).map(|_| ())
    }

    fn costs(&self, checkpoint: &Checkpoint, guidance_blocks: &[String]) -> Result<Box<dyn Costs>, Error> {
        Ok(Box::new(UNet3DCosts::of(checkpoint, guidance_blocks)?))
    }

    fn load(&self, checkpoint: &Checkpoint, compute: Compute) -> Result<Box<dyn VideoModel + Send>, Error> {
        Ok(Box::new(TextToVideo::load(checkpoint, compute)?))
    }

    fn load_for_parity(
        &self,
        checkpoint: &Checkpoint,
        device: Device,
    ) -> Result<Box<dyn ParityModel>, Error> {
        Ok(Box::new(TextToVideo::load(checkpoint, Compute::exact(device))?))
    }
}
