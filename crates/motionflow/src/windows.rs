//! Sliding context windows: a clip of more frames than a net takes at once is seen in windows that overlap, and what is seen
//! of a frame is averaged over the windows that hold it.
//!
//! The windows are those of `ComfyUI` AnimateDiff-Evolved's schedule "Standard Static"
//! (<https://github.com/Kosinkadink/ComfyUI-AnimateDiff-Evolved>) with flat averaging: `MultiDiffusion`
//! (<https://arxiv.org/abs/2302.08113>) over time.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::error::Error;
use crate::latents::{Latents, seeded_noise};
use crate::masks::{LayerMaps, LayerMasks};
use crate::model::VideoModel;
use crate::settings::Settings;

/// How the settings have windows, whatever the clip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContextOptions {
    /// Frames of a window, 1 or more. None: a clip is one window.
    pub frames: Option<usize>,
    /// Frames that neighbouring windows have in common at least, fewer than those of a window.
    pub overlap: usize,
}

impl ContextOptions {
    /// The windows of a clip of so many frames.
    pub fn windows(self, frames: i64) -> Windows {
        let length = self.frames_at_once(frames);
        let step = length - self.overlap as i64;
        let last = frames - length;
        let starts = (0..last).step_by(usize::try_from(step).unwrap_or(1).max(1));
        Windows(starts.chain([last]).map(|start| start..start + length).collect())
    }

    /// Frames of such a clip that the net sees at once.
    pub fn frames_at_once(self, frames: i64) -> i64 {
        self.frames.and_then(|length| i64::try_from(length).ok()).map_or(frames, |length| length.min(frames))
    }

    /// Latents of pure noise for a clip of all these frames: those of [`VideoModel::noise`], of which only the frames of a
    /// window must suit the net.
    ///
    /// # Errors
    /// As [`VideoModel::noise`].
    pub fn noise(
        self,
        model: &dyn VideoModel,
        [frames, height, width]: [i64; 3],
        seed: u64,
    ) -> Result<Latents, Error> {
        let at_once = self.frames_at_once(frames);
        let of_window = model.noise(at_once, height, width, seed)?;
        if at_once == frames {
            return Ok(of_window);
        }
        let mut shape = of_window.tensor().size();
        shape[2] = frames;
        Ok(Latents::new(seeded_noise(&shape, seed, model.device())))
    }
}

impl Settings {
    /// How they have context windows.
    pub fn context(&self) -> ContextOptions {
        ContextOptions { frames: self.context_frames, overlap: self.context_overlap }
    }
}

/// The windows of a clip, in order: of one length, each frame in one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows(Vec<Range<i64>>);

impl Windows {
    /// How many there are, 1 or more.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The frames of each.
    pub fn ranges(&self) -> &[Range<i64>] {
        &self.0
    }

    /// Each window's part of a tensor that has the clip's frames along `dim`.
    pub(crate) fn parts<'a>(&'a self, whole: &'a Tensor, dim: i64) -> impl Iterator<Item = Tensor> + 'a {
        self.0.iter().map(move |window| self.part(whole, dim, window))
    }

