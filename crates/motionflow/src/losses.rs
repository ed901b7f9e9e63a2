//! The attention losses whose gradients carry the motion.
//!
//! `L_cross` is the paper's; the forms of `L_self` and `L_temporal` are this project's reading of it; `L_outside` and
//! `L_other` are this project's own and off by default, and so is `L_avoid`, which there is where a region is to be avoided.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::masking::normalised;
use crate::masks::{LayerMasks, subject_map, union};
use crate::model::{GuidanceLayer, GuidanceLayers};

/// How much each loss counts. None of them is given in the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// `λ_cross`
    pub cross: f64,
    /// `λ_self`
    pub spatial: f64,
    /// `λ_temporal`
    pub temporal: f64,
    /// `λ_outside`; 0 leaves the loss out.
    pub outside: f64,
    /// `λ_other`; 0 leaves the loss out.
    pub other: f64,
    /// `λ_avoid`; 0 leaves the loss out.
    pub avoid: f64,
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
    /// Subject's normalised attention outside the mask, and what it lacks inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<f64>,
    /// Subject's attention that lies in the other subjects' masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<f64>,
    /// Subject's attention in the region to avoid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid: Option<f64>,
}

impl LossParts {
    /// The mean of each part over windows.
    pub(crate) fn mean(windows: &[Self]) -> Self {
        let mean = |part: fn(&Self) -> Option<f64>| {
            let sum: Option<f64> = windows.iter().map(part).sum();
            sum.map(|sum| sum / windows.len() as f64)
        };
        Self {
            cross: mean(|parts| parts.cross),
            spatial: mean(|parts| parts.spatial),
            temporal: mean(|parts| parts.temporal),
            outside: mean(|parts| parts.outside),
            other: mean(|parts| parts.other),
            avoid: mean(|parts| parts.avoid),
        }
    }
}

/// Maps by layer name, averaged over heads, float32: cross [frames, places, tokens], spatial [frames, places, places],
/// temporal [places, frames, frames]; of the last two their products with [`mask_values`], [.., subjects].
pub type AttentionMaps = BTreeMap<String, Tensor>;

/// 1 − ΣM·A/ΣA, mean over frames. Subject's map and mask [frames, places] -> scalar
pub fn cross_loss(map: &Tensor, mask: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None);
    (1f64 - sum(&(mask * map)) / sum(map)).mean(Kind::Float)
}

/// `1 − Σ M[q]·S[q,k]·M[k] / Σ M[q]`, mean over the frames that have a mask.
/// S·M and mask [frames, places] -> scalar
pub fn spatial_loss(kept_inside: &Tensor, mask: &Tensor) -> Tensor {
    let inside = (kept_inside * mask).sum_dim_intlist(-1, false, None);
    let total = mask.sum_dim_intlist(-1, false, None);
    let masked = total.gt(0.0).to_kind(Kind::Float);
    let loss = (1f64 - inside / total.clamp_min(1.0)) * &masked;
    loss.sum(Kind::Float) / masked.sum(Kind::Float).clamp_min(1.0)
}

/// `1 − Σ M_q[x]·T[x,q,k]·M_k[x] / Σ M_q[x]` over all masked places and frames.
/// T·M [places, frames], mask [frames, places] -> scalar
pub fn temporal_loss(kept_inside: &Tensor, mask: &Tensor) -> Tensor {
    let mask = mask.transpose(0, 1);
    let inside = kept_inside * &mask;
    1f64 - inside.sum(Kind::Float) / mask.sum(Kind::Float).clamp_min(1.0)
}

/// With N = A / max A of the frame: mean of N outside the mask + mean of 1 − N inside, mean over the frames that have a
/// mask. Unlike the share of a sum, a peak inside alone does not satisfy it.
/// Subject's map and mask [frames, places] -> scalar
pub fn outside_loss(map: &Tensor, mask: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None);
    let normalised = normalised(map);
    let outside = 1f64 - mask;
    let mean = |values: Tensor, places: &Tensor| sum(&(values * places)) / sum(places).clamp_min(1.0);
    let loss = mean(normalised.shallow_clone(), &outside) + mean(1f64 - normalised, mask);
    let masked = sum(mask).gt(0.0).to_kind(Kind::Float);
    (loss * &masked).sum(Kind::Float) / masked.sum(Kind::Float).clamp_min(1.0)
}

