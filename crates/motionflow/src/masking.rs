//! From the subjects' attention maps to their motion masks, as the settings ask.
//!
//! The paper's form is each map's own mask. Maps of several timesteps or layers in one mask, and masks that share no
//! place, are this project's.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::error::Error;
use crate::latents::Latents;
use crate::masks::{LayerMaps, LayerMasks, MotionMasks, SubjectMaps, layer_masks};
use crate::settings::{MaskLayers, MaskTime, Settings};

/// The masks of every timestep. `guided` are the timesteps that [`MaskTime::Average`] averages over; `latents` give the
/// maps' heights and widths.
///
/// # Errors
/// [`Error::Inversion`] when the maps are to be brought to another size and theirs is no halving of the latents'.
pub fn motion_masks(
    maps: &SubjectMaps,
    latents: &Latents,
    guided: &[i64],
    settings: &Settings,
) -> Result<MotionMasks, Error> {
    let at: Result<BTreeMap<i64, Vec<LayerMasks>>, Error> = match settings.mask_time {
        MaskTime::Step => {
            maps.at.iter().map(|(t, subjects)| Ok((*t, masks_of(subjects, latents, settings)?))).collect()
        }
        MaskTime::Average => {
            let averaged = maps.at.iter().filter(|(timestep, _)| guided.contains(timestep));
            let averaged = mean_of_normalised(averaged.map(|(_, subjects)| subjects.as_slice()));
            let masks = masks_of(&averaged, latents, settings)?;
            Ok(maps.at.keys().map(|t| (*t, masks.iter().map(share).collect())).collect())
        }
    };
    Ok(MotionMasks { at: at?, ..MotionMasks::default() })
}

/// The masks that the maps of all timesteps make together, the same at each of `timesteps`, whatever those of the maps
/// are. `latents` give the maps' heights and widths.
///
/// # Errors
/// As [`motion_masks`].
pub fn common_masks(
    maps: &SubjectMaps,
    latents: &Latents,
    timesteps: &[i64],
    settings: &Settings,
) -> Result<MotionMasks, Error> {
    let masks = masks_of(&mean_of_normalised(maps.at.values().map(Vec::as_slice)), latents, settings)?;
    let at = timesteps.iter().map(|t| (*t, masks.iter().map(share).collect())).collect();
    Ok(MotionMasks { at, ..MotionMasks::default() })
}

/// For one subject the mean over the timesteps `chosen` and over the layers with the most places of its maps, each divided by
/// its frame's maximum: [frames, places] in 0..1, to be shown to people. None where there is none.
pub fn average_map(maps: &SubjectMaps, subject: usize, chosen: impl Fn(i64) -> bool) -> Option<Tensor> {
    let maps = maps.at.iter().filter(|(timestep, _)| chosen(**timestep));
    let maps: Vec<&Tensor> =
        maps.filter_map(|(_, maps)| maps.get(subject)).flat_map(LayerMaps::values).collect();
    let most = maps.iter().map(|map| map.size()[1]).max()?;
    let finest: Vec<Tensor> = maps.into_iter().filter(|map| map.size()[1] == most).map(normalised).collect();
    Some(Tensor::stack(&finest, 0).mean_dim(0, false, None::<Kind>))
}

/// For every subject the maps that the masks of the layers with the most places are made of, each layer's mean of the
/// normalised maps of all timesteps: [frames, places]. Where they are `joined`, the one mean of those layers.
pub fn finest_maps(maps: &SubjectMaps, joined: bool) -> Vec<LayerMaps> {
    let finest = |maps: LayerMaps| {
        let most = maps.values().map(|map| map.size()[1]).max();
        let kept: LayerMaps = maps.into_iter().filter(|(_, map)| Some(map.size()[1]) == most).collect();
        if !joined || kept.is_empty() {
            return kept;
        }
        let normalised: Vec<Tensor> = kept.values().map(normalised).collect();
        [("mean".to_owned(), Tensor::stack(&normalised, 0).mean_dim(0, false, None::<Kind>))].into()
    };
    mean_of_normalised(maps.at.values().map(Vec::as_slice)).into_iter().map(finest).collect()
}

