//! The timesteps and noise levels of the multistep samplers.

pub(super) mod diffusion;
pub(super) mod flow;

use tch::Tensor;

use crate::schedule::PredictionType;

/// Timesteps, descending, and σ at each and after the last: √((1−ᾱ)/ᾱ) of diffusion, or the σ of flow matching.
#[derive(Debug)]
pub(super) struct Levels {
    pub(super) timesteps: Vec<i64>,
    sigmas: Vec<f64>,
    kind: Kind,
}

/// What σ and the net's prediction mean.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Diffusion(PredictionType),
    /// The prediction is ε − x₀.
    Flow,
}

/// One noise level: z = `signal`·x₀ + `noise`·ε.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) signal: f64,
    pub(super) noise: f64,
    /// ln(signal/noise)
    pub(super) lambda: f64,
}

impl Levels {
    /// The noise level at a step; behind the last step, the one that it leads to.
    pub(super) fn at(&self, index: usize) -> Level {
        let sigma = self.sigmas[index];
        match self.kind {
            Kind::Diffusion(_) => {
                let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
                Level { signal, noise: sigma * signal, lambda: -sigma.ln() }
            }
            Kind::Flow => {
                let signal = 1.0 - sigma;
                Level { signal, noise: sigma, lambda: (signal / sigma).ln() }
            }
        }
    }

    /// What the noise has of the signal at a step.
    pub(super) fn noise_level(&self, index: usize) -> f64 {
        let sigma = self.sigmas[index];
        match self.kind {
            Kind::Diffusion(_) => sigma,
            Kind::Flow => sigma / (1.0 - sigma),
        }
    }

    /// x₀ as the net sees it at a step; all of one shape, float32.
    pub(super) fn clean(&self, index: usize, latents: &Tensor, prediction: &Tensor) -> Tensor {
        let level = self.at(index);
        match self.kind {
            Kind::Diffusion(kind) => kind.clean(latents, prediction, level.signal, level.noise),
            Kind::Flow => latents - prediction * level.noise,
        }
    }

    pub(super) fn steps(&self) -> usize {
        self.timesteps.len()
    }
}
