//! How far a stage is, for a person: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use motionflow_engine::units::brief;

use crate::terminal;

/// How often the bar is redrawn while a step runs.
const TICK: Duration = Duration::from_millis(200);
/// In how many lines a stage is reported where there is no bar.
const LINES: usize = 10;

/// A stage that is shown. Dropping it clears the bar.
#[derive(Debug)]
pub(crate) struct Bar {
    name: String,
    steps: usize,
    /// None where the terminal cannot redraw a line.
    drawn: Option<ProgressBar>,
    started: Instant,
    /// The last tenth that was reported.
    reported: usize,
}

impl Bar {
    /// A stage of so many steps begins, or of one that cannot be counted.
    pub(crate) fn new(name: &str, steps: usize, unit: &str) -> Self {
        let bar = terminal::can_redraw().then(|| bar(name, steps));
        if bar.is_none() && steps > 1 {
            terminal::note(&format!("{name}: {steps} {unit}"));
        }
        Self { name: name.to_owned(), steps, drawn: bar, started: Instant::now(), reported: 0 }
    }

    /// So many steps are done; `detail` says how it goes, and may be empty.
    pub(crate) fn step(&mut self, done: usize, detail: &str) {
        if let Some(bar) = &self.drawn {
            if bar.position() == 0 {
                bar.set_style(style("{bar} {pos}/{len}  {msg}  {eta} left"));
            }
            bar.set_position(done as u64);
            bar.set_message(terminal::fit(detail));
            return;
        }
        let part = done * LINES / self.steps.max(1);
        if part > self.reported && done < self.steps {
            self.reported = part;
            let left = self.started.elapsed().as_secs_f64() * (self.steps - done) as f64 / done as f64;
            let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
            terminal::note(&format!("{}: {done}/{}{detail}, {} left", self.name, self.steps, brief(left)));
        }
    }

    /// How it goes within a step.
    pub(crate) fn detail(&self, detail: &str) {
        if let Some(bar) = &self.drawn {
            bar.set_message(terminal::fit(detail));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.drawn {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_finish(ProgressFinish::AndClear);
    // What is left is not known before the first step is done.
    bar.set_style(style(if steps > 1 { "{bar} {pos}/{len}  {msg}" } else { "{spinner} {elapsed}" }));
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &str) -> ProgressStyle {
    let colour = if terminal::has_colour() { "{bar:30.cyan/dim}" } else { "{bar:30}" };
    let template = format!("{{prefix:<9}} {}", template.replace("{bar}", colour));
    // The template is ours; were it wrong, the library's own would do.
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}
