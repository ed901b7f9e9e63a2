//! What a request says of the motion of its subjects, read and checked; what only the model can see is left for later.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use motionflow::prompt::Prompt;
use motionflow::settings::{MaskSource, Settings};
use motionflow_media::image::GrayImage;
use sha2::{Digest, Sha256};

use super::track::Track;
use super::transform::{Transform, TransformError};
use super::{Motion, pictures, points};
use crate::error::Misuse;
use crate::folder::inversion_file::SavedInversion;
use crate::progress::Progress;
use crate::request::motion::{MotionOptions, SubjectMotion};
use crate::request::prompts;
use crate::request::recommended::Video;
use crate::request::resolve::Cut;
use crate::source::{SourceClip, SourceStore, check_utf8, hex, tell};

/// The largest track file.
const MOST_BYTES: u64 = 16 << 20;

/// The most characters that a message quotes.
const LONGEST_REASON: usize = 600;

/// The motion of every subject, as far as it does not come from the source of the whole transfer as it is.
#[derive(Debug)]
pub(crate) struct Given {
    /// One a subject; none where the masks are the source's as they are.
    pub(crate) subjects: Vec<Subject>,
    pub(crate) avoid: Option<Motion>,
    /// What is recorded of it.
    pub(crate) record: MotionOptions,
}

/// One subject's motion.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) origin: Origin,
    pub(crate) transforms: Vec<Transform>,
}

/// Where a motion comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The source of the whole transfer.
    Source,
    /// A mask or a track.
    File(Motion),
    /// Another clip, and what it shows.
    Clip(Arc<SourceClip>, Prompt),
    /// An inversion of another clip.
    Inversion(Box<SavedInversion>),
}

/// Checks that masks are given where the settings say so, and lets them say so where masks are.
pub(crate) fn settle(settings: &mut Settings, motion: &MotionOptions) -> Result<()> {
    if motion.gives_all() {
        settings.mask_source = MaskSource::Given;
    } else if settings.mask_source == MaskSource::Given {
        return Err(misuse(
            "--mask-source is given, but no masks are; give one a subject (--mask), or a track (--track)",
        ));
    }
    Ok(())
}

/// As many clips as have to be looked at besides the source.
pub(crate) fn clips(motion: &MotionOptions) -> usize {
    motion.subject.iter().flatten().filter(|subject| subject.source.is_some()).count()
}

impl Given {
    /// Prompts of clips that have to be looked at besides the source.
    pub(crate) fn prompts(&self) -> impl Iterator<Item = &Prompt> {
        self.subjects.iter().filter_map(|subject| match &subject.origin {
            Origin::Clip(_, prompt) => Some(prompt),
            _ => None,
        })
    }

    /// Reads what a request gives to a prompt of so many subjects. None where it says nothing of motion.
    pub(crate) fn read(
        motion: &MotionOptions,
        subjects: usize,
        video: &Video,
        cut: Cut,
        stores: &mut SourceStore,
        progress: &mut Progress,
    ) -> Result<Option<Self>> {
        if motion.is_empty() {
            return Ok(None);
        }
        for (_, path) in motion.paths() {
            check_utf8("--mask", path)?;
        }
        let mut reader = Reader { video, cut, stores, progress };
        let mut all = reader.subjects(motion, subjects)?;
        for text in motion.transform.iter().flatten() {
            let (chosen, transform) = of_subject(text, subjects)?;
            if all.is_empty() {
                all = (0..subjects)
                    .map(|_| Subject { origin: Origin::Source, transforms: Vec::new() })
                    .collect();
            }
            let of = |index: &usize| chosen.is_none_or(|chosen| chosen == *index);
            for index in (0..all.len()).filter(of) {
                all[index].transforms.push(transform.clone());
            }
        }
        let avoid = motion.avoid.as_deref().map(|path| reader.mask("--avoid", path, 0, 1)).transpose()?;
        let mut record = motion.clone();
        for path in record.paths_mut() {
            *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
        }
        record.sha256 = (!all.is_empty()).then(|| all.iter().map(Subject::sha256).collect());
        record.avoid_sha256 = avoid.as_ref().map(|avoid| sha256_of(&avoid.masks().1));
        Ok(Some(Self { subjects: all, avoid, record }))
    }
}

