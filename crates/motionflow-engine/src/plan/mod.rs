//! `--dry-run`: what a transfer would do, what it would take and what it would leave, without doing it.

use std::path::Path;

use anyhow::Result;
use motionflow::prompt::Prompt;
use motionflow::settings::Settings;
use serde::Serialize;
use serde_json::json;

use crate::estimate::{Estimate, Task};
use crate::models::found::FoundModel;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::folder::record::{PromptRecord, SourceRecord, VideoRecord};
use crate::plan::tokens;

/// A transfer of which all that can be checked without the weights is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) model: &'a FoundModel,
    pub(crate) task: &'a Task,
    pub(crate) prompts: &'a PromptRecord,
    pub(crate) source_prompt: &'a Prompt,
    pub(crate) prompt: &'a Prompt,
    pub(crate) source: &'a SourceRecord,
    pub(crate) video: &'a Video,
    pub(crate) settings: &'a Settings,
    pub(crate) output: &'a Path,
    pub(crate) files: &'a [(&'a str, &'a str)],
}

/// What is shown as TOML: the part of the run's record that is known before the run.
#[derive(Serialize)]
struct Resolved<'a> {
    prompts: &'a PromptRecord,
    source: &'a SourceRecord,
    video: VideoRecord,
    settings: &'a Settings,
}

/// Prints the plan. Makes nothing.
pub(crate) fn show(plan: &Plan, progress: &mut Progress) -> Result<()> {
    let tokenizer = plan.model.tokenizer()?;
    let negative = Prompt::literal(plan.prompts.negative_prompt.as_deref().unwrap_or_default());
    let prompts =
        [("source prompt", plan.source_prompt), ("prompt", plan.prompt), ("negative prompt", &negative)];
    let mut lines = Vec::new();
    for (name, prompt) in prompts {
        let shown = tokens::show(&tokenizer, prompt)?;
        lines.push(format!("tokens of the {name}"));
        lines.extend(shown.lines.iter().map(|line| format!("  {line}")));
        shown.warnings.iter().for_each(|warning| progress.warn(warning));
    }
    let resolved = Resolved {
        prompts: plan.prompts,
        source: plan.source,
        video: VideoRecord::of(plan.video),
        settings: plan.settings,
    };
    let estimate = Estimate::of(plan.task, plan.video);

    progress.row("plan", &json!({ "resolved": resolved, "estimate": estimate, "tokens": lines }));
    progress.result(&toml::to_string(&resolved)?);
    lines.push(format!("\nmodel   {}", plan.model.describe()));
    lines.extend(estimate.lines());
    let names: Vec<&str> = plan.files.iter().map(|(name, _)| *name).collect();
    lines.push(format!("output  {}: {}", plan.output.display(), names.join(", ")));
    lines.push("This was a dry run: nothing was made.".to_owned());
    progress.result(&lines.join("\n"));
    Ok(())
}
