//! The second half: noise latents and a prompt -> the new video, with progress and measures.

use std::iter;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use motionflow::error::Error;
use motionflow::generation::{Generating, Generation, GenerationEvent, GuidedUpdate, generate};
use motionflow::latents::Latents;
use motionflow::masks::MotionMasks;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::settings::Settings;
use motionflow_media::image::RgbImage;

use crate::event::Event;
use crate::folder::record::{LossRecord, StepRecord};
use crate::folder::unfinished::Unfinished;
use crate::progress::Progress;
use crate::runs::preview::LatentColours;
use crate::source::pictures_of;

/// What the new video is made of.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) latents: Latents,
    pub(crate) masks: Option<&'a MotionMasks>,
    pub(crate) prompt: &'a EncodedPrompt,
    pub(crate) negative: &'a EncodedPrompt,
}

/// Samples the new video and decodes it, or goes on where `unfinished` says. With `colours` every step is shown on its way.
pub(crate) fn make_video(
    model: &dyn VideoModel,
    start: Start,
    settings: &Settings,
    colours: Option<&LatentColours>,
    unfinished: &mut Unfinished,
    progress: &mut Progress,
) -> Result<(Generation, Vec<RgbImage>, Vec<StepRecord>)> {
    let Start { latents, masks, prompt, negative } = start;
    let (from, mut records) = match unfinished.sampling() {
        Some((mut from, records)) => {
            if settings.deepcache_interval > 1 {
                from.trail = iter::once(latents).chain(unfinished.sampled()).collect();
            }
            progress.note(&format!("generate: goes on after step {} of {}", from.done, settings.steps));
            (from, records)
        }
        None => (Generating::new(latents), Vec::new()),
    };
    let cancel = progress.cancel_token();
    let mut stage = progress.stage("generate", settings.steps);
    stage.resumes_after(from.done);
    let mut since = Instant::now();
    let mut loss = String::new();
    let mut saved = Ok(());
    // Of the running step.
    let (mut step_records, mut updates): (Vec<StepRecord>, Vec<GuidedUpdate>) = Default::default();
    let generation = generate(model, from, masks, prompt, negative, settings, &mut |event| {
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        match *event {
            GenerationEvent::Updated(update) => {
                loss = format!("loss {:.4}", update.loss);
                let record = update_record(update, seconds);
                stage.event(&Event::Step { step: &record });
                step_records.push(record);
                updates.push(*update);
            }
            GenerationEvent::Denoised { step, timestep, latents, history, .. } => {
                let record = StepRecord::Sampling { step, timestep, seconds };
                stage.step(step, &loss);
                if let Some(colours) = colours {
                    // What the net saw last is clearer than the latents, which have noise left.
                    let clean = history.clean.last().unwrap_or(latents.tensor());
                    stage.event(&Event::Preview { step, frames: &colours.pictures(clean) });
                }
                stage.event(&Event::Step { step: &record });
                step_records.push(record);
                records.extend(step_records.iter().cloned());
                saved = unfinished.save_sampling(
                    step,
                    (latents, history),
                    std::mem::take(&mut step_records),
                    std::mem::take(&mut updates),
                );
            }
        }
        if saved.is_err() || cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    saved.and_then(|()| unfinished.settle())?;
    let generation = generation?;
    stage.finish();
    let stage = progress.stage("decode", 1);
    let decoded = model.decode_latents(&generation.latents)?;
    let frames = pictures_of(&decoded.value);
    stage.finish();
    if let Some(wider) = decoded.wider {
        progress.warn(wider.to_string());
    }
    if cancel.is_cancelled() { Err(Error::Stopped.into()) } else { Ok((generation, frames, records)) }
}

fn update_record(update: &GuidedUpdate, seconds: f64) -> StepRecord {
    StepRecord::Update {
        step: update.step,
        update: update.update,
        timestep: update.timestep,
        loss: LossRecord::of(update),
        gradient_norm: update.gradient_norm,
        relative_move: update.relative_move,
        seconds,
    }
}
