//! What measures results, loaded once for many of them.

use std::path::Path;

use anyhow::{Context, Result};
use motionflow::prompt::Prompt;
use motionflow_eval::detector::{Detector, DetectorError};
use motionflow_eval::figure::Figure;
use motionflow_eval::lucas_kanade;
use motionflow_eval::motion_fidelity::{motion_fidelity, symmetric_motion_fidelity};
use motionflow_eval::tracks::Tracks;
use motionflow_eval::trajectory::{TrajectoryError, judge_subjects};
use motionflow_eval::truth::Truth;
use motionflow_media::image::RgbImage;
use tch::Device;

use super::clip::Clip;
use super::judges::Judges;
use crate::error::Misuse;
use crate::models::lookup::{Lookup, folder_of};
use crate::progress::Progress;

/// A result and what it was made of. Of a longer one of the two videos, the frames that they have in common count.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    /// None where it was made of masks alone.
    pub(crate) source: Option<&'a [RgbImage]>,
    pub(crate) result: &'a [RgbImage],
    /// What the result shows, if that is said.
    pub(crate) prompt: Option<&'a Prompt>,
    /// Where the source's subjects are, frame by frame.
    pub(crate) truth: Option<&'a Path>,
}

/// The models.
#[derive(Debug)]
pub(crate) struct Judging {
    clip: Option<Clip>,
    detector: Option<Detector>,
}

pub(super) const DETECTOR: Lookup =
    Lookup { flag: "--detector", noun: "detector", instead: "one like models/demo-detector, or its name" };

impl Judging {
    /// Finds and loads what measures.
    pub(crate) fn load(judges: &Judges, device: Device, progress: &mut Progress) -> Result<Self> {
        let load = |name: &String| -> Result<Detector> {
            let folder = folder_of(name, DETECTOR)?;
            Detector::load(&folder, device)
                .with_context(|| format!("cannot load the detector {}", folder.display()))
        };
        Ok(Self {
            clip: Clip::load(judges.clip.as_deref(), device, progress)?,
            detector: judges.detector.as_ref().map(load).transpose()?,
        })
    }

    /// Every figure that there is of a result. What cannot be measured, such as fidelity without a point that can be
    /// followed, is left out.
    pub(crate) fn measure(&self, measured: &Measured) -> Result<Vec<Figure>> {
        let frames = measured.source.map_or(usize::MAX, <[RgbImage]>::len).min(measured.result.len());
        let result = &measured.result[..frames];
        let mut figures = match measured.source {
            Some(source) => {
                let [source, tracked] = [&source[..frames], result].map(lucas_kanade::track);
                fidelity("motion_fidelity_lk", lucas_kanade::NAME, &source, &tracked)
            }
            None => Vec::new(),
        };
        if let Some(clip) = &self.clip {
            figures.extend(clip.measure(result, measured.prompt.map(|prompt| prompt.text.as_str()))?);
        }
        if let (Some(detector), Some(path), Some(prompt)) = (&self.detector, measured.truth, measured.prompt)
        {
            let truth = Truth::load(path).context("the truth about the source")?;
            let subjects: Vec<String> = prompt.subjects.iter().map(|subject| subject.text.clone()).collect();
            let judged = judge_subjects(detector, result, &truth, &subjects);
            figures.extend(judged.map_err(|error| match error {
                TrajectoryError::Detector(DetectorError::NotFinite { .. }) => error.into(),
                // What does not fit together is the user's to correct.
                _ => anyhow::Error::from(Misuse(error.to_string())),
            })?);
        }
        Ok(figures)
    }
}

/// Motion fidelity in both of its forms; nothing where there is nothing to compare.
pub(crate) fn fidelity(name: &str, made_with: &str, source: &Tracks, result: &Tracks) -> Vec<Figure> {
    let forms = [
        (name.to_owned(), motion_fidelity(source, result)),
        (format!("{name}_symmetric"), symmetric_motion_fidelity(source, result)),
    ];
    let figure = |(name, value): (String, Option<f64>)| {
        Some(Figure { name, subject: None, value: value?, made_with: made_with.to_owned() })
    };
    forms.into_iter().filter_map(figure).collect()
}
