//! How well attention maps show where a subject is, judged without the truth.
//!
//! The scores are this project's. On a trained checkpoint whose truth is known (`models/demo`) they order layers and
//! timesteps much as the intersection over union with the truth does (docs/usage.md has the figures).

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::error::Error;
use crate::latents::Latents;
use crate::masking::{normalised, size_of};
use crate::masks::{LayerMaps, motion_mask};

/// What speaks for one layer's map of one subject at one timestep. Each is 0..1, and 1 is best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapScore {
    /// Correlation with the mean map of all other layers, mean over the frames. 1 where there is no other layer.
    pub agreement: f64,
    /// 1 − the coefficient of variation, over the frames, of the share of the frame that the motion mask covers.
    pub steadiness: f64,
    /// How far the map falls into two classes, bright and dark: the variance between the classes of Otsu's threshold as a
    /// share of the whole ("A Threshold Selection Method from Gray-Level Histograms", 1979, eq. 17), mean over the frames.
    pub contrast: f64,
}

impl MapScore {
    /// All three in one figure: their geometric mean.
    pub fn total(&self) -> f64 {
        (self.agreement * self.steadiness * self.contrast).cbrt()
    }
}

/// The score of every layer's map of one subject at one timestep. `latents` give the maps' heights and widths, `tau` is
/// the threshold of the motion mask.
///
/// # Errors
/// [`Error::Inversion`] when a map's size is no halving of the latents'.
pub fn map_scores(
    maps: &LayerMaps,
    latents: &Latents,
    tau: f64,
) -> Result<BTreeMap<String, MapScore>, Error> {
    let Some(finest) = maps.values().max_by_key(|map| map.size()[1]) else { return Ok(BTreeMap::new()) };
    let finest = size_of(finest, latents)?;
    let at_one_size: Result<Vec<Tensor>, Error> = maps
        .values()
        .map(|map| {
            let (height, width) = size_of(map, latents)?;
            let pictures = normalised(&map.to_kind(Kind::Float)).view([-1, 1, height, width]);
            Ok(pictures.upsample_bilinear2d([finest.0, finest.1], false, None, None).flatten(1, 3))
        })
        .collect();
    let at_one_size = at_one_size?;
    let all = Tensor::stack(&at_one_size, 0).sum_dim_intlist([0].as_slice(), false, Kind::Float);
    let scored = maps.iter().zip(&at_one_size).map(|((layer, map), resized)| {
        let map = map.to_kind(Kind::Float);
        // The sum of the others correlates as their mean does.
        let agreement = if maps.len() == 1 { 1.0 } else { mean(&correlation(resized, &(&all - resized))) };
        let score = MapScore {
            agreement: agreement.clamp(0.0, 1.0),
            steadiness: steadiness(&motion_mask(&map, tau)).clamp(0.0, 1.0),
            contrast: mean(&contrast(&map)).clamp(0.0, 1.0),
        };
        (layer.clone(), score)
    });
    Ok(scored.collect())
}

fn mean(values: &Tensor) -> f64 {
    values.mean(Kind::Double).double_value(&[])
}

/// Pearson's, frame by frame: two of [frames, places] -> [frames]; 0 where one is constant.
fn correlation(one: &Tensor, other: &Tensor) -> Tensor {
    let centred = |map: &Tensor| map - map.mean_dim(-1, true, None::<Kind>);
    let (one, other) = (centred(one), centred(other));
    let sum = |map: Tensor| map.sum_dim_intlist(-1, false, None::<Kind>);
    sum(&one * &other) / (sum(one.square()) * sum(other.square())).sqrt().clamp_min(1e-12)
}

fn steadiness(mask: &Tensor) -> f64 {
    let covered = mask.mean_dim(-1, false, Kind::Double);
    1.0 - covered.std(false).double_value(&[]) / mean(&covered).max(f64::MIN_POSITIVE)
}

