//! `--dry-run`: what a transfer would do, what it would take and what it would leave.

use anyhow::Result;
use motionflow_engine::plan::Plan;
use serde_json::json;

use crate::console::Console;

/// Prints the plan.
pub(crate) fn show(plan: &Plan, console: &Console) -> Result<()> {
    console.row("plan", &json!(plan));
    console.result(&toml::to_string(&plan.resolved)?);
    let mut lines = plan.tokens.clone();
    lines.push(format!("\nmodel   {}", plan.model));
    lines.extend(plan.estimate.lines());
    lines.push(format!("output  {}: {}", plan.output.display(), plan.files.join(", ")));
    lines.push("This was a dry run: nothing was made.".to_owned());
    console.result(&lines.join("\n"));
    Ok(())
}
