//! How the net runs in each sampling step: with both halves of classifier-free guidance or one, whole or in part.

use crate::error::Error;
use crate::sampler::Sampler;
use crate::schedule::Schedule;
use crate::settings::Settings;

/// How the net runs in one sampling step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPlan {
    /// Whether it runs under the negative prompt, too.
    pub has_guidance: bool,
    /// What becomes of its deep features.
    pub features: Features,
}

/// What becomes of the deep features of a net (DeepCache, <https://arxiv.org/abs/2312.00858>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// They are computed.
    Computed,
    /// They are computed, and kept for the next steps.
    Kept,
    /// They are those that were kept.
    Reused,
}

impl Settings {
    /// How the net runs in each sampling step on this schedule.
    ///
    /// # Errors
    /// As [`Sampler::new`].
    pub fn step_plans(&self, schedule: &Schedule) -> Result<Vec<StepPlan>, Error> {
        Ok(step_plans(&Sampler::new(schedule, self)?, self))
    }
}

/// Guided updates change what the net sees, and so features are kept and reused in the steps without them alone; nor do
/// those of both halves serve one, or the other way round.
pub(crate) fn step_plans(sampler: &Sampler, settings: &Settings) -> Vec<StepPlan> {
    let updated = if settings.is_guided() { settings.guided_steps } else { 0 };
    let mut plans: Vec<StepPlan> = Vec::new();
    let mut since_kept = 0;
    for index in 0..sampler.timesteps().len() {
        let sigma = sampler.noise_level(index);
        let has_guidance = settings.guidance_interval.is_none_or(|interval| interval.contains(sigma));
        let is_alike = plans.last().is_some_and(|last| last.has_guidance == has_guidance);
        let features = if index < updated || settings.deepcache_interval <= 1 {
            Features::Computed
        } else if index > updated && is_alike && since_kept + 1 < settings.deepcache_interval {
            since_kept += 1;
            Features::Reused
        } else {
            since_kept = 0;
            Features::Kept
        };
        plans.push(StepPlan { has_guidance, features });
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::ScheduleConfig;

    fn plans(settings: &Settings) -> Vec<StepPlan> {
        let config = ScheduleConfig { class_name: Some("DDIMScheduler".into()), ..ScheduleConfig::default() };
        settings.step_plans(&Schedule::new(&config).unwrap()).unwrap()
    }

    fn settings() -> Settings {
        Settings { steps: 10, guided_steps: 3, ..Settings::default() }
    }

    #[test]
    fn by_default_every_step_is_whole_and_has_guidance() {
        let plain = StepPlan { has_guidance: true, features: Features::Computed };
        assert_eq!(plans(&settings()), [plain; 10]);
    }

    #[test]
    fn features_are_reused_in_steps_without_updates_alone() {
        use Features::{Computed, Kept, Reused};
        let of = |settings: &Settings| plans(settings).iter().map(|plan| plan.features).collect::<Vec<_>>();
        let cached = Settings { deepcache_interval: 3, ..settings() };
        let after = [Kept, Reused, Reused, Kept, Reused, Reused, Kept];
        assert_eq!(of(&cached), [&[Computed; 3][..], &after].concat());
        let plain = Settings { updates: false, ..cached };
        assert_eq!(of(&plain)[..4], [Kept, Reused, Reused, Kept]);
    }

    #[test]
    fn guidance_lies_between_two_noise_levels_and_features_do_not_cross_its_ends() {
        let interval = Some("0.5:5".parse().unwrap());
        let settings =
            Settings { guidance_interval: interval, deepcache_interval: 10, updates: false, ..settings() };
        let plans = plans(&settings);
        let guided: Vec<bool> = plans.iter().map(|plan| plan.has_guidance).collect();
        let first = guided.iter().position(|guided| *guided).unwrap();
        let count = guided.iter().filter(|guided| **guided).count();
        assert!(first > 0 && first + count < 10 && guided[first..first + count].iter().all(|guided| *guided));
        let kept: Vec<usize> = (0..10).filter(|index| plans[*index].features == Features::Kept).collect();
        assert_eq!(kept, [0, first, first + count]);
    }
}
