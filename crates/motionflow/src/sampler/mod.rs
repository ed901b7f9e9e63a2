//! From noise to a video: how the latents go from one noise level to the next.
//!
//! Each sampler is one of diffusers' schedulers, and a test compares it with that one, step by step. A multistep sampler
//! remembers what the net saw in earlier steps; guided updates move the latents between steps, and what was seen stays as
//! it was seen.

mod ddim;
mod dpmpp;
mod euler;
mod flow;
mod levels;
mod unipc;

use tch::{Kind, Tensor};

use self::ddim::Ddim;
use self::dpmpp::Dpmpp;
use self::euler::Euler;
use self::levels::Levels;
use self::unipc::UniPc;
use crate::error::Error;
use crate::schedule::{DiffusionSchedule, Schedule};
use crate::settings::{SamplerName, Settings, SettingsError};
use crate::timestep::Timestep;

/// x₀ of so many earlier steps is remembered.
const REMEMBERED: usize = 2;

/// What a multistep sampler remembers of the steps that are done. Empty with DDIM, which remembers nothing.
#[derive(Debug, Default)]
pub struct History {
    /// x₀ as the net saw it in the last steps, the latest last; each of the latents' shape, float32.
    pub clean: Vec<Tensor>,
    /// The latents that the last step began with, where it can still be corrected.
    pub began: Option<Tensor>,
}

impl History {
    /// The same on another device.
    #[must_use]
    pub fn on(&self, device: tch::Device) -> Self {
        Self {
            clean: self.clean.iter().map(|clean| clean.to_device(device)).collect(),
            began: self.began.as_ref().map(|began| began.to_device(device)),
        }
    }

    fn remember(&mut self, clean: Tensor, most: usize) {
        self.clean.push(clean);
        let surplus = self.clean.len().saturating_sub(most);
        self.clean.drain(..surplus);
    }
}

/// A sampler with its timesteps, as settings ask for it.
#[derive(Debug)]
pub struct Sampler<'a> {
    solver: Solver<'a>,
    timesteps: Vec<Timestep>,
    mask_keys: Vec<i64>,
}

#[derive(Debug)]
enum Solver<'a> {
    Ddim(Ddim<'a>),
    Dpmpp(Dpmpp),
    UniPc(UniPc),
    Euler(Euler),
}

impl<'a> Sampler<'a> {
    /// The sampler that `settings` name, over a checkpoint's schedule.
    ///
    /// # Errors
    /// [`Error::Settings`] for a number of steps that the sampler cannot make, [`Error::Config`] for a key of the
    /// checkpoint's scheduler that it cannot be run with.
    pub fn new(schedule: &'a Schedule, settings: &Settings) -> Result<Self, Error> {
        match schedule {
            Schedule::Diffusion(diffusion) => Self::of_diffusion(diffusion, settings),
            Schedule::Flow(flow) => flow::sampler(flow, settings),
        }
    }

    fn of_diffusion(schedule: &'a DiffusionSchedule, settings: &Settings) -> Result<Self, Error> {
        let solver = match settings.sampler {
            SamplerName::Ddim => Solver::Ddim(Ddim::new(schedule, settings)?),
            SamplerName::Dpmpp2m => Solver::Dpmpp(Dpmpp::new(schedule, settings)?),
            SamplerName::UniPc => {
                let levels = Levels::of_diffusion(schedule, settings)?;
                Solver::UniPc(UniPc::new(levels, &schedule.multistep, levels::diffusion::reader(settings))?)
            }
            SamplerName::Euler => return Err(other_sampler(settings, "ddim, dpmpp-2m or unipc")),
        };
        let timesteps = match &solver {
            Solver::Ddim(ddim) => ddim.timesteps(),
            Solver::Dpmpp(dpmpp) => dpmpp.levels.timesteps.clone(),
            Solver::UniPc(unipc) => unipc.levels.timesteps.clone(),
            Solver::Euler(_) => Vec::new(),
        };
        let inverted = schedule.timesteps(settings.steps, schedule.ddim_spacing());
        let nearest =
            |timestep: &i64| inverted.iter().copied().min_by_key(|inverted| (inverted - timestep).abs());
        let mask_keys = timesteps.iter().filter_map(nearest).collect();
        Ok(Self { solver, timesteps: timesteps.into_iter().map(Timestep::from).collect(), mask_keys })
    }

