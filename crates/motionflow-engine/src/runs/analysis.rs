//! The first half of a transfer: source frames -> the inversion that sampling may start from, and the motion masks.

use anyhow::{Context, Result};
use motionflow::diagnostics::{MaskFigures, mask_figures, mask_warnings};
use motionflow::inversion::Inversion;
use motionflow::latents::Latents;
use motionflow::masking::average_map;
use motionflow::masks::{MotionMasks, SubjectMaps};
use motionflow::model::VideoModel;
use motionflow::noised::NoisedSource;
use motionflow::settings::{MaskSource, Settings};
use motionflow_media::Mask;
use motionflow_media::image::GrayImage;
use rayon::prelude::*;

use crate::cache::inversions::InversionCache;
use crate::error::FAULT;
use crate::event::{Event, ShownMask};
use crate::folder::record::{MaskRecord, Origin, StepRecord};
use crate::folder::unfinished::Unfinished;
use crate::motion::mask_files::SubjectPictures;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::runs::encoding::Source;
use crate::runs::inverting::{Inverted, invert_source};
use crate::runs::noised_passes::run_noised_passes;
use crate::runs::pictures::{map_of, masks_of};
use crate::runs::preview::LatentColours;
use crate::source::SourceClip;

/// Where a run's inversion comes from.
#[derive(Debug)]
pub(crate) enum InversionFrom {
    /// It takes none.
    No,
    /// It was given.
    Given(Inversion),
    /// It is made, or lies here.
    Source(InversionCache),
}

/// What a run has of its source.
#[derive(Debug)]
pub(crate) struct SourceAnalysis {
    /// The inversion, and where it came from, where the run takes one.
    pub(crate) inversion: Option<(Inversion, Origin)>,
    /// What was seen in the noised source, where the masks are made of that.
    noised: Option<NoisedSource>,
    /// The masks as pictures, where they were given or changed.
    given: Option<Vec<SubjectPictures>>,
    pub(crate) masks: MotionMasks,
    /// Timesteps that a transfer would be guided at.
    pub(crate) timesteps: Vec<i64>,
    pub(crate) figures: Vec<MaskRecord>,
    pub(crate) steps: Vec<StepRecord>,
}

/// Looks at the source: the passes on the noised source first, where there are any, then the inversion. Warns of masks
/// that look wrong; `subjects` are the source prompt's words.
pub(crate) fn analyze_source(
    model: &dyn VideoModel,
    source: Option<Source>,
    subjects: &[&str],
    settings: &Settings,
    inverts: InversionFrom,
    unfinished: &mut Unfinished,
    progress: &mut Progress,
) -> Result<SourceAnalysis> {
    let mut steps = Vec::new();
    let noised = match settings.mask_source {
        MaskSource::Inversion | MaskSource::Given => None,
        MaskSource::Noised => {
            let (noised, passes) = run_noised_passes(model, there(source)?, settings, unfinished, progress)?;
            steps.extend(passes);
            Some(noised)
        }
    };
    let inversion = match inverts {
        InversionFrom::No => None,
        InversionFrom::Given(inversion) => Some((inversion, Origin::Given)),
        InversionFrom::Source(cache) => {
            let clean = noised.as_ref().map(|noised| noised.latents.share());
            let Inverted { inversion, origin, steps: made } =
                invert_source(model, there(source)?, clean, settings, &cache, unfinished, progress)?;
            steps.extend(made);
            Some((inversion, origin))
        }
    };
    let timesteps = settings.guided_timesteps(model.schedule())?;
    let masks = match (&noised, &inversion) {
        _ if settings.mask_source == MaskSource::Given => MotionMasks::default(),
        (Some(noised), _) => noised.masks(&timesteps, settings)?,
        (None, inversion) => needed(inversion.as_ref())?.0.masks(&timesteps, settings)?,
    };
    let figures = judge_masks(&masks, &timesteps, subjects, progress);
    Ok(SourceAnalysis { inversion, noised, given: None, masks, timesteps, figures, steps })
}

impl SourceAnalysis {
    /// The inversion of a run that takes one.
    pub(crate) fn inversion(&self) -> Result<&(Inversion, Origin)> {
        needed(self.inversion.as_ref())
    }

