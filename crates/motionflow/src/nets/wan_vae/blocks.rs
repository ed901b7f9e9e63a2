//! What encoder and decoder are made of.

use tch::Tensor;

use super::layers::{CausalConv, Past, PointwiseConv, RmsNorm};
use crate::checkpoint::Loader;
use crate::kernels;
use crate::nets::attention::scaled_dot_product_attention;
use crate::nets::layers::{Conv2d, Linear, Projection};

/// Two causal convolutions, each behind a norm and SiLU, and a shortcut around them.
#[derive(Debug)]
pub(super) struct ResidualBlock {
    norm1: RmsNorm,
    conv1: CausalConv,
    norm2: RmsNorm,
    conv2: CausalConv,
    conv_shortcut: Option<PointwiseConv>,
}

impl ResidualBlock {
    pub(super) fn new(weights: &Loader, input: i64, output: i64) -> Self {
        Self {
            norm1: RmsNorm::of_videos(&weights.sub("norm1"), input),
            conv1: CausalConv::new(&weights.sub("conv1"), input, output),
            norm2: RmsNorm::of_videos(&weights.sub("norm2"), output),
            conv2: CausalConv::new(&weights.sub("conv2"), output, output),
            conv_shortcut: (input != output)
                .then(|| PointwiseConv::new(&weights.sub("conv_shortcut"), input, output)),
        }
    }

    /// [1, input, frames, height, width] -> [1, output, frames, height, width]
    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Tensor {
        let hidden = self.conv1.forward(self.norm1.forward_silu(x), past);
        let normed = self.norm2.forward_silu(&hidden);
        drop(hidden);
        let mut hidden = self.conv2.forward(normed, past);
        match &self.conv_shortcut {
            Some(shortcut) => hidden.g_add_(&shortcut.forward(x)),
            None => hidden.g_add_(x),
        }
    }
}

/// One-head attention over the places of a frame.
#[derive(Debug)]
struct MidAttention {
    norm: RmsNorm,
    to_qkv: Linear,
    proj: Linear,
}

impl MidAttention {
    fn new(weights: &Loader, channels: i64) -> Self {
        let linear = |name: &str, output| {
            Linear::projection(&weights.sub(name), channels, output, Projection::Convolution)
        };
        Self {
            norm: RmsNorm::of_images(&weights.sub("norm"), channels),
            to_qkv: linear("to_qkv", 3 * channels),
            proj: linear("proj", channels),
        }
    }

    /// [1, channels, frames, height, width], same shape out
    fn forward(&self, x: &Tensor) -> Tensor {
        let places = self.norm.forward(x).squeeze_dim(0).flatten(2, 3).permute([1, 2, 0]);
        // Each [frames, 1, places, channels].
        let parts: Vec<Tensor> = self.to_qkv.forward(&places).unsqueeze(1).chunk(3, -1);
        let attended = scaled_dot_product_attention(&parts[0], &parts[1], &parts[2]);
        self.proj.forward(&attended.squeeze_dim(1)).permute([2, 0, 1]).reshape(x.size()) + x
    }
}

/// Residual block, attention, residual block at the coarsest level.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: ResidualBlock,
    attention: MidAttention,
    second: ResidualBlock,
}

impl MidBlock {
    pub(super) fn new(weights: &Loader, channels: i64) -> Self {
        let resnet = |index: i64| ResidualBlock::new(&weights.sub("resnets").sub(index), channels, channels);
        Self {
            first: resnet(0),
            attention: MidAttention::new(&weights.sub("attentions.0"), channels),
            second: resnet(1),
        }
    }

    /// [1, channels, frames, height, width], same shape out
    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Tensor {
        let x = self.first.forward(x, past);
        let x = self.attention.forward(&x);
        self.second.forward(&x, past)
    }
}

/// Halves height and width, and the clip where it is told to; the first frame stays one.
#[derive(Debug)]
pub(super) struct Downsample {
    conv: Conv2d,
    time_conv: Option<CausalConv>,
}

impl Downsample {
    /// Loads `resample.1` and, where the clip is halved, `time_conv`.
    pub(super) fn new(weights: &Loader, channels: i64, halves_time: bool) -> Self {
        let time_conv = || CausalConv::over_time(&weights.sub("time_conv"), channels, channels, 2);
        Self {
            conv: Conv2d::new(&weights.sub("resample.1"), channels, channels, 3, 2, 0),
            time_conv: halves_time.then(time_conv),
        }
    }

    /// [1, channels, frames, height, width] -> [1, channels, frames or frames / 2, height / 2, width / 2]
    pub(super) fn forward(&self, x: &Tensor, past: &mut Past) -> Tensor {
        let x = video_of(&self.conv.forward(&images_of(x).constant_pad_nd([0, 1, 0, 1])));
        match &self.time_conv {
            Some(time_conv) if past.is_first_part() => {
                time_conv.keep(&x, past);
                x
            }
            Some(time_conv) => time_conv.forward(x, past),
            None => x,
        }
    }
}

/// Doubles height and width and halves the channels; doubles the clip where it is told to, but for the first frame.
#[derive(Debug)]
pub(super) struct Upsample {
    conv: Conv2d,
    time_conv: Option<CausalConv>,
}

impl Upsample {
    /// Loads `resample.1` and, where the clip is doubled, `time_conv`.
    pub(super) fn new(weights: &Loader, channels: i64, doubles_time: bool) -> Self {
        let time_conv = || CausalConv::over_time(&weights.sub("time_conv"), channels, 2 * channels, 1);
        Self {
            conv: Conv2d::same(&weights.sub("resample.1"), channels, channels / 2),
            time_conv: doubles_time.then(time_conv),
        }
    }

    /// [1, channels, frames, height, width] -> [1, channels / 2, frames or 2·frames, 2·height, 2·width]
    pub(super) fn forward(&self, x: Tensor, past: &mut Past) -> Tensor {
        let x = match &self.time_conv {
            // The first frame is not seen by those behind it, either.
            Some(time_conv) if !past.is_first_part() => halves_in_turn(&time_conv.forward(x, past)),
            _ => x,
        };
        let images = images_of(&x);
        drop(x);
        let size = images.size();
        let large = kernels::enlarge(&images, [2 * size[2], 2 * size[3]]);
        drop(images);
        video_of(&self.conv.forward(&large))
    }
}

/// The first half of the channels as even frames, the second as odd ones.
///
/// [1, 2·channels, frames, height, width] -> [1, channels, 2·frames, height, width]
fn halves_in_turn(x: &Tensor) -> Tensor {
    let [_, channels, frames, height, width] = x.size()[..] else { return x.shallow_clone() };
    let halves = x.reshape([2, channels / 2, frames, height, width]);
    halves.permute([1, 2, 0, 3, 4]).reshape([1, channels / 2, 2 * frames, height, width])
}

/// [1, channels, frames, height, width] -> [frames, channels, height, width]
pub(super) fn images_of(video: &Tensor) -> Tensor {
    kernels::laid_out(&video.squeeze_dim(0).transpose(0, 1))
}

/// [frames, channels, height, width] -> [1, channels, frames, height, width]
pub(super) fn video_of(images: &Tensor) -> Tensor {
    kernels::laid_out(&images.transpose(0, 1).unsqueeze(0))
}
