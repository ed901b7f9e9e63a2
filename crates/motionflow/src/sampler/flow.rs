//! Which samplers run on a schedule of flow matching: Euler, and UniPC where no motion is transferred.

use super::euler::Euler;
use super::levels::Levels;
use super::levels::flow::READER;
use super::unipc::UniPc;
use super::{Sampler, Solver, other_sampler};
use crate::error::Error;
use crate::schedule::FlowSchedule;
use crate::settings::{Init, SamplerName, Settings, SettingsError};
use crate::timestep::Timestep;

/// The sampler that `settings` name.
pub(super) fn sampler<'a>(schedule: &FlowSchedule, settings: &Settings) -> Result<Sampler<'a>, Error> {
    match settings.sampler {
        SamplerName::Euler => {
            check(schedule, settings)?;
            let euler = Euler::new(schedule, settings.steps);
            let (timesteps, mask_keys) = (euler.timesteps(), euler.keys());
            Ok(Sampler { solver: Solver::Euler(euler), timesteps, mask_keys })
        }
        SamplerName::UniPc => {
            if settings.is_guided() || settings.init == Init::Inverted {
                let expected = "euler where the motion of a source is transferred, whose inversion is Euler's: unipc is for \
                                generating from a prompt alone";
                return Err(wrong("sampler", &settings.sampler.to_string(), expected));
            }
            check(schedule, settings)?;
            let levels = Levels::of_flow(schedule, settings)?;
            let unipc = UniPc::new(levels, &schedule.multistep, READER)?;
            let timesteps: Vec<Timestep> =
                unipc.levels.timesteps.iter().copied().map(Timestep::from).collect();
            let mask_keys = nearest(schedule, &timesteps);
            Ok(Sampler { solver: Solver::UniPc(unipc), timesteps, mask_keys })
        }
        SamplerName::Ddim | SamplerName::Dpmpp2m => {
            Err(other_sampler(settings, "euler, or unipc to generate from a prompt alone,"))
        }
    }
}

/// What no sampler of flow matching has, and how many steps there are.
fn check(schedule: &FlowSchedule, settings: &Settings) -> Result<(), Error> {
    let expected = "left out on a checkpoint of flow matching, whose noise levels it does not move";
    if settings.timestep_spacing.is_some() {
        return Err(wrong("timestep_spacing", "set", expected));
    }
    if settings.karras_sigmas == Some(true) {
        return Err(wrong("karras_sigmas", "on", expected));
    }
    schedule.check_inversion(settings.steps)
}

fn wrong(name: &'static str, found: &str, expected: &str) -> Error {
    SettingsError { name, found: found.to_owned(), expected: expected.to_owned() }.into()
}

