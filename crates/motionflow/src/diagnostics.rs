//! The method's own failure signs, measured on every run and put into words.

use tch::{Kind, Tensor};

use crate::generation::GuidedUpdate;
use crate::masks::{LayerMasks, MotionMasks};

/// A mask smaller than this share of the frame is "almost nothing".
const SMALLEST_COVERAGE: f64 = 0.01;
/// A mask larger than this share of the frame is "almost everything".
const LARGEST_COVERAGE: f64 = 0.6;
/// Masks of neighbouring frames that overlap less than this (IoU) "jump about".
const LEAST_OVERLAP: f64 = 0.15;
/// A loss that keeps more than this share of its first value "does not fall".
const LEAST_FALL: f64 = 0.98;
/// Updates from which a trend can be seen.
const FEWEST_UPDATES: usize = 4;

/// What one subject's masks look like over all guided timesteps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskFigures {
    /// Mean share of the frame that is masked, 0..1.
    pub coverage: f64,
    /// Mean IoU of the masks of neighbouring frames, 0..1. 1 for a video of one frame.
    pub overlap: f64,
}

/// Mean share of the frame that one subject's masks cover, over layers and frames.
pub fn coverage(masks: &LayerMasks) -> f64 {
    mean(masks.values().map(|mask| mask.mean(Kind::Float).double_value(&[])))
}

/// Mean IoU of the masks of neighbouring frames: [frames, places] -> 0..1
fn overlap(mask: &Tensor) -> f64 {
    let frames = mask.size()[0];
    if frames < 2 {
        return 1.0;
    }
    let (before, after) = (mask.narrow(0, 0, frames - 1), mask.narrow(0, 1, frames - 1));
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None);
    let ratio = sum(&before.minimum(&after)) / sum(&before.maximum(&after)).clamp_min(1.0);
    ratio.mean(Kind::Float).double_value(&[])
}

/// The figures of every subject over the timesteps `chosen`.
pub fn mask_figures(masks: &MotionMasks, chosen: impl Fn(i64) -> bool) -> Vec<MaskFigures> {
    let at: Vec<&Vec<LayerMasks>> =
        masks.at.iter().filter(|(timestep, _)| chosen(**timestep)).map(|(_, masks)| masks).collect();
    let figures = |subject: usize| MaskFigures {
        coverage: mean(at.iter().map(|masks| coverage(&masks[subject]))),
        overlap: mean(at.iter().flat_map(|masks| masks[subject].values().map(overlap))),
    };
    (0..masks.subjects()).map(figures).collect()
}

/// Warnings about masks, each with what to try. `subjects` are the source prompt's words.
pub fn mask_warnings(figures: &[MaskFigures], subjects: &[&str]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (figures, subject) in figures.iter().zip(subjects) {
        let percent = figures.coverage * 100.0;
        if figures.coverage < SMALLEST_COVERAGE {
            warnings.push(format!(
                "the mask of \"{subject}\" covers only {percent:.1} % of the frame: lower --tau, or name what is \
                 seen in the video with another word"
            ));
        } else if figures.coverage > LARGEST_COVERAGE {
            warnings.push(format!(
                "the mask of \"{subject}\" covers {percent:.0} % of the frame, so it says little about where the \
                 subject is: raise --tau, or name the subject with another word"
            ));
        }
        if figures.overlap < LEAST_OVERLAP {
            warnings.push(format!(
                "the mask of \"{subject}\" jumps about: neighbouring frames overlap by {:.0} % only; take more \
                 frames a second (--every 1), or lower --tau",
                figures.overlap * 100.0
            ));
        }
    }
    warnings
}

/// A warning when guidance did not lower its loss.
pub fn loss_warning(updates: &[GuidedUpdate]) -> Option<String> {
    let first = updates.first()?.loss;
    let tail = &updates[updates.len() - updates.len().div_ceil(4)..];
    let last = mean(tail.iter().map(|update| update.loss));
    if updates.len() < FEWEST_UPDATES || last < LEAST_FALL * first {
        return None;
    }
    Some(format!(
        "the guidance loss does not fall ({first:.3} at first, {last:.3} at last): raise --step-size, or set \
         --step-norm 0.02 and --updates-per-step 3"
    ))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(values: &[f32], frames: i64) -> MotionMasks {
        let mask = Tensor::from_slice(values).view([frames, -1]);
        let layers = LayerMasks::from([("layer".to_owned(), mask)]);
        MotionMasks { at: [(981, vec![layers])].into(), ..MotionMasks::default() }
    }

    #[test]
    fn a_mask_of_everything_and_a_jumping_one_are_told() {
        let everything = mask_figures(&masks(&[1.0; 8], 2), |_| true);
        assert_eq!(everything, [MaskFigures { coverage: 1.0, overlap: 1.0 }]);
        assert!(mask_warnings(&everything, &["car"])[0].contains("100 %"));
        let jumping = mask_figures(&masks(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 2), |_| true);
        assert!(mask_warnings(&jumping, &["car"])[0].contains("jumps about"));
    }

    #[test]
    fn a_loss_that_stays_is_told_and_one_that_falls_is_not() {
        let update = |loss| GuidedUpdate {
            step: 1,
            steps: 10,
            update: 1,
            timestep: 981.into(),
            loss,
            parts: crate::losses::LossParts::default(),
            gradient_norm: 1.0,
            relative_move: 0.1,
            loss_scale: 1.0,
        };
        assert!(loss_warning(&[1.0, 1.0, 1.0, 0.99].map(update)).is_some());
        assert!(loss_warning(&[1.0, 0.9, 0.8, 0.7].map(update)).is_none());
    }
}
