//! Motion masks that are given as pictures, whatever made them, brought to the places of every guidance layer. This is this
//! project's, not the paper's.
//!
//! A place's value is the mean of the picture over the area of the place, and a latent frame's the mean over the frames
//! that it has. Where the pictures have no other values than 0 and 1, the masks have neither: a place belongs to the subject
//! where at least half of it does; in a frame in which no place has as much of it, the places that have the most do, so
//! that a small subject does not get lost on a coarse layer.

use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::latents::Latents;
use crate::masks::{LayerMasks, MotionMasks};
use crate::model::{GuidanceLayer, VideoModel};
use crate::settings::Settings;

/// What is lost by rounding in a mean.
const ROUNDING: f64 = 1e-5;

/// One subject's mask in every frame of the video.
#[derive(Debug)]
pub struct GivenMask(Tensor);

impl GivenMask {
    /// Pictures [frames, height, width] of values in 0..1, of any size: they cover the whole frame.
    pub fn new(pictures: &Tensor) -> Self {
        Self(pictures.to_device(Device::Cpu).to_kind(Kind::Float).clamp(0.0, 1.0))
    }

    /// Whether it has no other values than 0 and 1.
    pub fn is_binary(&self) -> bool {
        let between = self.0.gt(0.0).logical_and(&self.0.lt(1.0));
        between.any().int64_value(&[]) == 0
    }

    /// The mask on so many latent frames of height × width places: [frames, places] in 0..1
    pub fn at(&self, frames: i64, (height, width): (i64, i64)) -> Tensor {
        let size = self.0.size();
        let rows = areas(size[1], height);
        let columns = areas(size[2], width).transpose(0, 1);
        let places = rows.matmul(&self.0).matmul(&columns).flatten(1, 2);
        let shares = if frames == size[0] { places } else { latent_frames(size[0], frames).matmul(&places) };
        if !self.is_binary() {
            return shares.clamp(0.0, 1.0);
        }
        let most = shares.amax([-1], true);
        let enough = (&most - ROUNDING).clamp(ROUNDING, 0.5 - ROUNDING);
        shares.ge_tensor(&enough).to_kind(Kind::Float)
    }
}

/// The masks of all subjects, the same at each of `timesteps`, on every cross-attention that may guide; `latents` are of the
/// video's size. `avoid` is the region to keep free, where there is one.
///
/// # Errors
/// As [`VideoModel::kept_layers`].
pub fn given_masks(
    model: &dyn VideoModel,
    subjects: &[GivenMask],
    avoid: Option<&GivenMask>,
    latents: &Latents,
    timesteps: &[i64],
    settings: &Settings,
) -> Result<MotionMasks, Error> {
    let layers = model.kept_layers(settings)?;
    let on_layers = |mask: &GivenMask| on_layers(model, &layers, mask, latents);
    let masks: Vec<LayerMasks> = subjects.iter().map(on_layers).collect();
    let share = |masks: &LayerMasks| -> LayerMasks {
        masks.iter().map(|(layer, mask)| (layer.clone(), mask.shallow_clone())).collect()
    };
    let at = timesteps.iter().map(|timestep| (*timestep, masks.iter().map(share).collect())).collect();
    Ok(MotionMasks { at, avoid: avoid.map(on_layers).unwrap_or_default() })
}

/// A mask on each of some cross-attentions.
pub fn on_layers(
    model: &dyn VideoModel,
    layers: &[GuidanceLayer],
    mask: &GivenMask,
    latents: &Latents,
) -> LayerMasks {
    let at = |halvings: usize| {
        let halved = |side: i64| (0..halvings).fold(side, |side, _| (side + 1) / 2);
        let (height, width) = latents.size();
        mask.at(latents.frames(), (halved(height), halved(width)))
    };
    let mut sizes: Vec<(usize, Tensor)> = Vec::new();
    let mut of_layer = |halvings: usize| {
        if let Some((_, mask)) = sizes.iter().find(|(of, _)| *of == halvings) {
            return mask.shallow_clone();
        }
        let mask = at(halvings);
        sizes.push((halvings, mask.shallow_clone()));
        mask
    };
    layers.iter().map(|layer| (layer.name.clone(), of_layer(model.halvings(layer)))).collect()
}

/// How much of each of `places` in a row each of `pixels` covers: [places, pixels], every row of the sum 1
fn areas(pixels: i64, places: i64) -> Tensor {
    let length = pixels as f64 / places as f64;
    let share = |place: i64, pixel: i64| {
        let (begin, end) = (place as f64 * length, (place + 1) as f64 * length);
        let common = end.min((pixel + 1) as f64) - begin.max(pixel as f64);
        (common.max(0.0) / length) as f32
    };
    matrix(places, pixels, share)
}

