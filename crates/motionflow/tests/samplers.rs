//! The samplers against diffusers' schedulers, on the cases of `tools/reference/make_sampler_case.py`.

use std::fs;
use std::path::Path;

use motionflow::error::Error;
use motionflow::sampler::{History, Sampler};
use motionflow::schedule::{FlowConfig, FlowSchedule, Schedule, ScheduleConfig};
use motionflow::settings::{Init, SamplerName, Settings};
use motionflow::timestep::Timestep;
use serde::Deserialize;
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    config: Config,
    sampler: String,
    steps: usize,
    timesteps: Vec<f64>,
    refused: Option<String>,
}

/// The scheduler's config, by the key that it stands under.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Config {
    Config(ScheduleConfig),
    Flow(FlowConfig),
}

impl Config {
    fn schedule(&self) -> Result<Schedule, Error> {
        match self {
            Self::Config(config) => Ok(Schedule::new(config)?),
            Self::Flow(config) => Ok(Schedule::Flow(FlowSchedule::new(config)?)),
        }
    }
}

/// What stands for a net.
fn net(z: &Tensor, timestep: Timestep) -> Tensor {
    (z + timestep.value() / 250.0).sin() * 0.8 + z * 0.1
}

/// Timesteps, and the latents after each step: [steps, 8]
fn run(case: &Case, start: &Tensor) -> Result<(Vec<f64>, Tensor), Error> {
    let schedule = case.config.schedule()?;
    let mut z = start.shallow_clone();
    let mut latents = Vec::new();
    if case.sampler == "ddim-inverse" {
        schedule.check_inversion(case.steps)?;
        let steps = schedule.ascending(case.steps);
        for step in &steps {
            z = schedule.add_noise_step(&z, &net(&z, step.timestep), *step);
            latents.push(z.shallow_clone());
        }
        return Ok((steps.iter().map(|step| step.timestep.value()).collect(), Tensor::stack(&latents, 0)));
    }
    let sampler = match case.sampler.as_str() {
        "ddim" => SamplerName::Ddim,
        "dpmpp-2m" => SamplerName::Dpmpp2m,
        "euler" => SamplerName::Euler,
        _ => SamplerName::UniPc,
    };
    let plain = Settings { init: Init::Noise, updates: false, ..Settings::default() };
    let settings = Settings { sampler, steps: case.steps, ..plain };
    let (sampler, mut history) = (Sampler::new(&schedule, &settings)?, History::default());
    for (index, timestep) in sampler.timesteps().iter().enumerate() {
        z = sampler.step(index, &z, &net(&z, *timestep), false, &mut history);
        latents.push(z.shallow_clone());
    }
    let timesteps = sampler.timesteps().iter().map(|timestep| timestep.value()).collect();
    Ok((timesteps, Tensor::stack(&latents, 0)))
}

#[test]
fn every_step_is_diffusers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samplers");
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let tensors = Tensor::read_safetensors(folder.join("latents.safetensors")).unwrap();
    let tensor = |wanted: &str| &tensors.iter().find(|(name, _)| name == wanted).unwrap().1;
    let mut wrong = Vec::new();
    // Of diffusion, and of flow matching.
    let (mut worst, mut refused) = ([0.0_f64; 2], 0);
    for (index, case) in cases.iter().enumerate() {
        let name = format!("case {index}: {} in {} steps, {:?}", case.sampler, case.steps, case.config);
        match (run(case, tensor("start")), &case.refused) {
            (Ok((timesteps, latents)), None) => {
                let expected = tensor(&index.to_string()).to_kind(Kind::Double);
                let of_step =
                    |tensor: &Tensor| tensor.square().sum_dim_intlist(1, false, Kind::Double).sqrt();
                let error = of_step(&(latents.to_kind(Kind::Double) - &expected)) / of_step(&expected);
                let error = error.max().double_value(&[]);
                let worst = &mut worst[usize::from(matches!(case.config, Config::Flow(_)))];
                *worst = worst.max(error);
                if timesteps != case.timesteps || error.is_nan() || error > TOLERANCE {
                    wrong.push(format!("{name}: {error:.1e} {timesteps:?}, expected {:?}", case.timesteps));
                }
            }
            (Err(error), Some(key)) if error.to_string().contains(&format!(": {key} is")) => refused += 1,
            (made, _) => wrong
                .push(format!("{name}: {}", made.map_or_else(|error| error.to_string(), |_| "made".into()))),
        }
    }
    println!(
        "{} cases, {refused} of them refused; the largest relative error of a step is {:.1e}, of flow matching {:.1e}",
        cases.len(),
        worst[0],
        worst[1]
    );
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(refused > 0 && cases.len() > 260);
}
