//! Source frames -> clean latents.

use anyhow::Result;
use motionflow::compute::Precision;
use motionflow::latents::Latents;
use motionflow::model::{EncodedPrompt, VideoModel};
use motionflow::wider::Wider;

use crate::folder::record::StepRecord;
use crate::progress::Progress;
use crate::source::SourceClip;

/// A source and what the text encoder makes of its prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) clip: &'a SourceClip,
    pub(crate) text: &'a EncodedPrompt,
    /// What [`encode`] made of it, where that was done already.
    pub(crate) encoded: Option<&'a Encoded>,
}

/// Clean latents, and in which precision they were made, where the run's own gave no finite values.
pub(crate) type Encoded = (Latents, Option<Precision>);

/// Encodes the source, unless it is encoded already. A precision that is not the run's own is told.
pub(crate) fn encode(model: &dyn VideoModel, source: Source, progress: &mut Progress) -> Result<Encoded> {
    if let Some((clean, encoded_in)) = source.encoded {
        return Ok((clean.share(), *encoded_in));
    }
    let stage = progress.stage("encode", 1);
    let clean = model.encode_clip(&source.clip.clip())?;
    stage.finish();
    let encoded_in = clean.wider.map(|wider| wider.to);
    source.warn_of_wider(encoded_in, progress);
    Ok((clean.value, encoded_in))
}

impl Source<'_> {
    /// Tells again what the first step of a run that goes on has recorded of the encoding.
    pub(crate) fn warn_of_recorded(self, first: Option<&StepRecord>, progress: &mut Progress) {
        if let Some(to) = first.and_then(StepRecord::encoded_in) {
            self.warn_of_wider(to.parse().ok(), progress);
        }
    }

    /// Tells that the source was encoded in a wider precision than the prompt.
    fn warn_of_wider(self, to: Option<Precision>, progress: &mut Progress) {
        if let Some(to) = to {
            let from = Precision::of(self.text.features.kind());
            progress.warn(Wider { stage: "encoding", from, to }.to_string());
        }
    }
}
