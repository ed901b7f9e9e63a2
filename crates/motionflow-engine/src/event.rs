//! What a run tells while it works. Serialized, these are the lines of `--json`; docs/machines.md documents them.

use motionflow_media::image::RgbImage;
use serde::Serialize;

use crate::batch::jobs::Ending;
use crate::error::ErrorKind;
use crate::folder::record::{MaskRecord, StepRecord};

/// The version of the format: it changes when a field is renamed, removed or means something else, not when one is added.
pub const FORMAT: u32 = 1;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The first event of a program.
    Started {
        /// [`FORMAT`].
        format: u32,
        /// What the program does.
        command: &'a str,
        /// The program's version.
        version: &'a str,
    },
    /// The run waits until another one on the same device is over.
    Waiting {
        /// The device.
        device: &'a str,
    },
    /// A part of the run begins.
    Stage {
        /// Its name.
        stage: &'a str,
        /// Of how many steps; 1 where there is nothing to count.
        steps: usize,
        /// What is counted.
        #[serde(skip)]
        unit: &'a str,
    },
    /// How far the part is.
    Progress {
        /// Its name.
        stage: &'a str,
        /// Steps that are done.
        done: usize,
        /// Of how many.
        of: usize,
        /// How it goes, in words.
        detail: &'a str,
    },
    /// A step of the method is done.
    Step {
        /// Its figures.
        step: &'a StepRecord,
    },
    /// The motion masks are known; told only where a run was asked to show what it does.
    #[serde(skip)]
    Masks {
        /// One a subject.
        subjects: &'a [ShownMask],
    },
    /// The new video on its way, as small pictures of an approximation; told only where a run was asked to show what it does.
    #[serde(skip)]
    Preview {
        /// Sampling steps that are done.
        step: usize,
        /// One a latent frame, of the latents' size.
        frames: &'a [RgbImage],
    },
    /// A part of the run is done.
    StageDone {
        /// Its name.
        stage: &'a str,
        /// How long it took.
        seconds: f64,
    },
    /// A part of the run failed, or was stopped.
    #[serde(skip)]
    StageLeft {
        /// Its name.
        stage: &'a str,
    },
    /// Something that is good to know.
    Note {
        /// In words.
        message: &'a str,
    },
    /// Something that is probably wrong.
    Warning {
        /// In words.
        message: &'a str,
    },
    /// A run is finished.
    Finished {
        /// Its folder.
        folder: &'a str,
        /// The files in it.
        files: &'a [MadeFile<'a>],
        /// How long it took.
        seconds: f64,
        /// The most memory that the process held, in bytes, where the system tells.
        peak_memory_bytes: Option<u64>,
        /// Figures of the masks, where the run was made to look at them.
        #[serde(skip)]
        masks: &'a [MaskRecord],
    },
    /// A row of a table that a command lists.
    Row {
        /// What the table is of.
        of: &'a str,
        /// The row.
        row: &'a serde_json::Value,
    },
    /// Work on a job of a batch begins.
    #[serde(skip)]
    JobBegins {
        /// Its name.
        name: &'a str,
        /// Whether a person need not see what happens in it.
        brief: bool,
    },
    /// Work on a job of a batch ends.
    #[serde(skip)]
    JobEnds {
        /// Its name.
        name: &'a str,
    },
    /// A job of a batch is over.
    Job {
        /// Its name.
        name: &'a str,
        /// How it ended.
        ending: Ending,
        /// How long it took.
        seconds: f64,
    },
    /// The run was cancelled, and can be resumed.
    Stopped {
        /// How to resume it.
        message: &'a str,
    },
    /// The run failed.
    Error {
        /// Why.
        message: &'a str,
        /// Of which kind the error is.
        kind: ErrorKind,
        /// The exit code of a program that ends with it.
        exit_code: u8,
        /// The job of a batch that failed. The message begins with `job NAME: ` then.
        #[serde(skip)]
        job: Option<&'a str>,
    },
}

/// A subject's mask: the mean over guided timesteps and the finest layers, cut at one half.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownMask {
    /// The subject's words.
    pub text: String,
    /// Frames, height and width.
    pub shape: [usize; 3],
    /// True where the subject is, frame by frame, each row by row.
    pub mask: Vec<bool>,
    /// Mean share of the frame that is masked, 0..1.
    pub coverage: f64,
    /// Mean `IoU` of the masks of neighbouring frames, 0..1.
    pub overlap: f64,
}

/// A file of a finished run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MadeFile<'a> {
    /// Its name in the run folder.
    pub name: &'a str,
    /// What it shows.
    pub shows: &'a str,
}
