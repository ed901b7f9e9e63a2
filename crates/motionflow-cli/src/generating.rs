//! The second half: noise latents and a prompt -> the new video, with progress and measures.

use std::time::Instant;

use anyhow::Result;
use motionflow::generation::{Generation, GenerationEvent, generate};
use motionflow::latents::Latents;
use motionflow::masks::MotionMasks;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::settings::Settings;
use motionflow_media::image::RgbImage;

use crate::progress::Progress;
use crate::record::{LossRecord, StepRecord};
use crate::source::pictures_of;

/// What the new video is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'a> {
    pub(crate) latents: &'a Latents,
    pub(crate) masks: Option<&'a MotionMasks>,
    pub(crate) prompt: &'a EncodedPrompt,
    pub(crate) negative: &'a EncodedPrompt,
}

/// Samples the new video and decodes it.
pub(crate) fn make_video(
    model: &dyn VideoModel,
    start: Start,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<(Generation, Vec<RgbImage>, Vec<StepRecord>)> {
    let mut stage = progress.stage("generate", settings.steps);
    let mut records = Vec::new();
    let mut since = Instant::now();
    let mut loss = String::new();
    let Start { latents, masks, prompt, negative } = start;
    let generation = generate(model, latents, masks, prompt, negative, settings, &mut |event| {
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        match event {
            GenerationEvent::Updated(update) => {
                loss = format!("loss {:.4}", update.loss);
                stage.detail(&loss);
                records.push(StepRecord::Update {
                    step: update.step,
                    update: update.update,
                    timestep: update.timestep,
                    loss: LossRecord::of(update),
                    gradient_norm: update.gradient_norm,
                    relative_move: update.relative_move,
                    seconds,
                });
            }
            GenerationEvent::Denoised { step, timestep, .. } => {
                stage.step(*step, &loss);
                records.push(StepRecord::Sampling { step: *step, timestep: *timestep, seconds });
            }
        }
    })?;
    stage.finish();
    let stage = progress.stage("decode", 1);
    let frames = pictures_of(&model.decode_latents(&generation.latents));
    stage.finish();
    Ok((generation, frames, records))
}
