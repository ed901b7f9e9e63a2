//! `motionflow bench`: what the parts of a transfer take on this machine.

mod laps;
mod phases;

use anyhow::Result;
use motionflow::clip::Clip;
use motionflow::device;
use motionflow::model::VideoModel;
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use motionflow_media::atomic::write_atomically;
use serde::Serialize;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use self::laps::Peak;
use self::phases::{COUNT, Phase, Work};
use crate::args;
use crate::columns::columns;
use crate::progress::{Progress, brief};
use crate::prompts;
use crate::recommended::Video;
use crate::request;
use crate::resolve;
use crate::session::Session;

const SOURCE_PROMPT: &str = "a [car] on a road";
const PROMPT: &str = "a [panda] in the snow";

/// What was timed, and what it took.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    libtorch: &'static str,
    device: String,
    precision: String,
    memory: String,
    model: String,
    width: u32,
    height: u32,
    frames: u32,
    steps: usize,
    guided_steps: usize,
    updates_per_step: usize,
    repeat: u16,
    phases: Vec<Phase>,
    /// What the phases of a transfer add up to.
    transfer_seconds: f64,
    /// The most that the device held at once in all this, loading included.
    peak: Option<Peak>,
}

/// Runs the command.
pub(crate) fn run(args: &args::Bench, session: &mut Session) -> Result<()> {
    session.behave_as_told()?;
    let compute = session.compute()?;
    let model = request::Model { chosen: args.model.clone(), ..request::Model::default() };
    let found = session.find(&model)?;
    let settings = settings(args, &found.recommended.settings);
    resolve::check(&settings, &found.schedule()?)?;
    let args::Size { width, height, frames } = args.size;
    let size = args::Video { width, height, frames, fps: None };
    let video = size.resolve(&found.recommended.video)?;
    found.check_size(&video)?;
    let [source, target] =
        [prompts::parse("--source-prompt", SOURCE_PROMPT)?, prompts::parse("--prompt", PROMPT)?];

    let progress = &mut session.progress;
    device::reset_peak_memory(compute.device);
    let model = found.load(compute, progress)?;
    let loading = Peak::of(compute.device);
    let work = Work {
        model: &model,
        clip: &noise(&video, settings.seed),
        source: &model.encode_prompt(&source)?,
        target: &model.encode_prompt(&target)?,
        negative: &model.encode_prompt(&Prompt::literal(&found.recommended.negative_prompt))?,
        settings: &settings,
        repeat: args.repeat.into(),
    };
    let mut stage = progress.stage_in("phases", "bench", COUNT);
    let phases = work.run(&mut stage)?;
    stage.finish();

    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        libtorch: env!("MOTIONFLOW_LIBTORCH_VERSION"),
        device: device::name_of(compute.device),
        precision: compute.precision().to_string(),
        memory: compute.memory.to_string(),
        model: found.describe(),
        width: video.width,
        height: video.height,
        frames: video.frames,
        steps: settings.steps,
        guided_steps: settings.guided_steps,
        updates_per_step: settings.updates_per_step,
        repeat: args.repeat,
        transfer_seconds: phases.iter().map(Phase::total).sum::<f64>() / 1e3,
        peak: phases.iter().filter_map(|phase| phase.peak).chain(loading).reduce(Peak::or),
        phases,
    };
    tell(&report, progress);
    if let Some(path) = &args.output {
        write_atomically(path, (serde_json::to_string_pretty(&report)? + "\n").as_bytes())?;
    }
    Ok(())
}

fn settings(args: &args::Bench, recommended: &Settings) -> Settings {
    let guidance = args::Guidance { guided_steps: args.guided_steps, ..args::Guidance::default() };
    request::Settings { steps: args.steps.clone(), guidance, ..request::Settings::default() }
        .resolve(recommended)
}

/// Frames of noise: what they show changes no time.
fn noise(video: &Video, seed: u64) -> Clip {
    tch::manual_seed(seed as i64);
    let [frames, height, width] = [video.frames, video.height, video.width].map(i64::from);
    Clip::new(Tensor::rand([frames, 3, height, width], (Kind::Float, Device::Cpu)) * 2.0 - 1.0)
}

fn tell(report: &Report, progress: &Progress) {
    for phase in &report.phases {
        progress.row("phase", &json!(phase));
    }
    progress.row("bench", &json!(report));
    let peak = |peak: Option<Peak>| {
        let gib = |bytes: u64| format!("{:.2}", bytes as f64 / f64::from(1 << 30));
        peak.map(|peak| [gib(peak.allocated), gib(peak.reserved)])
    };
    let head = ["phase", "median ms", "min", "max", "times", "share", "peak GiB", "reserved"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for Phase { name, ms, times, share, peak: of_phase, .. } in &report.phases {
        let mut row = vec![(*name).to_owned()];
        row.extend([ms.median, ms.minimum, ms.maximum].map(|ms| format!("{ms:.1}")));
        row.extend([times.to_string(), format!("{:.0} %", share * 100.0)]);
        row.extend(peak(*of_phase).unwrap_or_default());
        rows.push(row);
    }
    if report.peak.is_none() {
        for row in &mut rows {
            row.truncate(6);
        }
    }
    let Report { device, precision, memory, width, height, frames, steps, guided_steps, .. } = report;
    progress
        .result(&format!("{width}x{height}, {frames} frames on {device} in {precision}, memory {memory}"));
    progress.result(&columns(&rows).join("\n"));
    let seconds = brief(report.transfer_seconds);
    progress.result(&format!("a transfer of {steps} steps, {guided_steps} guided: {seconds}"));
    if let Some([allocated, reserved]) = peak(report.peak) {
        progress
            .result(&format!("most memory at once: {allocated} GiB, {reserved} with what is kept for reuse"));
    }
}
