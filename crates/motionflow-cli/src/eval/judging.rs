//! What measures results, loaded once for many of them.

use std::path::Path;

use anyhow::Result;
use motionflow::prompt::Prompt;
use motionflow_eval::figure::Figure;
use motionflow_media::image::RgbImage;

use crate::args;
use crate::session::Session;

/// A result and what it was made of.
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

    pub(crate) fn measure(&self, _measured: &Measured) -> Result<Vec<Figure>> {
        Ok(Vec::new())
    }
}
