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

use crate::cache::inversions::InversionCache;
use crate::error::FAULT;
use crate::folder::record::{MaskRecord, Origin, StepRecord};
use crate::folder::unfinished::Unfinished;
use crate::motion::mask_files::SubjectPictures;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::runs::encoding::Source;
use crate::runs::inverting::{Inverted, invert_source};
use crate::runs::noised_passes::run_noised_passes;
use crate::runs::pictures::{map_of, masks_of};

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
    source: Source,
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
            let (noised, passes) = run_noised_passes(model, source, settings, unfinished, progress)?;
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
                invert_source(model, source, clean, settings, &cache, unfinished, progress)?;
            steps.extend(made);
            Some((inversion, origin))
        }
    };
    let timesteps = settings.guided_timesteps(model.schedule())?;
    let masks = match (&noised, &inversion) {
        (Some(noised), _) => noised.masks(&timesteps, settings)?,
        (None, inversion) => needed(inversion.as_ref())?.0.masks(&timesteps, settings)?,
    };
    let figures = judge_masks(&masks, &timesteps, subjects, progress);
    Ok(SourceAnalysis { inversion, noised, masks, timesteps, figures, steps })
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

    /// For every subject its mean mask over the guided timesteps, one a frame, to be shown.
    pub(crate) fn shown_masks(&self) -> Result<Vec<Vec<Mask>>> {
        let latents = self.latents()?;
        (0..self.masks.subjects())
            .filter_map(|subject| self.masks.average(subject, |timestep| self.timesteps.contains(&timestep)))
            .map(|mask| masks_of(&mask, latents))
            .collect()
    }

    /// For every subject its masks at the video's size: where its mean mask over the guided timesteps is one half or more, and
    /// the mean of the maps that they are made of.
    pub(crate) fn pictures(&self, video: &Video) -> Result<Vec<SubjectPictures>> {
        let (latents, maps, frames) = (self.latents()?, self.maps()?, video.frames as usize);
        let serves = |timestep: i64| self.noised.is_some() || self.timesteps.contains(&timestep);
        let of_frames = |cells: &[Mask], draw: fn(&Mask, u32, u32) -> GrayImage| -> Vec<GrayImage> {
            let cells = (0..frames).filter_map(|frame| cells.get(map_of(frame, frames, cells.len())));
            cells.map(|cells| draw(cells, video.width, video.height)).collect()
        };
        let shown = self.shown_masks()?.into_iter().enumerate();
        let pictures = |(subject, masks): (usize, Vec<Mask>)| {
            let soft = average_map(&maps, subject, serves).map(|map| masks_of(&map, latents));
            Ok(SubjectPictures {
                masks: of_frames(&masks, Mask::picture),
                soft: of_frames(&soft.transpose()?.unwrap_or_default(), Mask::soft_picture),
            })
        };
        shown.map(pictures).collect()
    }
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
    let record = |(figures, subject): (&MaskFigures, &&str)| MaskRecord {
        subject: (*subject).to_owned(),
        coverage: figures.coverage,
        overlap: figures.overlap,
    };
    figures.iter().zip(subjects).map(record).collect()
}
