//! The layers between matrix products and convolutions that are worth a kernel of their own on CUDA.
//!
//! Activations lie channels-last there, so all of them pass once over rows of channels. Each function is differentiable
//! with respect to its input and its residual (weights, biases and shifts get no gradient; enlargement takes libtorch's where
//! one is wanted), and is computed by libtorch's own operations on the CPU and wherever the
//! kernels cannot be compiled.

mod cuda;
mod dit;
mod plain;

use std::path::Path;

use tch::{Device, Kind, Tensor};

use self::cuda::{GroupNormShape, Numbers, Order};
use crate::native;

pub(crate) use self::dit::gated;
pub use self::dit::{Scaling, gated_add, gated_add_scaled_norm, linear_gelu, rms_norm, scaled_norm};

/// The weights of a group norm over dimension 1.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// γ \[channels\]
    pub weight: &'a Tensor,
    /// β \[channels\]
    pub bias: &'a Tensor,
    /// How many groups the channels make.
    pub groups: i64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A convolution over height and width, weight [output, input, kernel, kernel], or over time alone,
/// weight [output, input, kernel, 1, 1].
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// The kernel.
    pub weight: &'a Tensor,
    /// Step; 1 over time.
    pub stride: i64,
    /// Zeros on both sides.
    pub padding: i64,
}

/// Why a kernel cannot be used in float16 on a CUDA device; such layers are then libtorch's own. None where all can.
pub fn problem(device: Device) -> Option<String> {
    Numbers::of(&Tensor::empty([0], (Kind::Half, device)))?.problem()
}

/// Keeps compiled kernels in this folder, so that the next process need not compile them: they take a second at first.
pub fn keep_compiled_in(folder: &Path) {
    cuda::compiled::keep_in(folder);
}

/// Whether layers are joined for the kernels' sake: a convolution's bias is left to the layer behind it, which reads its
/// output anyhow, and products of one input are one.
pub(crate) fn are_used(x: &Tensor) -> bool {
    Numbers::of(x).is_some()
}

/// Dense in the order (batch, height, width, channels) of memory where that is the faster one: on CUDA.
pub(crate) fn laid_out(x: &Tensor) -> Tensor {
    if are_used(x) && x.dim() >= 4 { in_shape(&dense_rows(x), x.dim()) } else { x.shallow_clone() }
}

/// Group norm, with `shift` \[channels\] added to the input before and SiLU after it where asked for.
///
/// [batch, channels, ..] -> same shape; what lies behind the channels is normalised together
pub fn group_norm(x: &Tensor, shift: Option<&Tensor>, norm: &Norm, silu: bool) -> Tensor {
    let Some(fused) = GroupNorm::of(x, norm, silu, None) else {
        return plain::group_norm(x, shift, norm, silu);
    };
    fused.run(x, shift, norm, None)
}

/// Group norm of a video, its result ready for attention along time.
///
/// [batch, channels, frames, height, width] -> [batch·height·width, frames, channels]
pub fn group_norm_places_first(x: &Tensor, norm: &Norm) -> Tensor {
    let size = x.size();
    let Some(fused) = GroupNorm::of(x, norm, false, Some([size[2], size[3] * size[4]])) else {
        return plain::group_norm_places_first(x, norm);
    };
    fused.run(x, None, norm, None)
}

/// [`group_norm`] with SiLU and a convolution of stride 1 without its bias; for the gradient only `x` is kept.
pub fn norm_silu_convolution(
    x: &Tensor,
    shift: Option<&Tensor>,
    norm: &Norm,
    convolution: &Convolution,
) -> Tensor {
    let Some(fused) = GroupNorm::of(x, norm, true, None) else {
        return plain::convolution(&plain::group_norm(x, shift, norm, true), convolution, None);
    };
    fused.run(x, shift, norm, Some(convolution))
}

/// A convolution with its bias.
pub fn convolution(x: &Tensor, convolution: &Convolution, bias: Option<&Tensor>) -> Tensor {
    plain::convolution(x, convolution, bias)
}

/// x + bias \[channels\] + residual, all [batch, channels, ..]
pub fn add(x: &Tensor, bias: Option<&Tensor>, residual: &Tensor) -> Tensor {
    let channels = x.size()[1];
    match Numbers::of(x) {
        Some(numbers) if alike(x, residual) && numbers.can_elementwise(channels) => {
            let (rows, rest) = (rows_of(x), rows_of(residual));
            let sum = cuda::add(numbers, &rows, bias, Some(&rest), channels, Order::Same);
            let sum = in_shape(&sum, x.dim());
            let gradient = |_: &[Tensor], gradients: &[Tensor]| {
                [Some(gradients[0].shallow_clone()), Some(gradients[0].shallow_clone())]
            };
            recorded(x, Some(residual), vec![sum], &[], Box::new(gradient)).swap_remove(0)
        }
        _ => plain::add(x, bias, residual),
    }
}