impl Subject {
    /// Of what it is given as, and of what is changed of it.
    fn sha256(&self) -> String {
        let origin = match &self.origin {
            Origin::Source => "source".to_owned(),
            Origin::File(motion) => sha256_of(&motion.masks().1),
            Origin::Clip(clip, prompt) => format!("{} {prompt:?}", clip.record.frames_sha256),
            Origin::Inversion(saved) => saved.record.sha256.clone(),
        };
        let transforms: Vec<String> = self.transforms.iter().map(Transform::to_string).collect();
        hex(&Sha256::digest(format!("{origin}\n{}", transforms.join("\n"))))
    }
}

fn sha256_of(masks: &[GrayImage]) -> String {
    let mut digest = Sha256::new();
    for mask in masks {
        digest.update(mask.as_raw());
    }
    hex(&digest.finalize())
}

/// A change, and the subject that it is for, counted from 0.
pub(crate) fn of_subject(text: &str, subjects: usize) -> Result<(Option<usize>, Transform)> {
    let (chosen, change) = match text.split_once(':').map(|(number, change)| (number.trim().parse(), change))
    {
        Some((Ok(number), change)) => (Some(number), change),
        _ => (None::<usize>, text),
    };
    if let Some(number) = chosen.filter(|number| !(1..=subjects).contains(number)) {
        return Err(misuse(&format!(
            "--transform {:?}: there is no subject {number}; the prompt marks {subjects}",
            shortened(text)
        )));
    }
    Ok((chosen.map(|number| number - 1), parse("--transform", change)?))
}

fn parse(what: &str, text: &str) -> Result<Transform> {
    text.parse().map_err(|error: TransformError| {
        misuse(&format!("{what} {:?}: {}", shortened(text), shortened(&error.to_string())))
    })
}

fn misuse(message: &str) -> anyhow::Error {
    Misuse(message.to_owned()).into()
}

/// Reads motions for a video.
pub(super) struct Reader<'a> {
    pub(super) video: &'a Video,
    pub(super) cut: Cut,
    pub(super) stores: &'a mut SourceStore,
    pub(super) progress: &'a mut Progress,
}

