//! `motionflow verify`: recomputes a parity case.

use anyhow::{Result, bail};
use motionflow::parity;
use motionflow::parity_case::{Comparison, Difference};
use motionflow_eval::clip;
use serde_json::json;

use crate::app::App;
use crate::args;
use crate::console::Console;
use motionflow_engine::error::Misuse;

/// Runs the command: prints every tensor's error, and fails when one is off.
pub(crate) fn run(args: &args::Verify, app: &mut App) -> Result<()> {
    let case = &args.case;
    if !case.join("case.json").is_file() {
        let message = format!("{}: holds no case.json; give the folder of a parity case", case.display());
        return Err(Misuse(message).into());
    }
    if !(args.tolerance > 0.0 && args.tolerance.is_finite()) {
        return Err(Misuse(format!("--tolerance is {}, but must be more than 0", args.tolerance)).into());
    }
    let comparisons =
        app.engine.on_device(&app.flags.resources, &mut app.progress, |compute, _, progress| {
            let stage = progress.stage("verify", 1);
            let verify = if clip::parity::is_clip_case(case) { clip::parity::verify } else { parity::verify };
            let comparisons = verify(case, compute.device, args.tolerance)?;
            stage.finish();
            Ok(comparisons)
        })?;
    table(&comparisons, &app.console);
    let off = comparisons.iter().filter(|comparison| !comparison.ok).count();
    if off > 0 {
        bail!(
            "{}: {off} of {} are off by more than {:e}, or differ",
            case.display(),
            comparisons.len(),
            args.tolerance
        );
    }
    Ok(())
}

fn table(comparisons: &[Comparison], console: &Console) {
    let longest = comparisons.iter().map(|comparison| comparison.name.len()).max().unwrap_or(0);
    console.result(&format!("{:longest$}  {:>14}", "tensor", "relative error"));
    for Comparison { name, difference, ok } in comparisons {
        console.row("tensor", &json!({ "name": name, "difference": difference, "ok": ok }));
        let difference = match difference {
            Difference::Relative(error) => format!("{error:.1e}"),
            Difference::Count { differing: 0, .. } => "equal".to_owned(),
            Difference::Count { differing, of } => format!("{differing} of {of}"),
        };
        let verdict = if *ok { "ok" } else { "OFF" };
        console.result(&format!("{name:longest$}  {difference:>14}  {verdict}"));
    }
}
