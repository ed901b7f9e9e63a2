//! The motion masks of subjects whose motion is given or changed, with the looks at clips that they take.

use anyhow::{Context, Result};
use motionflow::given::given_masks;
use motionflow::latents::Latents;
use motionflow::masks::MotionMasks;
use motionflow::settings::Settings;
use motionflow_media::image::GrayImage;

use crate::error::FAULT;
use crate::folder::inversion_file::{SavedInversion, check_fit};
use crate::folder::record::ModelRecord;
use crate::models::store::LoadedModel;
use crate::motion::Motion;
use crate::motion::given::{Given, Origin};
use crate::motion::mask_files::SubjectPictures;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::runs::analysis::{Seen, SourceAnalysis, pictures_of};
use crate::runs::encoding::{Source, encode};
use crate::runs::noised_passes;
use crate::source::SourceClip;

/// What the masks are made for.
pub(crate) struct For<'a> {
    pub(crate) model: &'a LoadedModel,
    /// What the checkpoint is.
    pub(crate) record: &'a ModelRecord,
    pub(crate) settings: &'a Settings,
    pub(crate) video: &'a Video,
    /// Timesteps that are guided.
    pub(crate) timesteps: &'a [i64],
    /// Latents of the video's size.
    pub(crate) latents: &'a Latents,
    /// The subjects' words.
    pub(crate) subjects: &'a [&'a str],
}

/// The masks of every subject, and the same as pictures. `source` has the pictures of the source's own masks, where its masks
/// are used.
fn masks_of(
    given: &Given,
    source: &[SubjectPictures],
    of: &For,
    progress: &mut Progress,
) -> Result<(MotionMasks, Vec<SubjectPictures>)> {
    let (mut masks, mut pictures) = (Vec::new(), Vec::new());
    for (index, subject) in given.subjects.iter().enumerate() {
        let motion = match &subject.origin {
            Origin::File(motion) => motion.clone(),
            Origin::Source => {
                let own = source.get(index);
                Motion::of_masks(
                    &own.with_context(|| format!("{FAULT}: no mask of subject {}", index + 1))?.masks,
                )
            }
            Origin::Clip(clip, prompt) => {
                let text = of.model.encode(prompt)?;
                text.warnings.iter().for_each(|warning| progress.warn(warning));
                Motion::of_masks(&look(
                    Source { clip: clip.as_ref(), text: &text, encoded: None },
                    of,
                    progress,
                )?)
            }
            Origin::Inversion(saved) => Motion::of_masks(&inverted(saved, of)?),
        };
        let motion = subject
            .transforms
            .iter()
            .fold(motion, |motion, transform| motion.changed(transform, of.video.fps));
        let (mask, drawn) = motion.masks();
        tell_empty(of.subjects.get(index).copied().unwrap_or_default(), &drawn, progress);
        masks.push(mask);
        pictures.push(as_files(drawn));
    }
    let avoid = given.avoid.as_ref().map(|avoid| avoid.masks().0);
    let nets = of.model.nets();
    let made = given_masks(nets, &masks, avoid.as_ref(), of.latents, of.timesteps, of.settings)?;
    Ok((made, pictures))
}

impl SourceAnalysis {
    /// Takes over the motion that is given, and the region to avoid.
    pub(crate) fn lead(&mut self, given: &Given, of: &For, progress: &mut Progress) -> Result<()> {
        if given.subjects.is_empty() {
            let avoid = given.avoid.as_ref().map(|avoid| avoid.masks().0);
            let nets = of.model.nets();
            let avoided = given_masks(nets, &[], avoid.as_ref(), of.latents, of.timesteps, of.settings)?;
            self.masks.avoid = avoided.avoid;
            return Ok(());
        }
        let takes_source = given.subjects.iter().any(|subject| matches!(subject.origin, Origin::Source));
        let own = if takes_source { self.pictures(of.video)? } else { Vec::new() };
        let (masks, pictures) = masks_of(given, &own, of, progress)?;
        self.take(masks, pictures, of.subjects);
        Ok(())
    }
}

fn as_files(soft: Vec<GrayImage>) -> SubjectPictures {
    let white = |picture: &GrayImage| {
        let mut mask = picture.clone();
        mask.iter_mut().for_each(|value| *value = if *value >= 128 { u8::MAX } else { 0 });
        mask
    };
    SubjectPictures { masks: soft.iter().map(white).collect(), soft }
}

/// Where the subject of another clip is, by passes on the noised clip.
fn look(source: Source, of: &For, progress: &mut Progress) -> Result<Vec<GrayImage>> {
    let nets = of.model.nets();
    let (clean, _) = encode(nets, source, progress)?;
    let seen = noised_passes::look(nets, clean, source.text, of.settings, "masks", progress)?;
    let masks = seen.masks(of.timesteps, of.settings)?;
    let looked = Seen {
        masks: &masks,
        maps: &seen.maps(),
        latents: &seen.latents,
        serves: &|_| true,
        guides: &|_| true,
    };
    Ok(first(pictures_of(&looked, of.video)?))
}

fn inverted(saved: &SavedInversion, of: &For) -> Result<Vec<GrayImage>> {
    let (_, inversion): (SourceClip, _) = saved.load(of.record)?;
    check_fit(&inversion, of.model.nets(), of.video, of.settings)?;
    let known = |timestep: &i64| inversion.maps.at.contains_key(timestep);
    let all: Vec<i64> = inversion.maps.at.keys().copied().collect();
    let chosen: Vec<i64> = of.timesteps.iter().copied().filter(known).collect();
    let chosen = if chosen.is_empty() { all } else { chosen };
    let masks = inversion.masks(&chosen, of.settings)?;
    let serves = |timestep: i64| chosen.contains(&timestep);
    let seen = Seen {
        masks: &masks,
        maps: &inversion.maps,
        latents: &inversion.latents,
        serves: &serves,
        guides: &serves,
    };
    Ok(first(pictures_of(&seen, of.video)?))
}

fn first(pictures: Vec<SubjectPictures>) -> Vec<GrayImage> {
    pictures.into_iter().next().map(|subject| subject.masks).unwrap_or_default()
}

/// Tells in which frames there is nothing of a mask.
fn tell_empty(subject: &str, masks: &[GrayImage], progress: &mut Progress) {
    let is_empty = |mask: &GrayImage| mask.iter().all(|value| *value == 0);
    let empty: Vec<usize> =
        masks.iter().enumerate().filter(|(_, mask)| is_empty(mask)).map(|(at, _)| at + 1).collect();
    if empty.is_empty() {
        return;
    }
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for frame in &empty {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *frame => *last = *frame,
            _ => ranges.push((*frame, *frame)),
        }
    }
    let words = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first} to {last}") });
    progress.warn(format!(
        "the mask of \"{subject}\" is empty in {} of {} frames ({}): nothing leads it there",
        empty.len(),
        masks.len(),
        words.collect::<Vec<_>>().join(", ")
    ));
}