/// What [`group_norm_places_first`] gave, after attention, back in its place and added to the frames.
///
/// x [batch·height·width, frames, channels], residual [batch·frames, channels, height, width] -> residual's shape
pub fn add_places_first(x: &Tensor, residual: &Tensor) -> Tensor {
    let size = residual.size();
    let (channels, sizes) = (size[1], [x.size()[1], size[2] * size[3]]);
    match Numbers::of(x) {
        Some(numbers) if numbers.can_elementwise(channels) => {
            let dense = native::no_grad(|| x.contiguous());
            let rest = rows_of(residual);
            let sum = cuda::add(numbers, &dense, None, Some(&rest), channels, Order::From(sizes));
            let sum = in_shape(&sum, 4);
            let shape = x.size();
            let gradient = move |_: &[Tensor], gradients: &[Tensor]| {
                let rows = rows_of(&gradients[0]);
                let moved = cuda::add(numbers, &rows, None, None, channels, Order::To(sizes));
                [Some(moved.view(shape.as_slice())), Some(gradients[0].shallow_clone())]
            };
            recorded(x, Some(residual), vec![sum], &[], Box::new(gradient)).swap_remove(0)
        }
        _ => plain::add_places_first(x, residual),
    }
}

/// Layer norm over the last dimension, and `positions` [1, tokens, size] added to it: [.., tokens, size] -> the same shape
pub fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    positions: Option<&Tensor>,
) -> Tensor {
    match Numbers::of(x) {
        Some(numbers) if numbers.can_layer_norm(weight.size()[0]) => {
            let dense = native::no_grad(|| x.contiguous());
            let (_, y) = cuda::layer_norm(numbers, &dense, None, [weight, bias], epsilon, positions);
            let saved = [dense, weight.shallow_clone()];
            let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
                let dy = gradients[0].contiguous();
                [Some(cuda::layer_norm_backward(numbers, [&saved[0], &saved[1], &dy], None, epsilon)), None]
            };
            recorded(x, None, vec![y], &saved, Box::new(gradient)).swap_remove(0)
        }
        _ => positioned(plain::layer_norm(x, weight, bias, epsilon), positions),
    }
}

/// x + residual, and the layer norm of that, with `positions` [1, tokens, size] added: twice [.., tokens, size] -> twice the
/// same shape
pub fn add_layer_norm(
    x: &Tensor,
    residual: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
    positions: Option<&Tensor>,
) -> (Tensor, Tensor) {
    let numbers = Numbers::of(x).filter(|_| alike(x, residual));
    let numbers = numbers.filter(|numbers| numbers.can_layer_norm(weight.size()[0]));
    let Some(numbers) = numbers else {
        let sum = x + residual;
        let normed = positioned(plain::layer_norm(&sum, weight, bias, epsilon), positions);
        return (sum, normed);
    };
    let (dense, rest) = native::no_grad(|| (x.contiguous(), residual.contiguous()));
    let (sum, y) = cuda::layer_norm(numbers, &dense, Some(&rest), [weight, bias], epsilon, positions);
    let saved = [sum.shallow_clone(), weight.shallow_clone()];
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        let (dsum, dy) = (gradients[0].contiguous(), gradients[1].contiguous());
        let tensors = [&saved[0], &saved[1], &dy];
        let dx = cuda::layer_norm_backward(numbers, tensors, Some(&dsum), epsilon);
        [Some(dx.shallow_clone()), Some(dx)]
    };
    let mut both = recorded(x, Some(residual), vec![sum, y], &saved, Box::new(gradient));
    let y = both.swap_remove(1);
    (both.swap_remove(0), y)
}

fn positioned(x: Tensor, positions: Option<&Tensor>) -> Tensor {
    match positions {
        Some(positions) => x + positions,
        None => x,
    }
}

/// The first half times GELU of the second (GEGLU, <https://arxiv.org/abs/2002.05202>): [.., 2·inner] -> [.., inner]
pub fn geglu(x: &Tensor) -> Tensor {
    let inner = x.size().last().copied().unwrap_or_default() / 2;
    match Numbers::of(x) {
        Some(numbers) if numbers.can_elementwise(inner) => {
            let dense = native::no_grad(|| x.contiguous());
            let y = cuda::geglu(numbers, &dense);
            let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
                [Some(cuda::geglu_backward(numbers, &saved[0], &gradients[0].contiguous())), None]
            };
            recorded(x, None, vec![y], &[dense], Box::new(gradient)).swap_remove(0)
        }
        _ => plain::geglu(x),
    }
}

/// softmax(Q·Kᵀ/√d)·V over short sequences: queries, keys and values of all heads, [batch, tokens, 3·heads·d], after one
/// another -> [batch, tokens, heads·d]. None where no kernel can.
pub(crate) fn short_attention(joined: &Tensor, heads: i64) -> Option<Tensor> {
    let fused = cuda::ShortAttention::of(joined, heads)?;
    let y = native::no_grad(|| fused.forward(joined));
    let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
        [Some(fused.backward(&saved[0], &gradients[0].contiguous())), None]
    };
    let saved = [joined.shallow_clone()];
    Some(recorded(joined, None, vec![y], &saved, Box::new(gradient)).swap_remove(0))
}