/// The mean over the frames that are in each latent frame: [latent, frames]. A frame is in the latent frame ⌈p·(l−1)/(f−1)⌉.
fn latent_frames(frames: i64, latent: i64) -> Tensor {
    let is_in = |frame: i64, of: i64| match (frames, latent) {
        (2.., 2..) => (frame * (latent - 1) + frames - 2) / (frames - 1) == of,
        _ => of == 0,
    };
    let of = |of: i64, frame: i64| f32::from(u8::from(is_in(frame, of)));
    let whole = matrix(latent, frames, of);
    let count = whole.sum_dim_intlist(-1, true, None::<Kind>).clamp_min(1.0);
    whole / count
}

fn matrix(rows: i64, columns: i64, value: impl Fn(i64, i64) -> f32) -> Tensor {
    let value = &value;
    let values: Vec<f32> =
        (0..rows).flat_map(|row| (0..columns).map(move |column| value(row, column))).collect();
    Tensor::from_slice(&values).view([rows, columns])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::compute::Compute;
    use crate::observer::MapKeeper;
    use crate::registry;

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap()
    }

    fn mask(shape: [i64; 3], values: &[f32]) -> GivenMask {
        GivenMask::new(&Tensor::from_slice(values).view(shape))
    }

    #[test]
    fn a_binary_mask_stays_binary_and_a_grey_one_is_averaged_over_areas() {
        let binary = mask([1, 2, 4], &[1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(values(&binary.at(1, (1, 2))), [1.0, 0.0]);
        let grey = mask([1, 2, 4], &[1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(values(&grey.at(1, (1, 2))), [1.0, 0.125]);
        // Three places of one and a third of a pixel each.
        let thirds = values(&grey.at(1, (1, 3)));
        for (found, expected) in thirds.iter().zip([1.0, 0.625, 0.0625]) {
            assert!((found - expected).abs() < 1e-6, "{thirds:?}");
        }
    }

    #[test]
    fn a_small_subject_is_where_the_most_of_it_is_and_an_empty_mask_stays_empty() {
        let mut pixels = [0f32; 32];
        pixels[5] = 1.0;
        let small = mask([2, 4, 4], &pixels);
        assert_eq!(values(&small.at(2, (2, 2))), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn frames_go_to_the_latent_frame_that_they_are_in() {
        // Nine frames are three latent ones: 0, 1 to 4, 5 to 8.
        let frames: Vec<f32> = (0..9).map(|frame| frame as f32 / 8.0).collect();
        let given = mask([9, 1, 1], &frames);
        assert_eq!(values(&given.at(3, (1, 1))), [0.0, 2.5 / 8.0, 6.5 / 8.0]);
        let still = mask([1, 1, 1], &[1.0]);
        assert_eq!(values(&still.at(1, (1, 1))), [1.0]);
    }

    #[test]
    fn a_mask_of_places_enlarged_to_pixels_comes_back_as_it_was() {
        let places = Tensor::from_slice(&[1f32, 0.0, 0.0, 1.0, 1.0, 0.0]).view([1, 2, 3]);
        let pixels = places.repeat_interleave_self_int(8, 1, None).repeat_interleave_self_int(8, 2, None);
        assert_eq!(values(&GivenMask::new(&pixels).at(1, (2, 3))), values(&places));
    }

    #[test]
    fn every_architecture_has_its_masks_at_the_size_of_its_maps() {
        for (case, frames, size) in
            [("tiny", 3, (16, 24)), ("animatediff-tiny-merged", 3, (16, 24)), ("wan-tiny", 9, (32, 48))]
        {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case).join("model");
            let checkpoint = registry::open(&folder).unwrap();
            let architecture = registry::architecture_of(&checkpoint);
            let model = architecture.load(&checkpoint, Compute::exact(Device::Cpu)).unwrap();
            let prompt = model.encode_prompt(&"a [car] on a road".parse().unwrap()).unwrap();
            let latents = model.noise(frames, size.0, size.1, 1).unwrap();
            let whole = GivenMask::new(&Tensor::ones([frames, size.0, size.1], (Kind::Float, Device::Cpu)));
            let layers = model.kept_layers(&Settings::default()).unwrap();
            let masks = on_layers(&*model, &layers, &whole, &latents);
            let _no_gradients = tch::no_grad_guard();
            let mut seen = MapKeeper::new(&layers);
            let _ = model.predict_noise(latents.tensor(), 1.into(), &prompt.features, &mut seen);
            assert_eq!(masks.len(), seen.maps.len());
            for (layer, map) in &seen.maps {
                assert_eq!(masks[layer].size(), map.size()[..2], "{case} {layer}");
                assert!(values(&masks[layer]).iter().all(|value| *value > 0.99));
            }
        }
    }
}
