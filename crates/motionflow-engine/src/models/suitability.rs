//! What makes a poor video of a source or a size that can be taken, told before the time is spent.

use motionflow::sampler::Sampler;
use motionflow::schedule::Schedule;
use motionflow::settings::Settings;
use motionflow::windows::ContextOptions;
use motionflow_media::image::RgbImage;

use crate::progress::Progress;
use crate::request::recommended::{Recommended, Video};

/// Standard deviation of a frame's channel, in levels of 255, under which it shows one colour and noise.
const LEAST_CONTRAST: f64 = 2.0;
/// Levels of 255 that a pixel must change by to have moved: a codec's noise in a still picture stays below.
const LEAST_CHANGE: u8 = 12;

/// Noise of so many times the signal leaves nothing to see.
const ALL_NOISE: f64 = 30.0;

const FLAT: &str = "the source's frames are each of one colour: there is no subject in them whose motion could be taken; \
                    give another part of it (--start), or another video";
const STILL: &str = "the source's frames are all alike: there is no motion in them to take; give another part of it \
                     (--start, --every), or another video";

/// Warns of a source that has no motion, and of a number of frames that the checkpoint is not made for.
pub(crate) fn warn_of_source(
    frames: &[RgbImage],
    video: &Video,
    context: ContextOptions,
    recommended: &Recommended,
    progress: &mut Progress,
) {
    if frames.iter().all(is_flat) {
        progress.warn(FLAT);
    } else if is_still(frames) {
        progress.warn(STILL);
    }
    warn_of_frames(video, context, recommended, progress);
}

/// Warns of a number of frames at once that the checkpoint is not made for.
pub(crate) fn warn_of_frames(
    video: &Video,
    context: ContextOptions,
    recommended: &Recommended,
    progress: &mut Progress,
) {
    let Some(made_for) = recommended.made_for_frames.map(i64::from) else { return };
    let frames = i64::from(video.frames);
    let at_once = context.frames_at_once(frames);
    let outcome = if at_once > made_for {
        "may fall apart"
    } else if at_once * 2 < made_for {
        "may lack detail and motion"
    } else {
        return;
    };
    let advice = if at_once < frames {
        format!("windows of {at_once} {outcome}: give --context-frames {made_for}")
    } else if at_once > made_for {
        format!("one of {frames} {outcome}: give --context-frames {made_for}, or --frames {made_for}")
    } else {
        format!("one of {frames} {outcome}: give --frames {made_for}")
    };
    progress.warn(format!("the checkpoint is made for videos of {made_for} frames, so {advice}"));
}

/// Warns of steps that are lost where all is noise: Karras's noise levels begin at the schedule's highest, which is infinite, or
/// nearly so, where no signal is left at the last timestep.
pub(crate) fn warn_of_levels(schedule: &Schedule, settings: &Settings, progress: &mut Progress) {
    let Ok(sampler) = Sampler::new(schedule, settings) else { return };
    let count = sampler.timesteps().len();
    let lost = (1..count).filter(|index| sampler.noise_level(*index) > ALL_NOISE).count();
    if lost * 4 > count {
        progress.warn(format!(
            "{lost} of {count} steps are at noise levels where nothing of the video can be seen, since no signal is left at the \
             checkpoint's last timestep: the result will be poor; turn off --karras-sigmas"
        ));
    }
}

fn is_flat(frame: &RgbImage) -> bool {
    (0..3).all(|channel| {
        let values = || frame.pixels().map(|pixel| f64::from(pixel.0[channel]));
        let count = f64::from(frame.width()) * f64::from(frame.height());
        let mean = values().sum::<f64>() / count.max(1.0);
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count.max(1.0);
        variance.sqrt() < LEAST_CONTRAST
    })
}

fn is_still(frames: &[RgbImage]) -> bool {
    let [first, others @ ..] = frames else { return false };
    let is_like_first = |frame: &RgbImage| {
        first.as_raw().iter().zip(frame.as_raw()).all(|(one, other)| one.abs_diff(*other) < LEAST_CHANGE)
    };
    !others.is_empty() && others.iter().all(is_like_first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(shown: impl Fn(u32, u32) -> u8) -> RgbImage {
        RgbImage::from_fn(64, 64, |x, y| [shown(x, y); 3].into())
    }

    #[test]
    fn one_colour_with_a_codecs_noise_is_flat_and_a_dot_is_not() {
        assert!(is_flat(&frame(|_, _| 0)) && is_flat(&frame(|x, y| 200 + (x * 7 + y * 3) as u8 % 4)));
        assert!(!is_flat(&frame(|x, y| if x < 3 && y < 3 { 255 } else { 0 })));
    }

    #[test]
    fn a_small_thing_that_moves_is_motion() {
        let at = |place: u32| frame(move |x, y| if x == place && y < 4 { 255 } else { 10 });
        assert!(is_still(&[at(1), at(1), at(1)]) && !is_still(&[at(1), at(1), at(2)]));
        assert!(!is_still(&[at(1)]), "one frame has no motion to lack");
        let noisy = |seed: u32| frame(move |x, y| 100 + ((x * 5 + y * 11 + seed) % 6) as u8);
        assert!(is_still(&[noisy(0), noisy(3)]));
    }
}
