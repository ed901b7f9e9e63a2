//! How well the subjects of a result follow those of a source whose truth is known.

use motionflow_media::image::RgbImage;

use crate::detections::Place;
use crate::detector::{Detector, DetectorError};
use crate::figure::Figure;
use crate::truth::{Shown, Truth};

/// Why a result cannot be compared with a source's truth.
#[derive(Debug, thiserror::Error)]
pub enum TrajectoryError {
    /// The detector cannot say.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// The prompt has other subjects than the source.
    #[error(
        "the source's truth is about {truth} subjects, and the prompt has {prompt} in brackets; they must be as many"
    )]
    Subjects {
        /// In the truth.
        truth: usize,
        /// In the prompt.
        prompt: usize,
    },
    /// The masks are of another size.
    #[error(
        "the masks of the source's truth are of {truth}×{truth} cells, and those of the detector of {detector}×{detector}"
    )]
    Grid {
        /// Cells on a side, in the truth.
        truth: usize,
        /// Cells on a side, of the detector.
        detector: usize,
    },
}

/// The mean distance of a subject's centre in the result from that of the source's subject, in fractions of the
/// picture's width, over the frames in which the source's subject is visible; none if there are none.
pub fn trajectory_error(truth: &[Shown], result: &[Place]) -> Option<f64> {
    mean(truth.iter().zip(result).filter_map(|(truth, result)| {
        let [x, y] = truth.centre?;
        Some((result.centre[0] - x).hypot(result.centre[1] - y))
    }))
}

/// The mean intersection over union of a subject's mask in the result with that of the source's subject, over the frames
/// in which the source's subject is visible; none if there are none.
pub fn mask_iou(truth: &[Shown], result: &[Place]) -> Option<f64> {
    mean(truth.iter().zip(result).filter(|(truth, _)| truth.centre.is_some()).map(|(truth, result)| {
        let cells = || truth.mask.iter().zip(&result.mask);
        let either = cells().filter(|&(&a, &b)| a || b).count();
        cells().filter(|&(&a, &b)| a && b).count() as f64 / either.max(1) as f64
    }))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// `trajectory_error`, `mask_iou` and `subject_right` (1 or 0) of each of the prompt's subjects, the k-th compared with
/// the source's k-th. Of the longer one of truth and result, the frames that they have in common count. Subjects are told
/// apart by what they look like: subjects that have changed places are both far off.
///
/// # Errors
/// [`TrajectoryError`].
pub fn judge_subjects(
    detector: &Detector,
    result: &[RgbImage],
    truth: &Truth,
    subjects: &[String],
) -> Result<Vec<Figure>, TrajectoryError> {
    if truth.subjects.len() != subjects.len() {
        return Err(TrajectoryError::Subjects { truth: truth.subjects.len(), prompt: subjects.len() });
    }
    if truth.grid != detector.grid() {
        return Err(TrajectoryError::Grid { truth: truth.grid, detector: detector.grid() });
    }
    let wanted = subjects.iter().map(|subject| detector.class_of(subject)).collect::<Result<Vec<_>, _>>()?;
    let seen = detector.look(&result[..result.len().min(truth.frames())])?;
    let right = seen.shows(&wanted);
    let mut figures = Vec::new();
    for (k, subject) in subjects.iter().enumerate() {
        let (shown, places) = (&truth.subjects[k], seen.follow(&wanted, k));
        let values = [
            ("trajectory_error", trajectory_error(shown, &places)),
            ("mask_iou", mask_iou(shown, &places)),
            ("subject_right", Some(f64::from(u8::from(right[k])))),
        ];
        figures.extend(values.into_iter().filter_map(|(name, value)| {
            Some(Figure {
                name: name.to_owned(),
                subject: Some(subject.clone()),
                value: value?,
                made_with: detector.name().to_owned(),
            })
        }));
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_without_the_subject_are_left_out() {
        let shown = |centre, mask: [bool; 4]| Shown { centre, mask: mask.to_vec() };
        let place = |centre, mask: [bool; 4]| Place { centre, mask: mask.to_vec() };
        let truth = [
            shown(Some([0.2, 0.2]), [true, true, false, false]),
            shown(None, [false; 4]),
            shown(Some([0.5, 0.5]), [true; 4]),
        ];
        let result = [
            place([0.5, 0.6], [true, false, true, false]),
            place([0.9, 0.9], [true; 4]),
            place([0.5, 0.5], [true; 4]),
        ];
        assert!((trajectory_error(&truth, &result).unwrap() - 0.25).abs() < 1e-12);
        assert!((mask_iou(&truth, &result).unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(trajectory_error(&truth[1..2], &result[1..2]), None);
    }
}