    /// The timesteps of the steps, noise descending.
    pub fn timesteps(&self) -> &[Timestep] {
        &self.timesteps
    }

    /// What the noise has of the signal at the beginning of a step: σ = √((1−ᾱ)/ᾱ), or σ/(1−σ) of flow matching.
    pub fn noise_level(&self, index: usize) -> f64 {
        match &self.solver {
            Solver::Ddim(ddim) => ddim.noise_level(index),
            Solver::Dpmpp(dpmpp) => dpmpp.levels.noise_level(index),
            Solver::UniPc(unipc) => unipc.levels.noise_level(index),
            Solver::Euler(euler) => euler.noise_level(index),
        }
    }

    /// For each step the key of the nearest one of an inversion of as many steps, whose masks guide it. With Euler, and with
    /// DDIM spaced as the inversion is, its own.
    pub fn mask_keys(&self) -> &[i64] {
        &self.mask_keys
    }

    /// The latents after the step `index`, counted from 0, of the net's prediction for `latents`; all of one shape, float32.
    ///
    /// UniPC corrects the latents that it has predicted once the net has seen them, from what was before them. Where a guided
    /// update has `moved` them, that would undo the move, and they stay as they are.
    pub fn step(
        &self,
        index: usize,
        latents: &Tensor,
        prediction: &Tensor,
        moved: bool,
        history: &mut History,
    ) -> Tensor {
        let levels = match &self.solver {
            Solver::Ddim(ddim) => return ddim.step(index, latents, prediction),
            Solver::Euler(euler) => return euler.step(index, latents, prediction),
            Solver::Dpmpp(dpmpp) => &dpmpp.levels,
            Solver::UniPc(unipc) => &unipc.levels,
        };
        let (latents, prediction) = (latents.to_kind(Kind::Float), prediction.to_kind(Kind::Float));
        let clean = levels.clean(index, &latents, &prediction);
        match &self.solver {
            Solver::Ddim(_) | Solver::Euler(_) => latents,
            Solver::Dpmpp(dpmpp) => {
                let next = dpmpp.step(index, &latents, &clean, history.clean.last());
                history.remember(clean, 1);
                next
            }
            Solver::UniPc(unipc) => {
                let corrected = match &history.began {
                    Some(began) if !moved && unipc.corrects(index) => {
                        unipc.correct(index, began, &clean, &history.clean)
                    }
                    _ => latents,
                };
                let next = unipc.predict(index, &corrected, &clean, &history.clean);
                history.remember(clean, REMEMBERED);
                history.began = Some(corrected);
                next
            }
        }
    }
}

