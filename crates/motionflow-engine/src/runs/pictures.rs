//! What is drawn of a run: masks over the source, sheets, comparisons.

use anyhow::{Result, ensure};
use motionflow::latents::Latents;
use motionflow_media::Mask;
use motionflow_media::image::RgbImage;
use motionflow_media::overlay::{COLORS, overlay};
use motionflow_media::picture::enlarge;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::error::FAULT;

/// What the colours of [`COLORS`] are called.
const COLOUR_NAMES: [&str; COLORS.len()] = ["cyan", "pink", "yellow", "green"];

/// Small frames are enlarged until their shorter side has so many pixels, so that outlines stay thin.
const SHORTEST_SIDE: u32 = 256;

/// The subjects' words, with their colours where there are several.
pub(crate) fn legend(subjects: &[&str]) -> String {
    let coloured =
        |(index, words): (usize, &&str)| format!("{words} ({})", COLOUR_NAMES[index % COLORS.len()]);
    match subjects {
        [single] => (*single).to_owned(),
        several => several.iter().enumerate().map(coloured).collect::<Vec<_>>().join(", "),
    }
}

/// A map [frames, places] of values in 0..1 as one mask a frame; `latents` tell its height and width.
pub(crate) fn masks_of(map: &Tensor, latents: &Latents) -> Result<Vec<Mask>> {
    cells(map, latents, Mask::new)
}

/// As [`masks_of`] for values of any range: each frame's largest becomes 1.
pub(crate) fn heat_of(map: &Tensor, latents: &Latents) -> Result<Vec<Mask>> {
    cells(map, latents, Mask::relative_to_largest)
}

fn cells(
    map: &Tensor,
    latents: &Latents,
    mask: impl Fn(u32, u32, Vec<f32>) -> motionflow_media::Result<Mask>,
) -> Result<Vec<Mask>> {
    let size = map.size();
    ensure!(size.len() == 2, "{FAULT}: an attention map has the shape {size:?}, expected frames and places");
    let (height, width) = latents.map_size(size[1]).unwrap_or((1, size[1]));
    let map = map.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let values = Vec::<f32>::try_from(map.view([-1]))?;
    let frames = values.chunks((size[1] as usize).max(1));
    frames.map(|values| Ok(mask(width as u32, height as u32, values.to_vec())?)).collect()
}

/// The frames with the masks of every subject laid over them, each subject in its colour.
pub(crate) fn with_masks(frames: &[RgbImage], masks: &[Vec<Mask>]) -> Vec<RgbImage> {
    let of_frame = |(index, frame)| masked(frame, index, frames.len(), masks);
    frames.par_iter().enumerate().map(of_frame).collect()
}

/// Which of so many maps the frame at `index` of so many has. Where there are fewer maps than frames, as of latents that have
/// several frames in one, it is that of the latent frame that the frame is in.
pub(crate) fn map_of(index: usize, frames: usize, maps: usize) -> usize {
    match (frames, maps) {
        (2.., 1..) => (index * (maps - 1)).div_ceil(frames - 1),
        _ => index,
    }
}

/// The frame at `index` of so many with the masks of every subject laid over it.
pub(crate) fn masked(frame: &RgbImage, index: usize, frames: usize, masks: &[Vec<Mask>]) -> RgbImage {
    let of_frame = masks
        .iter()
        .enumerate()
        .filter_map(|(subject, masks)| Some((subject, masks.get(map_of(index, frames, masks.len()))?)));
    of_frame.fold(enlarge(frame, SHORTEST_SIDE), |frame, (subject, mask)| {
        overlay(&frame, mask, COLORS[subject % COLORS.len()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_map_of_the_latent_frame_that_it_is_in() {
        let of =
            |frames: usize, maps| (0..frames).map(|index| map_of(index, frames, maps)).collect::<Vec<_>>();
        assert_eq!(of(9, 3), [0, 1, 1, 1, 1, 2, 2, 2, 2]);
        assert_eq!((of(3, 3), of(1, 1)), (vec![0, 1, 2], vec![0]));
    }

    #[test]
    fn several_subjects_are_told_apart_by_colour() {
        assert_eq!(legend(&["car"]), "car");
        assert_eq!(legend(&["dog", "red ball"]), "dog (cyan), red ball (pink)");
    }

    #[test]
    fn a_map_gets_its_height_and_width_from_the_latents() {
        let latents = Latents::new(Tensor::zeros([1, 4, 2, 5, 7], (Kind::Float, Device::Cpu)));
        let map = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 12]) / 24.0;
        let masks = masks_of(&map, &latents).unwrap();
        assert_eq!((masks.len(), masks[0].width(), masks[0].height()), (2, 4, 3));
        assert!((masks[1].values()[11] - 23.0 / 24.0).abs() < 1e-6);
        assert!((heat_of(&map, &latents).unwrap()[0].values()[11] - 1.0).abs() < 1e-6);
    }
}