impl Reader<'_> {
    /// One motion a subject; none where nothing is said of them one by one.
    fn subjects(&mut self, motion: &MotionOptions, count: usize) -> Result<Vec<Subject>> {
        let ways = [motion.mask.is_some(), motion.track.is_some(), motion.subject.is_some()];
        if ways.into_iter().filter(|is_said| *is_said).count() > 1 {
            return Err(misuse(
                "the subjects' motion is given in two ways; give it by --mask alone, by --track alone, or one subject after the \
                 other as [[motion.subject]] in a settings file",
            ));
        }
        if let Some(subjects) = &motion.subject {
            counted("[[motion.subject]]", subjects.len(), count)?;
            return subjects
                .iter()
                .enumerate()
                .map(|(index, subject)| self.subject(index, subject))
                .collect();
        }
        let plain = |motion| Subject { origin: Origin::File(motion), transforms: Vec::new() };
        if let Some(tracks) = &motion.track {
            counted("--track", tracks.len(), count)?;
            return tracks.iter().map(|path| Ok(plain(self.track("--track", path)?))).collect();
        }
        let Some(masks) = &motion.mask else { return Ok(Vec::new()) };
        if let ([path], 2..) = (masks.as_slice(), count)
            && motionflow_eval::npz::is_npz(path)
        {
            let all = self.masks("--mask", path)?;
            if all.len() == count {
                return Ok(all.into_iter().map(plain).collect());
            }
        }
        counted("--mask", masks.len(), count)?;
        let mask =
            |(index, path): (usize, &std::path::PathBuf)| Ok(plain(self.mask("--mask", path, index, count)?));
        masks.iter().enumerate().map(mask).collect()
    }

    fn subject(&mut self, index: usize, subject: &SubjectMotion) -> Result<Subject> {
        let place = format!("[[motion.subject]] {}", index + 1);
        let transforms = subject
            .transform
            .iter()
            .flatten()
            .map(|text| parse(&format!("{place}: transform"), text))
            .collect::<Result<_>>()?;
        let SubjectMotion { source, source_prompt, inversion, mask, track, .. } = subject;
        let said = [source.is_some(), inversion.is_some(), mask.is_some(), track.is_some()];
        if said.into_iter().filter(|is_said| *is_said).count() > 1 {
            return Err(misuse(&format!(
                "{place}: give one of source, inversion, mask and track, and leave out the others"
            )));
        }
        if source_prompt.is_some() && source.is_none() {
            return Err(misuse(&format!(
                "{place}: source_prompt says what a source shows; give the source, too, or leave it out"
            )));
        }
        let origin = if let Some(path) = source {
            let text = source_prompt.as_deref().unwrap_or_default();
            let prompt = one_subject(&place, text)?;
            let clip = self.stores.read(path, self.cut, self.video, self.progress)?;
            Origin::Clip(clip, prompt)
        } else if let Some(path) = inversion {
            let saved = SavedInversion::open(path)?;
            one_subject(&place, &saved.record.source_prompt)?;
            let (made, wanted) = (&saved.record.video, self.video);
            if (made.width, made.height, made.frames) != (wanted.width, wanted.height, wanted.frames) {
                return Err(misuse(&format!(
                    "{place}: its inversion is of {} frames of {}x{}, and the new video of {} of {}x{}; invert again in this size",
                    made.frames, made.width, made.height, wanted.frames, wanted.width, wanted.height
                )));
            }
            Origin::Inversion(Box::new(saved))
        } else if let Some(path) = mask {
            Origin::File(self.mask(&place, path, index, 1)?)
        } else if let Some(path) = track {
            Origin::File(self.track(&place, path)?)
        } else {
            Origin::Source
        };
        Ok(Subject { origin, transforms })
    }

    /// The mask in a file; where a file has those of several subjects, the one at `index` of `count`.
    fn mask(&mut self, flag: &str, path: &Path, index: usize, count: usize) -> Result<Motion> {
        let mut all = self.masks(flag, path)?;
        if all.len() > 1 && all.len() != count {
            let found = all.len();
            return Err(misuse(&format!(
                "{flag}: {}: has the masks of {found} subjects, and here it is to have those of {count}",
                path.display()
            )));
        }
        let index = if all.len() > 1 { index } else { 0 };
        Ok(all.swap_remove(index))
    }

    pub(super) fn masks(&mut self, flag: &str, path: &Path) -> Result<Vec<Motion>> {
        let ffmpeg = self.stores.ffmpeg()?;
        let read = pictures::read(&ffmpeg, path, self.video, self.cut.fit);
        let masks = read.map_err(|reason| {
            misuse(&format!("{flag}: {}: is no mask: {}", path.display(), shortened(&reason)))
        })?;
        tell(path, &masks.notices, self.progress);
        Ok(masks.subjects)
    }

    pub(super) fn track(&mut self, flag: &str, path: &Path) -> Result<Motion> {
        check_utf8(flag, path)?;
        read_track(path, self.video).map_err(|reason| {
            misuse(&format!("{flag}: {}: is no track: {}", path.display(), shortened(&reason)))
        })
    }
}

/// A track of key frames or of points.
fn read_track(path: &Path, video: &Video) -> Result<Motion, String> {
    let (frames, size) = (video.frames as usize, (video.width as usize, video.height as usize));
    if points::is_of_points(path) {
        return points::read(path, frames, size);
    }
    Ok(key_frames(path)?.motion(frames, size, video.fps))
}

/// The key frames in a file.
fn key_frames(path: &Path) -> Result<Track, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("it is no file of JSON or CSV".to_owned());
    }
    if metadata.len() > MOST_BYTES {
        return Err(format!("it has more than {} MiB", MOST_BYTES >> 20));
    }
    let text = String::from_utf8(std::fs::read(path).map_err(cannot)?);
    Track::parse(&text.map_err(|_| "it is neither JSON, CSV, npz nor npy".to_owned())?)
}

/// A text that quotes what others wrote, at a length that a message may have.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn counted(what: &str, found: usize, subjects: usize) -> Result<()> {
    if found == subjects {
        return Ok(());
    }
    let message = format!(
        "{what} is there for {found}, and the prompt marks {subjects} subjects; give it once a subject, in the order of the brackets"
    );
    Err(misuse(&message))
}

fn one_subject(place: &str, text: &str) -> Result<Prompt> {
    let prompt = prompts::parse("source_prompt", text)?;
    match prompt.subjects.len() {
        1 => Ok(prompt),
        found => Err(misuse(&format!(
            "{place}: its source prompt marks {found} subjects; mark the one whose motion is taken: \"a [dog] on the grass\""
        ))),
    }
}
