//! Every setting of a run: what the flags say, else the preset: what the checkpoint recommends, and where it
//! recommends nothing the general default, or the paper's.

use std::ops::RangeInclusive;

use anyhow::Result;
use motionflow::schedule::Schedule;
use motionflow::settings::{Preset, SamplerName, Settings, SettingsError};
use motionflow_media::Fit;

use super::recommended::Video;
use super::{CutOptions, Rate, SettingOptions, Size, VideoOptions};
use crate::error::Misuse;
use crate::threads::MOST;

impl VideoOptions {
    /// Fills in what was not said.
    ///
    /// # Errors
    /// A [`Misuse`] where a value is out of its range.
    pub fn resolve(&self, recommended: &Video) -> Result<Video> {
        let Self { size: Size { width, height, frames }, rate: Rate { fps } } = *self;
        let fps = fps.unwrap_or(recommended.fps);
        check_rate(fps)?;
        Ok(Video {
            width: within("--width", width.unwrap_or(recommended.width), 1..=8192)?,
            height: within("--height", height.unwrap_or(recommended.height), 1..=8192)?,
            frames: within("--frames", frames.unwrap_or(recommended.frames), 1..=10_000)?,
            fps,
        })
    }
}

/// The fewest frames per second that a video file can be written with: fewer, and a frame lasts too long for its counters.
const LEAST_RATE: f64 = 0.0001;

/// Refuses a rate that no video file can be written with, be it asked for or the source's own.
pub(crate) fn check_rate(fps: f64) -> Result<()> {
    let wanted = if !(fps > 0.0 && fps <= 1000.0) {
        "over 0 and at most 1000".to_owned()
    } else if fps < LEAST_RATE {
        format!("at least {LEAST_RATE}")
    } else {
        return Ok(());
    };
    Err(Misuse(format!("--fps is {fps}, but must be {wanted}")).into())
}

/// Which part of the source is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Seconds.
    pub start: f64,
    /// One frame of so many.
    pub every: u32,
    /// How the source is brought to the video's size.
    pub fit: Fit,
}

impl CutOptions {
    /// Fills in what was not said.
    ///
    /// # Errors
    /// A [`Misuse`] where a value is out of its range.
    pub fn resolve(&self) -> Result<Cut> {
        let start = self.start.unwrap_or(0.0);
        if !(start >= 0.0 && start.is_finite()) {
            return Err(Misuse(format!("--start is {start}, but must be 0 or more")).into());
        }
        Ok(Cut {
            start,
            every: within("--every", self.every.unwrap_or(1), 1..=100_000)?,
            fit: self.fit.unwrap_or_default(),
        })
    }
}

/// Checks how many threads are requested.
pub(crate) fn threads(requested: Option<u16>) -> Result<()> {
    match requested {
        Some(threads) if !(1..=MOST).contains(&i32::from(threads)) => {
            Err(Misuse(format!("--threads is {threads}, but must be 1 to {MOST}")).into())
        }
        _ => Ok(()),
    }
}

fn within(flag: &str, value: u32, range: RangeInclusive<u32>) -> Result<u32> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Misuse(format!("{flag} is {value}, but must be {} to {}", range.start(), range.end())).into())
}

