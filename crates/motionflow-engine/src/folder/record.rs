//! What a run leaves about itself: `run.toml` has the request, `run.json` what happened.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow::compute::Compute;
use motionflow::device;
use motionflow::generation::GuidedUpdate;
use motionflow::losses::LossParts;
use motionflow::settings::Settings;
use motionflow::timestep::Timestep;
use motionflow_media::Ffmpeg;
use motionflow_media::atomic::write_atomically;
use serde::{Deserialize, Serialize};

use crate::folder::checksums::FileRecord;
use crate::progress::{Progress, StageTime, peak_memory};
use crate::request::MotionOptions;
use crate::request::recommended::Video;

/// `run.toml`: all that a run depends on, as it was resolved.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The program that ran.
    pub program: ProgramRecord,
    /// The prompts.
    pub prompts: PromptRecord,
    /// The source, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRecord>,
    /// The motion that was given, or changed.
    #[serde(default, skip_serializing_if = "MotionOptions::is_empty")]
    pub motion: MotionOptions,
    /// The video's size.
    pub video: VideoRecord,
    /// The checkpoint.
    pub model: ModelRecord,
    /// The method's settings.
    pub settings: Settings,
    /// How the files were written.
    pub output: OutputRecord,
}

impl RunRecord {
    /// The text of `run.toml`.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String> {
        let text = toml::to_string(self).context("the run's record cannot be written as TOML")?;
        let command = &self.program.command;
        Ok(format!(
            "# What `motionflow {command}` was asked. `motionflow {command} --config` with this file does it again.\n\n{text}"
        ))
    }
}

impl RunRecord {
    /// Reads `run.toml` of a finished run.
    ///
    /// # Errors
    /// When there is no record, or it is damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("run.toml");
        let damaged = || format!("{}: is damaged; remove the folder, to make it anew", path.display());
        let text = std::fs::read_to_string(&path).with_context(damaged)?;
        toml::from_str(&text).with_context(damaged)
    }

    /// Writes `run.toml`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("run.toml");
        Ok(write_atomically(&path, self.to_toml()?.as_bytes())?)
    }
}

/// How the files are written, as far as their bytes depend on it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Whether prompts, settings and version are in the mp4 and GIF files.
    pub metadata: bool,
}

/// The program that ran, and what it stands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramRecord {
    /// Which command it was.
    pub command: String,
    /// The program's version.
    pub version: String,
    /// libtorch's version.
    pub libtorch: String,
    /// ffmpeg's version.
    pub ffmpeg: String,
    /// CPU threads.
    pub threads: i32,
    /// Runs from before there was a choice have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// As what the nets computed; float32 where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// How much memory the nets might use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl ProgramRecord {
    /// Of this program, with the threads that libtorch has now.
    pub fn new(command: &str, ffmpeg: &Ffmpeg, compute: Compute) -> Self {
        Self {
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: env!("MOTIONFLOW_LIBTORCH_VERSION").to_owned(),
            ffmpeg: ffmpeg.version().to_owned(),
            threads: tch::get_num_threads(),
            device: Some(device::name_of(compute.device)),
            precision: Some(compute.precision().to_string()),
            memory: Some(compute.memory.to_string()),
        }
    }
}

/// The prompts, brackets and all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PromptRecord {
    /// With brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_prompt: Option<String>,
    /// With brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// As it was encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
}

/// Where the frames came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The file or folder, absolute.
    pub path: String,
    /// Of the file; a folder of images has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Of the pixels that were used, after cutting and fitting.
    pub frames_sha256: String,
    /// Seconds.
    pub start: f64,
    /// One frame of so many.
    pub every: u32,
    /// How the frames were brought to size.
    pub fit: String,
    /// Frames per second of the frames that were used.
    pub fps: f64,
    /// The folder of the inversion that was reused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inversion: Option<String>,
    /// Of its tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inversion_sha256: Option<String>,
}

/// The size of the video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoRecord {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Number of frames.
    pub frames: u32,
    /// Frames per second.
    pub fps: f64,
}

impl VideoRecord {
    /// Of a resolved size.
    pub fn of(video: &Video) -> Self {
        Self { width: video.width, height: video.height, frames: video.frames, fps: video.fps }
    }
}

