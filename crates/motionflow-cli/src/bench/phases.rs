//! The phases of a transfer, run as a transfer runs them, lap by lap.

use std::ops::ControlFlow;

use anyhow::Result;
use motionflow::clip::Clip;
use motionflow::error::Error;
use motionflow::generation::{Generating, GenerationEvent, generate};
use motionflow::inversion::{Inversion, Inverting, invert};
use motionflow::latents::Latents;
use motionflow::masks::SubjectMaps;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::noised::{NoisedSource, observe};
use motionflow::settings::Settings;
use serde::Serialize;
use tch::Device;

use super::stopwatch::{Milliseconds, Peak, Stopwatch, WARM_UPS};
use motionflow_engine::progress::Stage;

/// How many phases there are.
pub(super) fn count(settings: &Settings) -> usize {
    5 + usize::from(!settings.pass_timesteps().is_empty())
}

/// What one phase takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) ms: Milliseconds,
    /// On a CUDA device.
    pub(super) peak: Option<Peak>,
    /// How often it is done in a transfer.
    pub(super) times: usize,
    /// Its part of a transfer's time.
    pub(super) share: f64,
}

/// What the phases work on.
pub(super) struct Work<'a> {
    pub(super) model: &'a dyn VideoModel,
    pub(super) clip: &'a Clip,
    pub(super) source: &'a EncodedPrompt,
    pub(super) target: &'a EncodedPrompt,
    pub(super) negative: &'a EncodedPrompt,
    /// The settings of the transfer.
    pub(super) settings: &'a Settings,
    /// How many laps count.
    pub(super) repeat: usize,
}

impl Work<'_> {
    /// Times all phases.
    pub(super) fn run(&self, stage: &mut Stage) -> Result<Vec<Phase>> {
        let settings = self.settings;
        let updates =
            if settings.is_guided() { settings.guided_steps * settings.updates_per_step } else { 0 };
        let mut phases = Vec::new();
        let mut done = |name, laps: &Stopwatch, times| {
            phases.push(Phase { name, ms: laps.times(), peak: Peak::of(self.device()), times, share: 0.0 });
            stage.step(phases.len(), name);
        };
        let (laps, clean) = self.timed(|| self.model.encode_clip(self.clip));
        let clean = clean?.value;
        done("encode", &laps, 1);
        let passes = settings.pass_timesteps().len();
        if passes > 0 {
            done("masks", &self.pass(&clean)?, passes);
        }
        let (laps, inversion) = self.inversion(clean)?;
        done("invert", &laps, if settings.takes_inversion() { settings.steps } else { 0 });
        done("update", &self.updates(&inversion)?, updates);
        let (laps, latents) = self.sampling(inversion.latents)?;
        done("sample", &laps, settings.steps);
        let (laps, decoded) = self.timed(|| self.model.decode_latents(&latents));
        decoded?;
        done("decode", &laps, 1);
        let total: f64 = phases.iter().map(Phase::total).sum();
        for phase in &mut phases {
            phase.share = phase.total() / total;
        }
        Ok(phases)
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn laps(&self) -> usize {
        WARM_UPS + self.repeat
    }

    /// Steps that are timed are the last ones of a run of at least so many.
    fn with_enough_steps(&self) -> Settings {
        Settings { steps: self.settings.steps.max(self.laps()), ..self.settings.clone() }
    }

    fn timed<T>(&self, mut work: impl FnMut() -> T) -> (Stopwatch, T) {
        let mut laps = Stopwatch::begin(self.device());
        loop {
            let made = work();
            laps.lap();
            if laps.counted() == self.repeat {
                return (laps, made);
            }
        }
    }

    /// The first pass on the noised source.
    fn pass(&self, clean: &Latents) -> Result<Stopwatch> {
        let first = self.settings.noised_timesteps.iter().take(1).copied().collect();
        let settings = Settings { noised_timesteps: first, noised_samples: 1, ..self.settings.clone() };
        let (laps, seen) = self.timed(|| {
            let from = NoisedSource::new(clean.share());
            observe(self.model, from, self.source, &settings, &mut |_| ControlFlow::Continue(()))
        });
        seen?;
        Ok(laps)
    }

    /// The last steps of an inversion.
    fn inversion(&self, clean: Latents) -> Result<(Stopwatch, Inversion)> {
        let settings = self.with_enough_steps();
        let from =
            Inverting { done: settings.steps - self.laps(), latents: clean, maps: SubjectMaps::default() };
        let mut laps = Stopwatch::begin(self.device());
        let inversion = invert(self.model, from, self.source, &settings, &mut |_| {
            laps.lap();
            ControlFlow::Continue(())
        })?;
        Ok((laps, inversion))
    }

    /// Updates at the noisiest step, one after the other.
    fn updates(&self, inversion: &Inversion) -> Result<Stopwatch> {
        let settings = Settings {
            guided_steps: 1,
            updates_per_step: self.laps(),
            updates: true,
            loss_threshold: 0.0,
            ..self.with_enough_steps()
        };
        let masks = inversion.masks(&settings.guided_timesteps(self.model.schedule())?, &settings)?;
        let start = Generating::new(inversion.latents.share());
        let mut laps = Stopwatch::begin(self.device());
        let stopped =
            generate(self.model, start, Some(&masks), self.target, self.negative, &settings, &mut |_| {
                laps.lap();
                if laps.counted() < self.repeat { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        match stopped {
            Ok(_) | Err(Error::Stopped) => Ok(laps),
            Err(error) => Err(error.into()),
        }
    }

    /// The last steps of a sampling.
    fn sampling(&self, noise: Latents) -> Result<(Stopwatch, Latents)> {
        let settings = Settings { updates: false, ..self.with_enough_steps() };
        let start = Generating { done: settings.steps - self.laps(), ..Generating::new(noise) };
        let mut laps = Stopwatch::begin(self.device());
        let generation =
            generate(self.model, start, None, self.target, self.negative, &settings, &mut |event| {
                if let GenerationEvent::Denoised { .. } = event {
                    laps.lap();
                }
                ControlFlow::Continue(())
            })?;
        Ok((laps, generation.latents))
    }
}

impl Phase {
    /// Milliseconds in a transfer.
    pub(super) fn total(&self) -> f64 {
        self.ms.median * self.times as f64
    }
}