/// The masks of maps, as the settings have layers and subjects.
fn masks_of(
    subjects: &[LayerMaps],
    latents: &Latents,
    settings: &Settings,
) -> Result<Vec<LayerMasks>, Error> {
    match settings.mask_layers {
        MaskLayers::Own => Ok(thresholded(subjects, settings)),
        MaskLayers::Finest => {
            let joined: Result<Vec<_>, _> = subjects.iter().map(|maps| finest(maps, latents)).collect();
            Ok(thresholded(&joined?, settings))
        }
    }
}

fn thresholded(subjects: &[LayerMaps], settings: &Settings) -> Vec<LayerMasks> {
    let masks = subjects.iter().map(|maps| layer_masks(maps, settings.tau)).collect();
    if settings.mask_apart { apart(subjects, masks) } else { masks }
}

/// A / max A, each frame by itself: [frames, places] -> the same shape, at most 1
pub(crate) fn normalised(map: &Tensor) -> Tensor {
    map / map.amax([-1], true).clamp_min(f64::from(f32::MIN_POSITIVE))
}

/// For every subject and layer the mean of the normalised maps; one item holds the maps of every subject.
pub(crate) fn mean_of_normalised<'a>(maps: impl Iterator<Item = &'a [LayerMaps]>) -> Vec<LayerMaps> {
    let mut all: Vec<BTreeMap<&String, Vec<Tensor>>> = Vec::new();
    for subjects in maps {
        all.resize_with(subjects.len(), BTreeMap::new);
        for (all, layers) in all.iter_mut().zip(subjects) {
            for (layer, map) in layers {
                all.entry(layer).or_default().push(normalised(map));
            }
        }
    }
    let mean = |maps: &[Tensor]| Tensor::stack(maps, 0).mean_dim(0, false, None::<Kind>);
    all.iter()
        .map(|layers| layers.iter().map(|(&layer, maps)| (layer.clone(), mean(maps))).collect())
        .collect()
}

/// For every layer the mean of the normalised maps of the layers with the most places, averaged over the area of each
/// of the layer's places.
fn finest(maps: &LayerMaps, latents: &Latents) -> Result<LayerMaps, Error> {
    let Some(most) = maps.values().map(|map| map.size()[1]).max() else { return Ok(LayerMaps::new()) };
    let fine: Vec<Tensor> = maps.values().filter(|map| map.size()[1] == most).map(normalised).collect();
    let mean = Tensor::stack(&fine, 0).mean_dim(0, false, None::<Kind>);
    let resampled = |map: &Tensor| -> Result<Tensor, Error> {
        if map.size()[1] == most {
            return Ok(mean.shallow_clone());
        }
        let (from, to) = (size_of(&mean, latents)?, size_of(map, latents)?);
        let pictures = mean.view([-1, 1, from.0, from.1]);
        Ok(pictures.adaptive_avg_pool2d([to.0, to.1]).flatten(1, 3))
    };
    maps.iter().map(|(layer, map)| Ok((layer.clone(), resampled(map)?))).collect()
}

pub(crate) fn size_of(map: &Tensor, latents: &Latents) -> Result<(i64, i64), Error> {
    let places = map.size()[1];
    latents.map_size(places).ok_or_else(|| {
        let (height, width) = latents.size();
        Error::Inversion(format!(
            "an attention map of {places} places is no halving of {height}x{width} latents"
        ))
    })
}

/// Takes from every mask the places where another subject's normalised map is larger; of equal ones the first has it.
fn apart(subjects: &[LayerMaps], masks: Vec<LayerMasks>) -> Vec<LayerMasks> {
    let strongest = |layer: &String| {
        let maps: Vec<Tensor> = subjects.iter().filter_map(|maps| maps.get(layer)).map(normalised).collect();
        Tensor::stack(&maps, 0).argmax(0, false)
    };
    let own = |(subject, masks): (usize, LayerMasks)| -> LayerMasks {
        let own = |(layer, mask): (String, Tensor)| {
            let strongest = strongest(&layer).eq(subject as i64).to_kind(Kind::Float);
            (layer, mask * strongest)
        };
        masks.into_iter().map(own).collect()
    };
    masks.into_iter().enumerate().map(own).collect()
}

