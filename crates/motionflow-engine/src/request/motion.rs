//! The motion that is given: masks, tracks, and what is changed of them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Motion that the user gives, or changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-heading" = "Given motion"))]
pub struct MotionOptions {
    /// Mask of a subject, instead of what the model sees: a folder of images, an image, a video or an npz, white where the
    /// subject is; once a subject, in the order of the prompt's brackets
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-setting" = { "value": "PATH", "default": "", "repeated": true }))]
    pub mask: Option<Vec<PathBuf>>,
    /// Track of a subject, instead of a mask: key frames of a box or an ellipse (JSON or CSV), or tracked points (npz or npy);
    /// once a subject
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-setting" = { "value": "PATH", "default": "", "repeated": true }))]
    pub track: Option<Vec<PathBuf>>,
    /// Change of the motion, such as "move 0.1 0", "mirror" or "speed 2"; several are made in order, for all subjects, or for
    /// the second alone: "2: mirror"
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-setting" = { "value": "CHANGE", "default": "", "repeated": true }))]
    pub transform: Option<Vec<String>>,
    /// Mask of a region that no subject's attention shall be in
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-setting" = { "value": "PATH", "default": "" }))]
    pub avoid: Option<PathBuf>,
    /// Recorded: SHA-256 of each subject's motion, as it was given
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Vec<String>>,
    /// Recorded: SHA-256 of the region to avoid
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avoid_sha256: Option<String>,
    /// The motion of each subject, one after the other in the order of the prompt's brackets
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Vec<SubjectMotion>>,
}

/// Where one subject's motion comes from: one of a source with its prompt, an inversion, a mask or a track; else the subject at
/// the same place in the source of the whole transfer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SubjectMotion {
    /// Video that the motion is taken from
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// What it shows, the subject in brackets
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_prompt: Option<String>,
    /// Folder that `motionflow invert` made of such a video
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inversion: Option<PathBuf>,
    /// Mask of the subject
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// Track of the subject
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<PathBuf>,
    /// Changes of the motion, made in order
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<Vec<String>>,
}

impl MotionOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether no subject's motion is taken from the source of the whole transfer.
    pub fn gives_all(&self) -> bool {
        let has_files = |files: &Option<Vec<PathBuf>>| files.as_ref().is_some_and(|files| !files.is_empty());
        let subjects = self.subject.as_deref().unwrap_or_default();
        has_files(&self.mask)
            || has_files(&self.track)
            || (!subjects.is_empty() && subjects.iter().all(SubjectMotion::has_its_own))
    }

    /// Every path that it names, with what is there.
    pub(crate) fn paths(&self) -> Vec<(&'static str, &PathBuf)> {
        let masks = self.mask.iter().flatten().map(|path| ("the mask", path));
        let tracks = self.track.iter().flatten().map(|path| ("the track", path));
        let mut paths: Vec<(&'static str, &PathBuf)> = masks.chain(tracks).collect();
        paths.extend(self.avoid.iter().map(|path| ("the region to avoid", path)));
        for subject in self.subject.iter().flatten() {
            let SubjectMotion { source, inversion, mask, track, .. } = subject;
            let named = [
                ("the source", source),
                ("the inversion", inversion),
                ("the mask", mask),
                ("the track", track),
            ];
            paths.extend(named.into_iter().filter_map(|(what, path)| Some((what, path.as_ref()?))));
        }
        paths
    }

    /// Every path that it names, to be changed.
    pub(crate) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files =
            self.mask.iter_mut().flatten().chain(self.track.iter_mut().flatten()).chain(&mut self.avoid);
        let of_subjects = self.subject.iter_mut().flatten().flat_map(|subject| {
            let SubjectMotion { source, inversion, mask, track, .. } = subject;
            [source, inversion, mask, track].into_iter().flatten()
        });
        files.chain(of_subjects)
    }

    /// Forgets what contradicts what is said instead.
    pub(crate) fn forget_what_contradicts(&mut self, said: &Self) {
        if said.mask.is_some() || said.track.is_some() || said.subject.is_some() {
            (self.mask, self.track, self.subject, self.sha256) = (None, None, None, None);
        }
        if said.avoid.is_some() {
            self.avoid_sha256 = None;
        }
    }
}

impl SubjectMotion {
    fn has_its_own(&self) -> bool {
        self.source.is_some() || self.inversion.is_some() || self.mask.is_some() || self.track.is_some()
    }
}
