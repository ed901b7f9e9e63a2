//! The noise levels of diffusion.

use super::{Kind, Levels};
use crate::error::Error;
use crate::multistep_config::{FinalSigma, Reader};
use crate::schedule::DiffusionSchedule;
use crate::settings::{SamplerName, Settings, TimestepSpacing};
use crate::spacing;

/// What takes the place of ᾱ = 0 at the last timestep, where σ would be infinite.
const LEAST_ALPHA: f64 = 1.0 / 16_777_216.0;

impl Levels {
    /// Those of diffusion, as settings ask for them.
    pub(in crate::sampler) fn of_diffusion(
        schedule: &DiffusionSchedule,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let (sampler, steps) = (settings.sampler, settings.steps);
        let reader = reader(settings);
        let config = &schedule.multistep;
        let karras = settings.karras_sigmas.or(config.use_karras_sigmas).unwrap_or(false);
        config.check(reader, karras)?;
        let last_sigma = config.final_sigma(reader)?;
        let mut alphas = schedule.alphas_cumprod().to_vec();
        if let Some(last) = alphas.last_mut().filter(|_| schedule.zero_snr) {
            *last = LEAST_ALPHA;
        }
        // In float32, as diffusers has them.
        let sigmas: Vec<f32> =
            alphas.iter().map(|alpha| ((1.0 - *alpha as f32) / *alpha as f32).sqrt()).collect();
        let (timesteps, mut levels) = if karras {
            let levels = karras_sigmas(&sigmas, steps);
            let rounds = sampler != SamplerName::Dpmpp2m || !schedule.is_cosine;
            let timesteps = levels.iter().map(|sigma| timestep_of(*sigma, &sigmas));
            let timesteps = timesteps.map(|t| if rounds { t.round_ties_even() } else { t } as i64);
            (timesteps.collect(), levels)
        } else {
            let spaced = spaced(schedule, settings, &sigmas)?;
            let levels = spaced.iter().map(|timestep| f64::from(sigmas[*timestep as usize])).collect();
            (spaced, levels)
        };
        let lowest = match levels.last() {
            Some(lowest) if karras && sampler == SamplerName::UniPc => *lowest,
            _ => f64::from(sigmas[0]),
        };
        levels.push(if last_sigma == FinalSigma::Zero { 0.0 } else { lowest });
        let sigmas = levels.into_iter().map(|sigma| f64::from(sigma as f32)).collect();
        Ok(Self { timesteps, sigmas, kind: Kind::Diffusion(schedule.prediction_type) })
    }
}

/// DDIM reads none of the keys.
pub(in crate::sampler) fn reader(settings: &Settings) -> Reader {
    Reader { sampler: settings.sampler, other: SamplerName::Ddim }
}

/// Timesteps, descending. The one of the least noise, from which no step would lead down, is left out.
fn spaced(schedule: &DiffusionSchedule, settings: &Settings, sigmas: &[f32]) -> Result<Vec<i64>, Error> {
    let (count, steps) = (sigmas.len(), settings.steps);
    let spacing = settings.timestep_spacing.or(schedule.spacing).unwrap_or(TimestepSpacing::Linspace);
    let is_noisier = |least: f64| sigmas.iter().filter(|sigma| -f64::from(sigma.ln()) < least).count();
    let least = schedule.multistep.lambda_min_clipped.filter(|_| settings.sampler == SamplerName::Dpmpp2m);
    let clipped = least.map_or(0, is_noisier);
    let last = count - clipped;
    if let Some(least) = least.filter(|_| clipped > 0 && (spacing == TimestepSpacing::Trailing || last == 0))
    {
        let expected = "what leaves out no timestep, with timestep_spacing trailing, or not all";
        return Err(reader(settings).wrong("lambda_min_clipped", &least, expected).into());
    }
    let mut timesteps = match spacing {
        TimestepSpacing::Leading => {
            spacing::leading((last / (steps + 1)) as i64, steps + 1, schedule.steps_offset).split_off(1)
        }
        TimestepSpacing::Linspace => spacing::linspace(last, steps + 1).split_off(1),
        TimestepSpacing::Trailing => spacing::trailing(last, count, steps),
    };
    spacing::check(&timesteps, steps, count, spacing)?;
    timesteps.reverse();
    Ok(timesteps)
}

/// `steps` noise levels, descending, between those of the schedule, whose 7th roots go in equal steps.
fn karras_sigmas(sigmas: &[f32], steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let root = |sigma: f32| f64::from(sigma).powf(1.0 / RHO);
    let (most, least) = (root(sigmas[sigmas.len() - 1]), root(sigmas[0]));
    let part = |index: usize| match steps {
        1 => 0.0,
        _ => index as f64 / (steps - 1) as f64,
    };
    (0..steps).map(|index| (most + part(index) * (least - most)).powf(RHO)).collect()
}

/// The timestep of a noise level, between two where it lies between theirs.
fn timestep_of(sigma: f64, sigmas: &[f32]) -> f64 {
    let log = sigma.max(1e-10).ln();
    let below = sigmas.iter().rposition(|sigma| f64::from(sigma.ln()) <= log).unwrap_or(0);
    let below = below.min(sigmas.len().saturating_sub(2));
    let Some(above) = sigmas.get(below + 1) else { return 0.0 };
    let (low, high) = (sigmas[below].ln(), above.ln());
    let part = ((f64::from(low) - log) / f64::from(low - high)).clamp(0.0, 1.0);
    (1.0 - part) * below as f64 + part * (below + 1) as f64
}
