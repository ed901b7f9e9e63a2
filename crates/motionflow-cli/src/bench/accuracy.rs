//! How far the requested precision is from float32, with the same inputs and weights.

use anyhow::Result;
use motionflow::compute::{Compute, Precision};
use motionflow_eval::accuracy::{Accuracy, Exact, Inputs};
use serde::Serialize;
use serde_json::json;

use super::{Job, Setting};
use crate::console::Console;
use motionflow_engine::columns::columns;
use motionflow_engine::error::Misuse;
use motionflow_engine::progress::Progress;

/// The bars: of the UNet's noise, of the gradient's direction, and of the masks.
const LARGEST_ERROR: f64 = 1e-2;
const SMALLEST_COSINE: f64 = 0.99;
const SMALLEST_SHARE: f64 = 0.99;

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    /// Where there is a bar: whether it is kept.
    ok: Option<bool>,
    #[serde(skip)]
    shown: String,
}

pub(super) fn run(job: &Job, progress: &mut Progress, console: &Console) -> Result<()> {
    let precision = job.compute.precision();
    if precision == Precision::F32 {
        let message = "--accuracy holds another precision against float32; give --precision f16 or bf16";
        return Err(Misuse(message.to_owned()).into());
    }
    let clip = job.noise();
    let inputs = Inputs { clip: &clip, source: &job.source, target: &job.target, settings: &job.settings };
    let exact_model = job.found.load(Compute::exact(job.compute.device), progress)?;
    let stage = progress.stage("bench", 1);
    let exact = Exact::of(&*exact_model, inputs)?;
    stage.finish();
    // There may not be memory for both.
    drop(exact_model);
    let model = job.found.load(job.compute, progress)?;
    let stage = progress.stage("bench", 1);
    let accuracy = exact.compare(&*model)?;
    stage.finish();
    let report = Report { setting: job.setting(), figures: figures(&accuracy) };
    tell(&report, console);
    job.keep(&report)
}

fn figures(accuracy: &Accuracy) -> Vec<Figure> {
    let error = |name: &str, value: f64, bar: Option<f64>| Figure {
        name: format!("relative error of {name}"),
        value,
        ok: bar.map(|bar| value < bar),
        shown: format!("{value:.1e}"),
    };
    let share = |name: &str, value: f64, bar: Option<f64>| Figure {
        name: name.to_owned(),
        value,
        ok: bar.map(|bar| value >= bar),
        shown: format!("{value:.5}"),
    };
    let mut figures = vec![
        error("the text's features", accuracy.text, None),
        error("the clip's latents", accuracy.encoded, None),
        error("the latents' frames", accuracy.decoded, None),
    ];
    figures.extend(
        accuracy
            .noise
            .iter()
            .map(|(at, value)| error(&format!("the noise at {at}"), *value, Some(LARGEST_ERROR))),
    );
    figures.extend([
        error("the guided gradient", accuracy.gradient, None),
        share("cosine of the guided gradients", accuracy.gradient_cosine, Some(SMALLEST_COSINE)),
        share("share of equal mask pixels", accuracy.masks, Some(SMALLEST_SHARE)),
        share("the same, of an inversion of its own", accuracy.masks_adrift, None),
        error("the latents at the end of that", accuracy.inverted_adrift, None),
    ]);
    figures
}

fn tell(report: &Report, console: &Console) {
    for figure in &report.figures {
        console.row("accuracy", &json!(figure));
    }
    console.result(&report.setting.describe());
    let row = |figure: &Figure| {
        let verdict = figure.ok.map_or("", |ok| if ok { "ok" } else { "OFF" });
        [figure.name.clone(), figure.shown.clone(), verdict.to_owned()]
    };
    console.result(&columns(&report.figures.iter().map(row).collect::<Vec<_>>()).join("\n"));
}