/// For each timestep the key of the nearest step of an inversion of as many.
fn nearest(schedule: &FlowSchedule, timesteps: &[Timestep]) -> Vec<i64> {
    let inverted = schedule.ascending(timesteps.len());
    let key_of = |timestep: &Timestep| {
        let distance = |key: Timestep| (key.value() - timestep.value()).abs();
        let nearer =
            inverted.iter().min_by(|one, other| distance(one.timestep).total_cmp(&distance(other.timestep)));
        nearer.map(|step| step.key)
    };
    timesteps.iter().filter_map(key_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{FlowConfig, Schedule};

    const SHIFT: &str = r#", "flow_shift": 3"#;

    fn schedule(keys: &str) -> Schedule {
        let json = format!(
            "{{\"_class_name\": \"UniPCMultistepScheduler\", \"prediction_type\": \"flow_prediction\", \
             \"use_flow_sigmas\": true{keys}}}"
        );
        Schedule::Flow(FlowSchedule::new(&serde_json::from_str::<FlowConfig>(&json).unwrap()).unwrap())
    }

    fn plain() -> Settings {
        let (sampler, init) = (SamplerName::UniPc, Init::Noise);
        Settings { steps: 6, guided_steps: 2, sampler, init, updates: false, ..Settings::default() }
    }

    fn message(keys: &str, settings: &Settings) -> String {
        Sampler::new(&schedule(keys), settings).unwrap_err().to_string()
    }

    #[test]
    fn unipc_is_refused_where_motion_is_transferred() {
        let expected = "sampler is unipc, but must be euler where the motion of a source is transferred";
        for settings in [
            Settings { updates: true, ..plain() },
            Settings { init: Init::Inverted, ..plain() },
            Settings { sampler: SamplerName::UniPc, ..Settings::default() },
        ] {
            let message = message("", &settings);
            assert!(message.starts_with(expected), "{message}");
        }
        let unguided = Settings { updates: true, guided_steps: 0, ..plain() };
        for settings in [plain(), unguided] {
            assert!(Sampler::new(&schedule(""), &settings).is_ok());
        }
        let ddim = message("", &Settings { sampler: SamplerName::Ddim, ..plain() });
        assert!(ddim.starts_with("sampler is ddim, but must be euler, or unipc"), "{ddim}");
    }

    #[test]
    fn unipc_has_the_inversions_nearest_steps_and_a_noise_level() {
        let schedule = schedule(SHIFT);
        let sampler = Sampler::new(&schedule, &plain()).unwrap();
        assert_eq!(sampler.timesteps()[0], 999.into());
        assert_eq!(sampler.mask_keys().len(), 6);
        assert!(sampler.mask_keys().is_sorted_by(|one, next| one >= next), "{:?}", sampler.mask_keys());
        assert_eq!(sampler.mask_keys()[0], 5);
        // σ = 3·x/(1 + 2·x) at x = 1 − 0.999·3/6
        let sigma = 3.0 * 0.5005 / (1.0 + 2.0 * 0.5005);
        assert!((sampler.noise_level(3) - sigma / (1.0 - sigma)).abs() < 1e-5);
    }

    #[test]
    fn the_first_level_of_euler_is_all_noise_where_float32_puts_it_above_1() {
        let schedule = schedule(r#", "flow_shift": 0.66"#);
        let euler = Settings { sampler: SamplerName::Euler, ..plain() };
        let sampler = Sampler::new(&schedule, &euler).unwrap();
        assert!(sampler.timesteps()[0] > 1000.into());
        assert!(sampler.noise_level(0) == f64::INFINITY && sampler.noise_level(1).is_finite());
    }

    #[test]
    fn what_unipc_cannot_run_is_told_by_key_or_by_setting() {
        for (keys, key) in [
            (r#", "solver_order": 3"#, "solver_order is 3,"),
            (r#", "predict_x0": false"#, "predict_x0 is"),
            (r#", "solver_p": {"a": 1}"#, "solver_p is"),
            (r#", "solver_type": "bh1""#, "solver_type is"),
            (r#", "solver_type": "rk""#, "solver_type is"),
            (r#", "lower_order_final": false"#, "lower_order_final is"),
            (r#", "final_sigmas_type": "one""#, "final_sigmas_type is"),
        ] {
            let message = message(keys, &plain());
            assert!(message.contains(key) && message.contains("--sampler euler does not"), "{message}");
            let euler = Settings { sampler: SamplerName::Euler, ..plain() };
            assert!(Sampler::new(&schedule(keys), &euler).is_ok());
        }
        let karras = Settings { karras_sigmas: Some(true), ..plain() };
        assert!(message("", &karras).starts_with("karras_sigmas is on"));
        let many = Settings { steps: 1001, ..plain() };
        assert!(message("", &many).starts_with("steps is 1001"));
        let close = Settings { steps: 1000, ..plain() };
        let message = message(r#", "num_train_timesteps": 100000, "flow_shift": 1000"#, &close);
        assert!(message.starts_with("steps is 1000, but must be fewer"), "{message}");
    }
}
