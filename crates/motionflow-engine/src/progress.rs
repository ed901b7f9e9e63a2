//! How far a run is: bars on a terminal, plain lines elsewhere, JSON for machines, nothing when it shall be quiet.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde::Serialize;

use crate::bytes::kibibytes;
use crate::event::{self, Event};
use crate::terminal;

/// How often the bar is redrawn while a step runs.
const TICK: Duration = Duration::from_millis(200);
/// In how many lines a stage is told where there is no bar.
const LINES: usize = 10;

/// How the program talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// To a person.
    Plain,
    /// Errors alone.
    Quiet,
    /// To a program, as [`Event`]s.
    Json,
}

/// Tells stages and warnings, and keeps both for the run's record.
#[derive(Debug)]
pub(crate) struct Progress {
    voice: Voice,
    started: Instant,
    /// What is done and how long it took.
    pub(crate) stages: Vec<StageTime>,
    /// What the user was warned of.
    pub(crate) warnings: Vec<String>,
    /// The stage that was begun and not finished: its name, the steps that are done, and of how many.
    running: Option<(&'static str, usize, usize)>,
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StageTime {
    /// Its name.
    pub(crate) name: &'static str,
    /// Seconds.
    pub(crate) seconds: f64,
}

impl Progress {
    pub(crate) fn new(voice: Voice) -> Self {
        Self { voice, started: Instant::now(), stages: Vec::new(), warnings: Vec::new(), running: None }
    }

    /// How the program talks.
    pub(crate) fn voice(&self) -> Voice {
        self.voice
    }

    /// Talks otherwise from now on.
    pub(crate) fn set_voice(&mut self, voice: Voice) {
        self.voice = voice;
    }

    /// Forgets times, warnings and the memory's peak: another run begins.
    pub(crate) fn restart(&mut self) {
        forget_peak_memory();
        *self = Self::new(self.voice);
    }

    /// Tells a program that listens.
    pub(crate) fn event(&self, event: &Event) {
        if self.voice == Voice::Json {
            event::tell(event);
        }
    }

    /// A row of a table, for a program.
    pub(crate) fn row(&self, of: &str, row: &serde_json::Value) {
        self.event(&Event::Row { of, row });
    }

    /// A line of results for a person.
    pub(crate) fn result(&self, line: &str) {
        if self.voice == Voice::Plain {
            terminal::result(line);
        }
    }

    /// What a command is there to print, for whoever reads it; `of` says what it is.
    pub(crate) fn product(&self, of: &str, text: &str) {
        match self.voice {
            Voice::Json => self.row(of, &text.into()),
            _ => terminal::product(text),
        }
    }

    /// Something about the run that is good to know.
    pub(crate) fn note(&self, message: &str) {
        match self.voice {
            Voice::Plain => terminal::note(message),
            Voice::Json => event::tell(&Event::Note { message }),
            Voice::Quiet => {}
        }
    }

    /// Where it is, or where it ended: `invert, step 3 of 25`.
    pub(crate) fn place(&self) -> Option<String> {
        self.running.map(|(name, done, steps)| match steps {
            0..=1 => name.to_owned(),
            _ => format!("{name}, step {} of {steps}", done + 1),
        })
    }

    /// Seconds since the run began.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Warns once.
    pub(crate) fn warn(&mut self, message: impl Into<String>) {
        let message = message.into();
        if self.warnings.contains(&message) {
            return;
        }
        match self.voice {
            Voice::Plain => terminal::warning(&message),
            Voice::Json => event::tell(&Event::Warning { message: &message }),
            Voice::Quiet => {}
        }
        self.warnings.push(message);
    }

    /// Begins a stage of so many steps; 1 for work that cannot be counted.
    pub(crate) fn stage(&mut self, name: &'static str, steps: usize) -> Stage<'_> {
        self.stage_in("steps", name, steps)
    }

    /// As [`Progress::stage`], where it is not steps that are counted.
    pub(crate) fn stage_in(&mut self, unit: &str, name: &'static str, steps: usize) -> Stage<'_> {
        let plain = self.voice == Voice::Plain;
        let bar = (plain && terminal::can_redraw()).then(|| bar(name, steps));
        let lines = plain && bar.is_none();
        self.running = Some((name, 0, steps));
        self.event(&Event::Stage { stage: name, steps });
        if lines && steps > 1 {
            terminal::note(&format!("{name}: {steps} {unit}"));
        }
        Stage { progress: self, name, steps, bar, lines, started: Instant::now(), told: 0 }
    }
}

/// A part of a run that takes a while.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    progress: &'a mut Progress,
    name: &'static str,
    steps: usize,
    bar: Option<ProgressBar>,
    lines: bool,
    started: Instant,
    /// The last tenth that was told.
    told: usize,
}

impl Stage<'_> {
    /// So many steps were done by an earlier process.
    pub(crate) fn goes_on_after(&mut self, done: usize) {
        self.progress.running = Some((self.name, done, self.steps));
    }

    /// Tells that `done` steps are done; `detail` says how it goes, and may be empty.
    pub(crate) fn step(&mut self, done: usize, detail: &str) {
        if let Some(bar) = &self.bar {
            if bar.position() == 0 {
                bar.set_style(style("{bar} {pos}/{len}  {msg}  {eta} left"));
            }
            bar.set_position(done as u64);
            bar.set_message(terminal::fit(detail));
        }
        self.goes_on_after(done);
        self.progress.event(&Event::Progress { stage: self.name, done, of: self.steps, detail });
        let part = done * LINES / self.steps.max(1);
        if self.lines && part > self.told && done < self.steps {
            self.told = part;
            let left = self.started.elapsed().as_secs_f64() * (self.steps - done) as f64 / done as f64;
            let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
            terminal::note(&format!("{}: {done}/{}{detail}, {} left", self.name, self.steps, brief(left)));
        }
    }

    /// Tells a program that listens.
    pub(crate) fn event(&self, event: &Event) {
        self.progress.event(event);
    }

    /// Shows how it goes within a step.
    pub(crate) fn detail(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(terminal::fit(detail));
        }
    }

    /// Ends the stage and keeps its time. A stage that is dropped instead has failed.
    pub(crate) fn finish(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let summary = format!("{}: done in {}", self.name, brief(seconds));
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        match self.progress.voice {
            Voice::Plain => terminal::note(&summary),
            _ => self.progress.event(&Event::StageDone { stage: self.name, seconds }),
        }
        self.progress.running = None;
        self.progress.stages.push(StageTime { name: self.name, seconds });
    }
}

fn bar(name: &'static str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_finish(ProgressFinish::AndClear);
    // What is left is not known before the first step is done.
    bar.set_style(style(if steps > 1 { "{bar} {pos}/{len}  {msg}" } else { "{spinner} {elapsed}" }));
    bar.set_prefix(name);
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

/// Seconds to read: `3.2 s` or `2 min 05 s`.
pub(crate) fn brief(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours} h {minutes:02} min") } else { format!("{minutes} min {seconds:02} s") }
}

/// The most memory that this process has held at once, in bytes, where the system tells.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmHWM:")
}

