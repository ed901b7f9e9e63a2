//! The keys of `scheduler_config.json` that only the multistep samplers read.

use std::fmt::Debug;

use serde::Deserialize;
use serde_json::Value;

use crate::nets::config::ConfigError;
use crate::settings::SamplerName;

/// What diffusers' `DPMSolverMultistepScheduler` and `UniPCMultistepScheduler` read besides the noise schedule. A key that is
/// not there, or null, has the default of the sampler that is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MultistepConfig {
    /// Must be 2.
    pub solver_order: Option<i64>,
    /// Of DPM-Solver; must be `dpmsolver++`, or `deis`, which diffusers takes for it.
    pub algorithm_type: Option<String>,
    /// `midpoint` or `heun` of DPM-Solver, `bh1` or `bh2` of UniPC. Another sampler's is taken for the default.
    pub solver_type: Option<String>,
    /// Whether the last steps are of a lower order.
    pub lower_order_final: Option<bool>,
    /// Of DPM-Solver: whether the last step is of the first order.
    pub euler_at_final: Option<bool>,
    /// The noise level after the last step: `zero`, or `sigma_min`, that of the first timestep.
    pub final_sigmas_type: Option<String>,
    /// Of DPM-Solver: noisier timesteps than this log-SNR/2 are left out.
    pub lambda_min_clipped: Option<f64>,
    /// Of UniPC; must be true.
    pub predict_x0: Option<bool>,
    /// Of UniPC; must be null.
    pub solver_p: Option<Value>,
    /// Of UniPC: steps, counted from 0, after which nothing is corrected.
    pub disable_corrector: Option<Vec<i64>>,
    /// Whether the noise levels are those of <https://arxiv.org/abs/2206.00364>.
    pub use_karras_sigmas: Option<bool>,
    /// Of Karras' noise levels; must be null.
    pub sigma_min: Option<f64>,
    /// Of Karras' noise levels; must be null.
    pub sigma_max: Option<f64>,
}

/// The noise level after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalSigma {
    Zero,
    SigmaMin,
}

/// Which sampler reads the keys, and what to take where they cannot be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    /// The sampler that reads them.
    pub(crate) sampler: SamplerName,
    /// One that runs on the same schedule and does not.
    pub(crate) other: SamplerName,
}

impl Reader {
    /// The error of a key that this sampler cannot be run with.
    pub(crate) fn wrong(self, key: &str, found: &dyn Debug, expected: &str) -> ConfigError {
        let Self { sampler, other } = self;
        let expected = format!("{expected} with --sampler {sampler}; --sampler {other} does not read it");
        ConfigError::new("scheduler", key, found, expected)
    }
}

impl MultistepConfig {
    /// What both samplers must find as it is.
    pub(crate) fn check(&self, reader: Reader, karras: bool) -> Result<(), ConfigError> {
        if let Some(order) = self.solver_order.filter(|order| *order != 2) {
            return Err(reader.wrong("solver_order", &order, "2"));
        }
        for (key, value) in [("sigma_min", self.sigma_min), ("sigma_max", self.sigma_max)] {
            if let Some(value) = value.filter(|_| karras) {
                return Err(reader.wrong(key, &value, "null"));
            }
        }
        Ok(())
    }

    pub(crate) fn final_sigma(&self, reader: Reader) -> Result<FinalSigma, ConfigError> {
        match self.final_sigmas_type.as_deref() {
            None | Some("zero") => Ok(FinalSigma::Zero),
            Some("sigma_min") => Ok(FinalSigma::SigmaMin),
            Some(other) => Err(reader.wrong("final_sigmas_type", &other, "zero or sigma_min")),
        }
    }
}
