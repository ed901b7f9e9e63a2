//! The motion that a request gives, as masks of every frame, without a run: for front ends that show it.

use anyhow::Result;
use motionflow_media::image::GrayImage;

use super::Motion;
use super::given::{Given, Origin};
use super::track::{Outline, Track};
use crate::engine::Engine;
use crate::error::Misuse;
use crate::progress::Progress;
use crate::request::recommended::Video;
use crate::request::resolve::Cut;
use crate::request::{CutOptions, MotionOptions};

/// The masks of subjects whose motion is given, all changes made.
#[derive(Debug)]
pub struct ShownMotion {
    /// One a subject: one picture a frame, of the video's size.
    pub subjects: Vec<Vec<GrayImage>>,
    /// The region that stays free.
    pub avoid: Option<Vec<GrayImage>>,
}

impl Engine {
    /// What the motion of a request is for a prompt of so many subjects.
    ///
    /// # Errors
    /// When a file cannot be read or is no motion, or a subject's motion comes from a clip or an inversion.
    pub fn shown_motion(
        &self,
        motion: &MotionOptions,
        subjects: usize,
        video: &Video,
        progress: &mut Progress,
    ) -> Result<ShownMotion> {
        let (subjects, avoid) = self.motions(motion, subjects, video, progress)?;
        let pictures = |motion: &Motion| motion.masks().1;
        Ok(ShownMotion {
            subjects: subjects.iter().map(pictures).collect(),
            avoid: avoid.as_ref().map(pictures),
        })
    }

    /// Key frames that follow the motion of one subject.
    ///
    /// # Errors
    /// As [`Engine::shown_motion`], and when the subject is seen in no frame.
    pub fn track_of(
        &self,
        motion: &MotionOptions,
        video: &Video,
        shape: Outline,
        progress: &mut Progress,
    ) -> Result<Track> {
        let (subjects, _) = self.motions(motion, 1, video, progress)?;
        let [one] = subjects.as_slice() else {
            return Err(Misuse("no motion is given; give a mask or a track".to_owned()).into());
        };
        Track::of(one, shape).map_err(|reason| Misuse(format!("a track cannot be made: {reason}")).into())
    }

    fn motions(
        &self,
        motion: &MotionOptions,
        subjects: usize,
        video: &Video,
        progress: &mut Progress,
    ) -> Result<(Vec<Motion>, Option<Motion>)> {
        let cut: Cut = CutOptions::default().resolve()?;
        let given =
            self.with_sources(|sources| Given::read(motion, subjects, video, cut, sources, progress))?;
        let Some(Given { subjects, avoid, .. }) = given else { return Ok((Vec::new(), None)) };
        let of = |(index, subject): (usize, super::given::Subject)| {
            match subject.origin {
            Origin::File(motion) => {
                let change = |motion: Motion, change| motion.changed(change, video.fps);
                Ok(subject.transforms.iter().fold(motion, change))
            }
            _ => Err(Misuse(format!(
                "the motion of subject {} comes from a clip, which is not looked at here; give its mask or a track",
                index + 1
            ))
            .into()),
        }
        };
        let motions: Result<Vec<Motion>> = subjects.into_iter().enumerate().map(of).collect();
        Ok((motions?, avoid))
    }
}
