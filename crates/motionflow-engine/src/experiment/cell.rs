//! One transfer of an experiment, and what is known of it when it is done: `figures.json`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use motionflow::prompt::Prompt;
use motionflow_eval::figure::Figure;
use motionflow_media::{ReadOptions, source};
use serde::{Deserialize, Serialize};

use crate::batch::jobs::Job;
use crate::batch::status::JobStatus;
use crate::engine::Engine;
use crate::eval::identity::JudgesIdentity;
use crate::eval::judges::Judges;
use crate::eval::judging::{Judging, Measured};
use crate::folder::record::{RunRecord, write_json};
use crate::progress::Progress;
use crate::request::tables::Program;

const FILE: &str = "figures.json";

/// One transfer.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) job: Job,
    pub(crate) clip: String,
    /// What the report puts together besides the clip: kinds of motion.
    pub(crate) motion: Option<String>,
    /// With its brackets.
    pub(crate) prompt: String,
    /// Its place among the variants.
    pub(crate) variant: usize,
    pub(crate) seed: Option<u64>,
    /// Where the source's subjects are.
    pub(crate) truth: Option<PathBuf>,
}

/// What is known of a transfer that is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Of the whole run; less for one that was stopped and resumed.
    pub(crate) seconds: f64,
    /// Of the sampling alone, guided updates and all.
    pub(crate) sampling_seconds: Option<f64>,
    pub(crate) peak_memory_bytes: Option<u64>,
    /// Before the last guided update.
    pub(crate) final_loss: Option<f64>,
    pub(crate) warnings: Vec<String>,
    /// By what the figures were made; another text here means that they must be made anew.
    pub(crate) judged_by: Option<String>,
    pub(crate) figures: Vec<KnownFigure>,
}

/// A [`Figure`] as a file holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KnownFigure {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// None where it is not a number: JSON has no other.
    pub(crate) value: Option<f64>,
    pub(crate) made_with: String,
}

/// What is copied from `run.json`.
#[derive(Debug, Deserialize)]
struct History {
    steps: Vec<Step>,
    warnings: Vec<String>,
    stages: Vec<Stage>,
    seconds: f64,
    peak_memory_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Step {
    loss: Option<Loss>,
}

#[derive(Debug, Deserialize)]
struct Loss {
    total: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Stage {
    name: String,
    seconds: f64,
}

/// Who measures, as far as the figures depend on it.
#[derive(Debug)]
pub(crate) struct Judged {
    judges: String,
    identity: JudgesIdentity,
}

/// A part of the text that says who measured, and its value; none where it is not known now.
type Part<'a> = (&'a str, Option<String>);

impl Judged {
    pub(crate) fn by(judges: &Judges, engine: &Engine) -> Result<Self> {
        let identity = JudgesIdentity::of(judges, engine)?;
        Ok(Self { judges: serde_json::to_string(judges)?, identity })
    }

    fn parts(&self, truth: Option<&Path>, engine: &Engine) -> Result<[Part<'static>; 3]> {
        let JudgesIdentity { clip, detector } = self.identity.clone();
        let truth = truth.map(|truth| engine.sha256_of(truth)).transpose()?;
        Ok([("truth", truth), ("clip", clip), ("detector", detector)])
    }

    /// A text that is another one when the figures would be others.
    fn text(&self, truth: Option<&Path>, engine: &Engine) -> Result<String> {
        let mut text = self.judges.clone();
        for (name, value) in self.parts(truth, engine)? {
            text.extend(value.map(|value| format!(" {name}:{value}")));
        }
        Ok(text)
    }