/// From now on the peak is looked for anew, where the system can do that (Linux, proc(5): `clear_refs`).
fn forget_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_given_once_and_stages_are_kept() {
        let mut progress = Progress::new(Voice::Quiet);
        progress.warn("mind");
        progress.warn("mind");
        assert_eq!(progress.warnings, ["mind"]);
        let mut stage = progress.stage("invert", 20);
        (1..=20).for_each(|step| stage.step(step, ""));
        stage.finish();
        assert_eq!(progress.stages[0].name, "invert");
        assert_eq!(progress.place(), None);
    }

    #[test]
    fn where_a_stage_ended_is_known() {
        let mut progress = Progress::new(Voice::Quiet);
        progress.stage("invert", 20).step(7, "");
        assert_eq!(progress.place().as_deref(), Some("invert, step 8 of 20"));
        drop(progress.stage("load", 1));
        assert_eq!(progress.place().as_deref(), Some("load"));
    }

    #[test]
    fn times_are_easy_to_read() {
        assert_eq!([3.21, 99.9, 125.4, 7265.0].map(brief), ["3.2 s", "99.9 s", "2 min 05 s", "2 h 01 min"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_known() {
        assert!(peak_memory().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_new_run_has_a_peak_of_its_own() {
        let large = std::hint::black_box(vec![1_u8; 256 << 20]);
        let before = peak_memory().unwrap();
        drop(large);
        forget_peak_memory();
        assert!(peak_memory().unwrap() < before - (128 << 20));
    }
}