/// The sampler that is asked for is none of those that run on the checkpoint's schedule.
fn other_sampler(settings: &Settings, expected: &str) -> Error {
    let expected = format!("{expected} on this checkpoint's noise schedule");
    SettingsError { name: "sampler", found: settings.sampler.to_string(), expected }.into()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::schedule::ScheduleConfig;
    use crate::settings::TimestepSpacing;

    const STEPS: usize = 8;

    fn schedule(keys: &str) -> Schedule {
        let json = format!(
            "{{\"_class_name\": \"DDIMScheduler\", \"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085, \
             \"beta_end\": 0.012, \"clip_sample\": false, \"steps_offset\": 1{keys}}}"
        );
        Schedule::new(&serde_json::from_str::<ScheduleConfig>(&json).unwrap()).unwrap()
    }

    fn settings(sampler: SamplerName) -> Settings {
        Settings { steps: STEPS, guided_steps: 2, sampler, ..Settings::default() }
    }

    fn values(timesteps: &[Timestep]) -> Vec<i64> {
        timesteps.iter().map(|timestep| timestep.value() as i64).collect()
    }

    fn message(keys: &str, settings: &Settings) -> String {
        Sampler::new(&schedule(keys), settings).unwrap_err().to_string()
    }

    #[test]
    fn masks_are_those_of_the_nearest_timestep() {
        let schedule = schedule("");
        let of = |settings: &Settings| {
            let sampler = Sampler::new(&schedule, settings).unwrap();
            (values(sampler.timesteps()), sampler.mask_keys().to_vec())
        };
        let (timesteps, masks) = of(&settings(SamplerName::Ddim));
        assert_eq!((&timesteps, timesteps[0]), (&masks, 876));
        let multistep = settings(SamplerName::Dpmpp2m);
        let (timesteps, masks) = of(&multistep);
        assert_eq!(timesteps, [999, 874, 749, 624, 500, 375, 250, 125]);
        assert_eq!(masks, [876, 876, 751, 626, 501, 376, 251, 126]);
        assert_eq!(multistep.guided_timesteps(&schedule).unwrap(), [876], "each once");
        let trailing =
            Settings { timestep_spacing: Some(TimestepSpacing::Trailing), ..settings(SamplerName::Ddim) };
        assert_eq!(of(&trailing).0[0], 999);
    }

    #[test]
    fn the_corrector_leaves_latents_alone_that_an_update_has_moved() {
        let schedule = schedule("");
        let unipc = settings(SamplerName::UniPc);
        let sampler = Sampler::new(&schedule, &unipc).unwrap();
        let z = Tensor::from_slice(&[1f32, -0.5, 0.25]);
        let prediction = z.sin();
        let second = |moved: bool, by: f64| {
            let mut history = History::default();
            let latents = sampler.step(0, &z, &prediction, false, &mut history) + by;
            (sampler.step(1, &latents, &prediction, moved, &mut history), history)
        };
        let differ = |one: &Tensor, other: &Tensor| (one - other).abs().max().double_value(&[]);
        let (kept, history) = second(true, 1.0);
        let began = history.began.unwrap();
        let (plain, _) = second(false, 0.0);
        assert!(differ(&kept, &plain) > 0.1, "the move is still there");
        let mut alone =
            History { clean: history.clean[..1].iter().map(Tensor::shallow_clone).collect(), began: None };
        assert_eq!(sampler.step(1, &began, &prediction, true, &mut alone), kept);
    }

    #[test]
    fn a_step_needs_no_more_than_the_history_of_those_before_it() {
        let schedule = schedule("");
        for name in [SamplerName::Ddim, SamplerName::Dpmpp2m, SamplerName::UniPc] {
            let settings = settings(name);
            let sampler = Sampler::new(&schedule, &settings).unwrap();
            let (mut z, mut history) = (Tensor::from_slice(&[1f32, -0.5]), History::default());
            for index in 0..STEPS {
                let mut copy = history.on(Device::Cpu);
                let again = sampler.step(index, &z, &z.sin(), false, &mut copy);
                z = sampler.step(index, &z, &z.sin(), false, &mut history);
                assert_eq!(z, again, "{name}, step {index}");
                assert!(history.clean.len() <= REMEMBERED);
            }
        }
    }

    #[test]
    fn what_a_sampler_cannot_run_is_told_by_key_or_by_setting() {
        let dpmpp = settings(SamplerName::Dpmpp2m);
        for (keys, key) in [
            (r#", "solver_order": 3"#, "solver_order is 3,"),
            (r#", "algorithm_type": "sde-dpmsolver++""#, "algorithm_type is"),
            (r#", "solver_type": "rk""#, "solver_type is"),
            (r#", "final_sigmas_type": "one""#, "final_sigmas_type is"),
            (r#", "lambda_min_clipped": 9"#, "lambda_min_clipped is"),
        ] {
            let message = message(keys, &dpmpp);
            assert!(message.contains(key) && message.contains("--sampler ddim"), "{message}");
        }
        let unipc = settings(SamplerName::UniPc);
        for (keys, key) in [
            (r#", "predict_x0": false"#, "predict_x0 is"),
            (r#", "solver_p": {"a": 1}"#, "solver_p is"),
            (r#", "solver_type": "bh1""#, "solver_type is"),
            (r#", "lower_order_final": false"#, "lower_order_final is"),
        ] {
            let message = message(keys, &unipc);
            assert!(message.contains(key), "{message}");
        }
        let karras = Settings { karras_sigmas: Some(true), ..settings(SamplerName::Ddim) };
        assert!(message("", &karras).starts_with("karras_sigmas is on"));
        let karras = Settings { karras_sigmas: Some(true), ..dpmpp };
        assert!(message(r#", "sigma_max": 7.5"#, &karras).contains("sigma_max is"));
        let many = Settings { steps: 1000, ..settings(SamplerName::UniPc) };
        assert!(message("", &many).starts_with("steps is 1000"));
    }
}
