//! What measures results, loaded once for many of them.

use std::path::Path;

use anyhow::Result;
use motionflow::prompt::Prompt;
use motionflow_eval::figure::Figure;
use motionflow_eval::lucas_kanade;
use motionflow_eval::motion_fidelity::{motion_fidelity, symmetric_motion_fidelity};
use motionflow_eval::tracks::Tracks;
use motionflow_media::image::RgbImage;

use crate::args;
use crate::session::Session;

/// A result and what it was made of. Of a longer one of the two videos, the frames that they have in common count.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) source: &'a [RgbImage],
    pub(crate) result: &'a [RgbImage],
    pub(crate) prompt: &'a Prompt,
    /// Where the source's subjects are, frame by frame.
    pub(crate) truth: Option<&'a Path>,
}

/// The models and the tracker.
#[derive(Debug)]
pub(crate) struct Judging {}

impl Judging {
    pub(crate) fn load(_judges: &args::Judges, _session: &mut Session) -> Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn measure(&self, measured: &Measured) -> Result<Vec<Figure>> {
        let frames = measured.source.len().min(measured.result.len());
        let (source, result) = (&measured.source[..frames], &measured.result[..frames]);
        let tracks = [source, result].map(lucas_kanade::track);
        Ok(fidelity("motion_fidelity_lk", lucas_kanade::NAME, &tracks[0], &tracks[1]))
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