fn share(masks: &LayerMasks) -> LayerMasks {
    masks.iter().map(|(layer, mask)| (layer.clone(), mask.shallow_clone())).collect()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn map(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([1, -1])
    }

    fn layers(named: &[(&str, &[f32])]) -> LayerMaps {
        named.iter().map(|(name, values)| ((*name).to_owned(), map(values))).collect()
    }

    /// Latents of 3×5: maps of 15 places and of 2×3.
    fn latents() -> Latents {
        Latents::new(Tensor::zeros([1, 4, 1, 3, 5], (Kind::Float, Device::Cpu)))
    }

    fn masks(maps: &SubjectMaps, guided: &[i64], settings: &Settings) -> MotionMasks {
        motion_masks(maps, &latents(), guided, settings).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn by_default_each_map_makes_its_own_mask() {
        let maps = SubjectMaps { at: [(1, vec![layers(&[("a", &[1.0, 0.5, 0.1])])])].into() };
        let masks = masks(&maps, &[1], &Settings::default());
        assert_eq!(values(&masks.at[&1][0]["a"]), [1.0, 1.0, 0.0]);
    }

    #[test]
    fn the_average_is_of_the_guided_timesteps_and_no_step_outweighs_another() {
        let at = |values: &[f32]| vec![layers(&[("a", values)])];
        let maps = SubjectMaps {
            at: [(3, at(&[10.0, 4.0, 0.0])), (2, at(&[0.02, 0.1, 0.0])), (1, at(&[0.0, 0.0, 1.0]))].into(),
        };
        let settings = Settings { mask_time: MaskTime::Average, tau: 0.9, ..Settings::default() };
        let masks = masks(&maps, &[3, 2], &settings);
        // (1 + 0.2) / 2 = 0.6 and (0.4 + 1) / 2 = 0.7; 0.6 is not over 0.9·0.7.
        for timestep in [1, 2, 3] {
            assert_eq!(values(&masks.at[&timestep][0]["a"]), [0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn common_masks_are_of_all_maps_and_serve_any_timestep() {
        let at = |values: &[f32]| vec![layers(&[("a", values)])];
        let maps = SubjectMaps { at: [(201, at(&[10.0, 4.0, 0.0])), (101, at(&[0.02, 0.1, 0.0]))].into() };
        let settings = Settings { tau: 0.9, ..Settings::default() };
        let masks = common_masks(&maps, &latents(), &[981, 961, 7], &settings).unwrap();
        assert_eq!(masks.at.keys().copied().collect::<Vec<_>>(), [7, 961, 981]);
        assert!(masks.at.values().all(|subjects| values(&subjects[0]["a"]) == [0.0, 1.0, 0.0]));
    }

    #[test]
    fn the_finest_layers_map_is_brought_to_odd_sizes_by_area() {
        let mut fine = [0f32; 15];
        fine[14] = 2.0;
        let maps =
            layers(&[("coarse", &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]), ("fine", &fine), ("same", &[0.5; 15])]);
        let joined = finest(&maps, &latents()).unwrap();
        let mean = values(&joined["fine"]);
        assert_eq!((mean[0], mean[14], joined["same"].size()[1]), (0.5, 1.0, 15));
        // The last of 2×3 places covers rows 1..3 and columns 3..5: three times 0.5 and once 1.
        assert_eq!(values(&joined["coarse"]), [0.5, 0.5, 0.5, 0.5, 0.5, 0.625]);
        assert!(finest(&layers(&[("a", &[0.0; 7]), ("b", &[0.0; 15])]), &latents()).is_err());
    }

    #[test]
    fn masks_that_are_apart_share_no_place() {
        let subjects =
            vec![layers(&[("a", &[1.0, 0.6, 0.5, 0.5])]), layers(&[("a", &[0.05, 0.08, 0.1, 0.05])])];
        let maps = SubjectMaps { at: [(1, subjects)].into() };
        let settings = Settings { tau: 0.4, mask_apart: true, ..Settings::default() };
        let apart = masks(&maps, &[1], &settings);
        assert_eq!(values(&apart.at[&1][0]["a"]), [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(values(&apart.at[&1][1]["a"]), [0.0, 1.0, 1.0, 0.0]);
    }
}