    /// Each window's part of the masks of every subject.
    pub(crate) fn parts_of_masks<'a>(
        &'a self,
        masks: &'a [LayerMasks],
    ) -> impl Iterator<Item = Vec<LayerMasks>> + 'a {
        self.0.iter().map(move |window| {
            let part = |(layer, mask): (&String, &Tensor)| (layer.clone(), self.part(mask, 0, window));
            masks.iter().map(|layers| layers.iter().map(part).collect()).collect()
        })
    }

    /// What is found of the clip, from what is found of each window, with its frames along `dim`: each frame's mean over the
    /// windows that hold it, float32. What is found of one window alone is left as it is.
    pub(crate) fn mean(&self, parts: &[Tensor], dim: i64) -> Tensor {
        if let [whole] = parts {
            return whole.shallow_clone();
        }
        let frames = self.0.last().map_or(0, |window| window.end);
        let mut shape = parts[0].size();
        shape[dim as usize] = frames;
        let sum = Tensor::zeros(&shape, (Kind::Float, parts[0].device()));
        let mut of_frame = vec![0f32; frames as usize];
        for (window, part) in self.0.iter().zip(parts) {
            let _ = sum.narrow(dim, window.start, window.end - window.start).g_add_(part);
            of_frame[window.start as usize..window.end as usize].iter_mut().for_each(|count| *count += 1.0);
        }
        let mut shape = vec![1; shape.len()];
        shape[dim as usize] = frames;
        sum / Tensor::from_slice(&of_frame).view(&shape[..]).to_device(parts[0].device())
    }

    /// As [`Windows::mean`], of the maps that each window has of every subject.
    pub(crate) fn mean_of_maps(&self, mut parts: Vec<Vec<LayerMaps>>) -> Vec<LayerMaps> {
        if parts.len() == 1 {
            return parts.swap_remove(0);
        }
        let subjects = parts.first().map_or(0, Vec::len);
        let of_subject = |subject: usize| {
            let of_layer = |layer: &String| {
                let maps: Vec<Tensor> =
                    parts.iter().filter_map(|part| Some(part[subject].get(layer)?.shallow_clone())).collect();
                (layer.clone(), self.mean(&maps, 0))
            };
            parts[0][subject].keys().map(of_layer).collect()
        };
        (0..subjects).map(of_subject).collect()
    }

    fn part(&self, whole: &Tensor, dim: i64, window: &Range<i64>) -> Tensor {
        if self.len() == 1 {
            return whole.shallow_clone();
        }
        whole.narrow(dim, window.start, window.end - window.start).contiguous()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn windows(frames: i64, length: usize, overlap: usize) -> Windows {
        ContextOptions { frames: Some(length), overlap }.windows(frames)
    }

    #[test]
    fn they_begin_in_equal_steps_and_the_last_one_ends_with_the_clip() {
        let starts = |frames| windows(frames, 16, 4).0.iter().map(|window| window.start).collect::<Vec<_>>();
        assert_eq!(starts(64), [0, 12, 24, 36, 48]);
        assert_eq!(starts(32), [0, 12, 16]);
        assert_eq!([starts(17), starts(28), starts(29)], [vec![0, 1], vec![0, 12], vec![0, 12, 13]]);
        assert_eq!([starts(16), starts(3)], [[0], [0]]);
        assert_eq!(ContextOptions::default().windows(64).0.as_slice(), std::slice::from_ref(&(0..64)));
    }

    #[test]
    fn every_frame_is_in_one_and_neighbours_overlap_enough() {
        for frames in 1..40 {
            for length in 1..20 {
                for overlap in 0..length {
                    let Windows(windows) = windows(frames, length, overlap);
                    let at_once = frames.min(length as i64);
                    assert!(windows.iter().all(|window| window.end - window.start == at_once));
                    assert_eq!((windows[0].start, windows[windows.len() - 1].end), (0, frames));
                    for pair in windows.windows(2) {
                        assert!(pair[0].start < pair[1].start, "{windows:?}");
                        assert!(pair[0].end - pair[1].start >= overlap as i64, "{windows:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_frame_is_the_mean_of_the_windows_that_hold_it() {
        let windows = windows(5, 3, 1);
        let whole = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0]).view([1, 5]);
        let parts: Vec<Tensor> = windows.parts(&whole, 1).collect();
        assert_eq!(windows.mean(&parts, 1), whole);
        let half = [parts[0].to_kind(Kind::Half), (&parts[1] + 1.0).to_kind(Kind::Half)];
        let mean = windows.mean(&half, 1);
        assert_eq!((mean.kind(), mean.device()), (Kind::Float, Device::Cpu));
        assert_eq!(Vec::<f32>::try_from(mean.flatten(0, 1)).unwrap(), [1.0, 2.0, 3.5, 5.0, 6.0]);
    }
}
