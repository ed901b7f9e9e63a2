//! The attention losses whose gradients carry the motion.
//!
//! `L_cross` is the paper's; the forms of `L_self` and `L_temporal` are this project's reading of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::masks::{LayerMasks, subject_map, union};
use crate::model::{GuidanceLayer, GuidanceLayers};

/// How much each loss counts. All 1 by default; none of them is given in the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// `λ_cross`
    pub cross: f64,
    /// `λ_self`
    pub spatial: f64,
    /// `λ_temporal`
    pub temporal: f64,
}

/// The losses of one guided update. A part that no map was taken for is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LossParts {
    /// Subject's attention that lies outside the mask.
    pub cross: Option<f64>,
    /// Attention from inside the mask that goes outside, within a frame.
    pub spatial: Option<f64>,
    /// Attention from masked places that goes to frames in which the place is not masked.
    pub temporal: Option<f64>,
}

/// Maps by layer name, averaged over heads, float32: cross [frames, places, tokens], spatial [frames, places, places],
/// temporal [places, frames, frames].
pub type AttentionMaps = BTreeMap<String, Tensor>;

/// 1 − ΣM·A/ΣA, mean over frames. Subject's map and mask [frames, places] -> scalar
pub fn cross_loss(map: &Tensor, mask: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None);
    (1f64 - sum(&(mask * map)) / sum(map)).mean(Kind::Float)
}

/// 1 − Σ M[q]·S[q,k]·M[k] / Σ M[q], mean over the frames that have a mask.
/// Map [frames, places, places], mask [frames, places] -> scalar
pub fn spatial_loss(map: &Tensor, mask: &Tensor) -> Tensor {
    let inside = (map.matmul(&mask.unsqueeze(-1)).squeeze_dim(-1) * mask).sum_dim_intlist(-1, false, None);
    let total = mask.sum_dim_intlist(-1, false, None);
    let masked = total.gt(0.0).to_kind(Kind::Float);
    let loss = (1f64 - inside / total.clamp_min(1.0)) * &masked;
    loss.sum(Kind::Float) / masked.sum(Kind::Float).clamp_min(1.0)
}

/// `1 − Σ M_q[x]·T[x,q,k]·M_k[x] / Σ M_q[x]` over all masked places and frames.
/// Map [places, frames, frames], mask [frames, places] -> scalar
pub fn temporal_loss(map: &Tensor, mask: &Tensor) -> Tensor {
    let mask = mask.transpose(0, 1);
    let inside = map.matmul(&mask.unsqueeze(-1)).squeeze_dim(-1) * &mask;
    1f64 - inside.sum(Kind::Float) / mask.sum(Kind::Float).clamp_min(1.0)
}

/// The weighted sum of the losses, averaged over the subjects: scalar, and its parts.
///
/// `masks` and `subjects` (token positions in the new prompt) go together, one entry a subject. A spatial or temporal
/// layer uses the union of the masks of its own block's cross layers at its own resolution.
pub fn guidance_loss(
    maps: &AttentionMaps,
    masks: &[LayerMasks],
    layers: &GuidanceLayers,
    subjects: &[Vec<i64>],
    weights: LossWeights,
) -> (Tensor, LossParts) {
    let mut parts: [Vec<Tensor>; 3] = Default::default();
    for (masks, tokens) in masks.iter().zip(subjects) {
        let union_for = |layer: &GuidanceLayer, places: i64| {
            let own = layers.cross.iter().filter(|cross| cross.block == layer.block);
            union(own.filter_map(|cross| masks.get(&cross.name)).filter(|mask| mask.size()[1] == places))
        };
        let cross = layers.cross.iter().filter_map(|layer| {
            Some(cross_loss(&subject_map(maps.get(&layer.name)?, tokens), masks.get(&layer.name)?))
        });
        let spatial = layers.spatial.iter().filter_map(|layer| {
            let map = maps.get(&layer.name)?;
            Some(spatial_loss(map, &union_for(layer, map.size()[1])?))
        });
        let temporal = layers.temporal.iter().filter_map(|layer| {
            let map = maps.get(&layer.name)?;
            Some(temporal_loss(map, &union_for(layer, map.size()[0])?))
        });
        let means = [mean(cross), mean(spatial), mean(temporal)];
        for (part, mean) in parts.iter_mut().zip(means) {
            part.extend(mean);
        }
    }
    let parts = parts.map(|part| mean(part.into_iter()));
    let weighted = parts.iter().zip([weights.cross, weights.spatial, weights.temporal]);
    let total = weighted
        .filter_map(|(part, weight)| Some(part.as_ref()? * weight))
        .fold(Tensor::from(0f32), |sum, term| term + sum);
    let [cross, spatial, temporal] = parts.map(|part| part.map(|loss| loss.detach().double_value(&[])));
    (total, LossParts { cross, spatial, temporal })
}

fn mean(losses: impl Iterator<Item = Tensor>) -> Option<Tensor> {
    let losses: Vec<Tensor> = losses.collect();
    (!losses.is_empty()).then(|| Tensor::stack(&losses, 0).mean(Kind::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(loss: &Tensor, expected: f64) {
        let loss = loss.double_value(&[]);
        assert!((loss - expected).abs() < 1e-6, "{loss} is not {expected}");
    }

    #[test]
    fn attention_inside_the_mask_costs_nothing_and_outside_everything() {
        let mask = Tensor::from_slice(&[1f32, 1.0, 0.0, 0.0]).view([1, 4]);
        close(&cross_loss(&mask, &mask), 0.0);
        close(&cross_loss(&(1f64 - &mask), &mask), 1.0);
        let uniform = Tensor::full([1, 4, 4], 0.25, (Kind::Float, tch::Device::Cpu));
        close(&spatial_loss(&uniform, &mask), 0.5);
    }

    #[test]
    fn frames_without_a_mask_do_not_count() {
        let mask = Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0]).view([2, 2]);
        let map = Tensor::from_slice(&[0.75f32, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]).view([2, 2, 2]);
        close(&spatial_loss(&map, &mask), 0.25);
    }

    #[test]
    fn time_counts_only_frames_in_which_the_place_is_masked() {
        // One place, three frames, masked in the first two; all attention of frame 0 goes to frame 1, of 1 to 2.
        let mask = Tensor::from_slice(&[1f32, 1.0, 0.0]).view([3, 1]);
        let map = Tensor::from_slice(&[0f32, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).view([1, 3, 3]);
        close(&temporal_loss(&map, &mask), 0.5);
    }
}
