//! The noise levels of flow matching that UniPC takes, as diffusers' `UniPCMultistepScheduler` with `use_flow_sigmas` computes
//! them. They are others than Euler's.

use super::{Kind, Levels};
use crate::error::Error;
use crate::multistep_config::{FinalSigma, Reader};
use crate::schedule::FlowSchedule;
use crate::settings::{SamplerName, Settings, SettingsError};

/// So far below 1 is the first level, where λ would be infinite.
const EPSILON: f64 = 1e-6;

/// Euler reads none of the keys.
pub(in crate::sampler) const READER: Reader =
    Reader { sampler: SamplerName::UniPc, other: SamplerName::Euler };

impl Levels {
    /// Those of flow matching: spaced evenly from 1 to above 1 / timesteps in training, shifted, and 0 behind the last. A
    /// timestep is σ · timesteps in training without its fraction.
    pub(in crate::sampler) fn of_flow(schedule: &FlowSchedule, settings: &Settings) -> Result<Self, Error> {
        let (steps, trained) = (settings.steps, schedule.train_timesteps() as f64);
        schedule.multistep.check(READER, false)?;
        let final_sigma = schedule.multistep.final_sigma(READER)?;
        let between = (1.0 / trained - 1.0) / steps as f64;
        let mut levels: Vec<f64> =
            (0..steps).map(|index| schedule.shifted(index as f64 * between + 1.0)).collect();
        if let Some(first) = levels.first_mut().filter(|first| (**first - 1.0).abs() < EPSILON) {
            *first -= EPSILON;
        }
        let timesteps = levels.iter().map(|sigma| (sigma * trained) as i64).collect();
        let mut sigmas: Vec<f64> = levels.iter().map(|sigma| f64::from(*sigma as f32)).collect();
        if !sigmas.is_sorted_by(|one, next| one > next) {
            let expected = "fewer: with --sampler unipc the first noise levels do not descend with so many";
            let (name, found) = ("steps", steps.to_string());
            return Err(SettingsError { name, found, expected: expected.to_owned() }.into());
        }
        sigmas.push(match final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => sigmas.last().copied().unwrap_or(0.0),
        });
        Ok(Self { timesteps, sigmas, kind: Kind::Flow })
    }
}