/// The checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// As it was requested.
    pub name: String,
    /// Its folder, absolute.
    pub path: String,
    /// The commit, of one from the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Its motion adapter, as it was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_adapter: Option<String>,
    /// The adapter's folder, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_adapter_path: Option<String>,
    /// The adapter's commit, of one from the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_adapter_revision: Option<String>,
    /// How β goes, where a motion adapter decides it and not the checkpoint's own config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_schedule: Option<String>,
    /// Over the names and contents of its files, the adapter's too.
    pub sha256: String,
}

/// `run.json`: what happened, step by step.
#[derive(Debug, Serialize)]
pub struct RunHistory {
    /// Where the inversion came from, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inversion: Option<Origin>,
    /// How the guidance blocks were chosen, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_choice: Option<ChoiceRecord>,
    /// Every step, in order.
    pub steps: Vec<StepRecord>,
    /// One a subject.
    pub masks: Vec<MaskRecord>,
    /// Figures of the whole run.
    #[serde(flatten)]
    pub totals: Totals,
    /// All other files of the run, so that damage is noticed.
    pub files: Vec<FileRecord>,
}

/// Which guidance blocks `--guidance-layers auto` chose, and by which scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChoiceRecord {
    /// Those that guide.
    pub blocks: Vec<String>,
    /// Whose noise level shows the subjects best.
    pub timestep: i64,
    /// Of every block at every timestep that was tried.
    pub scores: Vec<BlockRecord>,
}

/// The score of one block at one timestep, the mean over its layers and the subjects; 0..1, and 1 is best.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockRecord {
    /// Whose noise was added to the source.
    pub timestep: i64,
    /// The block.
    pub block: String,
    /// Its score.
    pub score: f64,
}

/// Where an inversion came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This run made it.
    Made,
    /// It lay in the cache.
    Cached,
    /// The user gave it, by `--inversion`.
    Given,
}

/// Figures of the whole run.
#[derive(Debug, Serialize)]
pub struct Totals {
    /// What the user was warned of.
    pub warnings: Vec<String>,
    /// The stages with their times.
    pub stages: Vec<StageTime>,
    /// How long the run took.
    pub seconds: f64,
    /// The most memory that the process held, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

impl Totals {
    /// Of the run that `progress` has followed.
    pub fn of(progress: &Progress) -> Self {
        Self {
            warnings: progress.warnings.clone(),
            stages: progress.stages.clone(),
            seconds: progress.seconds(),
            peak_memory_bytes: peak_memory(),
        }
    }
}

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum StepRecord {
    /// Of the inversion.
    Inversion {
        /// From 1 on.
        step: usize,
        /// Of the schedule.
        timestep: Timestep,
        /// Mean share of the frame that each subject's masks cover, 0..1.
        mask_coverage: Vec<f64>,
        /// How long it took.
        seconds: f64,
        /// Of the first step: the precision in which the source was encoded, where the run's own gave no finite values.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encoded_in: Option<String>,
    },
    /// A forward pass on the noised source.
    Noised {
        /// From 1 on.
        step: usize,
        /// Whose noise was added.
        timestep: Timestep,
        /// Mean share of the frame that each subject's masks cover, if they are made of this pass alone, 0..1.
        mask_coverage: Vec<f64>,
        /// How long it took.
        seconds: f64,
        /// As of an inversion's step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        encoded_in: Option<String>,
    },
    /// A guided update: the losses before it.
    Update {
        /// The sampling step that it precedes, from 1 on.
        step: usize,
        /// Which update of that step, from 1 on.
        update: usize,
        /// Of the schedule.
        timestep: Timestep,
        /// The losses before it.
        loss: LossRecord,
        /// Of the loss with respect to the latents.
        gradient_norm: f64,
        /// By how much it moved the latents, over their norm.
        relative_move: f64,
        /// How long it took.
        seconds: f64,
    },
    /// Of the sampling.
    Sampling {
        /// From 1 on.
        step: usize,
        /// Of the schedule.
        timestep: Timestep,
        /// How long it took.
        seconds: f64,
    },
}

impl StepRecord {
    /// The precision in which the source was encoded before this step, where it was not the run's own.
    pub(crate) fn encoded_in(&self) -> Option<&str> {
        match self {
            Self::Inversion { encoded_in, .. } | Self::Noised { encoded_in, .. } => encoded_in.as_deref(),
            Self::Update { .. } | Self::Sampling { .. } => None,
        }
    }
}

/// The weighted sum and its parts before weighting; null is a part without a map. The last three are absent where they are
/// off.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LossRecord {
    /// The weighted sum.
    pub total: f64,
    cross: Option<f64>,
    #[serde(rename = "self")]
    spatial: Option<f64>,
    temporal: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outside: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avoid: Option<f64>,
}