impl SettingOptions {
    /// Fills in what was not said.
    pub fn resolve(&self, recommended: &Settings) -> Settings {
        let Self { preset, steps, sampling, context, masks, guidance } = self;
        let mut settings = match preset.preset {
            // On a schedule of flow matching there is no DDIM.
            Some(Preset::Paper) if recommended.sampler == SamplerName::Euler => {
                Settings { sampler: SamplerName::Euler, ..Settings::paper(recommended.guidance_scale) }
            }
            Some(Preset::Paper) => Settings::paper(recommended.guidance_scale),
            Some(Preset::Default) | None => Settings { preset: Preset::Default, ..recommended.clone() },
        };
        if let (Some(steps), None) = (steps.steps, guidance.guided_steps) {
            settings.guided_steps = same_share(&settings, steps);
        }
        if guidance.step_size.is_some() {
            // One way to move excludes the other, also one that is recommended.
            settings.step_norm = None;
        }
        settings.step_norm = guidance.step_norm.or(settings.step_norm);
        set(&mut settings.steps, steps.steps);
        set(&mut settings.guided_steps, guidance.guided_steps);
        set(&mut settings.tau, masks.tau);
        set(&mut settings.subject_map, masks.subject_map);
        set(&mut settings.mask_source, masks.mask_source);
        set(&mut settings.noised_timesteps, masks.noised_timesteps.clone());
        set(&mut settings.noised_samples, masks.noised_samples);
        set(&mut settings.mask_time, masks.mask_time);
        set(&mut settings.mask_layers, masks.mask_layers);
        set(&mut settings.mask_apart, masks.mask_apart);
        if sampling.sampler.is_some_and(|sampler| sampler != settings.sampler) {
            // What is recommended of the noise levels is for the recommended sampler.
            (settings.karras_sigmas, settings.timestep_spacing) = (None, None);
        }
        set(&mut settings.sampler, sampling.sampler);
        settings.timestep_spacing = sampling.timestep_spacing.or(settings.timestep_spacing);
        settings.karras_sigmas = sampling.karras_sigmas.or(settings.karras_sigmas);
        set(&mut settings.guidance_scale, sampling.guidance_scale);
        settings.guidance_interval = sampling.guidance_interval.or(settings.guidance_interval);
        set(&mut settings.deepcache_interval, sampling.deepcache_interval);
        settings.context_frames = context.context_frames.or(settings.context_frames);
        if let (Some(frames), None) = (context.context_frames, context.context_overlap) {
            settings.context_overlap = settings.context_overlap.min(frames.saturating_sub(1));
        }
        set(&mut settings.context_overlap, context.context_overlap);
        set(&mut settings.seed, sampling.seed);
        set(&mut settings.step_size, guidance.step_size);
        set(&mut settings.step_decay, guidance.step_decay);
        set(&mut settings.updates_per_step, guidance.updates_per_step);
        set(&mut settings.lambda_cross, guidance.lambda_cross);
        set(&mut settings.lambda_self, guidance.lambda_self);
        set(&mut settings.lambda_temporal, guidance.lambda_temporal);
        set(&mut settings.lambda_outside, guidance.lambda_outside);
        set(&mut settings.lambda_other, guidance.lambda_other);
        settings.lambda_avoid = guidance.lambda_avoid.or(settings.lambda_avoid);
        set(&mut settings.loss_threshold, guidance.loss_threshold);
        set(&mut settings.keep_statistics, guidance.keep_statistics);
        set(&mut settings.guidance_layers, guidance.guidance_layers.clone());
        set(&mut settings.token_weight, guidance.token_weight);
        set(&mut settings.init, guidance.init);
        set(&mut settings.updates, guidance.updates);
        settings
    }
}

/// Checks the ranges; the message names the flag.
///
/// # Errors
/// A [`Misuse`].
pub fn check(settings: &Settings, schedule: &Schedule) -> Result<()> {
    in_range(settings, schedule.max_steps())?;
    noised_in_range(settings, schedule)
}

/// As [`check`], of a schedule that has so many steps.
pub(crate) fn in_range(settings: &Settings, max_steps: usize) -> Result<()> {
    settings.validate(max_steps).map_err(misuse)
}

/// Checks that the schedule has the timesteps that noise is added for.
pub(crate) fn noised_in_range(settings: &Settings, schedule: &Schedule) -> Result<()> {
    settings.validate_noised(schedule).map_err(misuse)
}

/// A setting out of its range, by its flag.
pub(crate) fn misuse(SettingsError { name, found, expected }: SettingsError) -> anyhow::Error {
    Misuse(format!("--{} is {found}, but must be {expected}", name.replace('_', "-"))).into()
}

/// As many guided steps of `steps` as are recommended of the recommended steps; at least one where any is.
fn same_share(recommended: &Settings, steps: usize) -> usize {
    let share = recommended.guided_steps as f64 / recommended.steps.max(1) as f64;
    ((steps as f64 * share).round() as usize).max(usize::from(share > 0.0)).min(steps)
}

