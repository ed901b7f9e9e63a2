//! DPM-Solver++ 2M (<https://arxiv.org/abs/2211.01095>), as diffusers' `DPMSolverMultistepScheduler` computes it.

use tch::Tensor;

use super::levels::Levels;
use super::levels::diffusion::reader;
use crate::error::Error;
use crate::multistep_config::FinalSigma;
use crate::schedule::DiffusionSchedule;
use crate::settings::Settings;

/// Runs of fewer steps end in lower order, where the config does not say otherwise.
const FEW_STEPS: usize = 15;

/// A multistep solver of the second order for the prediction of x₀.
#[derive(Debug)]
pub(super) struct Dpmpp {
    pub(super) levels: Levels,
    is_heun: bool,
    /// Whether the last step is of the first order.
    ends_in_first_order: bool,
}

impl Dpmpp {
    pub(super) fn new(schedule: &DiffusionSchedule, settings: &Settings) -> Result<Self, Error> {
        let (config, reader) = (&schedule.multistep, reader(settings));
        let levels = Levels::of_diffusion(schedule, settings)?;
        match config.algorithm_type.as_deref() {
            None | Some("dpmsolver++" | "deis") => {}
            Some(other) => return Err(reader.wrong("algorithm_type", &other, "dpmsolver++").into()),
        }
        let is_heun = match config.solver_type.as_deref() {
            None | Some("midpoint" | "logrho" | "bh1" | "bh2") => false,
            Some("heun") => true,
            Some(other) => return Err(reader.wrong("solver_type", &other, "midpoint or heun").into()),
        };
        let ends_in_first_order = config.euler_at_final.unwrap_or(false)
            || (config.lower_order_final.unwrap_or(true) && levels.steps() < FEW_STEPS)
            || config.final_sigma(reader)? == FinalSigma::Zero;
        Ok(Self { levels, is_heun, ends_in_first_order })
    }

    /// The latents after the step. `clean` is x₀ as the net sees it now, `before` as it saw it one step before; all of one
    /// shape, float32.
    pub(super) fn step(
        &self,
        index: usize,
        latents: &Tensor,
        clean: &Tensor,
        before: Option<&Tensor>,
    ) -> Tensor {
        let (from, to) = (self.levels.at(index), self.levels.at(index + 1));
        let h = to.lambda - from.lambda;
        let decay = (-h).exp_m1();
        let first_order = latents * (to.noise / from.noise) - clean * (to.signal * decay);
        let is_last = index + 1 == self.levels.steps();
        let Some(before) = before.filter(|_| index > 0 && !(is_last && self.ends_in_first_order)) else {
            return first_order;
        };
        let ratio = (from.lambda - self.levels.at(index - 1).lambda) / h;
        let slope = (clean - before) / ratio;
        if self.is_heun {
            return first_order + slope * (to.signal * (decay / h + 1.0));
        }
        first_order - slope * (0.5 * to.signal * decay)
    }
}