impl LossRecord {
    /// Of an update.
    pub fn of(update: &GuidedUpdate) -> Self {
        let LossParts { cross, spatial, temporal, outside, other, avoid } = update.parts;
        Self { total: update.loss, cross, spatial, temporal, outside, other, avoid }
    }
}

/// One subject's masks over the guided timesteps.
#[derive(Debug, Clone, Serialize)]
pub struct MaskRecord {
    /// Its words.
    pub subject: String,
    /// Mean share of the frame that is masked, 0..1.
    pub coverage: f64,
    /// Mean `IoU` of the masks of neighbouring frames, 0..1.
    pub overlap: f64,
}

/// Writes a record as TOML under a line that says what it is.
///
/// # Errors
/// When the file cannot be written.
pub fn write_toml(path: &Path, about: &str, record: &impl Serialize) -> Result<()> {
    let text = toml::to_string(record).context("the run's record cannot be written as TOML")?;
    Ok(write_atomically(path, format!("# {about}\n\n{text}").as_bytes())?)
}

/// Writes a record as JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(path: &Path, record: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(record)? + "\n";
    Ok(write_atomically(path, text.as_bytes())?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::request::Request;
    use crate::request::motion::SubjectMotion;
    use crate::toml_file;

    /// With every field set.
    pub(crate) fn record() -> RunRecord {
        RunRecord {
            program: ProgramRecord {
                command: "transfer".into(),
                version: "0".into(),
                libtorch: "0".into(),
                ffmpeg: "0".into(),
                threads: 1,
                device: Some("cpu".into()),
                precision: Some("bf16".into()),
                memory: Some("low".into()),
            },
            prompts: PromptRecord {
                source_prompt: Some("a [car]".into()),
                prompt: Some("a [panda]".into()),
                negative_prompt: Some("blurry".into()),
            },
            source: Some(SourceRecord {
                path: "clip.mp4".into(),
                sha256: Some("1".into()),
                frames_sha256: "2".into(),
                start: 0.5,
                every: 2,
                fit: "pad".into(),
                fps: 8.0,
                inversion: Some("inv".into()),
                inversion_sha256: Some("4".into()),
            }),
            motion: MotionOptions {
                mask: Some(vec!["masks".into()]),
                track: Some(vec!["a.csv".into()]),
                transform: Some(vec!["mirror".into()]),
                avoid: Some("sky.png".into()),
                sha256: Some(vec!["5".into()]),
                avoid_sha256: Some("6".into()),
                subject: Some(vec![SubjectMotion {
                    source: Some("dog.mp4".into()),
                    source_prompt: Some("a [dog]".into()),
                    inversion: Some("inv".into()),
                    mask: Some("masks".into()),
                    track: Some("a.csv".into()),
                    transform: Some(vec!["reverse".into()]),
                }]),
            },
            video: VideoRecord { width: 16, height: 8, frames: 2, fps: 8.0 },
            model: ModelRecord {
                name: "sd".into(),
                path: "/models/sd".into(),
                revision: Some("main".into()),
                motion_adapter: Some("adapter".into()),
                motion_adapter_path: Some("/models/adapter".into()),
                motion_adapter_revision: Some("v2".into()),
                beta_schedule: Some("linear".into()),
                sha256: "3".into(),
            },
            settings: Settings {
                step_norm: Some(0.03),
                lambda_avoid: Some(0.5),
                guidance_layers: vec!["mid_block".into()],
                ..Settings::default()
            },
            output: OutputRecord { metadata: false },
        }
    }

    #[test]
    fn a_record_is_a_settings_file_that_asks_for_the_same() {
        let request: Request = toml_file::parse(&record().to_toml().unwrap(), "run.toml").unwrap();
        let requested = toml::Table::try_from(&request).unwrap();
        let recorded = toml::Table::try_from(record()).unwrap();
        assert_eq!(requested, recorded);
    }
}
