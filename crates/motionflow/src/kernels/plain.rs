//! The same functions by libtorch's own operations: what the CPU uses, and what the kernels are compared with.

use tch::{Kind, Tensor};

use super::dit::Scaling;
use super::{Convolution, Norm};

pub(super) fn group_norm(x: &Tensor, shift: Option<&Tensor>, norm: &Norm, silu: bool) -> Tensor {
    let normed =
        shifted(x, shift).group_norm(norm.groups, Some(norm.weight), Some(norm.bias), norm.epsilon, true);
    if silu { normed.silu() } else { normed }
}

pub(super) fn group_norm_places_first(x: &Tensor, norm: &Norm) -> Tensor {
    let size = x.size();
    let normed = group_norm(x, None, norm, false);
    normed.permute([0, 3, 4, 2, 1]).reshape([size[0] * size[3] * size[4], size[2], size[1]])
}

pub(super) fn convolution(x: &Tensor, convolution: &Convolution, bias: Option<&Tensor>) -> Tensor {
    let &Convolution { weight, stride, padding } = convolution;
    if weight.dim() == 5 {
        // Over time alone.
        return x.conv3d(weight, bias, [1, 1, 1], [padding, 0, 0], [1, 1, 1], 1);
    }
    x.conv2d(weight, bias, [stride; 2], [padding; 2], [1, 1], 1)
}

pub(super) fn add(x: &Tensor, bias: Option<&Tensor>, residual: &Tensor) -> Tensor {
    shifted(x, bias).contiguous() + residual
}

pub(super) fn add_places_first(x: &Tensor, residual: &Tensor) -> Tensor {
    let (size, frames) = (residual.size(), x.size()[1]);
    let video = x.view([size[0] / frames, size[2], size[3], frames, size[1]]).permute([0, 3, 4, 1, 2]);
    video.contiguous().reshape(size) + residual
}

pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Tensor {
    x.layer_norm(weight.size(), Some(weight), Some(bias), epsilon, true)
}

pub(super) fn geglu(x: &Tensor) -> Tensor {
    let halves = x.chunk(2, -1);
    &halves[0] * halves[1].gelu("none")
}

pub(super) fn scaled_norm(x: &Tensor, scaling: Scaling, epsilon: f64) -> Tensor {
    let wide = in_float(x);
    let channels = [x.size().last().copied().unwrap_or(1)];
    let normed = match scaling {
        Scaling::Affine([weight, bias]) => {
            wide.layer_norm(channels, Some(weight), Some(bias), epsilon, false)
        }
        Scaling::Modulated([factor, shift]) => {
            wide.layer_norm(channels, None::<&Tensor>, None::<&Tensor>, epsilon, false) * factor + shift
        }
    };
    normed.to_kind(x.kind())
}

pub(super) fn gated_add(x: &Tensor, gate: &Tensor, residual: &Tensor) -> Tensor {
    (in_float(residual) + x * gate).to_kind(x.kind())
}

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, turn: Option<[&Tensor; 2]>, epsilon: f64) -> Tensor {
    let wide = in_float(x);
    let mean = wide.square().mean_dim(-1, true, None);
    let normed = (wide * (mean + epsilon).rsqrt()).to_kind(x.kind()) * weight;
    let Some([cosines, sines]) = turn else { return normed };
    let pairs = normed.unflatten(-1, [-1, cosines.size()[2], 2]);
    let (a, b) = (pairs.select(-1, 0), pairs.select(-1, 1));
    let turned = [&a * cosines - &b * sines, &a * sines + &b * cosines];
    Tensor::stack(&turned, -1).flatten(-3, -1).to_kind(x.kind())
}

/// In float32, but for what is wider.
fn in_float(x: &Tensor) -> Tensor {
    if x.kind() == Kind::Double { x.shallow_clone() } else { x.to_kind(Kind::Float) }
}

/// x [batch, channels, ..] + shift \[channels\]
fn shifted(x: &Tensor, shift: Option<&Tensor>) -> Tensor {
    match shift {
        Some(shift) => {
            let mut shape = vec![1; x.dim()];
            shape[1] = -1;
            x + shift.view(shape.as_slice())
        }
        None => x.shallow_clone(),
    }
}
