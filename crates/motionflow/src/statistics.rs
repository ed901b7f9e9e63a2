//! What a guided update leaves the latents of how they were, against burnt pictures: a move along a gradient changes
//! their norm and their channels' means, which the net takes for contrast and colour. Not in the paper.

use tch::{Kind, Tensor};

use crate::settings::KeepStatistics;

/// Brings moved latents back to what is kept of those before: both [1, channels, frames, height, width], float32.
pub(crate) fn brought_back(moved: Tensor, before: &Tensor, keep: KeepStatistics) -> Tensor {
    match keep {
        KeepStatistics::None => moved,
        KeepStatistics::Norm => {
            let ratio = before.norm() / moved.norm().clamp_min(f64::from(f32::MIN_POSITIVE));
            moved * ratio
        }
        KeepStatistics::Channels => {
            let (mean, deviation) = channels(before);
            let (moved_mean, moved_deviation) = channels(&moved);
            (moved - moved_mean) / moved_deviation.clamp_min(f64::from(f32::MIN_POSITIVE)) * deviation + mean
        }
    }
}

/// Mean and standard deviation of every channel over frames and places: twice [1, channels, 1, 1, 1]
fn channels(latents: &Tensor) -> (Tensor, Tensor) {
    let over = &[2i64, 3, 4][..];
    let mean = latents.mean_dim(over, true, None::<Kind>);
    let deviation = (latents - &mean).square().mean_dim(over, true, None::<Kind>).sqrt();
    (mean, deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([1, 2, 1, 1, -1])
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn the_norm_or_each_channels_mean_and_deviation_are_as_before() {
        let before = latents(&[1.0, 3.0, -2.0, 2.0]);
        let moved = || latents(&[2.0, 10.0, 0.0, -1.0]);
        assert_eq!(values(&brought_back(moved(), &before, KeepStatistics::None)), values(&moved()));
        let kept = brought_back(moved(), &before, KeepStatistics::Norm);
        assert!((kept.norm().double_value(&[]) - before.norm().double_value(&[])).abs() < 1e-5);
        assert!(
            (kept.double_value(&[0, 0, 0, 0, 1]) / kept.double_value(&[0, 0, 0, 0, 0]) - 5.0).abs() < 1e-5
        );
        let kept = values(&brought_back(moved(), &before, KeepStatistics::Channels));
        for (kept, expected) in kept.iter().zip([1.0, 3.0, 2.0, -2.0]) {
            assert!((kept - expected).abs() < 1e-5, "{kept} is not {expected}");
        }
    }
}
