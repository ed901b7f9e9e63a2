//! A small picture of latents on their way: a linear map of latents to colours.
//!
//! The map is an approximation. A place's colour follows from the latents of that place alone, which is no decoding: it
//! shows where things are and roughly in which colours.

use anyhow::Result;
use motionflow::clip::Clip;
use motionflow::latents::Latents;
use motionflow::model::VideoModel;
use motionflow_media::image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::source::pictures_of;

/// Pixels of a side of the chart of colours that the map is fitted to.
const CHART_SIDE: i64 = 128;
/// It has so many fields a side.
const CHART_FIELDS: i64 = 8;
/// Added to the diagonal, so that latents without contrast have a map, too.
const RIDGE: f64 = 1e-4;

/// Colours of latents: `weights` [channels + 1, 3], the last row is the constant.
#[derive(Debug)]
pub(crate) struct LatentColours {
    weights: Tensor,
}

impl LatentColours {
    /// The least squares fit to clips and their latents, each clip with the same weight.
    fn fit(clips: &[(&Latents, &Clip)]) -> Self {
        let _no_gradients = tch::no_grad_guard();
        let mut sums: Option<(Tensor, Tensor)> = None;
        for (latents, clip) in clips {
            let (features, colours) = rows(latents, clip);
            let count = features.size()[0] as f64;
            let transposed = features.transpose(0, 1) / count;
            let (square, product) = (transposed.matmul(&features), transposed.matmul(&colours));
            sums = Some(match sums {
                Some((squares, products)) => (squares + square, products + product),
                None => (square, product),
            });
        }
        let none = || Tensor::zeros([1, 1], (Kind::Double, Device::Cpu));
        let (squares, products) = sums.unwrap_or_else(|| (none(), none()));
        let ridge = Tensor::eye(squares.size()[0], (Kind::Double, Device::Cpu)) * RIDGE;
        Self { weights: Tensor::linalg_inv(&(squares + ridge)).matmul(&products).to_kind(Kind::Float) }
    }

    /// Of a checkpoint's VAE: fitted to a chart of colours, and to the source where its latents are at hand.
    pub(crate) fn of(model: &dyn VideoModel, source: Option<(&Latents, &Clip)>) -> Result<Self> {
        let chart = chart();
        let encoded = model.encode_clip(&chart)?.value;
        let clips: Vec<(&Latents, &Clip)> = source.into_iter().chain([(&encoded, &chart)]).collect();
        Ok(Self::fit(&clips))
    }

    /// The frames of latents [1, channels, frames, height, width] as pictures of the latents' size.
    pub(crate) fn pictures(&self, latents: &Tensor) -> Vec<RgbImage> {
        let _no_gradients = tch::no_grad_guard();
        let size = latents.size();
        let colours = features(latents).matmul(&self.weights);
        let frames = colours.view([size[2], size[3], size[4], 3]).permute([0, 3, 1, 2]).contiguous();
        pictures_of(&Clip::new(frames))
    }
}

/// What colours follow from, and the colours of a clip made as small as its latents, float64: [places, channels + 1] and
/// [places, 3]. Where the latents have several frames in one, the last of those counts.
fn rows(latents: &Latents, clip: &Clip) -> (Tensor, Tensor) {
    let (height, width) = latents.size();
    let (frames, wanted) = (clip.len() as i64, latents.frames());
    let at = |index: i64| if wanted < 2 { 0 } else { index * (frames - 1) / (wanted - 1) };
    let chosen = Tensor::from_slice(&(0..wanted).map(at).collect::<Vec<_>>());
    let small = clip.frames().to_device(Device::Cpu).index_select(0, &chosen);
    let colours = small.adaptive_avg_pool2d([height, width]).permute([0, 2, 3, 1]).reshape([-1, 3]);
    (features(latents.tensor()).to_kind(Kind::Double), colours.to_kind(Kind::Double))
}

/// One frame with a field of every combination of eight levels of red and green, and blue in a ramp over them.
fn chart() -> Clip {
    let level = |index: i64| (index % CHART_FIELDS) as f32 / (CHART_FIELDS - 1) as f32 * 2.0 - 1.0;
    let field = CHART_SIDE / CHART_FIELDS;
    let mut values = Vec::with_capacity((3 * CHART_SIDE * CHART_SIDE) as usize);
    for channel in 0..3 {
        for place in 0..CHART_SIDE * CHART_SIDE {
            let (y, x) = (place / CHART_SIDE / field, place % CHART_SIDE / field);
            values.push(match channel {
                0 => level(x),
                1 => level(y),
                _ => level(3 * x + 5 * y),
            });
        }
    }
    Clip::new(Tensor::from_slice(&values).view([1, 3, CHART_SIDE, CHART_SIDE]))
}

/// [1, channels, frames, height, width] -> [frames · height · width, channels + 1], ones in the last column
fn features(latents: &Tensor) -> Tensor {
    let latents = latents.to_device(Device::Cpu).to_kind(Kind::Float);
    let channels = latents.size()[1];
    let rows = latents.squeeze_dim(0).permute([1, 2, 3, 0]).reshape([-1, channels]);
    let ones = Tensor::ones([rows.size()[0], 1], (Kind::Float, Device::Cpu));
    Tensor::cat(&[rows, ones], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_map_is_found_again() {
        let latents = Tensor::randn([1, 4, 2, 6, 5], (Kind::Float, Device::Cpu));
        let weights = Tensor::from_slice(&[
            0.2_f32, -0.1, 0.05, 0.1, 0.1, 0.1, -0.2, 0.0, 0.3, 0.0, 0.1, 0.0, 0.1, 0.2, -0.1,
        ])
        .view([5, 3]);
        let colours = features(&latents).matmul(&weights).view([2, 6, 5, 3]).permute([0, 3, 1, 2]);
        let clip = Clip::new(colours.contiguous());
        let found = LatentColours::fit(&[(&Latents::new(latents.shallow_clone()), &clip)]);
        let (shown, expected) = (found.pictures(&latents), pictures_of(&clip));
        assert_eq!((shown.len(), shown[0].dimensions()), (2, (5, 6)));
        let off = shown.iter().zip(&expected).flat_map(|(one, other)| one.iter().zip(other.iter()));
        assert!(off.map(|(one, other)| one.abs_diff(*other)).max() <= Some(1));
    }
}