/// `ΣM_other·(1 − M)·A/ΣA`, mean over frames, with the union `M_other` of the other subjects' masks: a place that is in
/// the subject's own mask, too, costs nothing. Subject's map and both masks [frames, places] -> scalar
pub fn other_loss(map: &Tensor, mask: &Tensor, others: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None);
    (sum(&(others * (1f64 - mask) * map)) / sum(map)).mean(Kind::Float)
}

/// `ΣV·A/ΣA`, mean over frames, with the mask `V` of the region to avoid. Subject's map and the mask [frames, places] -> scalar
pub fn avoid_loss(map: &Tensor, avoid: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None);
    (sum(&(avoid * map)) / sum(map)).mean(Kind::Float)
}

/// The parts of a loss before they are read: the device may still be computing them.
#[derive(Debug)]
pub struct UnreadParts([Option<Tensor>; 6]);

impl UnreadParts {
    /// Waits for them.
    pub fn read(&self) -> LossParts {
        let [cross, spatial, temporal, outside, other, avoid] =
            self.0.each_ref().map(|part| part.as_ref().map(|loss| loss.double_value(&[])));
        LossParts { cross, spatial, temporal, outside, other, avoid }
    }
}

/// The union of a subject's masks of the cross layers of a layer's block, [frames, places].
fn union_for(layer: &GuidanceLayer, own: &LayerMasks, layers: &GuidanceLayers) -> Option<Tensor> {
    let block = layers.cross.iter().filter(|cross| cross.block == layer.block);
    union(block.filter_map(|cross| own.get(&cross.name)))
}

/// All that the losses read of the maps of spatial and temporal layers is their product with the masks: for each of these layers
/// the masks of the subjects that have one there, [batch, key, subjects].
pub fn mask_values(masks: &[LayerMasks], layers: &GuidanceLayers) -> AttentionMaps {
    let of_subjects = |layer: &GuidanceLayer, form: &dyn Fn(Tensor) -> Tensor| {
        let masks: Vec<Tensor> =
            masks.iter().filter_map(|own| union_for(layer, own, layers)).map(form).collect();
        (!masks.is_empty()).then(|| (layer.name.clone(), Tensor::stack(&masks, -1)))
    };
    let spatial = layers.spatial.iter().filter_map(|layer| of_subjects(layer, &|mask| mask));
    let temporal =
        layers.temporal.iter().filter_map(|layer| of_subjects(layer, &|mask| mask.transpose(0, 1)));
    spatial.chain(temporal).collect()
}

/// The weighted sum of the losses, averaged over the subjects: scalar, and its parts.
///
/// `masks` and `subjects` (positions in the new prompt of the tokens that show it) go together, one entry a subject. A
/// spatial or temporal layer uses the union of the masks of its own block's cross layers; of its map there is the product with
/// [`mask_values`]. `avoid` has the region to avoid, where there is one.
pub fn guidance_loss(
    maps: &AttentionMaps,
    masks: &[LayerMasks],
    avoid: &LayerMasks,
    layers: &GuidanceLayers,
    subjects: &[Vec<i64>],
    weights: LossWeights,
) -> (Tensor, UnreadParts) {
    let mut parts: [Vec<Tensor>; 6] = Default::default();
    for (subject, (own, tokens)) in masks.iter().zip(subjects).enumerate() {
        let others_for = |layer: &GuidanceLayer| {
            let others = masks.iter().enumerate().filter(|(other, _)| *other != subject);
            union(others.filter_map(|(_, masks)| masks.get(&layer.name)))
        };
        // The subject's product with its mask, and the mask.
        let kept_inside = |layer: &GuidanceLayer| {
            let mask = union_for(layer, own, layers)?;
            let before =
                masks[..subject].iter().filter(|own| union_for(layer, own, layers).is_some()).count();
            Some((maps.get(&layer.name)?.select(-1, before as i64), mask))
        };
        let seen: Vec<(&GuidanceLayer, Tensor, &Tensor)> = layers
            .cross
            .iter()
            .filter_map(|layer| {
                let map = subject_map(maps.get(&layer.name)?, tokens);
                Some((layer, map, own.get(&layer.name)?))
            })
            .collect();
        let cross = seen.iter().map(|(_, map, mask)| cross_loss(map, mask));
        let outside = seen.iter().filter(|_| weights.outside > 0.0);
        let outside = outside.map(|(_, map, mask)| outside_loss(map, mask));
        let other = seen.iter().filter(|_| weights.other > 0.0);
        let other = other.filter_map(|(layer, map, mask)| Some(other_loss(map, mask, &others_for(layer)?)));
        let avoided = seen.iter().filter(|_| weights.avoid > 0.0);
        let avoided = avoided.filter_map(|(layer, map, _)| Some(avoid_loss(map, avoid.get(&layer.name)?)));
        let spatial = layers.spatial.iter().filter_map(kept_inside);
        let spatial = spatial.map(|(kept, mask)| spatial_loss(&kept, &mask));
        let temporal = layers.temporal.iter().filter_map(kept_inside);
        let temporal = temporal.map(|(kept, mask)| temporal_loss(&kept, &mask));
        let means = [mean(cross), mean(spatial), mean(temporal), mean(outside), mean(other), mean(avoided)];
        for (part, mean) in parts.iter_mut().zip(means) {
            part.extend(mean);
        }
    }
    let parts = parts.map(|part| mean(part.into_iter()));
    let LossWeights { cross, spatial, temporal, outside, other, avoid } = weights;
    let weighted = parts.iter().zip([cross, spatial, temporal, outside, other, avoid]);
    let total = weighted
        .filter_map(|(part, weight)| Some(part.as_ref()? * weight))
        .fold(Tensor::from(0f32), |sum, term| term + sum);
    (total, UnreadParts(parts.map(|part| part.map(|loss| loss.detach()))))
}