/// Enlargement by the nearest neighbour: [batch, channels, height, width] -> [batch, channels, `to`]
pub fn enlarge(x: &Tensor, to: [i64; 2]) -> Tensor {
    let traced = native::grad_enabled() && x.requires_grad();
    match Numbers::of(x).filter(|_| !traced) {
        Some(numbers) if numbers.can_elementwise(x.size()[1]) => {
            in_shape(&cuda::enlarge(numbers, &rows_of(x), to), 4)
        }
        _ => x.upsample_nearest2d(to, None, None),
    }
}

/// A group norm by the kernels.
#[derive(Clone, Copy)]
struct GroupNorm {
    numbers: Numbers,
    shape: GroupNormShape,
}

impl GroupNorm {
    /// None where the kernels cannot do it.
    fn of(x: &Tensor, norm: &Norm, silu: bool, places_first: Option<[i64; 2]>) -> Option<Self> {
        let numbers = Numbers::of(x)?;
        let size = x.size();
        let (channels, rows) = (size[1], size[2..].iter().product());
        let shape = GroupNormShape { sets: size[0], rows, channels, groups: norm.groups, places_first, silu };
        numbers.can_group_norm(channels, norm.groups).then_some(Self { numbers, shape })
    }

    fn run(self, x: &Tensor, shift: Option<&Tensor>, norm: &Norm, conv: Option<&Convolution>) -> Tensor {
        let Self { numbers, shape } = self;
        let dimensions = x.dim();
        let (rows, y, stats) = native::no_grad(|| {
            let rows = rows_of(x);
            let (y, stats) = cuda::group_norm(numbers, shape, &rows, shift, norm);
            let y = match shape.places_first {
                Some([frames, places]) => y.view([shape.sets * places, frames, shape.channels]),
                None => in_shape(&y, dimensions),
            };
            let y = match conv {
                Some(conv) => plain::convolution(&y, conv, None),
                None => y,
            };
            (rows, y, stats)
        });
        let mut saved = vec![rows, stats, norm.weight.shallow_clone(), norm.bias.shallow_clone()];
        saved.extend(shift.map(Tensor::shallow_clone));
        saved.extend(conv.map(|conv| conv.weight.shallow_clone()));
        let (has_shift, conv) = (shift.is_some(), conv.map(|conv| conv.padding));
        let gradient = move |saved: &[Tensor], gradients: &[Tensor]| {
            let dy = match saved.last().zip(conv) {
                Some((weight, padding)) => input_gradient(&gradients[0], weight, padding),
                None => gradients[0].shallow_clone(),
            };
            let dy = if shape.places_first.is_some() { dy.contiguous() } else { rows_of(&dy) };
            let shift = has_shift.then(|| &saved[4]);
            let tensors = [&saved[0], &saved[1], &dy];
            let dx = cuda::group_norm_backward(numbers, shape, tensors, shift, [&saved[2], &saved[3]]);
            [Some(in_shape(&dx, dimensions)), None]
        };
        recorded(x, None, vec![y], &saved, Box::new(gradient)).swap_remove(0)
    }
}

/// The gradient of a convolution of stride 1 with respect to its input.
fn input_gradient(dy: &Tensor, weight: &Tensor, padding: i64) -> Tensor {
    let dy = laid_out(dy);
    let none = None::<&Tensor>;
    if weight.dim() == 5 {
        return dy.conv_transpose3d(weight, none, [1, 1, 1], [padding, 0, 0], [0, 0, 0], 1, [1, 1, 1]);
    }
    dy.conv_transpose2d(weight, none, [1, 1], [padding; 2], [0, 0], 1, [1, 1])
}

/// Whether two tensors go through a kernel side by side.
fn alike(x: &Tensor, other: &Tensor) -> bool {
    (x.kind(), x.device()) == (other.kind(), other.device()) && x.size() == other.size()
}

/// The outputs as they are, or with a gradient where one is requested.
fn recorded(
    x: &Tensor,
    residual: Option<&Tensor>,
    outputs: Vec<Tensor>,
    saved: &[Tensor],
    gradient: native::Gradient,
) -> Vec<Tensor> {
    let wanted = x.requires_grad() || residual.is_some_and(Tensor::requires_grad);
    if wanted && native::grad_enabled() {
        native::record(x, residual, &outputs, saved, gradient)
    } else {
        outputs
    }
}

/// [batch, channels, ..] -> [batch, .., channels], dense; nothing is copied where it lies so already.
fn dense_rows(x: &Tensor) -> Tensor {
    let order: Vec<i64> = (0..x.dim() as i64).filter(|&dimension| dimension != 1).chain([1]).collect();
    x.permute(order.as_slice()).contiguous()
}

/// The same without a graph.
fn rows_of(x: &Tensor) -> Tensor {
    native::no_grad(|| dense_rows(x))
}

/// [batch, .., channels] -> [batch, channels, ..], the memory as it is.
fn in_shape(rows: &Tensor, dimensions: usize) -> Tensor {
    let dimensions = dimensions as i64;
    let order: Vec<i64> = [0, dimensions - 1].into_iter().chain(1..dimensions - 1).collect();
    rows.permute(order.as_slice())
}