    /// Where its inversion came from, where there is one.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.inversion.as_ref().map(|(_, origin)| *origin)
    }

    /// The maps that the masks are made of.
    pub(crate) fn maps(&self) -> Result<SubjectMaps> {
        Ok(match &self.noised {
            Some(noised) => noised.maps(),
            None => self.inversion()?.0.maps.share(),
        })
    }

    /// Latents of the source, which tell the maps' heights and widths.
    pub(crate) fn latents(&self) -> Result<&Latents> {
        Ok(match &self.noised {
            Some(noised) => &noised.latents,
            None => &self.inversion()?.0.latents,
        })
    }

    /// Takes over masks that were given or changed.
    pub(crate) fn take(&mut self, masks: MotionMasks, pictures: Vec<SubjectPictures>, subjects: &[&str]) {
        let timesteps = &self.timesteps;
        let figures = mask_figures(&masks, |timestep| timesteps.contains(&timestep));
        self.figures = recorded(&figures, subjects);
        (self.masks, self.given) = (masks, Some(pictures));
    }

    /// For every subject its mean mask over the guided timesteps, one a frame, to be shown.
    pub(crate) fn shown_masks(&self) -> Result<Vec<Vec<Mask>>> {
        if let Some(given) = &self.given {
            let mask = |picture: &GrayImage| {
                let values = picture.as_raw().iter().map(|value| f32::from(*value) / 255.0).collect();
                Ok(Mask::new(picture.width(), picture.height(), values)?)
            };
            return given.iter().map(|subject| subject.masks.iter().map(mask).collect()).collect();
        }
        shown(&self.masks, self.latents()?, &|timestep| self.timesteps.contains(&timestep))
    }

    /// Tells the masks, for whoever watches the run, and gives what makes previews of latents.
    pub(crate) fn show(
        &self,
        clip: Option<&SourceClip>,
        model: &dyn VideoModel,
        progress: &Progress,
    ) -> Result<LatentColours> {
        progress.event(&Event::Masks { subjects: &self.masks_to_watch() });
        let clip = clip.map(SourceClip::clip);
        let source = self.noised.as_ref().zip(clip.as_ref()).map(|(noised, clip)| (&noised.latents, clip));
        LatentColours::of(model, source)
    }

    fn masks_to_watch(&self) -> Vec<ShownMask> {
        let shown = self.shown_masks().unwrap_or_default();
        let of = |(record, cells): (&MaskRecord, &Vec<Mask>)| ShownMask {
            text: record.subject.clone(),
            shape: cells
                .first()
                .map_or([0; 3], |mask| [cells.len(), mask.height() as usize, mask.width() as usize]),
            mask: cells.iter().flat_map(Mask::values).map(|share| *share >= 0.5).collect(),
            coverage: record.coverage,
            overlap: record.overlap,
        };
        self.figures.iter().zip(&shown).map(of).collect()
    }

    /// For every subject its masks at the video's size.
    pub(crate) fn pictures(&self, video: &Video) -> Result<Vec<SubjectPictures>> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let serves = |timestep: i64| self.timesteps.contains(&timestep);
        let every = |_: i64| true;
        pictures_of(
            &Seen {
                masks: &self.masks,
                maps: &self.maps()?,
                latents: self.latents()?,
                serves: if self.noised.is_some() { &every } else { &serves },
                guides: &serves,
            },
            video,
        )
    }
}

/// What was seen of a source.
pub(crate) struct Seen<'a> {
    pub(crate) masks: &'a MotionMasks,
    pub(crate) maps: &'a SubjectMaps,
    pub(crate) latents: &'a Latents,
    /// Of which timesteps the maps count.
    pub(crate) serves: &'a dyn Fn(i64) -> bool,
    /// Of which timesteps the masks count.
    pub(crate) guides: &'a dyn Fn(i64) -> bool,
}

/// For every subject its masks at the video's size: where its mean mask is one half or more, and the mean of the maps that the
/// masks are made of.
pub(crate) fn pictures_of(seen: &Seen, video: &Video) -> Result<Vec<SubjectPictures>> {
    let frames = video.frames as usize;
    let of_frames = |cells: &[Mask], draw: fn(&Mask, u32, u32) -> GrayImage| -> Vec<GrayImage> {
        let cells: Vec<&Mask> =
            (0..frames).filter_map(|frame| cells.get(map_of(frame, frames, cells.len()))).collect();
        cells.into_par_iter().map(|cells| draw(cells, video.width, video.height)).collect()
    };
    let pictures = |(subject, masks): (usize, Vec<Mask>)| {
        let soft = average_map(seen.maps, subject, seen.serves).map(|map| masks_of(&map, seen.latents));
        Ok(SubjectPictures {
            masks: of_frames(&masks, Mask::picture),
            soft: of_frames(&soft.transpose()?.unwrap_or_default(), Mask::soft_picture),
        })
    };
    shown(seen.masks, seen.latents, seen.guides)?.into_iter().enumerate().map(pictures).collect()
}

/// For every subject its mean mask over the timesteps that serve, one a latent frame.
fn shown(masks: &MotionMasks, latents: &Latents, serves: &dyn Fn(i64) -> bool) -> Result<Vec<Vec<Mask>>> {
    let mean = (0..masks.subjects()).filter_map(|subject| masks.average(subject, serves));
    mean.map(|mask| masks_of(&mask, latents)).collect()
}

fn there(source: Option<Source>) -> Result<Source> {
    source.with_context(|| format!("{FAULT}: the run has no source"))
}

fn needed(inversion: Option<&(Inversion, Origin)>) -> Result<&(Inversion, Origin)> {
    inversion.with_context(|| format!("{FAULT}: the run has no inversion"))
}

/// Figures of every subject's masks; warns where they look wrong.
fn judge_masks(
    masks: &MotionMasks,
    timesteps: &[i64],
    subjects: &[&str],
    progress: &mut Progress,
) -> Vec<MaskRecord> {
    let figures = mask_figures(masks, |timestep| timesteps.contains(&timestep));
    for warning in mask_warnings(&figures, subjects) {
        progress.warn(warning);
    }
    recorded(&figures, subjects)
}

fn recorded(figures: &[MaskFigures], subjects: &[&str]) -> Vec<MaskRecord> {
    let record = |(figures, subject): (&MaskFigures, &&str)| MaskRecord {
        subject: (*subject).to_owned(),
        coverage: figures.coverage,
        overlap: figures.overlap,
    };
    figures.iter().zip(subjects).map(record).collect()
}