    /// Whether figures that were measured by what a text says would be the same now. A model that is not here now says
    /// nothing against them.
    fn would_say(&self, known: &str, truth: Option<&Path>, engine: &Engine) -> Result<bool> {
        let Some(rest) = known.strip_prefix(&self.judges) else { return Ok(false) };
        let known: HashMap<&str, &str> =
            rest.split_whitespace().filter_map(|part| part.split_once(':')).collect();
        let parts = self.parts(truth, engine)?;
        let is_alike = |(name, value): &Part| match value {
            Some(value) => known.get(name) == Some(&value.as_str()),
            None => *name != "truth" || !known.contains_key(name),
        };
        Ok(parts.iter().all(is_alike))
    }
}

impl Cell {
    /// What is known of it, if it is done, and measured as it shall be; and the message about its last bits. What is wrong
    /// with its folder is reported when it is its turn to be made.
    pub(crate) fn finished(
        &self,
        judged: Option<&Judged>,
        program: &Program,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<Option<(Known, Option<String>)>> {
        let request = self.job.with_flags(program)?;
        let Ok(JobStatus::Done(last_bits)) = self.job.status(&request, engine, progress) else {
            return Ok(None);
        };
        let known = std::fs::read(self.job.folder.join(FILE)).ok();
        let known: Option<Known> = known.and_then(|known| serde_json::from_slice(&known).ok());
        let is_measured = match (&known, judged) {
            (Some(known), Some(judged)) => {
                let by = known.judged_by.as_deref().unwrap_or_default();
                judged.would_say(by, self.truth.as_deref(), engine)?
            }
            (known, _) => known.is_some(),
        };
        Ok(known.filter(|_| is_measured).map(|known| (known, last_bits)))
    }

    /// Measures its result and keeps what is known of it. The frames are those of `result.mp4`, so that the figures
    /// do not depend on when they are made.
    pub(crate) fn measure(
        &self,
        judging: Option<(&Judging, &Judged)>,
        engine: &Engine,
        progress: &mut Progress,
    ) -> Result<()> {
        let folder = &self.job.folder;
        let history = folder.join("run.json");
        let damaged = || format!("{}: is damaged; remove the folder, to make it anew", history.display());
        let text = std::fs::read(&history).with_context(damaged)?;
        let History { steps, warnings, stages, seconds, peak_memory_bytes } =
            serde_json::from_slice(&text).with_context(damaged)?;
        let judged_by = judging.map(|(_, judged)| judged.text(self.truth.as_deref(), engine)).transpose()?;
        let figures = match judging {
            Some((judging, _)) => self.figures(judging, engine, progress)?,
            None => Vec::new(),
        };
        let known = Known {
            seconds,
            sampling_seconds: stages.iter().find(|stage| stage.name == "generate").map(|stage| stage.seconds),
            peak_memory_bytes,
            final_loss: steps.iter().rev().find_map(|step| step.loss.as_ref()?.total),
            warnings,
            judged_by,
            figures: figures.into_iter().map(KnownFigure::of).collect(),
        };
        write_json(&folder.join(FILE), &known)
    }

    fn figures(&self, judging: &Judging, engine: &Engine, progress: &mut Progress) -> Result<Vec<Figure>> {
        let folder = &self.job.folder;
        let record = RunRecord::read(folder)?;
        let (source, ffmpeg) = self.job.source(&record, engine, progress)?;
        let size = &record.video;
        let options = ReadOptions::new(size.frames as usize, size.width, size.height);
        let result = source::read(&ffmpeg, &folder.join("result.mp4"), &options).map_err(|error| {
            anyhow!("{}: is damaged; remove the folder, to make it anew: {error}", folder.display())
        })?;
        let prompt: Prompt = self.prompt.parse().map_err(motionflow::error::Error::from)?;
        judging.measure(&Measured {
            source: source.as_ref().map(|source| source.frames.as_slice()),
            result: &result.frames,
            prompt: Some(&prompt),
            truth: self.truth.as_deref(),
        })
    }
}

impl KnownFigure {
    fn of(figure: Figure) -> Self {
        let Figure { name, subject, value, made_with } = figure;
        Self { name, subject, value: Some(value).filter(|value| value.is_finite()), made_with }
    }
}
