//! Motion masks: where the subject is in each frame, by the model's own cross-attention.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

/// The subject's attention map: cross-attention [frames, places, tokens] -> [frames, places], the mean over the
/// subject's token positions.
pub fn subject_map(cross_attention: &Tensor, tokens: &[i64]) -> Tensor {
    let tokens = Tensor::from_slice(tokens).to_device(cross_attention.device());
    cross_attention.index_select(-1, &tokens).mean_dim(-1, false, None)
}

/// M = 1 where A > τ·max A, each frame by itself (MotionFlow, eq. for the motion mask): [frames, places] -> the same
/// shape, float32 of 0 and 1.
pub fn motion_mask(subject_map: &Tensor, tau: f64) -> Tensor {
    let threshold = subject_map.amax([-1], true) * tau;
    subject_map.gt_tensor(&threshold).to_kind(Kind::Float)
}

/// The union of masks of one shape.
pub fn union<'a>(masks: impl IntoIterator<Item = &'a Tensor>) -> Option<Tensor> {
    masks.into_iter().fold(None, |all: Option<Tensor>, mask| match all {
        Some(all) => Some(all.maximum(mask)),
        None => Some(mask.shallow_clone()),
    })
}

/// The attention maps of one subject at one timestep: layer name -> [frames, places].
pub type LayerMaps = BTreeMap<String, Tensor>;

/// The masks of one subject at one timestep: layer name -> [frames, places].
pub type LayerMasks = BTreeMap<String, Tensor>;

/// The attention maps of every subject at every timestep of an inversion, or of passes on the noised source.
#[derive(Debug, Default)]
pub struct SubjectMaps {
    /// Timestep -> one entry a subject, in the prompt's order.
    pub at: BTreeMap<i64, Vec<LayerMaps>>,
}

impl SubjectMaps {
    /// The same maps once more; the memory is shared.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { at: each(&self.at, Tensor::shallow_clone) }
    }

    /// The same maps on a device.
    #[must_use]
    pub fn on(&self, device: Device) -> Self {
        Self { at: moved(&self.at, device) }
    }
}

/// One subject's masks at threshold τ.
pub fn layer_masks(maps: &LayerMaps, tau: f64) -> LayerMasks {
    maps.iter().map(|(layer, map)| (layer.clone(), motion_mask(map, tau))).collect()
}

/// The masks of every subject at every timestep of an inversion, or at every guided one.
#[derive(Debug, Default)]
pub struct MotionMasks {
    /// Timestep -> one entry a subject, in the prompt's order.
    pub at: BTreeMap<i64, Vec<LayerMasks>>,
    /// The region that no subject's attention shall be in, at every timestep; empty where there is none.
    pub avoid: LayerMasks,
}

impl MotionMasks {
    /// The same masks on a device.
    #[must_use]
    pub fn on(&self, device: Device) -> Self {
        let avoid = self.avoid.iter().map(|(layer, mask)| (layer.clone(), mask.to_device(device))).collect();
        Self { at: moved(&self.at, device), avoid }
    }

    /// Number of subjects.
    pub fn subjects(&self) -> usize {
        self.at.values().next().map_or(0, Vec::len)
    }

    /// For one subject the mean over the timesteps `chosen` and over the layers of the finest resolution:
    /// [frames, places] in 0..1, to be shown to people. None where there is none.
    pub fn average(&self, subject: usize, chosen: impl Fn(i64) -> bool) -> Option<Tensor> {
        let masks: Vec<&Tensor> = self
            .at
            .iter()
            .filter(|(timestep, _)| chosen(**timestep))
            .filter_map(|(_, subjects)| subjects.get(subject))
            .flat_map(BTreeMap::values)
            .collect();
        let finest = masks.iter().map(|mask| mask.size()[1]).max()?;
        let masks: Vec<&Tensor> = masks.into_iter().filter(|mask| mask.size()[1] == finest).collect();
        Some(Tensor::stack(&masks, 0).mean_dim(0, false, None))
    }
}

/// Maps or masks of every timestep and subject on a device.
fn moved(
    at: &BTreeMap<i64, Vec<BTreeMap<String, Tensor>>>,
    device: Device,
) -> BTreeMap<i64, Vec<BTreeMap<String, Tensor>>> {
    each(at, |tensor| tensor.to_device(device))
}

/// What becomes of every tensor.
fn each(
    at: &BTreeMap<i64, Vec<BTreeMap<String, Tensor>>>,
    become_of: impl Fn(&Tensor) -> Tensor,
) -> BTreeMap<i64, Vec<BTreeMap<String, Tensor>>> {
    let of_layers = |layers: &BTreeMap<String, Tensor>| {
        layers.iter().map(|(layer, tensor)| (layer.clone(), become_of(tensor))).collect()
    };
    at.iter().map(|(timestep, subjects)| (*timestep, subjects.iter().map(of_layers).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_what_exceeds_the_share_of_its_own_frames_maximum() {
        let map = Tensor::from_slice(&[0.1f32, 0.5, 1.0, 0.41, 2.0, 0.7, 0.9, 0.1]).view([2, 4]);
        let mask = Vec::<f32>::try_from(motion_mask(&map, 0.4).flatten(0, 1)).unwrap();
        assert_eq!(mask, [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_subject_of_several_tokens_is_their_mean() {
        let cross = Tensor::from_slice(&[0.2f32, 0.4, 0.4, 0.6, 0.1, 0.3]).view([1, 2, 3]);
        let map = Vec::<f32>::try_from(subject_map(&cross, &[0, 2]).flatten(0, 1)).unwrap();
        assert!((map[0] - 0.3).abs() < 1e-6 && (map[1] - 0.45).abs() < 1e-6);
    }
}
