//! Every setting of a run: what the flags say, else what the checkpoint recommends, else the general default.

use anyhow::Result;
use motionflow::schedule::Schedule;
use motionflow::settings::{Settings, SettingsError};

use crate::args;
use crate::failure::Misuse;
use crate::recommended;

impl args::Video {
    /// Fills in what was not said.
    pub(crate) fn resolve(&self, recommended: &recommended::Video) -> Result<recommended::Video> {
        let fps = self.fps.unwrap_or(recommended.fps);
        if !(fps > 0.0 && fps <= 1000.0) {
            return Err(Misuse(format!("--fps is {fps}, but must be over 0 and at most 1000")).into());
        }
        Ok(recommended::Video {
            width: self.width.unwrap_or(recommended.width),
            height: self.height.unwrap_or(recommended.height),
            frames: self.frames.unwrap_or(recommended.frames),
            fps,
        })
    }
}

/// The flags that change settings, in one place. A command gives the groups that it has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SettingFlags<'a> {
    pub(crate) steps: Option<usize>,
    pub(crate) tau: Option<f64>,
    pub(crate) sampling: Option<&'a args::Sampling>,
    pub(crate) guidance: Option<&'a args::Guidance>,
}

impl SettingFlags<'_> {
    /// Fills in what was not said.
    pub(crate) fn resolve(&self, recommended: &Settings) -> Settings {
        let mut settings = recommended.clone();
        let guided_steps = self.guidance.and_then(|flags| flags.guided_steps);
        if let (Some(steps), None) = (self.steps, guided_steps) {
            settings.guided_steps = same_share(recommended, steps);
        }
        set(&mut settings.steps, self.steps);
        set(&mut settings.guided_steps, guided_steps);
        set(&mut settings.tau, self.tau);
        if let Some(flags) = self.sampling {
            set(&mut settings.guidance_scale, flags.guidance_scale);
            set(&mut settings.seed, flags.seed);
        }
        if let Some(flags) = self.guidance {
            if flags.step_size.is_some() {
                // One way to move excludes the other, also one that is recommended.
                settings.step_norm = None;
            }
            settings.step_norm = flags.step_norm.or(settings.step_norm);
            set(&mut settings.step_size, flags.step_size);
            set(&mut settings.step_decay, flags.step_decay);
            set(&mut settings.updates_per_step, flags.updates_per_step);
            set(&mut settings.lambda_cross, flags.lambda_cross);
            set(&mut settings.lambda_self, flags.lambda_self);
            set(&mut settings.lambda_temporal, flags.lambda_temporal);
            set(&mut settings.init, flags.init);
            settings.updates &= !flags.no_updates;
        }
        settings
    }
}

/// Checks the ranges; the message names the flag.
pub(crate) fn check(settings: &Settings, schedule: &Schedule) -> Result<()> {
    settings.validate(schedule.max_steps()).map_err(|SettingsError { name, found, expected }| {
        Misuse(format!("--{} is {found}, but must be {expected}", name.replace('_', "-"))).into()
    })
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
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, Transfer};

    fn transfer(flags: &[&str]) -> Transfer {
        let always = ["motionflow", "transfer", "--inversion", "inv", "-p", "a [panda]"];
        match Cli::parse_from(always.iter().chain(flags)).command {
            Command::Transfer(transfer) => transfer,
            other => panic!("{other:?}"),
        }
    }

    fn resolve(recommended: &Settings, flags: &[&str]) -> Settings {
        let args = transfer(flags);
        let flags = SettingFlags {
            steps: args.steps.steps,
            sampling: Some(&args.sampling),
            tau: args.tau.tau,
            guidance: Some(&args.guidance),
        };
        flags.resolve(recommended)
    }

    #[test]
    fn flags_go_before_recommendations_and_those_before_defaults() {
        let recommended = Settings { guidance_scale: 6.0, lambda_self: 0.5, ..Settings::default() };
        let settings = resolve(&recommended, &["--cfg-scale", "3", "--seed", "7", "--no-updates"]);
        assert_eq!((settings.guidance_scale, settings.lambda_self, settings.tau), (3.0, 0.5, 0.4));
        assert_eq!((settings.seed, settings.updates), (7, false));
    }

    #[test]
    fn fewer_steps_keep_the_guided_share() {
        let recommended = Settings { steps: 20, guided_steps: 10, ..Settings::default() };
        let few = SettingFlags { steps: Some(5), ..SettingFlags::default() };
        let settings = few.resolve(&recommended);
        assert_eq!((settings.steps, settings.guided_steps), (5, 3));
        assert_eq!(resolve(&recommended, &["--guided-steps", "2"]).guided_steps, 2);
        let single = SettingFlags { steps: Some(1), ..SettingFlags::default() };
        assert_eq!(single.resolve(&Settings::default()).guided_steps, 1);
        let unguided = Settings { guided_steps: 0, ..recommended };
        assert_eq!(few.resolve(&unguided).guided_steps, 0);
    }

    #[test]
    fn a_step_size_turns_a_recommended_norm_off() {
        let recommended = Settings { step_norm: Some(0.02), step_decay: true, ..Settings::default() };
        assert_eq!(resolve(&recommended, &["--step-size", "1000"]).step_norm, None);
        assert_eq!(resolve(&recommended, &["--step-norm", "0.1"]).step_norm, Some(0.1));
        assert_eq!(resolve(&recommended, &[]).step_norm, Some(0.02));
        assert!(!resolve(&recommended, &["--step-decay=false"]).step_decay);
    }
}
