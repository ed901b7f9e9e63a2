//! Convolutions that look back in time only, what they keep of a clip that comes in parts, and the norm between them.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::checkpoint::Loader;
use crate::kernels;

/// Frames of a convolution over time.
const TIME_KERNEL: i64 = 3;

/// What the convolutions of a net keep of the clip's parts that went through it.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Last frames of a convolution's input, [1, channels, frames, height, width], by its name.
    last_frames: HashMap<String, Tensor>,
    /// Whether a part went through the whole net.
    has_begun: bool,
}

impl Past {
    /// Whether the clip's first frame is on its way.
    pub(super) fn is_first_part(&self) -> bool {
        !self.has_begun
    }

    /// Says that a part went through the whole net.
    pub(super) fn end_part(&mut self) {
        self.has_begun = true;
    }
}

/// A convolution over time, or over time and space, whose output frame depends on no later frame of the input.
#[derive(Debug)]
pub(super) struct CausalConv {
    name: String,
    weight: Tensor,
    bias: Tensor,
    /// Step in time.
    stride: i64,
    /// Zeros on all four sides.
    padding: i64,
}

impl CausalConv {
    /// Kernel 3×3×3, size and length kept: loads `weight` [output, input, 3, 3, 3] and `bias` \[output\].
    pub(super) fn new(weights: &Loader, input: i64, output: i64) -> Self {
        Self::with_kernel(weights, input, output, 3, 1)
    }

    /// Kernel 3×1×1: loads `weight` [output, input, 3, 1, 1] and `bias` \[output\].
    pub(super) fn over_time(weights: &Loader, input: i64, output: i64, stride: i64) -> Self {
        Self::with_kernel(weights, input, output, 1, stride)
    }

    fn with_kernel(weights: &Loader, input: i64, output: i64, kernel: i64, stride: i64) -> Self {
        let weight = weights.tensor("weight", &[output, input, TIME_KERNEL, kernel, kernel]);
        Self {
            name: weights.path(),
            weight: kernels::laid_out(&weight),
            bias: weights.tensor("bias", &[output]),
            stride,
            padding: kernel / 2,
        }
    }

    /// A part of a clip, behind the last frames of the part before it, or behind zeros where there was none.
    ///
    /// [1, input, frames, height, width] -> [1, output, frames / stride, height, width]
    pub(super) fn forward(&self, x: Tensor, past: &mut Past) -> Tensor {
        let joined = match past.last_frames.remove(&self.name) {
            Some(before) => Tensor::cat(&[before, x], 2),
            None => x.constant_pad_nd([0, 0, 0, 0, self.kept(), 0]),
        };
        self.keep(&joined, past);
        let (stride, padding) = ([self.stride, 1, 1], [0, self.padding, self.padding]);
        joined.conv3d(&self.weight, Some(&self.bias), stride, padding, [1, 1, 1], 1)
    }

    /// Keeps what the next part must come behind. A copy, since a view would keep the whole part.
    pub(super) fn keep(&self, x: &Tensor, past: &mut Past) {
        let kept = x.narrow(2, x.size()[2] - self.kept(), self.kept()).copy();
        past.last_frames.insert(self.name.clone(), kept);
    }

    /// Frames of its input that come before the first one of the next part.
    fn kept(&self) -> i64 {
        TIME_KERNEL - self.stride
    }
}

/// A layer over the channels of a video, stored as a 1×1×1 convolution.
#[derive(Debug)]
pub(super) struct PointwiseConv {
    weight: Tensor,
    bias: Tensor,
}

impl PointwiseConv {
    /// Loads `weight` [output, input, 1, 1, 1] and `bias` \[output\].
    pub(super) fn new(weights: &Loader, input: i64, output: i64) -> Self {
        let weight = kernels::laid_out(&weights.tensor("weight", &[output, input, 1, 1, 1]));
        Self { weight, bias: weights.tensor("bias", &[output]) }
    }

    /// [1, input, frames, height, width] -> [1, output, frames, height, width]
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.conv3d(&self.weight, Some(&self.bias), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
    }
}

/// x/‖x‖·√channels·γ, the length over the channels.
#[derive(Debug)]
pub(super) struct RmsNorm {
    /// γ, [channels, 1, 1, 1]
    gamma: Tensor,
}

impl RmsNorm {
    /// Of videos: loads `gamma` [channels, 1, 1, 1].
    pub(super) fn of_videos(weights: &Loader, channels: i64) -> Self {
        Self { gamma: weights.tensor("gamma", &[channels, 1, 1, 1]) }
    }

    /// Of images: loads `gamma` [channels, 1, 1]. The arithmetic is the same.
    pub(super) fn of_images(weights: &Loader, channels: i64) -> Self {
        Self { gamma: weights.tensor("gamma", &[channels, 1, 1]).unsqueeze(-1) }
    }

    /// [1, channels, frames, height, width], same shape out; inside float32 where half precision comes.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        let inside = if kind == Kind::Double { kind } else { Kind::Float };
        let length = x.norm_scalaropt_dim_dtype(2, [1], true, inside).clamp_min(1e-12);
        let factor = self.gamma.to_kind(inside) * (self.gamma.size()[0] as f64).sqrt();
        let mut normed = x / length;
        let _ = normed.g_mul_(&factor);
        normed.to_kind(kind)
    }

    /// The same with SiLU after it.
    pub(super) fn forward_silu(&self, x: &Tensor) -> Tensor {
        self.forward(x).silu_()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn norm(kind: Kind) -> RmsNorm {
        RmsNorm { gamma: Tensor::from_slice(&[1.0, 0.5, -2.0, 4.0]).to_kind(kind).view([4, 1, 1, 1]) }
    }

    #[test]
    fn the_norm_is_computed_in_float32_inside() {
        // Squares that float16 does not have.
        let x = Tensor::randn([1, 4, 2, 3, 5], (Kind::Float, Device::Cpu)) * 10_000.0;
        let expected = norm(Kind::Float).forward(&x);
        let found = norm(Kind::Half).forward(&x.to_kind(Kind::Half));
        assert_eq!(found.kind(), Kind::Half);
        let difference = (found.to_kind(Kind::Float) - &expected).norm() / expected.norm();
        assert!(difference.double_value(&[]) < 1e-3, "{difference:?}");
    }

    #[test]
    fn the_norm_of_nothing_is_nothing() {
        let x = Tensor::zeros([1, 4, 1, 2, 2], (Kind::Float, Device::Cpu));
        assert!(norm(Kind::Float).forward_silu(&x).equal(&x));
    }
}