fn mean(losses: impl Iterator<Item = Tensor>) -> Option<Tensor> {
    let losses: Vec<Tensor> = losses.collect();
    (!losses.is_empty()).then(|| Tensor::stack(&losses, 0).mean(Kind::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Map [batch, query, key], values of the keys [batch, key] -> [batch, query]
    fn product(map: &Tensor, values: &Tensor) -> Tensor {
        map.matmul(&values.unsqueeze(-1)).squeeze_dim(-1)
    }

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
        close(&spatial_loss(&product(&uniform, &mask), &mask), 0.5);
    }

    #[test]
    fn frames_without_a_mask_do_not_count() {
        let mask = Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0]).view([2, 2]);
        let map = Tensor::from_slice(&[0.75f32, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]).view([2, 2, 2]);
        close(&spatial_loss(&product(&map, &mask), &mask), 0.25);
    }

    #[test]
    fn time_counts_only_frames_in_which_the_place_is_masked() {
        // One place, three frames, masked in the first two; all attention of frame 0 goes to frame 1, of 1 to 2.
        let mask = Tensor::from_slice(&[1f32, 1.0, 0.0]).view([3, 1]);
        let map = Tensor::from_slice(&[0f32, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).view([1, 3, 3]);
        close(&temporal_loss(&product(&map, &mask.transpose(0, 1)), &mask), 0.5);
    }

    #[test]
    fn a_peak_alone_does_not_satisfy_the_loss_on_the_normalised_map() {
        let mask = Tensor::from_slice(&[1f32, 1.0, 0.0, 0.0]).view([1, 4]);
        close(&outside_loss(&(&mask * 0.3), &mask), 0.0);
        let peak = Tensor::from_slice(&[0.8f32, 0.0, 0.0, 0.0]).view([1, 4]);
        close(&cross_loss(&peak, &mask), 0.0);
        close(&outside_loss(&peak, &mask), 0.5);
        let spread = Tensor::from_slice(&[0.4f32, 0.2, 0.4, 0.0]).view([1, 4]);
        close(&outside_loss(&spread, &mask), 0.5 + 0.25);
        let two_frames = Tensor::cat(&[&peak, &spread], 0);
        let masked_once = Tensor::cat(&[&mask, &mask.zeros_like()], 0);
        close(&outside_loss(&two_frames, &masked_once), 0.5);
    }

    #[test]
    fn attention_in_the_masks_of_others_is_a_share() {
        let map = Tensor::from_slice(&[0.1f32, 0.2, 0.3, 0.4]).view([1, 4]);
        let [own, others] =
            [[1f32, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]].map(|mask| Tensor::from_slice(&mask).view([1, 4]));
        close(&other_loss(&map, &own, &others), 0.3);
    }

    #[test]
    fn losses_that_are_off_are_absent_and_those_on_are_weighed() {
        let layer = GuidanceLayer { name: "a".into(), block: "mid_block".into() };
        let layers = GuidanceLayers { cross: vec![layer], ..GuidanceLayers::default() };
        // Two places, two tokens: the first token is seen at the first place, the second everywhere.
        let maps = AttentionMaps::from([(
            "a".to_owned(),
            Tensor::from_slice(&[0.8f32, 0.5, 0.2, 0.5]).view([1, 2, 2]),
        )]);
        let mask =
            |values: [f32; 2]| LayerMasks::from([("a".to_owned(), Tensor::from_slice(&values).view([1, 2]))]);
        let masks = [mask([1.0, 0.0]), mask([0.0, 1.0])];
        let subjects = [vec![0], vec![1]];
        let off =
            LossWeights { cross: 1.0, spatial: 1.0, temporal: 1.0, outside: 0.0, other: 0.0, avoid: 1.0 };
        let nowhere = LayerMasks::new();
        let (total, parts) = guidance_loss(&maps, &masks, &nowhere, &layers, &subjects, off);
        let parts = parts.read();
        assert_eq!((parts.outside, parts.other, parts.avoid), (None, None, None));
        // 1 − 0.8 and 1 − 0.5.
        close(&total, 0.35);
        let on = LossWeights { outside: 2.0, other: 3.0, ..off };
        let (total, parts) = guidance_loss(&maps, &masks, &nowhere, &layers, &subjects, on);
        let parts = parts.read();
        // Outside: 0.25 + 0 and 1 + 0. Other: 0.2 and 0.5.
        let [outside, other] = [parts.outside, parts.other].map(Option::unwrap);
        assert!((outside - 0.625).abs() < 1e-6 && (other - 0.35).abs() < 1e-6, "{parts:?}");
        close(&total, 0.35 + 2.0 * 0.625 + 3.0 * 0.35);
    }

    #[test]
    fn attention_of_all_subjects_in_the_region_to_avoid_is_a_share() {
        let layer = GuidanceLayer { name: "a".into(), block: "mid_block".into() };
        let layers = GuidanceLayers { cross: vec![layer], ..GuidanceLayers::default() };
        let maps = AttentionMaps::from([(
            "a".to_owned(),
            Tensor::from_slice(&[0.8f32, 0.5, 0.2, 0.5]).view([1, 2, 2]),
        )]);
        let mask =
            |values: [f32; 2]| LayerMasks::from([("a".to_owned(), Tensor::from_slice(&values).view([1, 2]))]);
        let masks = [mask([1.0, 0.0]), mask([1.0, 0.0])];
        let weights =
            LossWeights { cross: 0.0, spatial: 0.0, temporal: 0.0, outside: 0.0, other: 0.0, avoid: 2.0 };
        let loss =
            |avoid: &LayerMasks| guidance_loss(&maps, &masks, avoid, &layers, &[vec![0], vec![1]], weights);
        // The second place has 0.2 and 0.5 of their attention.
        let (total, parts) = loss(&mask([0.0, 1.0]));
        close(&total, 2.0 * 0.35);
        assert!((parts.read().avoid.unwrap() - 0.35).abs() < 1e-6);
        close(&loss(&mask([0.0, 0.0])).0, 0.0);
    }

    #[test]
    fn a_frame_with_an_empty_mask_has_a_loss_that_is_a_number_and_no_gradient() {
        tch::with_grad(|| {
            let map = Tensor::from_slice(&[0.3f32, 0.2, 0.4, 0.1]).view([1, 4]).set_requires_grad(true);
            let mask = Tensor::zeros([1, 4], (Kind::Float, tch::Device::Cpu));
            let kept = &map * &mask;
            let loss = cross_loss(&map, &mask)
                + outside_loss(&map, &mask)
                + other_loss(&map, &mask, &mask)
                + avoid_loss(&map, &mask)
                + spatial_loss(&kept, &mask)
                + temporal_loss(&kept.transpose(0, 1), &mask);
            assert!(loss.double_value(&[]).is_finite());
            loss.backward();
            assert!(map.grad().abs().sum(Kind::Float).double_value(&[]) == 0.0);
        });
    }
}
