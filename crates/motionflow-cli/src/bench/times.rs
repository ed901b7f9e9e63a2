//! The times and the memory of the phases, and what a transfer makes of them.

use anyhow::Result;
use motionflow::device;
use motionflow::prompt::Prompt;
use serde::Serialize;
use serde_json::json;

use super::phases::{Phase, Work, count};
use super::stopwatch::Peak;
use super::{Job, Setting};
use crate::console::Console;
use motionflow_engine::columns::columns;
use motionflow_engine::progress::Progress;
use motionflow_engine::units::brief;

/// What was timed, and what it took.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    guided_steps: usize,
    updates_per_step: usize,
    repeat: u16,
    phases: Vec<Phase>,
    /// What the phases of a transfer add up to.
    transfer_seconds: f64,
    /// The most that the device held at once in all this, loading included.
    peak: Option<Peak>,
}

pub(super) fn run(job: &Job, progress: &mut Progress, console: &Console) -> Result<()> {
    let Job { compute, found, settings, .. } = job;
    device::reset_peak_memory(compute.device);
    let model = found.load(*compute, progress)?;
    let loading = Peak::of(compute.device);
    let negative = Prompt::literal(&found.recommended.negative_prompt);
    let texts = model.encode_prompts(&[&job.source, &job.target, &negative])?;
    let work = Work {
        model: &*model,
        clip: &job.noise(),
        source: &texts[0],
        target: &texts[1],
        negative: &texts[2],
        settings,
        repeat: job.args.repeat.into(),
    };
    let mut stage = progress.stage_in("phases", "bench", count(&job.settings));
    let phases = work.run(&mut stage)?;
    stage.finish();
    let report = Report {
        setting: job.setting(),
        guided_steps: settings.guided_steps,
        updates_per_step: settings.updates_per_step,
        repeat: job.args.repeat,
        transfer_seconds: phases.iter().map(Phase::total).sum::<f64>() / 1e3,
        peak: phases.iter().filter_map(|phase| phase.peak).chain(loading).reduce(Peak::or),
        phases,
    };
    tell(&report, console);
    job.keep(&report)
}

fn tell(report: &Report, console: &Console) {
    for phase in &report.phases {
        console.row("phase", &json!(phase));
    }
    console.row("bench", &json!(report));
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
    console.result(&report.setting.describe());
    console.result(&columns(&rows).join("\n"));
    let (guided, seconds) = (report.guided_steps, brief(report.transfer_seconds));
    console.result(&format!("a transfer with {guided} guided steps: {seconds}"));
    if let Some([allocated, reserved]) = peak(report.peak) {
        console
            .result(&format!("most memory at once: {allocated} GiB, {reserved} with what is kept for reuse"));
    }
}