/// [frames, places] -> [frames]
fn contrast(map: &Tensor) -> Tensor {
    let places = map.size()[1];
    if places < 2 {
        return map.zeros_like().narrow(-1, 0, 1).squeeze_dim(-1);
    }
    let (values, _) = map.to_kind(Kind::Double).sort(-1, false);
    // Every threshold that parts the sorted values: so many below it, the others above.
    let below = Tensor::arange_start(1, places, (Kind::Double, map.device()));
    let sums = values.cumsum(-1, Kind::Double);
    let (up_to, whole) = (sums.narrow(-1, 0, places - 1), sums.narrow(-1, places - 1, 1));
    let above = places as f64 - &below;
    let apart = &up_to / &below - (whole - &up_to) / &above;
    let between = &below * &above * apart.square() / (places * places) as f64;
    between.amax([-1], false) / values.var_dim([-1].as_slice(), false, false).clamp_min(1e-30)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::latents::seeded_noise;

    const FRAMES: i64 = 4;

    fn latents() -> Latents {
        Latents::new(seeded_noise(&[1, 4, FRAMES, 12, 16], 1, Device::Cpu))
    }

    fn noise(seed: u64) -> Tensor {
        seeded_noise(&[FRAMES, 12 * 16], seed, Device::Cpu).abs() * 0.1
    }

    /// A square that moves by one place a frame, with a little noise around it.
    fn square(seed: u64) -> Tensor {
        let map = noise(seed).view([FRAMES, 12, 16]);
        for frame in 0..FRAMES {
            let _ = map.get(frame).narrow(0, 4, 4).narrow(1, frame, 4).fill_(1.0);
        }
        map.flatten(1, 2)
    }

    fn scores(maps: [(&str, Tensor); 3]) -> BTreeMap<String, MapScore> {
        let maps = maps.into_iter().map(|(layer, map)| (layer.to_owned(), map)).collect();
        map_scores(&maps, &latents(), 0.4).unwrap()
    }

    #[test]
    fn layers_that_show_the_subject_score_more_than_one_that_does_not() {
        let coarse = square(3).view([FRAMES, 12, 16]).adaptive_avg_pool2d([6, 8]).flatten(1, 2);
        let found = scores([("a", square(2)), ("coarse", coarse), ("lost", noise(4) * 10.0)]);
        assert!(found["a"].total() > 0.75 && found["coarse"].total() > 0.6, "{found:?}");
        assert!(found["lost"].total() < 0.3 && found["lost"].agreement < 0.1, "{found:?}");
    }

    #[test]
    fn a_mask_that_comes_and_goes_is_not_steady_and_a_map_of_two_values_has_full_contrast() {
        let two_values = Tensor::zeros([FRAMES, 192], (Kind::Float, Device::Cpu));
        let _ = two_values.narrow(1, 0, 20).fill_(1.0);
        let flickers = two_values.copy();
        let _ = flickers.narrow(0, 0, 2).fill_(0.0);
        let found = scores([
            ("whole", two_values.shallow_clone()),
            ("flickers", flickers),
            ("flat", two_values.ones_like()),
        ]);
        assert!(
            (found["whole"].contrast - 1.0).abs() < 1e-6 && found["whole"].steadiness > 1.0 - 1e-9,
            "{found:?}"
        );
        assert!(found["flickers"].steadiness < 0.1, "{found:?}");
        assert!(found["flat"].contrast + found["flat"].agreement < 1e-9, "{found:?}");
    }

    #[test]
    fn the_contrast_is_that_of_the_best_threshold() {
        let map = Tensor::from_slice(&[0.0f32, 1.0, 2.0, 9.0, 10.0]).view([1, 5]);
        let (values, mut best) = ([0.0f64, 1.0, 2.0, 9.0, 10.0], 0.0f64);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        for below in 1..5 {
            let share = below as f64 / 5.0;
            let apart = mean(&values[..below]) - mean(&values[below..]);
            best = best.max(share * (1.0 - share) * apart * apart);
        }
        let variance = values.iter().map(|value| (value - mean(&values)).powi(2)).sum::<f64>() / 5.0;
        assert!((contrast(&map).double_value(&[0]) - best / variance).abs() < 1e-12);
    }
}
