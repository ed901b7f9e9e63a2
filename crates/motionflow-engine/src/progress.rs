//! How far a run is: its stages and warnings, told as events and kept for the record.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::cancel::CancelToken;
use crate::event::Event;
use crate::units::kibibytes;

/// Hears what a run tells.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Tells the stages and warnings of a run, and keeps both for its record.
pub struct Progress {
    observer: Observer,
    cancel: CancelToken,
    started: Instant,
    /// What is done and how long it took.
    pub(crate) stages: Vec<StageTime>,
    /// What the user was warned of.
    pub(crate) warnings: Vec<String>,
    /// The stage that was begun and not finished: its name, the steps that are done, and of how many.
    running: Option<(&'static str, usize, usize)>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Progress").field("running", &self.running).finish_non_exhaustive()
    }
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// Its name.
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
}

impl Progress {
    /// Of a run that begins now, that is told to `observer` and stops when `cancel` says so.
    pub fn new(observer: Observer, cancel: CancelToken) -> Self {
        Self {
            observer,
            cancel,
            started: Instant::now(),
            stages: Vec::new(),
            warnings: Vec::new(),
            running: None,
        }
    }

    /// Of a run that nobody hears or stops.
    pub fn silent() -> Self {
        Self::new(Arc::new(|_| ()), CancelToken::default())
    }

    /// Forgets times, warnings and the memory's peak: another run begins.
    pub(crate) fn restart(&mut self) {
        forget_peak_memory();
        *self = Self::new(Arc::clone(&self.observer), self.cancel.clone());
    }

    /// Whether the run is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// What may stop the run.
    pub(crate) fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }

    /// Tells an event.
    pub fn event(&self, event: &Event) {
        (self.observer)(event);
    }

    /// Something about the run that is good to know.
    pub fn note(&self, message: &str) {
        self.event(&Event::Note { message });
    }

    /// Where it is, or where it ended: `invert, step 3 of 25`.
    pub(crate) fn place(&self) -> Option<String> {
        self.running.map(|(name, done, steps)| match steps {
            0..=1 => name.to_owned(),
            _ => format!("{name}, step {} of {steps}", done + 1),
        })
    }

    /// Seconds since the run began.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Warns once.
    pub fn warn(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !self.warnings.contains(&message) {
            self.event(&Event::Warning { message: &message });
            self.warnings.push(message);
        }
    }

    /// Begins a stage of so many steps; 1 for work that cannot be counted.
    pub fn stage(&mut self, name: &'static str, steps: usize) -> Stage<'_> {
        self.stage_in("steps", name, steps)
    }

    /// As [`Progress::stage`], where it is not steps that are counted.
    pub fn stage_in(&mut self, unit: &str, name: &'static str, steps: usize) -> Stage<'_> {
        self.running = Some((name, 0, steps));
        self.event(&Event::Stage { stage: name, steps, unit });
        Stage { progress: self, name, steps, started: Instant::now(), finished: false }
    }
}

/// A part of a run that takes a while.
#[derive(Debug)]
pub struct Stage<'a> {
    progress: &'a mut Progress,
    name: &'static str,
    steps: usize,
    started: Instant,
    finished: bool,
}

impl Stage<'_> {
    /// So many steps were done by an earlier process.
    pub(crate) fn resumes_after(&mut self, done: usize) {
        self.progress.running = Some((self.name, done, self.steps));
    }

    /// Tells that `done` steps are done; `detail` says how it goes, and may be empty.
    pub fn step(&mut self, done: usize, detail: &str) {
        self.resumes_after(done);
        self.progress.event(&Event::Progress { stage: self.name, done, of: self.steps, detail });
    }

    /// Tells an event within the stage.
    pub(crate) fn event(&self, event: &Event) {
        self.progress.event(event);
    }

    /// Ends the stage and keeps its time. A stage that is dropped instead has failed.
    pub fn finish(mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.finished = true;
        self.progress.event(&Event::StageDone { stage: self.name, seconds });
        self.progress.running = None;
        self.progress.stages.push(StageTime { name: self.name, seconds });
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.progress.event(&Event::StageLeft { stage: self.name });
        }
    }
}

/// The most memory that this process has held at once, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
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
        let mut progress = Progress::silent();
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
        let mut progress = Progress::silent();
        progress.stage("invert", 20).step(7, "");
        assert_eq!(progress.place().as_deref(), Some("invert, step 8 of 20"));
        drop(progress.stage("load", 1));
        assert_eq!(progress.place().as_deref(), Some("load"));
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
