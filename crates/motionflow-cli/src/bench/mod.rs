//! `motionflow bench`: what the parts of a transfer take on this machine, and how exact they are.

mod accuracy;
mod phases;
mod stopwatch;
mod times;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use motionflow::clip::Clip;
use motionflow::compute::{Compute, Precision};
use motionflow::device;
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use motionflow_media::Error;
use motionflow_media::atomic::write_atomically;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::app::App;
use crate::args;
use motionflow_engine::engine::Engine;
use motionflow_engine::models::found::FoundModel;
use motionflow_engine::progress::Progress;
use motionflow_engine::request::prompts;
use motionflow_engine::request::recommended::Video;
use motionflow_engine::request::tables::Model;
use motionflow_engine::request::{Guidance, SettingOptions, VideoOptions};

/// Runs the command.
pub(crate) fn run(args: &args::Bench, app: &mut App) -> Result<()> {
    if let Some(path) = &args.output {
        check_place(path)?;
    }
    let (engine, console) = (&app.engine, app.console.clone());
    let precision = app.flags.resources.precision;
    engine.on_device(&app.flags.resources, &mut app.progress, |compute, _, progress| {
        let job = Job::check(args, precision, compute, engine, progress)?;
        if args.accuracy {
            accuracy::run(&job, progress, &console)
        } else {
            times::run(&job, progress, &console)
        }
    })
}

/// What is measured, as far as it is known without the weights.
struct Job<'a> {
    args: &'a args::Bench,
    compute: Compute,
    found: Arc<FoundModel>,
    settings: Settings,
    video: Video,
    source: Prompt,
    target: Prompt,
}

/// What both reports begin with.
#[derive(Debug, Serialize)]
struct Setting {
    version: &'static str,
    libtorch: &'static str,
    model: String,
    device: String,
    precision: String,
    memory: String,
    width: u32,
    height: u32,
    frames: u32,
    steps: usize,
}

impl<'a> Job<'a> {
    fn check(
        args: &'a args::Bench,
        precision: Option<Precision>,
        compute: Compute,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Self> {
        let model = Model { chosen: args.model.0.clone(), ..Model::default() };
        let found = engine.find(&model, progress)?;
        let guidance = Guidance { guided_steps: args.guided_steps, ..Guidance::default() };
        let requested = SettingOptions { steps: args.steps.0.clone(), guidance, ..SettingOptions::default() };
        let settings = requested.resolve(&found.recommended.settings);
        // Every step is timed as one of full cost.
        let settings = Settings { guidance_interval: None, deepcache_interval: 1, ..settings };
        found.check_settings(&settings)?;
        found.check_inversion(&settings)?;
        let requested = VideoOptions { size: args.size.0.clone(), ..VideoOptions::default() };
        let video = requested.resolve(&found.recommended.video)?;
        found.check_size(&video, settings.context())?;
        let source = prompts::parse("--source-prompt", "a [car] on a road")?;
        let target = prompts::parse("--prompt", "a [panda] in the snow")?;
        let compute = found.compute(precision, compute);
        Ok(Self { args, compute, found, settings, video, source, target })
    }

    /// Frames of noise, -1 to 1.
    fn noise(&self) -> Clip {
        tch::manual_seed(self.settings.seed as i64);
        let [frames, height, width] = [self.video.frames, self.video.height, self.video.width].map(i64::from);
        Clip::new(Tensor::rand([frames, 3, height, width], (Kind::Float, Device::Cpu)) * 2.0 - 1.0)
    }

    fn setting(&self) -> Setting {
        let Video { width, height, frames, .. } = self.video;
        Setting {
            version: env!("CARGO_PKG_VERSION"),
            libtorch: env!("MOTIONFLOW_LIBTORCH_VERSION"),
            model: self.found.describe(),
            device: device::name_of(self.compute.device),
            precision: self.compute.precision().to_string(),
            memory: self.compute.memory.to_string(),
            width,
            height,
            frames,
            steps: self.settings.steps,
        }
    }

    fn keep(&self, report: &impl Serialize) -> Result<()> {
        let Some(path) = &self.args.output else { return Ok(()) };
        Ok(write_atomically(path, (serde_json::to_string_pretty(report)? + "\n").as_bytes())?)
    }
}

impl Setting {
    /// One line.
    fn describe(&self) -> String {
        let Self { device, precision, memory, width, height, frames, steps, .. } = self;
        format!(
            "{width}x{height}, {frames} frames, {steps} steps on {device} in {precision}, memory {memory}"
        )
    }
}

/// Minutes of measuring shall not end with a file that cannot be written.
fn check_place(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    if path.is_dir() {
        return Err(unwritable(std::io::ErrorKind::IsADirectory.into()).into());
    }
    std::fs::metadata(folder).map_err(unwritable)?;
    Ok(())
}