fn set<T>(setting: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *setting = said;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Guidance, Masks, Preset as PresetOption, Sampling, Steps};

    use super::*;

    fn steps(count: usize) -> SettingOptions {
        SettingOptions { steps: Steps { steps: Some(count) }, ..SettingOptions::default() }
    }

    fn guided(guidance: Guidance) -> SettingOptions {
        SettingOptions { guidance, ..SettingOptions::default() }
    }

    fn preset(preset: Preset) -> SettingOptions {
        SettingOptions { preset: PresetOption { preset: Some(preset) }, ..SettingOptions::default() }
    }

    #[test]
    fn flags_go_before_recommendations_and_those_before_defaults() {
        let recommended = Settings { guidance_scale: 6.0, lambda_self: 0.5, ..Settings::default() };
        let requested = SettingOptions {
            sampling: Sampling { guidance_scale: Some(3.0), seed: Some(7), ..Sampling::default() },
            ..guided(Guidance { updates: Some(false), ..Guidance::default() })
        };
        let settings = requested.resolve(&recommended);
        assert_eq!((settings.guidance_scale, settings.lambda_self, settings.tau), (3.0, 0.5, 0.4));
        assert_eq!((settings.seed, settings.updates), (7, false));
    }

    #[test]
    fn noise_levels_that_are_recommended_go_with_their_sampler() {
        let recommended =
            Settings { sampler: SamplerName::Dpmpp2m, karras_sigmas: Some(true), ..Settings::default() };
        let karras = |sampler, karras_sigmas| {
            let sampling = Sampling { sampler, karras_sigmas, ..Sampling::default() };
            SettingOptions { sampling, ..SettingOptions::default() }.resolve(&recommended).karras_sigmas
        };
        assert_eq!(karras(None, None), Some(true));
        assert_eq!(karras(Some(SamplerName::Dpmpp2m), None), Some(true));
        assert_eq!(karras(Some(SamplerName::Ddim), None), None);
        assert_eq!(karras(Some(SamplerName::UniPc), Some(true)), Some(true));
    }

    #[test]
    fn fewer_steps_keep_the_guided_share() {
        let recommended = Settings { steps: 20, guided_steps: 10, ..Settings::default() };
        let settings = steps(5).resolve(&recommended);
        assert_eq!((settings.steps, settings.guided_steps), (5, 3));
        assert_eq!(
            guided(Guidance { guided_steps: Some(2), ..Guidance::default() })
                .resolve(&recommended)
                .guided_steps,
            2
        );
        assert_eq!(steps(1).resolve(&Settings::default()).guided_steps, 1);
        let unguided = Settings { guided_steps: 0, ..recommended };
        assert_eq!(steps(5).resolve(&unguided).guided_steps, 0);
    }

    #[test]
    fn the_papers_preset_goes_before_all_recommendations_but_the_guidance_scale() {
        let recommended = Settings {
            steps: 20,
            guided_steps: 10,
            tau: 0.2,
            step_norm: Some(0.02),
            guidance_scale: 6.0,
            init: motionflow::settings::Init::Noise,
            ..Settings::default()
        };
        assert_eq!(preset(Preset::Paper).resolve(&recommended), Settings::paper(6.0));
        let requested = SettingOptions {
            masks: Masks { tau: Some(0.3), ..Masks::default() },
            guidance: Guidance { step_norm: Some(0.1), ..Guidance::default() },
            ..preset(Preset::Paper)
        };
        let settings = requested.resolve(&recommended);
        assert_eq!((settings.step_norm, settings.tau, settings.steps), (Some(0.1), 0.3, 50));
        let fewer = SettingOptions { preset: PresetOption { preset: Some(Preset::Paper) }, ..steps(25) };
        assert_eq!(fewer.resolve(&recommended).guided_steps, 10);
        assert_eq!(preset(Preset::Default).resolve(&recommended), recommended);
    }

    #[test]
    fn a_step_size_turns_a_recommended_norm_off() {
        let recommended = Settings { step_norm: Some(0.02), step_decay: true, ..Settings::default() };
        let resolve = |guidance| guided(guidance).resolve(&recommended);
        assert_eq!(resolve(Guidance { step_size: Some(1000.0), ..Guidance::default() }).step_norm, None);
        assert_eq!(resolve(Guidance { step_norm: Some(0.1), ..Guidance::default() }).step_norm, Some(0.1));
        assert_eq!(resolve(Guidance::default()).step_norm, Some(0.02));
        assert!(!resolve(Guidance { step_decay: Some(false), ..Guidance::default() }).step_decay);
    }
}
